//! Conditions that hold for a column hold for columns that equal it: `a.id = 5 AND b.a_id = a.id`
//! says that only rows of `b` with 5 matter, which may lie on one shard.
use super::super::text::quoted;
use super::refs::{Entry, References};
use crate::column::{Family, find};
use crate::snapshot::Column;
use crate::sql::ast::*;

/// What rows of a table fulfil if they matter.
#[derive(Clone, Copy)]
pub(super) struct Condition<'a> {
    pub(super) expr: &'a Expr<'a>,
    /// Where it was said of another table's column: where this column stands in the text.
    pub(super) instead: Option<Span>,
}

/// Rows of `to` matter only where this column equals `from`'s.
pub(super) struct Equality<'a> {
    from: (usize, &'a str),
    to: (usize, &'a str),
}

/// How often a condition is carried on.
const STEPS_MAX: usize = 4;

/// The column and the rest of `column = value` and `column IN (values)`.
fn simple<'a>(expr: &Expr<'a>) -> Option<(&'a ColumnName<'a>, Span)> {
    let of = |e: &Expr<'a>| match e.kind {
        ExprKind::Column(c) => Some((c, e.span)),
        _ => None,
    };
    match &expr.kind {
        ExprKind::Compare { op: CompareOp::Eq, sides } => {
            let [left, right] = sides;
            match (is_value(left), is_value(right)) {
                (false, true) => of(left),
                (true, false) => of(right),
                _ => None,
            }
        }
        ExprKind::InList { left, not: false, list } if list.iter().all(is_value) => of(left),
        ExprKind::InCollapsed { left, not: false, .. } => of(left),
        _ => None,
    }
}

fn is_value(expr: &Expr<'_>) -> bool {
    matches!(expr.kind, ExprKind::Literal(_) | ExprKind::Param(_) | ExprKind::Null)
}

/// Do these compare with any value alike? Text does not: equal strings may be different numbers.
fn are_alike(a: &Column, b: &Column) -> bool {
    match (Family::of(a), Family::of(b)) {
        (Family::Integer { .. }, Family::Integer { .. }) | (Family::Date, Family::Date) => true,
        _ => {
            a.data_type == b.data_type
                && matches!(a.data_type.as_str(), "decimal" | "datetime" | "timestamp")
        }
    }
}

impl<'a> References<'_, '_, 'a> {
    /// The equalities that a condition says, for tables whose rows matter only where it holds.
    pub(super) fn equalities(
        &self,
        condition: &Expr<'a>,
        allowed: &[usize],
        entries: &[Entry<'a>],
        out: &mut Vec<Equality<'a>>,
    ) {
        let ExprKind::Compare { op: CompareOp::Eq, sides } = &condition.kind else { return };
        let [left, right] = sides;
        let (ExprKind::Column(a), ExprKind::Column(b)) = (&left.kind, &right.kind) else { return };
        let (Some(at), Some(bt)) = (self.table_of(a, entries), self.table_of(b, entries)) else {
            return;
        };
        let column = |at: usize, name: &str| self.list.get(at).and_then(|r| find(r.table, name));
        let alike = match (column(at, a.name), column(bt, b.name)) {
            (Some(one), Some(two)) => are_alike(one, two),
            _ => self.are_system(at, bt) && super::system::are_alike(a.name, b.name),
        };
        if at == bt || !alike {
            return;
        }
        for (from, to) in [((at, a.name), (bt, b.name)), ((bt, b.name), (at, a.name))] {
            if allowed.contains(&to.0) {
                out.push(Equality { from, to });
            }
        }
    }

    /// Carries the conditions over the equalities.
    pub(super) fn carry(&mut self, equalities: &[Equality<'a>]) {
        for _ in 0..STEPS_MAX {
            let mut more = Vec::new();
            for Equality { from, to } in equalities {
                if self.simple_on(*to).is_some() {
                    continue;
                }
                if let Some((condition, place)) = self.simple_on(*from)
                    && let Some(expr) = self.said_of(condition.expr, *to)
                {
                    let instead = Some(condition.instead.unwrap_or(place));
                    more.push((to.0, Condition { expr, instead }));
                }
            }
            if more.is_empty() {
                return;
            }
            for (at, condition) in more {
                if let Some(reference) = self.list.get_mut(at) {
                    reference.conditions.push(condition);
                }
            }
        }
    }

    fn simple_on(&self, (at, name): (usize, &str)) -> Option<(Condition<'a>, Span)> {
        let conditions = &self.list.get(at)?.conditions;
        conditions.iter().find_map(|condition| {
            let (column, place) = simple(condition.expr)?;
            column
                .name
                .eq_ignore_ascii_case(name)
                .then_some((*condition, place))
        })
    }

    /// The same condition with this column in the other's place.
    fn said_of(&self, expr: &Expr<'a>, (at, name): (usize, &'a str)) -> Option<&'a Expr<'a>> {
        let arena = self.planner.input.arena;
        let table = self.list.get(at)?.name.exposed();
        let name = ColumnName { database: None, table: Some(table), name, database_span: None };
        let kind = ExprKind::Column(arena.alloc(name));
        let swapped = |e: &Expr<'a>| match e.kind {
            ExprKind::Column(_) => Expr { span: e.span, kind },
            _ => *e,
        };
        let kind = match expr.kind {
            ExprKind::Compare { op, sides: [left, right] } => {
                ExprKind::Compare { op, sides: arena.alloc([swapped(left), swapped(right)]) }
            }
            ExprKind::InList { left, not, list } => {
                ExprKind::InList { left: arena.alloc(swapped(left)), not, list }
            }
            ExprKind::InCollapsed { left, not, list } => {
                ExprKind::InCollapsed { left: arena.alloc(swapped(left)), not, list }
            }
            _ => return None,
        };
        Some(arena.alloc(Expr { span: expr.span, kind }))
    }
}

impl<'a> Condition<'a> {
    /// What stands in the text where the condition was said of another column.
    pub(super) fn replacement(&self) -> Option<(Span, String)> {
        let (column, _) = simple(self.expr)?;
        let table = column
            .table
            .map(|t| format!("{}.", quoted(t)))
            .unwrap_or_default();
        Some((self.instead?, format!("{table}{}", quoted(column.name))))
    }
}
