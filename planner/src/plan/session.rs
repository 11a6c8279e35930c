//! What a session does by itself, and what it is told for that.
use super::{Assignment, generate};

/// What a session does itself, with the connections that it holds.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionAction {
    /// `BEGIN`, `START TRANSACTION`.
    Begin {
        /// `READ ONLY` or `READ WRITE`, where one is written.
        access: Option<AccessMode>,
        /// `WITH CONSISTENT SNAPSHOT`
        consistent_snapshot: bool,
    },
    /// `COMMIT [AND [NO] CHAIN] [[NO] RELEASE]`
    Commit {
        /// `None` where the statement does not say: `completion_type` decides.
        chain: Option<bool>,
        /// As `chain`, of `RELEASE`, which closes the connection.
        release: Option<bool>,
    },
    /// `ROLLBACK [AND [NO] CHAIN] [[NO] RELEASE]`
    Rollback {
        /// `None` where the statement does not say: `completion_type` decides.
        chain: Option<bool>,
        /// As `chain`, of `RELEASE`, which closes the connection.
        release: Option<bool>,
    },
    /// `SAVEPOINT name`; names are without quotes, here and in the next two.
    Savepoint(String),
    /// `ROLLBACK TO [SAVEPOINT] name`
    RollbackTo(String),
    /// `RELEASE SAVEPOINT name`
    ReleaseSavepoint(String),
    /// `SET`: its assignments, in their order.
    Set(Vec<Assignment>),
    /// `USE name`, the raw target string: `ks`, `ks:-80@primary`, `@replica`.
    Use(String),
    /// `KILL [CONNECTION | QUERY] ...`
    Kill {
        /// `KILL QUERY`: the session goes on.
        query_only: bool,
        /// Whose session, or which statement.
        whom: KillTarget,
        /// What stands for the id: an expression, or a user's name.
        text: String,
    },
    /// `SHOW GRANTS` of the client itself.
    ShowGrants,
    /// `SHOW [FULL] PROCESSLIST`: the sessions of this process, which KILL takes by the same ids.
    ShowProcesslist {
        /// Statements are shown whole, not their first 100 bytes only.
        full: bool,
    },
    /// `SHOW UNRESOLVED TRANSACTIONS [FOR keyspace]`, `SHOW TRANSACTION STATUS FOR 'id'`:
    /// transactions over several shards.
    ShowTransactions {
        /// Only this one.
        id: Option<String>,
        /// Only those with a part in this keyspace.
        keyspace: Option<String>,
    },
    /// `SHOW WARNINGS | ERRORS | COUNT(*) WARNINGS`, `[LIMIT offset, count]`.
    ShowWarnings {
        /// All, or errors only.
        kind: WarningsKind,
        /// `COUNT(*)`: their number is asked for.
        count_only: bool,
        /// How many to leave out at first.
        offset: u64,
        /// How many to show at most; `None`: all.
        limit: Option<u64>,
    },
    /// `PREPARE name FROM 'text' | @var`.
    Prepare {
        /// Without quotes.
        name: String,
        /// Where the text is.
        source: PrepareSource,
    },
    /// `EXECUTE name [USING @a, ...]`.
    Execute {
        /// Without quotes.
        name: String,
        /// User variables, without `@`.
        using: Vec<String>,
    },
    /// `EXECUTE IMMEDIATE 'text' | @var [USING @a, ...]`.
    ExecuteImmediate {
        /// Where the text is.
        source: PrepareSource,
        /// User variables, without `@`.
        using: Vec<String>,
    },
    /// `DEALLOCATE PREPARE name`, `DROP PREPARE name`.
    Deallocate {
        /// Without quotes.
        name: String,
    },
    /// `SELECT NEXT VALUE FOR sequence`, `SELECT NEXT n VALUES FROM sequence`.
    NextValues {
        /// The sequence's table.
        sequence: generate::Sequence,
        /// How many numbers. 0: the statement's parameter says it.
        count: u64,
    },
    /// A query that is run to be explained: its text, and its plan as JSON.
    Vexplain {
        /// What is told.
        kind: VexplainKind,
        /// The query, without `VEXPLAIN`.
        sql: Vec<u8>,
        /// As VEXPLAIN PLAN shows it.
        plan: String,
    },
    /// A vindex as a table: its rows, whose values may be any bytes.
    VindexRows {
        /// The columns' names.
        columns: Vec<String>,
        /// A value for each column; `None` is NULL.
        rows: Vec<Vec<Option<Vec<u8>>>>,
    },
    /// `UNLOCK TABLES`.
    UnlockTables,
    /// `CREATE DATABASE`, `DROP DATABASE`: the control plane makes keyspaces, where it has servers
    /// for them. `lenient`: one that is there already, or is not, is no mistake.
    Database {
        /// CREATE, else DROP.
        create: bool,
        /// Without quotes.
        name: String,
        /// `IF NOT EXISTS`, `IF EXISTS`.
        lenient: bool,
    },
    /// Nothing to do; the client is told why by a note among the warnings.
    Note {
        /// MySQL's number of the note.
        code: u16,
        /// What SHOW WARNINGS says.
        message: String,
    },
    /// Nothing to do, answer OK (an empty statement, `SET` of an ignored Vitess variable).
    Nothing,
}

/// What VEXPLAIN tells of a query that it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VexplainKind {
    /// What went to which shard.
    Queries,
    /// The plan, and how each server explains its part.
    All,
    /// The plan, with rows and times of each part.
    Trace,
}

/// What a transaction may do, in the words of START TRANSACTION.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessMode {
    /// `READ ONLY`
    ReadOnly,
    /// `READ WRITE`
    ReadWrite,
}

/// Whose session KILL stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillTarget {
    /// The one with this `CONNECTION_ID()`.
    Session(u64),
    /// `KILL CONNECTION_ID()`
    Own,
    /// Any other expression: a server tells its value.
    Expression,
    /// MariaDB's `KILL USER name`: all sessions of a user.
    User,
    /// MariaDB's `KILL QUERY ID n`: a statement by its number.
    QueryId,
}

/// What SHOW WARNINGS and SHOW ERRORS tell of the last statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarningsKind {
    /// Notes, warnings and errors.
    Warnings,
    /// Errors only.
    Errors,
}

/// Where the text stands that PREPARE and EXECUTE IMMEDIATE take.
#[derive(Clone, PartialEq, Eq)]
pub enum PrepareSource {
    /// As the client's bytes, in the character set of its text.
    Text(Vec<u8>),
    /// A user variable's name, without `@`.
    Variable(String),
}
