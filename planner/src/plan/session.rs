//! What a session does by itself, and what it is told for that.
use super::{Assignment, generate};

#[derive(Debug, Clone, PartialEq)]
pub enum SessionAction {
    Begin {
        access: Option<AccessMode>,
        consistent_snapshot: bool,
    },
    Commit {
        /// `None` where the statement does not say: `completion_type` decides.
        chain: Option<bool>,
        release: Option<bool>,
    },
    Rollback {
        /// `None` where the statement does not say: `completion_type` decides.
        chain: Option<bool>,
        release: Option<bool>,
    },
    Savepoint(String),
    RollbackTo(String),
    ReleaseSavepoint(String),
    Set(Vec<Assignment>),
    /// `USE name`, the raw target string: `ks`, `ks:-80@primary`, `@replica`.
    Use(String),
    /// `text`: what stands for the id: an expression, or a user's name.
    Kill {
        query_only: bool,
        whom: KillTarget,
        text: String,
    },
    /// `SHOW GRANTS` of the client itself.
    ShowGrants,
    /// `SHOW [FULL] PROCESSLIST`: the sessions of this process, which KILL takes by the same ids.
    ShowProcesslist {
        full: bool,
    },
    /// `SHOW UNRESOLVED TRANSACTIONS [FOR keyspace]`, `SHOW TRANSACTION STATUS FOR 'id'`:
    /// transactions over several shards.
    ShowTransactions {
        id: Option<String>,
        keyspace: Option<String>,
    },
    /// `SHOW WARNINGS | ERRORS | COUNT(*) WARNINGS`, `[LIMIT offset, count]`.
    ShowWarnings {
        kind: WarningsKind,
        count_only: bool,
        offset: u64,
        limit: Option<u64>,
    },
    /// `PREPARE name FROM 'text' | @var`.
    Prepare {
        name: String,
        source: PrepareSource,
    },
    /// `EXECUTE name [USING @a, ...]`.
    Execute {
        name: String,
        using: Vec<String>,
    },
    /// `EXECUTE IMMEDIATE 'text' | @var [USING @a, ...]`.
    ExecuteImmediate {
        source: PrepareSource,
        using: Vec<String>,
    },
    Deallocate {
        name: String,
    },
    /// `SELECT NEXT VALUE FOR sequence`, `SELECT NEXT n VALUES FROM sequence`.
    NextValues {
        sequence: generate::Sequence,
        count: u64,
    },
    /// A query that is run to be explained: its text, and its plan as JSON.
    Vexplain {
        kind: VexplainKind,
        sql: Vec<u8>,
        plan: String,
    },
    /// A vindex as a table: its rows, whose values may be any bytes.
    VindexRows {
        columns: Vec<String>,
        rows: Vec<Vec<Option<Vec<u8>>>>,
    },
    /// `UNLOCK TABLES`.
    UnlockTables,
    /// `CREATE DATABASE`, `DROP DATABASE`: the control plane makes keyspaces, where it has servers
    /// for them. `lenient`: one that is there already, or is not, is no mistake.
    Database {
        create: bool,
        name: String,
        lenient: bool,
    },
    /// Nothing to do; the client is told why by a note among the warnings.
    Note {
        code: u16,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessMode {
    ReadOnly,
    ReadWrite,
}

/// Whose session KILL stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillTarget {
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarningsKind {
    Warnings,
    Errors,
}

#[derive(Clone, PartialEq, Eq)]
pub enum PrepareSource {
    /// As the client's bytes, in the character set of its text.
    Text(Vec<u8>),
    Variable(String),
}
