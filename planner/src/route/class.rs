//! What a statement is, and whether its plan is allowed.
use super::SessionContext;
use crate::error::PlanError;
use crate::plan::{Action, Destination, Effects, Plan, Route, StatementClass, Target};
use crate::snapshot::Snapshot;
use crate::sql::ast::Statement;

/// Can the session's next statement run on another server than this one?
pub(super) fn spreads(plan: &Plan, snapshot: &Snapshot) -> bool {
    let Action::Route(Route { to: Target::Keyspace { keyspace, shards }, .. }) = &plan.action
    else {
        return false;
    };
    let several = snapshot
        .keyspaces
        .get(usize::from(*keyspace))
        .is_some_and(|k| k.shards.len() > 1);
    several && !matches!(shards, Destination::Shard(_))
}

/// Does the cluster's owner allow this plan?
pub(super) fn allowed(plan: Plan, session: &SessionContext<'_>) -> Result<Plan, PlanError> {
    use StatementClass::{Delete, Select, SelectLocking, Update};
    let everywhere =
        |route: &Route| matches!(&route.to, Target::Keyspace { shards: Destination::Scatter, .. });
    let scatters = match &plan.action {
        Action::Route(route) => everywhere(route),
        Action::Tree(tree) => tree.leaves.iter().any(|leaf| everywhere(&leaf.route)),
        // Its query is asked about for itself.
        _ => false,
    };
    let counts = matches!(plan.class, Select | SelectLocking | Update | Delete);
    if session.no_scatter && scatters && counts && !plan.directives.allow_scatter {
        return Err(PlanError::NoScatter);
    }
    Ok(plan)
}

/// What its kind and its clauses tell of its effects.
pub(super) fn own_effects(statement: &Statement<'_>) -> Effects {
    match statement {
        // The server counts the rows before the LIMIT.
        Statement::Query(query) if query.limit.is_some() && !query.rest.is_empty() => {
            Effects::CALC_FOUND_ROWS
        }
        Statement::Insert(insert) if !insert.returning.is_empty() => Effects::RETURNS,
        Statement::Delete(delete) if !delete.returning.is_empty() => Effects::RETURNS,
        Statement::Unknown => Effects::PIN,
        _ => Effects::empty(),
    }
}

pub(super) fn class_of(statement: &Statement<'_>) -> StatementClass {
    match statement {
        Statement::Query(q) if q.locking || q.into => StatementClass::SelectLocking,
        Statement::Query(_) => StatementClass::Select,
        Statement::Insert(i) if i.replace => StatementClass::Replace,
        Statement::Insert(_) => StatementClass::Insert,
        Statement::Update(_) => StatementClass::Update,
        Statement::Delete(_) => StatementClass::Delete,
        Statement::Explain(_) => StatementClass::Explain,
        Statement::Show(_) => StatementClass::Show,
        Statement::Ddl(_) | Statement::AlterVschema => StatementClass::Ddl,
        Statement::LockTables(_) | Statement::UnlockTables => StatementClass::Lock,
        Statement::Call(_) => StatementClass::Call,
        Statement::LoadData(_) => StatementClass::LoadData,
        Statement::Admin(_) | Statement::Flush(_) => StatementClass::Admin,
        _ => StatementClass::Other,
    }
}
