//! A socket that is given away: nothing is received on it any more, so that whoever has it next
//! gets every byte.
use super::super::{Kind, user_data};
use super::{Recv, Socket};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

impl Socket {
    /// Receives nothing from now on. Bytes that the kernel has taken already are there to be read.
    pub fn hold_still(&self) {
        self.inner.still.set(true);
        if self.inner.recv.get() == Recv::Armed {
            let ring = &self.ring.inner;
            self.inner.cancel(ring);
            // Without a buffer ring, or without buffers, it waits to be readable.
            ring.cancel(user_data(Kind::Readable, self.inner.key.get()));
        }
    }

    /// Is nothing received any more?
    pub fn poll_still(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.inner.recv.get() == Recv::Idle {
            return Poll::Ready(());
        }
        self.inner.register(cx.waker());
        Poll::Pending
    }

    /// Receives again, with the next reader.
    pub fn let_go(&self) {
        self.inner.still.set(false);
    }

    /// Another descriptor of the same connection.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn copy_fd(&self) -> io::Result<OwnedFd> {
        // SAFETY: the descriptor is open as long as this socket lives.
        unsafe { BorrowedFd::borrow_raw(self.inner.fd) }.try_clone_to_owned()
    }
}
