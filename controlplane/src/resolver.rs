//! Finishes transactions over several shards that a proxy or a server left behind
//! (`transaction_mode = TWOPC`).
//!
//! A prepared XA branch names the shard whose server holds the decision, see [`dtid`]. Where that
//! says "commit", the branch commits. Where it says nothing, the resolver decides "abort" by
//! writing the row itself: from then on the owner, should it still live, cannot write its own, and
//! its COMMIT fails. So nothing hangs on whether the owner is alive, or on clocks.
mod replicas;

use crate::Error;
use crate::backend::{Connector, PATIENCE, failed};
use crate::sql::{Conn, Error as Refusal};
use crate::view::Shared;
use coregate_planner::dtid::{self, Branch};
use coregate_planner::serving::{Serving, ShardServing, TabletServing, TabletState};
use coregate_planner::snapshot::Tablet;
use replicas::{Compared, compare, end_unlogged};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How often shards are asked. A branch that was prepared at two rounds is looked into: most are
/// committed in between.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// Decisions to commit are kept for so long at least, in seconds.
const KEEP_COMMITS_S: u32 = 600;

/// Decisions to abort are kept for so long: their owner must not be able to commit meanwhile.
const KEEP_ABORTS_S: u32 = 86_400;

/// Rows that a round deletes at most, of each kind.
const DELETED_MAX: u32 = 10_000;
/// Rows that one statement deletes.
const DELETED_AT_ONCE: usize = 500;

/// A branch that commits or rolls back elsewhere, or whose connection is still open.
const XAER_NOTA: u16 = 1397;
const ER_BAD_DB_ERROR: u16 = 1049;
const ER_NO_SUCH_TABLE: u16 = 1146;

/// A shard, and its primary where it has one now.
#[derive(Debug, Clone)]
pub(crate) struct Shard {
    /// `keyspace/shard`
    name: String,
    key: u64,
    primary: Option<Arc<Tablet>>,
    /// Those that replicate, as far as is known.
    replicas: Vec<Arc<Tablet>>,
    /// Others may come back, and ask for decisions.
    away: bool,
}

/// All shards: branches may lie on any, and so may decisions.
fn shards(serving: &Serving) -> Vec<Shard> {
    let shards = serving.shards.values();
    shards
        .map(|shard| Shard {
            name: format!("{}/{}", shard.keyspace, shard.shard),
            key: dtid::decider_key(&shard.keyspace, &shard.shard),
            primary: shard.primary().cloned(),
            replicas: followers(shard, TabletState::Serving),
            away: !followers(shard, TabletState::NotServing).is_empty(),
        })
        .collect()
}

/// A shard's replicas in this state; what is drained follows nobody.
fn followers(shard: &ShardServing, state: TabletState) -> Vec<Arc<Tablet>> {
    let follows = |t: &&TabletServing| {
        ["REPLICA", "RDONLY", "SPARE"].contains(&t.type_name) && t.state == state
    };
    let tablets = shard.tablets.iter().filter(follows);
    tablets.map(|t| Arc::clone(&t.tablet)).collect()
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
        let (mut compared, all) = compare_all(connector, shards, &mut conns).await;
        asked_all &= all && !shards.iter().any(|shard| shard.away);
        let mut names: HashSet<String> = prepared
            .iter()
            .map(|(branch, _)| branch.to_string())
            .collect();
        let before = &self.seen;
        let mut finished = 0;
        for (branch, at) in prepared
            .iter()
            .filter(|(branch, _)| before.contains(&branch.to_string()))
        {
            // Whether replicas have it, too, decides how it ends.
            let replicas = shards.get(*at).is_some_and(|s| !s.replicas.is_empty());
            let of_shard = compared.get(at).filter(|c| !c.replicas.is_empty());
            if replicas && of_shard.is_none() {
                continue;
            }
            let lone = of_shard.is_some_and(|c| c.is_lone(branch));
            finished += usize::from(finish(&mut conns, shards, (branch, *at), lone).await);
        }
        let mut strays = Vec::new();
        for found in compared.values_mut() {
            strays.extend(found.take_strays());
        }
        for (tablet, mut conn, branches) in strays {
            for branch in branches {
                let name = format!("{} {branch}", tablet.alias);
                if before.contains(&name) {
                    finished += usize::from(
                        end_stray(&mut conns, shards, (&tablet, &mut conn), &branch).await,
                    );
                }
                names.insert(name);
                prepared.push((branch, usize::MAX));
            }
        }
        self.seen = names;
        if asked_all {
            forget(&mut conns, &prepared).await;
        }
        for asked in conns.into_values() {
            let _ = timeout(PATIENCE, asked.conn.disconnect()).await;
        }
        finished
    }
}

/// What primaries and their replicas have prepared, by shard; and whether all could be asked.
async fn compare_all(
    connector: &Connector,
    shards: &[Shard],
    conns: &mut BTreeMap<usize, Asked>,
) -> (BTreeMap<usize, Compared>, bool) {
    let (mut compared, mut asked_all) = (BTreeMap::new(), true);
    for (at, asked) in conns {
        let Some(shard) = shards.get(*at).filter(|s| !s.replicas.is_empty()) else { continue };
        match compare(connector, asked, &shard.replicas).await {
            Ok((found, all)) => {
                asked_all &= all;
                compared.insert(*at, found);
            }
            Err(error) => {
                asked_all = false;
                tracing::debug!("what is prepared on replicas cannot be looked for: {error}");
            }
        }
    }
    (compared, asked_all)
}

/// A transaction with prepared branches.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Unresolved {
    pub(crate) id: String,
    /// `PREPARE`: nobody has decided; `COMMIT`, `ROLLBACK`.
    pub(crate) state: &'static str,
    /// The shard that decides.
    pub(crate) decider: String,
    /// The shards with prepared branches.
    pub(crate) participants: Vec<String>,
}

/// What is prepared on all shards now, or of one transaction; and the shards that cannot be asked.
pub(crate) async fn unresolved(
    shared: &Shared,
    id: Option<&str>,
) -> (Vec<Unresolved>, Vec<String>) {
    let shards = shards(&shared.serving());
    let (mut found, mut silent) = (BTreeMap::<String, Unresolved>::new(), Vec::new());
    let mut conns = BTreeMap::new();
    for (at, shard) in shards.iter().enumerate() {
        let asked = match &shard.primary {
            Some(tablet) => recover(&shared.connector, tablet).await.ok(),
            None => None,
        };
        let Some((conn, branches)) = asked else {
            silent.push(shard.name.clone());
            continue;
        };
        conns.insert(at, conn);
        for branch in branches
            .into_iter()
            .filter(|b| id.is_none_or(|id| id == b.id))
        {
            let decider = shards.iter().find(|shard| shard.key == branch.decider);
            let decider =
                decider.map_or_else(|| "a shard that there is not".to_owned(), |d| d.name.clone());
            let empty = || Unresolved {
                id: branch.id.clone(),
                state: "PREPARE",
                decider,
                participants: Vec::new(),
            };
            let known = found.entry(branch.id.clone()).or_insert_with(empty);
            known.participants.push(shard.name.clone());
        }
    }
    for known in found.values_mut() {
        let decider = shards.iter().position(|shard| shard.name == known.decider);
        if let Some(conn) = decider.and_then(|at| conns.get_mut(&at)) {
            let query = format!("SELECT decision FROM {} WHERE id = ?", dtid::TABLE);
            let asked = timeout(PATIENCE, conn.exec_first::<String>(&query, (&known.id,))).await;
            known.state = match asked {
                Ok(Ok(Some(decision))) if decision == "commit" => "COMMIT",
                Ok(Ok(Some(_))) => "ROLLBACK",
                _ => "PREPARE",
            };
        }
    }
    for conn in conns.into_values() {
        let _ = timeout(PATIENCE, conn.disconnect()).await;
    }
    (found.into_values().collect(), silent)
}

/// Finishes one transaction now: as it was decided, and one that is not decided is rolled back.
/// Returns the branches that are finished, and those that are left.
pub(crate) async fn conclude(shared: &Shared, id: &str) -> (usize, usize) {
    let shards = shards(&shared.serving());
    let mut resolver = Resolver::default();
    for tablet in shards.iter().filter_map(|shard| shard.primary.as_ref()) {
        let Ok((conn, branches)) = recover(&shared.connector, tablet).await else { continue };
        let _ = timeout(PATIENCE, conn.disconnect()).await;
        let names = branches
            .iter()
            .filter(|b| b.id == id)
            .map(Branch::to_string);
        resolver.seen.extend(names);
    }
    // A round finishes what it knows from the last one.
    let known = resolver.seen.len();
    let finished = resolver.round(&shared.connector, &shards).await;
    (finished, known.saturating_sub(finished))
}

/// Of a transaction whose session has ended: servers may still be about to prepare, or to notice
/// that it has.
const SOON: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(300),
    Duration::from_millis(700),
    Duration::from_millis(1_500),
];

/// Finishes it without waiting for the next rounds, which do what is left.
pub(crate) async fn conclude_soon(shared: Arc<Shared>, id: String) {
    for pause in SOON {
        tokio::time::sleep(pause).await;
        let (finished, left) = conclude(&shared, &id).await;
        if finished > 0 {
            tracing::info!(
                transaction = id,
                "given up by its session: {finished} branches are finished"
            );
        }
        if finished > 0 && left == 0 {
            break;
        }
    }
}

/// The branches of ours that are prepared on a server.
async fn recover(connector: &Connector, tablet: &Tablet) -> Result<(Conn, Vec<Branch>), Error> {
    let mut conn = connector.connect(tablet).await?;
    let found = within(tablet, branches(&mut conn))
        .await?
        .map_err(|error| failed(tablet, error))?;
    Ok((conn, found))
}

async fn branches(conn: &mut Conn) -> Result<Vec<Branch>, Refusal> {
    let rows: Vec<(u64, usize, usize, Vec<u8>)> = conn.query("XA RECOVER").await?;
    let branch =
        |(format, len, _, data): (u64, usize, usize, Vec<u8>)| Branch::parse(format, len, &data);
    Ok(rows.into_iter().filter_map(branch).collect())
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
    lone: bool,
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
    if lone {
        let ended = end_unlogged(&tablet, &mut asked.conn, branch, verb).await;
        return told(transaction, &tablet, verb, ended);
    }
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

/// Finishes a branch that only a replica has, without a log.
async fn end_stray(
    conns: &mut BTreeMap<usize, Asked>,
    shards: &[Shard],
    (tablet, conn): (&Tablet, &mut Conn),
    branch: &Branch,
) -> bool {
    let decider = shards.iter().position(|shard| shard.key == branch.decider);
    let Some(decider) = decider else { return false };
    let Some(commits) = ask(conns, decider, &branch.id).await else { return false };
    let verb = if commits { "COMMIT" } else { "ROLLBACK" };
    let ended = end_unlogged(tablet, conn, branch, verb).await;
    told(&branch.id, tablet, verb, ended)
}

fn told(transaction: &str, tablet: &Tablet, verb: &str, ended: Result<(), Error>) -> bool {
    match &ended {
        Ok(()) => {
            tracing::info!(transaction, tablet = tablet.alias, "prepared there alone: XA {verb}")
        }
        Err(error) => tracing::warn!(transaction, "prepared there alone: {error}"),
    }
    ended.is_ok()
}

/// What the shard that decides says of a transaction; `None`: nothing yet.
async fn ask(
    conns: &mut BTreeMap<usize, Asked>,
    decider: usize,
    transaction: &str,
) -> Option<bool> {
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
        Err(Refusal::Server(error))
            if [ER_BAD_DB_ERROR, ER_NO_SUCH_TABLE].contains(&error.code) =>
        {
            for ddl in dtid::TABLE_DDL {
                conn.query_drop(ddl).await?;
            }
            conn.exec_drop(&insert, (id,)).await?;
        }
        other => other?,
    }
    let query = format!("SELECT decision FROM {} WHERE id = ?", dtid::TABLE);
    let decision: Option<String> = conn.exec_first(&query, (id,)).await?;
    Ok(decision.as_deref() == Some("commit"))
}

/// Deletes decisions that nothing waits for any more. All shards were asked after the rows were
/// written: a branch of a transaction that is decided was prepared before.
async fn forget(conns: &mut BTreeMap<usize, Asked>, prepared: &[Prepared]) {
    let waiting: HashSet<&str> = prepared
        .iter()
        .map(|(branch, _)| branch.id.as_str())
        .collect();
    for Asked { conn, tablet } in conns.values_mut() {
        let deleted = within(tablet, delete_old(conn, &waiting)).await;
        match deleted {
            Ok(Err(Refusal::Server(error)))
                if [ER_BAD_DB_ERROR, ER_NO_SUCH_TABLE].contains(&error.code) => {}
            Ok(Err(error)) => tracing::debug!("old decisions cannot be deleted: {error}"),
            Ok(Ok(())) | Err(_) => {}
        }
    }
}

/// Rows are found without locks and deleted by their key: a scan would lock those that others are
/// about to commit, and wait for them with all that it has locked.
async fn delete_old(conn: &mut Conn, waiting: &HashSet<&str>) -> Result<(), Refusal> {
    conn.query_drop("SET innodb_lock_wait_timeout = 1").await?;
    for (decision, age) in [("commit", KEEP_COMMITS_S), ("abort", KEEP_ABORTS_S)] {
        let old = format!(
            "SELECT id FROM {} WHERE decision = '{decision}' AND made_at < NOW() - INTERVAL {age} \
                SECOND LIMIT {DELETED_MAX}",
            dtid::TABLE
        );
        let ids: Vec<String> = conn.query(old).await?;
        // Ids are of our own making: letters, digits and dashes.
        let ids: Vec<String> = ids
            .iter()
            .filter(|id| dtid::is_id(id) && !waiting.contains(id.as_str()))
            .map(|id| format!("'{id}'"))
            .collect();
        for ids in ids.chunks(DELETED_AT_ONCE) {
            let delete = format!("DELETE FROM {} WHERE id IN ({})", dtid::TABLE, ids.join(","));
            conn.query_drop(delete).await?;
        }
    }
    Ok(())
}
