//! The server's first packet.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_handshake_v10.html>,
//! <https://mariadb.com/kb/en/connection/#initial-handshake-packet>

use crate::capability::{Capabilities, Status};
use crate::codec::{self, Reader};
use crate::error::ProtocolError;
use crate::response::ErrPacket;

/// Bytes of a server's random challenge.
pub const SCRAMBLE_LEN: usize = 20;

const FIRST_PART_LEN: usize = 8;
const PROTOCOL_VERSION: u8 = 10;

/// What a server says first: a greeting, or why it will not have us (too many connections, blocked
/// host).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeting<'a> {
    /// A greeting.
    Hello(HandshakeV10<'a>),
    /// A refusal.
    Refused(ErrPacket<'a>),
}

impl<'a> Greeting<'a> {
    /// Reads either.
    ///
    /// # Errors
    /// [`ProtocolError`] if it is neither; [`ProtocolError::Unsupported`] for a protocol older than
    /// version 10.
    pub fn parse(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        if payload.first() == Some(&ErrPacket::HEADER) {
            // The refusal comes before any capability is agreed, so it has mostly no SQLSTATE; the
            // parser looks.
            return ErrPacket::parse(payload).map(Self::Refused);
        }
        HandshakeV10::parse(payload).map(Self::Hello)
    }
}

/// The greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeV10<'a> {
    /// Version text, as `8.4.3` or `5.5.5-10.11.6-MariaDB`.
    pub server_version: &'a [u8],
    /// Connection id.
    pub thread_id: u32,
    /// The challenge.
    pub scramble: [u8; SCRAMBLE_LEN],
    /// What the server can do.
    pub capabilities: Capabilities,
    /// Default collation id; the packet has only its low byte.
    pub collation: u8,
    /// Status of the new session.
    pub status: Status,
    /// Default authentication method; empty if the server has no names for them.
    pub plugin: &'a [u8],
}

impl<'a> HandshakeV10<'a> {
    /// Reads a greeting.
    ///
    /// # Errors
    /// [`ProtocolError::Unsupported`] for another protocol version, else `Truncated`.
    pub fn parse(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut r = Reader::new(payload);
        if r.u8("protocol version")? != PROTOCOL_VERSION {
            return Err(ProtocolError::Unsupported("protocol version 10"));
        }
        let server_version = r.nul_bytes("server version")?;
        let thread_id = r.u32("thread id")?;
        let first = r.array::<FIRST_PART_LEN>("scramble")?;
        r.u8("filler")?;
        let low = u32::from(r.u16("capabilities")?);
        let mut scramble = [0; SCRAMBLE_LEN];
        copy_into(&mut scramble, 0, &first);
        let mut greeting = Self {
            server_version,
            thread_id,
            scramble,
            capabilities: Capabilities::from_halves(low, 0),
            collation: 0,
            status: Status::empty(),
            plugin: b"",
        };
        if r.is_empty() {
            return Ok(greeting);
        }
        greeting.collation = r.u8("collation")?;
        greeting.status = Status::from_bits_retain(r.u16("status")?);
        let low = low | u32::from(r.u16("capabilities")?) << 16;
        let auth_len = usize::from(r.u8("length of the scramble")?);
        r.bytes(6, "reserved")?;
        let high = r.u32("extended capabilities")?;
        greeting.capabilities = Capabilities::from_halves(low, high);
        if greeting
            .capabilities
            .contains(Capabilities::SECURE_CONNECTION)
        {
            let second_len = auth_len.saturating_sub(FIRST_PART_LEN).max(13);
            // Some servers leave the closing NUL out when nothing follows.
            let second = r.bytes(second_len.min(r.remaining()), "scramble")?;
            copy_into(&mut greeting.scramble, FIRST_PART_LEN, second);
        }
        if greeting.capabilities.contains(Capabilities::PLUGIN_AUTH) {
            greeting.plugin = r.nul_bytes_or_rest();
        }
        Ok(greeting)
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let low = self.capabilities.low();
        let [c0, c1, c2, c3] = low.to_le_bytes();
        out.push(PROTOCOL_VERSION);
        codec::put_nul_bytes(out, self.server_version);
        out.extend_from_slice(&self.thread_id.to_le_bytes());
        let (first, second) = self.scramble.split_at(FIRST_PART_LEN);
        out.extend_from_slice(first);
        out.extend_from_slice(&[0, c0, c1, self.collation]);
        out.extend_from_slice(&self.status.bits().to_le_bytes());
        let has_plugin = self.capabilities.contains(Capabilities::PLUGIN_AUTH);
        let auth_len = if has_plugin { SCRAMBLE_LEN as u8 + 1 } else { 0 };
        out.extend_from_slice(&[c2, c3, auth_len]);
        out.extend_from_slice(&[0; 6]);
        let high = if self.capabilities.contains(Capabilities::LONG_PASSWORD) {
            0
        } else {
            self.capabilities.high()
        };
        out.extend_from_slice(&high.to_le_bytes());
        out.extend_from_slice(second);
        out.push(0);
        if has_plugin {
            codec::put_nul_bytes(out, self.plugin);
        }
    }
}

fn copy_into(target: &mut [u8], at: usize, source: &[u8]) {
    for (place, byte) in target.iter_mut().skip(at).zip(source) {
        *place = *byte;
    }
}
