//! Stands in for `coregate-dataplane` until its `start` exists: the same signatures, a listener that nobody serves.
//! To be removed together with the
//! `use` of it in `serve.rs` and `config.rs`, where `use coregate_dataplane as dataplane` takes its place.
#![allow(dead_code)]
use coregate_planner::control::{ControlPort, DataPort, Metric, PlanStats, Users};
use coregate_planner::snapshot::Snapshot;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub(crate) enum TlsSource {
    Files { cert: PathBuf, key: PathBuf },
    SelfSigned,
}

#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) cores: usize,
    pub(crate) cpus: Option<Vec<usize>>,
    pub(crate) max_connections: usize,
    pub(crate) server_version: String,
    pub(crate) tls: Option<TlsSource>,
    pub(crate) proxy_protocol: bool,
    pub(crate) coalesce_us: u32,
    pub(crate) multishot: bool,
    pub(crate) idle_timeout_s: u64,
    pub(crate) handshake_timeout_ms: u64,
    pub(crate) query_timeout_ms: u64,
    pub(crate) pool_size_per_core: usize,
    pub(crate) pool_waiters_max: usize,
    pub(crate) pool_wait_timeout_ms: u64,
    pub(crate) pool_idle_s: u64,
    pub(crate) pool_lifetime_s: u64,
    pub(crate) max_allowed_packet: usize,
    pub(crate) plan_cache_entries: usize,
    pub(crate) plan_cache_bytes: usize,
    pub(crate) statements_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            cores: 1,
            cpus: None,
            max_connections: 10_000,
            server_version: String::new(),
            tls: None,
            proxy_protocol: false,
            coalesce_us: 100,
            multishot: true,
            idle_timeout_s: 28_800,
            handshake_timeout_ms: 10_000,
            query_timeout_ms: 0,
            pool_size_per_core: 256,
            pool_waiters_max: 10_000,
            pool_wait_timeout_ms: 10_000,
            pool_idle_s: 600,
            pool_lifetime_s: 3_600,
            max_allowed_packet: 64 << 20,
            plan_cache_entries: 10_000,
            plan_cache_bytes: 32 << 20,
            statements_max: 16_382,
        }
    }
}

#[derive(Debug)]
pub(crate) struct StartError(String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

#[derive(Clone)]
pub(crate) struct DataPlane {
    listener: Arc<TcpListener>,
}

impl DataPlane {
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.listener
            .local_addr()
            .unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
    }
}

pub(crate) fn start(
    config: Config,
    _snapshot: Arc<Snapshot>,
    _users: Arc<Users>,
    _control: Arc<dyn ControlPort>,
) -> Result<DataPlane, StartError> {
    let listener = TcpListener::bind(&config.listen[..])
        .map_err(|e| StartError(format!("{:?} cannot be listened on: {e}", config.listen)))?;
    tracing::warn!(cores = config.cores, "the data plane is a stub: {config:?}");
    Ok(DataPlane { listener: Arc::new(listener) })
}

impl DataPort for DataPlane {
    fn publish(&self, _: Arc<Snapshot>, done: Box<dyn FnOnce() + Send>) {
        done();
    }
    fn set_users(&self, _: Arc<Users>) {}
    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }
    fn plans(&self, done: Box<dyn FnOnce(Vec<PlanStats>) + Send>) {
        done(Vec::new());
    }
    fn drain(&self, _: u64, done: Box<dyn FnOnce() + Send>) {
        done();
    }
}
