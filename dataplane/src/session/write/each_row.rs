//! Rows that are inserted one after another, as each may change others: INSERT IGNORE, REPLACE and
//! ON DUPLICATE KEY UPDATE into a table that owns lookup vindexes. What a row's statement has
//! changed is told by the rows that it could change, before and behind it.
use super::super::transaction::quoted;
use super::super::wire::query_payload;
use super::super::{Failure, Outcome, Session};
use super::Steps;
use super::image::Entries;
use super::rows::{Cells, keys, lost_keyspace};
use crate::error::sql_error;
use crate::pool::Place;
use coregate_planner::plan::write::EachRow;
use coregate_planner::plan::{Combine, Plan};
use coregate_planner::resolve::BoundRow;
use coregate_protocol::codes;

/// The state before a row that may turn out to be one too much.
const UNDO_ROW: &str = "_coregate_row";

impl Session {
    pub(super) async fn each_row(
        &mut self,
        plan: &Plan,
        each: &EachRow,
        rows: Vec<BoundRow>,
    ) -> Outcome<Steps> {
        let snapshot = self.core.snapshot.borrow().clone();
        let keyspace = snapshot
            .keyspaces
            .get(usize::from(each.keyspace))
            .ok_or_else(lost_keyspace)?;
        let mut steps = Steps::default();
        for row in rows {
            let shard = keyspace
                .shards
                .get(usize::from(row.shard))
                .ok_or_else(lost_keyspace)?;
            let place = Place::Shard { shard: shard.id, kind: each.tablet_kind.into() };
            let undoable = each.ignore || !each.unique.elsewhere.is_empty();
            if undoable {
                self.undoable_row().await?;
            }
            match self.one_row(plan, each, &row, place).await {
                Ok(one) => steps.join(one),
                Err(Failure::Sql(error)) if undoable && error.code == codes::ER_DUP_ENTRY => {
                    self.undo_row().await?;
                    if each.ignore {
                        self.add_warning(error.code, &error.message);
                        steps.leave_out(plan.class);
                    } else {
                        let meets = self.row_meets(plan, each, &row, (keyspace, place), error);
                        steps.join(Box::pin(meets).await?);
                    }
                }
                Err(failure) => return Err(failure),
            }
            self.transaction.drop_savepoint(UNDO_ROW);
        }
        Ok(steps)
    }

    pub(super) async fn undoable_row(&mut self) -> Outcome {
        self.on_all_held(&format!("SAVEPOINT {}", quoted(UNDO_ROW)))
            .await?;
        self.transaction.add_savepoint(UNDO_ROW);
        Ok(())
    }

    pub(super) async fn undo_row(&mut self) -> Outcome {
        self.on_all_held(&format!("ROLLBACK TO {}", quoted(UNDO_ROW)))
            .await
    }

    pub(super) fn row_is_done(&mut self) {
        self.transaction.drop_savepoint(UNDO_ROW);
    }

    pub(super) async fn one_row(
        &mut self,
        plan: &Plan,
        each: &EachRow,
        row: &BoundRow,
        place: Place,
    ) -> Outcome<Steps> {
        let before = self.images(plan, each, row, place, &[]).await?;
        // ON DUPLICATE KEY UPDATE changes the row that has the first key: that may be another one,
        // elsewhere.
        if !before.is_empty() && !each.ignore && !each.replace && !each.unique.elsewhere.is_empty()
        {
            self.first_is_here(plan, each, row, place).await?;
        }
        let mut one = Steps::default();
        let wires = vec![(place, query_payload(&row.text))];
        self.run_step(plan, wires, Combine::Sum, &mut one).await?;
        let affected = one.summary.affected_rows;
        if each.ignore && affected == 0 {
            return Ok(one);
        }
        let after = self.images(plan, each, row, place, &before).await?;
        // A key that the server computes, or a value that it stores in another form, may have met a
        // row that was not seen.
        let unseen = match (before.len(), after.len()) {
            (0, 0) => true,
            (0, _) => affected != 1,
            (was, is) if each.ignore => is <= was,
            (was, is) => !each.replace && is < was,
        };
        if unseen {
            return Err(sql_error(
                1235,
                "VT12001: unsupported: a row that meets another by a value which the server \
                    computes, or stores in another form, in a \
                 statement into a table that owns a lookup vindex",
            )
            .into());
        }
        let (mut old, mut new) = (Entries::default(), Entries::default());
        for cells in &before {
            old.add(&each.image, cells, each.image.start)?;
        }
        for cells in &after {
            new.add(&each.image, cells, each.image.start)?;
        }
        self.put_right(new, old, &each.image).await?;
        Ok(one)
    }

    /// The rows that a new one may change or be, and those of these keys.
    pub(super) async fn images(
        &mut self,
        plan: &Plan,
        each: &EachRow,
        row: &BoundRow,
        place: Place,
        known: &[Cells],
    ) -> Outcome<Vec<Cells>> {
        let key: Vec<&str> = each.key.iter().map(|part| part.read.as_str()).collect();
        let head =
            format!("SELECT {},{} FROM {} WHERE ", key.join(","), each.image.list, each.table);
        let mut sql = head.into_bytes();
        sql.extend_from_slice(&row.condition);
        if !known.is_empty() {
            sql.extend_from_slice(b" OR ");
            sql.extend(keys(&each.key, false, None, known.iter())?);
        }
        sql.extend_from_slice(b" LIMIT 18446744073709551615 FOR UPDATE");
        // What it is warned of, the statement itself will be.
        let told = self.last.warnings.take();
        let read = self.read_at(plan, place, &sql).await;
        self.last.warnings = told;
        Ok(read?.rows)
    }
}
