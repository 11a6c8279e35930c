//! Starts both planes and waits for the end.
use crate::Failure;
use crate::cli::{CommonArgs, ServeArgs};
use crate::config::{File, Placed, WhenNone};
use crate::handover::Heir;
use crate::{logging, notify, upstream};
use coregate_controlplane::{Config, ControlPlane, Source, TlsClient, users};
use coregate_dataplane::{self as dataplane, BackendTlsConfig};
use coregate_planner::control::Users;
use coregate_planner::snapshot::{BackendTls, Tablet};
use coregate_protocol::auth::client::RsaEncrypt;
use rustls::pki_types::ServerName;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

pub(crate) fn run(args: ServeArgs) -> Result<(), Failure> {
    let mut file = match &args.config {
        Some(path) => File::load(path)?,
        None => File::default(),
    };
    overrule(&mut file, args.common)?;
    file.server.handover = args.handover.or_else(|| file.server.handover.take());
    let url = upstream::given(args.upstream, &file)?;
    let (source, users) = match &url {
        Some(url) => drop_in(url, args.upstream_password_file.as_deref(), &mut file)?,
        None if args.config.is_none() => {
            return Err(Failure::Usage(
                "serve needs --config FILE, or --upstream URL, or both; --help says more"
                    .to_owned(),
            ));
        }
        None => {
            let source = file.topology.source().map_err(Failure::Usage)?;
            if !file.users.name_somebody() {
                return Err(Failure::Usage(
                    "users.file is missing: nobody could log in; name a users.json".to_owned(),
                ));
            }
            (source, Users::default())
        }
    };
    Heir::check(&file, &source)?;
    logging::init(file.log.format)?;
    coregate_tuning::check::warn_at_start();
    start(file, source, users)
}

/// One server with everything on it; the file says the rest.
fn drop_in(
    url: &str,
    password: Option<&Path>,
    file: &mut File,
) -> Result<(Source, Users), Failure> {
    let (mut upstream, files) = upstream::parse(url)?;
    if upstream.password.is_empty() {
        upstream.password = upstream::password(password)?;
    }
    let own = &mut file.backend_tls;
    own.ca = files.ca.or_else(|| own.ca.take());
    if files.cert.is_some() || files.key.is_some() {
        (own.cert, own.key) = (files.cert, files.key);
    }
    // With a users file, only those that it names.
    let users = match file.users.file {
        Some(_) => Users::default(),
        None => users::single(&upstream.user, &upstream.password),
    };
    Ok((Source::DropIn(upstream), users))
}

/// What the command line says goes before what the file says.
pub(crate) fn overrule(file: &mut File, args: CommonArgs) -> Result<(), Failure> {
    let server = &mut file.server;
    server.listen = args.listen.unwrap_or(server.listen);
    server.socket = args.socket.or_else(|| server.socket.take());
    server.admin = args.admin.unwrap_or(server.admin);
    if let Some(cores) = args.cores {
        server.cores = cores;
        file.cores.count = None;
    }
    server.max_connections = args.max_connections.unwrap_or(server.max_connections);
    if server.admin_token.is_none() {
        server.admin_token = std::env::var("COREGATE_ADMIN_TOKEN")
            .ok()
            .filter(|t| !t.is_empty());
    }
    // So that any test can be run on the fallbacks.
    if let Ok(version) = std::env::var("COREGATE_KERNEL") {
        let kernel = crate::config::kernel(&version);
        file.cores.kernel =
            Some(kernel.map_err(|why| Failure::Usage(format!("COREGATE_KERNEL: {why}")))?);
    }
    if let (Some(cert), Some(key)) = (args.tls_cert, args.tls_key) {
        file.tls = Some(crate::config::Tls { cert, key });
    }
    file.users.file = args.users.or_else(|| file.users.file.take());
    file.users.auth = args.auth.unwrap_or(file.users.auth);
    file.log.format = args.log_format.unwrap_or(file.log.format);
    file.check().map_err(Failure::Usage)
}

/// Runs until a signal ends it.
pub(crate) fn start(file: File, source: Source, users: Users) -> Result<(), Failure> {
    raise_file_limit(file.server.max_connections);
    if let Some(tls) = client_tls(&file) {
        tls.check()
            .map_err(|e| Failure::Usage(format!("{e} (towards clients)")))?;
    }
    let backend_tls = BackendTlsConfig::load(&file.backend_tls.clone().into())
        .map_err(|e| Failure::Usage(format!("{e} (towards the servers)")))?;
    let backend_tls = Arc::new(backend_tls);
    let mut config = Config::new(source, users, file.server.admin);
    config.tls = Some(Arc::new(ServerTls(Arc::clone(&backend_tls))));
    config.users_file = file.users.file.clone();
    config.admin_token = file.server.admin_token.clone();
    config.drain_timeout_ms = file.server.drain_timeout_ms;
    config.server_version = file.server.server_version.clone();
    config.options = file.options();
    config.audit_log = file.failover.audit_log.clone();
    config.ddl_wait_ms = file.topology.ddl_wait_timeout_ms;
    let placed = file.placed();
    config.cores = placed.cores;
    let heir = Heir::find(&file)?;
    config.admin_door = heir.admin.clone();
    let control = ControlPlane::start(config)?;
    let served = serve(&file, placed, heir, &control, backend_tls);
    if served.is_err() {
        // Servers of `local` must not outlive us: end as by a signal.
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM);
    }
    let joined = control.join();
    served?;
    Ok(joined?)
}

fn client_tls(file: &File) -> Option<dataplane::TlsSource> {
    match (&file.tls, file.self_signed) {
        (Some(tls), _) => {
            Some(dataplane::TlsSource::Files { cert: tls.cert.clone(), key: tls.key.clone() })
        }
        (None, true) => Some(dataplane::TlsSource::SelfSigned),
        (None, false) => None,
    }
}

/// The data plane's TLS towards servers, for the control plane.
#[derive(Debug)]
struct ServerTls(Arc<BackendTlsConfig>);

impl TlsClient for ServerTls {
    fn config(&self, mode: BackendTls) -> Result<Arc<rustls::ClientConfig>, String> {
        self.0.of_mode(mode).map_err(|e| e.to_string())
    }

    fn server_name(&self, tablet: &Tablet) -> std::io::Result<ServerName<'static>> {
        dataplane::server_name(tablet)
    }

    fn explain(&self, tablet: &Tablet, error: &std::io::Error) -> String {
        self.0.explain(tablet, error)
    }

    fn rsa(&self) -> &(dyn RsaEncrypt + Sync) {
        &dataplane::BackendKey
    }
}

fn serve(
    file: &File,
    placed: Placed,
    mut heir: Heir,
    control: &ControlPlane,
    backend_tls: Arc<BackendTlsConfig>,
) -> Result<(), Failure> {
    let config = data_config(file, placed, &mut heir, control, backend_tls);
    let world = (control.snapshot(), control.serving());
    let data = dataplane::start(config, world, control.users(), control.port()).map_err(failure)?;
    let mysql = data.local_addr();
    let admin = control.attach(Arc::new(data.clone()), mysql)?;
    heir.take_over(file, data)?;
    say_ready(mysql, admin, file.server.socket.as_deref());
    Ok(())
}

/// What the data plane must know of the configuration.
fn data_config(
    file: &File,
    placed: Placed,
    heir: &mut Heir,
    control: &ControlPlane,
    backend_tls: Arc<BackendTlsConfig>,
) -> dataplane::Config {
    dataplane::Config {
        listen: vec![file.server.listen],
        socket: file.server.unix_address(),
        inherited: heir.doors(),
        hands_over: file.server.handover.is_some(),
        cores: placed.cores,
        max_connections: file.server.max_connections,
        server_version: told_version(file, control),
        tls: client_tls(file),
        backend_tls: Some(backend_tls),
        backlog: file.server.backlog,
        proxy_protocol: file.server.proxy_protocol,
        coalesce_us: file.cores.coalesce_us,
        idle_timeout_s: file.server.idle_timeout_s,
        idle_transaction_timeout_ms: file.server.idle_transaction_timeout_ms,
        transaction_timeout_ms: file.server.transaction_timeout_ms,
        handshake_timeout_ms: file.server.handshake_timeout_ms,
        query_timeout_ms: file.server.query_timeout_ms,
        no_scatter: file.server.no_scatter,
        transaction_mode: file.server.transaction_mode,
        cross_shard_snapshot: file.server.cross_shard_snapshot,
        transaction_limit_per_user: file.server.transaction_limit_per_user,
        hot_rows: file.hot_row_protection.config(),
        consolidator: file.consolidator.config(),
        backend_auth: file.users.backend(),
        pool_size_per_core: file.pool.size_per_core,
        pool_waiters_max: file.pool.waiters_max,
        pool_wait_timeout_ms: file.pool.wait_timeout_ms,
        pool_idle_s: file.pool.idle_s,
        pool_lifetime_s: file.pool.lifetime_s,
        connect_timeout_ms: file.pool.connect_timeout_ms,
        network_timeout_ms: file.pool.network_timeout_ms,
        backend_statements_max: file.pool.statements_max,
        multishot: file.cores.multishot,
        kernel: file.cores.kernel,
        max_allowed_packet: file.server.max_allowed_packet,
        cpus: placed.cpus,
        buffers_small_max: file.cores.buffers_8k_max,
        buffers_large_max: file.cores.buffers_64k_max,
        plan_cache_entries: file.plans.entries_per_core,
        plan_cache_bytes: file.plans.bytes_per_core,
        statements_max: file.server.statements_max,
        query_memory_max: file.query.memory_max,
        query_memory_per_core_max: file.query.memory_per_core_max,
        finisher_rows_max: file.finisher.rows_max,
        finisher_bytes_max: file.finisher.bytes_max,
        finisher_size_per_core: file.finisher.size_per_core,
        replicas_else_primary: file.replicas.when_none == WhenNone::Primary,
        read_after_write_ms: file.replicas.read_after_write_ms,
        query_log: file.query_log.config(),
        buffer_size: file.buffer.size,
        buffer_bytes_max: file.buffer.bytes_max,
        buffer_window_ms: file.buffer.window_ms,
        buffer_failover_max_ms: file.buffer.max_failover_ms,
        buffer_gap_min_ms: file.buffer.min_gap_ms,
    }
}

fn failure(e: dataplane::StartError) -> Failure {
    if e.is_usage() { Failure::Usage(e.to_string()) } else { Failure::Failed(e.to_string()) }
}

/// The line that scripts wait for.
fn say_ready(mysql: SocketAddr, admin: SocketAddr, socket: Option<&Path>) {
    let socket = socket.map_or_else(String::new, |path| format!(" socket={}", path.display()));
    let mut out = std::io::stdout().lock();
    let ready =
        writeln!(out, "READY mysql={mysql} admin={admin}{socket}").and_then(|()| out.flush());
    if let Err(e) = ready {
        tracing::warn!("READY cannot be printed: {e}");
    }
    notify::ready();
}

fn told_version(file: &File, control: &ControlPlane) -> String {
    let version = file.server.server_version.clone();
    version.unwrap_or_else(|| greeting_version(control.server_version()))
}

/// MariaDB 10 puts a prefix before its version in the greeting. Drivers that know nothing of
/// MariaDB go by it: without, they take 10.11 for later than MySQL 8 and use what MariaDB does not
/// have (the collation utf8mb4_0900_ai_ci).
fn greeting_version(version: &str) -> String {
    let prefix =
        if version.starts_with("10.") && version.contains("MariaDB") { "5.5.5-" } else { "" };
    format!("{prefix}{version}")
}

/// Each client needs a descriptor: the soft limit is raised to the hard one.
fn raise_file_limit(max_connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(e) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the limit of open files cannot be raised: {e}");
    }
    // As many again for the servers' side, and some for ourselves.
    let need = u64::try_from(max_connections)
        .unwrap_or(u64::MAX)
        .saturating_add(1024);
    if let Some(hard) = limit.maximum.filter(|hard| *hard < need) {
        tracing::warn!(
            "open files are limited to {hard}, server.max_connections = {max_connections} needs \
                {need}; raise it with ulimit -Hn or LimitNOFILE"
        );
    }
}
