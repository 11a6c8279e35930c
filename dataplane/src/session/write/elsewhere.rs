//! Rows that REPLACE and ON DUPLICATE KEY UPDATE meet on other shards than their own, by unique
//! keys that lookup vindexes hold over all shards.
use super::super::{Failure, Outcome, Session};
use super::Steps;
use super::rows::{Cells, id_of, keys, lost_keyspace};
use crate::error::sql_error;
use crate::pool::Place;
use coregate_planner::control::SqlError;
use coregate_planner::plan::Plan;
use coregate_planner::plan::write::EachRow;
use coregate_planner::resolve::BoundRow;
use coregate_planner::snapshot::Keyspace;
use coregate_protocol::codes;

/// A row that a new one meets, and where it lies.
struct Met {
    cells: Cells,
    place: Place,
}

impl Session {
    /// A row could not be inserted, as another one has its place in a lookup table, and was undone:
    /// what one server would have done with that row is done. `error`: the answer where there is
    /// none.
    pub(super) async fn row_meets(
        &mut self,
        plan: &Plan,
        each: &EachRow,
        row: &BoundRow,
        (keyspace, home): (&Keyspace, Place),
        error: SqlError,
    ) -> Outcome<Steps> {
        self.undoable_row().await?;
        let mut steps = Steps::default();
        if each.replace {
            let mut gone = 0;
            for &key in &each.unique.elsewhere {
                for met in self.met(each, row, key, keyspace).await? {
                    if met.place != home || each.unique.by_lookup.contains(&key) {
                        gone += self.take_away(each, &met).await?;
                    }
                }
            }
            if gone == 0 {
                return Err(error.into());
            }
            let mut one = Box::pin(self.one_row(plan, each, row, home)).await?;
            one.replaced(plan.class, gone);
            steps.join(one);
            return Ok(steps);
        }
        match self.place_met(plan, each, row, (keyspace, home)).await? {
            Some(place) if place != home => {
                // That server meets the same row, and no other.
                if self.images(plan, each, row, place, &[]).await?.len() != 1 {
                    return Err(unclear());
                }
                Box::pin(self.one_row(plan, each, row, place)).await
            }
            _ => Err(error.into()),
        }
    }

    /// Fails as for a duplicate where the row to change lies elsewhere.
    pub(super) async fn first_is_here(
        &mut self,
        plan: &Plan,
        each: &EachRow,
        row: &BoundRow,
        place: Place,
    ) -> Outcome {
        let snapshot = self.core.snapshot.borrow().clone();
        let keyspace = snapshot
            .keyspaces
            .get(usize::from(each.keyspace))
            .ok_or_else(lost_keyspace)?;
        match self.place_met(plan, each, row, (keyspace, place)).await? {
            Some(met) if met != place => {
                Err(sql_error(codes::ER_DUP_ENTRY, "Duplicate entry for a unique key").into())
            }
            _ => Ok(()),
        }
    }

    /// Where the one row lies that a new one meets: by its primary key first, as servers look; of
    /// other keys' order nothing is known here, so that they must mean the same row.
    async fn place_met(
        &mut self,
        plan: &Plan,
        each: &EachRow,
        row: &BoundRow,
        (keyspace, home): (&Keyspace, Place),
    ) -> Outcome<Option<Place>> {
        if let Some(key) = each.unique.primary
            && !self
                .rows_of_key(plan, each, row, key, home)
                .await?
                .is_empty()
        {
            return Ok(Some(home));
        }
        let mut found: Vec<Met> = Vec::new();
        for key in 0..row.conditions.len() {
            let more = if each.unique.elsewhere.contains(&key) {
                self.met(each, row, key, keyspace).await?
            } else {
                let rows = self.rows_of_key(plan, each, row, key, home).await?;
                let here = |cells| Met { cells, place: home };
                rows.into_iter().map(here).collect()
            };
            for met in more {
                let key = |met: &Met| met.cells.get(..each.key.len()).map(<[_]>::to_vec);
                if !found
                    .iter()
                    .any(|f| f.place == met.place && key(f) == key(&met))
                {
                    found.push(met);
                }
            }
        }
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.place)),
            _ => Err(unclear()),
        }
    }

    /// The rows of one shard that have a unique key's values.
    async fn rows_of_key(
        &mut self,
        plan: &Plan,
        each: &EachRow,
        row: &BoundRow,
        key: usize,
        place: Place,
    ) -> Outcome<Vec<Cells>> {
        let sql = [head(each, &each.table), condition(row, key).to_vec(), LOCKED.to_vec()].concat();
        let told = self.last.warnings.take();
        let read = self.read_at(plan, place, &sql).await;
        self.last.warnings = told;
        Ok(read?.rows)
    }

    /// The rows, wherever they lie, that have a unique key's values. The statement is planned as a
    /// client's.
    async fn met(
        &mut self,
        each: &EachRow,
        row: &BoundRow,
        key: usize,
        keyspace: &Keyspace,
    ) -> Outcome<Vec<Met>> {
        let sql =
            [head(each, &each.full_name), condition(row, key).to_vec(), LOCKED.to_vec()].concat();
        let told = self.last.warnings.take();
        let read = Box::pin(self.read_values(&sql)).await;
        self.last.warnings = told;
        let rows = read?.rows;
        let met = rows.into_iter().map(|cells| {
            let id = id_of(&each.image.by, &cells, each.image.start)?;
            let shard = keyspace.shard_for(&id).ok_or_else(lost_keyspace)?;
            let shard = keyspace
                .shards
                .get(usize::from(shard))
                .ok_or_else(lost_keyspace)?;
            Ok(Met {
                cells,
                place: Place::Shard { shard: shard.id, kind: each.tablet_kind.into() },
            })
        });
        met.collect()
    }

    /// Deletes a row that another one replaces, with its entries. How many rows that were.
    async fn take_away(&mut self, each: &EachRow, met: &Met) -> Outcome<u64> {
        let mut sql = format!("DELETE FROM {} WHERE ", each.full_name).into_bytes();
        sql.extend(keys(&each.key, false, None, std::iter::once(&met.cells))?);
        let steps = self.insert_by(&sql).await?;
        Ok(steps.summary.affected_rows)
    }
}

const LOCKED: &[u8] = b" LIMIT 18446744073709551615 FOR UPDATE";

fn head(each: &EachRow, table: &str) -> Vec<u8> {
    let key: Vec<&str> = each.key.iter().map(|part| part.read.as_str()).collect();
    format!("SELECT {},{} FROM {table} WHERE ", key.join(","), each.image.list).into_bytes()
}

fn condition(row: &BoundRow, key: usize) -> &[u8] {
    row.conditions.get(key).map_or(b"FALSE", Vec::as_slice)
}

fn unclear() -> Failure {
    sql_error(
        1235,
        "VT12001: unsupported: ON DUPLICATE KEY UPDATE of a row on another shard, where the new \
            row meets others, too; UPDATE the row",
    )
    .into()
}
