//! The data ring: one io_uring per core, on which all of its sockets live. This module and its
//! children are the only places with `unsafe` in the data plane.
//!
//! How it is used: sockets queue operations while tasks run; [`Ring::turn`], called by the one task
//! that drives the core, gives everything queued to the kernel in one `io_uring_enter` and sleeps
//! in the same call until something completes.
//!
//! Sends are executed inline by that call (`MSG_DONTWAIT`) and post no completion when they succeed
//! (`IOSQE_CQE_SKIP_SUCCESS`), so an answer on its way to a client never wakes the core. A send
//! that would block, or is short (`MSG_WAITALL` makes it a failure), does post one; the rest then
//! goes out as an ordinary asynchronous send.
//!
//! Kernels that lack a feature get an older way of doing the same ([`Features`]): no buffer rings
//! means that a socket waits until it is readable and only then takes a buffer; no silent
//! completions means ordinary asynchronous sends.
mod buffers;
mod event;
mod features;
mod ops;
mod shutter;
mod socket;

pub use buffers::Buf;
pub use event::Event;
pub use features::{Features, Kernel, LEAST_KERNEL, TaskRun};
pub use ops::{Accept, Connect, Watch};
pub use shutter::Shutter;
pub use socket::Socket;

use crate::error::StartError;
use buffers::BufferGroup;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use slab::Slab;
use socket::SocketInner;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

/// Entries of the submission queue; a fuller queue is submitted at once, so this bounds a batch,
/// not the connections.
const SQ_ENTRIES: u32 = 1024;
/// Room for completions between two turns.
const CQ_ENTRIES: u32 = 16384;
/// How often a lack of buffers is logged, at most.
const EXHAUSTION_TOLD_EVERY: Duration = Duration::from_secs(10);
/// Never wait for more answers than this at once.
const COALESCE_ANSWERS_MAX: usize = 16;
/// Buffers for requests and short answers: size in bytes, how many at first.
const SMALL: (usize, u16) = (8 << 10, 64);
/// Buffers for large answers.
const LARGE: (usize, u16) = (64 << 10, 4);

/// How a core waits.
#[derive(Debug, Clone, Copy)]
pub struct RingConfig {
    /// While several answers are on their way, sleep for half of them, at most so much longer (µs).
    /// 0 switches it off.
    pub coalesce_us: u32,
    /// Buffers for requests and short answers, 8 KiB each, at most; a power of two.
    pub buffers_small_max: u16,
    /// Buffers for large answers, 64 KiB each, at most; a power of two.
    pub buffers_large_max: u16,
    /// What the kernel can do and may be asked for.
    pub features: Features,
}

impl RingConfig {
    /// The ordinary number of buffers.
    pub fn new(coalesce_us: u32, features: Features) -> Self {
        Self { coalesce_us, buffers_small_max: 4096, buffers_large_max: 512, features }
    }
}

/// What the ring counts. Plain cells: one core writes, the core's publisher copies them out.
#[derive(Debug, Default)]
pub struct RingStats {
    pub turns: Cell<u64>,
    pub sleeps: Cell<u64>,
    pub coalesced_sleeps: Cell<u64>,
    pub completions: Cell<u64>,
    pub submissions: Cell<u64>,
    pub buffers_exhausted: Cell<u64>,
    /// Buffers' contents copied away because their reader lagged.
    pub buffers_spilled: Cell<u64>,
    pub blocked_sends: Cell<u64>,
}

fn bump(counter: &Cell<u64>, by: u64) {
    counter.set(counter.get().wrapping_add(by));
}

/// Which operation a completion belongs to: the high half of `user_data`; the low half is the index
/// in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Kind {
    Recv = 1,
    SendInline = 2,
    Send = 3,
    Op = 4,
    Ignore = 5,
    /// Bytes wait for a receive into a buffer of our own.
    Readable = 6,
}

fn user_data(kind: Kind, key: usize) -> u64 {
    ((kind as u64) << 32) | key as u64
}

/// A core's ring. Cheap to clone; not `Send`.
#[derive(Clone)]
pub struct Ring {
    inner: Rc<RingInner>,
}

struct RingInner {
    uring: RefCell<IoUring>,
    config: RingConfig,
    sockets: RefCell<Slab<Rc<SocketInner>>>,
    ops: RefCell<Slab<ops::Op>>,
    small: Rc<BufferGroup>,
    large: Rc<BufferGroup>,
    /// Sockets with an inline send in the queue.
    batch: RefCell<Vec<Rc<SocketInner>>>,
    /// Sockets whose inline send the kernel has executed; a failure among them has posted a
    /// completion.
    executed: RefCell<Vec<Rc<SocketInner>>>,
    /// Completions of one turn, drained before any is handled.
    reaped: RefCell<Vec<cqueue::Entry>>,
    /// When it was last told that the core has no buffers left.
    exhaustion_told: Cell<Option<Instant>>,
    /// Dropped sockets that still have bytes to send.
    lingering: RefCell<Vec<(Instant, Rc<SocketInner>)>>,
    /// Queries whose answer has not come yet: how many completions are worth waiting for.
    in_flight: Cell<usize>,
    /// A task was woken by something else than a completion: do not sleep before it ran.
    runnable: Cell<bool>,
    now: Cell<Instant>,
    stats: RingStats,
}

impl Ring {
    /// Creates the core's ring. Must run on the core's own thread: the kernel allows one submitter
    /// only.
    ///
    /// # Errors
    /// [`StartError::IoUring`] with what is missing on this machine.
    pub fn new(config: RingConfig) -> Result<Self, StartError> {
        let features = config.features;
        let (uring, _) = features::build(SQ_ENTRIES, CQ_ENTRIES, features.task_run)
            .map_err(|e| StartError::IoUring(crate::error::explain_io_uring(&e)))?;
        let group = |id, (size, first): (usize, u16), most: u16| {
            // The kernel takes rings of a power of two entries, up to 2^15.
            let most = most.clamp(1, 1 << 15).next_power_of_two();
            let sizes = (size, first.min(most), most);
            match features.buffer_rings {
                true => BufferGroup::register(&uring, id, sizes),
                false => Ok(BufferGroup::own(id, sizes)),
            }
        };
        let small = group(0, SMALL, config.buffers_small_max)?;
        let large = group(1, LARGE, config.buffers_large_max)?;
        let inner = RingInner {
            uring: RefCell::new(uring),
            config,
            sockets: RefCell::default(),
            ops: RefCell::default(),
            small: Rc::new(small),
            large: Rc::new(large),
            batch: RefCell::default(),
            executed: RefCell::default(),
            reaped: RefCell::default(),
            exhaustion_told: Cell::new(None),
            lingering: RefCell::default(),
            in_flight: Cell::new(0),
            runnable: Cell::new(true),
            now: Cell::new(Instant::now()),
            stats: RingStats::default(),
        };
        Ok(Self { inner: Rc::new(inner) })
    }

    /// Receive buffers that nobody holds.
    pub fn buffers_free(&self) -> usize {
        self.inner.small.free() + self.inner.large.free()
    }

    /// The time at the last turn. Good enough for timeouts, and free.
    pub fn now(&self) -> Instant {
        self.inner.now.get()
    }

    pub fn stats(&self) -> &RingStats {
        &self.inner.stats
    }

    /// Number of open sockets, for tests and metrics.
    pub fn sockets(&self) -> usize {
        self.inner.sockets.borrow().len()
    }

    /// One more query waits for its answer.
    pub fn answer_expected(&self) {
        self.inner.in_flight.set(self.inner.in_flight.get() + 1);
    }

    pub fn answer_came(&self) {
        self.inner
            .in_flight
            .set(self.inner.in_flight.get().saturating_sub(1));
    }

    /// A task became runnable without a completion (a pool handed over a connection, a task was
    /// spawned).
    pub fn mark_runnable(&self) {
        self.inner.runnable.set(true);
    }

    /// Wakes a task of this core outside of a completion.
    pub fn wake(&self, waker: Waker) {
        self.mark_runnable();
        waker.wake();
    }

    /// Submits what is queued and handles what has completed; sleeps for completions, at most
    /// `limit`, when no task is runnable.
    pub fn turn(&self, limit: Duration) {
        let inner = &self.inner;
        bump(&inner.stats.turns, 1);
        let sleep = !inner.runnable.replace(false) && !limit.is_zero();
        inner.enter(sleep.then_some(limit));
        inner.now.set(Instant::now());
        inner.reap();
        inner.close_lingering();
    }
}

impl RingInner {
    /// One `io_uring_enter`.
    fn enter(&self, sleep: Option<Duration>) {
        let uring = self.uring.borrow();
        let Some(limit) = sleep else { return self.enter_without_sleep(&uring) };
        bump(&self.stats.sleeps, 1);
        let time = types::Timespec::from(limit);
        let half = (self.in_flight.get() / 2).clamp(1, COALESCE_ANSWERS_MAX);
        let coalesce = self.config.features.min_wait && self.config.coalesce_us > 0 && half > 1;
        let (want, min_wait) = if coalesce { (half, self.config.coalesce_us) } else { (1, 0) };
        if coalesce {
            bump(&self.stats.coalesced_sleeps, 1);
        }
        let args = types::SubmitArgs::new()
            .timespec(&time)
            .min_wait_usec(min_wait);
        // ETIME, EINTR and EBUSY only mean that there is less to reap.
        let _ = uring.submitter().submit_with_args(want, &args);
        self.after_enter(&uring);
    }

    fn enter_without_sleep(&self, uring: &IoUring) {
        const GETEVENTS: u32 = 1;
        // SAFETY: no other queue handle of this ring is alive: every one lives for one expression.
        let queued = unsafe { uring.submission_shared() }.len() as u32;
        // SAFETY: no signal mask is passed; entries in the queue were vouched for when they were
        // pushed.
        let _ = unsafe {
            uring
                .submitter()
                .enter::<libc::sigset_t>(queued, 0, GETEVENTS, None)
        };
        self.after_enter(uring);
    }

    /// When the queue is empty, every inline send of the batch has been executed.
    fn after_enter(&self, uring: &IoUring) {
        // SAFETY: as in `enter_without_sleep`.
        if unsafe { uring.submission_shared() }.is_empty() {
            self.executed
                .borrow_mut()
                .append(&mut self.batch.borrow_mut());
        }
    }

    /// Queues an entry for the next `enter`.
    ///
    /// # Safety
    /// Memory that the entry points to must stay valid until its completion was handled.
    unsafe fn push(&self, entry: &squeue::Entry) {
        loop {
            let mut uring = self.uring.borrow_mut();
            // SAFETY: the caller's promise.
            if unsafe { uring.submission().push(entry) }.is_ok() {
                bump(&self.stats.submissions, 1);
                return;
            }
            // Full: give the batch to the kernel now. Completions are handled in the next turn.
            self.enter_without_sleep(&uring);
        }
    }

    /// Handles all completions, then ends the inline sends that were executed: those without a
    /// completion have succeeded.
    fn reap(self: &Rc<Self>) {
        let mut reaped = std::mem::take(&mut *self.reaped.borrow_mut());
        loop {
            let overflow = {
                let mut uring = self.uring.borrow_mut();
                reaped.extend(uring.completion());
                uring.submission().cq_overflow()
            };
            if !overflow {
                break;
            }
            self.enter_without_sleep(&self.uring.borrow());
        }
        bump(&self.stats.completions, reaped.len() as u64);
        for done in reaped.drain(..) {
            self.complete(&done);
        }
        *self.reaped.borrow_mut() = reaped;
        let mut executed = std::mem::take(&mut *self.executed.borrow_mut());
        for socket in executed.drain(..) {
            socket.on_inline_send_done(self);
        }
        *self.executed.borrow_mut() = executed;
    }

    fn complete(self: &Rc<Self>, done: &cqueue::Entry) {
        let key = (done.user_data() & 0xffff_ffff) as usize;
        let kind = done.user_data() >> 32;
        if kind == Kind::Op as u64 {
            return self.complete_op(key, done.result(), cqueue::more(done.flags()));
        }
        let Some(socket) = self.sockets.borrow().get(key).cloned() else { return };
        match kind {
            k if k == Kind::Recv as u64 => socket.on_recv(self, done.result(), done.flags()),
            k if k == Kind::Readable as u64 => socket.on_readable(self, done.result()),
            k if k == Kind::SendInline as u64 => socket.on_inline_send_failed(self, done.result()),
            k if k == Kind::Send as u64 => socket.on_send(self, done.result()),
            _ => {}
        }
    }

    /// Every buffer of a size is held: receives take memory of their own, which costs more.
    #[cold]
    fn note_exhaustion(&self) {
        let now = self.now.get();
        let told = self.exhaustion_told.get();
        if told.is_none_or(|at| now.saturating_duration_since(at) >= EXHAUSTION_TOLD_EVERY) {
            self.exhaustion_told.set(Some(now));
            tracing::warn!(
                free_8k = self.small.free(),
                free_64k = self.large.free(),
                "a core's receive buffers are all in use, by clients that do not read perhaps; \
                 cores.buffers_8k_max and cores.buffers_64k_max allow for more"
            );
        }
    }

    fn close_lingering(self: &Rc<Self>) {
        if self.lingering.borrow().is_empty() {
            return;
        }
        let now = self.now.get();
        self.lingering.borrow_mut().retain(|(deadline, socket)| {
            if now >= *deadline {
                socket.shutdown();
            }
            now < *deadline
        });
    }

    /// Cancels the operation with this `user_data`; its own completion tells what came of it.
    fn cancel(&self, user_data_of: u64) {
        let mut entry = opcode::AsyncCancel::new(user_data_of)
            .build()
            .user_data(user_data(Kind::Ignore, 0));
        if self.config.features.silent_sends {
            entry = entry.flags(squeue::Flags::SKIP_SUCCESS);
        }
        // SAFETY: the entry points to no memory.
        unsafe { self.push(&entry) };
    }

    fn buffers(&self, bulk: bool) -> &Rc<BufferGroup> {
        if bulk { &self.large } else { &self.small }
    }
}

/// `io::Error` of a negative completion.
fn os_error(result: i32) -> io::Error {
    io::Error::from_raw_os_error(-result)
}
