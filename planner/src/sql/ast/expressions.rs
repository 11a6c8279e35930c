//! Expressions: what is computed, compared and named.
use super::{Query, Span};

/// An expression.
#[derive(Debug, Clone, Copy)]
pub struct Expr<'a> {
    /// All of it, with the parentheses that belong to it.
    pub span: Span,
    /// What it is.
    pub kind: ExprKind<'a>,
}

/// How two sides are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    /// `a = b`
    Eq,
    /// `a <=> b`
    NullSafeEq,
    /// `a < b`, `a LIKE b` and all others, from which no place follows.
    Other,
}

/// `db.t.c`, `t.c` or `c`.
#[derive(Debug, Clone, Copy)]
pub struct ColumnName<'a> {
    /// The `db`.
    pub database: Option<&'a str>,
    /// The `t`, which may be an alias.
    pub table: Option<&'a str>,
    /// The `c`; `*` in `db.t.*`.
    pub name: &'a str,
    /// The database's name and the dot after it, when there is one.
    pub database_span: Option<Span>,
}

/// What an expression is.
#[derive(Debug, Clone, Copy)]
pub enum ExprKind<'a> {
    /// `t.c`
    Column(&'a ColumnName<'a>),
    /// A literal: its number in the fingerprint if it was lifted.
    Literal(Option<u16>),
    /// `NULL`
    Null,
    /// `TRUE`, `FALSE`
    Bool,
    /// `?`: its number, from 0.
    Param(u16),
    /// `@a` or `@@a`
    Variable,
    /// `DEFAULT`
    Default,
    /// `a AND b AND c`: all of its sides.
    And(&'a [Expr<'a>]),
    /// `a OR b OR c`: all of its sides.
    Or(&'a [Expr<'a>]),
    /// `NOT a`
    Not(&'a Expr<'a>),
    /// `a = b`
    Compare {
        /// The operator.
        op: CompareOp,
        /// Left and right.
        sides: &'a [Expr<'a>; 2],
    },
    /// `a IN (1, b)`, `(a, b) IN ((1, 2))`
    InList {
        /// What is looked for.
        left: &'a Expr<'a>,
        /// `NOT IN`
        not: bool,
        /// The items.
        list: &'a [Expr<'a>],
    },
    /// A list that the fingerprint collapsed.
    InCollapsed {
        /// What is looked for.
        left: &'a Expr<'a>,
        /// `NOT IN`
        not: bool,
        /// The list's number in the fingerprint.
        list: u16,
    },
    /// `a IN (SELECT b ...)`
    InQuery {
        /// What is looked for.
        left: &'a Expr<'a>,
        /// `NOT IN`
        not: bool,
        /// Where it is looked for.
        query: &'a Query<'a>,
    },
    /// `(a, b)`, `ROW(a, b)`
    Row(&'a [Expr<'a>]),
    /// `f(a)`
    Call(&'a Call<'a>),
    /// `EXISTS (SELECT ...)`
    Exists(&'a Query<'a>),
    /// `(SELECT ...)` as a value.
    Subquery(&'a Query<'a>),
    /// `*`, `t.*`: the table's name. `db.t.*` is a column whose name is `*`.
    Star(Option<&'a str>),
    /// Any other operation.
    Other(&'a [Expr<'a>]),
}

/// A call of a function: MySQL's own, or a stored one.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// `db.f(...)`
    pub database: Option<&'a str>,
    /// As written.
    pub name: &'a str,
    /// What stands in its parentheses, and the expressions of its WITHIN GROUP and OVER.
    pub args: &'a [Expr<'a>],
    /// `f(...) OVER ...`
    pub window: bool,
    /// `COUNT(DISTINCT ...)`
    pub distinct: bool,
    /// Has it more in its parentheses than arguments: ORDER BY, SEPARATOR, LIMIT, FROM, USING, AS?
    pub clauses: bool,
}
