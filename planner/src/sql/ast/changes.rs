//! INSERT, REPLACE, UPDATE and DELETE.
use super::{ColumnName, Cte, Expr, Ordered, Query, SelectItem, Span, TableExpr, TableName};

#[derive(Debug, Clone, Copy)]
pub struct InsertRow<'a> {
    pub span: Span,
    pub values: &'a [Expr<'a>],
}

#[derive(Debug, Clone, Copy)]
pub enum InsertSource<'a> {
    /// The fingerprint collapsed the rows.
    Collapsed(Span),
    Rows(&'a [InsertRow<'a>]),
    Query(&'a Query<'a>),
}

#[derive(Debug, Clone, Copy)]
pub struct Assign<'a> {
    pub span: Span,
    pub column: &'a ColumnName<'a>,
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

#[derive(Debug, Clone, Copy)]
pub struct Insert<'a> {
    pub spans: InsertSpans,
    pub replace: bool,
    pub ignore: bool,
    pub table: &'a TableName<'a>,
    pub columns: Option<&'a [&'a str]>,
    /// Where the list of columns stands, or would stand.
    pub list: Span,
    pub source: InsertSource<'a>,
    /// `INSERT ... SET`: the one row is `source`, and stands here in the text.
    pub set: bool,
    pub on_duplicate: &'a [Assign<'a>],
    pub returning: &'a [SelectItem<'a>],
}

/// Where the parts of an UPDATE or DELETE stand; those of clauses begin with their first word.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChangeSpans {
    /// Where the verb begins, behind WITH.
    pub verb: u32,
    /// The tables, without a word before them.
    pub tables: Span,
    pub filter: Option<Span>,
    pub order: Option<Span>,
    pub limit: Option<Span>,
}

#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    pub spans: ChangeSpans,
    pub ctes: &'a [Cte<'a>],
    pub ignore: bool,
    pub tables: &'a [TableExpr<'a>],
    pub set: &'a [Assign<'a>],
    pub filter: Option<Expr<'a>>,
    pub order: &'a [Ordered<'a>],
    pub limit: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Delete<'a> {
    pub spans: ChangeSpans,
    pub ctes: &'a [Cte<'a>],
    pub ignore: bool,
    /// The tables whose rows go, in the multi-table forms.
    pub targets: &'a [&'a TableName<'a>],
    pub tables: &'a [TableExpr<'a>],
    pub filter: Option<Expr<'a>>,
    pub order: &'a [Ordered<'a>],
    pub limit: bool,
    pub returning: &'a [SelectItem<'a>],
}
