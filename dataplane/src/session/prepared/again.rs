//! Executions that a statement's plan is not for as it is: the values lie on several shards, lookup
//! tables must be asked first, or rows lack numbers of a sequence.
use super::Statement;
use crate::cache::CachedPlan;
use crate::error::sql_error;
use crate::session::insert_id::Given;
use crate::session::plan::{BoundPlan, Kind, Planned};
use crate::session::{Outcome, Session};
use coregate_planner::PlanError;
use coregate_planner::plan::Effects;
use coregate_protocol::command::execute::ExecuteBody;
use std::rc::Rc;

/// What has come of it.
pub(super) enum Again {
    Bound(BoundPlan, Rc<CachedPlan>),
    /// It runs as a text, with the numbers in it.
    Text(Box<Planned>),
}

/// Which of the statement's plans is tried next.
#[derive(Debug, Default)]
pub(in crate::session) struct BindAgain {
    split: bool,
    numbered: bool,
}

impl BindAgain {
    pub(in crate::session) fn plan(
        &self,
        session: &mut Session,
        statement: &Statement,
    ) -> Outcome<Rc<CachedPlan>> {
        match (self.split, self.numbered) {
            (false, false) => session.current_plan(statement),
            (true, false) => session.split_plan(statement),
            (false, true) => session.plan_as_prepared(statement, Kind::PREPARED.numbered()),
            (true, true) => session.plan_as_prepared(statement, Kind::PREPARED.numbered().split()),
        }
    }
}

impl Session {
    /// Binds an execution that the plan is not for as it is: its values lie on several shards, or
    /// lookup tables must be asked first.
    pub(super) async fn bind_again(
        &mut self,
        statement: &Statement,
        parsed: &ExecuteBody<'_>,
        first: Outcome,
        given: &mut Given,
    ) -> Outcome<Again> {
        let mut again = BindAgain::default();
        let mut last = first;
        loop {
            if let Some(planned) = self.bind_otherwise(statement, last, &mut again).await? {
                return Ok(Again::Text(planned));
            }
            // The snapshot may be another by now.
            let entry = again.plan(self, statement)?;
            *given = Given::default();
            last = match self.bind_execution(statement, &entry, parsed, given) {
                Ok(Some(bound)) => {
                    self.planned_after_looking(bound.changes()).await;
                    return Ok(Again::Bound(bound, entry));
                }
                other => other.map(|_| ()),
            };
        }
    }

    /// Does what an execution has failed for. `Some`: it is planned as a text now.
    pub(in crate::session) async fn bind_otherwise(
        &mut self,
        statement: &Statement,
        failed: Outcome,
        again: &mut BindAgain,
    ) -> Outcome<Option<Box<Planned>>> {
        let failure = match failed {
            Ok(()) if again.split => return Err(PlanError::Several.into()),
            Ok(()) => {
                again.split = true;
                return Ok(None);
            }
            Err(failure) => failure,
        };
        let Some(numbers) = self.wanted_numbers() else {
            self.ask_lookup_for(statement, failure).await?;
            return Ok(None);
        };
        if !self.reads_texts_as(statement) {
            return Err(sql_error(
                1235,
                "VT12001: unsupported: an INSERT whose rows get numbers of a sequence, under \
                    another sql_mode or character set than it \
                 was prepared under; prepare it again",
            )
            .into());
        }
        if numbers.places.is_empty() {
            self.give_numbers(&numbers).await?;
            again.numbered = true;
            return Ok(None);
        }
        let planned = Box::pin(self.plan_numbered(&numbers, &[], Some(statement))).await?;
        if planned.entry.plan.effects.contains(Effects::SETS_INSERT_ID) {
            self.running.numbers_from = None;
            return Err(sql_error(
                1235,
                "VT12001: unsupported: a prepared INSERT ... RETURNING whose rows get numbers of a \
                    sequence; send it as text",
            )
            .into());
        }
        Ok(Some(Box::new(planned)))
    }
}
