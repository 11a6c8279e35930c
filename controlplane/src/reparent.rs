//! Moving a shard's primary to another server. A move is a task of its own; it asks the owner of
//! the state for each change, and the owner answers when all cores use it.
//!
//! The order is what keeps writes safe: statements wait, and no core sends the old primary anything
//! more; it is drained or cut off, and takes no writes; the new one has all that was acknowledged;
//! the topology says so, durably; then it becomes writable.
mod elect;
mod emergency;
mod galera;
mod planned;
pub(crate) mod remake;
mod repair;

pub(crate) use emergency::Emergency;
pub(crate) use planned::Planned;
pub(crate) use repair::Repair;

use crate::Error;
use crate::backend::Connector;
use crate::local::Fence;
use crate::plane::{Command, Edit};
use crate::servers::replication::{Server, Source};
use crate::store::{Roster, ShardLock, wait_for_all};
use crate::topology::{Account, Kind};
use coregate_planner::control::DataPort;
use coregate_planner::snapshot::Tablet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// For each statement that changes a server.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long connections of processes that hear of nothing may take to end.
const REPEL: Duration = Duration::from_secs(1);
const REPEL_PAUSE: Duration = Duration::from_millis(10);

/// A shard as it was when the move began.
#[derive(Debug, Clone)]
pub(crate) struct Shard {
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    pub(crate) primary: Member,
    pub(crate) others: Vec<Member>,
    /// Whether the durability asks for semi-sync; `None`: it is left as it is.
    pub(crate) semi_sync: Option<bool>,
    pub(crate) account: Option<Account>,
    /// Its servers are a Galera cluster.
    pub(crate) galera: Option<Cluster>,
}

#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    /// Whose data its writer had, if that is known.
    pub(crate) cluster_uuid: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) tablet: Arc<Tablet>,
    pub(crate) kind: Kind,
    pub(crate) source: Option<(String, u16)>,
    /// It has been reached lately.
    pub(crate) reached: bool,
    /// It has not, and others have all that it could have acknowledged.
    pub(crate) stale: bool,
    /// Whom the operator prefers.
    pub(crate) weight: u32,
}

impl Member {
    pub(crate) fn alias(&self) -> &str {
        &self.tablet.alias
    }
}

impl Shard {
    /// Where the others find a member, should it be primary.
    fn source_of(&self, member: &Member) -> Result<Source, Error> {
        let Some((host, port)) = member.source.clone() else {
            return Err(Error::Config(format!(
                "tablet {}: other servers cannot reach it; give it a host and a port",
                member.alias()
            )));
        };
        let own = || Account {
            user: member.tablet.user.clone(),
            password: member.tablet.password.clone(),
        };
        Ok(Source { host, port, account: self.account.clone().unwrap_or_else(own) })
    }

    /// Does a replica of this type acknowledge to its primary?
    fn acknowledges(&self, kind: Kind) -> Option<bool> {
        self.semi_sync.map(|on| on && kind.is_candidate())
    }

    /// What semi-sync has to be on this primary: off where nobody could acknowledge; `None`: it is
    /// left as it is.
    fn semi_sync_with(&self, primary: &str) -> Option<bool> {
        let mut others = self
            .others
            .iter()
            .chain([&self.primary])
            .filter(|m| m.alias() != primary);
        let acknowledged = others.any(|m| m.kind.is_candidate() || m.kind == Kind::Primary);
        self.semi_sync.map(|on| on && acknowledged)
    }

    fn name(&self) -> String {
        format!("{}/{}", self.keyspace, self.shard)
    }
}

/// What a move works with.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) owner: mpsc::Sender<Command>,
    pub(crate) data: Arc<dyn DataPort>,
    pub(crate) connector: Connector,
    /// Servers that run under us can be stopped for certain.
    pub(crate) fence: Fence,
    pub(crate) drain: Duration,
    pub(crate) catch_up: Duration,
    /// Where several processes use the topology: the shard's lock, and who they are.
    pub(crate) lock: Option<(ShardLock, watch::Receiver<Roster>)>,
    /// This one among them.
    pub(crate) process: String,
}

impl Desk {
    async fn edit(&self, shard: &Shard, edit: Edit) -> Result<(), Error> {
        let (tell, told) = oneshot::channel();
        let (keyspace, name) = (shard.keyspace.clone(), shard.shard.clone());
        let guard = self.lock.as_ref().map(|(lock, _)| lock.guard());
        let command = Command::Edit { keyspace, shard: name, edit, guard, tell };
        self.owner.send(command).await.map_err(|_| Error::Gone)?;
        told.await.map_err(|_| Error::Gone)?
    }

    /// Statements wait from now on, on every core of every process.
    async fn hold(&self, shard: &Shard) -> Result<(), Error> {
        self.edit(shard, Edit::Hold).await?;
        let Some((lock, roster)) = &self.lock else { return Ok(()) };
        let held = async {
            let revision = lock.hold(true).await?;
            let all = wait_for_all(roster.clone(), self.process.clone(), revision).await;
            all.map_err(|late| {
                let late = late.join(", ");
                Error::Server(format!(
                    "statements cannot be held, because these processes do not answer: {late}"
                ))
            })
        };
        let held = held.await;
        if held.is_err() {
            self.release(shard).await?;
        }
        held
    }

    /// They go on, to whomever the topology names.
    async fn release(&self, shard: &Shard) -> Result<(), Error> {
        if let Some((lock, _)) = &self.lock
            && let Err(e) = lock.hold(false).await
        {
            tracing::warn!(
                shard = shard.name(),
                "other processes go on when this one's lease ends: {e}"
            );
        }
        self.unless_late(shard, Edit::Release).await
    }

    /// A core that is late has confirmed that it holds its statements, and holds them for so much
    /// longer: it sends nothing to anybody.
    async fn unless_late(&self, shard: &Shard, edit: Edit) -> Result<(), Error> {
        match self.edit(shard, edit).await {
            Err(Error::Late(why)) => {
                tracing::warn!(shard = shard.name(), "the move goes on: {why}");
                Ok(())
            }
            done => done,
        }
    }

    /// A process that is cut off from the topology's store hears of no move, and its account may
    /// write to a read-only server. Its connections end here; new ones it does not use, because it
    /// asks each whether the server is read-only.
    async fn repel(&self, old: &mut Server) -> Result<(), Error> {
        if self.lock.is_none() {
            return Ok(());
        }
        let end = Instant::now() + REPEL;
        old.kill_sessions().await?;
        while old.strays().await? > 0 && Instant::now() < end {
            tokio::time::sleep(REPEL_PAUSE).await;
            old.kill_sessions().await?;
        }
        Ok(())
    }

    /// Is the shard still ours to change?
    fn check(&self) -> Result<(), Error> {
        match &self.lock {
            Some((lock, _)) if !lock.lasts() => Err(lock.lost()),
            _ => Ok(()),
        }
    }

    /// It is over. Where the topology's state is not known, the others wait until the lease ends.
    pub(crate) async fn unlock(&self, shard: &Shard, result: &Result<String, Error>) {
        let Some((lock, _)) = &self.lock else { return };
        if let Err(Error::Unknown { .. }) = result {
            return;
        }
        if let Err(e) = lock.release().await {
            tracing::warn!(
                shard = shard.name(),
                "the shard's lock ends with this process's lease: {e}"
            );
        }
    }

    /// The topology names another primary, durably. Statements still wait.
    ///
    /// # Errors
    /// It does not; unless the error is one after which [`may_be_named`].
    async fn set_primary(&self, shard: &Shard, alias: &str) -> Result<(), Error> {
        self.unless_late(shard, Edit::SetPrimary(alias.to_owned()))
            .await
    }

    async fn in_use(&self, alias: &str) -> Result<usize, Error> {
        let (tell, told) = oneshot::channel();
        let done = Box::new(move |count| {
            let _ = tell.send(count);
        });
        self.data.in_use(alias.to_owned(), done);
        self.of_cores(told).await
    }

    /// Every core has closed its connections there.
    async fn cut(&self, alias: &str) -> Result<(), Error> {
        let (tell, told) = oneshot::channel();
        let done = Box::new(move || {
            let _ = tell.send(());
        });
        self.data.cut(alias.to_owned(), done);
        self.of_cores(told).await
    }

    async fn of_cores<T>(&self, told: oneshot::Receiver<T>) -> Result<T, Error> {
        match tokio::time::timeout(PATIENCE, told).await {
            Ok(Ok(told)) => Ok(told),
            _ => Err(Error::Server("a core does not answer".to_owned())),
        }
    }

    async fn connect(&self, tablet: &Arc<Tablet>) -> Result<Server, Error> {
        Server::connect(&self.connector, tablet, PATIENCE).await
    }
}

/// Whether the topology names the new primary is not known: neither of them may take writes until
/// it is.
fn may_be_named(e: &Error) -> bool {
    matches!(e, Error::Unknown { .. } | Error::Gone)
}

/// Fails unless the server is one whose statements we know.
async fn require_movable(server: &mut Server) -> Result<(), Error> {
    let facts = server.facts().await?;
    match facts.is_movable() {
        true => Ok(()),
        false => Err(Error::Config(format!(
            "tablet {} is {}: primaries of MariaDB and of MySQL from 8.0.23 can be moved, both \
                with GTIDs (MySQL: gtid_mode=ON)",
            server.tablet.alias, facts.version
        ))),
    }
}
