//! What can go wrong on the wire, whose fault it is, and how it is told to a MySQL client.

use crate::codes;

/// Whose fault a [`ProtocolError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer sent bytes that no MySQL peer should send. Close the connection.
    PeerMisbehaved,
    /// The peer is sound, but speaks a dialect that cannot be served.
    PeerIncompatible,
    /// A limit of ours was hit.
    Limit,
    /// The code that drives this crate called it out of order. Please file a bug.
    Misuse,
}

/// Why bytes could not be understood, or a conversation could not go on.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The peer ended a packet before a field that the packet must have.
    #[error("packet ends inside {0}")]
    Truncated(&'static str),
    /// The peer sent a value that the field named here cannot have.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The peer sent a packet whose first byte has no meaning at this place.
    #[error("unexpected packet 0x{head:02x} while waiting for {waiting_for}")]
    UnexpectedPacket {
        /// What would have been right.
        waiting_for: &'static str,
        /// The first byte that came.
        head: u8,
    },
    /// The peer counted its packets wrongly: something was lost or inserted.
    #[error("packets out of order: expected {expected}, got {got}")]
    OutOfOrder {
        /// The sequence id that had to come.
        expected: u8,
        /// The one that came.
        got: u8,
    },
    /// The peer's compressed packet does not decompress to what it announces.
    #[error("compressed packet is damaged")]
    Compression,
    /// The peer announced a packet larger than is allowed; both sizes in bytes.
    #[error("packet of {len} bytes is bigger than the {limit} bytes allowed")]
    PacketTooLarge {
        /// What was announced so far.
        len: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The peer lacks something that we cannot do without.
    #[error("peer does not support {0}")]
    Unsupported(&'static str),
    /// The peer insists on an authentication method that we have not got, or not on this
    /// connection.
    #[error("authentication method {0} is not available on this connection")]
    AuthPlugin(String),
    /// This crate was used out of order.
    #[error("protocol state machine misused: {0}")]
    Misuse(&'static str),
}

impl ProtocolError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Truncated(_)
            | Self::Malformed(_)
            | Self::UnexpectedPacket { .. }
            | Self::OutOfOrder { .. }
            | Self::Compression => Fault::PeerMisbehaved,
            Self::PacketTooLarge { .. } => Fault::Limit,
            Self::Unsupported(_) | Self::AuthPlugin(_) => Fault::PeerIncompatible,
            Self::Misuse(_) => Fault::Misuse,
        }
    }

    /// The MySQL error code under which a client is told.
    pub fn code(&self) -> u16 {
        match self {
            Self::Truncated(_) | Self::Malformed(_) => codes::ER_MALFORMED_PACKET,
            Self::UnexpectedPacket { .. } => codes::ER_UNKNOWN_COM_ERROR,
            Self::OutOfOrder { .. } => codes::ER_NET_PACKETS_OUT_OF_ORDER,
            Self::Compression => codes::ER_NET_UNCOMPRESS_ERROR,
            Self::PacketTooLarge { .. } => codes::ER_NET_PACKET_TOO_LARGE,
            Self::Unsupported(_) | Self::AuthPlugin(_) => codes::ER_NOT_SUPPORTED_AUTH_MODE,
            Self::Misuse(_) => codes::ER_UNKNOWN_ERROR,
        }
    }

    /// The SQLSTATE that goes with [`code`](Self::code).
    pub fn sqlstate(&self) -> [u8; 5] {
        codes::sqlstate(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_code_and_a_state() {
        let table = [
            (ProtocolError::Truncated("x"), 1835, *b"HY000"),
            (ProtocolError::Malformed("x"), 1835, *b"HY000"),
            (ProtocolError::UnexpectedPacket { waiting_for: "x", head: 1 }, 1047, *b"08S01"),
            (ProtocolError::OutOfOrder { expected: 0, got: 1 }, 1156, *b"08S01"),
            (ProtocolError::Compression, 1157, *b"08S01"),
            (ProtocolError::PacketTooLarge { len: 2, limit: 1 }, 1153, *b"08S01"),
            (ProtocolError::Unsupported("x"), 1251, *b"08004"),
            (ProtocolError::AuthPlugin("x".into()), 1251, *b"08004"),
            (ProtocolError::Misuse("x"), 1105, *b"HY000"),
        ];
        for (error, code, state) in table {
            assert_eq!((error.code(), error.sqlstate()), (code, state), "{error}");
        }
    }
}
