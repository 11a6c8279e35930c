//! Futures that run commands. What a statement needs while it runs is a few KiB of a future's
//! state; it belongs to the core, which lends it to a session for one command at a time: a session
//! that rests owns none, and a warm core allocates none.
use super::Session;
use crate::link::Packet;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Runners kept for the next commands of a core, when so many ran at once. About 3 KiB each.
const IDLE_MAX: usize = 1024;

/// Where a session and its runner meet: the work on its way in, the session on its way out.
#[derive(Default)]
struct Desk {
    work: Cell<Option<(Box<Session>, Packet)>>,
    done: Cell<Option<(Box<Session>, bool)>>,
}

/// A future that runs one command after another, of any session.
struct Runner {
    desk: Rc<Desk>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

impl Runner {
    fn new() -> Self {
        let desk = Rc::new(Desk::default());
        let own = Rc::clone(&desk);
        let future = Box::pin(async move {
            loop {
                let (mut session, packet) =
                    poll_fn(|_| own.work.take().map_or(Poll::Pending, Poll::Ready)).await;
                let goes_on = session.command(packet).await;
                own.done.set(Some((session, goes_on)));
            }
        });
        Self { desk, future }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(Box<Session>, bool)> {
        // It never ends: it rests between two commands.
        let _ = self.future.as_mut().poll(cx);
        self.desk.done.take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The runners of a core that have nothing to do.
#[derive(Default)]
pub(crate) struct Runners {
    idle: RefCell<Vec<Runner>>,
}

impl Runners {
    /// Runs one command of a session; gives the session back, and whether it goes on.
    pub(super) async fn run(&self, session: Box<Session>, packet: Packet) -> (Box<Session>, bool) {
        let known = self.idle.borrow_mut().pop();
        let mut runner = known.unwrap_or_else(Runner::new);
        runner.desk.work.set(Some((session, packet)));
        let done = poll_fn(|cx| runner.poll(cx)).await;
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_MAX {
            idle.push(runner);
        }
        done
    }
}
