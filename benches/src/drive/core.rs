//! A thread of the load: an executor, a ring, and its share of the connections.
use super::client::Client;
use super::record::Recorder;
use super::wire::Wire;
use super::{PATIENCE, Shared};
use crate::Error;
use coregate_dataplane::ring::{Features, Ring, RingConfig};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Longest sleep: failures of other threads are seen after it.
const SLEEP_MAX: Duration = Duration::from_millis(20);
/// Connections of a thread that log in at once.
const OPENING_MAX: u32 = 8;

pub(super) struct Core {
    pub(super) ring: Ring,
    pub(super) shared: Arc<Shared>,
    pub(super) recorder: RefCell<Recorder>,
    /// Connections that are still to be opened, by number.
    next: Cell<u32>,
    step: u32,
    /// Tasks that have not ended.
    live: Cell<u32>,
    /// Connections that rest until the end.
    resting: RefCell<Vec<Wire>>,
    timers: RefCell<BTreeMap<(Instant, u64), Waker>>,
    timer: Cell<u64>,
}

pub(super) fn start(
    shared: Arc<Shared>,
    index: u32,
    count: u32,
) -> Result<ExecutorJoinHandle<()>, Error> {
    let cpus = &shared.round.cpus;
    let placement = match cpus.get(index as usize % cpus.len().max(1)) {
        Some(cpu) => Placement::Fixed(*cpu),
        None => Placement::Unbound,
    };
    LocalExecutorBuilder::new(placement)
        .name(&format!("load-{index}"))
        .io_memory(64 << 10)
        .ring_depth(32)
        .spawn(move || run(shared, index, count))
        .map_err(|e| Error::failed("a thread of the load", e))
}

async fn run(shared: Arc<Shared>, index: u32, count: u32) {
    // Never wait longer for several answers: the latency of each counts.
    let ring = Features::probe().and_then(|features| Ring::new(RingConfig::new(0, features)));
    let recorder = Recorder::new(shared.round.time);
    let (ring, recorder) = match (ring, recorder) {
        (Ok(ring), Ok(recorder)) => (ring, recorder),
        (Err(e), _) => return shared.fail(format!("the load generator needs io_uring: {e}")),
        (_, Err(e)) => return shared.fail(e.to_string()),
    };
    let core = Rc::new(Core {
        ring,
        shared,
        recorder: RefCell::new(recorder),
        next: Cell::new(index),
        step: count,
        live: Cell::new(0),
        resting: RefCell::default(),
        timers: RefCell::default(),
        timer: Cell::new(0),
    });
    for _ in 0..OPENING_MAX {
        core.spawn(Rc::clone(&core).open());
    }
    core.drive().await;
    let recorder = core.recorder.replace(Recorder::empty());
    let mut all = core
        .shared
        .recorders
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    all.push(recorder);
}

impl Core {
    fn spawn(self: &Rc<Self>, task: impl Future<Output = Result<(), String>> + 'static) {
        self.live.set(self.live.get() + 1);
        let core = Rc::clone(self);
        let body = async move {
            if let Err(why) = task.await {
                core.shared.fail(why);
            }
            core.live.set(core.live.get() - 1);
        };
        glommio::spawn_local(body).detach();
        self.ring.mark_runnable();
    }

    /// Opens one connection after the other and gives each its task.
    async fn open(self: Rc<Self>) -> Result<(), String> {
        let round = &self.shared.round;
        loop {
            let number = self.next.get();
            if number >= round.connections + round.idle || self.shared.has_failed() {
                return Ok(());
            }
            self.next.set(number + self.step);
            if number >= round.connections {
                let mut wire = Wire::open(&self.ring, &round.endpoint, true).await?;
                wire.query("SELECT 1").await?;
                self.resting.borrow_mut().push(wire);
            } else {
                let client = Client::open(&self, number).await?;
                self.spawn(client.run(Rc::clone(&self)));
            }
            self.shared.ready.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn drive(self: &Rc<Self>) {
        while self.live.get() > 0 {
            let now = Instant::now();
            let next = self.timers.borrow().keys().next().map(|(at, _)| *at);
            let limit =
                next.map_or(SLEEP_MAX, |at| at.saturating_duration_since(now).min(SLEEP_MAX));
            self.ring.turn(limit);
            self.fire();
            if self.is_over() {
                return;
            }
            yield_now().await;
        }
    }

    /// A failure ends everything; so does a target that owes answers for too long.
    fn is_over(&self) -> bool {
        let Some(start) = self.shared.start.get() else { return self.shared.has_failed() };
        let (_, end) = self.shared.window(*start);
        if self.ring.now() > end + PATIENCE {
            self.shared.fail(format!(
                "{}: no answer within {} s after the end of the round",
                self.shared.round.endpoint,
                PATIENCE.as_secs()
            ));
        }
        self.shared.has_failed()
    }

    fn fire(&self) {
        let now = Instant::now();
        let mut timers = self.timers.borrow_mut();
        let later = timers.split_off(&(now, u64::MAX));
        for (_, waker) in std::mem::replace(&mut *timers, later) {
            self.ring.wake(waker);
        }
    }

    pub(super) async fn sleep_until(&self, at: Instant) {
        let mut armed = false;
        poll_fn(|cx| {
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut armed, true) {
                let number = self.timer.get();
                self.timer.set(number + 1);
                self.timers
                    .borrow_mut()
                    .insert((at, number), cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}
