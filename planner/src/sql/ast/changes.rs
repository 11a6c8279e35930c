//! INSERT, REPLACE, UPDATE and DELETE.
use super::{ColumnName, Cte, Expr, Ordered, Query, SelectItem, Span, TableExpr, TableName};

/// A row of VALUES, as it is written.
#[derive(Debug, Clone, Copy)]
pub struct InsertRow<'a> {
    /// With its parentheses.
    pub span: Span,
    /// One for each column, in the order of the list of columns.
    pub values: &'a [Expr<'a>],
}

/// Where an INSERT's rows come from.
#[derive(Debug, Clone, Copy)]
pub enum InsertSource<'a> {
    /// The fingerprint collapsed the rows.
    Collapsed(Span),
    /// `VALUES (1, a + 1), (2, DEFAULT)`; of `SET a = 1`, one row.
    Rows(&'a [InsertRow<'a>]),
    /// `INSERT INTO t SELECT ...`
    Query(&'a Query<'a>),
}

/// `t.a = b + 1`, of SET in UPDATE and INSERT, and of ON DUPLICATE KEY UPDATE.
#[derive(Debug, Clone, Copy)]
pub struct Assign<'a> {
    /// The whole assignment.
    pub span: Span,
    /// The `t.a`.
    pub column: &'a ColumnName<'a>,
    /// The `b + 1`.
    pub value: Expr<'a>,
}

/// Where the parts of an INSERT stand.
#[derive(Debug, Clone, Copy, Default)]
pub struct InsertSpans {
    /// From the verb to the list of columns.
    pub head: Span,
    /// Rows with VALUES, assignments with SET, or a query.
    pub source: Span,
    /// What follows.
    pub tail: Span,
}

/// INSERT or REPLACE.
#[derive(Debug, Clone, Copy)]
pub struct Insert<'a> {
    /// Where its parts stand.
    pub spans: InsertSpans,
    /// `REPLACE`
    pub replace: bool,
    /// `INSERT IGNORE`
    pub ignore: bool,
    /// The table that gets the rows.
    pub table: &'a TableName<'a>,
    /// The list of columns; `None`: all in table order.
    pub columns: Option<&'a [&'a str]>,
    /// Where the list of columns stands, or would stand.
    pub list: Span,
    /// The rows.
    pub source: InsertSource<'a>,
    /// `INSERT ... SET`: the one row is `source`, and stands here in the text.
    pub set: bool,
    /// `ON DUPLICATE KEY UPDATE ...`
    pub on_duplicate: &'a [Assign<'a>],
    /// `RETURNING ...`, which MariaDB has.
    pub returning: &'a [SelectItem<'a>],
}

/// Where the parts of an UPDATE or DELETE stand; those of clauses begin with their first word.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChangeSpans {
    /// Where the verb begins, behind WITH.
    pub verb: u32,
    /// The tables, without a word before them.
    pub tables: Span,
    /// `WHERE ...`
    pub filter: Option<Span>,
    /// `ORDER BY ...`
    pub order: Option<Span>,
    /// `LIMIT ...`
    pub limit: Option<Span>,
}

/// UPDATE, of one table or of several.
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    /// Where its parts stand.
    pub spans: ChangeSpans,
    /// What WITH defines.
    pub ctes: &'a [Cte<'a>],
    /// `UPDATE IGNORE`
    pub ignore: bool,
    /// The tables that it names, joins among them.
    pub tables: &'a [TableExpr<'a>],
    /// The assignments, in order.
    pub set: &'a [Assign<'a>],
    /// The condition of WHERE.
    pub filter: Option<Expr<'a>>,
    /// What ORDER BY names.
    pub order: &'a [Ordered<'a>],
    /// Has it a LIMIT?
    pub limit: bool,
}

/// DELETE, of one table or of several.
#[derive(Debug, Clone, Copy)]
pub struct Delete<'a> {
    /// Where its parts stand.
    pub spans: ChangeSpans,
    /// What WITH defines.
    pub ctes: &'a [Cte<'a>],
    /// `DELETE IGNORE`
    pub ignore: bool,
    /// The tables whose rows go, in the multi-table forms.
    pub targets: &'a [&'a TableName<'a>],
    /// The tables that rows are read from; with one table, the table whose rows go.
    pub tables: &'a [TableExpr<'a>],
    /// The condition of WHERE.
    pub filter: Option<Expr<'a>>,
    /// What ORDER BY names.
    pub order: &'a [Ordered<'a>],
    /// Has it a LIMIT?
    pub limit: bool,
    /// `RETURNING ...`, which MariaDB has.
    pub returning: &'a [SelectItem<'a>],
}
