//! The first packet of the answer to COM_STMT_PREPARE.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_prepare.html>

use crate::capability::Capabilities;
use crate::codec::Reader;
use crate::error::ProtocolError;

/// A statement was prepared. Definitions of its parameters follow, then of its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrepareOk {
    /// Number by which the server knows the statement.
    pub stmt_id: u32,
    /// Columns of its result; 0 if it has none.
    pub columns: u16,
    /// Parameters.
    pub params: u16,
    /// Number of warnings.
    pub warnings: u16,
    /// Whether the definitions follow. Always so unless
    /// [`Capabilities::OPTIONAL_RESULTSET_METADATA`].
    pub metadata_follows: bool,
}

impl PrepareOk {
    /// First byte.
    pub const HEADER: u8 = 0x00;

    /// Reads the packet.
    ///
    /// # Errors
    /// `UnexpectedPacket` for another packet, `Truncated`.
    pub fn parse(payload: &[u8], caps: Capabilities) -> Result<Self, ProtocolError> {
        let mut r = Reader::new(payload);
        let head = r.u8("prepared statement")?;
        if head != Self::HEADER {
            return Err(ProtocolError::UnexpectedPacket {
                waiting_for: "prepared statement",
                head,
            });
        }
        let stmt_id = r.u32("statement id")?;
        let columns = r.u16("number of columns")?;
        let params = r.u16("number of parameters")?;
        // The rest came with later versions.
        let _filler = r.u8("filler");
        let warnings = r.u16("warnings").unwrap_or(0);
        let optional = caps.contains(Capabilities::OPTIONAL_RESULTSET_METADATA);
        let metadata_follows = !(optional && r.u8("metadata flag") == Ok(0));
        Ok(Self { stmt_id, columns, params, warnings, metadata_follows })
    }

    /// Appends the payload.
    pub fn encode(&self, caps: Capabilities, out: &mut Vec<u8>) {
        out.push(Self::HEADER);
        out.extend_from_slice(&self.stmt_id.to_le_bytes());
        out.extend_from_slice(&self.columns.to_le_bytes());
        out.extend_from_slice(&self.params.to_le_bytes());
        out.push(0);
        out.extend_from_slice(&self.warnings.to_le_bytes());
        if caps.contains(Capabilities::OPTIONAL_RESULTSET_METADATA) {
            out.push(u8::from(self.metadata_follows));
        }
    }
}
