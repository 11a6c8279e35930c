//! Stands in for `coregate-dataplane` until its `start` exists: the same signatures, a listener that nobody serves.
//! To be removed together with the `use` of it in `serve.rs`.
#![allow(dead_code)]
use coregate_planner::control::{ControlPort, DataPort, Metric, PlanStats, Users};
use coregate_planner::snapshot::Snapshot;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) cores: usize,
    pub(crate) max_connections: usize,
    pub(crate) server_version: String,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) proxy_protocol: bool,
    pub(crate) coalesce_us: u32,
    pub(crate) idle_timeout_s: u64,
    pub(crate) handshake_timeout_ms: u64,
    pub(crate) query_timeout_ms: u64,
    pub(crate) pool_size_per_core: usize,
    pub(crate) max_allowed_packet: usize,
    pub(crate) cpus: Option<Vec<usize>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            cores: 0,
            max_connections: 10_000,
            server_version: String::new(),
            tls: None,
            proxy_protocol: false,
            coalesce_us: 100,
            idle_timeout_s: 28_800,
            handshake_timeout_ms: 10_000,
            query_timeout_ms: 0,
            pool_size_per_core: 32,
            max_allowed_packet: 64 << 20,
            cpus: None,
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
