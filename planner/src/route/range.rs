//! Sessions that have chosen several shards of a keyspace: `USE ks[range]`.
use super::Planner;
use crate::error::PlanError;
use crate::plan::{Action, Destination, Plan};
use crate::snapshot::{KeyspaceIdx, ShardIdx};
use crate::sql::ast::Statement;

impl Planner<'_, '_> {
    /// The shards that the session has chosen of a keyspace.
    pub(super) fn chosen(&self, keyspace: KeyspaceIdx) -> Option<(ShardIdx, ShardIdx)> {
        let session = self.input.session;
        session
            .shards
            .filter(|_| session.keyspace == Some(keyspace))
    }

    /// All shards that the session may see.
    pub(super) fn everywhere(&self, keyspace: KeyspaceIdx) -> Destination {
        match self.chosen(keyspace) {
            Some((first, last)) => Destination::Range(first, last),
            None => Destination::Scatter,
        }
    }

    /// A change in steps, or of a table whose lookup vindexes change with it, reaches rows of other
    /// shards.
    pub(super) fn refuse_steps_in_range(&self, plan: Plan) -> Result<Plan, PlanError> {
        let steps = match &plan.action {
            Action::Write(_) => true,
            Action::Route(route) => route.maintain.is_some(),
            _ => false,
        };
        if steps && self.input.session.shards.is_some() {
            return Err(PlanError::unsupported(
                "a change of rows on several shards in steps where a range of shards is selected; \
                    select the keyspace with USE",
            ));
        }
        Ok(plan)
    }

    /// Rows are read there, and those that are there are changed. All else would leave shards that
    /// differ: a row where it does not belong, a table that only some of them have.
    pub(super) fn refuse_in_range(&self, statement: &Statement<'_>) -> Result<(), PlanError> {
        let session = self.input.session;
        let Some((first, last)) = session.shards else { return Ok(()) };
        match statement {
            Statement::Query(_) | Statement::Update(_) | Statement::Delete(_) => Ok(()),
            Statement::Insert(_) => {
                let shards = session.keyspace.and_then(|k| self.keyspace(k)).map(|k| {
                    (
                        k.name.as_str(),
                        k.shards.get(usize::from(first)),
                        k.shards.get(usize::from(last)),
                    )
                });
                let name = match shards {
                    Some((name, Some(first), Some(last))) => {
                        let (start, _) = first.name.split_once('-').unwrap_or_default();
                        let (_, end) = last.name.split_once('-').unwrap_or_default();
                        format!("{name}[{start}-{end}]")
                    }
                    _ => String::new(),
                };
                Err(PlanError::InsertIntoRange(name))
            }
            // One shard keeps what its server understands; a row that is put there must be asked
            // where it belongs.
            Statement::LoadData(_) | Statement::Unknown => Err(PlanError::unsupported(
                "LOAD DATA, or a statement that only the server reads, where a range of shards is \
                    selected; select the keyspace, or one shard of it, with USE",
            )),
            _ if session.shard.is_some() => Ok(()),
            _ => Err(PlanError::unsupported(
                "such a statement where a range of shards is selected; select the keyspace, or one \
                    shard of it, with USE",
            )),
        }
    }
}
