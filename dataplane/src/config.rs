//! What the data plane can be told. Units are in the names; 0 means "no limit" only where it says
//! so.
use crate::backend_accounts::BackendAuthConfig;
use crate::backend_tls::BackendTlsConfig;
use crate::consolidator::ConsolidatorConfig;
use crate::hot_rows::HotRowConfig;
use crate::query_log::QueryLogConfig;
use crate::ring::Kernel;
use crate::session::TransactionMode;
use crate::tls::TlsSource;
use crate::unix_socket::UnixAddress;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Config {
    /// Every core listens on each of these.
    pub listen: Vec<SocketAddr>,
    /// Clients of this machine connect here, too.
    pub socket: Option<UnixAddress>,
    /// Listening sockets of a process that hands its work over: used where they are of the same
    /// addresses.
    pub inherited: Vec<Arc<OwnedFd>>,
    /// This process may hand over its own ([`crate::DataPlane::doors`]).
    pub hands_over: bool,
    /// One thread each.
    pub cores: usize,
    /// CPUs that the cores are pinned to, in order; `None`: not pinned.
    pub cpus: Option<Vec<usize>>,
    /// Clients at once, over all cores; one more gets error 1040.
    pub max_connections: usize,
    /// What clients are told; drivers behave by it.
    pub server_version: String,
    /// TLS for clients; `None`: not offered.
    pub tls: Option<TlsSource>,
    /// TLS to servers; `None`: no certificates of ours or of authorities.
    pub backend_tls: Option<Arc<BackendTlsConfig>>,
    /// Connections of a core that the kernel keeps until they are accepted.
    pub backlog: u32,
    /// Clients come through a balancer that speaks the PROXY protocol (v1 or v2); others are
    /// refused. Not those of `socket`.
    pub proxy_protocol: bool,
    /// Longest sleep for several answers at once, in µs; 0: never.
    pub coalesce_us: u32,
    /// Multishot receives.
    pub multishot: bool,
    /// Use nothing of io_uring that came after this kernel: for tests of the fallbacks.
    pub kernel: Option<Kernel>,
    /// Receive buffers of a core: 8 KiB each, and 64 KiB each. Powers of two.
    pub buffers_small_max: u16,
    pub buffers_large_max: u16,
    /// An idle client is closed after so long (MySQL's wait_timeout).
    pub idle_timeout_s: u64,
    /// A client that is idle in a transaction is closed after so long; 0: only as other idle
    /// clients.
    pub idle_transaction_timeout_ms: u64,
    /// A transaction that is open for so long ends when its client rests; 0: no limit.
    pub transaction_timeout_ms: u64,
    /// A client must have logged in after so long.
    pub handshake_timeout_ms: u64,
    /// A statement that runs longer is killed, error 3024; 0: no limit.
    pub query_timeout_ms: u64,
    /// How transactions over several shards end where a session says nothing else.
    pub transaction_mode: TransactionMode,
    /// SELECTs over several shards read one snapshot, where the session has not said otherwise.
    pub cross_shard_snapshot: bool,
    /// The share of a core's connections that one user's transactions may hold; 1: all.
    pub transaction_limit_per_user: f64,
    pub hot_rows: HotRowConfig,
    pub consolidator: ConsolidatorConfig,
    pub backend_auth: BackendAuthConfig,
    /// Statements that would go to all shards are refused, unless they bear `/*vt+ ALLOW_SCATTER
    /// */`.
    pub no_scatter: bool,
    /// Connections of one core to one server.
    pub pool_size_per_core: usize,
    /// Statements of one core that may wait for a connection to one server.
    pub pool_waiters_max: usize,
    /// They wait at most so long.
    pub pool_wait_timeout_ms: u64,
    /// A pooled connection that rests longer is closed.
    pub pool_idle_s: u64,
    /// A pooled connection older than this is closed when it comes back.
    pub pool_lifetime_s: u64,
    /// Reaching a server and logging in must not take longer.
    pub connect_timeout_ms: u64,
    /// A server whose machine acknowledges nothing for so long is given up; 0: as long as TCP
    /// waits.
    pub network_timeout_ms: u32,
    /// Statements kept prepared on one connection to a server.
    pub backend_statements_max: usize,
    /// Largest packet from a client.
    pub max_allowed_packet: usize,
    /// Plans kept by a core.
    pub plan_cache_entries: usize,
    /// Bytes of plans kept by a core.
    pub plan_cache_bytes: usize,
    /// Prepared statements of one client.
    pub statements_max: usize,
    /// Bytes of rows that one statement over several shards may hold.
    pub query_memory_max: usize,
    /// Bytes of rows that the statements of a core may hold together.
    pub query_memory_per_core_max: usize,
    /// Rows, and bytes of them, that one statement may have on the server that finishes it.
    pub finisher_rows_max: u64,
    pub finisher_bytes_max: usize,
    /// Connections of a core to one server on which statements are finished.
    pub finisher_size_per_core: usize,
    /// Where no replica may be read from, reads of replicas go to the primary; else they are
    /// refused.
    pub replicas_else_primary: bool,
    /// How long a replica may take to have what a session has written before that reads; 0: it is
    /// read from as it is.
    pub read_after_write_ms: u64,
    /// Which statements are logged; `None`: none.
    pub query_log: Option<QueryLogConfig>,
    /// Statements, over all cores, that wait while primaries are replaced.
    pub buffer_size: usize,
    /// One waits at most so long.
    pub buffer_window_ms: u64,
    /// Of the requests that wait, all cores together.
    pub buffer_bytes_max: usize,
    /// None waits any more when replacing a primary takes longer.
    pub buffer_failover_max_ms: u64,
    /// After a primary has died, none waits for the next death for so long.
    pub buffer_gap_min_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 3307))],
            socket: None,
            inherited: Vec::new(),
            hands_over: false,
            cores: 1,
            cpus: None,
            max_connections: 10_000,
            server_version: "8.0.40-coregate".into(),
            tls: Some(TlsSource::SelfSigned),
            backend_tls: None,
            backlog: 4096,
            proxy_protocol: false,
            coalesce_us: 100,
            multishot: true,
            kernel: None,
            buffers_small_max: 4096,
            buffers_large_max: 512,
            idle_timeout_s: 28_800,
            idle_transaction_timeout_ms: 0,
            transaction_timeout_ms: 0,
            handshake_timeout_ms: 10_000,
            query_timeout_ms: 0,
            transaction_mode: TransactionMode::Multi,
            cross_shard_snapshot: false,
            transaction_limit_per_user: 1.0,
            hot_rows: HotRowConfig::default(),
            consolidator: ConsolidatorConfig::default(),
            backend_auth: BackendAuthConfig::default(),
            no_scatter: false,
            pool_size_per_core: 64,
            pool_waiters_max: 10_000,
            pool_wait_timeout_ms: 10_000,
            pool_idle_s: 600,
            pool_lifetime_s: 3_600,
            connect_timeout_ms: 10_000,
            network_timeout_ms: 30_000,
            backend_statements_max: 256,
            max_allowed_packet: 64 << 20,
            plan_cache_entries: 10_000,
            plan_cache_bytes: 32 << 20,
            statements_max: 16_382,
            query_memory_max: 64 << 20,
            query_memory_per_core_max: 512 << 20,
            finisher_rows_max: 1_000_000,
            finisher_bytes_max: 256 << 20,
            finisher_size_per_core: 4,
            replicas_else_primary: false,
            read_after_write_ms: 0,
            query_log: None,
            buffer_size: 1_000,
            buffer_window_ms: 10_000,
            buffer_bytes_max: 64 << 20,
            buffer_failover_max_ms: 20_000,
            buffer_gap_min_ms: 60_000,
        }
    }
}
