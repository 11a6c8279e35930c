//! `coregate.toml`. Unknown keys are errors; every error names the key, the value and what is
//! allowed.
mod contention;
mod cores;
mod plane;
mod query_log;
mod topology;
mod users;

use crate::Failure;
use crate::cli::LogFormat;

use coregate_dataplane::{BackendTlsFiles, Config as Defaults, TransactionMode, UnixAddress};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cores::Cores;
pub(crate) use cores::{Placed, kernel};
pub(crate) use plane::WhenNone;
use topology::Topology;
pub(crate) use users::Auth;
use users::Users;

pub(crate) const LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 3307);
pub(crate) const ADMIN: ([u8; 4], u16) = ([127, 0, 0, 1], 3380);
/// As MySQL's: who may log in is for users and passwords to say.
const SOCKET_MODE: u32 = 0o777;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) server: Server,
    pub(crate) tls: Option<Tls>,
    pub(crate) backend_tls: BackendTls,
    pub(crate) pool: Pool,
    pub(crate) plans: Plans,
    pub(crate) query: Query,
    pub(crate) finisher: Finisher,
    pub(crate) cores: Cores,
    pub(crate) topology: Topology,
    pub(crate) health: plane::Health,
    pub(crate) replicas: plane::Replicas,
    pub(crate) buffer: plane::Buffer,
    pub(crate) failover: plane::Failover,
    pub(crate) query_log: query_log::QueryLog,
    pub(crate) hot_row_protection: contention::HotRowProtection,
    pub(crate) consolidator: contention::ConsolidatorSection,
    pub(crate) users: Users,
    pub(crate) log: Log,
    /// `local`: offers TLS with a certificate made at the start.
    #[serde(skip)]
    pub(crate) self_signed: bool,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Server {
    /// Where clients connect.
    #[serde(deserialize_with = "address_of")]
    pub(crate) listen: SocketAddr,
    /// Where clients of this machine connect, too: a path, or `@` and a name in the abstract
    /// namespace.
    pub(crate) socket: Option<PathBuf>,
    /// Rights of its file, in octal.
    #[serde(deserialize_with = "rights")]
    pub(crate) socket_mode: u32,
    /// Where a new process asks this one for its listening sockets: a path. Left out, processes
    /// cannot take over from each other.
    pub(crate) handover: Option<PathBuf>,
    /// How long clients may stay on a process from which another has taken over.
    pub(crate) handover_timeout_ms: u64,
    /// Where the admin API is. Needs `admin_token` unless it is a loopback address.
    #[serde(deserialize_with = "address_of")]
    pub(crate) admin: SocketAddr,
    pub(crate) admin_token: Option<String>,
    /// 0: one for each CPU.
    pub(crate) cores: usize,
    pub(crate) max_connections: usize,
    /// Clients that are silent for so long are disconnected.
    pub(crate) idle_timeout_s: u64,
    /// The same, of those that have a transaction open; 0: no other limit.
    pub(crate) idle_transaction_timeout_ms: u64,
    /// Transactions that are open for so long end when their client rests; 0: no limit.
    pub(crate) transaction_timeout_ms: u64,
    pub(crate) handshake_timeout_ms: u64,
    /// 0: none.
    pub(crate) query_timeout_ms: u64,
    /// Statements that would go to all shards are refused, unless they bear `/*vt+ ALLOW_SCATTER
    /// */`.
    pub(crate) no_scatter: bool,
    /// How transactions over several shards end: SINGLE, MULTI or TWOPC.
    #[serde(deserialize_with = "mode_of")]
    pub(crate) transaction_mode: TransactionMode,
    /// SELECTs over several shards read one snapshot.
    pub(crate) cross_shard_snapshot: bool,
    /// The share of a core's connections that one user's transactions may hold; 1: all.
    pub(crate) transaction_limit_per_user: f64,
    /// How long transactions may go on after SIGTERM.
    pub(crate) drain_timeout_ms: u64,
    /// Clients come through a proxy that speaks the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    pub(crate) max_allowed_packet: usize,
    /// Statements that a client may have prepared at once.
    pub(crate) statements_max: usize,
    /// Connections of a core that wait to be accepted.
    pub(crate) backlog: u32,
    /// What clients are told; left out, what the server behind says.
    pub(crate) server_version: Option<String>,
}

/// `IP:PORT`, `localhost:PORT`, or `:PORT` for all interfaces.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let bare = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None if text.starts_with(':') => format!("0.0.0.0{text}"),
        None => text.to_owned(),
    };
    bare.parse()
        .map_err(|_| format!("{text:?} is not an address; write IP:PORT, e.g. 127.0.0.1:3307"))
}

fn address_of<'de, D: serde::Deserializer<'de>>(d: D) -> Result<SocketAddr, D::Error> {
    address(&String::deserialize(d)?).map_err(serde::de::Error::custom)
}

fn rights<'de, D: serde::Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    let text = String::deserialize(d)?;
    u32::from_str_radix(&text, 8).map_err(|_| {
        serde::de::Error::custom(format!("{text:?} is no octal number; write e.g. \"0660\""))
    })
}

fn mode_of<'de, D: serde::Deserializer<'de>>(d: D) -> Result<TransactionMode, D::Error> {
    let name = String::deserialize(d)?;
    TransactionMode::parse(&name).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "{name:?} is no transaction mode; write SINGLE, MULTI or TWOPC"
        ))
    })
}

impl Default for Server {
    fn default() -> Self {
        let data = Defaults::default();
        Self {
            listen: SocketAddr::from(LISTEN),
            socket: None,
            socket_mode: SOCKET_MODE,
            handover: None,
            handover_timeout_ms: 3_600_000,
            admin: SocketAddr::from(ADMIN),
            admin_token: None,
            cores: 0,
            max_connections: data.max_connections,
            idle_timeout_s: data.idle_timeout_s,
            idle_transaction_timeout_ms: data.idle_transaction_timeout_ms,
            transaction_timeout_ms: data.transaction_timeout_ms,
            handshake_timeout_ms: data.handshake_timeout_ms,
            query_timeout_ms: data.query_timeout_ms,
            no_scatter: data.no_scatter,
            transaction_mode: data.transaction_mode,
            cross_shard_snapshot: data.cross_shard_snapshot,
            transaction_limit_per_user: data.transaction_limit_per_user,
            drain_timeout_ms: 30_000,
            proxy_protocol: false,
            max_allowed_packet: data.max_allowed_packet,
            statements_max: data.statements_max,
            backlog: data.backlog,
            server_version: None,
        }
    }
}

/// `[tls]`, towards clients.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// `[backend_tls]`, towards servers: PEM files. Whether TLS is used and what is verified is each
/// tablet's `tls`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BackendTls {
    /// The authorities that sign the servers' certificates.
    pub(crate) ca: Option<PathBuf>,
    /// Our own, for servers that demand one, with its key.
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl From<BackendTls> for BackendTlsFiles {
    fn from(tls: BackendTls) -> Self {
        Self { ca: tls.ca, cert: tls.cert, key: tls.key }
    }
}

/// `[plans]`: what a core keeps of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Plans {
    pub(crate) entries_per_core: usize,
    pub(crate) bytes_per_core: usize,
}

impl Default for Plans {
    fn default() -> Self {
        let data = Defaults::default();
        Self { entries_per_core: data.plan_cache_entries, bytes_per_core: data.plan_cache_bytes }
    }
}

/// `[query]`: what one statement over several shards may hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Query {
    /// Bytes of rows that are sorted or grouped.
    pub(crate) memory_max: usize,
    /// The same of all statements of a core.
    pub(crate) memory_per_core_max: usize,
}

impl Default for Query {
    fn default() -> Self {
        let data = Defaults::default();
        Self {
            memory_max: data.query_memory_max,
            memory_per_core_max: data.query_memory_per_core_max,
        }
    }
}

/// `[finisher]`: statements that one server finishes over rows of several shards.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Finisher {
    pub(crate) rows_max: u64,
    pub(crate) bytes_max: usize,
    /// Connections to each server, from each core, beside those of the pool.
    pub(crate) size_per_core: usize,
}

impl Default for Finisher {
    fn default() -> Self {
        let data = Defaults::default();
        Self {
            rows_max: data.finisher_rows_max,
            bytes_max: data.finisher_bytes_max,
            size_per_core: data.finisher_size_per_core,
        }
    }
}

/// `[pool]`, of backend connections.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Pool {
    /// Connections to each server, from each core.
    pub(crate) size_per_core: usize,
    /// Statements of a core that may wait for one.
    pub(crate) waiters_max: usize,
    /// How long they wait at most.
    pub(crate) wait_timeout_ms: u64,
    /// A connection that rests longer is closed.
    pub(crate) idle_s: u64,
    /// A connection that is older is closed when it comes back.
    pub(crate) lifetime_s: u64,
    /// Reaching a server and logging in must not take longer.
    pub(crate) connect_timeout_ms: u64,
    /// A server whose machine acknowledges nothing for so long is given up; 0: as long as TCP
    /// waits.
    pub(crate) network_timeout_ms: u32,
    /// Statements kept prepared on one connection; the least used is closed for a new one.
    pub(crate) statements_max: usize,
}

impl Default for Pool {
    fn default() -> Self {
        let data = Defaults::default();
        Self {
            size_per_core: data.pool_size_per_core,
            waiters_max: data.pool_waiters_max,
            wait_timeout_ms: data.pool_wait_timeout_ms,
            idle_s: data.pool_idle_s,
            lifetime_s: data.pool_lifetime_s,
            connect_timeout_ms: data.connect_timeout_ms,
            network_timeout_ms: data.network_timeout_ms,
            statements_max: data.backend_statements_max,
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
}

fn between(key: &str, value: u64, low: u64, high: u64) -> Result<(), String> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(format!("{key} = {value}: it must be {low} to {high}"))
}

fn size(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

impl Server {
    pub(crate) fn unix_address(&self) -> Option<UnixAddress> {
        let path = self.socket.clone()?;
        Some(UnixAddress { path, mode: self.socket_mode })
    }

    fn check(&self) -> Result<(), String> {
        if let Some(socket) = self.unix_address() {
            let at = socket.to_string();
            socket
                .check()
                .map_err(|why| format!("server.socket = {at:?}: {why}"))?;
        }
        between("server.cores", size(self.cores), 0, 1024)?;
        between("server.max_connections", size(self.max_connections), 1, 1_000_000)?;
        between("server.idle_timeout_s", self.idle_timeout_s, 1, 31_536_000)?;
        let idle = self.idle_transaction_timeout_ms;
        between("server.idle_transaction_timeout_ms", idle, 0, 31_536_000_000)?;
        between("server.transaction_timeout_ms", self.transaction_timeout_ms, 0, 31_536_000_000)?;
        between("server.handshake_timeout_ms", self.handshake_timeout_ms, 1, 3_600_000)?;
        between("server.query_timeout_ms", self.query_timeout_ms, 0, 86_400_000)?;
        between("server.drain_timeout_ms", self.drain_timeout_ms, 0, 3_600_000)?;
        between("server.handover_timeout_ms", self.handover_timeout_ms, 0, 604_800_000)?;
        between("server.max_allowed_packet", size(self.max_allowed_packet), 1024, 1 << 30)?;
        between("server.statements_max", size(self.statements_max), 1, 1 << 20)?;
        let share = self.transaction_limit_per_user;
        contention::check_share("server.transaction_limit_per_user", share)?;
        between("server.backlog", u64::from(self.backlog), 1, 1 << 20)?;
        Ok(())
    }
}

impl File {
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let fail = |message: String| Failure::Usage(format!("{}: {message}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
        let mut file = Self::parse(&text).map_err(fail)?;
        // Paths are relative to the file.
        let base = path.parent().unwrap_or_else(|| Path::new("."));
        let servers = &mut file.backend_tls;
        let files = [&mut servers.ca, &mut servers.cert, &mut servers.key];
        let etcd = &mut file.topology;
        let paths =
            [&mut etcd.dir, &mut etcd.ca, &mut etcd.cert, &mut etcd.key, &mut file.users.file]
                .into_iter()
                .chain(files)
                .flatten();
        let tls = file
            .tls
            .iter_mut()
            .flat_map(|tls| [&mut tls.cert, &mut tls.key]);
        let socket = file
            .server
            .socket
            .iter_mut()
            .filter(|path| !path.to_string_lossy().starts_with('@'));
        let paths = paths.chain(&mut file.server.handover);
        for path in paths.chain(tls).chain(socket) {
            *path = base.join(&path);
        }
        Ok(file)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let reader = toml::Deserializer::parse(text).map_err(|e| e.message().to_owned())?;
        let file: Self = serde_path_to_error::deserialize(reader)
            .map_err(|e| format!("{}: {}", e.path(), e.inner().message()))?;
        file.check()?;
        Ok(file)
    }

    /// What types alone do not say.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.server.check()?;
        between("plans.entries_per_core", size(self.plans.entries_per_core), 1, 10_000_000)?;
        between("plans.bytes_per_core", size(self.plans.bytes_per_core), 1 << 16, 1 << 36)?;
        between("query.memory_max", size(self.query.memory_max), 1 << 16, 1 << 36)?;
        between(
            "query.memory_per_core_max",
            size(self.query.memory_per_core_max),
            1 << 16,
            1 << 40,
        )?;
        between("finisher.rows_max", self.finisher.rows_max, 1, 1 << 32)?;
        between("finisher.bytes_max", size(self.finisher.bytes_max), 1 << 16, 1 << 31)?;
        between("finisher.size_per_core", size(self.finisher.size_per_core), 1, 1_000)?;
        between("pool.connect_timeout_ms", self.pool.connect_timeout_ms, 1, 3_600_000)?;
        // Keepalive counts whole seconds, six of them at least.
        match self.pool.network_timeout_ms {
            0 => {}
            ms => between("pool.network_timeout_ms", ms.into(), 6_000, 3_600_000)
                .map_err(|e| format!("{e}, or 0 for none"))?,
        }
        between("pool.statements_max", size(self.pool.statements_max), 1, 1 << 16)?;
        between("pool.size_per_core", size(self.pool.size_per_core), 1, 100_000)?;
        between("pool.waiters_max", size(self.pool.waiters_max), 0, 1_000_000)?;
        between("pool.wait_timeout_ms", self.pool.wait_timeout_ms, 1, 3_600_000)?;
        between("pool.idle_s", self.pool.idle_s, 1, 31_536_000)?;
        between("pool.lifetime_s", self.pool.lifetime_s, 1, 31_536_000)?;
        self.query_log.check(between)?;
        self.hot_row_protection.check(between)?;
        self.consolidator.check(between)?;
        self.users.check(between)?;
        self.check_plane(between)?;
        between(
            "topology.ddl_wait_timeout_ms",
            self.topology.ddl_wait_timeout_ms,
            1,
            31_536_000_000,
        )?;
        self.topology.check()?;
        self.check_cores(between)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_values() {
        let file = File::parse("").unwrap();
        assert_eq!(
            (file.server.listen.port(), file.server.max_connections, file.cores.coalesce_us),
            (3307, 10_000, 100)
        );
        let file = File::parse(
            "[server]\nlisten = \"[::1]:1\"\ncores = 2\n[tls]\ncert = \"a\"\nkey = \"b\"",
        )
        .unwrap();
        assert_eq!((file.server.listen.port(), file.server.cores), (1, 2));
    }

    #[test]
    fn errors_name_the_key() {
        for (text, part) in [
            ("[server]\nlisten = \"x\"", "server.listen: \"x\" is not an address"),
            ("[server]\nlissten = 1", "lissten"),
            (
                "[server]\nsocket = \"@\"",
                "server.socket = \"@\": it has 1 bytes, 1 to 107 are allowed",
            ),
            ("[server]\nsocket_mode = \"rw\"", "server.socket_mode: \"rw\" is no octal number"),
            (
                "[server]\nmax_connections = 0",
                "server.max_connections = 0: it must be 1 to 1000000",
            ),
            ("[server]\nmax_connections = -1", "server.max_connections"),
            ("[cores]\ncpus = [1, 1]", "cores.cpus"),
            ("[cores]\ncpus = [90000]", "this machine has no CPU 90000"),
            (
                "[cores]\nkernel = \"4.19\"",
                "cores.kernel: \"4.19\" is not a version of Linux from 5.15 on",
            ),
            ("[tls]\ncert = \"a\"", "key"),
            ("[backend_tls]\ncaa = \"a\"", "caa"),
            (
                "[pool]\nnetwork_timeout_ms = 10",
                "pool.network_timeout_ms = 10: it must be 6000 to 3600000, or 0",
            ),
            (
                "[plans]\nentries_per_core = 0",
                "plans.entries_per_core = 0: it must be 1 to 10000000",
            ),
            (
                "[cores]\nbuffers_8k_max = 100",
                "cores.buffers_8k_max = 100: it must be a power of two",
            ),
            ("[replicas]\nwhen_none = \"x\"", "replicas.when_none"),
            ("[failover]\ndurability = \"x\"", "failover.durability"),
            ("[topology]\nstore = \"x\"", "topology.store"),
            ("[health]\ninterval_ms = 1", "health.interval_ms = 1: it must be 50 to 3600000"),
            ("x", "="),
        ] {
            let error = File::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
