//! The client's answer to the greeting.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_handshake_response.html>,
//! <https://mariadb.com/kb/en/connection/#client-handshake-response>

use crate::capability::Capabilities;
use crate::codec::{self, Reader};
use crate::error::ProtocolError;

/// Bytes of the fixed part, which alone is the request for TLS.
const FIXED_LEN: usize = 32;
const RESERVED_LEN: usize = 19;

/// The fixed part of a response; a packet of it alone asks for TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SslRequest {
    /// What the client will use.
    pub capabilities: Capabilities,
    /// The largest packet that the client takes, in bytes.
    pub max_packet: u32,
    /// Collation id; the packet has only its low byte.
    pub collation: u8,
}

impl SslRequest {
    /// Whether `payload` is a request for TLS rather than a whole response.
    pub fn is(payload: &[u8]) -> bool {
        payload.len() == FIXED_LEN
            && Self::parse(payload).is_ok_and(|r| r.capabilities.contains(Capabilities::SSL))
    }

    /// Reads the fixed part.
    ///
    /// # Errors
    /// [`ProtocolError::Unsupported`] for a client of before 4.1, else `Truncated`.
    pub fn parse(payload: &[u8]) -> Result<Self, ProtocolError> {
        Self::read(&mut Reader::new(payload))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        if let Some([low, high]) = r.peek_rest().first_chunk::<2>() {
            // The response of before 4.1 has two bytes of capabilities and is shorter: look before
            // reading on.
            let caps = Capabilities::from_halves(u32::from(u16::from_le_bytes([*low, *high])), 0);
            if !caps.contains(Capabilities::PROTOCOL_41) {
                return Err(ProtocolError::Unsupported("protocol 4.1"));
            }
        }
        let low = r.u32("capabilities")?;
        let max_packet = r.u32("max packet")?;
        let collation = r.u8("collation")?;
        r.bytes(RESERVED_LEN, "reserved")?;
        let high = r.u32("extended capabilities")?;
        Ok(Self { capabilities: Capabilities::from_halves(low, high), max_packet, collation })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.capabilities.low().to_le_bytes());
        out.extend_from_slice(&self.max_packet.to_le_bytes());
        out.push(self.collation);
        out.extend_from_slice(&[0; RESERVED_LEN]);
        let mariadb = !self.capabilities.contains(Capabilities::LONG_PASSWORD);
        let high = if mariadb { self.capabilities.high() } else { 0 };
        out.extend_from_slice(&high.to_le_bytes());
    }
}

/// The whole response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeResponse41<'a> {
    /// What the client will use.
    pub capabilities: Capabilities,
    /// The largest packet that the client takes, in bytes.
    pub max_packet: u32,
    /// Collation id; the packet has only its low byte.
    pub collation: u8,
    /// Who logs in.
    pub user: &'a [u8],
    /// Answer to the challenge, by the method `plugin`.
    pub auth: &'a [u8],
    /// Database to start in; `None` unless [`Capabilities::CONNECT_WITH_DB`] and not empty.
    pub database: Option<&'a [u8]>,
    /// Authentication method; empty unless [`Capabilities::PLUGIN_AUTH`].
    pub plugin: &'a [u8],
    /// Connection attributes; empty unless [`Capabilities::CONNECT_ATTRS`].
    pub attributes: Attributes<'a>,
    /// Level of zstd, 1 to 22; 0 unless [`Capabilities::ZSTD_COMPRESSION`].
    pub zstd_level: u8,
}

impl<'a> HandshakeResponse41<'a> {
    /// Reads a response. Its own flags say which fields it has, whatever the server offered.
    ///
    /// # Errors
    /// [`ProtocolError::Unsupported`] for a client of before 4.1, else `Truncated` or `Malformed`.
    pub fn parse(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut r = Reader::new(payload);
        let SslRequest { capabilities, max_packet, collation } = SslRequest::read(&mut r)?;
        let has = |flag| capabilities.contains(flag);
        let user = r.nul_bytes("user")?;
        let auth = if has(Capabilities::PLUGIN_AUTH_LENENC_DATA) {
            r.lenenc_bytes("authentication response")?
        } else if has(Capabilities::SECURE_CONNECTION) {
            let len = usize::from(r.u8("authentication response")?);
            r.bytes(len, "authentication response")?
        } else {
            r.nul_bytes("authentication response")?
        };
        let database = has(Capabilities::CONNECT_WITH_DB).then(|| r.nul_bytes_or_rest());
        let plugin = if has(Capabilities::PLUGIN_AUTH) { r.nul_bytes_or_rest() } else { b"" };
        let mut attributes = Attributes::default();
        if has(Capabilities::CONNECT_ATTRS) && !r.is_empty() {
            attributes = Attributes::new(r.lenenc_bytes("connection attributes")?)?;
        }
        let zstd_level = if has(Capabilities::ZSTD_COMPRESSION) && !r.is_empty() {
            r.u8("zstd level")?
        } else {
            0
        };
        Ok(Self {
            capabilities,
            max_packet,
            collation,
            user,
            auth,
            database: database.filter(|name| !name.is_empty()),
            plugin,
            attributes,
            zstd_level,
        })
    }

    /// Appends the payload, with the fields that `capabilities` have. An authentication response
    /// that is too long for its form is cut off, which no server will accept.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let has = |flag| self.capabilities.contains(flag);
        SslRequest {
            capabilities: self.capabilities,
            max_packet: self.max_packet,
            collation: self.collation,
        }
        .encode(out);
        codec::put_nul_bytes(out, self.user);
        if has(Capabilities::PLUGIN_AUTH_LENENC_DATA) {
            codec::put_lenenc_bytes(out, self.auth);
        } else if has(Capabilities::SECURE_CONNECTION) {
            let auth = self.auth.get(..255).unwrap_or(self.auth);
            out.push(auth.len() as u8);
            out.extend_from_slice(auth);
        } else {
            codec::put_nul_bytes(out, self.auth);
        }
        if has(Capabilities::CONNECT_WITH_DB) {
            codec::put_nul_bytes(out, self.database.unwrap_or_default());
        }
        if has(Capabilities::PLUGIN_AUTH) {
            codec::put_nul_bytes(out, self.plugin);
        }
        if has(Capabilities::CONNECT_ATTRS) {
            codec::put_lenenc_bytes(out, self.attributes.raw);
        }
        if has(Capabilities::ZSTD_COMPRESSION) {
            out.push(self.zstd_level);
        }
    }
}

/// Connection attributes: pairs of name and value, known to be well formed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    raw: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Takes the pairs as they are on the wire, without the length in front.
    ///
    /// # Errors
    /// `Truncated` or `Malformed` if they are not pairs.
    pub fn new(raw: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut r = Reader::new(raw);
        while !r.is_empty() {
            r.lenenc_bytes("attribute name")?;
            r.lenenc_bytes("attribute value")?;
        }
        Ok(Self { raw })
    }

    /// The pairs, in the client's order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut r = Reader::new(self.raw);
        std::iter::from_fn(move || {
            let name = r.lenenc_bytes("attribute name").ok()?;
            let value = r.lenenc_bytes("attribute value").ok()?;
            Some((name, value))
        })
    }

    /// Appends one pair to the raw form.
    pub fn put(raw: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        codec::put_lenenc_bytes(raw, name);
        codec::put_lenenc_bytes(raw, value);
    }

    /// The wire form, without the length in front.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}
