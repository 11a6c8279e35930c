//! Which tables' rows matter only where a column equals one of another table: joins, subqueries
//! that name tables outside of them, IN and EXISTS, derived tables.
//!
//! An edge says: where no row of `from` has the value of a row of `to`, the statement's answer is
//! the same without that row, whatever rows the tables have. So edges can be followed one after
//! another.
use super::super::conditions::conjuncts;
use super::meaning::{Meaning, Place};
use super::refs::{Entry, References};
use crate::column::find;
use crate::sql::ast::*;
use smallvec::SmallVec;

/// A reference, and one of its columns.
pub(super) type At<'a> = (usize, &'a str);

#[derive(Clone, Copy)]
pub(super) struct Edge<'a> {
    pub(super) from: At<'a>,
    pub(super) to: At<'a>,
    /// Right if this WITH is read once.
    once: Option<Span>,
}

/// A select whose names are known, while its conditions are read.
pub(super) struct Reading<'s, 'a> {
    pub(super) entries: &'s [Entry<'a>],
    correlated: Vec<(At<'a>, Place<'a>)>,
}

impl<'s, 'a> Reading<'s, 'a> {
    pub(super) fn of(entries: &'s [Entry<'a>]) -> Self {
        Self { entries, correlated: Vec::new() }
    }
}

impl<'a> References<'_, '_, 'a> {
    /// The edges that hold.
    pub(super) fn edges(&self) -> impl Iterator<Item = &Edge<'a>> {
        self.edges.iter().filter(|edge| {
            edge.once
                .is_none_or(|span| self.withs.iter().filter(|w| **w == span).count() == 1)
        })
    }

    /// What a condition says that rows of `allowed` must meet. `filter`: it stands in WHERE.
    pub(super) fn read_condition(
        &mut self,
        condition: &Expr<'a>,
        allowed: &[usize],
        reading: &mut Reading<'_, 'a>,
        filter: bool,
    ) {
        match &condition.kind {
            ExprKind::Compare { op: CompareOp::Eq, sides: [left, right] } => {
                match (&left.kind, &right.kind) {
                    (ExprKind::Column(a), ExprKind::Column(b)) => {
                        self.equal_columns((a, b), allowed, reading, filter);
                        self.equal_columns((b, a), allowed, reading, filter);
                    }
                    (ExprKind::Column(c), ExprKind::Subquery(query))
                    | (ExprKind::Subquery(query), ExprKind::Column(c)) => {
                        self.in_query(c, query, allowed, reading, false);
                        self.exists(query, allowed, reading);
                    }
                    _ => {}
                }
            }
            ExprKind::InQuery { left, not: false, query } => {
                if let ExprKind::Column(c) = &left.kind {
                    self.in_query(c, query, allowed, reading, true);
                }
                self.exists(query, allowed, reading);
            }
            ExprKind::Exists(query) => self.exists(query, allowed, reading),
            _ => {}
        }
    }

    /// The first restricts the second.
    fn equal_columns(
        &mut self,
        (a, b): (&ColumnName<'a>, &ColumnName<'a>),
        allowed: &[usize],
        reading: &mut Reading<'_, 'a>,
        filter: bool,
    ) {
        let Meaning::Place(to) = self.meaning(b, reading.entries) else { return };
        match self.meaning(a, reading.entries) {
            Meaning::Place(from) => self.edge(from, to, allowed),
            Meaning::Elsewhere => {
                let Some(from) = self.outside(a) else { return };
                self.edge(from, to, allowed);
                if filter {
                    reading.correlated.push((to.at, from));
                }
            }
            Meaning::Unsure => {}
        }
    }

    fn edge(&mut self, from: Place<'a>, to: Place<'a>, allowed: &[usize]) {
        if from.at.0 != to.at.0 && to.reducible && allowed.contains(&to.entry) {
            self.edges
                .push(Edge { from: from.at, to: to.at, once: to.once });
        }
    }

    /// `column IN (query)` and `column = (query)`. `both`: the query's rows matter only where they
    /// have the column's values; for the latter, they matter by their number.
    fn in_query(
        &mut self,
        column: &ColumnName<'a>,
        query: &Query<'a>,
        allowed: &[usize],
        reading: &Reading<'_, 'a>,
        both: bool,
    ) {
        let Meaning::Place(place) = self.meaning(column, reading.entries) else { return };
        let Some(block) = self.blocks.iter().find(|b| b.span == query.span) else { return };
        let Some([(_, Some(inner))]) = block.outputs.as_deref() else { return };
        let (inner, reduces) = (*inner, both && block.reduces(inner));
        self.edge(inner, place, allowed);
        if reduces {
            self.edge(place, inner, &[inner.entry]);
        }
    }

    /// The condition holds only where the query has a row.
    fn exists(&mut self, query: &Query<'a>, allowed: &[usize], reading: &Reading<'_, 'a>) {
        let Some(block) = self.blocks.iter().find(|b| b.span == query.span) else { return };
        if !block.plain {
            return;
        }
        for (inner, outer) in block.correlated.clone() {
            let own = reading
                .entries
                .iter()
                .any(|e| e.number() == Some(outer.entry));
            if own {
                let inner = Place { entry: inner.0, at: inner, reducible: false, once: None };
                self.edge(inner, outer, allowed);
            }
        }
    }

    /// USING and NATURAL: columns of both sides that have one name.
    pub(super) fn read_using(
        &mut self,
        join: &Join<'a>,
        (left, right): (&[Entry<'a>], &[Entry<'a>]),
        allowed: &[usize],
    ) {
        let names = if join.natural { self.common(left, right) } else { join.using.to_vec() };
        for name in names {
            let (Meaning::Place(a), Meaning::Place(b)) =
                (self.named(name, left), self.named(name, right))
            else {
                continue;
            };
            self.edge(a, b, allowed);
            self.edge(b, a, allowed);
        }
    }

    /// The columns that two tables have in common.
    fn common(&self, left: &[Entry<'a>], right: &[Entry<'a>]) -> Vec<&'a str> {
        let ([Entry::Reference(a)], [Entry::Reference(b)]) = (left, right) else {
            return Vec::new();
        };
        let (Some(a), Some(b)) = (self.list.get(*a), self.list.get(*b)) else { return Vec::new() };
        let visible = a.table.columns.iter().filter(|c| !c.invisible);
        let common =
            visible.filter(|c| find(b.table, &c.name).is_some_and(|other| !other.invisible));
        common.map(|c| c.name.as_str()).collect()
    }

    /// Reads all conditions of a select; those of ON come first.
    pub(super) fn read_select(
        &mut self,
        select: &'a Select<'a>,
        on: &[(&'a Expr<'a>, Vec<usize>)],
        (entries, kept): (&[Entry<'a>], &[usize]),
    ) -> Vec<(At<'a>, Place<'a>)> {
        let mut reading = Reading::of(entries);
        for (condition, allowed) in on {
            self.read_condition(condition, allowed, &mut reading, false);
        }
        let mut filters: SmallVec<[&'a Expr<'a>; 8]> = SmallVec::new();
        let filter = select.filter.iter();
        filter.for_each(|f| conjuncts(f, &mut filters));
        for condition in filters {
            self.read_condition(condition, kept, &mut reading, true);
        }
        reading.correlated
    }
}
