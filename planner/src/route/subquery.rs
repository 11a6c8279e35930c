//! Queries in expressions: whether each row outside finds on its own shard what the query reads.
use super::block::{Block, Blocks, Position, Scopes, Source};
use super::classes::Instance;
use super::conditions::conjuncts;
use crate::error::PlanError;
use crate::sql::ast::*;
use smallvec::SmallVec;

impl<'a> Blocks<'_, '_, 'a> {
    /// The subqueries of an expression; `outside` are the sharded tables whose rows it is evaluated
    /// for.
    pub(super) fn subqueries(
        &mut self,
        expr: &'a Expr<'a>,
        scopes: &Scopes<'_, 'a>,
        outside: &[Instance],
        all: &mut Vec<Instance>,
    ) -> Result<(), PlanError> {
        let mut conditions: SmallVec<[&'a Expr<'a>; 8]> = SmallVec::new();
        conjuncts(expr, &mut conditions);
        for condition in conditions {
            if let ExprKind::InQuery { left, not: false, query } = &condition.kind
                && let ExprKind::Column(column) = &left.kind
            {
                let block = self.query(query, scopes, Position::Value)?;
                self.tie(column, query, &block, scopes);
                self.evaluated(block, outside, all);
                continue;
            }
            let mut found = Vec::new();
            top_subqueries(condition, &mut found);
            for query in found {
                let block = self.query(query, scopes, Position::Value)?;
                self.evaluated(block, outside, all);
            }
        }
        Ok(())
    }

    fn evaluated(&mut self, block: Block, outside: &[Instance], all: &mut Vec<Instance>) {
        if block.instances.is_empty() {
            return;
        }
        let together = [outside, &block.instances].concat();
        if outside.is_empty() || !self.lie_together(&together) {
            self.breaks("a subquery whose rows may lie on other shards than the row outside");
        }
        all.extend(block.instances);
    }

    /// `a IN (SELECT b FROM ...)` as a condition: only rows with `b = a` matter, so that they lie
    /// with `a`.
    fn tie(
        &mut self,
        column: &'a ColumnName<'a>,
        query: &'a Query<'a>,
        block: &Block,
        scopes: &Scopes<'_, 'a>,
    ) {
        let Body::Select(select) = &query.first else { return };
        let plain = query.rest.is_empty()
            && query.limit.is_none()
            && select.group.is_empty()
            && select.having.is_none()
            && select.items.len() == 1;
        let [(_, Some(inner))] = block.columns.as_slice() else { return };
        if plain && let Some(outer) = self.column(column, scopes) {
            self.classes.unite(*inner, outer);
        }
    }

    pub(super) fn freeze(&mut self, sources: &[Source<'a>], instances: &[Instance]) {
        let mut all = instances.to_vec();
        all.extend(sources.iter().map(|s| s.instance));
        self.classes.freeze(&all);
    }
}

pub(super) static EMPTY: Query<'static> = Query {
    span: Span { start: 0, end: 0 },
    ctes: &[],
    recursive: false,
    first: Body::Values(&[]),
    rest: &[],
    order: &[],
    order_span: None,
    limit: None,
    locking: false,
    locks: &[],
    into: false,
    into_span: None,
};

pub(super) fn has_subquery(expr: &Expr<'_>) -> bool {
    let mut found = Vec::new();
    top_subqueries(expr, &mut found);
    !found.is_empty()
}

/// The outermost subqueries of an expression.
fn top_subqueries<'a>(expr: &Expr<'a>, out: &mut Vec<&'a Query<'a>>) {
    match &expr.kind {
        ExprKind::And(l) | ExprKind::Or(l) | ExprKind::Row(l) | ExprKind::Other(l) => {
            l.iter().for_each(|e| top_subqueries(e, out));
        }
        ExprKind::Not(e) => top_subqueries(e, out),
        ExprKind::Compare { sides, .. } => sides.iter().for_each(|e| top_subqueries(e, out)),
        ExprKind::InList { left, list, .. } => {
            top_subqueries(left, out);
            list.iter().for_each(|e| top_subqueries(e, out));
        }
        ExprKind::InCollapsed { left, .. } => top_subqueries(left, out),
        ExprKind::InQuery { left, query, .. } => {
            top_subqueries(left, out);
            out.push(query);
        }
        ExprKind::Call(c) => c.args.iter().for_each(|e| top_subqueries(e, out)),
        ExprKind::Exists(q) | ExprKind::Subquery(q) => out.push(q),
        _ => {}
    }
}
