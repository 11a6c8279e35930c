//! OK and EOF.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_ok_packet.html>,
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_eof_packet.html>

use super::session::SessionChanges;
use crate::capability::{Capabilities, Status};
use crate::codec::{self, Reader};
use crate::error::ProtocolError;

/// A statement is done, or (with [`Capabilities::DEPRECATE_EOF`]) a result's rows are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OkPacket<'a> {
    /// Rows changed (or found, see [`Capabilities::FOUND_ROWS`]).
    pub affected_rows: u64,
    /// First AUTO_INCREMENT value that was generated.
    pub last_insert_id: u64,
    /// The server's status after the statement.
    pub status: Status,
    /// Number of warnings.
    pub warnings: u16,
    /// Text for a person.
    pub info: &'a [u8],
    /// Changes of the session's state, if [`Status::SESSION_STATE_CHANGED`].
    pub session: SessionChanges<'a>,
}

impl<'a> OkPacket<'a> {
    /// First byte of an OK that answers a command.
    pub const HEADER: u8 = 0x00;
    /// First byte of an OK that ends rows.
    pub const ROWS_END: u8 = 0xFE;

    /// Reads an OK under either first byte.
    ///
    /// # Errors
    /// `UnexpectedPacket` for another packet, `Truncated`, `Malformed`.
    pub fn parse(payload: &'a [u8], caps: Capabilities) -> Result<Self, ProtocolError> {
        let mut r = Reader::new(payload);
        let mut ok = Self::read_head(&mut r)?;
        let tracks = caps.contains(Capabilities::SESSION_TRACK);
        // The manual says that without tracking the text goes up to the packet's end, but servers
        // send its length always. Other programs follow the manual: where there is no such length,
        // it is text.
        let mut with_length = r.clone();
        match with_length.lenenc_bytes("info") {
            _ if r.is_empty() => {}
            Ok(info) if tracks || with_length.is_empty() => {
                ok.info = info;
                r = with_length;
            }
            Err(error) if tracks => return Err(error),
            _ => ok.info = r.rest(),
        }
        if tracks && ok.status.contains(Status::SESSION_STATE_CHANGED) && !r.is_empty() {
            ok.session = SessionChanges::new(r.lenenc_bytes("session state")?);
        }
        Ok(ok)
    }

    /// Reads the numbers, which is all that the first 23 bytes of a packet can hold.
    pub(crate) fn read_head(r: &mut Reader<'a>) -> Result<Self, ProtocolError> {
        let head = r.u8("OK")?;
        if head != Self::HEADER && head != Self::ROWS_END {
            return Err(ProtocolError::UnexpectedPacket { waiting_for: "OK", head });
        }
        Ok(Self {
            affected_rows: r.lenenc_int("affected rows")?,
            last_insert_id: r.lenenc_int("last insert id")?,
            status: Status::from_bits_retain(r.u16("status")?),
            warnings: r.u16("warnings")?,
            ..Self::default()
        })
    }

    /// Appends the payload, as an answer to a command.
    pub fn encode(&self, caps: Capabilities, out: &mut Vec<u8>) {
        self.encode_as(Self::HEADER, caps, out);
    }

    /// Appends the payload, as the end of rows for a client with [`Capabilities::DEPRECATE_EOF`].
    pub fn encode_rows_end(&self, caps: Capabilities, out: &mut Vec<u8>) {
        self.encode_as(Self::ROWS_END, caps, out);
    }

    fn encode_as(&self, head: u8, caps: Capabilities, out: &mut Vec<u8>) {
        let track = caps.contains(Capabilities::SESSION_TRACK);
        let session = if track { self.session.raw() } else { b"" };
        let mut status = self.status;
        // A client that does not track must not look for the block, and one that does must find it.
        status.set(Status::SESSION_STATE_CHANGED, !session.is_empty());
        out.push(head);
        codec::put_lenenc_int(out, self.affected_rows);
        codec::put_lenenc_int(out, self.last_insert_id);
        out.extend_from_slice(&status.bits().to_le_bytes());
        out.extend_from_slice(&self.warnings.to_le_bytes());
        if !self.info.is_empty() || !session.is_empty() {
            codec::put_lenenc_bytes(out, self.info);
        }
        if !session.is_empty() {
            codec::put_lenenc_bytes(out, session);
        }
    }
}

/// The end of columns or of rows, for clients without [`Capabilities::DEPRECATE_EOF`]; also some
/// commands' answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EofPacket {
    /// Number of warnings.
    pub warnings: u16,
    /// The server's status.
    pub status: Status,
}

impl EofPacket {
    /// First byte.
    pub const HEADER: u8 = 0xFE;
    /// A packet with that first byte is an EOF only if its payload is shorter than this.
    pub const LEN_LIMIT: usize = 9;

    /// Reads an EOF.
    ///
    /// # Errors
    /// `UnexpectedPacket` for another packet, `Truncated`.
    pub fn parse(payload: &[u8]) -> Result<Self, ProtocolError> {
        let mut r = Reader::new(payload);
        let head = r.u8("EOF")?;
        if head != Self::HEADER || payload.len() >= Self::LEN_LIMIT {
            return Err(ProtocolError::UnexpectedPacket { waiting_for: "EOF", head });
        }
        let warnings = r.u16("warnings")?;
        Ok(Self { warnings, status: Status::from_bits_retain(r.u16("status")?) })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(Self::HEADER);
        out.extend_from_slice(&self.warnings.to_le_bytes());
        out.extend_from_slice(&self.status.bits().to_le_bytes());
    }
}

/// Appends the payload that ends rows for a client of these capabilities.
pub fn encode_rows_end(ok: &OkPacket<'_>, caps: Capabilities, out: &mut Vec<u8>) {
    if caps.contains(Capabilities::DEPRECATE_EOF) {
        ok.encode_rows_end(caps, out);
    } else {
        EofPacket { warnings: ok.warnings, status: ok.status - Status::SESSION_STATE_CHANGED }
            .encode(out);
    }
}
