//! The client's side of a login, towards backends.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html>

use zeroize::Zeroizing;

use super::{ed25519, native, plugin, sha2, with_nul};
use crate::capability::{Capabilities, Status};
use crate::error::ProtocolError;
use crate::frame::PacketWriter;
use crate::handshake::{
    AUTH_MORE_DATA, AUTH_SWITCH, Attributes, AuthMoreData, AuthSwitchRequest, Greeting,
    HandshakeResponse41, HandshakeV10, SCRAMBLE_LEN, SslRequest,
};
use crate::response::{ErrPacket, OkPacket, OwnedError};

/// Whether to use TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsPolicy {
    /// Never.
    #[default]
    Disabled,
    /// If the server offers it.
    Preferred,
    /// Always: a server without it is an error.
    Required,
}

/// Encrypts under a server's RSA key.
pub trait RsaEncrypt {
    /// RSA-OAEP with SHA-1 of `text` under the key in `public_pem`. `None` if that is no key, or
    /// too small.
    fn encrypt_oaep_sha1(&self, public_pem: &[u8], text: &[u8]) -> Option<Vec<u8>>;
}

/// Who logs in, and how.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Account.
    pub user: Vec<u8>,
    /// Its password; empty for none.
    pub password: Zeroizing<Vec<u8>>,
    /// Default database.
    pub database: Option<Vec<u8>>,
    /// Capabilities to use if the server has them.
    pub wanted: Capabilities,
    /// Capabilities without which the connection is of no use.
    pub required: Capabilities,
    /// Collation id; the packet has only its low byte, so take one below 256 and `SET NAMES` for
    /// others.
    pub collation: u8,
    /// Connection attributes, put together by [`Attributes::put`].
    pub attributes: Vec<u8>,
    /// Whether to use TLS.
    pub tls: TlsPolicy,
    /// The largest packet that we take, in bytes.
    pub max_packet: u32,
    /// Level of zstd, 1 to 22.
    pub zstd_level: u8,
    /// Whether the server may send its RSA key over an insecure connection. Somebody in between
    /// could send another.
    pub allow_public_key_retrieval: bool,
}

/// What is known of a server after a login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// Version text.
    pub version: Vec<u8>,
    /// Connection id, for KILL.
    pub thread_id: u32,
    /// Capabilities that both sides use.
    pub capabilities: Capabilities,
    /// What the server could do, used or not.
    pub offered: Capabilities,
    /// Status of the session.
    pub status: Status,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientStep {
    /// Send what was written, and give the next packet.
    Continue,
    /// Send what was written, start TLS, then call [`ClientHandshake::tls_started`].
    StartTls,
    /// Logged in.
    Done(ServerInfo),
    /// The server refused.
    Failed(OwnedError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Tls,
    Verdict,
    /// The server's RSA key was asked for.
    Key,
    Over,
}

/// A login, as a client.
#[derive(Debug)]
pub struct ClientHandshake {
    config: ClientConfig,
    state: State,
    scramble: [u8; SCRAMBLE_LEN],
    plugin: Vec<u8>,
    info: ServerInfo,
    /// Sequence id of the next packet that we send.
    seq: u8,
}

impl ClientHandshake {
    /// Waits for the server's greeting.
    pub fn new(config: ClientConfig) -> Self {
        Self {
            config,
            state: State::Greeting,
            scramble: [0; SCRAMBLE_LEN],
            plugin: Vec::new(),
            info: ServerInfo::default(),
            seq: 0,
        }
    }

    /// Takes a packet of the server's and appends the answer, headers included, to `out`. `secure`
    /// says whether the transport cannot be listened to: TLS, or a unix socket.
    ///
    /// # Errors
    /// `Unsupported` and `AuthPlugin` if the two sides do not fit, else what the server did wrong.
    /// The connection is then to be closed.
    pub fn on_packet(
        &mut self,
        payload: &[u8],
        seq: u8,
        out: &mut Vec<u8>,
        secure: bool,
        rsa: Option<&dyn RsaEncrypt>,
    ) -> Result<ClientStep, ProtocolError> {
        self.seq = seq.wrapping_add(1);
        match self.state {
            State::Greeting => self.on_greeting(payload, out, secure),
            State::Verdict | State::Key => self.on_verdict(payload, out, secure, rsa),
            State::Tls => Err(ProtocolError::Misuse("packet while TLS is being started")),
            State::Over => Err(ProtocolError::Misuse("packet after the end of a login")),
        }
    }

    /// TLS was started: appends the response, which now goes out under it.
    ///
    /// # Errors
    /// [`ProtocolError::Misuse`] if it was not asked for.
    pub fn tls_started(&mut self, out: &mut Vec<u8>) -> Result<ClientStep, ProtocolError> {
        if self.state != State::Tls {
            return Err(ProtocolError::Misuse("TLS was not asked for"));
        }
        self.respond(out, true)
    }

    fn on_greeting(
        &mut self,
        payload: &[u8],
        out: &mut Vec<u8>,
        secure: bool,
    ) -> Result<ClientStep, ProtocolError> {
        let hello = match Greeting::parse(payload)? {
            Greeting::Hello(hello) => hello,
            Greeting::Refused(error) => return Ok(self.failed(&error)),
        };
        self.note(&hello)?;
        let tls = match self.config.tls {
            TlsPolicy::Disabled => false,
            TlsPolicy::Preferred => hello.capabilities.contains(Capabilities::SSL),
            TlsPolicy::Required if hello.capabilities.contains(Capabilities::SSL) => true,
            TlsPolicy::Required => return Err(ProtocolError::Unsupported("TLS")),
        };
        self.info.capabilities.set(Capabilities::SSL, tls);
        if !tls {
            return self.respond(out, secure);
        }
        self.state = State::Tls;
        let request = SslRequest {
            capabilities: self.info.capabilities,
            max_packet: self.config.max_packet,
            collation: self.config.collation,
        };
        PacketWriter::new(out, &mut self.seq).packet(|w| request.encode(w));
        Ok(ClientStep::StartTls)
    }

    /// Agrees on capabilities.
    fn note(&mut self, hello: &HandshakeV10<'_>) -> Result<(), ProtocolError> {
        let needed = Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION;
        if !hello.capabilities.contains(needed) {
            return Err(ProtocolError::Unsupported("protocol 4.1"));
        }
        let offered = hello.capabilities;
        let wanted = self.config.wanted
            | self.config.required
            | needed
            | Capabilities::PLUGIN_AUTH
            | Capabilities::PLUGIN_AUTH_LENENC_DATA;
        let mut used = wanted & offered;
        let database = Capabilities::CONNECT_WITH_DB;
        used.set(database, self.config.database.is_some());
        used.set(Capabilities::CONNECT_ATTRS, {
            !self.config.attributes.is_empty() && offered.contains(Capabilities::CONNECT_ATTRS)
        });
        // Unset by a MariaDB server, whose extended capabilities count only if we leave it unset
        // too.
        used.set(Capabilities::LONG_PASSWORD, offered.contains(Capabilities::LONG_PASSWORD));
        if used.contains(Capabilities::ZSTD_COMPRESSION) {
            used.remove(Capabilities::COMPRESS);
        }
        if !used.contains(self.config.required) {
            return Err(ProtocolError::Unsupported("a required capability"));
        }
        self.scramble = hello.scramble;
        self.plugin = if hello.plugin.is_empty() { plugin::NATIVE } else { hello.plugin }.to_vec();
        self.info = ServerInfo {
            version: hello.server_version.to_vec(),
            thread_id: hello.thread_id,
            capabilities: used,
            offered,
            status: hello.status,
        };
        Ok(())
    }

    /// Sends the whole response. A method that cannot be answered from here is answered by nothing,
    /// or by our own default: the server will then ask for a switch to what the account really
    /// needs.
    fn respond(&mut self, out: &mut Vec<u8>, secure: bool) -> Result<ClientStep, ProtocolError> {
        let scramble = self.scramble;
        let auth = match self.answer(&scramble, secure) {
            Ok(auth) => auth,
            Err(_) => {
                self.plugin = plugin::NATIVE.to_vec();
                self.answer(&scramble, secure)?
            }
        };
        let response = HandshakeResponse41 {
            capabilities: self.info.capabilities,
            max_packet: self.config.max_packet,
            collation: self.config.collation,
            user: &self.config.user,
            auth: &auth,
            database: self.config.database.as_deref(),
            plugin: &self.plugin,
            attributes: Attributes::new(&self.config.attributes)?,
            zstd_level: self.config.zstd_level,
        };
        PacketWriter::new(out, &mut self.seq).packet(|w| response.encode(w));
        self.state = State::Verdict;
        Ok(ClientStep::Continue)
    }

    /// The answer of the current method to a challenge.
    fn answer(&self, challenge: &[u8], secure: bool) -> Result<Zeroizing<Vec<u8>>, ProtocolError> {
        let password = self.config.password.as_slice();
        let short = challenge.get(..SCRAMBLE_LEN).unwrap_or(challenge);
        Ok(match self.plugin.as_slice() {
            plugin::NATIVE | plugin::CACHING_SHA2 if password.is_empty() => Zeroizing::default(),
            plugin::NATIVE => Zeroizing::new(native::scramble(short, password).to_vec()),
            plugin::CACHING_SHA2 => Zeroizing::new(sha2::scramble(short, password).to_vec()),
            plugin::ED25519 => {
                let challenge = challenge
                    .get(..ed25519::CHALLENGE_LEN)
                    .ok_or(ProtocolError::Truncated("challenge of client_ed25519"))?;
                Zeroizing::new(ed25519::sign(challenge, password).to_vec())
            }
            plugin::CLEAR if secure => with_nul(password),
            other => {
                return Err(ProtocolError::AuthPlugin(String::from_utf8_lossy(other).into_owned()));
            }
        })
    }

    fn on_verdict(
        &mut self,
        payload: &[u8],
        out: &mut Vec<u8>,
        secure: bool,
        rsa: Option<&dyn RsaEncrypt>,
    ) -> Result<ClientStep, ProtocolError> {
        const WAITING_FOR: &str = "verdict of a login";
        match payload.first().copied() {
            Some(OkPacket::HEADER) => {
                let ok = OkPacket::parse(payload, self.info.capabilities)?;
                self.info.status = ok.status;
                self.state = State::Over;
                Ok(ClientStep::Done(std::mem::take(&mut self.info)))
            }
            Some(ErrPacket::HEADER) => Ok(self.failed(&ErrPacket::parse(payload)?)),
            Some(AUTH_SWITCH) if self.state == State::Verdict => {
                let switch = AuthSwitchRequest::parse(payload)?;
                self.plugin = switch.plugin.to_vec();
                let answer = self.answer(switch.data, secure)?;
                for (place, byte) in self.scramble.iter_mut().zip(switch.data) {
                    *place = *byte;
                }
                self.send(out, &answer)
            }
            Some(AUTH_MORE_DATA) => {
                let AuthMoreData { data } = AuthMoreData::parse(payload)?;
                self.on_more_data(data, out, secure, rsa)
            }
            Some(head) => Err(ProtocolError::UnexpectedPacket { waiting_for: WAITING_FOR, head }),
            None => Err(ProtocolError::Truncated(WAITING_FOR)),
        }
    }

    fn on_more_data(
        &mut self,
        data: &[u8],
        out: &mut Vec<u8>,
        secure: bool,
        rsa: Option<&dyn RsaEncrypt>,
    ) -> Result<ClientStep, ProtocolError> {
        let insecure =
            || ProtocolError::AuthPlugin("caching_sha2_password without a secure channel".into());
        if self.plugin != plugin::CACHING_SHA2 {
            return Err(ProtocolError::Malformed("authentication data"));
        }
        if self.state == State::Key {
            let text = with_nul(&self.config.password);
            let hidden = sha2::obfuscate(&text, &self.scramble);
            let sealed = rsa
                .and_then(|rsa| rsa.encrypt_oaep_sha1(data, &hidden))
                .ok_or_else(insecure)?;
            self.state = State::Verdict;
            return self.send(out, &sealed);
        }
        match data {
            [sha2::FAST_AUTH_OK] => Ok(ClientStep::Continue),
            [sha2::FULL_AUTH] if secure => {
                let text = with_nul(&self.config.password);
                self.send(out, &text)
            }
            [sha2::FULL_AUTH] if rsa.is_some() && self.config.allow_public_key_retrieval => {
                self.state = State::Key;
                self.send(out, &[sha2::REQUEST_KEY])
            }
            [sha2::FULL_AUTH] => Err(insecure()),
            _ => Err(ProtocolError::Malformed("authentication data")),
        }
    }

    fn send(&mut self, out: &mut Vec<u8>, payload: &[u8]) -> Result<ClientStep, ProtocolError> {
        crate::frame::write_packet(out, &mut self.seq, payload);
        Ok(ClientStep::Continue)
    }

    fn failed(&mut self, error: &ErrPacket<'_>) -> ClientStep {
        self.state = State::Over;
        ClientStep::Failed(error.to_owned())
    }
}
