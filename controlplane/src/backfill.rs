//! Lookup vindexes for tables that have rows already: entries are added for these, a shard after
//! another, and compared with them. The vindex is `write_only` meanwhile: statements keep it, and
//! nothing is found by it.
pub(crate) mod definition;
mod fill;
mod verify;

use crate::backend;
use crate::sql::{self, Conn, Value};
use crate::view::Shared;
use coregate_planner::backfill::{Backfill, Cells};
use coregate_planner::snapshot::{KeyspaceIdx, ShardIdx, Snapshot, Tablet};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a step of up to [`coregate_planner::backfill::BATCH_ROWS`] rows may take.
const STEP_PATIENCE: Duration = Duration::from_secs(60);

/// How long a step waits for locks of others, in seconds, before it is tried again.
const LOCK_WAIT_S: u32 = 5;

/// Entries that one statement asks about.
const ASKED_MAX: usize = 100;

/// What is done, or was done last, of a lookup vindex.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub(crate) struct Progress {
    /// `create`, `externalize` or `verify`
    pub(crate) what: &'static str,
    pub(crate) running: bool,
    pub(crate) shards: Vec<OfShard>,
    /// Entries that were added.
    pub(crate) added: u64,
    /// Rows whose value another row has, in a unique vindex: they have no entry.
    pub(crate) conflicts: u64,
    /// Rows without an entry.
    pub(crate) missing: u64,
    /// Entries without a row: nothing is found by them.
    pub(crate) dangling: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// How far a shard of the owner is; of `dangling`, a shard of the lookup table.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct OfShard {
    pub(crate) shard: String,
    pub(crate) rows: u64,
    pub(crate) done: bool,
}

/// Work on one lookup vindex.
pub(crate) struct Job {
    shared: Arc<Shared>,
    keyspace: String,
    vindex: String,
    snapshot: Arc<Snapshot>,
    filler: Backfill,
    progress: Progress,
    /// To shards' primaries, and which these were.
    conns: BTreeMap<(KeyspaceIdx, ShardIdx), (Conn, Arc<Tablet>)>,
}

/// Why a step failed.
#[derive(Debug)]
enum Failed {
    /// Somebody else had the locks: it may be tried again.
    Locked(String),
    /// A row's value has an entry, of another row.
    Duplicate,
    For(String),
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self::For(why)
    }
}

impl Failed {
    fn why(self) -> String {
        match self {
            Self::Locked(why) | Self::For(why) => why,
            Self::Duplicate => "an entry is there twice".to_owned(),
        }
    }
}

impl Job {
    /// # Errors
    /// The vindex is none that can be filled, or it is worked on.
    pub(crate) fn begin(
        shared: &Arc<Shared>,
        keyspace: &str,
        vindex: &str,
        what: &'static str,
    ) -> Result<Self, String> {
        let snapshot = shared.snapshot();
        let filler = Backfill::new(&snapshot, keyspace, vindex)?;
        let progress = Progress { what, running: true, ..Progress::default() };
        if !shared.begin_backfill(keyspace, vindex, progress.clone()) {
            return Err(format!(
                "vindex {vindex} of keyspace {keyspace} is worked on; lookup-vindex show says how \
                    far it is"
            ));
        }
        Ok(Self {
            shared: Arc::clone(shared),
            keyspace: keyspace.to_owned(),
            vindex: vindex.to_owned(),
            snapshot,
            filler,
            progress,
            conns: BTreeMap::new(),
        })
    }

    /// Shows how it ended.
    pub(crate) fn end(mut self, result: Result<(), String>) -> Progress {
        self.progress.running = false;
        self.progress.error = result.err();
        self.show();
        self.progress
    }

    /// # Errors
    /// Rows lack entries: nothing must be found by the vindex.
    pub(crate) fn is_complete(&self) -> Result<(), String> {
        match self.progress.missing {
            0 => Ok(()),
            n => Err(format!(
                "{n} rows have no entry: begin lookup-vindex create again, then externalize"
            )),
        }
    }

    fn show(&self) {
        self.shared
            .set_backfill(&self.keyspace, &self.vindex, self.progress.clone());
    }

    /// The shards of a keyspace, by their numbers.
    fn shards(&self, keyspace: KeyspaceIdx) -> Vec<(ShardIdx, String)> {
        let keyspace = self.snapshot.keyspaces.get(usize::from(keyspace));
        let shards = keyspace.map_or(&[][..], |k| k.shards.as_slice());
        (0..).zip(shards.iter().map(|s| s.name.clone())).collect()
    }

    fn begin_shard(&mut self, shard: &str) {
        self.progress
            .shards
            .push(OfShard { shard: shard.to_owned(), rows: 0, done: false });
        self.show();
    }

    /// Of the last shard that was begun.
    fn advance(&mut self, rows: usize, done: bool) {
        if let Some(last) = self.progress.shards.last_mut() {
            last.rows += rows as u64;
            last.done = done;
        }
        self.show();
    }

    fn primary(
        &self,
        keyspace: KeyspaceIdx,
        shard: ShardIdx,
    ) -> Result<(Arc<Tablet>, String), String> {
        let serving = self.shared.serving();
        let keyspace = self.snapshot.keyspaces.get(usize::from(keyspace));
        let shard = keyspace.and_then(|k| k.shards.get(usize::from(shard)));
        let (keyspace, shard) = keyspace.zip(shard).ok_or("a shard is gone")?;
        let found = serving.shards.get(&shard.id);
        let primary = found.and_then(|s| Some((Arc::clone(s.primary()?), s.database.clone())));
        primary.ok_or_else(|| {
            format!(
                "the primary of {}/{} is being moved: repeat it later",
                keyspace.name, shard.name
            )
        })
    }

    async fn conn(&mut self, keyspace: KeyspaceIdx, shard: ShardIdx) -> Result<&mut Conn, Failed> {
        let (primary, database) = self.primary(keyspace, shard)?;
        let place = (keyspace, shard);
        let kept = self.conns.get(&place);
        if kept.is_none_or(|(_, tablet)| tablet.alias != primary.alias) {
            let mut conn = self
                .shared
                .connector
                .connect(&primary)
                .await
                .map_err(|e| e.to_string())?;
            let settings = format!(
                "SET SESSION innodb_lock_wait_timeout={LOCK_WAIT_S}, sql_mode='', \
                    time_zone='+00:00'"
            );
            for sql in [
                format!("USE `{}`", database.replace('`', "``")),
                settings,
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
            ] {
                run(&mut conn, &primary, sql.as_bytes()).await?;
            }
            self.conns.insert(place, (conn, primary));
        }
        let found = self.conns.get_mut(&place);
        found
            .map(|(conn, _)| conn)
            .ok_or_else(|| Failed::For("no connection".to_owned()))
    }

    /// Runs a statement on a shard's primary, which must still be it when it has ended.
    async fn ask(
        &mut self,
        keyspace: KeyspaceIdx,
        shard: ShardIdx,
        sql: &[u8],
    ) -> Result<Vec<Cells>, Failed> {
        let (primary, _) = self.primary(keyspace, shard)?;
        let conn = self.conn(keyspace, shard).await?;
        let rows = run(conn, &primary, sql).await;
        if matches!(rows, Err(Failed::For(_))) {
            self.conns.remove(&(keyspace, shard));
        }
        if self.primary(keyspace, shard)?.0.alias != primary.alias {
            return Err(Failed::For("a primary was moved meanwhile: repeat it".to_owned()));
        }
        rows
    }
}

async fn run(conn: &mut Conn, tablet: &Tablet, sql: &[u8]) -> Result<Vec<Cells>, Failed> {
    let name = || backend::name(tablet);
    let answered = tokio::time::timeout(STEP_PATIENCE, conn.query_rows(sql)).await;
    let rows = match answered {
        Err(_) => return Err(Failed::For(format!("{}: no answer", name()))),
        Ok(Err(sql::Error::Server(e))) => {
            return Err(match e.code {
                1205 | 1213 => Failed::Locked(format!("{}: {}", name(), e.message)),
                1062 => Failed::Duplicate,
                _ => Failed::For(format!("{}: {}", name(), e.message)),
            });
        }
        Ok(Err(e)) => return Err(Failed::For(format!("{}: {e}", name()))),
        Ok(Ok(rows)) => rows,
    };
    let cell = |value: Value| match value {
        Value::Null => None,
        Value::Bytes(bytes) => Some(bytes),
        other => Some(other.text().into_bytes()),
    };
    Ok(rows
        .into_iter()
        .map(|row| row.into_cells().into_iter().map(cell).collect())
        .collect())
}

/// The number that a row begins with.
fn number(row: &Cells) -> Option<usize> {
    let text = row.first()?.as_deref()?;
    std::str::from_utf8(text).ok()?.parse().ok()
}
