//! Large receive buffers, where there is much to receive.
use super::super::buffers::Buf;
use super::{Recv, Socket};

impl Socket {
    /// Receive into large buffers from now on (a large answer), or into small ones again.
    pub fn set_bulk(&self, bulk: bool) {
        let inner = &self.inner;
        if inner.bulk.replace(bulk) != bulk
            && inner.recv.get() == Recv::Armed
            && self.ring.inner.config.features.multishot_recv
        {
            inner.cancel(&self.ring.inner);
        }
    }

    /// A part of an answer came that fills a whole buffer: a large answer, for which large buffers
    /// pay.
    pub fn expect_more(&self, part: &Buf) {
        if part.is_full() {
            self.set_bulk(true);
        }
    }
}
