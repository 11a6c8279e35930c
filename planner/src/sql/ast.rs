//! Syntax trees. They live in an arena, are `Copy`, and keep only what the planner asks about:
//! operators that it need not understand are [`ExprKind::Other`] with their operands, because the
//! text itself goes to the server.

mod changes;
mod expressions;
mod queries;
mod statements;
mod tables;

pub use super::token::Span;
pub use changes::*;
pub use expressions::*;
pub use queries::*;
pub use statements::*;
pub use tables::*;

/// One statement. Names are without quotes; where a comment shows SQL, the variant is that
/// statement.
#[derive(Debug, Clone, Copy)]
pub enum Statement<'a> {
    /// `SELECT ...`, `WITH ... SELECT ...`, `VALUES ROW(1)`, `TABLE t`, `(SELECT ...) UNION ...`
    Query(&'a Query<'a>),
    /// `INSERT INTO t ...`, `REPLACE INTO t ...`
    Insert(&'a Insert<'a>),
    /// `UPDATE t SET a = 1`, also of several tables.
    Update(&'a Update<'a>),
    /// `DELETE FROM t`, also of several tables.
    Delete(&'a Delete<'a>),
    /// `EXPLAIN ...`, `DESCRIBE t`, `VEXPLAIN ...`, `ANALYZE SELECT ...`
    Explain(&'a Explain<'a>),
    /// `SHOW ...`
    Show(&'a Show<'a>),
    /// `SET a = 1, @b = 2`, `SET NAMES ...`, `SET TRANSACTION ...`: an item for each assignment.
    Set(&'a [SetItem<'a>]),
    /// `USE name`: the target string.
    Use(&'a str),
    /// `BEGIN`, `START TRANSACTION READ ONLY, WITH CONSISTENT SNAPSHOT`
    Begin {
        /// `READ ONLY` or `READ WRITE`, where one is written.
        access: Option<crate::plan::AccessMode>,
        /// `WITH CONSISTENT SNAPSHOT`
        consistent: bool,
    },
    /// `COMMIT AND CHAIN`
    Commit {
        /// `None` where the statement does not say.
        chain: Option<bool>,
        /// As `chain`, of RELEASE.
        release: Option<bool>,
    },
    /// `ROLLBACK AND NO CHAIN RELEASE`
    Rollback {
        /// `None` where the statement does not say.
        chain: Option<bool>,
        /// As `chain`, of RELEASE.
        release: Option<bool>,
    },
    /// `SAVEPOINT a`
    Savepoint(&'a str),
    /// `ROLLBACK TO a`
    RollbackTo(&'a str),
    /// `RELEASE SAVEPOINT a`
    ReleaseSavepoint(&'a str),
    /// `KILL QUERY 7`
    Kill {
        /// Only the statement ends, not the session.
        query_only: bool,
        /// Whose session, or which statement.
        whom: crate::plan::KillTarget,
        /// What stands for the id.
        text: Span,
    },
    /// `PREPARE name FROM`: the text between quotes, or a variable.
    Prepare {
        /// The prepared statement's.
        name: &'a str,
        /// The text, with its quotes.
        text: Option<Span>,
        /// The user variable that holds the text, without `@`.
        variable: Option<&'a str>,
    },
    /// `EXECUTE a USING @b, @c`
    Execute {
        /// The prepared statement's.
        name: &'a str,
        /// User variables, without `@`.
        using: &'a [&'a str],
    },
    /// `EXECUTE IMMEDIATE` of a text between quotes, or of a variable.
    ExecuteImmediate {
        /// The text, with its quotes.
        text: Option<Span>,
        /// The user variable that holds the text, without `@`.
        variable: Option<&'a str>,
        /// User variables, without `@`.
        using: &'a [&'a str],
    },
    /// `DEALLOCATE PREPARE a`, `DROP PREPARE a`
    Deallocate(&'a str),
    /// `SELECT NEXT VALUE FOR t`, `SELECT NEXT n VALUES FROM t`; the number where it is written,
    /// else a parameter stands there.
    NextValues {
        /// The sequence.
        table: &'a TableName<'a>,
        /// The `n`; `None`: one number, or `param`.
        count: Option<Span>,
        /// `?` stands in the place of `n`.
        param: bool,
    },
    /// `LOCK TABLES a READ, b WRITE`
    LockTables(&'a [&'a TableName<'a>]),
    /// `UNLOCK TABLES`
    UnlockTables,
    /// `CREATE TABLE t ...`, `DROP INDEX i ON t` and the like.
    Ddl(&'a Ddl<'a>),
    /// `ALTER VSCHEMA ...`, which the control plane reads.
    AlterVschema,
    /// ANALYZE, OPTIMIZE, CHECK, REPAIR, CHECKSUM TABLE.
    Admin(&'a [&'a TableName<'a>]),
    /// Of these tables, of which there may be none.
    Flush(&'a [&'a TableName<'a>]),
    /// `CALL p(...)`: the database that names it.
    Call(Option<&'a str>),
    /// `DO f(1), g(2)`
    Do(&'a [Expr<'a>]),
    /// `LOAD DATA INFILE 'x' INTO TABLE t`: the table, where it is found.
    LoadData(Option<&'a TableName<'a>>),
    /// Only comments or directives.
    Nothing,
    /// Not understood.
    Unknown,
}
