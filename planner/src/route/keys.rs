//! VEXPLAIN KEYS: which columns a query filters, joins and groups by, so that keys and vindexes can
//! be chosen for them.
use super::Planner;
use super::conditions::conjuncts;
use crate::error::PlanError;
use crate::plan::{Action, Effects, LocalRows, Plan, StatementClass};
use crate::sql::ast::*;
use crate::sql::walk::{Visitor, Walk};
use serde_json::json;
use smallvec::SmallVec;

/// The query's tables by the names that its columns use.
struct Sources<'a> {
    names: Vec<(&'a str, String)>,
}

impl Sources<'_> {
    /// `table.column`, where the table is certain.
    fn full(&self, planner: &Planner<'_, '_>, column: &ColumnName<'_>) -> Option<String> {
        let table = match column.table {
            Some(table) => self
                .names
                .iter()
                .find(|(name, _)| *name == table)
                .map(|(_, full)| full),
            None => match self.names.as_slice() {
                [(_, only)] => Some(only),
                several => {
                    let mut has = several
                        .iter()
                        .filter(|(_, full)| planner.has_column(full, column.name));
                    has.next()
                        .filter(|_| has.next().is_none())
                        .map(|(_, full)| full)
                }
            },
        }?;
        Some(format!("{table}.{}", column.name))
    }
}

#[derive(Default)]
struct Columns<'a>(Vec<&'a ColumnName<'a>>);

impl<'a> Visitor<'a> for Columns<'a> {
    fn table(&mut self, _: &'a TableName<'a>) {}
    fn column(&mut self, column: &'a ColumnName<'a>) {
        self.0.push(column);
    }
}

impl Planner<'_, '_> {
    fn has_column(&self, table: &str, column: &str) -> bool {
        let all = &self.input.snapshot.keyspaces;
        let mut known = all.iter().filter_map(|k| k.tables.get(table));
        known.any(|t| crate::column::find(t, column).is_some())
    }
}

fn tables<'a>(
    from: &[TableExpr<'a>],
    names: &mut Vec<(&'a str, String)>,
    on: &mut Vec<&'a Expr<'a>>,
) {
    for table in from {
        match table {
            TableExpr::Table(t) => names.push((t.exposed(), t.name.to_owned())),
            TableExpr::List(list) => tables(list, names, on),
            TableExpr::Join(join) => {
                tables(&[join.left, join.right], names, on);
                on.extend(join.on.as_ref());
            }
            TableExpr::Derived(_) | TableExpr::Function { .. } => {}
        }
    }
}

/// One row with the columns, as JSON.
pub(super) fn explain<'a>(
    planner: &Planner<'_, 'a>,
    statement: &'a Statement<'a>,
) -> Result<Plan, PlanError> {
    let (kind, from, filter, select) = match statement {
        Statement::Query(Query { first: Body::Select(select), .. }) => {
            ("SELECT", select.from, select.filter.as_ref(), Some(*select))
        }
        Statement::Update(update) => ("UPDATE", update.tables, update.filter.as_ref(), None),
        Statement::Delete(delete) => ("DELETE", delete.tables, delete.filter.as_ref(), None),
        _ => return Err(PlanError::unsupported("VEXPLAIN KEYS of such a statement")),
    };
    let mut sources = Sources { names: Vec::new() };
    let mut on = Vec::new();
    tables(from, &mut sources.names, &mut on);
    let mut all: SmallVec<[&'a Expr<'a>; 8]> = SmallVec::new();
    filter
        .into_iter()
        .chain(on)
        .for_each(|expr| conjuncts(expr, &mut all));
    let (mut filters, mut joins) = (Vec::new(), Vec::new());
    for condition in all {
        comparison(planner, &sources, condition, &mut filters, &mut joins);
    }
    let names = |exprs: &mut dyn Iterator<Item = &'a Expr<'a>>| {
        let mut columns = Columns::default();
        exprs.for_each(|expr| Walk::new(&mut columns).expr(expr));
        listed(
            columns
                .0
                .iter()
                .filter_map(|c| sources.full(planner, c))
                .collect(),
        )
    };
    let mut out = json!({ "statementType": kind });
    out["tableName"] = json!(
        sources
            .names
            .iter()
            .map(|(_, full)| full)
            .collect::<Vec<_>>()
    );
    let mut put = |name: &str, list: Vec<String>| {
        if !list.is_empty() {
            out[name] = json!(list);
        }
    };
    put("groupingColumns", names(&mut select.iter().flat_map(|s| s.group).map(|g| &g.expr)));
    put("joinColumns", listed(joins));
    put("filterColumns", listed(filters));
    put("selectColumns", names(&mut select.iter().flat_map(|s| s.items).map(|i| &i.expr)));
    let text = serde_json::to_string_pretty(&out).unwrap_or_default();
    Ok(Plan {
        action: Action::Rows(LocalRows {
            columns: vec!["ColumnUsage".into()],
            rows: vec![vec![Some(text)]],
        }),
        class: StatementClass::Explain,
        effects: Effects::empty(),
        cacheable: false,
        tables: Vec::new(),
        names: Vec::new(),
        directives: Default::default(),
    })
}

/// Each once, sorted.
fn listed(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list.dedup();
    list
}

fn comparison<'a>(
    planner: &Planner<'_, 'a>,
    sources: &Sources<'_>,
    condition: &'a Expr<'a>,
    filters: &mut Vec<String>,
    joins: &mut Vec<String>,
) {
    let column = |expr: &Expr<'_>| match expr.kind {
        ExprKind::Column(c) => sources.full(planner, c),
        _ => None,
    };
    match &condition.kind {
        ExprKind::Compare { op, sides } => {
            let [left, right] = sides;
            let op = match op {
                CompareOp::Eq => "=",
                CompareOp::NullSafeEq => "<=>",
                CompareOp::Other => {
                    let between = left.span.end as usize..right.span.start as usize;
                    let text = planner.input.sql.get(between).unwrap_or_default();
                    std::str::from_utf8(text).unwrap_or_default().trim()
                }
            };
            match (column(left), column(right)) {
                (Some(a), Some(b)) => joins.extend([a, b].map(|c| format!("{c} {op}"))),
                (Some(c), None) | (None, Some(c)) => filters.push(format!("{c} {op}")),
                (None, None) => {}
            }
        }
        ExprKind::InList { left, not: false, .. }
        | ExprKind::InCollapsed { left, not: false, .. } => {
            filters.extend(column(left).map(|c| format!("{c} in")));
        }
        _ => {}
    }
}
