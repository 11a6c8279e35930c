//! Waking a core from another thread: an eventfd that the ring polls.
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The sending half: any thread may ring it.
#[derive(Debug)]
pub struct Event {
    fd: OwnedFd,
}

impl Event {
    /// # Errors
    /// The limit of open files is reached.
    pub fn new() -> io::Result<Self> {
        // SAFETY: plain system call; the descriptor it returns is ours.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, owned by nobody else.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Wakes the core that polls this event.
    pub fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight valid bytes. A full counter means that the core was rung already.
        unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Makes it silent again; returns whether it had been rung.
    pub fn clear(&self) -> bool {
        let mut count = [0u8; 8];
        // SAFETY: eight writable bytes.
        unsafe { libc::read(self.fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) == 8 }
    }
}

impl AsRawFd for Event {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
