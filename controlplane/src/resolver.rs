//! Finishes transactions over several shards that a proxy or a server left behind (`transaction_mode = TWOPC`).
//!
//! A prepared XA branch names the shard whose server holds the decision, see [`dtid`]. Where that says "commit", the branch commits.
//! Where it says nothing, the resolver decides "abort" by writing the row itself: from then on the owner, should it
//! still live, cannot write its own, and its COMMIT fails. So nothing hangs on whether the owner is alive, or on clocks.
use crate::Error;
use crate::backend::{Connector, PATIENCE, failed};
use crate::shared::Shared;
use coregate_planner::dtid::{self, Branch};
use coregate_planner::snapshot::{Snapshot, Tablet, TabletKind};
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

/// One shard's primary.
#[derive(Debug, Clone)]
pub(crate) struct Primary {
    key: u64,
    tablet: Arc<Tablet>,
}

/// The primaries of all shards: branches may lie on any, and so may decisions.
pub(crate) fn primaries(snapshot: &Snapshot) -> Vec<Primary> {
    let keyspaces = snapshot.keyspaces.iter();
    let shards = keyspaces.flat_map(|keyspace| keyspace.shards.iter().map(move |shard| (keyspace, shard)));
    let primary =
        |(keyspace, shard): (&coregate_planner::snapshot::Keyspace, &coregate_planner::snapshot::Shard)| {
            let tablet = shard
                .tablets
                .iter()
                .find(|tablet| tablet.kind == TabletKind::Primary)?;
            Some(Primary { key: dtid::decider_key(&keyspace.name, &shard.name), tablet: Arc::clone(tablet) })
        };
    shards.filter_map(primary).collect()
}

/// Goes round until the program ends.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut resolver = Resolver::default();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let primaries = primaries(&shared.snapshot());
        // A transaction over one shard has no branches.
        if primaries.len() > 1 {
            resolver.round(&shared.connector, &primaries).await;
        }
    }
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
    pub(crate) async fn round(&mut self, connector: &Connector, primaries: &[Primary]) -> usize {
        let mut conns: BTreeMap<usize, Conn> = BTreeMap::new();
        let (mut prepared, mut asked_all) = (Vec::new(), true);
        for (at, primary) in primaries.iter().enumerate() {
            match recover(connector, primary).await {
                Ok((conn, branches)) => {
                    conns.insert(at, conn);
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
            finished += usize::from(finish(&mut conns, primaries, (branch, *at)).await);
        }
        if asked_all {
            forget(&mut conns, primaries, &prepared).await;
        }
        for (_, conn) in conns {
            let _ = timeout(PATIENCE, conn.disconnect()).await;
        }
        finished
    }
}

/// The branches of ours that are prepared on a server.
async fn recover(connector: &Connector, primary: &Primary) -> Result<(Conn, Vec<Branch>), Error> {
    let tablet = &primary.tablet;
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
    conns: &mut BTreeMap<usize, Conn>,
    primaries: &[Primary],
    (branch, at): (&Branch, usize),
) -> bool {
    let decider = primaries
        .iter()
        .position(|primary| primary.key == branch.decider);
    let Some(decider) = decider else {
        tracing::warn!(
            transaction = branch.id,
            tablet = primaries[at].tablet.alias,
            "a prepared transaction's decision lies on a shard that there is not; XA RECOVER shows it"
        );
        return false;
    };
    let Some(conn) = conns.get_mut(&decider) else { return false };
    let decision = match within(&primaries[decider].tablet, decide(conn, &branch.id)).await {
        Ok(Ok(decision)) => decision,
        Ok(Err(error)) => {
            tracing::debug!(transaction = branch.id, "its decision cannot be read: {error}");
            return false;
        }
        Err(error) => {
            // A connection in an unknown state asks nothing more.
            conns.remove(&decider);
            tracing::debug!(transaction = branch.id, "its decision cannot be read: {error}");
            return false;
        }
    };
    let Some(conn) = conns.get_mut(&at) else { return false };
    let verb = if decision { "COMMIT" } else { "ROLLBACK" };
    let tablet = &primaries[at].tablet;
    match within(tablet, conn.query_drop(format!("XA {verb} {branch}"))).await {
        Ok(Ok(())) => {
            tracing::info!(transaction = branch.id, tablet = tablet.alias, "left prepared: XA {verb}");
            true
        }
        // Its owner finishes it, or its connection is still open there.
        Ok(Err(Refusal::Server(error))) if error.code == XAER_NOTA => false,
        Ok(Err(error)) => {
            tracing::warn!(transaction = branch.id, tablet = tablet.alias, "XA {verb} failed: {error}");
            false
        }
        Err(error) => {
            conns.remove(&at);
            tracing::warn!(transaction = branch.id, "XA {verb} failed: {error}");
            false
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
async fn forget(conns: &mut BTreeMap<usize, Conn>, primaries: &[Primary], prepared: &[Prepared]) {
    let waiting: HashSet<&str> = prepared
        .iter()
        .map(|(branch, _)| branch.id.as_str())
        .collect();
    for (at, conn) in conns.iter_mut() {
        let deleted = within(&primaries[*at].tablet, delete_old(conn, &waiting)).await;
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
