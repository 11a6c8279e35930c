//! Statements whose rows a lookup vindex finds: its table is asked while the statement is planned.
//!
//! The answer is read in the session's transaction, so that it has what this transaction has
//! changed. In a transaction, statements that change rows or lock them lock the entries that they
//! find, too, as in Vitess: what they read is the newest state.
use super::plan::{Kind, Planned};
use super::prepared::Statement;
use super::scatter::Rows;
use super::{Failure, Outcome, Session};
use crate::error::sql_error;
use crate::exec::Collected;
use coregate_planner::PlanError;
use coregate_planner::fingerprint::Fingerprint;
use coregate_planner::lookup::LookUp;
use coregate_planner::plan::Combine;
use coregate_planner::resolve::Numbers;
use coregate_planner::vindex::KeyspaceId;
use std::cell::RefCell;

/// The most questions that one statement asks.
const QUESTIONS_MAX: usize = 1_024;

/// How many lookup tables may be found by lookup tables.
const DEPTH_MAX: u8 = 4;

/// What lookup tables have told about the statement that is being planned.
#[derive(Debug, Default)]
pub(super) struct Looked {
    wanted: Option<Box<LookUp>>,
    numbers: Option<Box<Numbers>>,
    found: Vec<(Vec<u8>, Vec<KeyspaceId>)>,
    depth: u8,
    /// A transaction was opened for the statement, so that its rows are found and changed in one.
    began: bool,
}

impl Session {
    /// What a lookup table has answered this query with.
    pub(super) fn looked_up(&self, query: &[u8]) -> Option<Vec<KeyspaceId>> {
        let looked = self.running.looked.borrow();
        let (_, ids) = looked.as_ref()?.found.iter().find(|(q, _)| q == query)?;
        Some(ids.clone())
    }

    /// A statement cannot be bound; where a lookup table must be asked first, this is noted for
    /// [`Self::ask_lookup`].
    #[cold]
    pub(super) fn not_bound(&self, error: PlanError) -> Failure {
        match error {
            PlanError::LookUp(question) => {
                self.running
                    .looked
                    .borrow_mut()
                    .get_or_insert_default()
                    .wanted = Some(question);
                sql_error(1105, "a lookup table must be asked first").into()
            }
            PlanError::Generate(numbers) => {
                self.running
                    .looked
                    .borrow_mut()
                    .get_or_insert_default()
                    .numbers = Some(numbers);
                sql_error(1105, "numbers of a sequence must be taken first").into()
            }
            error => error.into(),
        }
    }

    /// The numbers that the planning has failed for.
    pub(super) fn wanted_numbers(&self) -> Option<Box<Numbers>> {
        self.running.looked.borrow_mut().as_mut()?.numbers.take()
    }

    /// Plans a text, whatever has to be asked for it.
    pub(super) async fn planned(&mut self, sql: &[u8]) -> Outcome<Planned> {
        match self.plan(sql) {
            Ok(planned) => Ok(planned),
            Err(failure) => Box::pin(self.plan_looking_up(sql, failure)).await,
        }
    }

    /// Plans a text whose planning has failed, after its lookup tables were asked and its numbers
    /// taken.
    #[cold]
    pub(super) async fn plan_looking_up(
        &mut self,
        sql: &[u8],
        failure: Failure,
    ) -> Outcome<Planned> {
        let Some(numbers) = self.wanted_numbers() else {
            return self
                .plan_looking_up_as(sql, Kind::TEXT, None, failure)
                .await;
        };
        let planned = Box::pin(self.plan_numbered(&numbers, sql, None)).await;
        let mut fingerprint = Fingerprint::new();
        fingerprint.read(sql, self.state.sql_mode)?;
        planned.map(|planned| Planned { end: fingerprint.end, more: fingerprint.more, ..planned })
    }

    /// `under`: the prepared statement that the text is of.
    pub(super) async fn plan_looking_up_as(
        &mut self,
        sql: &[u8],
        kind: Kind,
        under: Option<&Statement>,
        mut failure: Failure,
    ) -> Outcome<Planned> {
        loop {
            self.ask_lookup(failure).await?;
            failure = match self.plan_under(sql, kind, under) {
                Ok(planned) => {
                    self.planned_after_looking(planned.bound.changes()).await;
                    return Ok(planned);
                }
                Err(failure) => failure,
            };
        }
    }

    /// Planning has ended. `changes`: the statement goes on with a transaction that was opened for
    /// it.
    pub(super) async fn planned_after_looking(&mut self, changes: bool) {
        if self.forget_looked() && !changes {
            // Another plan than was thought: nothing has been changed yet.
            self.abandon_transaction().await;
        }
    }

    /// `true`: a transaction was opened for the statement.
    fn forget_looked(&self) -> bool {
        let mut looked = self.running.looked.borrow_mut();
        let Some(looked) = &mut *looked else { return false };
        looked.found.clear();
        looked.wanted = None;
        std::mem::take(&mut looked.began)
    }

    /// As [`Self::ask_lookup`], for a prepared statement.
    #[cold]
    pub(super) async fn ask_lookup_for(
        &mut self,
        statement: &Statement,
        failure: Failure,
    ) -> Outcome {
        let wanted = self
            .running
            .looked
            .borrow()
            .as_ref()
            .is_some_and(|l| l.wanted.is_some());
        if wanted && !self.reads_texts_as(statement) {
            self.planned_after_looking(false).await;
            return Err(sql_error(
                1235,
                "VT12001: unsupported: a statement whose rows a lookup vindex finds, under another \
                    sql_mode or character set than it was \
                 prepared under; prepare it again",
            )
            .into());
        }
        self.ask_lookup(failure).await
    }

    /// Asks the lookup table that the planning has failed for. If it has failed for something else,
    /// this is it.
    async fn ask_lookup(&mut self, failure: Failure) -> Outcome {
        let mut looked = self.running.looked.borrow_mut().take().unwrap_or_default();
        let answer = match looked.wanted.take() {
            None => Err(failure),
            Some(_) if looked.found.len() >= QUESTIONS_MAX || looked.depth >= DEPTH_MAX => {
                Err(PlanError::Unsupported("so many questions to lookup tables".into()).into())
            }
            Some(question) => {
                looked.began |= self.begin_to_look(&question);
                let nested = Looked { depth: looked.depth + 1, ..Looked::default() };
                *self.running.looked.borrow_mut() = Some(Box::new(nested));
                let ids = match self.begin_snapshot_look(&question).await {
                    Ok(()) => Box::pin(self.read_lookup(&question)).await,
                    Err(failure) => Err(failure),
                };
                ids.map(|ids| (question.query, ids))
            }
        };
        let done = match answer {
            Ok(answer) => {
                looked.found.push(answer);
                Ok(())
            }
            Err(failure) => Err(failure),
        };
        *self.running.looked.borrow_mut() = Some(looked);
        if done.is_err() {
            // The statement does not run: neither does a transaction that was opened for it.
            self.planned_after_looking(false).await;
        }
        done
    }

    /// Opens a transaction where the rows must be found and changed in one, which
    /// `begin_maintained` goes on with.
    fn begin_to_look(&mut self, question: &LookUp) -> bool {
        let alone = !self.in_transaction() && self.state.autocommit;
        let begins = question.changes && alone && !self.transaction.locked;
        if begins {
            self.transaction.begin_own();
        }
        begins
    }

    pub(super) async fn read_lookup(&mut self, question: &LookUp) -> Outcome<Vec<KeyspaceId>> {
        let alone = !self.in_transaction() && self.state.autocommit;
        // With autocommit, SET TRANSACTION is for the statement itself.
        let next = if alone { self.transaction.take_next() } else { None };
        let locks = (question.locks || question.changes)
            && (self.in_transaction() || !self.state.autocommit);
        let lock = if locks { question.vindex.read_lock.clause() } else { "" };
        // All entries, whatever `sql_select_limit` says.
        let tail = format!(" LIMIT {}{lock}", u64::MAX);
        let rows = RefCell::new(Collected::new(1, self.query_memory()));
        let read = self
            .inner(&question.query, tail.as_bytes(), Combine::Concat, Rows::Gather(&rows))
            .await;
        if alone && next.is_some() {
            self.transaction.restore_next(next);
        }
        read?;
        let mut ids = Vec::new();
        for row in rows.into_inner().rows {
            let cell = row.into_iter().next().flatten();
            let id = question.vindex.id_in(cell.as_deref());
            ids.extend(id.map_err(|why| Failure::from(sql_error(1105, why)))?);
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }
}
