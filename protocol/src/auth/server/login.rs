//! What a login tells about the client.

use crate::capability::Capabilities;
use crate::command::ChangeUser;
use crate::handshake::HandshakeResponse41;

/// A client that logs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// Account.
    pub user: Vec<u8>,
    /// Database that it wants to start in.
    pub database: Option<Vec<u8>>,
    /// Capabilities that both sides use.
    pub capabilities: Capabilities,
    /// Collation id that it asks for; 0 if COM_CHANGE_USER left it out.
    pub collation: u16,
    /// Connection attributes.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// The largest packet that it takes, in bytes.
    pub max_packet: u32,
    /// Level of zstd that it wants, 1 to 22; 0 without zstd.
    pub zstd_level: u8,
}

impl Login {
    pub(super) fn from_response(response: &HandshakeResponse41<'_>, offered: Capabilities) -> Self {
        Self {
            user: response.user.to_vec(),
            database: response.database.map(<[u8]>::to_vec),
            capabilities: response.capabilities & offered,
            collation: u16::from(response.collation),
            attributes: owned(response.attributes.iter()),
            max_packet: response.max_packet,
            zstd_level: response.zstd_level,
        }
    }

    pub(super) fn change_user(&mut self, fields: &ChangeUser<'_>) {
        self.user = fields.user.to_vec();
        self.database = fields.database.map(<[u8]>::to_vec);
        self.collation = fields.collation.unwrap_or(0);
        self.attributes = owned(fields.attributes.iter());
    }
}

fn owned<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<(Vec<u8>, Vec<u8>)> {
    pairs
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}
