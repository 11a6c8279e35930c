//! What conditions say: equalities between columns, and with values.
use super::block::{Blocks, Columns, Scopes, Source};
use super::classes::{Const, Node};
use crate::column::Family;
use crate::plan::{InRows, Operand};
use crate::sql::ast::*;
use crate::sql::keyword::Kw;
use smallvec::SmallVec;

/// Does a table have a column?
#[derive(PartialEq, Eq)]
pub(super) enum Has {
    Yes,
    No,
    Maybe,
}

impl Source<'_> {
    pub(super) fn has(&self, column: &str) -> Has {
        match &self.columns {
            Columns::Table(table) => {
                let known = table
                    .columns
                    .iter()
                    .any(|c| c.name.eq_ignore_ascii_case(column))
                    || table
                        .column_vindexes
                        .iter()
                        .any(|v| v.columns.iter().any(|c| c == column));
                match (known, table.columns_complete) {
                    (true, _) => Has::Yes,
                    (false, true) => Has::No,
                    (false, false) => Has::Maybe,
                }
            }
            Columns::Derived(columns) if columns.iter().any(|(n, _)| n == column) => Has::Yes,
            Columns::Derived(_) | Columns::Unknown => Has::Maybe,
        }
    }
}

/// The conditions that AND joins.
pub(super) fn conjuncts<'a>(expr: &'a Expr<'a>, out: &mut SmallVec<[&'a Expr<'a>; 8]>) {
    match &expr.kind {
        ExprKind::And(list) => list.iter().for_each(|e| conjuncts(e, out)),
        _ => out.push(expr),
    }
}

impl<'a> Blocks<'_, '_, 'a> {
    pub(super) fn node_in(&mut self, source: &Source<'a>, column: &str) -> Option<Node> {
        match &source.columns {
            Columns::Table(table) => {
                let family = Family::of_column(table, column);
                Some(self.classes.node(source.instance, column, family))
            }
            Columns::Derived(columns) => {
                let mut named = columns.iter().filter(|(n, _)| n == column);
                match (named.next(), named.next()) {
                    (Some((_, node)), None) => *node,
                    _ => None,
                }
            }
            Columns::Unknown => None,
        }
    }

    /// The column that a name means, if that is certain.
    pub(super) fn column(
        &mut self,
        column: &ColumnName<'_>,
        scopes: &Scopes<'_, 'a>,
    ) -> Option<Node> {
        let name = column.name.to_ascii_lowercase();
        for scope in scopes {
            if let Some(table) = column.table {
                let mut named = scope.iter().filter(|s| s.name == Some(table));
                match (named.next(), named.next()) {
                    (Some(source), None) => {
                        let source = source.clone();
                        return self.node_in(&source, &name);
                    }
                    (None, _) => continue,
                    _ => return None,
                }
            }
            let mut sure = scope.iter().filter(|s| s.has(&name) == Has::Yes);
            let first = sure.next().cloned();
            match (first, sure.next()) {
                (Some(source), None) => return self.node_in(&source, &name),
                (Some(_), Some(_)) => return None,
                (None, _) => {}
            }
            let mut maybe = scope.iter().filter(|s| s.has(&name) == Has::Maybe);
            let first = maybe.next().cloned();
            match (first, maybe.next()) {
                (Some(source), None) => return self.node_in(&source, &name),
                (Some(_), Some(_)) => return None,
                (None, _) => {}
            }
        }
        None
    }

    /// What a condition that holds for every row says.
    pub(super) fn condition(&mut self, condition: &'a Expr<'a>, scopes: &Scopes<'_, 'a>) {
        match &condition.kind {
            ExprKind::Compare { op: CompareOp::Other, .. } => {}
            ExprKind::Compare { op, sides } => {
                let [left, right] = sides;
                match (&left.kind, &right.kind) {
                    (ExprKind::Row(a), ExprKind::Row(b))
                        if a.len() == b.len() && *op == CompareOp::Eq =>
                    {
                        for (a, b) in a.iter().zip(*b) {
                            self.equal(a, b, CompareOp::Eq, scopes);
                        }
                    }
                    _ => self.equal(left, right, *op, scopes),
                }
            }
            ExprKind::InList { .. } | ExprKind::InCollapsed { .. } | ExprKind::Or(_) => {
                if let Some((node, rows)) = self.alternatives(condition, scopes) {
                    self.classes.restrict(node, Const::Many(rows));
                } else if let ExprKind::InList { left, not: false, list } = &condition.kind {
                    self.tuples(left, list, scopes);
                }
            }
            ExprKind::Other([left, pattern]) => self.like(condition, left, pattern, scopes),
            _ => {}
        }
    }

    /// `column LIKE pattern`, without ESCAPE.
    fn like(
        &mut self,
        condition: &'a Expr<'a>,
        left: &'a Expr<'a>,
        pattern: &'a Expr<'a>,
        scopes: &Scopes<'_, 'a>,
    ) {
        let ExprKind::Column(column) = &left.kind else { return };
        let items = self.planner.tokens.items.iter();
        let mut between = items
            .filter(|item| item.span.start >= left.span.end && item.span.end <= pattern.span.start);
        let is_like = between.next().is_some_and(|item| item.kw == Kw::Like);
        let alone = between.next().is_none() && condition.span.end == pattern.span.end;
        if !is_like || !alone {
            return;
        }
        if let Some(operand) = self.operand(pattern)
            && let Some(node) = self.column(column, scopes)
        {
            self.classes.restrict(node, Const::Like(operand));
        }
    }

    /// `(a, b) IN ((1, 2), (3, 4))`: each column has a list of its own.
    pub(super) fn tuples(
        &mut self,
        left: &'a Expr<'a>,
        list: &'a [Expr<'a>],
        scopes: &Scopes<'_, 'a>,
    ) {
        let ExprKind::Row(columns) = &left.kind else { return };
        let nodes = columns.iter().map(|column| match &column.kind {
            ExprKind::Column(name) => self.column(name, scopes),
            _ => None,
        });
        let nodes: Vec<_> = nodes.collect();
        let rows: Option<Vec<Vec<_>>> = list
            .iter()
            .map(|row| match &row.kind {
                ExprKind::Row(values) if values.len() == columns.len() => {
                    Some(values.iter().map(|v| self.operand(v)).collect())
                }
                _ => None,
            })
            .collect();
        if let Some(rows) = rows {
            self.classes.restrict_together(nodes, rows);
        }
        for (n, column) in columns.iter().enumerate() {
            let ExprKind::Column(name) = &column.kind else { continue };
            let operands: Option<Vec<SmallVec<[Operand; 1]>>> = list
                .iter()
                .map(|row| match &row.kind {
                    ExprKind::Row(values) if values.len() == columns.len() => values
                        .get(n)
                        .and_then(|v| self.operand(v))
                        .map(|o| SmallVec::from_elem(o, 1)),
                    _ => None,
                })
                .collect();
            if let Some(operands) = operands
                && let Some(node) = self.column(name, scopes)
            {
                self.classes
                    .restrict(node, Const::Many(InRows::Operands(operands)));
            }
        }
    }

    pub(super) fn equal(
        &mut self,
        left: &'a Expr<'a>,
        right: &'a Expr<'a>,
        op: CompareOp,
        scopes: &Scopes<'_, 'a>,
    ) {
        let (column, other) = match (&left.kind, &right.kind) {
            (ExprKind::Column(a), ExprKind::Column(b)) if op == CompareOp::Eq => {
                if let (Some(a), Some(b)) = (self.column(a, scopes), self.column(b, scopes)) {
                    self.classes.unite(a, b);
                }
                return;
            }
            (ExprKind::Column(c), _) => (c, right),
            (_, ExprKind::Column(c)) => (c, left),
            _ => return,
        };
        let Some(operand) = self.operand(other) else { return };
        // `a <=> NULL` matches rows that `a = NULL` does not, and a parameter may be NULL.
        if op == CompareOp::NullSafeEq && matches!(operand, Operand::Null | Operand::Param(_)) {
            return;
        }
        if let Some(node) = self.column(column, scopes) {
            self.classes.restrict(node, Const::One(operand));
        }
    }

    /// A value that is known when the statement runs.
    pub(super) fn operand(&self, expr: &Expr<'_>) -> Option<Operand> {
        if self.views > 0 {
            return None;
        }
        self.planner.operand(expr)
    }

    /// `a IN (...)`, `a = 1 OR a = 2`, `(a = 1 AND ...) OR a IN (...)`: the one column, and all its
    /// values.
    pub(super) fn alternatives(
        &mut self,
        expr: &'a Expr<'a>,
        scopes: &Scopes<'_, 'a>,
    ) -> Option<(Node, InRows)> {
        match &expr.kind {
            ExprKind::InCollapsed { left, not: false, list } => {
                let ExprKind::Column(c) = &left.kind else { return None };
                if *list == u16::MAX {
                    return None;
                }
                Some((self.column(c, scopes)?, InRows::List(*list)))
            }
            ExprKind::InList { left, not: false, list } => {
                let ExprKind::Column(c) = &left.kind else { return None };
                let operands: Option<Vec<_>> = list
                    .iter()
                    .map(|e| self.operand(e).map(|o| SmallVec::from_elem(o, 1)))
                    .collect();
                Some((self.column(c, scopes)?, InRows::Operands(operands?)))
            }
            ExprKind::Compare { op: CompareOp::Eq, sides } => {
                let [left, right] = sides;
                let (column, other) = match (&left.kind, &right.kind) {
                    (ExprKind::Column(c), _) => (c, right),
                    (_, ExprKind::Column(c)) => (c, left),
                    _ => return None,
                };
                let operand = self.operand(other)?;
                Some((
                    self.column(column, scopes)?,
                    InRows::Operands(vec![SmallVec::from_elem(operand, 1)]),
                ))
            }
            ExprKind::And(list) => list.iter().find_map(|e| self.alternatives(e, scopes)),
            ExprKind::Or(list) => {
                let mut all: Option<(Node, Vec<SmallVec<[Operand; 1]>>)> = None;
                for one in *list {
                    let (node, InRows::Operands(rows)) = self.alternatives(one, scopes)? else {
                        return None;
                    };
                    match &mut all {
                        None => all = Some((node, rows)),
                        Some((first, so_far)) if *first == node => so_far.extend(rows),
                        Some(_) => return None,
                    }
                }
                all.map(|(node, rows)| (node, InRows::Operands(rows)))
            }
            _ => None,
        }
    }
}
