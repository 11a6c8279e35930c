//! EXPLAIN, VEXPLAIN and DESCRIBE.
use super::Planner;
use crate::error::PlanError;
use crate::plan::tree::Tree;
use crate::plan::write::Write;
use crate::plan::{
    Action, Combine, Destination, Effects, Plan, Route, SessionAction, StatementClass, Target,
    VexplainKind,
};
use crate::sql::ast::{Explain, Statement};

impl<'a> Planner<'_, 'a> {
    pub(super) fn explain(&mut self, explain: &'a Explain<'a>) -> Result<Plan, PlanError> {
        let Some(inner) = explain.inner else { return self.describe(explain) };
        if explain.keys {
            return super::keys::explain(self, inner);
        }
        if let Some(kind) = explain.trace {
            return self.explained_by_run(kind, inner, explain.start);
        }
        // ANALYZE runs the statement.
        let runs = explain.analyze && !explain.plan;
        let writes = runs && !matches!(inner, Statement::Query(_));
        if let Statement::Query(query) = inner {
            self.start = query.span.start;
        }
        let inner = self.statement(inner);
        if explain.plan {
            return Ok(crate::render::explain(self.input.snapshot, &inner?));
        }
        let mut inner = inner?;
        if let Action::Tree(tree) = &inner.action {
            inner = self.explained_tree(tree)?;
        }
        if let Action::Write(write) = &inner.action {
            if runs {
                return Err(PlanError::unsupported("ANALYZE of a write to several shards"));
            }
            inner = self.explained_write(write)?;
        }
        if let Action::Route(Route { to: Target::Keyspace { shards, .. }, combine, text, .. }) =
            &mut inner.action
        {
            *combine = Combine::Concat;
            match shards {
                Destination::Scatter
                | Destination::Range(..)
                | Destination::In { .. }
                | Destination::Lookup(_)
                | Destination::Rows(_)
                    if writes =>
                {
                    return Err(PlanError::unsupported("ANALYZE of a write to several shards"));
                }
                // Its rows would have to be divided; one server's plan says as much.
                Destination::Scatter
                | Destination::Range(..)
                | Destination::In { .. }
                | Destination::Lookup(_) => {
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
        Ok(Plan {
            class: StatementClass::Explain,
            effects: inner.effects & kept,
            cacheable: false,
            ..inner
        })
    }

    /// The session runs the query to tell what it does.
    fn explained_by_run(
        &mut self,
        kind: VexplainKind,
        inner: &'a Statement<'a>,
        start: u32,
    ) -> Result<Plan, PlanError> {
        if !matches!(inner, Statement::Query(query) if !query.into) {
            return Err(PlanError::Rule(
                "VT09008: vexplain queries/all/trace will actually run the statement, which is \
                    done for queries only; VEXPLAIN PLAN shows \
                 the plan of any"
                    .into(),
            ));
        }
        let end = self.input.fingerprint.end;
        let sql = self
            .input
            .sql
            .get(start as usize..end)
            .unwrap_or_default()
            .to_vec();
        let plan = self.statement(inner)?;
        if !matches!(plan.action, Action::Route(_) | Action::Tree(_)) {
            return Err(PlanError::unsupported("VEXPLAIN of a query that no server answers"));
        }
        let text = serde_json::to_string(&crate::render::plan(self.input.snapshot, &plan))
            .unwrap_or_default();
        let action = SessionAction::Vexplain { kind, sql, plan: text };
        Ok(super::session_plan(action, StatementClass::Explain))
    }

    /// What several shards answer together is explained by one of them, as the statement that it
    /// is.
    fn explained_tree(&mut self, tree: &Tree) -> Result<Plan, PlanError> {
        let keyspaces = tree.leaves.iter().map(|leaf| match &leaf.route.to {
            Target::Keyspace { keyspace, .. } => Some(*keyspace),
            Target::DropIn => None,
        });
        let mut keyspaces: Vec<_> = keyspaces.collect();
        keyspaces.dedup();
        match keyspaces.as_slice() {
            [Some(keyspace)] => Ok(self.route(
                *keyspace,
                Destination::Any,
                Combine::Concat,
                StatementClass::Explain,
            )),
            _ => Err(PlanError::unsupported(
                "EXPLAIN of a statement that reads several keyspaces; VEXPLAIN PLAN shows how it \
                    is answered",
            )),
        }
    }

    /// A change of several steps is explained by one shard, as the statement that it is.
    fn explained_write(&mut self, write: &Write) -> Result<Plan, PlanError> {
        let mut keyspaces: Vec<_> = match write {
            Write::ByKey(by_key) => by_key.changes.iter().map(|c| c.keyspace).collect(),
            Write::EachRow(each) => vec![each.keyspace],
            Write::InsertSelect(_) | Write::Evaluated(_) => self.named.into_iter().collect(),
        };
        keyspaces.dedup();
        match keyspaces.as_slice() {
            [keyspace] if !self.several => Ok(self.route(
                *keyspace,
                Destination::Any,
                Combine::Concat,
                StatementClass::Explain,
            )),
            _ => Err(PlanError::unsupported(
                "EXPLAIN of a change over several keyspaces; VEXPLAIN PLAN shows how it is made",
            )),
        }
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
