//! Syntax trees. They live in an arena, are `Copy`, and keep only what the planner asks about:
//! operators that it need not understand are [`ExprKind::Other`] with their operands, because the
//! text itself goes to the server.

mod changes;

pub use super::token::Span;
pub use changes::*;

#[derive(Debug, Clone, Copy)]
pub struct Expr<'a> {
    pub span: Span,
    pub kind: ExprKind<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    Eq,
    NullSafeEq,
    Other,
}

#[derive(Debug, Clone, Copy)]
pub struct ColumnName<'a> {
    pub database: Option<&'a str>,
    pub table: Option<&'a str>,
    pub name: &'a str,
    /// The database's name and the dot after it, when there is one.
    pub database_span: Option<Span>,
}

#[derive(Debug, Clone, Copy)]
pub enum ExprKind<'a> {
    Column(&'a ColumnName<'a>),
    /// A literal: its number in the fingerprint if it was lifted.
    Literal(Option<u16>),
    Null,
    Bool,
    Param(u16),
    /// `@a` or `@@a`
    Variable,
    /// `DEFAULT`
    Default,
    And(&'a [Expr<'a>]),
    Or(&'a [Expr<'a>]),
    Not(&'a Expr<'a>),
    Compare {
        op: CompareOp,
        sides: &'a [Expr<'a>; 2],
    },
    InList {
        left: &'a Expr<'a>,
        not: bool,
        list: &'a [Expr<'a>],
    },
    /// A list that the fingerprint collapsed.
    InCollapsed {
        left: &'a Expr<'a>,
        not: bool,
        list: u16,
    },
    InQuery {
        left: &'a Expr<'a>,
        not: bool,
        query: &'a Query<'a>,
    },
    Row(&'a [Expr<'a>]),
    Call(&'a Call<'a>),
    Exists(&'a Query<'a>),
    Subquery(&'a Query<'a>),
    /// `*`, `t.*`: the table's name. `db.t.*` is a column whose name is `*`.
    Star(Option<&'a str>),
    /// Any other operation.
    Other(&'a [Expr<'a>]),
}

#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub database: Option<&'a str>,
    pub name: &'a str,
    pub args: &'a [Expr<'a>],
    /// `f(...) OVER ...`
    pub window: bool,
    /// `COUNT(DISTINCT ...)`
    pub distinct: bool,
    /// Has it more in its parentheses than arguments: ORDER BY, SEPARATOR, LIMIT, FROM, USING, AS?
    pub clauses: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct TableName<'a> {
    pub span: Span,
    pub database: Option<&'a str>,
    pub database_span: Option<Span>,
    pub name: &'a str,
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

#[derive(Debug, Clone, Copy)]
pub struct VindexHint<'a> {
    pub ignore: bool,
    pub names: &'a [&'a str],
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
}

#[derive(Debug, Clone, Copy)]
pub enum TableExpr<'a> {
    Table(&'a TableName<'a>),
    Derived(&'a Derived<'a>),
    Join(&'a Join<'a>),
    /// `(a, b)`
    List(&'a [Self]),
    /// `JSON_TABLE(...)` and other table functions.
    Function {
        args: &'a [Expr<'a>],
        alias: Option<&'a str>,
    },
}

#[derive(Debug, Clone, Copy)]
pub struct Derived<'a> {
    pub query: &'a Query<'a>,
    pub alias: Option<&'a str>,
    pub columns: &'a [&'a str],
    pub lateral: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Join<'a> {
    /// Both sides and their condition.
    pub span: Span,
    pub kind: JoinKind,
    pub natural: bool,
    pub left: TableExpr<'a>,
    pub right: TableExpr<'a>,
    pub on: Option<Expr<'a>>,
    pub using: &'a [&'a str],
}

#[derive(Debug, Clone, Copy)]
pub struct SelectItem<'a> {
    pub expr: Expr<'a>,
    pub alias: Option<&'a str>,
    /// Where an alias could be put.
    pub end: u32,
}

/// An item of ORDER BY or GROUP BY.
#[derive(Debug, Clone, Copy)]
pub struct Ordered<'a> {
    /// Without its direction.
    pub expr: Expr<'a>,
    pub descending: bool,
}

/// LIMIT, or OFFSET and FETCH.
#[derive(Debug, Clone, Copy)]
pub struct Limit<'a> {
    pub span: Span,
    pub skip: Option<Expr<'a>>,
    pub take: Option<Expr<'a>>,
    /// Is there nothing else in it: no ROWS EXAMINED, no WITH TIES, no FETCH without a number?
    pub plain: bool,
}

/// One SELECT. Spans of clauses begin with their first word.
#[derive(Debug, Clone, Copy, Default)]
pub struct Select<'a> {
    pub span: Span,
    pub distinct: bool,
    /// The word DISTINCT.
    pub distinct_span: Option<Span>,
    pub calc_found_rows: bool,
    pub items: &'a [SelectItem<'a>],
    /// The end of the last item, with its alias.
    pub items_end: u32,
    pub from_span: Option<Span>,
    pub from: &'a [TableExpr<'a>],
    pub filter_span: Option<Span>,
    pub filter: Option<Expr<'a>>,
    pub group_span: Option<Span>,
    pub group: &'a [Ordered<'a>],
    pub rollup: bool,
    pub having_span: Option<Span>,
    pub having: Option<Expr<'a>>,
    /// Expressions of the WINDOW clause.
    pub windows: &'a [Expr<'a>],
    pub windows_span: Option<Span>,
    pub into: bool,
    pub into_span: Option<Span>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    Union,
    Except,
    Intersect,
}

/// How a query's part is put together with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetOp {
    pub kind: SetKind,
    pub all: bool,
}

impl SetOp {
    /// Are rows compared with each other?
    pub fn compares(self) -> bool {
        self.kind != SetKind::Union || !self.all
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    Select(&'a Select<'a>),
    /// `VALUES ROW(...), ...`
    Values(&'a [Expr<'a>]),
    /// `TABLE t`
    Table(&'a TableName<'a>),
    Nested(&'a Query<'a>),
}

#[derive(Debug, Clone, Copy)]
pub struct Cte<'a> {
    pub name: &'a str,
    pub columns: &'a [&'a str],
    pub query: &'a Query<'a>,
}

#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    pub span: Span,
    pub ctes: &'a [Cte<'a>],
    pub recursive: bool,
    pub first: Body<'a>,
    pub rest: &'a [(SetOp, Body<'a>)],
    pub order: &'a [Ordered<'a>],
    pub order_span: Option<Span>,
    pub limit: Option<Limit<'a>>,
    /// FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE
    pub locking: bool,
    pub locks: &'a [Span],
    /// INTO, PROCEDURE
    pub into: bool,
    pub into_span: Option<Span>,
}

#[derive(Debug, Clone, Copy)]
pub struct Ddl<'a> {
    pub tables: &'a [&'a TableName<'a>],
    pub temporary: bool,
    /// CREATE / DROP / ALTER DATABASE.
    pub database: Option<&'a str>,
    pub if_exists: bool,
    pub create: bool,
    /// Objects that cannot be on several shards safely (procedures, users).
    pub other_object: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Explain<'a> {
    pub inner: Option<&'a Statement<'a>>,
    /// `EXPLAIN FORMAT=VITESS`, `VEXPLAIN PLAN`
    pub plan: bool,
    /// `VEXPLAIN QUERIES|ALL|TRACE`
    pub trace: Option<crate::plan::VexplainKind>,
    /// `VEXPLAIN KEYS`
    pub keys: bool,
    /// Where the statement begins that is explained.
    pub start: u32,
    /// `ANALYZE SELECT`, `EXPLAIN ANALYZE`: the statement runs.
    pub analyze: bool,
    /// `DESCRIBE t`
    pub table: Option<&'a TableName<'a>>,
}

#[derive(Debug, Clone, Copy)]
pub struct SetItem<'a> {
    pub scope: crate::plan::Scope,
    pub name: &'a str,
    /// The assignment's own text.
    pub span: Span,
    /// The value's text; empty for DEFAULT.
    pub value: Span,
    pub kind: SetItemKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetItemKind {
    /// One literal token or one word.
    Literal,
    Default,
    Expression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShowKind {
    Databases,
    Shards,
    Tablets,
    Target,
    VschemaTables,
    VschemaVindexes,
    VschemaKeyspaces,
    Warnings,
    Errors,
    CountWarnings,
    CountErrors,
    /// Asks about the schema of a keyspace: TABLES, COLUMNS, CREATE TABLE, INDEX ...
    Schema,
    /// The sessions, with at most 100 bytes of what they run, or with all of it.
    Processlist,
    FullProcesslist,
    /// Of the client itself.
    Grants,
    /// `UNRESOLVED TRANSACTIONS [FOR keyspace]`, as Vitess has it.
    Unresolved,
    /// `TRANSACTION STATUS [FOR] 'id'`
    TransactionStatus,
    /// A statement of Vitess's that is not there, and what to do instead.
    Absent(&'static str),
    /// Anything else: VARIABLES, STATUS, ENGINES ...
    Server,
}

#[derive(Debug, Clone, Copy)]
pub struct Show<'a> {
    pub kind: ShowKind,
    pub table: Option<&'a TableName<'a>>,
    /// `FROM database`
    pub database: Option<(&'a str, Span)>,
    /// The unquoted LIKE pattern.
    pub like: Option<&'a str>,
    pub offset: u64,
    pub limit: Option<u64>,
    /// `SHOW TABLE STATUS`
    pub status: bool,
    /// `SHOW INDEX`
    pub keys: bool,
    /// A keyspace, or a transaction's id.
    pub name: Option<&'a str>,
}

#[derive(Debug, Clone, Copy)]
pub enum Statement<'a> {
    Query(&'a Query<'a>),
    Insert(&'a Insert<'a>),
    Update(&'a Update<'a>),
    Delete(&'a Delete<'a>),
    Explain(&'a Explain<'a>),
    Show(&'a Show<'a>),
    Set(&'a [SetItem<'a>]),
    Use(&'a str),
    Begin {
        access: Option<crate::plan::AccessMode>,
        consistent: bool,
    },
    Commit {
        /// `None` where the statement does not say.
        chain: Option<bool>,
        release: Option<bool>,
    },
    Rollback {
        /// `None` where the statement does not say.
        chain: Option<bool>,
        release: Option<bool>,
    },
    Savepoint(&'a str),
    RollbackTo(&'a str),
    ReleaseSavepoint(&'a str),
    Kill {
        query_only: bool,
        whom: crate::plan::KillTarget,
        text: Span,
    },
    /// `PREPARE name FROM`: the text between quotes, or a variable.
    Prepare {
        name: &'a str,
        text: Option<Span>,
        variable: Option<&'a str>,
    },
    Execute {
        name: &'a str,
        using: &'a [&'a str],
    },
    /// `EXECUTE IMMEDIATE` of a text between quotes, or of a variable.
    ExecuteImmediate {
        text: Option<Span>,
        variable: Option<&'a str>,
        using: &'a [&'a str],
    },
    Deallocate(&'a str),
    /// `SELECT NEXT VALUE FOR t`, `SELECT NEXT n VALUES FROM t`; the number where it is written,
    /// else a parameter stands there.
    NextValues {
        table: &'a TableName<'a>,
        count: Option<Span>,
        param: bool,
    },
    LockTables(&'a [&'a TableName<'a>]),
    UnlockTables,
    Ddl(&'a Ddl<'a>),
    AlterVschema,
    /// ANALYZE, OPTIMIZE, CHECK, REPAIR, CHECKSUM TABLE.
    Admin(&'a [&'a TableName<'a>]),
    /// Of these tables, of which there may be none.
    Flush(&'a [&'a TableName<'a>]),
    /// `CALL p(...)`: the database that names it.
    Call(Option<&'a str>),
    Do(&'a [Expr<'a>]),
    LoadData(Option<&'a TableName<'a>>),
    /// Only comments or directives.
    Nothing,
    /// Not understood.
    Unknown,
}
