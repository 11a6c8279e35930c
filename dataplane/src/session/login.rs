//! From an accepted socket to a session: PROXY header, greeting, TLS, authentication, database.
use super::accounts::CoreAccounts;
use super::client::Client;
use super::rights::Rights;
use super::state::State;
use super::{Failure, Outcome, Session, SessionHandle, Target};
use crate::core::{Core, FLAVOURS};
use crate::link::{Link, Packet, PacketStream, ReadError};
use crate::listener::Peer;
use crate::proxy_protocol;
use crate::ring::{Buf, Socket};
use crate::seat::Seat;
use crate::settings::Settings;
use crate::tls::Tls;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use coregate_protocol::Capabilities;
use coregate_protocol::auth::plugin;
use coregate_protocol::auth::server::{
    Env, Login, ServerConfig, ServerHandshake, ServerStep, make_scramble,
};
use coregate_protocol::compress::{Compressor, Decompressor, Method};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Poll;

/// What clients may use.
const OFFERED: Capabilities = FLAVOURS
    .union(crate::core::DIALECT)
    .union(Capabilities::MULTI_STATEMENTS)
    .union(Capabilities::INTERACTIVE)
    .union(Capabilities::IGNORE_SIGPIPE)
    .union(Capabilities::CONNECT_WITH_DB)
    .union(Capabilities::COMPRESS)
    .union(Capabilities::ZSTD_COMPRESSION)
    .union(Capabilities::ODBC)
    .union(Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS);

/// Nobody needs more before having logged in, in bytes.
const LOGIN_PACKET_MAX: usize = 64 << 10;

/// A session counts as a client as long as this lives.
pub(super) struct Guest {
    core: Rc<Core>,
    id: u32,
    _seat: Seat,
}

impl Guest {
    /// One more client, and how many there were.
    pub(super) fn new(core: &Rc<Core>, id: u32, seat: Seat) -> (Self, usize) {
        let clients = core.shared.clients.fetch_add(1, Ordering::Relaxed);
        (Self { core: Rc::clone(core), id, _seat: seat }, clients)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.core.sessions.borrow_mut().remove(&self.id);
        self.core.shared.clients.fetch_sub(1, Ordering::Relaxed);
        self.core
            .metrics()
            .sessions
            .set(self.core.sessions.borrow().len() as u64);
    }
}

/// Serves one client from its first byte to its last.
pub(crate) async fn serve(core: Rc<Core>, socket: Socket, peer: Option<Peer>, seat: Seat) {
    let id = core.new_session_id();
    let (guest, clients) = Guest::new(&core, id, seat);
    core.metrics().connections.add(1);
    let stream = PacketStream::new(Link::new(socket), LOGIN_PACKET_MAX);
    if clients >= core.config().max_connections {
        core.metrics().connections_refused.add(1);
        refuse(stream, 1040, "Too many connections");
        return;
    }
    let session = Box::pin(admit(Rc::clone(&core), stream, id, peer)).await;
    match session {
        Ok(session) => session.run().await,
        Err(why) => tracing::debug!(id, "no session: {why}"),
    }
    drop(guest);
}

fn refuse(mut stream: PacketStream, code: u16, message: &str) {
    let mut out = Vec::new();
    let error = coregate_protocol::response::ErrPacket::new(code, message.as_bytes());
    let mut seq = 0;
    coregate_protocol::frame::PacketWriter::new(&mut out, &mut seq)
        .packet(|w| error.encode(Capabilities::empty(), w));
    stream.link.send(Buf::from(out));
}

async fn admit(
    core: Rc<Core>,
    mut stream: PacketStream,
    id: u32,
    peer: Option<Peer>,
) -> Result<Box<Session>, &'static str> {
    let mut peer = peer;
    if core.config().proxy_protocol && peer != Some(Peer::Unix) {
        // A header that tells no address leaves the address that the connection comes from.
        let told = Box::pin(told_peer(&core, &mut stream, id)).await?;
        peer = told.map(Peer::Ip).or(peer);
    }
    let host = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
    let handle = SessionHandle::new(&core, id, host.clone());
    core.metrics()
        .sessions
        .set(core.sessions.borrow().len() as u64);
    let accounts = CoreAccounts::new(&core, peer);
    let scramble = new_scramble();
    let mut handshake = ServerHandshake::new(server_config(&core, id, scramble));
    let mut out = Vec::new();
    handshake.greeting(&mut out);
    stream.link.send(Buf::from(std::mem::take(&mut out)));
    converse(&core, &mut stream, &mut handshake, &handle, &accounts, None).await?;
    let login = handshake.login().clone();
    let rights = accounts.rights(&handshake);
    let mut session = Box::new(Session::new(core, stream, handle, (login, scramble), rights));
    // The client has done its part: what is waited for now is not its time to log in.
    session.client.handle.works(&session.core);
    session.start(&mut handshake).await?;
    Ok(session)
}

/// Waits for the PROXY header, not longer than for a login, and not while the process ends.
async fn told_peer(
    core: &Rc<Core>,
    stream: &mut PacketStream,
    id: u32,
) -> Result<Option<IpAddr>, &'static str> {
    let handle = SessionHandle::new(core, id, String::new());
    let mut header = pin!(proxy_protocol::read(stream));
    let told = poll_fn(|cx| {
        if let Poll::Ready(told) = header.as_mut().poll(cx) {
            return Poll::Ready(told.map_err(|_| "no PROXY header"));
        }
        let late = "no PROXY header in time";
        handle.poll_interrupt(cx).map(|_| Err(late))
    })
    .await;
    if told.is_err() {
        core.metrics().logins_failed.add(1);
    }
    told
}

/// What the servers can do, too. MariaDB's capabilities count only where the first of MySQL's is
/// not set.
fn offered(server_version: &str, is_drop_in: bool) -> Capabilities {
    let bulk = Capabilities::MARIADB_STMT_BULK_OPERATIONS;
    let not = match has_extended_metadata(server_version) {
        true if is_drop_in => Capabilities::LONG_PASSWORD,
        true => Capabilities::LONG_PASSWORD | bulk,
        false => Capabilities::MARIADB_EXTENDED_METADATA | bulk,
    };
    OFFERED.difference(not)
}

/// MariaDB since 10.5.2.
fn has_extended_metadata(server_version: &str) -> bool {
    let version = server_version
        .strip_prefix("5.5.5-")
        .unwrap_or(server_version);
    let mut numbers = version
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|number| number.parse::<u32>().ok());
    let number: [u32; 3] = std::array::from_fn(|_| numbers.next().unwrap_or(0));
    version.contains("MariaDB") && number >= [10, 5, 2]
}

fn server_config(core: &Core, id: u32, scramble: [u8; 20]) -> ServerConfig {
    ServerConfig {
        thread_id: id,
        scramble,
        server_version: core.server_version.borrow().clone().into_bytes(),
        offered: offered(&core.server_version.borrow(), core.snapshot.borrow().drop_in.is_some()),
        collation: 45,
        plugin: plugin::NATIVE,
        tls: core.shared.tls.is_some(),
    }
}

fn new_scramble() -> [u8; 20] {
    let mut random = [0u8; 20];
    // aws-lc's generator does not fail once the process runs; zeros would only make the challenge
    // constant.
    let _ = SystemRandom::new().fill(&mut random);
    make_scramble(random)
}

/// The exchange of packets up to the verdict. `first` is a packet that was read already
/// (COM_CHANGE_USER).
async fn converse(
    core: &Rc<Core>,
    stream: &mut PacketStream,
    handshake: &mut ServerHandshake,
    handle: &SessionHandle,
    accounts: &CoreAccounts,
    mut first: Option<Packet>,
) -> Result<(), &'static str> {
    let mut out = Vec::new();
    loop {
        let packet = match first.take() {
            Some(packet) => packet,
            None => next_packet(stream, handshake, handle, core).await?,
        };
        if let Some(user) = handshake.names(packet.payload()) {
            let read = Session::unless_interrupted(handle, accounts.ask_servers(&user)).await;
            read.map_err(|_| "the client did not log in in time")?;
        }
        let env = Env {
            accounts,
            rsa: Some(&core.shared.rsa),
            // What goes through a Unix-domain socket leaves no wire to listen on.
            secure: stream.link.is_secure() || Peer::of_host(&handle.host) == Some(Peer::Unix),
            require_secure: false,
            host: &handle.host,
        };
        let step = match handshake.on_packet(packet.payload(), packet.seq, &mut out, &env) {
            Ok(step) => step,
            Err(e) => handshake.reject(e.code(), &e.to_string(), &mut out),
        };
        drop(packet);
        if !out.is_empty() {
            stream.link.send(Buf::from(std::mem::take(&mut out)));
        }
        match step {
            ServerStep::Continue => {}
            ServerStep::StartTls => {
                let config = core.shared.tls.as_ref().ok_or("TLS is not on offer")?;
                let tls = Tls::server(config).map_err(|_| "TLS cannot start")?;
                let early = stream.take_rest();
                stream
                    .link
                    .start_tls(tls, early)
                    .map_err(|_| "TLS cannot start")?;
            }
            ServerStep::Accepted => return Ok(()),
            ServerStep::Rejected => {
                core.metrics().logins_failed.add(1);
                return Err("login rejected");
            }
        }
    }
}

async fn next_packet(
    stream: &mut PacketStream,
    handshake: &mut ServerHandshake,
    handle: &SessionHandle,
    core: &Core,
) -> Result<Packet, &'static str> {
    let seq = handshake.seq();
    let next = poll_fn(|cx| {
        if let Poll::Ready(packet) = stream.poll_packet(cx, seq) {
            return Poll::Ready(Some(packet));
        }
        handle.poll_interrupt(cx).map(|_| None)
    })
    .await;
    let mut out = Vec::new();
    let why = match next {
        Some(Ok(Some(packet))) => return Ok(packet),
        Some(Ok(None)) | Some(Err(ReadError::Io(_))) => {
            return Err("the client went away during the handshake");
        }
        Some(Err(ReadError::Protocol(e))) => {
            handshake.reject(e.code(), &e.to_string(), &mut out);
            "the client's packets make no sense"
        }
        None => {
            handshake.reject(1159, "Got timeout reading communication packets", &mut out);
            "the client did not log in in time"
        }
    };
    core.metrics().logins_failed.add(1);
    stream.link.send(Buf::from(out));
    Err(why)
}

impl Session {
    pub(super) fn new(
        core: Rc<Core>,
        stream: PacketStream,
        handle: Rc<SessionHandle>,
        login: (Login, [u8; 20]),
        rights: Rights,
    ) -> Self {
        let settings = core.settings.intern(Settings::default());
        let mut session = Self {
            client: Client::new(stream, handle, login, rights),
            state: State {
                cross_shard_snapshot: core.config().cross_shard_snapshot,
                ..State::new(settings)
            },
            target: Target::default(),
            transaction: super::Transaction::default(),
            reads: super::Reads::default(),
            last: super::Last::default(),
            running: super::Running::default(),
            statements: None,
            turn: std::cell::Cell::new(0),
            core,
        };
        session.begin_anew();
        session
    }

    pub(super) fn login_user(&self) -> String {
        String::from_utf8_lossy(&self.client.login.0.user).into_owned()
    }

    /// The state of a session that has just logged in.
    fn begin_anew(&mut self) {
        let collation = match self.client.login.0.collation {
            0 => 45,
            known => known,
        };
        self.reads.causal = self.fresh_causal();
        *self.client.handle.user.borrow_mut() = self.login_user();
        *self.client.handle.database.borrow_mut() = None;
        self.state.settings = self.fresh_settings(collation, None);
        self.state.charsets = self.state.settings.charsets();
        self.target = Target { version: self.core.snapshot.borrow().version, ..Target::default() };
        self.set_flavour();
    }

    /// Selects the database that the client asked for, says OK, and turns on compression.
    async fn start(&mut self, handshake: &mut ServerHandshake) -> Result<(), &'static str> {
        let mut out = Vec::new();
        if let Err(e) = self.admit_user() {
            self.core.metrics().logins_failed.add(1);
            handshake.reject(e.code, &e.message, &mut out);
            self.client.stream.link.send(Buf::from(out));
            return Err("the user may have no such session");
        }
        let database = self
            .client
            .login
            .0
            .database
            .clone()
            .filter(|name| !name.is_empty());
        if let Some(name) = database {
            let name = String::from_utf8_lossy(&name).into_owned();
            match self.use_database(&name).await {
                Ok(()) => {}
                Err(Failure::Sql(e) | Failure::Fatal(e)) => {
                    handshake.reject(e.code, &e.message, &mut out);
                    self.client.stream.link.send(Buf::from(out));
                    return Err("the database cannot be selected");
                }
                Err(Failure::Close) => return Err("the client went away"),
            }
        }
        self.begin_mode().await;
        handshake.accept_with(self.status(), &self.schema_report(), &mut out);
        self.client.stream.link.send(Buf::from(out));
        self.client
            .stream
            .set_limit(self.core.config().max_allowed_packet);
        let capabilities = self.client.capabilities;
        let method = if capabilities.contains(Capabilities::ZSTD_COMPRESSION) {
            Some(Method::Zstd(self.client.login.0.zstd_level.clamp(1, 22)))
        } else {
            capabilities
                .contains(Capabilities::COMPRESS)
                .then_some(Method::Zlib)
        };
        if let Some(method) = method {
            let compressor = Compressor::new(method).map_err(|_| "compression cannot start")?;
            let decompressor = Decompressor::new(method).map_err(|_| "compression cannot start")?;
            self.client
                .stream
                .link
                .start_compression(compressor, decompressor);
        }
        self.client.login.0.attributes = Vec::new();
        Ok(())
    }

    /// COM_CHANGE_USER: another login on the same connection.
    pub(super) async fn change_user(&mut self, packet: &Packet) -> Outcome {
        self.reset().await?;
        let core = Rc::clone(&self.core);
        let config = server_config(&core, self.client.handle.id, self.client.login.1);
        let (capabilities, max_packet) = (self.client.capabilities, self.client.login.0.max_packet);
        let mut handshake = ServerHandshake::change_user(config, capabilities, max_packet);
        let accounts = CoreAccounts::new(&core, Peer::of_host(&self.client.handle.host));
        let first = Some(packet.copy());
        let handle = Rc::clone(&self.client.handle);
        converse(&core, &mut self.client.stream, &mut handshake, &handle, &accounts, first)
            .await
            .map_err(|_| Failure::Close)?;
        let mut login = handshake.login().clone();
        login.capabilities = capabilities;
        self.client.login.0 = login;
        self.client.rights = Rc::new(accounts.rights(&handshake));
        self.begin_anew();
        let database = self
            .client
            .login
            .0
            .database
            .clone()
            .filter(|name| !name.is_empty());
        let mut out = Vec::new();
        if let Err(e) = self.admit_user() {
            self.core.metrics().logins_failed.add(1);
            handshake.reject(e.code, &e.message, &mut out);
            self.client.stream.link.send(Buf::from(out));
            return Err(Failure::Close);
        }
        if let Some(name) = database
            && let Err(failure) = self.use_database(&String::from_utf8_lossy(&name)).await
        {
            if let Failure::Sql(e) | Failure::Fatal(e) = failure {
                handshake.reject(e.code, &e.message, &mut out);
                self.client.stream.link.send(Buf::from(out));
            }
            return Err(Failure::Close);
        }
        self.begin_mode().await;
        handshake.accept_with(self.status(), &self.schema_report(), &mut out);
        self.client.stream.link.send(Buf::from(out));
        Ok(())
    }
}
