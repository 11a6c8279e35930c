//! Statements that wait for a connection: first come, first served.
use super::{Permit, TabletPool};
use crate::core::Core;
use crate::error::BackendError;
use crate::pool::backend::Backend;
use crate::timer::Armed;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Instant;

/// A statement in the queue.
pub(super) struct Waiter {
    pub(super) waker: RefCell<Option<Waker>>,
    pub(super) given: RefCell<Option<Given>>,
    gone: Cell<bool>,
    /// Still in the queue.
    queued: Cell<bool>,
    deadline: Instant,
}

pub(super) enum Given {
    Connection(Box<Backend>),
    /// The right to open one.
    Permit(Permit),
}

impl TabletPool {
    pub(super) async fn wait(
        self: &Rc<Self>,
        core: &Rc<Core>,
        deadline: Instant,
    ) -> Result<Given, BackendError> {
        if self.waiters.borrow().len() >= self.limits.waiters_max {
            self.stats.queue_full.set(self.stats.queue_full.get() + 1);
            return Err(BackendError::QueueFull {
                tablet: self.tablet.alias.clone(),
                waiters_max: self.limits.waiters_max,
            });
        }
        let waiter = Rc::new(Waiter {
            waker: RefCell::default(),
            given: RefCell::default(),
            gone: Cell::new(false),
            queued: Cell::new(true),
            deadline,
        });
        self.waiters.borrow_mut().push_back(Rc::clone(&waiter));
        let _leave = Leave { pool: self, waiter: &waiter };
        let start = core.ring.now();
        let mut retry_at = start;
        let watched = self.watch(core, deadline);
        let (mut armed, mut retry_armed) = (Armed::default(), Armed::default());
        let given = poll_fn(|cx| {
            if let Some(given) = waiter.given.borrow_mut().take() {
                return Poll::Ready(Some(given));
            }
            *waiter.waker.borrow_mut() = Some(cx.waker().clone());
            let now = core.ring.now();
            if let Some(permit) = self.permit_to_retry(now) {
                return Poll::Ready(Some(Given::Permit(permit)));
            }
            if let Some(until) = self.full_until.get() {
                // Woken by the timer that was armed last: the next has to be.
                if now >= retry_at {
                    retry_armed = Armed::default();
                }
                if !retry_armed.is_armed() {
                    retry_at = until;
                }
                let _ = core.timers.poll_until(cx, now, until, &mut retry_armed);
            }
            if watched && now < deadline {
                return Poll::Pending;
            }
            core.timers
                .poll_until(cx, now, deadline, &mut armed)
                .map(|()| None)
        })
        .await;
        let waited = core.ring.now().saturating_duration_since(start).as_micros() as u64;
        self.stats.waited.set(self.stats.waited.get() + 1);
        self.stats.wait_us.set(self.stats.wait_us.get() + waited);
        given.ok_or_else(|| {
            self.stats
                .wait_timeouts
                .set(self.stats.wait_timeouts.get() + 1);
            BackendError::WaitTimeout {
                tablet: self.tablet.alias.clone(),
                size: self.limits.size,
                ms: self.limits.wait_timeout.as_millis() as u64,
            }
        })
    }

    /// One task looks at the deadlines of all who wait: a timer for each would stay behind when it
    /// is no longer needed, thousands in a second. `false`: it sleeps for longer than this deadline
    /// allows.
    fn watch(self: &Rc<Self>, core: &Rc<Core>, deadline: Instant) -> bool {
        if let Some(until) = self.watched_until.get() {
            return until <= deadline;
        }
        self.watched_until.set(Some(deadline));
        let (pool, core) = (Rc::clone(self), Rc::clone(core));
        crate::executor::spawn(async move {
            while let Some(until) = pool.watched_until.get() {
                core.sleep(until.saturating_duration_since(core.ring.now()))
                    .await;
                pool.watched_until.set(pool.wake_late(&core));
            }
        });
        true
    }

    /// Wakes those that have waited too long; who is next, and when?
    fn wake_late(&self, core: &Core) -> Option<Instant> {
        let now = core.ring.now();
        let waiters = self.waiters.borrow();
        for late in waiters.iter().filter(|waiter| waiter.deadline <= now) {
            if let Some(waker) = late.waker.borrow_mut().take() {
                core.ring.wake(waker);
            }
        }
        waiters
            .iter()
            .map(|waiter| waiter.deadline)
            .filter(|deadline| *deadline > now)
            .min()
    }

    pub(super) fn next_waiter(&self) -> Option<Rc<Waiter>> {
        let mut waiters = self.waiters.borrow_mut();
        let mut next = std::iter::from_fn(|| waiters.pop_front());
        next.find(|waiter| {
            waiter.queued.set(false);
            !waiter.gone.get()
        })
    }

    /// A place became free.
    pub(super) fn offer_permit(self: &Rc<Self>) {
        if self.waiters.borrow().is_empty() {
            return;
        }
        let Some(permit) = self.permit() else { return };
        let Some(waiter) = self.next_waiter() else { return };
        *waiter.given.borrow_mut() = Some(Given::Permit(permit));
        let waker = waiter.waker.borrow_mut().take();
        if let Some(waker) = waker {
            self.ring.wake(waker);
        }
    }
}

/// Leaves the queue, also when the session ends meanwhile; passes on what was given too late.
struct Leave<'a> {
    pool: &'a Rc<TabletPool>,
    waiter: &'a Rc<Waiter>,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.waiter.gone.set(true);
        if self.waiter.queued.get() {
            let mut waiters = self.pool.waiters.borrow_mut();
            waiters.retain(|other| !Rc::ptr_eq(other, self.waiter));
        }
        let given = self.waiter.given.borrow_mut().take();
        if let Some(Given::Connection(backend)) = given {
            // Clean as it came: the next in the queue gets it, or it rests.
            match self.pool.next_waiter() {
                Some(next) => {
                    *next.given.borrow_mut() = Some(Given::Connection(backend));
                    if let Some(waker) = next.waker.borrow_mut().take() {
                        self.pool.ring.wake(waker);
                    }
                }
                None => self.pool.idle.borrow_mut().push(backend),
            }
        }
    }
}
