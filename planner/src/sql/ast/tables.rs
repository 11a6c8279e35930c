//! What stands in a FROM: tables, joins, and queries in their places.
use super::{Expr, Query, Span};

/// `db.t PARTITION (p) AS a USE INDEX (i)`: a table where a statement names it.
#[derive(Debug, Clone, Copy)]
pub struct TableName<'a> {
    /// The name, with its database.
    pub span: Span,
    /// The `db`.
    pub database: Option<&'a str>,
    /// The `db`, as it is written.
    pub database_span: Option<Span>,
    /// The `t`.
    pub name: &'a str,
    /// The `a`.
    pub alias: Option<&'a str>,
    /// With everything that belongs to it in a FROM, from the name to the last index hint.
    pub full_span: Span,
    /// The alias, with AS.
    pub alias_span: Option<Span>,
    /// `PARTITION (...)`
    pub partition: Option<Span>,
    /// `USE INDEX (...)` and the like, all of them.
    pub hints: Option<Span>,
    /// `FOR SYSTEM_TIME ...`
    pub system_time: Option<Span>,
    /// Vitess's `USE VINDEX (...)` and `IGNORE VINDEX (...)`, which no server knows.
    pub vindexes: Option<VindexHint<'a>>,
}

/// Vindexes that a query is to be routed by, or not by.
#[derive(Debug, Clone, Copy)]
pub struct VindexHint<'a> {
    /// `IGNORE VINDEX`
    pub ignore: bool,
    /// The vindexes' names.
    pub names: &'a [&'a str],
    /// The whole hint.
    pub span: Span,
}

impl<'a> TableName<'a> {
    /// A name that stands alone.
    pub fn alone(span: Span, name: &'a str) -> Self {
        Self {
            span,
            database: None,
            database_span: None,
            name,
            alias: None,
            full_span: span,
            alias_span: None,
            partition: None,
            hints: None,
            system_time: None,
            vindexes: None,
        }
    }

    /// The name by which columns refer to it.
    pub fn exposed(&self) -> &'a str {
        self.alias.unwrap_or(self.name)
    }
}

/// Which rows of a join come without a partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// None: JOIN, CROSS JOIN, STRAIGHT_JOIN.
    Inner,
    /// Those of the left side.
    Left,
    /// Those of the right side.
    Right,
}

/// An item of a FROM.
#[derive(Debug, Clone, Copy)]
pub enum TableExpr<'a> {
    /// `t AS a`
    Table(&'a TableName<'a>),
    /// `(SELECT ...) AS a`
    Derived(&'a Derived<'a>),
    /// `a JOIN b ON ...`
    Join(&'a Join<'a>),
    /// `(a, b)`
    List(&'a [Self]),
    /// `JSON_TABLE(...)` and other table functions.
    Function {
        /// What it reads, columns of tables before it among them.
        args: &'a [Expr<'a>],
        /// The name by which columns refer to it.
        alias: Option<&'a str>,
    },
}

/// `LATERAL (SELECT ...) AS a (x, y)`
#[derive(Debug, Clone, Copy)]
pub struct Derived<'a> {
    /// What stands between the parentheses.
    pub query: &'a Query<'a>,
    /// The `a`.
    pub alias: Option<&'a str>,
    /// The `x` and `y`; empty where they are not named.
    pub columns: &'a [&'a str],
    /// It may refer to tables before it.
    pub lateral: bool,
}

/// Two sides of a FROM that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Join<'a> {
    /// Both sides and their condition.
    pub span: Span,
    /// Which rows are kept without a partner.
    pub kind: JoinKind,
    /// `NATURAL JOIN`
    pub natural: bool,
    /// What stands before JOIN.
    pub left: TableExpr<'a>,
    /// What stands behind it.
    pub right: TableExpr<'a>,
    /// `ON a = b`
    pub on: Option<Expr<'a>>,
    /// `USING (a, b)`
    pub using: &'a [&'a str],
}
