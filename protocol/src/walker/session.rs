//! Puts aside the few OK packets that tell of changes of the session's state.

use crate::capability::Capabilities;
use crate::error::ProtocolError;
use crate::response::{OkPacket, SessionChanges};

/// An OK packet that is larger is an error: no server tracks so much.
const PACKET_BYTES_MAX: usize = 4 << 20;

/// Collects session-state blocks. Holds no memory on a session that changes nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Collector {
    collecting: bool,
    packet: Vec<u8>,
    /// The blocks of all packets: one after the other they are a block again.
    blocks: Vec<u8>,
}

impl Collector {
    /// The packet whose payload comes next, from its first byte, is to be collected.
    pub(super) fn begin(&mut self) {
        self.collecting = true;
        self.packet.clear();
    }

    #[inline]
    pub(super) fn is_collecting(&self) -> bool {
        self.collecting
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        let len = self.packet.len() + bytes.len();
        if len > PACKET_BYTES_MAX {
            return Err(ProtocolError::PacketTooLarge { len, limit: PACKET_BYTES_MAX });
        }
        self.packet.extend_from_slice(bytes);
        Ok(())
    }

    /// The packet is complete.
    pub(super) fn end(&mut self, caps: Capabilities) -> Result<(), ProtocolError> {
        self.collecting = false;
        let ok = OkPacket::parse(&self.packet, caps)?;
        self.blocks.extend_from_slice(ok.session.raw());
        Ok(())
    }

    pub(super) fn changes(&self) -> SessionChanges<'_> {
        SessionChanges::new(&self.blocks)
    }
}
