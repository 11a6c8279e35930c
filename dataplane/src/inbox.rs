//! Messages to a core from other threads: snapshots, kills, questions. A lock is fine here: none of
//! it lies on a query's path.
use crate::core::Core;
use crate::ring::{Event, Watch};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

/// Work for a core, run on its thread between queries.
pub(crate) type Message = Box<dyn FnOnce(&Rc<Core>) + Send>;

pub(crate) struct Inbox {
    messages: Mutex<Vec<Message>>,
    pub(crate) event: Event,
}

impl Inbox {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { messages: Mutex::default(), event: Event::new()? })
    }

    pub(crate) fn post(&self, message: impl FnOnce(&Rc<Core>) + Send + 'static) {
        self.messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(message));
        self.event.ring();
    }

    fn take(&self) -> Vec<Message> {
        self.event.clear();
        std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The task that reads a core's inbox.
pub(crate) async fn serve(core: Rc<Core>) {
    let inbox = core.shared.inbox(core.id);
    let watch = Watch::new(&core.ring, &inbox.event);
    loop {
        poll_fn(|cx| watch.poll_readable(cx)).await;
        for message in inbox.take() {
            message(&core);
        }
        core.ring.mark_runnable();
    }
}
