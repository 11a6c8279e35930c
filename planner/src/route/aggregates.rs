//! Functions over rows.
use crate::sql::ast::*;
use crate::sql::walk::{Visitor, Walk};

const AGGREGATES: &[&str] = &[
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "group_concat",
    "bit_and",
    "bit_or",
    "bit_xor",
    "std",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "var_pop",
    "var_samp",
    "variance",
    "json_arrayagg",
    "json_objectagg",
    "any_value",
    "median",
    "percentile_cont",
    "percentile_disc",
    "st_collect",
];

pub(super) fn is_aggregate(name: &str) -> bool {
    AGGREGATES.iter().any(|a| name.eq_ignore_ascii_case(a))
}

/// Finds aggregates and windows in expressions, but not in subqueries.
pub(super) fn counts_rows(expr: &Expr<'_>) -> bool {
    match &expr.kind {
        ExprKind::Call(c) => c.window || is_aggregate(c.name) || c.args.iter().any(counts_rows),
        ExprKind::And(l) | ExprKind::Or(l) | ExprKind::Row(l) | ExprKind::Other(l) => {
            l.iter().any(counts_rows)
        }
        ExprKind::Not(e) => counts_rows(e),
        ExprKind::Compare { sides, .. } => sides.iter().any(counts_rows),
        ExprKind::InList { left, list, .. } => counts_rows(left) || list.iter().any(counts_rows),
        ExprKind::InCollapsed { left, .. } | ExprKind::InQuery { left, .. } => counts_rows(left),
        _ => false,
    }
}

pub(super) fn has_window(expr: &Expr<'_>) -> bool {
    struct Find(bool);
    impl<'a> Visitor<'a> for Find {
        fn table(&mut self, _: &'a TableName<'a>) {}
        fn call(&mut self, call: &'a Call<'a>) {
            self.0 |= call.window;
        }
    }
    let mut find = Find(false);
    Walk::new(&mut find).expr(expr);
    find.0
}
