//! What a server sends between the client's response and its verdict.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_auth_switch_request.html>,
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_auth_more_data.html>

use crate::codec::{self, Reader};
use crate::error::ProtocolError;

/// First byte of [`AuthSwitchRequest`].
pub const AUTH_SWITCH: u8 = 0xFE;
/// First byte of [`AuthMoreData`].
pub const AUTH_MORE_DATA: u8 = 0x01;

/// Asks the client to begin again with another method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthSwitchRequest<'a> {
    /// The method.
    pub plugin: &'a [u8],
    /// Its challenge as it is on the wire: most methods close it with a NUL, `client_ed25519` does
    /// not, and its 32 random bytes may end in one.
    pub data: &'a [u8],
}

impl<'a> AuthSwitchRequest<'a> {
    /// Reads a request. One without a name is the request of before 4.1 for the old password
    /// method.
    ///
    /// # Errors
    /// `UnexpectedPacket` if the first byte is another.
    pub fn parse(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut r = Reader::new(payload);
        let head = r.u8("authentication switch")?;
        if head != AUTH_SWITCH {
            return Err(ProtocolError::UnexpectedPacket {
                waiting_for: "authentication switch",
                head,
            });
        }
        if r.is_empty() {
            return Ok(Self { plugin: b"mysql_old_password", data: b"" });
        }
        let plugin = r.nul_bytes_or_rest();
        Ok(Self { plugin, data: r.rest() })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(AUTH_SWITCH);
        codec::put_nul_bytes(out, self.plugin);
        out.extend_from_slice(self.data);
    }
}

/// A further message of the current method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthMoreData<'a> {
    /// What the method says.
    pub data: &'a [u8],
}

impl<'a> AuthMoreData<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// `UnexpectedPacket` if the first byte is another.
    pub fn parse(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut r = Reader::new(payload);
        let head = r.u8("authentication data")?;
        if head != AUTH_MORE_DATA {
            return Err(ProtocolError::UnexpectedPacket {
                waiting_for: "authentication data",
                head,
            });
        }
        Ok(Self { data: r.rest() })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(AUTH_MORE_DATA);
        out.extend_from_slice(self.data);
    }
}
