//! The owner of the control plane's state. It takes what cores, the admin API, signals and its own
//! tasks say one after another, and waits for nothing itself: work is done by tasks, which tell it
//! the result.
mod changes;
mod columns;
mod databases;
mod ddl;
mod ddl_turn;
mod failover;
mod far_databases;
mod locks;
mod peers;
mod publish;
mod remake;
mod requests;
mod schema;

use crate::audit::Audit;
use crate::fleet::Fleet;
use crate::health::{Beats, Checks};
use crate::local::{Fence, Maker};
use crate::missing::Found;
use crate::plane::{Command, Config};
use crate::signals::{Event, Signals};
use crate::store::Peers;
use crate::view::{Shared, Views};
use crate::world::World;
use crate::{Error, admin, missing, resolver, users};
use changes::Changes;
use columns::Readers;
use coregate_planner::control::{DataPort, Reply, SqlError};
use coregate_planner::serving::Serving;
use coregate_planner::snapshot::Snapshot;
use ddl::Ddl;
use ddl_turn::Turns;
pub(crate) use failover::How;
use far_databases::Taken;
use peers::Everywhere;
use publish::Pending;
use remake::Remakes;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};

/// How often the users file is looked at.
const USERS_INTERVAL: Duration = Duration::from_secs(10);

/// How often it is looked which tables are due to be looked at.
const TABLES_INTERVAL: Duration = Duration::from_secs(1);

/// The most requests that are answered with one snapshot.
const BATCH: usize = 1024;

/// Who is waiting.
pub(crate) enum Answer {
    Core(Reply),
    Admin(oneshot::Sender<Result<Value, String>>),
    Task(oneshot::Sender<Result<(), Error>>),
    /// One of several things that somebody waits for.
    Part(oneshot::Sender<()>),
    /// What there is to say, should all go well.
    With(Box<Self>, Value),
    /// Given when the other processes use it, too.
    Everywhere(Box<Everywhere>),
}

impl Answer {
    /// Is it a move of a primary that waits?
    fn is_task(&self) -> bool {
        matches!(self, Self::Task(_))
    }

    /// The change is made, and a core has not taken it over: who moves a primary must know that one
    /// from a change that was not made.
    fn give_late(self, result: Result<Value, SqlError>) {
        match (self, result) {
            (Self::Task(answer), Ok(_)) => {
                drop(answer.send(Err(Error::Late("a core does not answer".to_owned()))));
            }
            (answer, result) => answer.give(result),
        }
    }

    fn give(self, result: Result<Value, SqlError>) {
        match self {
            Self::Core(reply) => reply(result.map(|value| warning(&value))),
            Self::Admin(answer) => drop(answer.send(result.map_err(|e| e.message))),
            Self::Task(answer) => {
                drop(answer.send(result.map(drop).map_err(|e| Error::Server(e.message))));
            }
            Self::Part(answer) => drop(answer.send(())),
            Self::With(answer, value) => answer.give(result.map(|given| with(value, &given))),
            Self::Everywhere(everywhere) => everywhere.give(result),
        }
    }
}

/// What is done, and is yet to be told of.
fn warning(value: &Value) -> Option<String> {
    Some(value.get("warning")?.as_str()?.to_owned())
}

/// What was said about the way there is kept.
fn with(mut value: Value, given: &Value) -> Value {
    if let (Value::Object(map), Some(warning)) = (&mut value, given.get("warning")) {
        map.insert("warning".to_owned(), warning.clone());
    }
    value
}

fn done() -> Result<Value, SqlError> {
    Ok(json!({"ok": true}))
}

pub(crate) struct Owner {
    config: Config,
    world: World,
    fleet: Fleet,
    /// What the cores use, or will soon.
    snapshot: Arc<Snapshot>,
    serving: Arc<Serving>,
    views: Views,
    shared: Arc<Shared>,
    sender: mpsc::Sender<Command>,
    receiver: mpsc::Receiver<Command>,
    data: Option<Arc<dyn DataPort>>,
    fence: Fence,
    /// `None`: the servers are others' to make.
    maker: Option<Arc<Maker>>,
    checks: Checks,
    beats: Beats,
    ddl: Ddl,
    turns: Turns,
    remakes: Remakes,
    taken: Taken,
    readers: Readers,
    pending: Pending,
    changes: Changes,
    /// The other processes, where the store is one that several use.
    peers: Option<Peers>,
    users_changed: Option<SystemTime>,
    /// `None`: nowhere to write.
    audit: Option<Audit>,
}

impl Owner {
    pub(crate) fn new(
        config: Config,
        world: World,
        fleet: Fleet,
        (snapshot, serving): (Arc<Snapshot>, Arc<Serving>),
        (views, shared): (Views, Arc<Shared>),
        (sender, receiver): (mpsc::Sender<Command>, mpsc::Receiver<Command>),
        (fence, maker, audit): (Fence, Option<Arc<Maker>>, Option<Audit>),
    ) -> Self {
        let users_changed = config.users_file.as_deref().and_then(modified);
        Self {
            config,
            world,
            fleet,
            snapshot,
            serving,
            views,
            shared,
            sender,
            receiver,
            data: None,
            fence,
            maker,
            checks: Checks::default(),
            beats: Beats::default(),
            ddl: Ddl::default(),
            turns: Turns::default(),
            remakes: Remakes::default(),
            taken: Taken::default(),
            readers: Readers::default(),
            pending: Pending::default(),
            changes: Changes::default(),
            peers: None,
            users_changed,
            audit,
        }
    }

    pub(crate) async fn turn(mut self, signals: &mut Signals) -> Result<(), Error> {
        self.meet_peers();
        self.offer_databases();
        self.follow_tablets();
        self.show();
        let seeker = tokio::spawn(missing::seek(Arc::clone(&self.shared), self.sender.clone()));
        let resolver = tokio::spawn(resolver::watch(Arc::clone(&self.shared)));
        let mut tables_tick = tokio::time::interval(TABLES_INTERVAL);
        let mut users_tick = tokio::time::interval(USERS_INTERVAL);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                event = signals.next() => match event {
                    Event::Stop => break,
                    Event::Reload => {
                        self.users_changed = None;
                        self.reload_users();
                        self.reload(Vec::new());
                    }
                },
                _ = self.receiver.recv_many(&mut batch,
                    BATCH) => self.serve(std::mem::take(&mut batch)).await,
                _ = users_tick.tick() => self.reload_users(),
                _ = tables_tick.tick() => {
                    self.look_at_tables();
                    self.remake();
                    self.publish();
                }
            }
        }
        // What goes down on purpose must not be taken for dead.
        self.fleet.disabled = true;
        self.views.change(|view| view.draining = true);
        tracing::info!("stopping: no new connections, transactions may end");
        if let Some(data) = self.data.clone() {
            self.drain(data, signals).await;
        }
        if let Some(mut peers) = self.peers.take() {
            peers.leave().await;
        }
        self.checks.stop();
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
                _ = self.receiver.recv_many(&mut batch,
                    BATCH) => self.serve(std::mem::take(&mut batch)).await,
            }
        }
    }

    /// Does what a batch of commands asks for, publishes once, and answers them all when the cores
    /// use it.
    async fn serve(&mut self, batch: Vec<Command>) {
        for command in batch {
            match command {
                Command::Attach(data, mysql, tell) => {
                    let _ = tell.send(self.attach(data, mysql).await);
                }
                Command::Found(found) => self.found(found),
                Command::Control(request, reply) => self.control(request, Answer::Core(reply)),
                Command::Admin(request, answer) => self.admin(request, answer),
                Command::Columns { keyspace, round, reading } => {
                    self.columns(&keyspace, round, reading)
                }
                Command::Loaded { edits, loaded, why } => self.loaded(edits, loaded, why),
                Command::Topology(state) => self.told(*state),
                Command::Roster => self.roster_changed(),
                Command::Written { request, planned, written } => {
                    self.written(*request, planned, written)
                }
                Command::Told { keyspace, revision, answer } => {
                    self.told_tables(&keyspace, revision, answer)
                }
                Command::Recoveries { set, answer } => self.recoveries_set(set, answer),
                Command::DatabaseMade { name, made, answer } => {
                    self.database_made(&name, made, answer)
                }
                Command::DdlTurn { keyspace, change, lock, answer } => {
                    self.ddl_turn(keyspace, change, lock, answer);
                }
                Command::Remade { alias, result } => self.remade(&alias, result),
                Command::DdlLate { keyspace, change } => self.ddl_late(&keyspace, change),
                Command::DdlMarked { keyspace, lock } => self.ddl_marked(keyspace, lock),
                Command::Locked { job, lock } => self.locked(*job, lock),
                Command::Applied { keyspace, result, answer } => {
                    self.applied(&keyspace, result, answer)
                }
                Command::Checked { alias, sign } => self.checked(&alias, *sign),
                Command::Beat { alias, beat } => self.fleet.beat(&alias, beat),
                Command::GivenUp { transaction } => {
                    tokio::spawn(resolver::conclude_soon(Arc::clone(&self.shared), transaction));
                }
                Command::Suspected { alias } => self.suspected(&alias),
                Command::Edit { keyspace, shard, edit, guard, tell } => {
                    self.edit(&keyspace, &shard, edit, guard, Answer::Task(tell));
                }
                Command::Done { keyspace, shard, what, began, result, answer } => {
                    self.recovered(&keyspace, &shard, (what, began), result, answer);
                }
            }
        }
        self.publish();
    }

    async fn attach(
        &mut self,
        data: Arc<dyn DataPort>,
        mysql: SocketAddr,
    ) -> Result<SocketAddr, Error> {
        self.data = Some(Arc::clone(&data));
        self.views.change(|view| {
            view.data = Some(data);
            view.mysql = Some(mysql);
        });
        let door = self.config.admin_door.clone();
        let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
        let listens = admin::listen(self.config.admin, door, shared, sender).await;
        if let (Some(peers), Ok(admin)) = (&self.peers, &listens) {
            peers.say(|process| {
                process.mysql = mysql.to_string();
                process.admin = admin.to_string();
            });
        }
        // What has changed since the cores were given their first state.
        self.pending.serving = true;
        listens
    }

    fn found(&mut self, found: Found) {
        match found {
            Found::Address { host, port, address } => {
                if self.world.resolved(&host, port, address) {
                    self.pending.serving = true;
                    self.follow_tablets();
                }
            }
            Found::Server { keyspace } => {
                if self.world.wants_columns(&keyspace) {
                    self.read_columns(&keyspace, Vec::new());
                }
            }
            Found::Collations { keyspace, answers } => {
                self.pending.catalog |= self.world.take_collations(&keyspace, answers);
                self.pending.shown = true;
            }
            Found::Version(version) => {
                if let Some(data) = &self.data
                    && std::mem::take(&mut self.world.version_missing)
                {
                    tracing::info!("the servers are {version}");
                    data.set_server_version(version);
                    self.pending.shown = true;
                }
            }
        }
    }

    /// Reads the users file if it has changed; a mistake in it leaves the old users in place.
    fn reload_users(&mut self) {
        let Some(path) = &self.config.users_file else { return };
        let changed = modified(path);
        if changed == self.users_changed {
            return;
        }
        self.users_changed = changed;
        match (users::of(&self.config), &self.data) {
            (Ok(users), Some(data)) => {
                tracing::info!(users = users.by_name.len(), "read the users file again");
                data.set_users(Arc::new(users));
            }
            (Err(e), _) => tracing::error!("the users stay as they are: {e}"),
            (Ok(_), None) => {}
        }
    }
}

fn modified(path: &std::path::Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}
