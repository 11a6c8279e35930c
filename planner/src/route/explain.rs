//! EXPLAIN, VEXPLAIN and DESCRIBE.
use super::Planner;
use crate::error::PlanError;
use crate::plan::{Action, Combine, Destination, Effects, Plan, Route, StatementClass, Target};
use crate::sql::ast::{Explain, Statement};

impl<'a> Planner<'_, 'a> {
    pub(super) fn explain(&mut self, explain: &'a Explain<'a>) -> Result<Plan, PlanError> {
        if explain.trace && !self.is_drop_in() {
            return Err(PlanError::unsupported("VEXPLAIN other than VEXPLAIN PLAN"));
        }
        let Some(inner) = explain.inner else { return self.describe(explain) };
        // ANALYZE runs the statement.
        let runs = explain.analyze && !explain.plan;
        let writes = runs && !matches!(inner, Statement::Query(_));
        let inner = self.statement(inner);
        if explain.plan {
            return Ok(crate::render::explain(self.input.snapshot, &inner?));
        }
        let mut inner = inner?;
        if let Action::Route(Route { to: Target::Keyspace { shards, .. }, combine, text, .. }) =
            &mut inner.action
        {
            *combine = Combine::Concat;
            match shards {
                Destination::Scatter | Destination::In { .. } | Destination::Rows(_) if writes => {
                    return Err(PlanError::unsupported("ANALYZE of a write to several shards"));
                }
                // Its rows would have to be divided; one server's plan says as much.
                Destination::Scatter | Destination::In { .. } => {
                    *shards = Destination::Any;
                    if let crate::plan::Text::Split(_) = text {
                        *text = crate::plan::Text::AsIs;
                    }
                }
                Destination::Rows(_) => {
                    *shards = Destination::Any;
                    *text = crate::plan::Text::AsIs;
                }
                _ => {}
            }
        }
        let kept = if runs { Effects::PIN | Effects::ASSIGNS_VARIABLES } else { Effects::empty() };
        Ok(Plan { class: StatementClass::Explain, effects: inner.effects & kept, cacheable: false, ..inner })
    }

    /// `DESCRIBE t`: any shard of its keyspace knows.
    fn describe(&mut self, explain: &'a Explain<'a>) -> Result<Plan, PlanError> {
        let class = StatementClass::Explain;
        if self.is_drop_in() {
            return Ok(self.routed_to(Target::DropIn, Combine::Concat, class));
        }
        let session = self.input.session;
        let named = self.names(&Statement::Explain(explain))?;
        let fallback = (!self.input.snapshot.keyspaces.is_empty()).then_some(0);
        let keyspace = named
            .or(session.keyspace)
            .or(fallback)
            .ok_or(PlanError::NoDatabase)?;
        let shards = match session.shard {
            Some(shard) if session.keyspace == Some(keyspace) => Destination::Shard(shard),
            _ if self.is_whole(keyspace) => Destination::Unsharded,
            _ => Destination::Any,
        };
        Ok(self.route(keyspace, shards, Combine::Concat, class))
    }
}
