//! Changes of several steps, in one transaction: rows are read and locked, then changed by their
//! keys on the shards that have them. Whatever fails undoes the whole statement, and nothing else.
mod by_key;
mod each_row;
mod elsewhere;
mod image;
mod insert;
mod literal;
mod read;
mod rows;

pub(super) use literal::{TextForm, value_literal};

use super::answer::{Answer, Done};
use super::info::Info;
use super::prepared::MadeFor;
use super::scatter::Returned;
use super::transaction::quoted;
use super::{Failure, Outcome, Session};
use crate::error::sql_error;
use coregate_planner::plan::write::Write;
use coregate_planner::plan::{Plan, StatementClass};
use coregate_planner::resolve::BoundWrite;
use coregate_protocol::walker::Summary;

/// The state before the statement, in a transaction of the client's.
const UNDO: &str = "_coregate_write";

/// What came of the steps, as one server would tell it.
#[derive(Default)]
pub(super) struct Steps {
    summary: Summary,
    info: Info,
    /// The rows of RETURNING.
    returned: Returned,
}

impl Steps {
    fn add(&mut self, summary: &Summary, info: Info) {
        let sum = &mut self.summary;
        sum.affected_rows = sum.affected_rows.saturating_add(summary.affected_rows);
        sum.warnings = sum.warnings.saturating_add(summary.warnings);
        if sum.last_insert_id == 0 {
            sum.last_insert_id = summary.last_insert_id;
        }
        self.info.absorb(info);
    }

    /// A row that a unique lookup vindex has for another place.
    fn leave_out(&mut self, class: StatementClass) {
        self.summary.warnings = self.summary.warnings.saturating_add(1);
        self.info.add(class, b"", 0, 1);
    }

    /// A row that UPDATE IGNORE leaves as it is.
    fn matched_only(&mut self) {
        let told = b"Rows matched: 1  Changed: 0  Warnings: 0";
        self.info.add(StatementClass::Update, told, 0, 0);
    }

    /// The row has taken the place of so many on other shards.
    fn replaced(&mut self, class: StatementClass, gone: u64) {
        self.summary.affected_rows = self.summary.affected_rows.saturating_add(gone);
        self.info.add_duplicates(class, gone);
    }

    /// So many warnings came of what the statement has read.
    fn warned(&mut self, class: StatementClass, count: u64) {
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        self.summary.warnings = self.summary.warnings.saturating_add(count);
        self.info.add_warnings(class, count);
    }

    fn join(&mut self, other: Self) {
        self.add(&other.summary, other.info);
        self.returned.join(other.returned);
    }
}

impl Session {
    /// Runs a change of several steps, and answers it.
    pub(super) async fn write(
        &mut self,
        plan: &Plan,
        write: &Write,
        bound: BoundWrite,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        self.begin_warnings(plan);
        self.ask_for(plan);
        let found_rows = self.last.found_rows;
        let own = self.begin_steps().await?;
        let result = Box::pin(self.steps(plan, write, bound)).await;
        let result = result.and_then(|steps| steps.returned.check(answer).map(|()| steps));
        let steps = self.end_steps(own, result).await?;
        self.last.found_rows = found_rows;
        if steps.returned.is_some() {
            let warnings = steps.summary.warnings;
            let rows = self.send_returned(steps.returned, warnings, answer)?;
            let summary = Summary { rows: rows.unwrap_or_default(), columns: 1, ..steps.summary };
            self.remember(plan.class, &summary);
            return Ok(summary);
        }
        self.remember(plan.class, &steps.summary);
        let info = steps.info.of_change(plan.class);
        let done = Done {
            affected_rows: steps.summary.affected_rows,
            last_insert_id: self
                .running
                .numbers_from
                .unwrap_or(steps.summary.last_insert_id),
            warnings: steps.summary.warnings,
            info: info.as_bytes(),
            ..Done::default()
        };
        self.send_ok(answer, done);
        Ok(steps.summary)
    }

    /// Runs the steps of a change, in the transaction that is open for it.
    async fn steps(&mut self, plan: &Plan, write: &Write, bound: BoundWrite) -> Outcome<Steps> {
        match (write, bound) {
            (Write::ByKey(by_key), BoundWrite::ByKey(bound)) => {
                self.by_key(plan, by_key, bound).await
            }
            (Write::InsertSelect(insert), BoundWrite::InsertSelect(bound)) => {
                self.insert_select(plan, insert, bound).await
            }
            (Write::Evaluated(evaluated), BoundWrite::Evaluated(bound)) => {
                let text = self.evaluated(&evaluated.types, bound).await?;
                self.insert_evaluated(&text).await
            }
            (Write::EachRow(each), BoundWrite::EachRow(rows)) => {
                self.each_row(plan, each, rows).await
            }
            _ => Err(sql_error(1105, "a change of several steps without its texts").into()),
        }
    }

    /// The same; `made_for`: of a statement that was prepared, perhaps when another keyspace was
    /// selected. Its steps mean that one.
    pub(super) async fn write_under(
        &mut self,
        made_for: Option<MadeFor>,
        plan: &Plan,
        (write, bound): (&Write, BoundWrite),
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let Some(made_for) = made_for else { return self.write(plan, write, bound, answer).await };
        let target = std::mem::replace(&mut self.target, made_for.0);
        let result = Box::pin(self.write(plan, write, bound, answer)).await;
        self.target = target;
        result
    }

    /// Opens a transaction for the statement, or makes it undoable in the client's. `true`: it is
    /// the statement's own.
    async fn begin_steps(&mut self) -> Outcome<bool> {
        if self.transaction.locked {
            return Err(sql_error(
                1235,
                "VT12001: unsupported: a change that several shards must make together while LOCK \
                    TABLES holds; UNLOCK TABLES first",
            )
            .into());
        }
        self.adopt_transaction();
        // It may be open already, to find the rows in it.
        if self.transaction.is_own() {
            return Ok(true);
        }
        if !self.in_transaction() && self.state.autocommit {
            self.transaction.begin_own();
            return Ok(true);
        }
        self.on_all_held(&format!("SAVEPOINT {}", quoted(UNDO)))
            .await?;
        self.transaction.add_savepoint(UNDO);
        Ok(false)
    }

    async fn end_steps(&mut self, own: bool, result: Outcome<Steps>) -> Outcome<Steps> {
        match result {
            Ok(steps) if own => {
                self.commit_held().await?;
                Ok(steps)
            }
            Ok(steps) => {
                self.transaction.drop_savepoint(UNDO);
                self.on_all_held(&format!("RELEASE SAVEPOINT {}", quoted(UNDO)))
                    .await?;
                Ok(steps)
            }
            Err(failure @ (Failure::Fatal(_) | Failure::Close)) => Err(failure),
            Err(failure) if own => {
                self.abandon_transaction().await;
                Err(failure)
            }
            Err(Failure::Sql(mut error)) => {
                // A server that has ended the transaction, as after a deadlock, has no savepoint
                // any more.
                self.resolve_doubt().await?;
                let undone = if self.transaction.has_savepoint(UNDO) {
                    self.on_all_held(&format!("ROLLBACK TO {}", quoted(UNDO)))
                        .await
                } else {
                    Ok(())
                };
                self.transaction.drop_savepoint(UNDO);
                match undone {
                    Ok(()) => {}
                    Err(failure @ (Failure::Fatal(_) | Failure::Close)) => return Err(failure),
                    Err(Failure::Sql(_)) => {
                        self.abandon_transaction().await;
                        error.message.push_str(
                            " (the transaction was rolled back, to undo what other shards had \
                                done)",
                        );
                    }
                }
                Err(error.into())
            }
        }
    }
}
