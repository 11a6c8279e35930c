//! Operations that are not a socket's receive or send: accepting and connecting.
use super::{Kind, Ring, RingInner, os_error, user_data};
use io_uring::{opcode, types};
use socket2::SockAddr;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// One operation in the kernel's hands.
pub(super) struct Op {
    results: VecDeque<i32>,
    armed: bool,
    waker: Option<Waker>,
    /// Read by the kernel until the operation ends.
    address: Option<Box<SockAddr>>,
    /// Descriptors in `results` belong to nobody yet.
    accepts: bool,
    orphan: bool,
}

impl Op {
    fn new(accepts: bool, address: Option<Box<SockAddr>>) -> Self {
        Self { results: VecDeque::new(), armed: true, waker: None, address, accepts, orphan: false }
    }
}

impl RingInner {
    pub(super) fn complete_op(self: &Rc<Self>, key: usize, result: i32, more: bool) {
        let mut ops = self.ops.borrow_mut();
        let Some(op) = ops.get_mut(key) else { return };
        op.armed = more;
        if op.orphan {
            if op.accepts && result >= 0 {
                // SAFETY: the kernel has just made this descriptor and told nobody else.
                drop(unsafe { OwnedFd::from_raw_fd(result) });
            }
            if !more {
                ops.remove(key);
            }
            return;
        }
        op.results.push_back(result);
        if let Some(waker) = op.waker.take() {
            waker.wake();
        }
    }

    fn abandon(&self, key: usize) {
        let armed = {
            let mut ops = self.ops.borrow_mut();
            let Some(op) = ops.get_mut(key) else { return };
            op.orphan = true;
            op.waker = None;
            for result in op.results.drain(..).filter(|r| op.accepts && *r >= 0) {
                // SAFETY: as in `complete_op`.
                drop(unsafe { OwnedFd::from_raw_fd(result) });
            }
            let armed = op.armed;
            if !armed {
                ops.remove(key);
            }
            armed
        };
        if armed {
            self.cancel(user_data(Kind::Op, key));
        }
    }
}

/// Connections of a listening socket, accepted by one operation that stays armed, or is armed again
/// for each.
pub struct Accept {
    ring: Ring,
    listener: socket2::Socket,
    key: usize,
    /// Not armed again.
    stopping: Cell<bool>,
}

impl Accept {
    pub fn new(ring: &Ring, listener: socket2::Socket) -> Self {
        let key = ring.inner.ops.borrow_mut().insert(Op::new(true, None));
        let accept = Self { ring: ring.clone(), listener, key, stopping: Cell::new(false) };
        accept.arm();
        accept
    }

    fn arm(&self) {
        let fd = types::Fd(self.listener.as_raw_fd());
        let entry = if self.ring.inner.config.features.multishot_accept {
            opcode::AcceptMulti::new(fd)
                .flags(libc::SOCK_CLOEXEC)
                .build()
        } else {
            opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut())
                .flags(libc::SOCK_CLOEXEC)
                .build()
        };
        let entry = entry.user_data(user_data(Kind::Op, self.key));
        // SAFETY: the entry points to no memory.
        unsafe { self.ring.inner.push(&entry) };
    }

    /// Accepts no more. Connections that the kernel has accepted meanwhile still come from
    /// [`Self::poll_next`], until [`Self::is_over`].
    pub fn stop(&self) {
        let armed = self
            .ring
            .inner
            .ops
            .borrow()
            .get(self.key)
            .is_some_and(|op| op.armed);
        if !self.stopping.replace(true) && armed {
            self.ring.inner.cancel(user_data(Kind::Op, self.key));
        }
    }

    /// Was it stopped, with nothing left to come?
    pub fn is_over(&self) -> bool {
        let ops = self.ring.inner.ops.borrow();
        let Some(op) = ops.get(self.key) else { return true };
        self.stopping.get() && !op.armed && op.results.is_empty()
    }

    /// The next connection. An error concerns that connection or this machine's limits; accepting
    /// goes on.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<io::Result<OwnedFd>> {
        let (result, armed) = {
            let mut ops = self.ring.inner.ops.borrow_mut();
            let op = &mut ops[self.key];
            let result = op.results.pop_front();
            if result.is_none() {
                op.waker = Some(cx.waker().clone());
            }
            let armed = op.armed;
            op.armed |= !self.stopping.get();
            (result, armed || self.stopping.get())
        };
        if !armed {
            self.arm();
        }
        match result {
            // SAFETY: the kernel has made this descriptor for us and it is taken from the results
            // once.
            Some(fd) if fd >= 0 => Poll::Ready(Ok(unsafe { OwnedFd::from_raw_fd(fd) })),
            Some(errno) => Poll::Ready(Err(os_error(errno))),
            None => Poll::Pending,
        }
    }
}

impl Drop for Accept {
    fn drop(&mut self) {
        self.ring.inner.abandon(self.key);
    }
}

/// A connect in progress; dropping it gives up.
pub struct Connect {
    ring: Ring,
    key: usize,
    socket: Option<socket2::Socket>,
}

impl Connect {
    pub fn new(ring: &Ring, socket: socket2::Socket, address: SockAddr) -> Self {
        let fd = types::Fd(socket.as_raw_fd());
        let address = Box::new(address);
        let (at, len) = (address.as_ptr().cast(), address.len());
        let key = ring
            .inner
            .ops
            .borrow_mut()
            .insert(Op::new(false, Some(address)));
        let entry = opcode::Connect::new(fd, at, len)
            .build()
            .user_data(user_data(Kind::Op, key));
        // SAFETY: the boxed address lies in the operation's slot until its completion.
        unsafe { ring.inner.push(&entry) };
        Self { ring: ring.clone(), key, socket: Some(socket) }
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<OwnedFd>> {
        let mut ops = self.ring.inner.ops.borrow_mut();
        let op = &mut ops[self.key];
        let Some(result) = op.results.pop_front() else {
            op.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        op.address = None;
        match self.socket.take() {
            Some(socket) if result >= 0 => Poll::Ready(Ok(socket.into())),
            _ => Poll::Ready(Err(os_error(result))),
        }
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        self.ring.inner.abandon(self.key);
    }
}

/// Becomes ready whenever a descriptor is readable: how messages of other threads reach the core.
pub struct Watch {
    ring: Ring,
    key: usize,
    fd: RawFd,
}

impl Watch {
    /// `fd` must stay open as long as the watch lives.
    pub fn new(ring: &Ring, fd: &impl AsRawFd) -> Self {
        let key = ring.inner.ops.borrow_mut().insert(Op::new(false, None));
        let watch = Self { ring: ring.clone(), key, fd: fd.as_raw_fd() };
        watch.arm();
        watch
    }

    fn arm(&self) {
        let entry = opcode::PollAdd::new(types::Fd(self.fd), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(user_data(Kind::Op, self.key));
        // SAFETY: the entry points to no memory.
        unsafe { self.ring.inner.push(&entry) };
    }

    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let (ready, armed) = {
            let mut ops = self.ring.inner.ops.borrow_mut();
            let op = &mut ops[self.key];
            let ready = !op.results.is_empty();
            op.results.clear();
            if !ready {
                op.waker = Some(cx.waker().clone());
            }
            (ready, std::mem::replace(&mut op.armed, true))
        };
        if !armed {
            self.arm();
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ring.inner.abandon(self.key);
    }
}
