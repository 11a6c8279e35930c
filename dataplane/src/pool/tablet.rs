//! The pool of one database server on one core.
mod queue;

use super::backend::Backend;
use super::load::{Load, Loads};
use super::retire::Retirement;
use super::routines::Routines;
use crate::core::Core;
use crate::error::BackendError;
use crate::ring::Ring;
use crate::settings::Settings;
use coregate_planner::snapshot::Tablet;
use queue::{Given, Waiter};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A server that has no more connections to give is asked again after so long, unless one of ours
/// comes back.
const FULL_RETRY: Duration = Duration::from_millis(100);

/// Bounds of a pool.
#[derive(Debug, Clone)]
pub(crate) struct PoolLimits {
    /// Connections open at once.
    pub(crate) size: usize,
    /// Statements that may wait for one.
    pub(crate) waiters_max: usize,
    pub(crate) wait_timeout: Duration,
    pub(crate) idle_max: Duration,
    pub(crate) lifetime_max: Duration,
    /// Statements kept prepared on one connection; the least used is closed for a new one.
    pub(crate) statements_max: usize,
    /// Where the core counts what servers answer.
    pub(crate) loads: Arc<Loads>,
}

#[derive(Debug, Default)]
pub(crate) struct PoolStats {
    pub(crate) taken: Cell<u64>,
    pub(crate) connected: Cell<u64>,
    pub(crate) connect_errors: Cell<u64>,
    pub(crate) waited: Cell<u64>,
    pub(crate) wait_us: Cell<u64>,
    pub(crate) wait_timeouts: Cell<u64>,
    pub(crate) queue_full: Cell<u64>,
    pub(crate) discarded: Cell<u64>,
    pub(crate) resets: Cell<u64>,
}

pub(crate) struct TabletPool {
    ring: Ring,
    pub(crate) tablet: Arc<Tablet>,
    /// The database that every connection selects; `None`: the session's own.
    pub(crate) database: Option<String>,
    pub(crate) limits: PoolLimits,
    #[allow(clippy::vec_box)]
    // moved between the pool, a waiter and a session: a pointer, not half a kilobyte
    idle: RefCell<Vec<Box<Backend>>>,
    open: Cell<usize>,
    waiters: RefCell<VecDeque<Rc<Waiter>>>,
    /// The first deadline that a task sleeps for, if one does.
    watched_until: Cell<Option<Instant>>,
    pub(super) retirement: Retirement,
    /// Of a primary that others may replace: a connection is used only if the server takes writes.
    pub(super) guarded: Cell<bool>,
    /// Sessions that read from this replica.
    sessions: Cell<usize>,
    /// The server has no more connections to give; when it is asked again.
    full_until: Cell<Option<Instant>>,
    /// The server does not know COM_RESET_CONNECTION.
    pub(super) cannot_reset: Cell<bool>,
    /// The server has begun an XA branch before: it does not refuse it in good order.
    pub(crate) has_xa: Cell<bool>,
    pub(crate) routines: Routines,
    /// Connections on which statements over several shards are finished. Whoever waits for one may
    /// hold connections of this pool, so that they have places of their own: who has one waits for
    /// nothing else.
    pub(super) finisher: RefCell<Option<Rc<Self>>>,
    /// Does the server write temporary tables to its binary log? `None`: it was not asked yet.
    pub(crate) logs_temporary: Cell<Option<bool>>,
    pub(crate) stats: PoolStats,
    /// What its server answers.
    pub(crate) load: Arc<Load>,
}

/// The right to have one connection open; the place is free again when this is dropped.
pub(super) struct Permit {
    pool: Rc<TabletPool>,
    counted: bool,
}

impl Permit {
    /// For a connection that must not wait for a place: it ends what holds one.
    pub(super) fn unbounded(pool: &Rc<TabletPool>) -> Self {
        Self { pool: Rc::clone(pool), counted: false }
    }

    pub(super) fn pool(&self) -> Rc<TabletPool> {
        Rc::clone(&self.pool)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.counted {
            self.pool.open.set(self.pool.open.get().saturating_sub(1));
            self.pool.offer_permit();
        }
    }
}

impl TabletPool {
    pub(super) fn new(
        tablet: Arc<Tablet>,
        database: Option<&str>,
        limits: PoolLimits,
        ring: &Ring,
    ) -> Self {
        Self {
            ring: ring.clone(),
            load: limits.loads.of(&tablet.alias),
            tablet,
            database: database.map(str::to_owned),
            limits,
            idle: RefCell::default(),
            open: Cell::new(0),
            waiters: RefCell::default(),
            watched_until: Cell::new(None),
            retirement: Retirement::default(),
            sessions: Cell::new(0),
            full_until: Cell::new(None),
            cannot_reset: Cell::new(false),
            has_xa: Cell::default(),
            routines: Routines::default(),
            finisher: RefCell::default(),
            guarded: Cell::new(false),
            logs_temporary: Cell::new(None),
            stats: PoolStats::default(),
        }
    }

    /// As the core's last turn has read the clock.
    #[inline]
    pub(super) fn now(&self) -> Instant {
        self.ring.now()
    }

    /// The pool of the same server on whose connections statements are finished.
    pub(crate) fn finisher(&self, size: usize) -> Rc<Self> {
        let mut finisher = self.finisher.borrow_mut();
        let made = finisher.get_or_insert_with(|| {
            let limits = PoolLimits { size: size.max(1), ..self.limits.clone() };
            Rc::new(Self::new(
                Arc::clone(&self.tablet),
                self.database.as_deref(),
                limits,
                &self.ring,
            ))
        });
        Rc::clone(made)
    }

    pub(super) fn serves(&self, tablet: &Tablet, database: Option<&str>) -> bool {
        let mine = &*self.tablet;
        mine.address == tablet.address
            && mine.user == tablet.user
            && mine.password == tablet.password
            && mine.tls == tablet.tls
            && mine.server_name == tablet.server_name
            && self.database.as_deref() == database
    }

    /// A connection that needs nothing to be done to it, if one rests and nobody waits. The
    /// ordinary case of a query.
    #[inline]
    pub(crate) fn try_take(&self, flavour: u64, settings: &Rc<Settings>) -> Option<Box<Backend>> {
        if !self.waiters.borrow().is_empty() {
            return None;
        }
        let mut idle = self.idle.borrow_mut();
        let at = idle
            .iter()
            .rposition(|b| b.flavour == flavour && Rc::ptr_eq(&b.settings, settings))?;
        let backend = idle.swap_remove(at);
        drop(idle);
        if !backend.is_usable() {
            return None;
        }
        self.stats.taken.set(self.stats.taken.get() + 1);
        Some(backend)
    }

    /// A connection with these settings: one that rests, a new one, or the next that comes back.
    ///
    /// # Errors
    /// The queue is full, waiting took too long, the server cannot be reached, or it is not to be
    /// used any more.
    pub(crate) async fn take(
        self: &Rc<Self>,
        core: &Rc<Core>,
        flavour: u64,
        settings: &Rc<Settings>,
    ) -> Result<Box<Backend>, BackendError> {
        let taken = self.take_while_served(core, flavour, settings);
        self.retirement.unless_retired(taken).await
    }

    async fn take_while_served(
        self: &Rc<Self>,
        core: &Rc<Core>,
        flavour: u64,
        settings: &Rc<Settings>,
    ) -> Result<Box<Backend>, BackendError> {
        let mut backend = self.take_any(core, flavour, settings).await?;
        match backend.apply(core, settings).await {
            Err(BackendError::CannotReset) => {
                let permit = (*backend).into_permit();
                backend = Backend::connect(core, permit, flavour, settings).await?;
                backend.apply(core, settings).await?;
            }
            applied => applied?,
        }
        self.stats.taken.set(self.stats.taken.get() + 1);
        Ok(backend)
    }

    async fn take_any(
        self: &Rc<Self>,
        core: &Rc<Core>,
        flavour: u64,
        settings: &Rc<Settings>,
    ) -> Result<Box<Backend>, BackendError> {
        let deadline = core.ring.now() + self.limits.wait_timeout;
        let mut place = None;
        if self.waiters.borrow().is_empty() {
            if let Some(backend) = self.pop_idle(flavour, settings) {
                return Ok(backend);
            }
            place = self.permit().or_else(|| self.evict_for_permit());
        }
        let mut refused = None;
        loop {
            let permit = match place.take() {
                Some(permit) => permit,
                None => match self.wait(core, deadline).await {
                    Ok(Given::Connection(backend)) if backend.flavour == flavour => {
                        return Ok(backend);
                    }
                    // Another dialect: its place is taken over, not the connection.
                    Ok(Given::Connection(other)) => (*other).into_permit(),
                    Ok(Given::Permit(permit)) => permit,
                    Err(late) => return Err(refused.unwrap_or(late)),
                },
            };
            match Backend::connect(core, permit, flavour, settings).await {
                Err(e) if e.is_out_of_connections() => refused = Some(e),
                other => return other,
            }
        }
    }

    /// How the last attempt to connect has ended.
    pub(super) fn note_full(self: &Rc<Self>, full: bool, now: Instant) {
        let was = self.full_until.replace(full.then(|| now + FULL_RETRY));
        if was.is_some() && !full {
            self.offer_permit();
        }
    }

    fn permit(self: &Rc<Self>) -> Option<Permit> {
        if self.full_until.get().is_some() {
            return None;
        }
        self.any_permit()
    }

    /// The right to ask a server again that had no connections to give: of those who wait, one at a
    /// time.
    fn permit_to_retry(self: &Rc<Self>, now: Instant) -> Option<Permit> {
        if self.full_until.get().is_none_or(|until| now < until) {
            return None;
        }
        self.full_until.set(Some(now + FULL_RETRY));
        self.any_permit()
    }

    fn any_permit(self: &Rc<Self>) -> Option<Permit> {
        (self.open.get() < self.limits.size).then(|| {
            self.open.set(self.open.get() + 1);
            Permit { pool: Rc::clone(self), counted: true }
        })
    }

    /// All places are taken, but a connection of another dialect rests.
    fn evict_for_permit(&self) -> Option<Permit> {
        let other = {
            let mut idle = self.idle.borrow_mut();
            if idle.is_empty() { None } else { Some(idle.remove(0)) }
        };
        other.map(|backend| (*backend).into_permit())
    }

    /// Best first: the same settings, then settings that only need additions, then any of this
    /// dialect.
    fn pop_idle(&self, flavour: u64, settings: &Rc<Settings>) -> Option<Box<Backend>> {
        loop {
            let backend = {
                let mut idle = self.idle.borrow_mut();
                let fits = |b: &Backend| b.flavour == flavour;
                let at = idle
                    .iter()
                    .rposition(|b| fits(b) && Rc::ptr_eq(&b.settings, settings))
                    .or_else(|| {
                        idle.iter()
                            .rposition(|b| fits(b) && !b.settings.difference(settings).reset)
                    })
                    .or_else(|| idle.iter().rposition(|b| fits(b)))?;
                idle.swap_remove(at)
            };
            if backend.is_usable() {
                return Some(backend);
            }
            self.count_discarded();
        }
    }

    /// Takes a connection back: to the statement that has waited longest, or to rest. One that
    /// cannot be trusted is closed.
    pub(crate) fn put(self: &Rc<Self>, core: &Rc<Core>, mut backend: Box<Backend>) {
        let now = core.ring.now();
        let old = now.saturating_duration_since(backend.born) > self.limits.lifetime_max;
        if old || self.retirement.is_retired() || !backend.is_clean() {
            self.count_discarded();
            return;
        }
        backend.used = now;
        // A trigger that was made meanwhile may have run.
        backend.unknown_state |= backend.routines_seen != core.routine_changes();
        if self.routines.is_wanted() {
            return super::routines::ask_on(core, self, backend);
        }
        backend.rest(core);
        if let Some(waiter) = self.next_waiter() {
            *waiter.given.borrow_mut() = Some(Given::Connection(backend));
            if let Some(waker) = waiter.waker.borrow_mut().take() {
                core.ring.wake(waker);
            }
            return;
        }
        self.idle.borrow_mut().push(backend);
    }

    /// One that nobody uses now, for a question of our own.
    pub(super) fn borrow_resting(&self) -> Option<Box<Backend>> {
        let backend = self.idle.borrow_mut().pop()?;
        backend.is_usable().then_some(backend)
    }

    /// Closes the connection that has rested longest. Is there one?
    #[cold]
    pub(super) fn close_resting(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        let oldest = (0..idle.len()).min_by_key(|&at| idle[at].used);
        let gone = oldest.map(|at| idle.swap_remove(at));
        drop(idle);
        gone.is_some()
    }

    pub(super) fn each_resting(&self, mut work: impl FnMut(&mut Backend)) {
        let mut idle = self.idle.borrow_mut();
        idle.iter_mut().for_each(|backend| work(backend));
    }

    fn count_discarded(&self) {
        self.stats.discarded.set(self.stats.discarded.get() + 1);
    }

    /// Closes connections that have rested or lived too long, or that the server has closed.
    pub(crate) fn sweep(&self, now: Instant) {
        if let Some(finisher) = &*self.finisher.borrow() {
            finisher.sweep(now);
        }
        let limits = &self.limits;
        let mut gone = Vec::new();
        let mut idle = self.idle.borrow_mut();
        let mut at = 0;
        while at < idle.len() {
            let backend = &idle[at];
            let rested = now.saturating_duration_since(backend.used) > limits.idle_max;
            let old = now.saturating_duration_since(backend.born) > limits.lifetime_max;
            if rested || old || !backend.is_usable() {
                gone.push(idle.swap_remove(at));
            } else {
                at += 1;
            }
        }
        drop(idle);
        drop(gone);
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions.get()
    }

    pub(super) fn join_session(&self) {
        self.sessions.set(self.sessions.get() + 1);
    }

    pub(super) fn leave_session(&self) {
        self.sessions.set(self.sessions.get().saturating_sub(1));
    }

    /// This server is not to be used any more: connections close as they come back.
    pub(super) fn retire(&self) {
        if let Some(finisher) = &*self.finisher.borrow() {
            finisher.retire();
        }
        self.retirement.retire();
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        drop(idle);
    }

    pub(crate) fn open(&self) -> usize {
        self.open.get()
    }

    pub(crate) fn resting(&self) -> usize {
        self.idle.borrow().len()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiters.borrow().len()
    }
}
