//! The columns that the client gets, with `*` spelled out.
use super::super::block::{Columns, Source};
use super::super::conditions::Has;
use crate::snapshot::Column;
use crate::sql::ast::{ColumnName, Expr, ExprKind, Select, TableExpr};

/// A column of the answer.
pub(super) struct Visible<'a> {
    /// `None` for columns of `*`.
    pub(super) expr: Option<&'a Expr<'a>>,
    /// The name by which ORDER BY knows it; expressions have none.
    pub(super) name: Option<&'a str>,
    pub(super) named: bool,
    pub(super) column: Option<Found<'a>>,
}

/// A table's column: the table's place in FROM, and the column.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) source: usize,
    pub(super) column: &'a Column,
}

impl PartialEq for Found<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && std::ptr::eq(self.column, other.column)
    }
}

/// All of them; `None` where `*` stands for columns that are not known.
pub(super) fn visible<'a>(
    select: &'a Select<'a>,
    sources: &[Source<'a>],
) -> Option<Vec<Visible<'a>>> {
    let mut all = Vec::new();
    for item in select.items {
        let table = match &item.expr.kind {
            ExprKind::Star(table) => Some(*table),
            ExprKind::Column(c) if c.name == "*" => Some(c.table),
            _ => None,
        };
        if let Some(table) = table {
            stars(table, select, sources, &mut all)?;
            continue;
        }
        let (name, column) = match &item.expr.kind {
            ExprKind::Column(c) => (Some(c.name), find(c, sources)),
            _ => (None, None),
        };
        all.push(Visible {
            expr: Some(&item.expr),
            name: item.alias.or(name),
            named: item.alias.is_some(),
            column,
        });
    }
    Some(all)
}

fn stars<'a>(
    table: Option<&str>,
    select: &Select<'a>,
    sources: &[Source<'a>],
    all: &mut Vec<Visible<'a>>,
) -> Option<()> {
    if select.from.iter().any(merges_columns) {
        return None;
    }
    let before = all.len();
    for (n, source) in sources.iter().enumerate() {
        if table.is_some() && source.name != table {
            continue;
        }
        let twice = sources.iter().filter(|s| s.name == source.name).count() > 1;
        let Columns::Table(known) = &source.columns else { return None };
        if twice || !known.columns_complete || known.columns.is_empty() {
            return None;
        }
        let columns = known.columns.iter().filter(|c| !c.invisible);
        all.extend(columns.map(|column| Visible {
            expr: None,
            name: Some(column.name.as_str()),
            named: false,
            column: Some(Found { source: n, column }),
        }));
    }
    (all.len() > before).then_some(())
}

/// Has `*` fewer columns than the tables have?
fn merges_columns(table: &TableExpr<'_>) -> bool {
    match table {
        TableExpr::Join(j) => {
            j.natural || !j.using.is_empty() || merges_columns(&j.left) || merges_columns(&j.right)
        }
        TableExpr::List(list) => list.iter().any(merges_columns),
        _ => false,
    }
}

/// The table's column that a name means, if that is certain.
pub(super) fn find<'a>(name: &ColumnName<'_>, sources: &[Source<'a>]) -> Option<Found<'a>> {
    let column_of = |n: usize, source: &Source<'a>| match &source.columns {
        Columns::Table(table) => {
            let column = crate::column::find(table, name.name)?;
            Some(Found { source: n, column })
        }
        _ => None,
    };
    let mut having = sources
        .iter()
        .enumerate()
        .filter(|(_, s)| match name.table {
            Some(table) => s.name == Some(table),
            None => s.has(name.name) != Has::No,
        });
    match (having.next(), having.next()) {
        (Some((n, source)), None) => column_of(n, source),
        _ => None,
    }
}

/// Has no table of the FROM such a column, for certain?
pub(super) fn is_nowhere(name: &str, sources: &[Source<'_>]) -> bool {
    sources.iter().all(|s| s.has(name) == Has::No)
}
