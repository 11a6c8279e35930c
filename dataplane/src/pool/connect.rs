//! Opening connections to database servers.
use super::backend::Backend;
use super::spare::{Spare, give_up as give_up_spare};
use super::tablet::{Permit, TabletPool};
use crate::backend_tls::server_name;
use crate::core::{Core, DIALECT};
use crate::error::{BackendError, OUT_OF_CONNECTIONS};
use crate::link::{Link, PacketStream, ReadError};
use crate::ring::{Buf, Connect, Socket};
use crate::rsa::BackendKey;
use crate::settings::Settings;
use crate::tls::Tls;
use coregate_planner::snapshot::{Address, BackendTls, Tablet};
use coregate_protocol::auth::client::{
    ClientConfig, ClientHandshake, ClientStep, ServerInfo, TlsPolicy,
};
use coregate_protocol::handshake::Attributes;
use coregate_protocol::response::OwnedError;
use coregate_protocol::{Capabilities, ProtocolError};
use socket2::{Domain, Protocol, SockAddr, TcpKeepalive, Type};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Largest packet that is announced to a server; rows pass through, so this is the protocol's own
/// limit.
const MAX_PACKET: u32 = 1 << 30;
/// Bit of a flavour: the connection has a database selected.
pub(crate) const HAS_DATABASE: u64 = 1 << 63;

impl Backend {
    /// Opens a connection with a session's settings.
    pub(super) async fn connect(
        core: &Rc<Core>,
        permit: Permit,
        flavour: u64,
        settings: &Rc<Settings>,
    ) -> Result<Box<Self>, BackendError> {
        let pool = permit.pool();
        let result =
            Box::pin(within(core, &pool.tablet, login(core, &pool, flavour, settings))).await;
        // Before the place is free for others to try in vain.
        let full = matches!(&result, Err(e) if e.is_out_of_connections());
        pool.note_full(full, core.ring.now());
        if full {
            give_up_spare(core, &pool.tablet, Spare::Connection);
        }
        if matches!(&result, Err(BackendError::Unreachable { .. })) {
            pool.suspect(core);
        }
        let stat = if result.is_ok() { &pool.stats.connected } else { &pool.stats.connect_errors };
        stat.set(stat.get() + 1);
        let (stream, info) = result?;
        pool.retirement.note(&stream.link.socket);
        // The handshake has set the character set and the database; what was SET comes on top
        // (`apply`).
        let fresh = Settings {
            collation: settings.collation,
            database: settings.database.clone(),
            globals: settings.globals,
            vars: Vec::new(),
        };
        let fresh = core.settings.intern(fresh);
        let now = core.ring.now();
        let guarded = pool.guarded.get().then(|| Rc::clone(&pool));
        let made =
            Self::new(stream, permit, pool, flavour, fresh, info.capabilities, info.thread_id, now);
        let mut made = Box::new(made);
        if let Some(pool) = guarded {
            Box::pin(within(core, &pool.tablet, made.require_writable(core))).await?;
        }
        Ok(made)
    }

    /// Our account may write to a read-only server. One that was replaced while nobody could tell
    /// us must get nothing: who has replaced it has made it read-only first, and then ended all
    /// connections.
    async fn require_writable(&mut self, core: &Core) -> Result<(), BackendError> {
        match self
            .value(core, "SELECT @@global.read_only")
            .await?
            .as_deref()
        {
            None | Some("0" | "OFF") => Ok(()),
            Some(_) => Err(BackendError::Unreachable {
                tablet: self.pool.tablet.alias.clone(),
                why: "it is read-only: another server has taken its place, or will".into(),
            }),
        }
    }
}

async fn within<T>(
    core: &Rc<Core>,
    tablet: &Tablet,
    work: impl Future<Output = Result<T, BackendError>>,
) -> Result<T, BackendError> {
    let mut work = pin!(work);
    let deadline = core.ring.now() + Duration::from_millis(core.config().connect_timeout_ms);
    let mut armed = crate::timer::Armed::default();
    poll_fn(|cx| {
        if let Poll::Ready(result) = work.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        core.timers
            .poll_until(cx, core.ring.now(), deadline, &mut armed)
            .map(|()| {
                Err(BackendError::Unreachable {
                    tablet: tablet.alias.clone(),
                    why: "the server did not answer in time".into(),
                })
            })
    })
    .await
}

async fn login(
    core: &Rc<Core>,
    pool: &TabletPool,
    flavour: u64,
    settings: &Settings,
) -> Result<(PacketStream, ServerInfo), BackendError> {
    let tablet = &*pool.tablet;
    let unreachable = |why: &dyn std::fmt::Display| BackendError::Unreachable {
        tablet: tablet.alias.clone(),
        why: why.to_string(),
    };
    let socket = dial(core, tablet).await.map_err(|e| unreachable(&e))?;
    let mut stream = PacketStream::new(Link::new(socket), usize::MAX >> 1);
    let local = matches!(tablet.address, Address::Unix(_));
    let mut handshake = ClientHandshake::new(client_config(pool, flavour, settings));
    let mut out = Vec::new();
    let mut seq = 0;
    loop {
        let packet = match stream.packet(seq).await {
            Ok(Some(packet)) => packet,
            Ok(None) => {
                return Err(unreachable(&"the server closed the connection during the handshake"));
            }
            Err(ReadError::Io(e)) => {
                return Err(unreachable(&core.shared.backend_tls.explain(tablet, &e)));
            }
            Err(ReadError::Protocol(e)) => return Err(e.into()),
        };
        let step = handshake.on_packet(
            packet.payload(),
            packet.seq,
            &mut out,
            local || stream.link.is_secure(),
            Some(&BackendKey),
        );
        seq = packet.seq.wrapping_add(if out.is_empty() { 1 } else { 2 });
        if !out.is_empty() {
            stream.link.send(Buf::from(std::mem::take(&mut out)));
        }
        let step = step.map_err(|e| match e {
            ProtocolError::Unsupported("TLS") => unreachable(
                &"the server offers no TLS: give it a certificate, or use another ssl-mode",
            ),
            other => other.into(),
        });
        match step? {
            ClientStep::Continue => {}
            ClientStep::StartTls => {
                let config = core.shared.backend_tls.of_mode(tablet.tls)?;
                let name = server_name(tablet).map_err(|e| unreachable(&e))?;
                let tls = Tls::client(&config, name).map_err(|e| unreachable(&e))?;
                stream
                    .link
                    .start_tls(tls, None)
                    .map_err(|e| unreachable(&e))?;
                handshake.tls_started(&mut out)?;
                stream.link.send(Buf::from(std::mem::take(&mut out)));
                seq = seq.wrapping_add(1);
            }
            ClientStep::Done(info) => return Ok((stream, info)),
            ClientStep::Failed(e) => {
                return Err(refused(tablet, e));
            }
        }
    }
}

/// Who logs in, and how.
fn client_config(pool: &TabletPool, flavour: u64, settings: &Settings) -> ClientConfig {
    let tablet = &*pool.tablet;
    let database = pool.database.as_deref().or(settings.database.as_deref());
    let shape = Capabilities::from_bits_truncate(flavour & !HAS_DATABASE);
    let mut attributes = Vec::new();
    Attributes::put(&mut attributes, b"program_name", b"coregate");
    ClientConfig {
        user: tablet.user.clone().into_bytes(),
        password: tablet.password.clone().into_bytes().into(),
        database: database.map(|name| name.as_bytes().to_vec()),
        wanted: DIALECT | shape,
        required: Capabilities::PROTOCOL_41,
        collation: u8::try_from(settings.collation).unwrap_or(45),
        attributes,
        tls: match tablet.tls {
            BackendTls::Disabled => TlsPolicy::Disabled,
            BackendTls::Preferred if matches!(tablet.address, Address::Unix(_)) => {
                TlsPolicy::Disabled
            }
            BackendTls::Preferred => TlsPolicy::Preferred,
            _ => TlsPolicy::Required,
        },
        max_packet: MAX_PACKET,
        zstd_level: 0,
        allow_public_key_retrieval: true,
    }
}

/// What the server says. The client must not take the server's limit for ours.
fn refused(tablet: &Tablet, error: OwnedError) -> BackendError {
    let OwnedError { code, sqlstate, message } = error;
    let message = match code {
        code if OUT_OF_CONNECTIONS.contains(&code) => format!(
            "the server {} is out of connections ({message}): raise its max_connections, or lower \
                pool.size_per_core",
            tablet.alias
        ),
        _ => message,
    };
    BackendError::Refused { code, sqlstate, message }
}

/// A network that is cut says nothing: what was sent must be acknowledged, and a peer that has
/// nothing to say must still be there, within the time. Whether a server is slow is another matter.
fn give_up_after(socket: &socket2::Socket, timeout_ms: u32) -> std::io::Result<()> {
    socket.set_keepalive(true)?;
    if timeout_ms == 0 {
        return Ok(());
    }
    let timeout = Duration::from_millis(timeout_ms.into());
    let keepalive = TcpKeepalive::new()
        .with_time(timeout / 2)
        .with_interval(timeout / 6)
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(timeout))
}

async fn dial(core: &Rc<Core>, tablet: &Tablet) -> std::io::Result<Socket> {
    let (socket, address) = match &tablet.address {
        Address::Tcp(to) => {
            let socket =
                socket2::Socket::new(Domain::for_address(*to), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_tcp_nodelay(true)?;
            give_up_after(&socket, core.config().network_timeout_ms)?;
            (socket, SockAddr::from(*to))
        }
        Address::Unix(path) => {
            (socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?, SockAddr::unix(path)?)
        }
        Address::Unresolved { host, .. } => {
            let why = format!("the name {host} cannot be resolved at the moment");
            return Err(std::io::Error::other(why));
        }
    };
    let mut connect = Connect::new(&core.ring, socket, address);
    let fd = poll_fn(|cx| connect.poll(cx)).await?;
    Ok(Socket::new(&core.ring, fd))
}

/// Ends the statement that a connection of ours runs, or the connection, over a connection of its
/// own.
pub(crate) async fn kill_query(
    core: Rc<Core>,
    pool: Rc<TabletPool>,
    thread_id: u32,
    connection: bool,
) {
    let settings = core
        .settings
        .intern(Settings { collation: 45, ..Settings::default() });
    let work = async {
        let (stream, info) = login(&core, &pool, 0, &settings).await?;
        let permit = Permit::unbounded(&pool);
        let now = core.ring.now();
        let mut backend = Backend::new(
            stream,
            permit,
            Rc::clone(&pool),
            0,
            Rc::clone(&settings),
            info.capabilities,
            info.thread_id,
            now,
        );
        let what = if connection { "CONNECTION" } else { "QUERY" };
        backend
            .execute(&core, &format!("KILL {what} {thread_id}"))
            .await
    };
    match within(&core, &pool.tablet, work).await {
        // 1094: it has ended by itself.
        Ok(_) | Err(BackendError::Refused { code: 1094, .. }) => {}
        Err(e) => {
            tracing::warn!(
                "cannot kill the query of a client that is gone on {}: {e}",
                pool.tablet.alias
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_silent_is_given_up() {
        let socket = || {
            socket2::Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket")
        };
        let bounded = socket();
        give_up_after(&bounded, 30_000).expect("options");
        let seconds = Duration::from_secs;
        assert_eq!(bounded.tcp_user_timeout().expect("one"), Some(seconds(30)));
        assert_eq!(bounded.tcp_keepalive_time().expect("one"), seconds(15));
        assert_eq!(bounded.tcp_keepalive_interval().expect("one"), seconds(5));
        let free = socket();
        give_up_after(&free, 0).expect("options");
        assert!(free.keepalive().expect("one") && free.tcp_user_timeout().expect("one").is_none());
    }
}
