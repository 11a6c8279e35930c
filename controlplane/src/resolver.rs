//! Finishes transactions over several shards that a proxy or a server left behind (`transaction_mode = TWOPC`).
//!
//! A prepared XA branch names the shard whose server holds the decision, see [`dtid`]. Where that says "commit", the branch commits.
//! Where it says nothing, the resolver decides "abort" by writing the row itself: from then on the owner, should it
//! still live, cannot write its own, and its COMMIT fails. So nothing hangs on whether the owner is alive, or on clocks.
use crate::Error;
use crate::backend::{Connector, PATIENCE, failed};
use crate::view::Shared;
use coregate_planner::dtid::{self, Branch};
use coregate_planner::serving::Serving;
use coregate_planner::snapshot::Tablet;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error as Refusal};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How often shards are asked. A branch that was prepared at two rounds is looked into: most are committed in between.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// Decisions to commit are kept for so long at least, in seconds.
const KEEP_COMMITS_S: u32 = 600;

/// Decisions to abort are kept for so long: their owner must not be able to commit meanwhile.
const KEEP_ABORTS_S: u32 = 86_400;

/// Rows that one statement deletes at most.
const DELETED_MAX: u32 = 10_000;

/// A branch that commits or rolls back elsewhere, or whose connection is still open.
const XAER_NOTA: u16 = 1397;
const ER_BAD_DB_ERROR: u16 = 1049;
const ER_NO_SUCH_TABLE: u16 = 1146;

/// A shard, and its primary where it has one now.
#[derive(Debug, Clone)]
pub(crate) struct Shard {
    key: u64,
    primary: Option<Arc<Tablet>>,
}

/// All shards: branches may lie on any, and so may decisions.
fn shards(serving: &Serving) -> Vec<Shard> {
    let shards = serving.shards.values();
    shards
        .map(|shard| Shard {
            key: dtid::decider_key(&shard.keyspace, &shard.shard),
            primary: shard.primary().cloned(),
        })
        .collect()
}

/// Goes round until the program ends.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut resolver = Resolver::default();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let shards = shards(&shared.serving());
        // A transaction over one shard has no branches. One process for all is enough.
        if shards.len() > 1 && shared.leads() {
            resolver.round(&shared.connector, &shards).await;
        }
    }
}

/// A primary that has told what is prepared there.
struct Asked {
    conn: Conn,
    tablet: Arc<Tablet>,
}

/// A branch that is prepared, and where.
type Prepared = (Branch, usize);

/// What is known between two rounds.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    /// The branches that were prepared at the last round, as XA statements name them.
    seen: HashSet<String>,
}

impl Resolver {
    /// One round over all shards. Returns how many branches it has finished.
    pub(crate) async fn round(&mut self, connector: &Connector, shards: &[Shard]) -> usize {
        let mut conns: BTreeMap<usize, Asked> = BTreeMap::new();
        let (mut prepared, mut asked_all) = (Vec::new(), true);
        for (at, shard) in shards.iter().enumerate() {
            let Some(tablet) = &shard.primary else {
                asked_all = false;
                continue;
            };
            match recover(connector, tablet).await {
                Ok((conn, branches)) => {
                    conns.insert(at, Asked { conn, tablet: Arc::clone(tablet) });
                    prepared.extend(branches.into_iter().map(|branch| (branch, at)));
                }
                Err(error) => {
                    asked_all = false;
                    tracing::debug!("prepared transactions cannot be looked for: {error}");
                }
            }
        }
        let names = prepared.iter().map(|(branch, _)| branch.to_string());
        let before = std::mem::replace(&mut self.seen, names.collect());
        let mut finished = 0;
        for (branch, at) in prepared
            .iter()
            .filter(|(branch, _)| before.contains(&branch.to_string()))
        {
            finished += usize::from(finish(&mut conns, shards, (branch, *at)).await);
        }
        if asked_all {
            forget(&mut conns, &prepared).await;
        }
        for asked in conns.into_values() {
            let _ = timeout(PATIENCE, asked.conn.disconnect()).await;
        }
        finished
    }
}

/// The branches of ours that are prepared on a server.
async fn recover(connector: &Connector, tablet: &Tablet) -> Result<(Conn, Vec<Branch>), Error> {
    let mut conn = connector.connect(tablet).await?;
    let rows: Vec<(u64, usize, usize, Vec<u8>)> = within(tablet, conn.query("XA RECOVER"))
        .await?
        .map_err(|error| failed(tablet, error))?;
    let branch = |(format, len, _, data): (u64, usize, usize, Vec<u8>)| Branch::parse(format, len, &data);
    Ok((conn, rows.into_iter().filter_map(branch).collect()))
}

async fn within<T>(tablet: &Tablet, work: impl Future<Output = T>) -> Result<T, Error> {
    timeout(PATIENCE, work)
        .await
        .map_err(|_| failed(tablet, format!("no answer within {} s", PATIENCE.as_secs())))
}

/// Finishes one branch as its transaction was decided. `false`: not this time.
async fn finish(
    conns: &mut BTreeMap<usize, Asked>,
    shards: &[Shard],
    (branch, at): (&Branch, usize),
) -> bool {
    let transaction = &branch.id;
    let Some(decider) = shards.iter().position(|shard| shard.key == branch.decider) else {
        tracing::warn!(
            transaction,
            "prepared, and decided by a shard that there is not; XA RECOVER shows it"
        );
        return false;
    };
    let Some(commits) = ask(conns, decider, transaction).await else { return false };
    let Some(asked) = conns.get_mut(&at) else { return false };
    let verb = if commits { "COMMIT" } else { "ROLLBACK" };
    let tablet = Arc::clone(&asked.tablet);
    match within(&tablet, asked.conn.query_drop(format!("XA {verb} {branch}"))).await {
        Ok(Ok(())) => {
            tracing::info!(transaction, tablet = tablet.alias, "left prepared: XA {verb}");
            true
        }
        // Its owner finishes it, or its connection is still open there.
        Ok(Err(Refusal::Server(error))) if error.code == XAER_NOTA => false,
        Ok(Err(error)) => {
            tracing::warn!(transaction, tablet = tablet.alias, "XA {verb} failed: {error}");
            false
        }
        Err(error) => {
            conns.remove(&at);
            tracing::warn!(transaction, "XA {verb} failed: {error}");
            false
        }
    }
}

/// What the shard that decides says of a transaction; `None`: nothing yet.
async fn ask(conns: &mut BTreeMap<usize, Asked>, decider: usize, transaction: &str) -> Option<bool> {
    let asked = conns.get_mut(&decider)?;
    let tablet = Arc::clone(&asked.tablet);
    match within(&tablet, decide(&mut asked.conn, transaction)).await {
        Ok(Ok(commits)) => Some(commits),
        Ok(Err(error)) => {
            tracing::debug!(transaction, "its decision cannot be read: {error}");
            None
        }
        Err(error) => {
            // A connection in an unknown state asks nothing more.
            conns.remove(&decider);
            tracing::debug!(transaction, "its decision cannot be read: {error}");
            None
        }
    }
}

/// Is the transaction committed? One that nobody has decided is decided here: it is not.
async fn decide(conn: &mut Conn, id: &str) -> Result<bool, Refusal> {
    let insert = format!("INSERT IGNORE INTO {} (id, decision) VALUES (?, 'abort')", dtid::TABLE);
    // The owner may hold the row, in a transaction that is not over: it decides then.
    conn.query_drop("SET innodb_lock_wait_timeout = 1").await?;
    match conn.exec_drop(&insert, (id,)).await {
        Err(Refusal::Server(error)) if [ER_BAD_DB_ERROR, ER_NO_SUCH_TABLE].contains(&error.code) => {
            for ddl in dtid::TABLE_DDL {
                conn.query_drop(ddl).await?;
            }
            conn.exec_drop(&insert, (id,)).await?;
        }
        other => other?,
    }
    let query = format!("SELECT decision FROM {} WHERE id = ?", dtid::TABLE);
    let decision: Option<String> = conn.exec_first(query, (id,)).await?;
    Ok(decision.as_deref() == Some("commit"))
}

/// Deletes decisions that nothing waits for any more. All shards were asked after the rows were written: a branch of a transaction
/// that is decided was prepared before.
async fn forget(conns: &mut BTreeMap<usize, Asked>, prepared: &[Prepared]) {
    let waiting: HashSet<&str> = prepared
        .iter()
        .map(|(branch, _)| branch.id.as_str())
        .collect();
    for Asked { conn, tablet } in conns.values_mut() {
        let deleted = within(tablet, delete_old(conn, &waiting)).await;
        match deleted {
            Ok(Err(Refusal::Server(error))) if [ER_BAD_DB_ERROR, ER_NO_SUCH_TABLE].contains(&error.code) => {}
            Ok(Err(error)) => tracing::debug!("old decisions cannot be deleted: {error}"),
            Ok(Ok(())) | Err(_) => {}
        }
    }
}

async fn delete_old(conn: &mut Conn, waiting: &HashSet<&str>) -> Result<(), Refusal> {
    // Ids are of our own making: letters, digits and dashes, see `Branch::parse`.
    let kept = match waiting.is_empty() {
        true => String::new(),
        false => {
            let ids: Vec<String> = waiting.iter().map(|id| format!("'{id}'")).collect();
            format!(" AND id NOT IN ({})", ids.join(","))
        }
    };
    for (decision, age) in [("commit", KEEP_COMMITS_S), ("abort", KEEP_ABORTS_S)] {
        let delete = format!(
            "DELETE FROM {} WHERE decision = '{decision}' AND made_at < NOW() - INTERVAL {age} SECOND{kept} LIMIT {DELETED_MAX}",
            dtid::TABLE
        );
        conn.query_drop(delete).await?;
    }
    Ok(())
}
