//! The server's side of a login, towards clients.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html>,
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_change_user.html>

use smallvec::SmallVec;

use super::sha2;
use crate::capability::{Capabilities, Status};
use crate::codec::Reader;
use crate::codes;
use crate::command::{ChangeUser, com};
use crate::error::ProtocolError;
use crate::frame::PacketWriter;
use crate::handshake::{
    AuthMoreData, AuthSwitchRequest, HandshakeResponse41, HandshakeV10, SCRAMBLE_LEN, SslRequest,
};
use crate::response::{ErrPacket, OkPacket, SessionChanges};

mod check;
mod login;

pub use check::Credential;
use check::{Credentials, Method};
pub use login::Login;

/// The accounts that may log in.
pub trait Accounts {
    /// The credentials of a user; any of them will do, as while a password is being changed. Empty
    /// if there is no such user, which the client cannot tell from a wrong password.
    fn find<'a>(&'a self, user: &[u8]) -> SmallVec<[Credential<'a>; 2]>;

    /// `SHA256(SHA256(password))` of a salted hash, if [`remember_sha2`](Self::remember_sha2) has
    /// been told. It goes by the hash and not by the user: of several accounts of one name, a login
    /// must fit one that may log in from where it is.
    fn sha2_fast(&self, hash: &[u8]) -> Option<[u8; 32]>;

    /// A password was checked against a salted hash: the digest lets the next login be quick.
    fn remember_sha2(&self, hash: &[u8], digest: [u8; 32]);
}

/// The key under which clients without TLS send their passwords.
pub trait RsaKey {
    /// The public key as PEM.
    fn public_pem(&self) -> &str;

    /// RSA-OAEP with SHA-1. `None` if `sealed` is not for this key.
    fn decrypt_oaep_sha1(&self, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// What a login goes by, besides the packets.
#[derive(Clone, Copy)]
pub struct Env<'e> {
    /// The accounts.
    pub accounts: &'e dyn Accounts,
    /// The key, if passwords may be sent under it.
    pub rsa: Option<&'e dyn RsaKey>,
    /// Whether the transport cannot be listened to: TLS, or a unix socket.
    pub secure: bool,
    /// Whether logins over any other transport are refused.
    pub require_secure: bool,
    /// The client's address, for the text of errors.
    pub host: &'e str,
}

/// What this server tells each client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Connection id.
    pub thread_id: u32,
    /// The challenge: random, without NUL bytes (see [`make_scramble`]).
    pub scramble: [u8; SCRAMBLE_LEN],
    /// Version text.
    pub server_version: Vec<u8>,
    /// What clients may use. Those without which there is no login are added, and SSL by `tls`.
    pub offered: Capabilities,
    /// Default collation id; the packet has only its low byte.
    pub collation: u8,
    /// Method that clients are to try first: [`crate::auth::plugin::NATIVE`] or
    /// [`crate::auth::plugin::CACHING_SHA2`].
    pub plugin: &'static [u8],
    /// Whether TLS is on offer.
    pub tls: bool,
}

impl ServerConfig {
    fn offers(&self) -> Capabilities {
        let mut offered = self.offered
            | Capabilities::PROTOCOL_41
            | Capabilities::SECURE_CONNECTION
            | Capabilities::PLUGIN_AUTH
            | Capabilities::PLUGIN_AUTH_LENENC_DATA
            | Capabilities::CONNECT_WITH_DB;
        offered.set(Capabilities::SSL, self.tls);
        offered
    }
}

/// Makes a challenge of random bytes: old clients take it for text, so that it must have neither
/// NUL nor `$`.
pub fn make_scramble(random: [u8; SCRAMBLE_LEN]) -> [u8; SCRAMBLE_LEN] {
    random.map(|byte| match byte & 0x7F {
        0 | b'$' => byte & 0x7F | 1,
        plain => plain,
    })
}

/// What to do next. What was written to `out` is to be sent in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerStep {
    /// Start TLS, and give the next packet.
    StartTls,
    /// Give the next packet.
    Continue,
    /// The credentials are right. Look at [`ServerHandshake::login`], then call
    /// [`ServerHandshake::accept`] or [`ServerHandshake::reject`].
    Accepted,
    /// The error has been written: close the connection.
    Rejected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits for the response, or for the request for TLS.
    Response,
    /// Waits for the response under TLS.
    ResponseAfterTls,
    /// Waits for COM_CHANGE_USER.
    ChangeUser,
    /// Waits for the answer to a switch of methods.
    Switched(Method),
    /// Waits for the password itself, or for a request for the RSA key.
    Full,
    Over,
}

/// A login, as a server.
#[derive(Debug)]
pub struct ServerHandshake {
    config: ServerConfig,
    state: State,
    login: Login,
    /// Which of the account's credentials fitted.
    credential: Option<usize>,
    /// Sequence id of the next packet that we send.
    seq: u8,
}

impl ServerHandshake {
    /// A login on a new connection: send the [`greeting`](Self::greeting) first.
    pub fn new(config: ServerConfig) -> Self {
        Self { config, state: State::Response, login: Login::default(), credential: None, seq: 0 }
    }

    /// A login on an old connection whose client used `capabilities`: give the COM_CHANGE_USER
    /// packet to [`on_packet`](Self::on_packet). `config` must have the scramble of the
    /// connection's greeting.
    pub fn change_user(config: ServerConfig, capabilities: Capabilities, max_packet: u32) -> Self {
        let login = Login { capabilities, max_packet, ..Login::default() };
        Self { config, state: State::ChangeUser, login, credential: None, seq: 0 }
    }

    /// Appends the greeting.
    pub fn greeting(&mut self, out: &mut Vec<u8>) {
        let greeting = HandshakeV10 {
            server_version: &self.config.server_version,
            thread_id: self.config.thread_id,
            scramble: self.config.scramble,
            capabilities: self.config.offers(),
            collation: self.config.collation,
            status: Status::AUTOCOMMIT,
            plugin: self.config.plugin,
        };
        PacketWriter::new(out, &mut self.seq).packet(|w| greeting.encode(w));
    }

    /// Who logs in, as far as is known.
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// Who the packet that [`on_packet`](Self::on_packet) is to be given next says he is, if it
    /// says so: his accounts may have to be looked for first.
    pub fn names(&self, payload: &[u8]) -> Option<Vec<u8>> {
        match self.state {
            State::Response if self.config.tls && SslRequest::is(payload) => None,
            State::Response | State::ResponseAfterTls => {
                let response = HandshakeResponse41::parse(payload).ok()?;
                Some(response.user.to_vec())
            }
            State::ChangeUser => {
                let mut r = Reader::new(payload);
                r.u8("COM_CHANGE_USER").ok()?;
                let fields = ChangeUser::read(&mut r, self.login.capabilities).ok()?;
                Some(fields.user.to_vec())
            }
            State::Switched(_) | State::Full | State::Over => None,
        }
    }

    /// Which of the credentials that [`Accounts::find`] gave has fitted, once the login is
    /// accepted.
    pub fn credential(&self) -> Option<usize> {
        self.credential
    }

    /// Gives the result away.
    pub fn into_login(self) -> Login {
        self.login
    }

    /// Sequence id of the next packet that goes to the client.
    pub fn seq(&self) -> u8 {
        self.seq
    }

    /// Takes a packet of the client's, and appends the answer, headers included, to `out`.
    ///
    /// # Errors
    /// What the client did wrong. The connection is to be closed, after telling the error by
    /// [`reject`](Self::reject).
    pub fn on_packet(
        &mut self,
        payload: &[u8],
        seq: u8,
        out: &mut Vec<u8>,
        env: &Env<'_>,
    ) -> Result<ServerStep, ProtocolError> {
        self.seq = seq.wrapping_add(1);
        match self.state {
            State::Response if self.config.tls && SslRequest::is(payload) => {
                self.state = State::ResponseAfterTls;
                Ok(ServerStep::StartTls)
            }
            State::Response | State::ResponseAfterTls => self.on_response(payload, out, env),
            State::ChangeUser => self.on_change_user(payload, out, env),
            State::Switched(method) => self.on_answer(method, payload, out, env),
            State::Full => self.on_password(payload, out, env),
            State::Over => Err(ProtocolError::Misuse("packet after the end of a login")),
        }
    }

    /// Appends the OK that ends the login.
    pub fn accept(&mut self, status: Status, out: &mut Vec<u8>) {
        self.accept_with(status, &[], out);
    }

    /// The same, with what has changed of the session's state.
    pub fn accept_with(&mut self, status: Status, session: &[u8], out: &mut Vec<u8>) {
        let ok = OkPacket { status, session: SessionChanges::new(session), ..OkPacket::default() };
        let caps = self.login.capabilities;
        PacketWriter::new(out, &mut self.seq).packet(|w| ok.encode(caps, w));
    }

    /// Appends an error that ends the login.
    pub fn reject(&mut self, code: u16, message: &str, out: &mut Vec<u8>) -> ServerStep {
        self.state = State::Over;
        let error = ErrPacket::new(code, message.as_bytes());
        // A client of before 4.1 ignores the SQLSTATE's mark, all others want it.
        PacketWriter::new(out, &mut self.seq)
            .packet(|w| error.encode(Capabilities::PROTOCOL_41, w));
        ServerStep::Rejected
    }

    fn on_response(
        &mut self,
        payload: &[u8],
        out: &mut Vec<u8>,
        env: &Env<'_>,
    ) -> Result<ServerStep, ProtocolError> {
        let response = match HandshakeResponse41::parse(payload) {
            Ok(response) => response,
            Err(ProtocolError::Unsupported(_) | ProtocolError::Truncated(_)) => {
                return Ok(self.reject(codes::ER_HANDSHAKE_ERROR, "Bad handshake", out));
            }
            Err(error) => return Err(error),
        };
        self.login = Login::from_response(&response, self.config.offers());
        self.begin(response.plugin, response.auth, out, env)
    }

    fn on_change_user(
        &mut self,
        payload: &[u8],
        out: &mut Vec<u8>,
        env: &Env<'_>,
    ) -> Result<ServerStep, ProtocolError> {
        let mut r = Reader::new(payload);
        let head = r.u8("COM_CHANGE_USER")?;
        if head != com::CHANGE_USER {
            return Err(ProtocolError::UnexpectedPacket { waiting_for: "COM_CHANGE_USER", head });
        }
        let fields = ChangeUser::read(&mut r, self.login.capabilities)?;
        self.login.change_user(&fields);
        self.begin(fields.plugin, fields.auth, out, env)
    }

    /// Chooses a method, and checks the answer if the client chose the same one.
    fn begin(
        &mut self,
        client_plugin: &[u8],
        auth: &[u8],
        out: &mut Vec<u8>,
        env: &Env<'_>,
    ) -> Result<ServerStep, ProtocolError> {
        if env.require_secure && !env.secure {
            let text = "Connections using insecure transport are prohibited while \
                        --require_secure_transport=ON.";
            return Ok(self.reject(codes::ER_SECURE_TRANSPORT_REQUIRED, text, out));
        }
        let named = self.login.capabilities.contains(Capabilities::PLUGIN_AUTH);
        let tried = if named { Method::by_name(client_plugin) } else { Some(Method::Native) };
        let credentials = Credentials::find(env, &self.login.user);
        let default = Method::by_name(self.config.plugin).unwrap_or(Method::Native);
        // A client that does not have the greeting's method (MySQL's own since 9.0 know nothing of
        // `mysql_native_password`) names another one and answers nothing yet: it waits to be asked.
        let unasked = tried.is_some_and(|method| method != default) && is_empty(auth);
        match tried {
            Some(method) if unasked && credentials.allow(method, env.secure) => {
                Ok(self.switch_to(method, out))
            }
            Some(method) if credentials.allow(method, env.secure) => {
                self.on_answer(method, auth, out, env)
            }
            _ if !named => {
                let text = "Client does not support authentication protocol requested by server; \
                    consider \
                            upgrading client";
                Ok(self.reject(codes::ER_NOT_SUPPORTED_AUTH_MODE, text, out))
            }
            _ => Ok(self.switch_to(credentials.preferred(default), out)),
        }
    }

    /// Asks by another method.
    fn switch_to(&mut self, method: Method, out: &mut Vec<u8>) -> ServerStep {
        self.state = State::Switched(method);
        let mut data = [0; SCRAMBLE_LEN + 1];
        for (place, byte) in data.iter_mut().zip(self.config.scramble) {
            *place = byte;
        }
        let switch = AuthSwitchRequest { plugin: method.name(), data: &data };
        PacketWriter::new(out, &mut self.seq).packet(|w| switch.encode(w));
        ServerStep::Continue
    }

    /// Checks the answer to the challenge.
    fn on_answer(
        &mut self,
        method: Method,
        auth: &[u8],
        out: &mut Vec<u8>,
        env: &Env<'_>,
    ) -> Result<ServerStep, ProtocolError> {
        let credentials = Credentials::find(env, &self.login.user);
        let scramble = self.config.scramble;
        // An empty password is answered by nothing, or by the NUL that would follow it.
        if is_empty(auth) {
            let right = credentials.empty();
            return Ok(self.verdict(right, false, out, env));
        }
        match method {
            Method::Native => {
                let right = credentials.check_native(&scramble, auth);
                Ok(self.verdict(right, true, out, env))
            }
            Method::Clear => self.on_password(auth, out, env),
            Method::CachingSha2 => match credentials.check_fast(env, &scramble, auth) {
                right @ Some(_) => {
                    self.more_data(&[sha2::FAST_AUTH_OK], out);
                    Ok(self.verdict(right, true, out, env))
                }
                // Wrong, or not known yet: the server cannot tell, and the client must not learn.
                None if env.secure || env.rsa.is_some() => {
                    self.more_data(&[sha2::FULL_AUTH], out);
                    self.state = State::Full;
                    Ok(ServerStep::Continue)
                }
                None => Ok(self.verdict(None, true, out, env)),
            },
        }
    }

    /// Takes the password itself, or hands out the key for it.
    fn on_password(
        &mut self,
        payload: &[u8],
        out: &mut Vec<u8>,
        env: &Env<'_>,
    ) -> Result<ServerStep, ProtocolError> {
        let opened;
        let text = match (env.secure, env.rsa) {
            (true, _) => payload,
            (false, Some(rsa)) if payload == [sha2::REQUEST_KEY] => {
                self.more_data(rsa.public_pem().as_bytes(), out);
                self.state = State::Full;
                return Ok(ServerStep::Continue);
            }
            (false, Some(rsa)) => {
                let hidden = rsa.decrypt_oaep_sha1(payload).unwrap_or_default();
                let hidden = zeroize::Zeroizing::new(hidden);
                opened = sha2::obfuscate(&hidden, &self.config.scramble);
                opened.as_slice()
            }
            (false, None) => b"",
        };
        let right = match text.split_last() {
            Some((0, password)) => {
                Credentials::find(env, &self.login.user).check_password(env, password)
            }
            _ => None,
        };
        Ok(self.verdict(right, true, out, env))
    }

    fn more_data(&mut self, data: &[u8], out: &mut Vec<u8>) {
        PacketWriter::new(out, &mut self.seq).packet(|w| AuthMoreData { data }.encode(w));
    }

    fn verdict(
        &mut self,
        right: Option<usize>,
        with_password: bool,
        out: &mut Vec<u8>,
        env: &Env<'_>,
    ) -> ServerStep {
        self.credential = right;
        if right.is_some() {
            self.state = State::Over;
            return ServerStep::Accepted;
        }
        let text = format!(
            "Access denied for user '{}'@'{}' (using password: {})",
            String::from_utf8_lossy(&self.login.user),
            env.host,
            if with_password { "YES" } else { "NO" },
        );
        self.reject(codes::ER_ACCESS_DENIED_ERROR, &text, out)
    }
}

fn is_empty(auth: &[u8]) -> bool {
    matches!(auth, b"" | b"\0")
}
