//! Vitess's hot-row protection: changes of the same row wait here for each other, before they take
//! connections, so that one row that many change does not use up the pool while its server waits
//! for the row's lock. Bounded in number and time, on each core for itself; off by default.
use crate::core::Core;
use ahash::AHashMap;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HotRowMode {
    #[default]
    Disable,
    Enable,
    /// Counted, and neither held up nor refused.
    DryRun,
}

#[derive(Debug, Clone)]
pub struct HotRowConfig {
    pub mode: HotRowMode,
    /// Transactions about one row that run or wait, on one core.
    pub queue_max: usize,
    /// Transactions that wait, on one core.
    pub global_queue_max: usize,
    /// Transactions about one row that run at once, on one core.
    pub concurrency_max: usize,
    pub wait_timeout_ms: u64,
}

impl Default for HotRowConfig {
    fn default() -> Self {
        Self {
            mode: HotRowMode::Disable,
            queue_max: 20,
            global_queue_max: 1_000,
            concurrency_max: 5,
            wait_timeout_ms: 10_000,
        }
    }
}

type Key = Rc<[u8]>;

/// The rows that transactions of a core are about now.
#[derive(Default)]
pub(crate) struct HotRows {
    rows: RefCell<AHashMap<Key, Row>>,
    waiting: Cell<usize>,
}

#[derive(Default)]
struct Row {
    running: usize,
    waiting: VecDeque<Rc<Waiter>>,
}

#[derive(Default)]
struct Waiter {
    waker: RefCell<Option<Waker>>,
    /// It is its turn.
    called: Cell<bool>,
}

/// The right to change a row; the next has it when this is dropped.
pub(crate) struct Turn {
    core: Rc<Core>,
    key: Key,
}

/// Why a transaction has no turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoTurn {
    /// So many are about the row.
    RowFull(usize),
    /// So many wait.
    Full(usize),
    Late,
}

impl HotRows {
    /// Waits until it is the turn of a transaction that is about a row.
    pub(crate) async fn turn(core: &Rc<Core>, key: Vec<u8>) -> Result<Turn, NoTurn> {
        let key: Key = key.into();
        let Some(waiter) = core.hot_rows.enter(core, &key)? else {
            return Ok(Turn { core: Rc::clone(core), key });
        };
        core.metrics().hot_row_waits.add(1);
        let place = Place { core, key: &key, waiter: &waiter };
        let wait = Duration::from_millis(core.config().hot_rows.wait_timeout_ms);
        let called = place.wait(core.ring.now() + wait).await;
        drop(place);
        match called {
            true => Ok(Turn { core: Rc::clone(core), key }),
            false => Err(NoTurn::Late),
        }
    }

    /// `None`: nobody has to be waited for.
    fn enter(&self, core: &Core, key: &Key) -> Result<Option<Rc<Waiter>>, NoTurn> {
        let (config, metrics) = (&core.config().hot_rows, core.metrics());
        let dry = config.mode == HotRowMode::DryRun;
        let mut rows = self.rows.borrow_mut();
        let row = rows.entry(Rc::clone(key)).or_default();
        if row.running < config.concurrency_max.max(1) {
            row.running += 1;
            return Ok(None);
        }
        let all = row.running + row.waiting.len();
        let full = match (all >= config.queue_max, self.waiting.get() >= config.global_queue_max) {
            (true, _) => Some(NoTurn::RowFull(all)),
            (false, true) => Some(NoTurn::Full(self.waiting.get())),
            (false, false) => None,
        };
        match (dry, full) {
            (true, full) => {
                match full {
                    Some(_) => metrics.hot_row_refused_dry_run.add(1),
                    None => metrics.hot_row_waits_dry_run.add(1),
                }
                row.running += 1;
                Ok(None)
            }
            (false, Some(full)) => {
                metrics.hot_row_refused.add(1);
                Err(full)
            }
            (false, None) => {
                let waiter = Rc::new(Waiter::default());
                row.waiting.push_back(Rc::clone(&waiter));
                self.waiting.set(self.waiting.get() + 1);
                metrics.hot_row_waiting.set(self.waiting.get() as u64);
                Ok(Some(waiter))
            }
        }
    }

    /// One that ran has ended: the next runs in its place.
    fn leave(&self, core: &Core, key: &Key) {
        let mut rows = self.rows.borrow_mut();
        let Some(row) = rows.get_mut(key) else { return };
        if let Some(next) = row.waiting.pop_front() {
            self.waiting.set(self.waiting.get().saturating_sub(1));
            core.metrics()
                .hot_row_waiting
                .set(self.waiting.get() as u64);
            next.called.set(true);
            if let Some(waker) = next.waker.borrow_mut().take() {
                core.ring.wake(waker);
            }
            return;
        }
        row.running = row.running.saturating_sub(1);
        if row.running == 0 {
            rows.remove(key);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.core.hot_rows.leave(&self.core, &self.key);
    }
}

/// A place in the line of a row.
struct Place<'p> {
    core: &'p Rc<Core>,
    key: &'p Key,
    waiter: &'p Rc<Waiter>,
}

impl Place<'_> {
    /// `false`: the time is over.
    async fn wait(&self, until: Instant) -> bool {
        let mut armed = crate::timer::Armed::default();
        let core = self.core;
        poll_fn(|cx| {
            if self.waiter.called.get() {
                // It is not this place's to pass on any more.
                self.waiter.called.set(false);
                self.waiter.waker.borrow_mut().take();
                return Poll::Ready(true);
            }
            *self.waiter.waker.borrow_mut() = Some(cx.waker().clone());
            core.timers
                .poll_until(cx, core.ring.now(), until, &mut armed)
                .map(|()| false)
        })
        .await
    }
}

impl Drop for Place<'_> {
    /// Leaves the line, also when the session ends meanwhile; a turn that came too late is passed
    /// on.
    fn drop(&mut self) {
        let hot_rows = &self.core.hot_rows;
        if self.waiter.called.get() {
            hot_rows.leave(self.core, self.key);
            return;
        }
        let mut rows = hot_rows.rows.borrow_mut();
        let Some(row) = rows.get_mut(self.key) else { return };
        let before = row.waiting.len();
        row.waiting.retain(|other| !Rc::ptr_eq(other, self.waiter));
        let left = before - row.waiting.len();
        hot_rows
            .waiting
            .set(hot_rows.waiting.get().saturating_sub(left));
        self.core
            .metrics()
            .hot_row_waiting
            .set(hot_rows.waiting.get() as u64);
    }
}
