//! Timers of a core. Few at a time: waiting for a pooled connection, connecting, the sweep over sessions. Timeouts of idle
//! sessions and running queries are deadlines that the sweep looks at, so that a query costs no timer.
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Timers {
    heap: RefCell<BinaryHeap<Reverse<Entry>>>,
}

struct Entry {
    at: Instant,
    waker: Waker,
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
    /// Ready at `at`. A task that polls this and something else registers once, because the entry cannot be taken back:
    /// `armed` remembers it.
    pub(crate) fn poll_until(
        &self,
        cx: &mut Context<'_>,
        now: Instant,
        at: Instant,
        armed: &mut bool,
    ) -> Poll<()> {
        if now >= at {
            return Poll::Ready(());
        }
        if !std::mem::replace(armed, true) {
            self.heap
                .borrow_mut()
                .push(Reverse(Entry { at, waker: cx.waker().clone() }));
        }
        Poll::Pending
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
            if let Some(Reverse(entry)) = due {
                fired = true;
                entry.waker.wake();
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
        let mut armed = false;
        poll_fn(|cx| self.timers.poll_until(cx, self.ring.now(), at, &mut armed)).await;
    }
}
