//! ERR, and the progress report that MariaDB disguises as one.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_err_packet.html>,
//! <https://mariadb.com/kb/en/err_packet/>

use crate::capability::Capabilities;
use crate::codec::{self, Reader};
use crate::codes;
use crate::error::ProtocolError;

/// The code under which a progress report travels.
const PROGRESS_CODE: u16 = 0xFFFF;

/// An error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrPacket<'a> {
    /// MySQL's error number.
    pub code: u16,
    /// SQLSTATE; `HY000` if the packet has none, as before the handshake.
    pub sqlstate: [u8; 5],
    /// Text for a person.
    pub message: &'a [u8],
}

impl<'a> ErrPacket<'a> {
    /// First byte.
    pub const HEADER: u8 = 0xFF;

    /// An error with the SQLSTATE that belongs to `code`.
    pub fn new(code: u16, message: &'a [u8]) -> Self {
        Self { code, sqlstate: codes::sqlstate(code), message }
    }

    /// Reads an error, with or without SQLSTATE.
    ///
    /// # Errors
    /// `UnexpectedPacket` for another packet, `Truncated`.
    pub fn parse(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut r = Reader::new(payload);
        let head = r.u8("error")?;
        if head != Self::HEADER {
            return Err(ProtocolError::UnexpectedPacket { waiting_for: "error", head });
        }
        let code = r.u16("error code")?;
        let mut sqlstate = *b"HY000";
        if r.peek_rest().first() == Some(&b'#') {
            r.u8("SQLSTATE")?;
            sqlstate = r.array("SQLSTATE")?;
        }
        Ok(Self { code, sqlstate, message: r.rest() })
    }

    /// Appends the payload, with the SQLSTATE if the client speaks 4.1.
    pub fn encode(&self, caps: Capabilities, out: &mut Vec<u8>) {
        out.push(Self::HEADER);
        out.extend_from_slice(&self.code.to_le_bytes());
        if caps.contains(Capabilities::PROTOCOL_41) {
            out.push(b'#');
            out.extend_from_slice(&self.sqlstate);
        }
        out.extend_from_slice(self.message);
    }

    /// A copy that outlives the buffer.
    pub fn to_owned(&self) -> OwnedError {
        OwnedError {
            code: self.code,
            sqlstate: self.sqlstate,
            message: String::from_utf8_lossy(self.message).into_owned(),
        }
    }
}

/// An error that outlives the buffer it came in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code}, {})", String::from_utf8_lossy(sqlstate))]
pub struct OwnedError {
    /// MySQL's error number.
    pub code: u16,
    /// SQLSTATE.
    pub sqlstate: [u8; 5],
    /// Text for a person.
    pub message: String,
}

impl OwnedError {
    /// The packet that tells it.
    pub fn packet(&self) -> ErrPacket<'_> {
        ErrPacket { code: self.code, sqlstate: self.sqlstate, message: self.message.as_bytes() }
    }
}

/// How far a long statement of MariaDB's has come. It may come any number of times before an
/// answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Current stage, from 1.
    pub stage: u8,
    /// How many stages there are.
    pub max_stage: u8,
    /// Per mille of per cent (0 to 100 000) of the stage.
    pub progress: u32,
    /// What the server does.
    pub info: &'a [u8],
}

impl<'a> Progress<'a> {
    /// Whether a packet that begins with these bytes is a report. It cannot be an error, as no
    /// error has that code.
    #[inline]
    pub fn is(head: &[u8]) -> bool {
        head.first_chunk::<3>() == Some(&[ErrPacket::HEADER, 0xFF, 0xFF])
    }

    /// Reads a report.
    ///
    /// # Errors
    /// `UnexpectedPacket` for another packet, `Truncated`.
    pub fn parse(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut r = Reader::new(payload);
        let head = r.u8("progress report")?;
        if head != ErrPacket::HEADER || r.u16("progress report")? != PROGRESS_CODE {
            return Err(ProtocolError::UnexpectedPacket { waiting_for: "progress report", head });
        }
        r.u8("number of strings")?;
        let stage = r.u8("stage")?;
        let max_stage = r.u8("number of stages")?;
        let progress = r.u24("progress")?;
        Ok(Self { stage, max_stage, progress, info: r.lenenc_bytes("progress info")? })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[ErrPacket::HEADER, 0xFF, 0xFF, 1, self.stage, self.max_stage]);
        codec::put_u24(out, self.progress);
        codec::put_lenenc_bytes(out, self.info);
    }
}
