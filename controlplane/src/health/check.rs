//! A task for each tablet, which asks it again and again and tells the owner of the state what it
//! found.
use super::verdict::Sign;
use crate::Error;
use crate::backend::Connector;
use crate::plane::Command;
use crate::servers::status;
use crate::sql::Conn;
use coregate_planner::snapshot::{Address, Tablet};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// After a check that failed, the next follows this soon: whether a server is dead is known early.
const RETRY: Duration = Duration::from_millis(100);
/// So many checks may fail in a row before they become rarer.
const EAGER: u32 = 10;
/// The longest time between two checks of a server that is not reached.
const RARE: Duration = Duration::from_secs(5);

/// A check that cores ask for comes this soon after the one before it.
const POKED: Duration = Duration::from_millis(30);
/// A plain connection to a machine that is there takes no longer.
const KNOCK: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Time between two checks of a tablet.
    pub(crate) interval: Duration,
    /// A check that takes longer has failed.
    pub(crate) timeout: Duration,
}

struct Check {
    tablet: Arc<Tablet>,
    database: Option<String>,
    task: AbortHandle,
    /// Ends the pause before the next check.
    poke: Arc<Notify>,
}

/// The tasks that run.
#[derive(Default)]
pub(crate) struct Checks(BTreeMap<String, Check>);

impl Checks {
    /// One for each of these tablets; those that run already go on.
    pub(crate) fn follow(
        &mut self,
        tablets: &[(Arc<Tablet>, Option<String>)],
        limits: Limits,
        connector: &Connector,
        owner: &mpsc::Sender<Command>,
    ) {
        let same = |check: &Check| {
            tablets.iter().any(|(tablet, database)| {
                Arc::ptr_eq(tablet, &check.tablet) && *database == check.database
            })
        };
        self.0.retain(|_, check| {
            let stays = same(check);
            if !stays {
                check.task.abort();
            }
            stays
        });
        for (tablet, database) in tablets {
            if self.0.contains_key(&tablet.alias) {
                continue;
            }
            let asking = Asking {
                tablet: Arc::clone(tablet),
                database: database.clone(),
                connector: connector.clone(),
                conn: None,
            };
            let poke = Arc::new(Notify::new());
            let task =
                tokio::spawn(run(asking, limits, owner.clone(), Arc::clone(&poke))).abort_handle();
            let check =
                Check { tablet: Arc::clone(tablet), database: database.clone(), task, poke };
            self.0.insert(tablet.alias.clone(), check);
        }
    }

    /// This one is asked now: others could not reach it.
    pub(crate) fn poke(&self, alias: &str) {
        if let Some(check) = self.0.get(alias) {
            check.poke.notify_one();
        }
    }

    /// These are asked anew, now.
    pub(crate) fn restart(&mut self, aliases: &[String]) {
        for check in aliases.iter().filter_map(|alias| self.0.remove(alias)) {
            check.task.abort();
        }
    }

    pub(crate) fn stop(&mut self) {
        for check in std::mem::take(&mut self.0).into_values() {
            check.task.abort();
        }
    }
}

async fn run(mut asking: Asking, limits: Limits, owner: mpsc::Sender<Command>, poke: Arc<Notify>) {
    let mut failed: u32 = 0;
    loop {
        let sign = match timeout(limits.timeout, asking.ask()).await {
            Ok(sign) => sign,
            Err(_) => {
                let why = format!("no answer within {} ms", limits.timeout.as_millis());
                match knock(&asking.tablet).await {
                    Door::Opened => Sign::Silent(why),
                    Door::Shut => Sign::Dead(why),
                    Door::NoWay => Sign::CutOff(format!("its machine is not reached: {why}")),
                }
            }
        };
        if !matches!(sign, Sign::Alive(_)) {
            asking.conn = None;
            failed = failed.saturating_add(1);
        } else {
            failed = 0;
        }
        let alias = asking.tablet.alias.clone();
        if owner
            .send(Command::Checked { alias, sign: Box::new(sign) })
            .await
            .is_err()
        {
            return;
        }
        let pause = match failed {
            0 => limits.interval,
            1..EAGER => RETRY.min(limits.interval),
            more => limits.interval.max(RETRY * (more - EAGER + 1)).min(RARE),
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = async {
                poke.notified().await;
                sleep(POKED).await;
            } => {}
        }
    }
}

struct Asking {
    tablet: Arc<Tablet>,
    database: Option<String>,
    connector: Connector,
    /// Kept from check to check.
    conn: Option<Conn>,
}

impl Asking {
    async fn ask(&mut self) -> Sign {
        let tablet = &*self.tablet;
        let database = self.database.as_deref();
        // A kept connection that has ended says that something has happened, not what.
        if let Some(mut conn) = self.conn.take()
            && let Ok(facts) = status::read(&mut conn, tablet, database).await
        {
            self.conn = Some(conn);
            return Sign::Alive(Box::new(facts));
        }
        let mut conn = match self.connector.connect(tablet).await {
            Ok(conn) => conn,
            Err(e @ Error::OutOfConnections { .. }) => return Sign::Full(e.to_string()),
            Err(e) => {
                return match knock(tablet).await {
                    Door::Shut => Sign::Dead(e.to_string()),
                    Door::NoWay => Sign::CutOff(e.to_string()),
                    Door::Opened => Sign::Refused(e.to_string()),
                };
            }
        };
        match status::read(&mut conn, tablet, database).await {
            Ok(facts) => {
                self.conn = Some(conn);
                Sign::Alive(Box::new(facts))
            }
            Err(e) => Sign::Refused(crate::backend::failed(tablet, e).to_string()),
        }
    }
}

/// How a server's address takes a plain connection.
enum Door {
    Opened,
    /// Its machine says that nobody listens.
    Shut,
    /// Nothing comes back from there.
    NoWay,
}

/// What a plain connection says, whatever the server does with it.
async fn knock(tablet: &Tablet) -> Door {
    use std::io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};
    let tried = async {
        match &tablet.address {
            Address::Tcp(address) => tokio::net::TcpStream::connect(address).await.err(),
            Address::Unix(path) => tokio::net::UnixStream::connect(path).await.err(),
            Address::Unresolved { .. } => None,
        }
    };
    match timeout(KNOCK, tried).await {
        Ok(None) => Door::Opened,
        Ok(Some(e))
            if [HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut].contains(&e.kind()) =>
        {
            Door::NoWay
        }
        Ok(Some(_)) => Door::Shut,
        // A socket of this machine whose backlog is full takes its time.
        Err(_) if matches!(tablet.address, Address::Unix(_)) => Door::Opened,
        Err(_) => Door::NoWay,
    }
}
