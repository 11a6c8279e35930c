//! Statements whose rows a lookup vindex finds: its table is asked while the statement is planned.
//!
//! The answer is read in the session's transaction, so that it has what this transaction has changed. In a transaction, statements
//! that change rows or lock them lock the entries that they find, too, as in Vitess: what they read is the newest state.
use super::plan::Planned;
use super::prepared::Statement;
use super::scatter::Rows;
use super::{Failure, Outcome, Session};
use crate::error::sql_error;
use crate::exec::Collected;
use coregate_planner::PlanError;
use coregate_planner::lookup::LookUp;
use coregate_planner::plan::Combine;
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
    found: Vec<(Vec<u8>, Vec<KeyspaceId>)>,
    depth: u8,
}

impl Session {
    /// What a lookup table has answered this query with.
    pub(super) fn looked_up(&self, query: &[u8]) -> Option<Vec<KeyspaceId>> {
        let looked = self.looked.borrow();
        let (_, ids) = looked.as_ref()?.found.iter().find(|(q, _)| q == query)?;
        Some(ids.clone())
    }

    /// A statement cannot be bound; where a lookup table must be asked first, this is noted for [`Self::ask_lookup`].
    #[cold]
    pub(super) fn not_bound(&self, error: PlanError) -> Failure {
        let failure = error.clone().into();
        if let PlanError::LookUp(question) = error {
            self.looked.borrow_mut().get_or_insert_default().wanted = Some(question);
        }
        failure
    }

    /// Plans a text whose planning has failed, after its lookup tables were asked.
    #[cold]
    pub(super) async fn plan_looking_up(&mut self, sql: &[u8], mut failure: Failure) -> Outcome<Planned> {
        loop {
            self.ask_lookup(failure).await?;
            failure = match self.plan(sql) {
                Ok(planned) => {
                    self.forget_looked();
                    return Ok(planned);
                }
                Err(failure) => failure,
            };
        }
    }

    /// Planning has ended.
    pub(super) fn forget_looked(&self) {
        if let Some(looked) = &mut *self.looked.borrow_mut() {
            looked.found.clear();
            looked.wanted = None;
        }
    }

    /// As [`Self::ask_lookup`], for a prepared statement.
    #[cold]
    pub(super) async fn ask_lookup_for(&mut self, statement: &Statement, failure: Failure) -> Outcome {
        let wanted = self
            .looked
            .borrow()
            .as_ref()
            .is_some_and(|l| l.wanted.is_some());
        if wanted && !self.reads_texts_as(statement) {
            self.forget_looked();
            return Err(sql_error(
                1235,
                "VT12001: unsupported: a statement whose rows a lookup vindex finds, under another sql_mode or character set than it was \
                 prepared under; prepare it again",
            )
            .into());
        }
        self.ask_lookup(failure).await
    }

    /// Asks the lookup table that the planning has failed for. If it has failed for something else, this is it.
    async fn ask_lookup(&mut self, failure: Failure) -> Outcome {
        let mut looked = self.looked.borrow_mut().take().unwrap_or_default();
        let Some(question) = looked.wanted.take() else {
            looked.found.clear();
            let nested = looked.depth > 0;
            *self.looked.borrow_mut() = nested.then_some(looked);
            return self.give_up_looking(failure).await;
        };
        if looked.found.len() >= QUESTIONS_MAX || looked.depth >= DEPTH_MAX {
            return self
                .give_up_looking(PlanError::Unsupported("so many questions to lookup tables".into()).into())
                .await;
        }
        *self.looked.borrow_mut() = Some(Box::new(Looked { depth: looked.depth + 1, ..Looked::default() }));
        let answer = Box::pin(self.read_lookup(&question)).await;
        let depth = looked.depth;
        *self.looked.borrow_mut() = Some(looked);
        match answer {
            Ok(ids) => {
                if let Some(looked) = &mut *self.looked.borrow_mut() {
                    looked.found.push((question.query, ids));
                }
                Ok(())
            }
            Err(failure) => {
                *self.looked.borrow_mut() = Some(Box::new(Looked { depth, ..Looked::default() }));
                self.give_up_looking(failure).await
            }
        }
    }

    /// The statement does not run: neither does a transaction that was opened for it alone.
    async fn give_up_looking(&mut self, failure: Failure) -> Outcome {
        let outermost = self
            .looked
            .borrow()
            .as_ref()
            .is_none_or(|looked| looked.depth == 0);
        if outermost && self.transaction.is_own() {
            self.abandon_transaction().await;
        }
        Err(failure)
    }

    async fn read_lookup(&mut self, question: &LookUp) -> Outcome<Vec<KeyspaceId>> {
        let alone = !self.in_transaction() && self.autocommit;
        if question.changes && alone && !self.transaction.locked {
            // The rows are found and changed in one transaction, which `begin_maintained` goes on with.
            self.transaction.begin_own();
        }
        // With autocommit, SET TRANSACTION is for the statement itself.
        let next = if alone { self.transaction.take_next() } else { None };
        let locks = (question.locks || question.changes) && (self.in_transaction() || !self.autocommit);
        let lock = if locks { question.vindex.read_lock.clause() } else { "" };
        // All entries, whatever `sql_select_limit` says.
        let tail = format!(" LIMIT {}{lock}", u64::MAX);
        let rows = RefCell::new(Collected::new(1, self.core.config().query_memory_max));
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
