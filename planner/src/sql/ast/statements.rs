//! Statements that are neither queries nor changes of rows: DDL, EXPLAIN, SET and SHOW.
use super::{Span, Statement, TableName};

/// A statement that changes what there is: CREATE, ALTER, DROP, RENAME, TRUNCATE.
#[derive(Debug, Clone, Copy)]
pub struct Ddl<'a> {
    /// Those that it names, also in LIKE and RENAME TO; a view and a sequence count as one.
    pub tables: &'a [&'a TableName<'a>],
    /// `CREATE TEMPORARY TABLE`, `DROP TEMPORARY TABLE`
    pub temporary: bool,
    /// CREATE / DROP / ALTER DATABASE.
    pub database: Option<&'a str>,
    /// `IF EXISTS`, `IF NOT EXISTS`
    pub if_exists: bool,
    /// The verb is CREATE.
    pub create: bool,
    /// Objects that cannot be on several shards safely (procedures, users).
    pub other_object: bool,
}

/// EXPLAIN, DESCRIBE, ANALYZE of a statement, and Vitess's VEXPLAIN.
#[derive(Debug, Clone, Copy)]
pub struct Explain<'a> {
    /// The statement that is explained.
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

/// One assignment of SET.
#[derive(Debug, Clone, Copy)]
pub struct SetItem<'a> {
    /// What it assigns to.
    pub scope: crate::plan::Scope,
    /// The variable's name, lower case, of user variables as written and without `@`; `names`,
    /// `character set` and `transaction` for these forms.
    pub name: &'a str,
    /// The assignment's own text.
    pub span: Span,
    /// The value's text; empty for DEFAULT.
    pub value: Span,
    /// What the value is.
    pub kind: SetItemKind,
}

/// What stands behind the `=` of SET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetItemKind {
    /// One literal token or one word.
    Literal,
    /// `DEFAULT`
    Default,
    /// Anything else.
    Expression,
}

/// What SHOW asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShowKind {
    /// `SHOW DATABASES`, `SHOW SCHEMAS`, `SHOW KEYSPACES`
    Databases,
    /// `SHOW SHARDS`, `SHOW VITESS_SHARDS`
    Shards,
    /// `SHOW TABLETS`, `SHOW VITESS_TABLETS`
    Tablets,
    /// `SHOW VITESS_TARGET`
    Target,
    /// `SHOW VSCHEMA TABLES`
    VschemaTables,
    /// `SHOW VSCHEMA VINDEXES`
    VschemaVindexes,
    /// `SHOW VSCHEMA KEYSPACES`
    VschemaKeyspaces,
    /// `SHOW WARNINGS`
    Warnings,
    /// `SHOW ERRORS`
    Errors,
    /// `SHOW COUNT(*) WARNINGS`
    CountWarnings,
    /// `SHOW COUNT(*) ERRORS`
    CountErrors,
    /// Asks about the schema of a keyspace: TABLES, COLUMNS, CREATE TABLE, INDEX ...
    Schema,
    /// The sessions, with at most 100 bytes of what they run, or with all of it.
    Processlist,
    /// `SHOW FULL PROCESSLIST`
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

/// A SHOW.
#[derive(Debug, Clone, Copy)]
pub struct Show<'a> {
    /// What it asks for.
    pub kind: ShowKind,
    /// `SHOW COLUMNS FROM t`, `SHOW CREATE TABLE t`
    pub table: Option<&'a TableName<'a>>,
    /// `FROM database`
    pub database: Option<(&'a str, Span)>,
    /// The unquoted LIKE pattern.
    pub like: Option<&'a str>,
    /// The first number of `LIMIT 2, 3`; 0 without one.
    pub offset: u64,
    /// How many rows; `None`: all.
    pub limit: Option<u64>,
    /// `SHOW TABLE STATUS`
    pub status: bool,
    /// `SHOW INDEX`
    pub keys: bool,
    /// A keyspace, or a transaction's id.
    pub name: Option<&'a str>,
}
