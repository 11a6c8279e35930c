//! The control plane's thread: takes requests of cores, of the admin API and of signals one after another, and publishes what
//! comes of them.
use crate::backend::Connector;
use crate::local::{Cluster, LocalConfig};
use crate::missing::{self, Found};
use crate::shared::Shared;
use crate::signals::{Event, Signals};
use crate::topology::Upstream;
use crate::world::{World, general};
use crate::{Error, Store, TlsClient, admin, health, users};
use coregate_planner::control::{ControlPort, ControlRequest, DataPort, Reply, SqlError, Users};
use coregate_planner::snapshot::Snapshot;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};

/// How often the users file is looked at.
const USERS_INTERVAL: Duration = Duration::from_secs(10);

/// How long the cores may take to take over a snapshot before the wait is given up with a warning.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(10);

/// What clients are told as long as no server could be asked.
const UNKNOWN_VERSION: &str = "8.0.40-coregate";

/// The most requests that are answered with one snapshot.
const BATCH: usize = 1024;

/// What the control plane is to look after.
#[derive(Debug, Clone)]
pub enum Source {
    /// A directory with keyspaces' files.
    Topology(PathBuf),
    /// Servers that it starts itself.
    Local(LocalConfig),
    /// One server with everything on it.
    DropIn(Upstream),
}

#[derive(Debug, Clone)]
pub struct Config {
    pub source: Source,
    /// Read again when it changes.
    pub users_file: Option<PathBuf>,
    /// Users beside those of the file.
    pub users: Users,
    pub admin: SocketAddr,
    /// Asked for by the admin API; must be set when `admin` is not a loopback address.
    pub admin_token: Option<String>,
    /// How long transactions may go on after SIGTERM.
    pub drain_timeout_ms: u64,
    /// TLS to servers; `None`: never encrypted.
    pub tls: Option<Arc<dyn TlsClient>>,
    /// What clients are told whatever the servers say; `None`: what the servers say.
    pub server_version: Option<String>,
}

impl Config {
    pub fn new(source: Source, users: Users, admin: SocketAddr) -> Self {
        Self {
            source,
            users_file: None,
            users,
            admin,
            admin_token: None,
            drain_timeout_ms: 30_000,
            tls: None,
            server_version: None,
        }
    }
}

pub(crate) enum Command {
    Control(ControlRequest, Reply),
    Attach(Arc<dyn DataPort>, SocketAddr, std_mpsc::SyncSender<Result<SocketAddr, Error>>),
    Admin(admin::Request, oneshot::Sender<Result<(), String>>),
    Found(Found),
}

/// The cores' way to the control plane.
struct Port(mpsc::UnboundedSender<Command>);

impl ControlPort for Port {
    fn request(&self, request: ControlRequest, reply: Reply) {
        if let Err(mpsc::error::SendError(Command::Control(_, reply))) =
            self.0.send(Command::Control(request, reply))
        {
            reply(Err(general("the control plane has ended: Coregate is shutting down".to_owned())));
        }
    }
}

/// A running control plane.
pub struct ControlPlane {
    snapshot: Arc<Snapshot>,
    users: Arc<Users>,
    server_version: String,
    commands: mpsc::UnboundedSender<Command>,
    thread: JoinHandle<Result<(), Error>>,
}

type Prepared = (Arc<Snapshot>, Arc<Users>, String);

impl ControlPlane {
    /// Starts the thread and waits until the data plane can start: topology read, servers of `local` up, columns known.
    pub fn start(config: Config) -> Result<Self, Error> {
        if !config.admin.ip().is_loopback() && config.admin_token.as_deref().is_none_or(str::is_empty) {
            return Err(Error::config(format!(
                "admin = {}: an address other than a loopback one needs a token; set [server] admin_token or \
                 COREGATE_ADMIN_TOKEN, or use 127.0.0.1",
                config.admin
            )));
        }
        let (commands, receiver) = mpsc::unbounded_channel();
        let (tell, told) = std_mpsc::sync_channel(1);
        let sender = commands.clone();
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || run(config, tell, sender, receiver))
            .map_err(Error::file("a thread for the control plane"))?;
        match told.recv() {
            Ok((snapshot, users, server_version)) => {
                Ok(Self { snapshot, users, server_version, commands, thread })
            }
            Err(_) => match thread.join() {
                Ok(Err(e)) => Err(e),
                _ => Err(Error::Gone),
            },
        }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }
    pub fn users(&self) -> Arc<Users> {
        Arc::clone(&self.users)
    }
    /// As the servers behind say it: `10.11.6-MariaDB`.
    pub fn server_version(&self) -> &str {
        &self.server_version
    }
    pub fn port(&self) -> Arc<dyn ControlPort> {
        Arc::new(Port(self.commands.clone()))
    }

    /// Connects the data plane, which listens on `mysql`, and starts the admin API. Gives the latter's address.
    pub fn attach(&self, data: Arc<dyn DataPort>, mysql: SocketAddr) -> Result<SocketAddr, Error> {
        let (tell, told) = std_mpsc::sync_channel(1);
        self.commands
            .send(Command::Attach(data, mysql, tell))
            .map_err(|_| Error::Gone)?;
        told.recv().map_err(|_| Error::Gone)?
    }

    /// Waits for the end: a signal, sessions drained, servers of `local` stopped.
    pub fn join(self) -> Result<(), Error> {
        drop(self.commands);
        self.thread.join().unwrap_or(Err(Error::Gone))
    }
}

/// The thread. `tell` is dropped without a word when there is an error, which is then the thread's result.
fn run(
    config: Config,
    tell: std_mpsc::SyncSender<Prepared>,
    sender: mpsc::UnboundedSender<Command>,
    receiver: mpsc::UnboundedReceiver<Command>,
) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(Error::file("the control plane's runtime"))?;
    let result = runtime.block_on(async {
        let mut signals = Signals::new().map_err(Error::file("signal handlers"))?;
        let mut cluster = Cluster::default();
        let result = main(config, tell, sender, receiver, &mut signals, &mut cluster).await;
        cluster.stop().await;
        result
    });
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn main(
    config: Config,
    tell: std_mpsc::SyncSender<Prepared>,
    sender: mpsc::UnboundedSender<Command>,
    receiver: mpsc::UnboundedReceiver<Command>,
    signals: &mut Signals,
    cluster: &mut Cluster,
) -> Result<(), Error> {
    let users = Arc::new(load_users(&config)?);
    let (mut world, version) = {
        let mut prepare = std::pin::pin!(prepare(&config, cluster));
        loop {
            tokio::select! {
                prepared = &mut prepare => break prepared?,
                event = signals.next() => if event == Event::Stop { return Err(Error::Interrupted) },
            }
        }
    };
    let snapshot = world.snapshot()?;
    let token = config.admin_token.clone().filter(|t| !t.is_empty());
    let shared = Arc::new(Shared::new(token, Connector { tls: config.tls.clone() }));
    shared.take_over(&world, &snapshot);
    if tell.send((snapshot, users, version)).is_err() {
        return Err(Error::Gone);
    }
    drop(tell);
    let users_changed = config.users_file.as_deref().and_then(modified);
    Loop { config, world, shared, sender, receiver, users_changed }
        .turn(signals)
        .await
}

async fn prepare(config: &Config, cluster: &mut Cluster) -> Result<(World, String), Error> {
    let connector = Connector { tls: config.tls.clone() };
    let mut world = match &config.source {
        Source::Topology(dir) => World::from_store(Store::open_existing(dir)?, connector).await?,
        Source::Local(local) => World::from_store(cluster.start(local).await?, connector).await?,
        Source::DropIn(upstream) => World::from_upstream(upstream, connector).await?,
    };
    let version = match &config.server_version {
        Some(version) => version.clone(),
        None => match world.server_version().await {
            Ok(version) => version,
            Err(e @ Error::Backend { .. }) if !world.is_drop_in() => {
                tracing::warn!("{e}; until a server can be asked, clients are told {UNKNOWN_VERSION}");
                world.version_missing = true;
                UNKNOWN_VERSION.to_owned()
            }
            Err(e) => return Err(e),
        },
    };
    world.read_all_columns().await;
    Ok((world, version))
}

/// The file's users, and those of the configuration that the file does not name.
fn load_users(config: &Config) -> Result<Users, Error> {
    let mut users = match &config.users_file {
        Some(path) => users::load(path)?,
        None => Users::default(),
    };
    for (name, entries) in &config.users.by_name {
        users
            .by_name
            .entry(name.clone())
            .or_insert_with(|| entries.clone());
    }
    Ok(users)
}

fn modified(path: &std::path::Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

struct Loop {
    config: Config,
    world: World,
    shared: Arc<Shared>,
    sender: mpsc::UnboundedSender<Command>,
    receiver: mpsc::UnboundedReceiver<Command>,
    users_changed: Option<SystemTime>,
}

impl Loop {
    async fn turn(mut self, signals: &mut Signals) -> Result<(), Error> {
        let health = tokio::spawn(health::watch(Arc::clone(&self.shared)));
        let seeker = tokio::spawn(missing::seek(Arc::clone(&self.shared), self.sender.clone()));
        let resolver = tokio::spawn(crate::resolver::watch(Arc::clone(&self.shared)));
        let mut users_tick = tokio::time::interval(USERS_INTERVAL);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                event = signals.next() => match event {
                    Event::Stop => break,
                    Event::Reload => {
                        self.users_changed = None;
                        self.reload_users();
                        if let Err(e) = self.reload().await {
                            tracing::error!("nothing has changed: {e}");
                        }
                    }
                },
                _ = self.receiver.recv_many(&mut batch, BATCH) => self.serve(std::mem::take(&mut batch)).await,
                _ = users_tick.tick() => self.reload_users(),
            }
        }
        self.shared.start_draining();
        tracing::info!("stopping: no new connections, transactions may end");
        if let Some(data) = self.shared.data() {
            self.drain(data, signals).await;
        }
        health.abort();
        seeker.abort();
        resolver.abort();
        Ok(())
    }

    /// Waits for the sessions; requests of theirs are still served. A second signal ends the wait.
    async fn drain(&mut self, data: Arc<dyn DataPort>, signals: &mut Signals) {
        let timeout = self.config.drain_timeout_ms;
        let (done, drained) = oneshot::channel();
        data.drain(
            timeout,
            Box::new(move || {
                let _ = done.send(());
            }),
        );
        let mut drained =
            std::pin::pin!(tokio::time::timeout(Duration::from_millis(timeout + 5_000), drained));
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                _ = &mut drained => return,
                event = signals.next() => if event == Event::Stop { return },
                _ = self.receiver.recv_many(&mut batch, BATCH) => self.serve(std::mem::take(&mut batch)).await,
            }
        }
    }

    async fn reload(&mut self) -> Result<(), Error> {
        self.world.reload().await?;
        self.publish().await
    }

    /// Reads the users file if it has changed; a mistake in it leaves the old users in place.
    fn reload_users(&mut self) {
        let Some(path) = &self.config.users_file else { return };
        let changed = modified(path);
        if changed == self.users_changed {
            return;
        }
        self.users_changed = changed;
        match (load_users(&self.config), self.shared.data()) {
            (Ok(users), Some(data)) => {
                tracing::info!(users = users.by_name.len(), "read the users file again");
                data.set_users(Arc::new(users));
            }
            (Err(e), _) => tracing::error!("the users stay as they are: {e}"),
            (Ok(_), None) => {}
        }
    }

    /// Gives the present state to all cores, and waits until they use it.
    async fn publish(&mut self) -> Result<(), Error> {
        let snapshot = self.world.snapshot()?;
        self.shared.take_over(&self.world, &snapshot);
        let Some(data) = self.shared.data() else { return Ok(()) };
        let (done, published) = oneshot::channel();
        let version = snapshot.version;
        data.publish(
            snapshot,
            Box::new(move || {
                let _ = done.send(());
            }),
        );
        if tokio::time::timeout(PUBLISH_PATIENCE, published)
            .await
            .is_err()
        {
            tracing::error!(version, "a core has not taken over the snapshot within {PUBLISH_PATIENCE:?}");
        }
        Ok(())
    }

    /// Does what a batch of commands asks for, publishes once, then answers them all.
    async fn serve(&mut self, batch: Vec<Command>) {
        let mut replies: Vec<(Answer, Result<(), SqlError>)> = Vec::with_capacity(batch.len());
        let mut stale: Vec<String> = Vec::new();
        let mut publish = false;
        for command in batch {
            match command {
                Command::Attach(data, mysql, tell) => {
                    let _ = tell.send(self.attach(data, mysql).await);
                }
                Command::Found(found) => publish |= self.found(found).await,
                Command::Control(ControlRequest::AlterVschema { sql, keyspace }, reply) => {
                    let result = self.world.alter(&sql, keyspace.as_deref());
                    tracing::info!(ok = result.is_ok(), "{sql}");
                    publish |= result.is_ok();
                    replies.push((Answer::Core(reply), result));
                }
                Command::Control(ControlRequest::SchemaChanged { keyspace }, reply) => {
                    if !stale.contains(&keyspace) {
                        stale.push(keyspace);
                    }
                    replies.push((Answer::Core(reply), Ok(())));
                }
                Command::Admin(request, answer) => {
                    let result = self
                        .admin(request, &mut stale)
                        .await
                        .map_err(|e| general(e.to_string()));
                    publish |= result.is_ok();
                    replies.push((Answer::Admin(answer), result));
                }
            }
        }
        for keyspace in stale {
            publish = true;
            if let Err(e) = self.world.read_columns(&keyspace).await {
                // The statement itself has succeeded; plans go by the old columns until the server is back.
                tracing::error!(keyspace, "the tables' columns cannot be read again: {e}");
            }
        }
        let published = if publish { self.publish().await } else { Ok(()) };
        for (answer, result) in replies {
            let failed = |e: &Error| general(e.to_string());
            let result = result.and_then(|()| published.as_ref().copied().map_err(failed));
            answer.give(result);
        }
    }

    async fn attach(&self, data: Arc<dyn DataPort>, mysql: SocketAddr) -> Result<SocketAddr, Error> {
        self.shared.attach(data, mysql);
        admin::listen(self.config.admin, Arc::clone(&self.shared), self.sender.clone()).await
    }

    async fn found(&mut self, found: Found) -> bool {
        if let (Found::Version(version), Some(data)) = (&found, self.shared.data())
            && std::mem::take(&mut self.world.version_missing)
        {
            tracing::info!("the servers are {version}");
            data.set_server_version(version.clone());
            return true;
        }
        self.world.found(found).await
    }

    async fn admin(&mut self, request: admin::Request, stale: &mut Vec<String>) -> Result<(), Error> {
        match request {
            admin::Request::Reload => self.world.reload().await,
            admin::Request::ApplyVschema { keyspace, vschema } => self.world.set_vschema(&keyspace, vschema),
            admin::Request::ApplyRules(rules) => self.world.set_rules(rules),
            admin::Request::ApplySchema { keyspace, sql } => {
                let Some(known) = self.world.keyspaces.get(&keyspace) else {
                    return Err(Error::Config(format!("there is no keyspace {keyspace}")));
                };
                let database = known.record.database();
                for shard in &known.record.shards {
                    if let Some(tablet) = known.primary(&shard.name) {
                        crate::local::apply_sql(&self.shared.connector, &tablet, database, &shard.name, &sql)
                            .await?;
                    }
                }
                stale.push(keyspace);
                Ok(())
            }
        }
    }
}

/// Who is waiting.
enum Answer {
    Core(Reply),
    Admin(oneshot::Sender<Result<(), String>>),
}

impl Answer {
    fn give(self, result: Result<(), SqlError>) {
        match self {
            Self::Core(reply) => reply(result),
            Self::Admin(answer) => drop(answer.send(result.map_err(|e| e.message))),
        }
    }
}
