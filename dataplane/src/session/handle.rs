//! What others may know of a session and do to it: deadlines, KILL, draining.
use crate::core::Core;
use coregate_planner::control::SqlError;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Bytes of a statement kept for SHOW FULL PROCESSLIST.
const INFO_MAX: usize = 1024;

/// Why a session is asked to stop what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// `KILL QUERY`
    KillQuery,
    /// `KILL CONNECTION`
    KillConnection,
    /// The running statement takes too long.
    QueryTimeout,
    /// The client rests too long, or does not log in.
    IdleTimeout,
    /// The client rests too long in a transaction.
    IdleTransaction,
    /// The transaction is open for too long.
    TransactionTimeout,
    /// The process is going down.
    Shutdown,
}

#[derive(Debug)]
pub(crate) struct SessionHandle {
    pub(crate) id: u32,
    pub(crate) user: RefCell<String>,
    pub(crate) host: String,
    /// For SHOW PROCESSLIST: what it has selected, what it runs and since when it does that or
    /// rests.
    pub(crate) database: RefCell<Option<Rc<str>>>,
    pub(crate) info: RefCell<Vec<u8>>,
    pub(crate) since: Cell<Instant>,
    interrupt: Cell<Option<Interrupt>>,
    deadline: Cell<Option<Instant>>,
    /// What a client that rests is told at the deadline.
    overdue: Cell<Interrupt>,
    /// When the transaction that is open was seen first.
    transaction_since: Cell<Option<Instant>>,
    /// `wait_timeout` as the session has set it, in seconds.
    pub(crate) wait_timeout: Cell<Option<u64>>,
    /// `query_timeout` and `transaction_timeout` as the session has set them, in milliseconds.
    pub(crate) query_timeout: Cell<Option<u64>>,
    pub(crate) transaction_timeout: Cell<Option<u64>>,
    resting: Cell<bool>,
    /// KILL QUERY has been passed on to a server.
    killed: Cell<bool>,
    /// Another process would take the session over.
    move_asked: Cell<bool>,
    /// What that one has said.
    moved: Cell<Option<bool>>,
    pub(crate) in_transaction: Cell<bool>,
    /// Its connection is its own, because of this statement.
    pub(crate) pinned: Cell<bool>,
    pub(crate) pinned_by: RefCell<Vec<u8>>,
    waker: RefCell<Option<Waker>>,
}

impl SessionHandle {
    pub(crate) fn new(core: &Core, id: u32, host: String) -> Rc<Self> {
        let handle = Rc::new(Self {
            id,
            user: RefCell::default(),
            host,
            database: RefCell::default(),
            info: RefCell::default(),
            since: Cell::new(core.ring.now()),
            interrupt: Cell::new(None),
            deadline: Cell::new(Some(
                core.ring.now() + Duration::from_millis(core.config().handshake_timeout_ms),
            )),
            overdue: Cell::new(Interrupt::IdleTimeout),
            transaction_since: Cell::new(None),
            wait_timeout: Cell::new(None),
            query_timeout: Cell::new(None),
            transaction_timeout: Cell::new(None),
            resting: Cell::new(true),
            killed: Cell::new(false),
            move_asked: Cell::new(false),
            moved: Cell::new(None),
            in_transaction: Cell::new(false),
            pinned: Cell::new(false),
            pinned_by: RefCell::default(),
            waker: RefCell::default(),
        });
        core.sessions.borrow_mut().insert(id, Rc::clone(&handle));
        handle
    }

    /// A statement begins.
    #[inline]
    pub(crate) fn works(&self, core: &Core) {
        self.resting.set(false);
        self.since.set(core.ring.now());
        self.killed.set(false);
        let limit = self.query_timeout_ms(core);
        self.deadline
            .set((limit > 0).then(|| core.ring.now() + Duration::from_millis(limit)));
        if self.interrupt.get() == Some(Interrupt::KillQuery) {
            self.interrupt.set(None);
        }
    }

    /// The statement has a limit of its own (`/*vt+ QUERY_TIMEOUT_MS=... */`), in milliseconds; 0:
    /// none.
    #[inline]
    pub(crate) fn limit(&self, core: &Core, limit: Option<u64>) {
        if let Some(limit) = limit {
            self.deadline
                .set((limit > 0).then(|| core.ring.now() + Duration::from_millis(limit)));
        }
    }

    /// What a statement may take; 0: no limit.
    pub(crate) fn query_timeout_ms(&self, core: &Core) -> u64 {
        self.query_timeout
            .get()
            .unwrap_or_else(|| core.config().query_timeout_ms)
    }

    /// How long a transaction may be open; 0: no limit.
    pub(crate) fn transaction_timeout_ms(&self, core: &Core) -> u64 {
        self.transaction_timeout
            .get()
            .unwrap_or_else(|| core.config().transaction_timeout_ms)
    }

    /// The session has begun to keep its connection, or does so no more.
    #[cold]
    pub(crate) fn note_pinned(&self, pinned: bool) {
        self.pinned.set(pinned);
        let info = if pinned { self.info.borrow().clone() } else { Vec::new() };
        *self.pinned_by.borrow_mut() = info;
    }

    /// The session waits for its client.
    #[inline]
    pub(crate) fn rests(&self, core: &Core) {
        self.resting.set(true);
        let (began, now) = (self.since.replace(core.ring.now()), core.ring.now());
        let limit = self
            .wait_timeout
            .get()
            .unwrap_or_else(|| core.config().idle_timeout_s);
        self.overdue.set(Interrupt::IdleTimeout);
        self.deadline
            .set((limit > 0).then(|| now + Duration::from_secs(limit)));
        if self.in_transaction.get() {
            self.rests_in_transaction(core, began, now);
        } else {
            self.transaction_since.set(None);
        }
        // A KILL QUERY that came too late concerns no statement.
        if matches!(self.interrupt.get(), Some(Interrupt::KillQuery | Interrupt::QueryTimeout)) {
            self.interrupt.set(None);
        }
    }

    /// A transaction that is open has limits of its own, and holds locks. `began`: the statement
    /// that is over.
    fn rests_in_transaction(&self, core: &Core, began: Instant, now: Instant) {
        let since = self.transaction_since.get().unwrap_or(began);
        self.transaction_since.set(Some(since));
        let config = core.config();
        let limits = [
            (config.idle_transaction_timeout_ms, now, Interrupt::IdleTransaction),
            (self.transaction_timeout_ms(core), since, Interrupt::TransactionTimeout),
        ];
        for (limit, from, why) in limits.into_iter().filter(|(limit, ..)| *limit > 0) {
            let end = from + Duration::from_millis(limit);
            if self.deadline.get().is_none_or(|deadline| end < deadline) {
                self.deadline.set(Some(end));
                self.overdue.set(why);
            }
        }
    }

    /// The next one has its own time.
    pub(crate) fn transaction_is_over(&self) {
        self.transaction_since.set(None);
    }

    /// What the session runs, for SHOW PROCESSLIST. The buffer stays with the session.
    #[inline]
    pub(crate) fn runs(&self, text: &[u8]) {
        let mut info = self.info.borrow_mut();
        info.clear();
        info.extend_from_slice(text.get(..INFO_MAX).unwrap_or(text));
    }

    /// The server was told to end the statement; it has so long.
    pub(crate) fn must_end_soon(&self, core: &Core) {
        self.killed.set(true);
        self.deadline
            .set(Some(core.ring.now() + super::lost::STOP_MAX));
    }

    /// Is the statement at its end because it was killed, and not because of its time limit?
    pub(crate) fn was_killed(&self) -> bool {
        self.killed.get()
    }

    pub(crate) fn is_resting(&self) -> bool {
        self.resting.get()
    }

    pub(crate) fn check_deadline(&self, core: &Core, now: Instant) {
        if self.deadline.get().is_some_and(|deadline| now >= deadline) {
            self.deadline.set(None);
            let metrics = core.metrics();
            let (why, counter) = match (self.resting.get(), self.overdue.get()) {
                (true, Interrupt::IdleTimeout) => (Interrupt::IdleTimeout, &metrics.idle_timeouts),
                (true, why) => (why, &metrics.transaction_timeouts),
                (false, _) => (Interrupt::QueryTimeout, &metrics.query_timeouts),
            };
            counter.add(1);
            self.interrupt(core, why);
        }
    }

    /// Asks the session to stop.
    pub(crate) fn interrupt(&self, core: &Core, why: Interrupt) {
        if why == Interrupt::KillQuery && (self.resting.get() || self.interrupt.get().is_some()) {
            return;
        }
        self.interrupt.set(Some(why));
        if let Some(waker) = self.waker.borrow_mut().take() {
            core.ring.wake(waker);
        }
    }

    /// Asks a session that rests to go to another process.
    pub(crate) fn ask_to_move(&self, core: &Core) {
        if self.resting.get() && !self.in_transaction.get() && self.interrupt.get().is_none() {
            self.move_asked.set(true);
            self.wake(core);
        }
    }

    #[inline]
    pub(crate) fn is_asked_to_move(&self) -> bool {
        self.move_asked.get()
    }

    /// Is it asked to stop?
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.get().is_some()
    }

    pub(crate) fn forget_move(&self) {
        self.move_asked.set(false);
    }

    /// Has the other process taken it?
    pub(crate) fn tell_moved(&self, core: &Core, moved: bool) {
        self.moved.set(Some(moved));
        self.wake(core);
    }

    pub(crate) fn poll_moved(&self, cx: &mut Context<'_>) -> Poll<bool> {
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        self.moved.take().map_or(Poll::Pending, Poll::Ready)
    }

    fn wake(&self, core: &Core) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            core.ring.wake(waker);
        }
    }

    pub(crate) fn poll_interrupt(&self, cx: &mut Context<'_>) -> Poll<Interrupt> {
        if let Some(why) = self.interrupt.get() {
            return Poll::Ready(why);
        }
        let mut waker = self.waker.borrow_mut();
        match &*waker {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// KILL QUERY was taken notice of.
    pub(crate) fn acknowledge(&self) {
        self.interrupt.set(None);
    }

    /// Between statements: must the session end now?
    pub(crate) fn must_end(&self, core: &Core, in_transaction: bool) -> bool {
        match self.interrupt.get() {
            Some(Interrupt::KillConnection | Interrupt::Shutdown) => true,
            _ => core.shared.draining.load(Ordering::Relaxed) && !in_transaction,
        }
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.interrupt.get() == Some(Interrupt::KillConnection)
    }

    pub(crate) fn farewell(&self) -> SqlError {
        let (code, sqlstate, message) = match self.interrupt.get() {
            Some(Interrupt::KillConnection) => (1317, *b"70100", "Connection was killed"),
            Some(Interrupt::IdleTimeout) => (
                4031,
                *b"HY000",
                "The client was disconnected by the server because of inactivity. See \
                    idle_timeout_s for configuring this behavior.",
            ),
            Some(Interrupt::IdleTransaction) => (
                4031,
                *b"HY000",
                "The client was idle in a transaction for longer than \
                    server.idle_transaction_timeout_ms: the transaction was rolled back, \
                 and the session ends",
            ),
            Some(Interrupt::TransactionTimeout) => (
                4031,
                *b"HY000",
                "The transaction was open for longer than server.transaction_timeout_ms: it was \
                    rolled back, and the session ends",
            ),
            _ => (1053, *b"08S01", "Server shutdown in progress"),
        };
        SqlError { code, sqlstate, message: message.into() }
    }
}
