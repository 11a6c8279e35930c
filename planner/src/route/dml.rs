//! UPDATE and DELETE that shards do as they are.
use super::block::{Blocks, Scopes};
use super::names::Place;
use super::{Planner, lookups};
use crate::column::Family;
use crate::error::PlanError;
use crate::plan::{Action, Combine, Destination, Plan, Route, StatementClass, Target};
use crate::snapshot::{KeyspaceIdx, Table, TableKind};
use crate::sql::ast::{Assign, Delete, Expr, ExprKind, Statement, TableExpr, TableName, Update};

impl<'a> Planner<'_, 'a> {
    /// An UPDATE that every shard can do for itself, or else one by key.
    pub(super) fn update(
        &mut self,
        keyspace: KeyspaceIdx,
        update: &'a Update<'a>,
    ) -> Result<Plan, PlanError> {
        let before = (self.edits.clone(), self.tables.clone());
        let why = match self.update_in_place(keyspace, update) {
            Ok(plan) if !self.may_split(&plan) => return Ok(alone(plan)),
            Ok(_) => "rows of several shards".to_owned(),
            Err(PlanError::Unsupported(why)) => why,
            Err(error) => return Err(error),
        };
        (self.edits, self.tables) = before;
        self.update_by_key(update, &why)
    }

    pub(super) fn delete(
        &mut self,
        keyspace: KeyspaceIdx,
        delete: &'a Delete<'a>,
    ) -> Result<Plan, PlanError> {
        let before = (self.edits.clone(), self.tables.clone());
        let why = match self.delete_in_place(keyspace, delete) {
            Ok(plan) if !self.may_split(&plan) => return Ok(alone(plan)),
            Ok(_) => "rows of several shards".to_owned(),
            Err(PlanError::Unsupported(why)) => why,
            Err(error) => return Err(error),
        };
        (self.edits, self.tables) = before;
        self.delete_by_key(delete, &why)
    }

    /// Is a plan for one shard asked for again, as its values lie on several?
    fn may_split(&self, plan: &Plan) -> bool {
        self.input.split && needs_one(plan)
    }

    fn update_in_place(
        &mut self,
        keyspace: KeyspaceIdx,
        update: &'a Update<'a>,
    ) -> Result<Plan, PlanError> {
        let mut names = Vec::new();
        base_tables(update.tables, &mut names);
        let mut maintain = None;
        for name in &names {
            let Place::Table { table: Some(table), .. } = self.locate(name)? else { continue };
            self.sharded_table(keyspace, name.name, Some(table))?;
            self.check_assigned(name, table, update.set, true)?;
            maintain = maintain.or(self.updated_entries(table, name, update)?);
        }
        let mut blocks = Blocks::new(self, keyspace);
        blocks.with_ctes(update.ctes, false);
        let mut sources = Vec::new();
        let mut instances = Vec::new();
        blocks.from(
            update.tables,
            update.filter.as_ref(),
            &Vec::new(),
            &mut sources,
            &mut instances,
        )?;
        let scopes: Scopes<'_, 'a> = vec![&sources];
        let exprs = update
            .set
            .iter()
            .map(|a| &a.value)
            .chain(&update.filter)
            .chain(update.order.iter().map(|o| &o.expr));
        blocks.expressions(exprs, &scopes, &instances)?;
        if update.limit || !update.order.is_empty() {
            blocks.breaks("UPDATE with LIMIT or ORDER BY over several shards");
        }
        let changed = |name: &TableName<'_>, table: &Table| {
            update.set.iter().any(|assign| match assign.column.table {
                Some(qualifier) => qualifier == name.exposed() || qualifier == name.name,
                None => may_have(table, assign.column.name),
            })
        };
        let change = blocks_destination(&mut blocks, &names, self, &changed)?;
        let plan = self.changed(keyspace, change, StatementClass::Update)?;
        Ok(lookups::with(plan, maintain))
    }

    fn delete_in_place(
        &mut self,
        keyspace: KeyspaceIdx,
        delete: &'a Delete<'a>,
    ) -> Result<Plan, PlanError> {
        let mut names = Vec::new();
        base_tables(delete.tables, &mut names);
        let mut maintain = None;
        for name in &names {
            let Place::Table { table: Some(table), .. } = self.locate(name)? else { continue };
            self.sharded_table(keyspace, name.name, Some(table))?;
            let target = delete.targets.is_empty()
                || delete
                    .targets
                    .iter()
                    .any(|t| t.name == name.exposed() || t.name == name.name);
            if target {
                maintain = maintain.or(self.deleted_entries(table, name, delete)?);
            }
        }
        let mut blocks = Blocks::new(self, keyspace);
        blocks.with_ctes(delete.ctes, false);
        let mut sources = Vec::new();
        let mut instances = Vec::new();
        blocks.from(
            delete.tables,
            delete.filter.as_ref(),
            &Vec::new(),
            &mut sources,
            &mut instances,
        )?;
        let scopes: Scopes<'_, 'a> = vec![&sources];
        let returning = delete.returning.iter().map(|i| &i.expr);
        let order = delete.order.iter().map(|o| &o.expr);
        blocks.expressions(
            delete.filter.iter().chain(order).chain(returning),
            &scopes,
            &instances,
        )?;
        if delete.limit || !delete.order.is_empty() {
            blocks.breaks("DELETE with LIMIT or ORDER BY over several shards");
        }
        let changed = |name: &TableName<'_>, _: &Table| {
            delete.targets.is_empty()
                || delete
                    .targets
                    .iter()
                    .any(|t| t.name == name.exposed() || t.name == name.name)
        };
        let change = blocks_destination(&mut blocks, &names, self, &changed)?;
        let plan = self.changed(keyspace, change, StatementClass::Delete)?;
        Ok(lookups::with(plan, maintain))
    }

    fn changed(
        &mut self,
        keyspace: KeyspaceIdx,
        change: Change,
        class: StatementClass,
    ) -> Result<Plan, PlanError> {
        Ok(match change {
            Change::Shards(placed) => self.placed(keyspace, placed, Combine::Sum, class),
            Change::Copies if self.chosen(keyspace).is_some() => {
                return Err(PlanError::unsupported(
                    "a change of a reference table where a range of shards is selected; select the \
                        keyspace with USE",
                ));
            }
            Change::Copies => self.route(keyspace, Destination::Scatter, Combine::First, class),
        })
    }

    /// A row stays where it is: the columns that place it cannot change.
    pub(super) fn check_assigned(
        &self,
        name: &TableName<'_>,
        table: &Table,
        set: &[Assign<'_>],
        may_change_lookups: bool,
    ) -> Result<(), PlanError> {
        for assign in set {
            if assign
                .column
                .table
                .is_some_and(|t| t != name.exposed() && t != name.name)
            {
                continue;
            }
            let column = assign.column.name;
            if !may_change_lookups && keeps_value(assign, name, table) {
                continue;
            }
            let by = table
                .column_vindexes
                .iter()
                .enumerate()
                .filter(|(_, v)| v.columns.iter().any(|c| c.eq_ignore_ascii_case(column)));
            for (n, vindex) in by {
                if n == 0 {
                    return Err(PlanError::unsupported(format!(
                        "you cannot UPDATE primary vindex columns; column '{column}' of '{}' \
                            decides where its row lies",
                        table.name
                    )));
                }
                if !(may_change_lookups && lookups::is_kept(table, vindex)) {
                    return Err(PlanError::unsupported(format!(
                        "UPDATE of vindex column '{column}' of '{}'",
                        table.name
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Is it right only where one shard has all rows?
fn needs_one(plan: &Plan) -> bool {
    let Action::Route(Route { to: Target::Keyspace { shards, .. }, .. }) = &plan.action else {
        return false;
    };
    match shards {
        Destination::Equal { alone, .. } => alone.is_some(),
        Destination::Lookup(to) => to.alone.is_some(),
        _ => matches!(shards, Destination::Together(_)),
    }
}

/// Such a plan says so, when its values turn out to lie on several shards.
fn alone(mut plan: Plan) -> Plan {
    let needs_one = needs_one(&plan);
    if let Action::Route(route) = &mut plan.action {
        route.alone = needs_one;
    }
    plan
}

enum Change {
    Shards(super::places::Placed),
    /// Reference tables: every copy changes in the same way.
    Copies,
}

fn blocks_destination<'a>(
    blocks: &mut Blocks<'_, '_, 'a>,
    names: &[&'a TableName<'a>],
    planner: &Planner<'_, 'a>,
    changed: &dyn Fn(&TableName<'_>, &Table) -> bool,
) -> Result<Change, PlanError> {
    if !blocks.uses.is_empty() {
        // Each shard reads its copy; to change one, all of them would have to see all rows.
        let copy = names.iter().any(|n| {
            matches!(planner.locate(n), Ok(Place::Table { table: Some(t), .. })
                if t.kind == TableKind::Reference && changed(n, t))
        });
        if copy {
            return Err(PlanError::unsupported(
                "changing a reference table in an UPDATE or DELETE that reads sharded tables",
            ));
        }
        return blocks.destination().map(Change::Shards);
    }
    check_copies(names, planner)?;
    Ok(Change::Copies)
}

/// Does ON DUPLICATE KEY UPDATE give the column the value that it has? `c = c`; and `c = VALUES(c)`
/// where rows that meet have the same.
pub(super) fn keeps_value(assign: &Assign<'_>, name: &TableName<'_>, table: &Table) -> bool {
    let column = assign.column.name;
    let own = |expr: &Expr<'_>| match &expr.kind {
        ExprKind::Column(c) => {
            c.name.eq_ignore_ascii_case(column)
                && c.table
                    .is_none_or(|t| t == name.exposed() || t == name.name)
        }
        _ => false,
    };
    match &assign.value.kind {
        ExprKind::Column(_) => own(&assign.value),
        ExprKind::Call(call) if call.name.eq_ignore_ascii_case("values") => {
            let integer = matches!(Family::of_column(table, column), Family::Integer { .. });
            let mut keys = table.unique_keys.iter().map(|key| &key.columns);
            let in_key = |key: &Vec<String>| key.iter().any(|c| c.eq_ignore_ascii_case(column));
            let in_all =
                (table.primary_key.is_empty() || in_key(&table.primary_key)) && keys.all(in_key);
            matches!(call.args, [only] if own(only)) && integer && in_all && table.columns_complete
        }
        _ => false,
    }
}

pub(super) fn may_have(table: &Table, column: &str) -> bool {
    !table.columns_complete || crate::column::find(table, column).is_some()
}

fn check_copies<'a>(
    names: &[&'a TableName<'a>],
    planner: &Planner<'_, 'a>,
) -> Result<(), PlanError> {
    for name in names {
        if let Ok(Place::Table { table: Some(table), .. }) = planner.locate(name)
            && let Some(source) = &table.source
        {
            return Err(PlanError::unsupported(format!(
                "writing to reference table '{}', a copy of '{source}'; write to the source",
                table.name
            )));
        }
    }
    Ok(())
}

/// The tables that a statement may change the rows of. In joins, those that are only read are among
/// them.
pub(super) fn changed_tables<'a>(statement: &Statement<'a>) -> Vec<&'a TableName<'a>> {
    let mut names = Vec::new();
    match statement {
        Statement::Insert(insert) => names.push(insert.table),
        Statement::LoadData(Some(name)) => names.push(name),
        Statement::Update(update) => base_tables(update.tables, &mut names),
        Statement::Delete(delete) => base_tables(delete.tables, &mut names),
        _ => {}
    }
    names
}

/// The tables of a FROM, without those in derived ones.
pub(super) fn base_tables<'a>(tables: &[TableExpr<'a>], out: &mut Vec<&'a TableName<'a>>) {
    for table in tables {
        match table {
            TableExpr::Table(t) => out.push(t),
            TableExpr::List(list) => base_tables(list, out),
            TableExpr::Join(j) => base_tables(&[j.left, j.right], out),
            TableExpr::Derived(_) | TableExpr::Function { .. } => {}
        }
    }
}

impl<'a> Blocks<'_, '_, 'a> {
    /// The subqueries of a changing statement's expressions.
    fn expressions(
        &mut self,
        exprs: impl Iterator<Item = &'a Expr<'a>>,
        scopes: &Scopes<'_, 'a>,
        instances: &[usize],
    ) -> Result<(), PlanError> {
        let mut frozen = false;
        let mut all = instances.to_vec();
        for expr in exprs {
            if !super::subquery::has_subquery(expr) {
                continue;
            }
            if !std::mem::replace(&mut frozen, true) {
                self.freeze(scopes.first().copied().unwrap_or_default(), instances);
            }
            self.subqueries(expr, scopes, instances, &mut all)?;
        }
        Ok(())
    }
}
