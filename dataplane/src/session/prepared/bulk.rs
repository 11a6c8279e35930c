//! MariaDB's bulk executions: one statement with many rows of parameters, which a server does as
//! one. They are offered where one server has everything; elsewhere drivers execute row by row.
use super::Statement;
use crate::error::sql_error;
use crate::link::Packet;
use crate::pool::Place;
use crate::session::answer::Answer;
use crate::session::insert_id::Given;
use crate::session::run::Execution;
use crate::session::{Failure, Outcome, Session};
use coregate_planner::plan::{Action, Effects, Target};
use coregate_protocol::command::com;
use coregate_protocol::command::execute::STMT_ID_AT;

/// Behind the command and the statement's id.
const FLAGS_AT: usize = 5;
const TYPES_AT: usize = 7;
/// The types of the parameters stand before the rows.
const SENDS_TYPES: u16 = 128;

impl Session {
    /// COM_STMT_BULK_EXECUTE.
    pub(in crate::session) async fn execute_bulk(
        &mut self,
        id: u32,
        packet: &Packet,
        answer: &mut Answer,
    ) -> Outcome {
        answer.binary = true;
        let statement = self.statement_of(id, "mysqld_stmt_bulk_execute")?;
        self.client.handle.runs(&statement.sql);
        statement.bind_bulk(packet.payload())?;
        let entry = self.current_plan(&statement)?;
        let plan = &entry.plan;
        self.client
            .handle
            .limit(&self.core, plan.directives.query_timeout_ms);
        let route = match &plan.action {
            Action::Route(route) if matches!(route.to, Target::DropIn) => route,
            _ => return Err(refused()),
        };
        self.begin_warnings(plan);
        if plan.effects.contains(Effects::IMPLICIT_COMMIT) {
            Box::pin(self.implicit_commit()).await?;
        }
        let text = self.text_for(&statement, &entry, route)?;
        self.core.metrics().queries.add(1);
        let start = self.core.ring.now();
        let given = Given::doubtful();
        let execution = Execution {
            statement: &statement,
            packet: packet.copy(),
            cursor: false,
            given: &given,
        };
        let result = self
            .execute_on(execution, &entry, Place::DropIn, text, answer)
            .await;
        self.note_end(&entry, start, 1, &result);
        result.map(|_| ())
    }
}

#[cold]
fn refused() -> Failure {
    sql_error(
        1235,
        "VT12001: unsupported: bulk execution of a statement that is not for one server",
    )
    .into()
}

pub(super) fn is_bulk(payload: &[u8]) -> bool {
    payload.first() == Some(&com::STMT_BULK_EXECUTE)
}

impl Statement {
    /// Keeps the types, which come with the first execution only.
    fn bind_bulk(&self, payload: &[u8]) -> Outcome {
        let wanted = 2 * self.params();
        if self.sends_types(payload) {
            let types = payload.get(TYPES_AT..TYPES_AT + wanted);
            self.bind_types(types.ok_or_else(incorrect)?);
        } else if self.types.borrow().len() != wanted {
            return Err(incorrect());
        }
        Ok(())
    }

    fn sends_types(&self, payload: &[u8]) -> bool {
        let flags = payload
            .get(FLAGS_AT..TYPES_AT)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u16::from_le_bytes);
        flags & SENDS_TYPES != 0
    }

    /// The packet for a backend, always with the types: that server may have seen others.
    pub(super) fn bulk_execution(&self, payload: &[u8], id: u32) -> Vec<u8> {
        let mut out = payload.to_vec();
        if let Some(place) = out.get_mut(STMT_ID_AT) {
            place.copy_from_slice(&id.to_le_bytes());
        }
        if !self.sends_types(payload) && out.len() >= TYPES_AT {
            let [low, high] = SENDS_TYPES.to_le_bytes();
            out[FLAGS_AT] |= low;
            out[FLAGS_AT + 1] |= high;
            out.splice(TYPES_AT..TYPES_AT, self.types.borrow().iter().copied());
        }
        out
    }
}

#[cold]
fn incorrect() -> Failure {
    sql_error(1210, "Incorrect arguments to mysqld_stmt_bulk_execute").into()
}
