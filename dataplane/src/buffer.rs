//! Statements that wait while a shard's primary is replaced, as Vitess's vtgate buffers them:
//! bounded in number, bytes and time, on each core for itself. Only what has not begun waits;
//! COMMIT and statements of a transaction that has connections never do.
use crate::core::Core;
use crate::error::BackendError;
use ahash::AHashMap;
use coregate_planner::identity::ShardId;
use coregate_planner::serving::{Serving, Writes};
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// A primary that could not be reached is tried again after so long, as it may only have restarted.
const RETRY: Duration = Duration::from_millis(100);
/// And so much later for each statement that waits.
const RETRY_EACH: Duration = Duration::from_millis(2);

#[derive(Default)]
pub(crate) struct Buffer {
    waiting: RefCell<Slab<Option<Waker>>>,
    /// Of the requests that wait.
    bytes: Cell<usize>,
    shards: RefCell<AHashMap<ShardId, Failover>>,
}

/// What a shard went through.
#[derive(Default, Clone, Copy)]
struct Failover {
    since: Option<Instant>,
    ended: Option<Instant>,
}

/// A statement's place in the buffer.
pub(crate) struct Ticket {
    core: Rc<Core>,
    key: usize,
    shard: ShardId,
    deadline: Instant,
    bytes: usize,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut waiting = self.core.buffer.waiting.borrow_mut();
        waiting.try_remove(self.key);
        let bytes = self.core.buffer.bytes.get().saturating_sub(self.bytes);
        self.core.buffer.bytes.set(bytes);
        self.core.metrics().buffered_now.set(waiting.len() as u64);
        self.core.metrics().buffered_bytes.set(bytes as u64);
    }
}

impl Buffer {
    /// What serves has changed: all look again.
    pub(crate) fn follow(&self, serving: &Serving, now: Instant) {
        let mut shards = self.shards.borrow_mut();
        for (id, shard) in &serving.shards {
            let moves = shard.writes == Writes::Moving;
            match shards.get_mut(id) {
                Some(failover) if moves => {
                    failover.since.get_or_insert(now);
                }
                Some(failover) => failover.end(now),
                None if moves => {
                    shards.insert(*id, Failover { since: Some(now), ended: None });
                }
                None => {}
            }
        }
        drop(shards);
        let waiting: Vec<Waker> = self
            .waiting
            .borrow_mut()
            .iter_mut()
            .filter_map(|(_, waker)| waker.take())
            .collect();
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Failover {
    fn end(&mut self, now: Instant) {
        if self.since.take().is_some() {
            self.ended = Some(now);
        }
    }
}

impl Ticket {
    /// A place for a statement whose shard `moves`, or whose primary cannot be reached.
    pub(crate) fn take(
        core: &Rc<Core>,
        shard: ShardId,
        moves: bool,
        bytes: usize,
    ) -> Result<Self, BackendError> {
        let (config, now) = (core.config(), core.ring.now());
        let ms = Duration::from_millis;
        let refuse = |why: String| {
            core.metrics().buffer_refused.add(1);
            Err(BackendError::Moving { why })
        };
        let size = config.buffer_size.div_ceil(core.shared.inboxes.len());
        if core.buffer.waiting.borrow().len() >= size {
            return refuse(format!("buffer.size = {} statements wait already", config.buffer_size));
        }
        let all_bytes = core.buffer.bytes.get().saturating_add(bytes);
        if all_bytes > config.buffer_bytes_max.div_ceil(core.shared.inboxes.len()) {
            return refuse(format!(
                "buffer.bytes_max = {} bytes wait already",
                config.buffer_bytes_max
            ));
        }
        let mut shards = core.buffer.shards.borrow_mut();
        let failover = shards.entry(shard).or_default();
        let recent =
            |ended: Instant| now.saturating_duration_since(ended) < ms(config.buffer_gap_min_ms);
        if failover.since.is_none() && !moves && failover.ended.is_some_and(recent) {
            return refuse(format!(
                "the last time was less than buffer.min_gap_ms = {} ms ago",
                config.buffer_gap_min_ms
            ));
        }
        let since = *failover.since.get_or_insert(now);
        let last = since + ms(config.buffer_failover_max_ms);
        if last <= now {
            return refuse(format!(
                "it takes longer than buffer.max_failover_ms = {} ms",
                config.buffer_failover_max_ms
            ));
        }
        drop(shards);
        let mut waiting = core.buffer.waiting.borrow_mut();
        let key = waiting.insert(None);
        core.metrics().buffered.add(1);
        core.metrics().buffered_now.set(waiting.len() as u64);
        core.buffer.bytes.set(all_bytes);
        core.metrics().buffered_bytes.set(all_bytes as u64);
        drop(waiting);
        let deadline = last.min(now + ms(config.buffer_window_ms));
        Ok(Self { core: Rc::clone(core), key, shard, deadline, bytes })
    }

    /// The statement has got its connection: what made it wait is over.
    pub(crate) fn reached(self) {
        if let Some(failover) = self.core.buffer.shards.borrow_mut().get_mut(&self.shard) {
            failover.end(self.core.ring.now());
        }
    }

    /// Waits until what serves is not as in version `seen` any more; or, unless it `moves`, a
    /// moment. `false`: the time is over.
    pub(crate) async fn wait(&self, seen: u64, moves: bool) -> bool {
        let core = &self.core;
        // The more wait, the less often each of them tries.
        let many = u32::try_from(core.buffer.waiting.borrow().len()).unwrap_or(u32::MAX);
        let retry = core.ring.now() + RETRY + RETRY_EACH.saturating_mul(many);
        let until = if moves { self.deadline } else { self.deadline.min(retry) };
        let mut armed = crate::timer::Armed::default();
        poll_fn(|cx| {
            if core.serving.borrow().version != seen {
                return Poll::Ready(());
            }
            if let Some(waker) = core.buffer.waiting.borrow_mut().get_mut(self.key) {
                *waker = Some(cx.waker().clone());
            }
            core.timers
                .poll_until(cx, core.ring.now(), until, &mut armed)
        })
        .await;
        let in_time = core.ring.now() < self.deadline;
        if !in_time {
            core.metrics().buffer_timeouts.add(1);
        }
        in_time
    }
}
