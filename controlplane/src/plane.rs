//! The control plane's thread: takes requests of cores, of the admin API and of signals one after
//! another, and publishes what comes of them.
use crate::audit::Audit;
use crate::backend::Connector;
use crate::fleet::{Fleet, Options};
use crate::health::{Beat, Sign};
use crate::local::{Cluster, Fence, LocalConfig, Refusal};
use crate::missing::Found;
use crate::owner::{Answer, How, Owner};
use crate::schema::Reading;
use crate::signals::{Event, Signals};
use crate::store::{Etcd, EtcdConfig, Guard, ShardLock, State};
use crate::store::{Files, Store, Written};
use crate::topology::Upstream;
use crate::view::{SchemaProgress, Shared, Views};
use crate::world::{Change, Loaded, Planned, World, general};
use crate::{Error, TlsClient, admin, users};
use coregate_planner::control::{ControlPort, ControlRequest, DataPort, Reply, SqlError, Users};
use coregate_planner::serving::Serving;
use coregate_planner::snapshot::Snapshot;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What clients are told as long as no server could be asked.
const UNKNOWN_VERSION: &str = "8.0.40-coregate";

/// Requests, and results of tasks, that wait for the owner of the state. One more request of a core
/// is refused, a task waits.
const COMMANDS_MAX: usize = 4_096;

/// What the control plane is to look after.
#[derive(Debug, Clone)]
pub enum Source {
    /// A directory with keyspaces' files.
    Topology(PathBuf),
    /// A store that several processes use.
    Etcd(EtcdConfig),
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
    /// The listening socket of `admin`, where it is bound already.
    pub admin_door: Option<admin::AdminDoor>,
    /// Asked for by the admin API; must be set when `admin` is not a loopback address.
    pub admin_token: Option<String>,
    /// How long transactions may go on after SIGTERM.
    pub drain_timeout_ms: u64,
    /// TLS to servers; `None`: never encrypted.
    pub tls: Option<Arc<dyn TlsClient>>,
    /// What clients are told whatever the servers say; `None`: what the servers say.
    pub server_version: Option<String>,
    /// Health, replicas and failover.
    pub options: Options,
    /// Where it is written down what was done about shards; `None`: beside the topology's files, if
    /// it has any.
    pub audit_log: Option<PathBuf>,
    /// How many cores serve, for those who ask who is there.
    pub cores: usize,
    /// How long a statement that changes tables waits for its turn.
    pub ddl_wait_ms: u64,
}

impl Config {
    /// As long as a server waits for a row.
    pub const DDL_WAIT_MS: u64 = 50_000;

    fn audit_path(&self) -> Option<PathBuf> {
        let dir = match &self.source {
            Source::Topology(dir) => Some(dir),
            Source::Local(local) => Some(&local.dir),
            Source::Etcd(_) | Source::DropIn(_) => None,
        };
        self.audit_log
            .clone()
            .or_else(|| Some(dir?.join("recoveries.jsonl")))
    }

    pub fn new(source: Source, users: Users, admin: SocketAddr) -> Self {
        Self {
            source,
            users_file: None,
            users,
            admin,
            admin_door: None,
            admin_token: None,
            drain_timeout_ms: 30_000,
            tls: None,
            server_version: None,
            options: Options::default(),
            audit_log: None,
            cores: 0,
            ddl_wait_ms: Self::DDL_WAIT_MS,
        }
    }
}

/// What the owner of the state is told.
pub(crate) enum Command {
    Control(ControlRequest, Reply),
    Attach(Arc<dyn DataPort>, SocketAddr, std_mpsc::SyncSender<Result<SocketAddr, Error>>),
    Admin(admin::Request, Answer),
    Found(Found),
    /// Of the tables of a keyspace; `round` says of which reading.
    Columns {
        keyspace: String,
        round: u64,
        reading: Result<Reading, Error>,
    },
    /// The topology was read again, as it was after so many edits.
    Loaded {
        edits: u64,
        loaded: Result<Loaded, Error>,
        why: Reload,
    },
    /// The store has told that it has changed.
    Topology(Box<State>),
    /// Other processes have come, gone or said something; the store has gone or is back.
    Roster,
    /// A change of the topology's records has reached the store, or not.
    Written {
        request: Box<Requested>,
        planned: Planned,
        written: Result<Written, Error>,
    },
    /// The other processes have been told that a keyspace's tables were changed.
    Told {
        keyspace: String,
        revision: Result<i64, Error>,
        answer: Option<Answer>,
    },
    /// Recoveries are disabled, or not, for all processes.
    Recoveries {
        set: Result<i64, Error>,
        answer: Answer,
    },
    /// Servers were started for a keyspace, and it is in the store; or not.
    DatabaseMade {
        name: String,
        made: Result<Written, Refusal>,
        answer: Answer,
    },
    /// A statement that changes tables has the store's lock, or not.
    DdlTurn {
        keyspace: String,
        change: u64,
        lock: Result<ShardLock, SqlError>,
        answer: Answer,
    },
    /// It has waited for its turn as long as it may.
    DdlLate {
        keyspace: String,
        change: u64,
    },
    /// The others are told that a keyspace's tables change, or not.
    DdlMarked {
        keyspace: String,
        lock: Result<ShardLock, Error>,
    },
    /// A shard is ours to move or repair, or not.
    Locked {
        job: Box<Job>,
        lock: Result<ShardLock, Error>,
    },
    /// Statements were run on the primaries of a keyspace.
    Applied {
        keyspace: String,
        result: Result<SchemaProgress, Error>,
        answer: Answer,
    },
    Checked {
        alias: String,
        sign: Box<Sign>,
    },
    /// Of the heartbeat that is written to a primary.
    Beat {
        alias: String,
        beat: Beat,
    },
    /// Branches of this transaction may be prepared, and nobody is at it any more.
    GivenUp {
        transaction: String,
    },
    /// Cores could not reach a tablet, or were thrown out.
    Suspected {
        alias: String,
    },
    /// A change of a shard that is being moved, answered when all cores use it.
    Edit {
        keyspace: String,
        shard: String,
        edit: Edit,
        guard: Option<Guard>,
        tell: oneshot::Sender<Result<(), Error>>,
    },
    /// A server's data was thrown away and made anew, or not.
    Remade {
        alias: String,
        result: Result<(), Error>,
    },
    /// Something was done about a shard.
    Done {
        keyspace: String,
        shard: String,
        what: String,
        began: String,
        result: Result<String, Error>,
        answer: Option<Answer>,
    },
}

/// Why the topology is read again.
pub(crate) enum Reload {
    /// By order: tables and names' addresses too.
    Asked(Vec<Answer>),
    /// The store has told so.
    Told,
}

/// A change, and who waits for it.
pub(crate) struct Requested {
    pub(crate) change: Change,
    pub(crate) guard: Option<Guard>,
    pub(crate) answer: Answer,
    /// How often somebody else's change came first.
    pub(crate) tries: u32,
}

/// Something that is to be done about a shard.
pub(crate) struct Job {
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    pub(crate) how: How,
    pub(crate) what: String,
    /// Who was primary when it was decided.
    pub(crate) primary: String,
    pub(crate) answer: Option<Answer>,
    pub(crate) began: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Statements for its primary wait.
    Hold,
    /// They go on.
    Release,
    /// Another tablet is its primary.
    SetPrimary(String),
    /// This tablet is of another type: drained, or as it was before.
    SetKind(String, crate::topology::Kind),
}

/// The cores' way to the control plane.
struct Port(mpsc::Sender<Command>);

impl ControlPort for Port {
    fn given_up(&self, transaction: &str) {
        // The resolver's next round finishes it, should there be too much to do.
        let _ = self
            .0
            .try_send(Command::GivenUp { transaction: transaction.to_owned() });
    }

    fn suspect(&self, alias: &str) {
        // Should there be too much to do, the next check tells.
        let _ = self
            .0
            .try_send(Command::Suspected { alias: alias.to_owned() });
    }

    fn request(&self, request: ControlRequest, reply: Reply) {
        use mpsc::error::TrySendError::{Closed, Full};
        let (why, command) = match self.0.try_send(Command::Control(request, reply)) {
            Ok(()) => return,
            Err(Full(command)) => {
                ("too many requests wait for the control plane; repeat it later", command)
            }
            Err(Closed(command)) => {
                ("the control plane has ended: Coregate is shutting down", command)
            }
        };
        if let Command::Control(_, reply) = command {
            reply(Err(general(why.to_owned())));
        }
    }
}

/// A running control plane.
pub struct ControlPlane {
    world: (Arc<Snapshot>, Arc<Serving>),
    users: Arc<Users>,
    server_version: String,
    commands: mpsc::Sender<Command>,
    thread: JoinHandle<Result<(), Error>>,
}

type Prepared = ((Arc<Snapshot>, Arc<Serving>), Arc<Users>, String);

impl ControlPlane {
    /// Starts the thread and waits until the data plane can start: topology read, servers of
    /// `local` up, columns known.
    pub fn start(config: Config) -> Result<Self, Error> {
        if !config.admin.ip().is_loopback()
            && config.admin_token.as_deref().is_none_or(str::is_empty)
        {
            return Err(Error::config(format!(
                "admin = {}: an address other than a loopback one needs a token; set [server] \
                    admin_token or \
                 COREGATE_ADMIN_TOKEN, or use 127.0.0.1",
                config.admin
            )));
        }
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let (tell, told) = std_mpsc::sync_channel(1);
        let sender = commands.clone();
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || run(config, tell, sender, receiver))
            .map_err(Error::file("a thread for the control plane"))?;
        match told.recv() {
            Ok((world, users, server_version)) => {
                Ok(Self { world, users, server_version, commands, thread })
            }
            Err(_) => match thread.join() {
                Ok(Err(e)) => Err(e),
                _ => Err(Error::Gone),
            },
        }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.world.0)
    }
    pub fn serving(&self) -> Arc<Serving> {
        Arc::clone(&self.world.1)
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

    /// Connects the data plane, which listens on `mysql`, and starts the admin API. Gives the
    /// latter's address.
    pub fn attach(&self, data: Arc<dyn DataPort>, mysql: SocketAddr) -> Result<SocketAddr, Error> {
        let (tell, told) = std_mpsc::sync_channel(1);
        self.commands
            .blocking_send(Command::Attach(data, mysql, tell))
            .map_err(|_| Error::Gone)?;
        told.recv().map_err(|_| Error::Gone)?
    }

    /// Waits for the end: a signal, sessions drained, servers of `local` stopped.
    pub fn join(self) -> Result<(), Error> {
        drop(self.commands);
        self.thread.join().unwrap_or(Err(Error::Gone))
    }
}

/// The thread. `tell` is dropped without a word when there is an error, which is then the thread's
/// result.
fn run(
    config: Config,
    tell: std_mpsc::SyncSender<Prepared>,
    sender: mpsc::Sender<Command>,
    receiver: mpsc::Receiver<Command>,
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
    sender: mpsc::Sender<Command>,
    receiver: mpsc::Receiver<Command>,
    signals: &mut Signals,
    cluster: &mut Cluster,
) -> Result<(), Error> {
    let users = Arc::new(users::of(&config)?);
    let (mut world, version) = {
        let mut prepare = std::pin::pin!(prepare(&config, cluster));
        loop {
            tokio::select! {
                prepared = &mut prepare => break prepared?,
                event = signals.next() => {
                    if event == Event::Stop {
                        return Err(Error::Interrupted);
                    }
                }
            }
        }
    };
    let snapshot = world.snapshot()?;
    let fleet = Fleet::new(config.options.clone());
    let serving = Arc::new(world.serving(&snapshot, &fleet, 1));
    let token = config.admin_token.clone().filter(|t| !t.is_empty());
    let (views, seen) = Views::new();
    let shared = Arc::new(Shared::new(seen, token, Connector { tls: config.tls.clone() }));
    let prepared = ((Arc::clone(&snapshot), Arc::clone(&serving)), users, version);
    if tell.send(prepared).is_err() {
        return Err(Error::Gone);
    }
    drop(tell);
    let (fence, maker): (Fence, _) = (cluster.fence(), cluster.maker());
    let audit = match config
        .audit_path()
        .map(|path| Audit::open(&path))
        .transpose()?
    {
        Some((audit, known)) => {
            views.change(|view| view.recoveries = known);
            Some(audit)
        }
        None => None,
    };
    Owner::new(
        config,
        world,
        fleet,
        (snapshot, serving),
        (views, shared),
        (sender, receiver),
        (fence, maker, audit),
    )
    .turn(signals)
    .await
}

async fn prepare(config: &Config, cluster: &mut Cluster) -> Result<(World, String), Error> {
    let connector = Connector { tls: config.tls.clone() };
    let mut world = match &config.source {
        Source::Topology(dir) => {
            World::from_store(Store::new(Files::open_existing(dir)?), connector).await?
        }
        Source::Etcd(etcd) => {
            World::from_store(Store::shared(Arc::new(Etcd::new(etcd)?)), connector).await?
        }
        Source::Local(local) => World::from_store(cluster.start(local).await?, connector).await?,
        Source::DropIn(upstream) => World::from_upstream(upstream, connector).await?,
    };
    let version = match &config.server_version {
        Some(version) => version.clone(),
        None => match world.server_version().await {
            Ok(version) => version,
            Err(e @ Error::Backend { .. }) if !world.is_drop_in() => {
                tracing::warn!(
                    "{e}; until a server can be asked, clients are told {UNKNOWN_VERSION}"
                );
                world.version_missing = true;
                UNKNOWN_VERSION.to_owned()
            }
            Err(e) => return Err(e),
        },
    };
    world.read_all_columns().await;
    Ok((world, version))
}
