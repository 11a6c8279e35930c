//! Timers of a core. Few at a time: waiting for a pooled connection, connecting, the sweep over
//! sessions. Timeouts of idle sessions and running queries are deadlines that the sweep looks at,
//! so that a query costs no timer.
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// So many entries are kept before those that nobody waits for any more are thrown out.
const ENTRIES_KEEP: usize = 1_024;

#[derive(Default)]
pub(crate) struct Timers {
    heap: RefCell<BinaryHeap<Reverse<Entry>>>,
    /// The number of entries at which the heap is looked through.
    purge_at: Cell<usize>,
}

struct Entry {
    at: Instant,
    waker: Weak<RefCell<Option<Waker>>>,
}

/// What a task waits for with [`Timers::poll_until`]. When this is dropped the task is not woken,
/// and not held any more: an entry that stayed behind with its waker would, thousands of times, be
/// one too many for the executor's count of them.
#[derive(Default)]
pub(crate) struct Armed(Option<Rc<RefCell<Option<Waker>>>>);

impl Armed {
    pub(crate) fn is_armed(&self) -> bool {
        self.0.is_some()
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl Timers {
    /// Ready at `at`. A task that polls this and something else registers once: `armed` remembers
    /// it.
    pub(crate) fn poll_until(
        &self,
        cx: &mut Context<'_>,
        now: Instant,
        at: Instant,
        armed: &mut Armed,
    ) -> Poll<()> {
        if now >= at {
            return Poll::Ready(());
        }
        if armed.0.is_none() {
            let waker = Rc::new(RefCell::new(Some(cx.waker().clone())));
            self.add(Entry { at, waker: Rc::downgrade(&waker) });
            armed.0 = Some(waker);
        }
        Poll::Pending
    }

    fn add(&self, entry: Entry) {
        let mut heap = self.heap.borrow_mut();
        if heap.len() >= self.purge_at.get().max(ENTRIES_KEEP) {
            heap.retain(|Reverse(entry)| entry.waker.strong_count() > 0);
            self.purge_at.set(2 * heap.len());
        }
        heap.push(Reverse(entry));
    }

    /// Wakes what is due. Returns whether anything was.
    pub(crate) fn fire(&self, now: Instant) -> bool {
        let mut fired = false;
        loop {
            let due = {
                let mut heap = self.heap.borrow_mut();
                if heap.peek().is_none_or(|Reverse(entry)| entry.at > now) {
                    return fired;
                }
                heap.pop()
            };
            let waiting = due.and_then(|Reverse(entry)| entry.waker.upgrade());
            let waker = waiting.and_then(|waiting| waiting.borrow_mut().take());
            if let Some(waker) = waker {
                fired = true;
                waker.wake();
            }
        }
    }

    /// How long the core may sleep.
    pub(crate) fn until_next(&self, now: Instant, most: Duration) -> Duration {
        self.heap
            .borrow()
            .peek()
            .map_or(most, |Reverse(entry)| entry.at.saturating_duration_since(now).min(most))
    }
}

impl crate::core::Core {
    /// Sleeps at least so long.
    pub(crate) async fn sleep(&self, time: Duration) {
        let at = self.ring.now() + time;
        let mut armed = Armed::default();
        poll_fn(|cx| self.timers.poll_until(cx, self.ring.now(), at, &mut armed)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_waits_for_holds_nothing() {
        let timers = Timers::default();
        let (now, far) = (Instant::now(), Instant::now() + Duration::from_secs(3_600));
        let mut cx = Context::from_waker(Waker::noop());
        let mut kept = Armed::default();
        assert!(timers.poll_until(&mut cx, now, far, &mut kept).is_pending() && kept.is_armed());
        for _ in 0..100 * ENTRIES_KEEP {
            let mut armed = Armed::default();
            assert!(
                timers
                    .poll_until(&mut cx, now, far, &mut armed)
                    .is_pending()
            );
        }
        assert!(timers.heap.borrow().len() <= ENTRIES_KEEP);
        let live = |Reverse(entry): &&Reverse<Entry>| entry.waker.strong_count() > 0;
        assert_eq!(timers.heap.borrow().iter().filter(live).count(), 1);
        assert!(timers.fire(far) && !timers.fire(far) && timers.heap.borrow().is_empty());
    }
}
