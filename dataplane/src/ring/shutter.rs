//! Ending a connection that somebody else holds.
use super::socket::{Socket, SocketInner};
use std::rc::{Rc, Weak};

/// Ends a socket without keeping it open: whoever waits on it sees the end of the stream.
pub struct Shutter(Weak<SocketInner>);

impl Socket {
    pub fn shutter(&self) -> Shutter {
        Shutter(Rc::downgrade(&self.inner))
    }
}

impl Shutter {
    pub fn shut(&self) {
        if let Some(socket) = self.0.upgrade() {
            socket.shutdown();
        }
    }

    /// The connection is closed.
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}
