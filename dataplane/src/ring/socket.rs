//! A socket on the ring: a receive that is always armed while there is room, and a queue of sends.
mod bulk;
mod still;

use super::buffers::Buf;
use super::{Kind, Ring, RingInner, SMALL, bump, user_data};
use io_uring::{cqueue, opcode, squeue, types};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How long a closed socket may take to send its last bytes.
const LINGER: Duration = Duration::from_secs(5);
/// `IORING_RECVSEND_POLL_FIRST`: do not try before the socket is readable.
const POLL_FIRST: u16 = 1;
/// A reader that lags this many buffers behind stops the receive.
const PARKED_MAX: usize = 4;
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// An open connection. Dropping it sends what is queued, then closes.
pub struct Socket {
    pub(super) inner: Rc<SocketInner>,
    ring: Ring,
}

pub(super) struct SocketInner {
    fd: RawFd,
    key: Cell<usize>,
    recv: Cell<Recv>,
    bulk: Cell<bool>,
    /// The armed receive uses large buffers.
    armed_bulk: Cell<bool>,
    /// The buffer that a receive without a buffer ring fills.
    receiving: RefCell<Option<Buf>>,
    /// Received and not yet read.
    parked: RefCell<VecDeque<Buf>>,
    /// End of stream (0) or an error number.
    end: Cell<Option<i32>>,
    send: Cell<Send>,
    /// The buffer that the kernel reads from.
    sending: RefCell<Option<Buf>>,
    queue: RefCell<VecDeque<Buf>>,
    unsent: Cell<usize>,
    send_error: Cell<i32>,
    /// A task waits for the send queue to shrink.
    wants_room: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    dropped: Cell<bool>,
    /// Nothing is received until it is let go: see `still`.
    still: Cell<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Recv {
    Idle,
    Armed,
    /// Stopped for back-pressure or a change of buffers; the last completion is still to come.
    Cancelling,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Send {
    Idle,
    /// In the batch that the next `enter` executes.
    Inline,
    /// Inline, and its completion said that it failed.
    InlineFailed,
    /// Waits in the kernel for room.
    Async,
}

impl Socket {
    /// Takes over a connected stream socket and arms its receive.
    pub fn new(ring: &Ring, fd: OwnedFd) -> Self {
        let inner = Rc::new(SocketInner {
            fd: fd.into_raw_fd(),
            key: Cell::new(0),
            recv: Cell::new(Recv::Idle),
            bulk: Cell::new(false),
            armed_bulk: Cell::new(false),
            receiving: RefCell::default(),
            parked: RefCell::default(),
            end: Cell::new(None),
            send: Cell::new(Send::Idle),
            sending: RefCell::default(),
            queue: RefCell::default(),
            unsent: Cell::new(0),
            send_error: Cell::new(0),
            wants_room: Cell::new(false),
            waker: RefCell::default(),
            dropped: Cell::new(false),
            still: Cell::new(false),
        });
        let key = ring.inner.sockets.borrow_mut().insert(Rc::clone(&inner));
        inner.key.set(key);
        inner.arm(&ring.inner);
        Self { inner, ring: ring.clone() }
    }

    /// The next bytes, or `None` at the end of the stream.
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Buf>>> {
        let inner = &self.inner;
        let parked = inner.parked.borrow_mut().pop_front();
        if let Some(buf) = parked {
            if inner.recv.get() == Recv::Idle && inner.end.get().is_none() {
                inner.arm_if_wanted(&self.ring.inner);
            }
            return Poll::Ready(Ok(Some(buf)));
        }
        match inner.end.get() {
            Some(0) => Poll::Ready(Ok(None)),
            Some(errno) => Poll::Ready(Err(io::Error::from_raw_os_error(errno))),
            None => {
                if inner.recv.get() == Recv::Idle {
                    inner.arm(&self.ring.inner);
                }
                inner.register(cx.waker());
                Poll::Pending
            }
        }
    }

    /// Has the peer closed, with nothing left to read? Wakes the task when that happens.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let inner = &self.inner;
        if inner.end.get().is_some() && inner.parked.borrow().is_empty() {
            return Poll::Ready(());
        }
        inner.register(cx.waker());
        Poll::Pending
    }

    /// Queues bytes. Errors show at the next receive: a connection that cannot send is not read
    /// from either.
    pub fn send(&self, buf: Buf) {
        if buf.is_empty() {
            return;
        }
        let inner = &self.inner;
        inner.unsent.set(inner.unsent.get() + buf.len());
        if inner.send.get() == Send::Idle {
            inner.start_send(&self.ring.inner, buf);
        } else {
            // The bytes that wait for a slow peer are bounded; small parts must not hold a whole
            // buffer each.
            inner.queue.borrow_mut().push_back(buf.into_small());
            inner.await_inline(&self.ring.inner);
        }
    }

    /// Ready when fewer than `limit` bytes wait to be sent, or when sending has failed.
    pub fn poll_sendable(&self, cx: &mut Context<'_>, limit: usize) -> Poll<io::Result<()>> {
        let inner = &self.inner;
        match inner.send_error.get() {
            0 if inner.unsent.get() < limit => Poll::Ready(Ok(())),
            0 => {
                inner.wants_room.set(true);
                inner.await_inline(&self.ring.inner);
                inner.register(cx.waker());
                Poll::Pending
            }
            errno => Poll::Ready(Err(io::Error::from_raw_os_error(errno))),
        }
    }

    /// Bytes queued and not yet taken by the kernel.
    pub fn unsent(&self) -> usize {
        self.inner.unsent.get()
    }

    /// Nothing received that was not read, nothing to send, still open: fit to be kept in a pool.
    pub fn is_quiet(&self) -> bool {
        let inner = &self.inner;
        inner.end.get().is_none()
            && inner.send_error.get() == 0
            && inner.unsent.get() == 0
            && inner.parked.borrow().is_empty()
    }

    /// As [`Self::is_quiet`], but bytes may still be on their way out.
    pub fn is_open(&self) -> bool {
        self.inner.end.get().is_none() && self.inner.send_error.get() == 0
    }

    /// Ends both directions; whoever waits on this socket sees the end of the stream.
    pub fn shutdown(&self) {
        self.inner.shutdown();
    }

    /// Forgets the task that waits on this socket: for a connection that rests in a pool.
    pub fn forget_waker(&self) {
        *self.inner.waker.borrow_mut() = None;
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.fd
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let inner = &self.inner;
        inner.dropped.set(true);
        *inner.waker.borrow_mut() = None;
        inner.parked.borrow_mut().clear();
        if inner.unsent.get() > 0 && inner.send_error.get() == 0 {
            let deadline = self.ring.now() + LINGER;
            self.ring
                .inner
                .lingering
                .borrow_mut()
                .push((deadline, Rc::clone(inner)));
            self.ring.mark_runnable();
        } else {
            inner.finish(&self.ring.inner);
        }
    }
}

impl SocketInner {
    fn register(&self, waker: &Waker) {
        let mut slot = self.waker.borrow_mut();
        match &*slot {
            Some(known) if known.will_wake(waker) => {}
            _ => *slot = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Asks the kernel for the next bytes.
    pub(super) fn arm(&self, ring: &Rc<RingInner>) {
        if self.dropped.get()
            || self.still.get()
            || self.end.get().is_some()
            || self.recv.get() == Recv::Armed
        {
            return;
        }
        self.recv.set(Recv::Armed);
        self.armed_bulk.set(self.bulk.get());
        let group = ring.buffers(self.bulk.get());
        let fd = types::Fd(self.fd);
        if !ring.config.features.buffer_rings {
            return self.watch(ring);
        }
        let entry = if ring.config.features.multishot_recv && !self.bulk.get() {
            opcode::RecvMulti::new(fd, group.id).build()
        } else {
            let first = if self.bulk.get() { 0 } else { POLL_FIRST };
            opcode::Recv::new(fd, std::ptr::null_mut(), group.size as u32)
                .buf_group(group.id)
                .ioprio(first)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
        };
        // SAFETY: the kernel writes into buffers of the group only, which live as long as the ring.
        unsafe { ring.push(&entry.user_data(user_data(Kind::Recv, self.key.get()))) };
    }

    /// Without a buffer ring: no buffer is taken before the socket is readable, so that a resting
    /// connection owns none.
    fn watch(&self, ring: &Rc<RingInner>) {
        let entry = opcode::PollAdd::new(types::Fd(self.fd), libc::POLLIN as u32)
            .build()
            .user_data(user_data(Kind::Readable, self.key.get()));
        // SAFETY: the entry points to no memory.
        unsafe { ring.push(&entry) };
    }

    /// There are bytes, or an end or an error, which the receive will find.
    pub(super) fn on_readable(self: &Rc<Self>, ring: &Rc<RingInner>, result: i32) {
        if result < 0 {
            return self.on_recv(ring, result, 0);
        }
        let group = ring.buffers(self.armed_bulk.get());
        // Where the core has no buffer left, this socket gets one of its own: however many others
        // hold, it goes on.
        let mut buf = group.lend().unwrap_or_else(|| Buf::from(vec![0; SMALL.0]));
        let bytes = buf.bytes_mut();
        let entry = opcode::Recv::new(types::Fd(self.fd), bytes.as_mut_ptr(), bytes.len() as u32)
            .flags(libc::MSG_DONTWAIT)
            .build()
            .user_data(user_data(Kind::Recv, self.key.get()));
        *self.receiving.borrow_mut() = Some(buf);
        // SAFETY: the buffer lies in `receiving` until the completion.
        unsafe { ring.push(&entry) };
    }

    fn cancel(&self, ring: &Rc<RingInner>) {
        self.recv.set(Recv::Cancelling);
        ring.cancel(user_data(Kind::Recv, self.key.get()));
    }

    pub(super) fn on_recv(self: &Rc<Self>, ring: &Rc<RingInner>, result: i32, flags: u32) {
        let more = cqueue::more(flags);
        let stopped = self.recv.get() == Recv::Cancelling;
        if !more {
            self.recv.set(Recv::Idle);
        }
        let len = usize::try_from(result).unwrap_or(0);
        let picked = cqueue::buffer_select(flags)
            .map(|id| ring.buffers(self.armed_bulk.get()).take(id, len));
        let filled = picked.or_else(|| self.receiving.borrow_mut().take());
        if let Some(mut buf) = filled
            && result > 0
            && !self.dropped.get()
        {
            buf.truncate(len);
            let mut parked = self.parked.borrow_mut();
            if parked.len() >= PARKED_MAX {
                // A multishot receive goes on until its cancellation has arrived: what it takes
                // till then must not be the core's buffers.
                buf = buf.into_heap();
                bump(&ring.stats.buffers_spilled, 1);
            }
            parked.push_back(buf);
        }
        match result {
            1.. => self.keep_receiving(ring, more),
            0 => self.end.set(Some(0)),
            e if e == -libc::ENOBUFS => return self.starve(ring),
            e if (e == -libc::ECANCELED && stopped) || e == -libc::EINTR || e == -libc::EAGAIN => {
                self.arm_if_wanted(ring)
            }
            e => self.end.set(Some(-e)),
        }
        if self.dropped.get() {
            return self.finish(ring);
        }
        self.wake();
    }

    fn keep_receiving(&self, ring: &Rc<RingInner>, more: bool) {
        let parked = self.parked.borrow().len();
        if more {
            if parked >= PARKED_MAX && self.recv.get() == Recv::Armed {
                self.cancel(ring);
            }
        } else {
            self.arm_if_wanted(ring);
        }
    }

    /// Arms the next receive unless the reader lags: a slow reader slows the peer, memory stays
    /// flat.
    fn arm_if_wanted(&self, ring: &Rc<RingInner>) {
        if !self.lags() {
            self.arm(ring);
        }
    }

    fn lags(&self) -> bool {
        let parked = self.parked.borrow().len();
        parked >= if self.bulk.get() { 1 } else { 2 }
    }

    fn starve(self: &Rc<Self>, ring: &Rc<RingInner>) {
        bump(&ring.stats.buffers_exhausted, 1);
        self.recv.set(Recv::Idle);
        if self.dropped.get() {
            return self.finish(ring);
        }
        if ring.buffers(self.armed_bulk.get()).grow() {
            return self.arm_if_wanted(ring);
        }
        ring.note_exhaustion();
        if self.lags() || self.still.get() {
            return;
        }
        self.recv.set(Recv::Armed);
        self.watch(ring);
    }

    fn start_send(self: &Rc<Self>, ring: &Rc<RingInner>, buf: Buf) {
        let (at, len) = (buf.as_ptr(), buf.len() as u32);
        *self.sending.borrow_mut() = Some(buf);
        if !ring.config.features.silent_sends {
            // Every send posts a completion: one way of sending is enough.
            return self.resume_send(ring, 0);
        }
        self.send.set(Send::Inline);
        let entry = opcode::Send::new(types::Fd(self.fd), at, len)
            .flags(SEND_FLAGS | libc::MSG_DONTWAIT)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(user_data(Kind::SendInline, self.key.get()));
        ring.batch.borrow_mut().push(Rc::clone(self));
        // SAFETY: the buffer lies in `sending` until the batch has ended or the asynchronous send
        // that follows is done.
        unsafe { ring.push(&entry) };
    }

    pub(super) fn on_inline_send_failed(self: &Rc<Self>, ring: &Rc<RingInner>, result: i32) {
        self.send.set(Send::InlineFailed);
        bump(&ring.stats.blocked_sends, 1);
        match result {
            n if n >= 0 => self.resume_send(ring, n as usize),
            e if e == -libc::EAGAIN || e == -libc::EINTR => self.resume_send(ring, 0),
            e => self.fail_send(ring, -e),
        }
    }

    /// `sent` bytes are gone; the rest waits in the kernel for room.
    fn resume_send(self: &Rc<Self>, ring: &Rc<RingInner>, sent: usize) {
        self.unsent.set(self.unsent.get().saturating_sub(sent));
        let (at, len) = {
            let mut sending = self.sending.borrow_mut();
            let Some(buf) = sending.as_mut() else { return };
            buf.consume(sent);
            (buf.as_ptr(), buf.len() as u32)
        };
        if len == 0 {
            return self.next_send(ring);
        }
        self.send.set(Send::Async);
        let entry = opcode::Send::new(types::Fd(self.fd), at, len)
            .flags(SEND_FLAGS)
            .build()
            .user_data(user_data(Kind::Send, self.key.get()));
        // SAFETY: the buffer lies in `sending` until the completion.
        unsafe { ring.push(&entry) };
    }

    pub(super) fn on_send(self: &Rc<Self>, ring: &Rc<RingInner>, result: i32) {
        match result {
            n if n >= 0 => self.resume_send(ring, n as usize),
            e if e == -libc::EAGAIN || e == -libc::EINTR => self.resume_send(ring, 0),
            e => self.fail_send(ring, -e),
        }
    }

    pub(super) fn on_inline_send_done(self: &Rc<Self>, ring: &Rc<RingInner>) {
        if self.send.get() == Send::Inline {
            let sent = self.sending.borrow().as_ref().map_or(0, |buf| buf.len());
            self.unsent.set(self.unsent.get().saturating_sub(sent));
            self.next_send(ring);
        }
    }

    fn next_send(self: &Rc<Self>, ring: &Rc<RingInner>) {
        *self.sending.borrow_mut() = None;
        self.send.set(Send::Idle);
        let next = self.queue.borrow_mut().pop_front();
        if let Some(buf) = next {
            self.start_send(ring, buf);
            if !self.queue.borrow().is_empty() {
                self.await_inline(ring);
            }
            return self.wake_sender(ring);
        }
        if self.dropped.get() {
            return self.finish(ring);
        }
        self.queue.borrow_mut().shrink_to(4);
        self.wake_sender(ring);
    }

    /// Something goes on when the inline send has been executed. That posts no completion, so that
    /// the core must not sleep in the `enter` that executes it.
    fn await_inline(&self, ring: &RingInner) {
        if self.send.get() == Send::Inline {
            ring.runnable.set(true);
        }
    }

    fn wake_sender(&self, ring: &Rc<RingInner>) {
        if self.wants_room.replace(false) {
            ring.runnable.set(true);
            self.wake();
        }
    }

    fn fail_send(self: &Rc<Self>, ring: &Rc<RingInner>, errno: i32) {
        self.send_error.set(errno);
        self.send.set(Send::Idle);
        *self.sending.borrow_mut() = None;
        self.queue.borrow_mut().clear();
        self.unsent.set(0);
        if self.dropped.get() {
            return self.finish(ring);
        }
        self.shutdown();
        self.wake();
    }

    pub(super) fn shutdown(&self) {
        // SAFETY: the descriptor is open: it is closed in `finish` only, which removes this socket
        // from the ring.
        unsafe { libc::shutdown(self.fd, libc::SHUT_RDWR) };
    }

    /// Closes a dropped socket when the kernel holds nothing of it any more.
    fn finish(self: &Rc<Self>, ring: &Rc<RingInner>) {
        if matches!(self.recv.get(), Recv::Armed | Recv::Cancelling)
            || self.send.get() != Send::Idle
        {
            return self.shutdown();
        }
        let known = ring.sockets.borrow_mut().try_remove(self.key.get());
        if known.is_some() {
            ring.lingering
                .borrow_mut()
                .retain(|(_, socket)| !Rc::ptr_eq(socket, self));
            // SAFETY: the descriptor came from an `OwnedFd`, no operation uses it, and this runs
            // once: the key is gone.
            drop(unsafe { OwnedFd::from_raw_fd(self.fd) });
        }
    }
}
