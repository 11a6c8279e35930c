//! Aggregates over distinct values: COUNT(DISTINCT x) and its like. The shards group by the values
//! as well, and send them in order, so that equal ones of several shards meet: each then counts
//! once.
use super::functions::is_numeric;
use super::kind::Kind;
use super::order::Item;
use super::shape::{ALL_ROWS, Shape};
use super::visible::{Found, find};
use crate::plan::tree::Key;
use crate::plan::{Piece, verbatim};
use crate::sql::ast::{Call, Expr, ExprKind};

impl<'a> Shape<'_, '_, 'a> {
    /// May a call of an aggregate be put together from distinct values? All with DISTINCT in a
    /// query must be over the same ones.
    pub(super) fn over_distinct(&mut self, call: &Call<'a>) -> Option<()> {
        let is = |names: &[&str]| names.iter().any(|n| call.name.eq_ignore_ascii_case(n));
        if is(&["sum", "avg"]) {
            let [arg] = call.args else { return None };
            self.is_exact(arg).then_some(())?;
        } else if !is(&["count"]) || call.args.is_empty() {
            return None;
        }
        match self.distinct_over {
            None => self.distinct_over = Some(call.args),
            Some(first) => {
                let alike = |(a, b): (&Expr<'a>, &Expr<'a>)| {
                    // Values are others in statements that share the plan.
                    !self.planner.has_values(a.span)
                        && self.source_text(a.span) == self.source_text(b.span)
                };
                (first.len() == call.args.len() && first.iter().zip(call.args).all(alike))
                    .then_some(())?;
            }
        }
        Some(())
    }

    /// An integer or a DECIMAL for certain, if its sum is one: not text, which would be added up as
    /// DOUBLE.
    fn is_exact(&self, expr: &Expr<'a>) -> bool {
        match &expr.kind {
            ExprKind::Column(name) => find(name, self.sources).is_some_and(is_exact_column),
            ExprKind::Call(call) => self.is_number(expr) && self.is_counting(call),
            _ => self.is_exact_arithmetic(expr),
        }
    }

    /// A function whose value is an integer whatever it is given: the others take the type of their
    /// arguments.
    fn is_counting(&self, call: &Call<'a>) -> bool {
        let typed = [
            "abs",
            "ceil",
            "ceiling",
            "floor",
            "round",
            "truncate",
            "date",
            "last_day",
            "time_to_sec",
        ];
        is_numeric(call.name) && !typed.iter().any(|n| call.name.eq_ignore_ascii_case(n))
    }

    /// Arithmetic over exact columns. Literals are of other types in statements that share the
    /// plan.
    fn is_exact_arithmetic(&self, expr: &Expr<'a>) -> bool {
        let ExprKind::Other(parts) = &expr.kind else { return false };
        let exact = |part: &Expr<'a>| match &part.kind {
            ExprKind::Column(name) => find(name, self.sources).is_some_and(is_exact_column),
            _ => self.is_exact_arithmetic(part),
        };
        self.is_arithmetic(expr)
            && self.is_number(expr)
            && !self.planner.has_values(expr.span)
            && parts.iter().all(exact)
    }

    /// Do servers tell these values apart as GROUP BY does?
    fn counts_as_groups(&self, item: &Item<'a>) -> bool {
        match item {
            // 0 and -0 are one group, but may be two values.
            Item::Column(found) => {
                !matches!(found.column.data_type.as_str(), "double" | "real" | "float")
            }
            Item::Visible(at) => {
                let column = self.visible.get(*at).and_then(|v| v.column);
                column.is_some_and(|found| self.counts_as_groups(&Item::Column(found)))
            }
            Item::Expr(expr) => self.is_exact(expr),
            Item::Constant => false,
        }
    }

    /// The distinct values as further keys behind those of the groups: where they stand, and how
    /// they compare.
    pub(super) fn distinct_keys(&mut self, groups: &[usize]) -> Option<Vec<(usize, Key)>> {
        let mut keys: Vec<(usize, Key)> = Vec::new();
        for arg in self.distinct_over.unwrap_or_default() {
            let item = match &arg.kind {
                ExprKind::Column(name) => self.of_from(find(name, self.sources)?),
                _ if self.reads_tables_only(arg) => Item::Expr(arg),
                _ => return None,
            };
            if !self.can_group(&item) || !self.counts_as_groups(&item) {
                return None;
            }
            let value = self.value(item)?;
            let at = match value.visible {
                Some(at) => at,
                None => usize::from(self.hide(value.text.clone())?),
            };
            if !groups.contains(&at) && !keys.iter().any(|(k, _)| *k == at) {
                let key = self.key(value, false, true)?;
                keys.push((at, key));
            }
        }
        Some(keys)
    }

    /// One row over all distinct values: the shards have no groups of their own to begin with.
    pub(super) fn one_over_distinct(&mut self) -> Option<()> {
        let keys = self.distinct_keys(&[])?;
        // There is a row even if no shard sends one, and only aggregates have a value then.
        let aggregates = |e: &Expr<'a>| matches!(&e.kind, ExprKind::Call(_));
        let constant = |at: usize| {
            !self
                .visible
                .get(at)
                .is_some_and(|v| v.expr.is_some_and(aggregates))
        };
        if keys.is_empty() || (0..self.visible.len()).any(constant) {
            return None;
        }
        let by = numbers(&keys);
        let group = vec![verbatim(format!(" GROUP BY {by}"))];
        let order = vec![verbatim(format!("ORDER BY {by}{ALL_ROWS}"))];
        let end = self.select.filter_span.or(self.select.from_span)?.end;
        match self.query.order_span {
            Some(span) => {
                self.edits.insert(end, group);
                self.edits.replace(span, order);
            }
            None => self
                .edits
                .insert(end, [group, vec![verbatim(" ")], order].concat()),
        }
        self.merge.order = keys.into_iter().map(|(_, key)| key).collect();
        Some(())
    }
}

/// `,3,4`: behind the client's own GROUP BY.
pub(super) fn further(keys: &[(usize, Key)]) -> Vec<Piece> {
    if keys.is_empty() { Vec::new() } else { vec![verbatim(format!(",{}", numbers(keys)))] }
}

fn numbers(keys: &[(usize, Key)]) -> String {
    let all: Vec<String> = keys.iter().map(|(at, _)| (at + 1).to_string()).collect();
    all.join(",")
}

fn is_exact_column(found: Found<'_>) -> bool {
    Kind::is_integer(found.column)
        || matches!(found.column.data_type.as_str(), "decimal" | "numeric")
}
