//! The end of a pool. When its server is not to be used any more, connections close as they come
//! back, nobody gets another one, and those who wait are sent to where the shard is served now.
//! What is still in use can be counted, and cut.
use super::tablet::TabletPool;
use crate::core::Core;
use crate::error::BackendError;
use crate::ring::{Shutter, Socket};
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// So often at most does a core say that a server is out of reach.
const SUSPECT_EVERY: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(super) struct Retirement {
    retired: Cell<bool>,
    /// Those who wait for a connection.
    takers: RefCell<Slab<Option<Waker>>>,
    /// Connections that are open, and some that are not any more.
    live: RefCell<Vec<Shutter>>,
    /// When it was last told that the server is out of reach.
    suspected: Cell<Option<Instant>>,
}

/// Somebody waits, until this is dropped.
struct Taker<'a> {
    of: &'a Retirement,
    key: usize,
}

impl Drop for Taker<'_> {
    fn drop(&mut self) {
        self.of.takers.borrow_mut().try_remove(self.key);
    }
}

impl Retirement {
    pub(super) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    pub(super) fn retire(&self) {
        self.retired.set(true);
        let takers: Vec<Waker> = self
            .takers
            .borrow_mut()
            .iter_mut()
            .filter_map(|(_, waker)| waker.take())
            .collect();
        takers.into_iter().for_each(Waker::wake);
    }

    /// A connection was opened.
    pub(super) fn note(&self, socket: &Socket) {
        let mut live = self.live.borrow_mut();
        if live.len() == live.capacity() {
            live.retain(|shutter| !shutter.is_gone());
        }
        live.push(socket.shutter());
    }

    pub(super) fn cut(&self) {
        for shutter in self.live.borrow_mut().drain(..) {
            shutter.shut();
        }
    }

    /// Waits for something, unless the pool retires meanwhile.
    pub(super) async fn unless_retired<T>(
        &self,
        work: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let mut work = pin!(work);
        let taker = Taker { of: self, key: self.takers.borrow_mut().insert(None) };
        poll_fn(|cx| {
            // First: a connection that came at the same time must not be used.
            if self.retired.get() {
                return Poll::Ready(Err(BackendError::Moved));
            }
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(if self.retired.get() {
                    Err(BackendError::Moved)
                } else {
                    done
                });
            }
            if let Some(waker) = self.takers.borrow_mut().get_mut(taker.key) {
                *waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

impl TabletPool {
    /// A connection was refused or has broken. Who looks after the servers hears of it at once, not
    /// with the next check.
    #[cold]
    pub(crate) fn suspect(&self, core: &Core) {
        let now = core.ring.now();
        let last = self.retirement.suspected.get();
        if self.retirement.is_retired()
            || last.is_some_and(|at| now.saturating_duration_since(at) < SUSPECT_EVERY)
        {
            return;
        }
        self.retirement.suspected.set(Some(now));
        core.shared.control.suspect(&self.tablet.alias);
    }

    /// Connections that statements or transactions use, or that are being opened.
    pub(crate) fn in_use(&self) -> usize {
        let finishing = self
            .finisher
            .borrow()
            .as_ref()
            .map_or(0, |pool| pool.in_use());
        self.open().saturating_sub(self.resting()) + finishing
    }

    /// Ends all of its connections, also those in use.
    pub(crate) fn cut(&self) {
        if let Some(finisher) = &*self.finisher.borrow() {
            finisher.cut();
        }
        self.retirement.cut();
    }
}
