//! Compares rows and entries, in both directions.
use super::{ASKED_MAX, Failed, Job, number};
use coregate_planner::backfill::{BATCH_ROWS, Wanted};
use coregate_planner::lookup::Literal;
use coregate_planner::snapshot::ShardIdx;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// What a transaction of others has half done is looked at again after so long.
const AGAIN: Duration = Duration::from_millis(500);

impl Job {
    /// Counts rows without an entry.
    pub(crate) async fn find_missing(&mut self) -> Result<(), String> {
        let owner = self.filler.keyspace;
        for (shard, name) in self.shards(owner) {
            self.begin_shard(&name);
            let mut after: Option<Vec<Literal>> = None;
            loop {
                let step = self.missing_step(shard, after.as_deref()).await;
                let (rows, last) = step.map_err(Failed::why)?;
                self.advance(rows, rows < BATCH_ROWS);
                if rows < BATCH_ROWS {
                    break;
                }
                after = last;
            }
        }
        Ok(())
    }

    async fn missing_step(
        &mut self,
        shard: ShardIdx,
        after: Option<&[Literal]>,
    ) -> Result<(usize, Option<Vec<Literal>>), Failed> {
        let owner = self.filler.keyspace;
        let mut looked = 0;
        loop {
            let sql = self.filler.rows(after, false);
            let rows = self.ask(owner, shard, sql.as_bytes()).await?;
            let (entries, last) = self.filler.entries(&rows)?;
            let mut missing = 0;
            for (place, entries) in self.by_place(&entries)? {
                for entries in entries.chunks(ASKED_MAX) {
                    missing += self.absent(place, entries).await?.len() as u64;
                }
            }
            looked += 1;
            // An entry was taken away, and its row not yet read without it.
            if missing > 0 && looked == 1 {
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            self.progress.missing += missing;
            return Ok((rows.len(), last));
        }
    }

    /// Counts entries without a row.
    pub(crate) async fn find_dangling(&mut self) -> Result<(), String> {
        for (place, name) in self.shards(self.filler.lookup_keyspace) {
            self.begin_shard(&format!("{name} of the lookup table"));
            let mut after: Option<Vec<Literal>> = None;
            loop {
                let step = self.dangling_step(place, after.as_deref()).await;
                let (rows, last) = step.map_err(Failed::why)?;
                self.advance(rows, rows < BATCH_ROWS);
                if rows < BATCH_ROWS {
                    break;
                }
                after = last;
            }
        }
        Ok(())
    }

    async fn dangling_step(
        &mut self,
        place: ShardIdx,
        after: Option<&[Literal]>,
    ) -> Result<(usize, Option<Vec<Literal>>), Failed> {
        let sql = self.filler.held(after);
        let rows = self
            .ask(self.filler.lookup_keyspace, place, sql.as_bytes())
            .await?;
        let mut last = None;
        let mut entries: Vec<Wanted> = Vec::with_capacity(rows.len());
        for row in &rows {
            let (entry, key) = self.filler.entry(row)?;
            last = Some(key);
            match entry {
                Some(entry) => entries.push(entry),
                // It names no row at all.
                None => self.progress.dangling += 1,
            }
        }
        let entries: Vec<&Wanted> = entries.iter().collect();
        let mut without = self.without_row(&entries).await?;
        if !without.is_empty() {
            tokio::time::sleep(AGAIN).await;
            without = self.without_row(&without).await?;
            self.progress.dangling += self.still_there(place, &without).await?;
        }
        Ok((rows.len(), last))
    }

    /// How many of them are entries still.
    async fn still_there(&mut self, place: ShardIdx, entries: &[&Wanted]) -> Result<u64, Failed> {
        let mut count = 0;
        for entries in entries.chunks(ASKED_MAX) {
            count += entries.len() - self.absent(place, entries).await?.len();
        }
        Ok(count as u64)
    }

    async fn without_row<'w>(&mut self, entries: &[&'w Wanted]) -> Result<Vec<&'w Wanted>, Failed> {
        let mut by_shard: BTreeMap<Option<ShardIdx>, Vec<&'w Wanted>> = BTreeMap::new();
        for entry in entries {
            let shard = self.filler.shard_of(&self.snapshot, &entry.id);
            by_shard.entry(shard).or_default().push(entry);
        }
        let mut without = Vec::new();
        for (shard, entries) in by_shard {
            let Some(shard) = shard else {
                without.extend(entries);
                continue;
            };
            for entries in entries.chunks(ASKED_MAX) {
                let sql = self.filler.rows_of(entries);
                let rows = self.ask(self.filler.keyspace, shard, &sql).await?;
                let found = rows.iter().filter_map(|row| {
                    let n = number(row)?;
                    let entry = entries.get(n)?;
                    self.filler
                        .is_of(entry, row.get(1..).unwrap_or_default())
                        .then_some(n)
                });
                let found: HashSet<usize> = found.collect();
                let all = entries.iter().enumerate();
                without.extend(all.filter(|(n, _)| !found.contains(n)).map(|(_, e)| *e));
            }
        }
        Ok(without)
    }
}
