//! SELECT and what is made of several of them.
use super::{Expr, Span, TableExpr, TableName};

/// `a + 1 AS b`: an item that is selected or returned.
#[derive(Debug, Clone, Copy)]
pub struct SelectItem<'a> {
    /// The `a + 1`.
    pub expr: Expr<'a>,
    /// The `b`.
    pub alias: Option<&'a str>,
    /// Where an alias could be put.
    pub end: u32,
}

/// An item of ORDER BY or GROUP BY.
#[derive(Debug, Clone, Copy)]
pub struct Ordered<'a> {
    /// Without its direction.
    pub expr: Expr<'a>,
    /// `DESC`
    pub descending: bool,
}

/// LIMIT, or OFFSET and FETCH.
#[derive(Debug, Clone, Copy)]
pub struct Limit<'a> {
    /// The whole clause.
    pub span: Span,
    /// How many rows to leave out: `LIMIT skip, take`, `OFFSET skip`.
    pub skip: Option<Expr<'a>>,
    /// How many rows to give at most; `None` in `OFFSET 2 ROWS` alone.
    pub take: Option<Expr<'a>>,
    /// Is there nothing else in it: no ROWS EXAMINED, no WITH TIES, no FETCH without a number?
    pub plain: bool,
}

/// One SELECT. Spans of clauses begin with their first word.
#[derive(Debug, Clone, Copy, Default)]
pub struct Select<'a> {
    /// From SELECT to the end of its last clause: ORDER BY and LIMIT are the query's.
    pub span: Span,
    /// `SELECT DISTINCT`
    pub distinct: bool,
    /// The word DISTINCT.
    pub distinct_span: Option<Span>,
    /// `SELECT SQL_CALC_FOUND_ROWS`
    pub calc_found_rows: bool,
    /// What is selected.
    pub items: &'a [SelectItem<'a>],
    /// The end of the last item, with its alias.
    pub items_end: u32,
    /// `FROM ...`
    pub from_span: Option<Span>,
    /// The items that commas divide; empty without a FROM.
    pub from: &'a [TableExpr<'a>],
    /// `WHERE ...`
    pub filter_span: Option<Span>,
    /// The condition of WHERE.
    pub filter: Option<Expr<'a>>,
    /// `GROUP BY ... WITH ROLLUP`
    pub group_span: Option<Span>,
    /// What GROUP BY names.
    pub group: &'a [Ordered<'a>],
    /// `WITH ROLLUP`
    pub rollup: bool,
    /// `HAVING ...`
    pub having_span: Option<Span>,
    /// The condition of HAVING.
    pub having: Option<Expr<'a>>,
    /// Expressions of the WINDOW clause.
    pub windows: &'a [Expr<'a>],
    /// `WINDOW w AS (...)`
    pub windows_span: Option<Span>,
    /// `INTO` stands among its clauses.
    pub into: bool,
    /// `INTO @a, @b`, `INTO OUTFILE ...`
    pub into_span: Option<Span>,
}

/// The set operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    /// `UNION`
    Union,
    /// `EXCEPT`
    Except,
    /// `INTERSECT`
    Intersect,
}

/// How a query's part is put together with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetOp {
    /// Which operation.
    pub kind: SetKind,
    /// `ALL`: rows that are equal all count.
    pub all: bool,
}

impl SetOp {
    /// Are rows compared with each other?
    pub fn compares(self) -> bool {
        self.kind != SetKind::Union || !self.all
    }
}

/// A part of a query, of which set operations join several.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// `SELECT ...`
    Select(&'a Select<'a>),
    /// `VALUES ROW(...), ...`
    Values(&'a [Expr<'a>]),
    /// `TABLE t`
    Table(&'a TableName<'a>),
    /// `(SELECT ... LIMIT 1)`: a query in parentheses, with clauses of its own.
    Nested(&'a Query<'a>),
}

/// `WITH a (x, y) AS (SELECT ...)`
#[derive(Debug, Clone, Copy)]
pub struct Cte<'a> {
    /// The `a`, which hides tables of that name.
    pub name: &'a str,
    /// The `x` and `y`; empty where they are not named.
    pub columns: &'a [&'a str],
    /// What stands between the parentheses.
    pub query: &'a Query<'a>,
}

/// A query: parts that set operations join, and the clauses for all of them.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// From WITH, or the first part, to the last clause.
    pub span: Span,
    /// What WITH defines, in order.
    pub ctes: &'a [Cte<'a>],
    /// `WITH RECURSIVE`
    pub recursive: bool,
    /// The first part.
    pub first: Body<'a>,
    /// The other parts, each with what joins it to those before.
    pub rest: &'a [(SetOp, Body<'a>)],
    /// `ORDER BY` of the whole.
    pub order: &'a [Ordered<'a>],
    /// `ORDER BY ...`
    pub order_span: Option<Span>,
    /// `LIMIT` of the whole.
    pub limit: Option<Limit<'a>>,
    /// FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE
    pub locking: bool,
    /// Each locking clause.
    pub locks: &'a [Span],
    /// INTO, PROCEDURE
    pub into: bool,
    /// Where that stands.
    pub into_span: Option<Span>,
}
