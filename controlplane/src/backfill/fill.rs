//! Adds the entries that rows lack. The rows of a step are locked until their entries are
//! committed: whoever changes one of them comes before, and is seen, or after, and finds the entry.
use super::{ASKED_MAX, Failed, Job, number};
use coregate_planner::backfill::{BATCH_ROWS, Cells, Wanted};
use coregate_planner::lookup::Literal;
use coregate_planner::snapshot::ShardIdx;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// How often a step is tried that others' locks stand against.
const TRIES_MAX: u32 = 20;

/// How long is waited before it is tried again.
const PAUSE: Duration = Duration::from_millis(250);

type Key = Option<Vec<Literal>>;

impl Job {
    /// All rows of all shards. What is there already is passed over, so that it may be begun again
    /// at any time.
    pub(crate) async fn fill(&mut self) -> Result<(), String> {
        let owner = self.filler.keyspace;
        for (shard, name) in self.shards(owner) {
            self.begin_shard(&name);
            let mut after: Key = None;
            loop {
                let (rows, last) = self.step(shard, after.as_deref()).await?;
                self.advance(rows, rows < BATCH_ROWS);
                if rows < BATCH_ROWS {
                    break;
                }
                after = last;
            }
        }
        match self.progress.conflicts {
            0 => Ok(()),
            n => Err(format!(
                "{n} rows have values of the unique vindex {} that other rows have, too: change or \
                    delete those, and begin again",
                self.vindex
            )),
        }
    }

    async fn step(
        &mut self,
        shard: ShardIdx,
        after: Option<&[Literal]>,
    ) -> Result<(usize, Key), String> {
        let owner = self.filler.keyspace;
        let mut tries = 0;
        loop {
            let result = self.locked_step(shard, after).await;
            let ended = if result.is_ok() { &b"COMMIT"[..] } else { &b"ROLLBACK"[..] };
            let ended = self.ask(owner, shard, ended).await;
            match result {
                Ok(done) => return ended.map(|_| done).map_err(Failed::why),
                Err(Failed::Locked(_)) if tries < TRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(failed) => return Err(failed.why()),
            }
        }
    }

    async fn locked_step(
        &mut self,
        shard: ShardIdx,
        after: Option<&[Literal]>,
    ) -> Result<(usize, Key), Failed> {
        let owner = self.filler.keyspace;
        self.ask(owner, shard, b"BEGIN").await?;
        let sql = self.filler.rows(after, true);
        let rows = self.ask(owner, shard, sql.as_bytes()).await?;
        let (entries, last) = self.filler.entries(&rows)?;
        for (place, entries) in self.by_place(&entries)? {
            for entries in entries.chunks(ASKED_MAX) {
                let absent = self.absent(place, entries).await?;
                self.add(place, &absent).await?;
            }
        }
        Ok((rows.len(), last))
    }

    /// Entries by the shard of the lookup table on which they lie.
    pub(super) fn by_place<'w>(
        &self,
        entries: &'w [Wanted],
    ) -> Result<BTreeMap<ShardIdx, Vec<&'w Wanted>>, String> {
        let mut all: BTreeMap<ShardIdx, Vec<&Wanted>> = BTreeMap::new();
        for entry in entries {
            let place = self.filler.place(&self.snapshot, entry)?;
            all.entry(place).or_default().push(entry);
        }
        Ok(all)
    }

    /// Those of the entries that are not there.
    pub(super) async fn absent<'w>(
        &mut self,
        place: ShardIdx,
        entries: &[&'w Wanted],
    ) -> Result<Vec<&'w Wanted>, Failed> {
        let sql = self.filler.are_there(entries);
        let rows = self.ask(self.filler.lookup_keyspace, place, &sql).await?;
        let there: HashSet<usize> = rows.iter().filter_map(|row: &Cells| number(row)).collect();
        let all = entries.iter().enumerate();
        Ok(all
            .filter(|(n, _)| !there.contains(n))
            .map(|(_, entry)| *entry)
            .collect())
    }

    /// Two rows of one keyspace id may have one entry, and another process may add it, too.
    async fn add(&mut self, place: ShardIdx, entries: &[&Wanted]) -> Result<(), Failed> {
        if entries.is_empty() {
            return Ok(());
        }
        let lookup = self.filler.lookup_keyspace;
        let sql = self.filler.add(entries);
        match self.ask(lookup, place, &sql).await {
            Ok(_) => {
                self.progress.added += entries.len() as u64;
                return Ok(());
            }
            Err(Failed::Duplicate) => {}
            Err(failed) => return Err(failed),
        }
        for entry in entries {
            let sql = self.filler.add(&[entry]);
            match self.ask(lookup, place, &sql).await {
                Ok(_) => self.progress.added += 1,
                Err(Failed::Duplicate) => {
                    let absent = self.absent(place, &[entry]).await?;
                    self.progress.conflicts += absent.len() as u64;
                }
                Err(failed) => return Err(failed),
            }
        }
        Ok(())
    }
}
