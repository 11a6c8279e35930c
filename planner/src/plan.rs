//! What the planner hands to the executor. A plan holds no literal of the statement it was made
//! from: it is shared by all statements with the same normalised text, and is bound to one of them
//! by [`resolve`](crate::resolve).
mod debug;
pub mod generate;
pub mod load;
pub mod lookup;
pub mod maintain;
mod session;
mod set;
pub mod tree;
pub mod write;

pub use session::*;
pub use set::{Assignment, Scope, SetValue};

use crate::column::Family;
use crate::snapshot::{KeyspaceIdx, TabletKind};
use crate::vindex::Vindex;
use crate::vitess_variables::VitessVariable;
use smallvec::SmallVec;
use std::sync::Arc;

/// What is done for one statement, whatever the values in it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Who does it, and how.
    pub action: Action,
    /// What kind of statement it is.
    pub class: StatementClass,
    /// What it does beside its answer.
    pub effects: Effects,
    /// May the plan be kept under the normalised text? False where the plan holds values (SET, USE,
    /// SHOW ... LIKE).
    pub cacheable: bool,
    /// What its comments ask for.
    pub directives: Directives,
    /// `keyspace.table` names touched, for metrics and `/queryz`.
    pub tables: Vec<String>,
    /// All names in it, as [`mention`](crate::mention) hashes them.
    pub names: Vec<u64>,
}

/// What `/*vt+ ... */` comments ask for, of those that Vitess knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// `ALLOW_SCATTER`
    pub(crate) allow_scatter: bool,
    /// `SCATTER_ERRORS_AS_WARNINGS`
    pub scatter_errors_as_warnings: bool,
    /// `IGNORE_MAX_MEMORY_ROWS`
    pub ignore_max_memory_rows: bool,
    /// `QUERY_TIMEOUT_MS`, in milliseconds; 0: no limit.
    pub query_timeout_ms: Option<u64>,
    /// `FINISH`, one of ours: a query of several shards is finished by a server, even where the
    /// proxy could merge it.
    pub(crate) finish: bool,
    /// `WORKLOAD_NAME`: what the statement is counted under.
    pub workload_name: Option<Box<str>>,
    /// `PRIORITY`: 0 is the most important; nothing is held back by it here. `Some(None)`: it is
    /// none.
    pub priority: Option<Option<u8>>,
}

/// For metrics, for users' rights, and for what the executor may assume: of those that go to
/// servers, replicas get only `Select`, `Show` and `Explain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatementClass {
    /// `SELECT`, `VALUES ROW(...)`, `TABLE t`, without locking clauses and INTO.
    Select,
    /// `SELECT ... FOR UPDATE`, `LOCK IN SHARE MODE` or `INTO`, and a query that the grammar does
    /// not know.
    SelectLocking,
    /// `INSERT`
    Insert,
    /// `REPLACE`
    Replace,
    /// `UPDATE`
    Update,
    /// `DELETE`
    Delete,
    /// `CREATE`, `ALTER`, `DROP`, `RENAME`, `TRUNCATE`, and ALTER VSCHEMA.
    Ddl,
    /// `SET`
    Set,
    /// `SHOW`
    Show,
    /// `USE`
    Use,
    /// `BEGIN`, `START TRANSACTION`
    Begin,
    /// `COMMIT`
    Commit,
    /// `ROLLBACK`, to no savepoint.
    Rollback,
    /// `SAVEPOINT`, `RELEASE SAVEPOINT`, `ROLLBACK TO`
    Savepoint,
    /// `LOCK TABLES`, `UNLOCK TABLES`
    Lock,
    /// `KILL`
    Kill,
    /// `CALL`
    Call,
    /// `EXPLAIN`, `DESCRIBE`, `VEXPLAIN`
    Explain,
    /// `LOAD DATA`
    LoadData,
    /// `ANALYZE`, `OPTIMIZE`, `CHECK`, `REPAIR`, `CHECKSUM TABLE`, `FLUSH`
    Admin,
    /// `PREPARE`, `EXECUTE`, `DEALLOCATE PREPARE`
    Prepare,
    /// All others, those among them that the grammar does not know.
    Other,
}

bitflags::bitflags! {
    /// What a statement does to the connection that runs it, beyond its answer.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Effects: u32 {
        /// Leaves state that cannot be replayed (temporary table, GET_LOCK, LOCK TABLES, HANDLER,
        /// CALL, unknown statement): the session keeps this connection until it ends or resets.
        const PIN = 1;
        /// Assigns user variables inside a query (`@a := ...`, `SELECT ... INTO @a`): as PIN.
        const ASSIGNS_VARIABLES = 1 << 1;
        /// Reads user variables: needs the session's settings applied (they always are), not
        /// cacheable elsewhere.
        const READS_VARIABLES = 1 << 2;
        /// `SQL_CALC_FOUND_ROWS`: the next statement must see the same connection.
        const CALC_FOUND_ROWS = 1 << 3;
        /// Commits an open transaction first, as MySQL does (DDL, LOCK TABLES, ...).
        const IMPLICIT_COMMIT = 1 << 4;
        /// Changes table definitions: the control plane must read the schema again before the
        /// answer goes out.
        const SCHEMA_CHANGE = 1 << 5;
        /// Drop-in: changes which databases exist.
        const DATABASE_CHANGE = 1 << 6;
        /// Releases what PIN held (UNLOCK TABLES, RELEASE_ALL_LOCKS): informational.
        const UNPIN = 1 << 7;
        /// SELECT or DO without tables: leaves the last statement's warnings where they are.
        const NO_TABLES = 1 << 8;
        /// Sets LAST_INSERT_ID() in a way that its OK does not tell: `LAST_INSERT_ID(n)`, CALL,
        /// INSERT ... RETURNING.
        const SETS_INSERT_ID = 1 << 9;
        /// INSERT or REPLACE of literals and parameters only.
        const PLAIN_ROWS = 1 << 10;
        /// INSERT or REPLACE of collapsed rows, with nothing behind them: see
        /// [`crate::rows::Rows`].
        const ROWS_ONLY = 1 << 11;
        /// A query: writes nothing, unless a routine does that it calls.
        const READS = 1 << 12;
        /// Changes a sequence's table.
        const SEQUENCE = 1 << 13;
        /// A change that is answered with rows: RETURNING.
        const RETURNS = 1 << 14;
        /// For users with the admin right only: accounts, the server's own settings and life, its
        /// files.
        const ADMIN = 1 << 15;
        /// A statement of the client's own XA transaction.
        const XA = 1 << 16;
    }
}

/// Who does the statement's work.
#[derive(Debug, Clone)]
pub enum Action {
    /// Send it to one or more shards.
    Route(Route),
    /// The session does it itself.
    Session(SessionAction),
    /// Answered from the snapshot: rows of text.
    Rows(LocalRows),
    /// `ALTER VSCHEMA ...`: the statement's own text goes to the control plane; `keyspace` is the
    /// default one.
    AlterVschema {
        /// The session's; the statement may name another one.
        keyspace: Option<KeyspaceIdx>,
    },
    /// Put the answers of several shards together.
    Tree(Box<tree::Tree>),
    /// Read rows, then change them.
    Write(write::Write),
}

/// A result that the planner can give in full.
#[derive(Debug, Clone)]
pub struct LocalRows {
    /// The columns' names.
    pub columns: Vec<String>,
    /// A value for each column; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// A statement that goes to servers whole: to each of them, as it is or with its own part of the
/// values.
#[derive(Debug, Clone)]
pub struct Route {
    /// The servers, as far as the plan tells without values.
    pub to: Target,
    /// What becomes of the answers of several.
    pub combine: Combine,
    pub(crate) text: Text,
    /// `USE ks@replica` or the statement itself asks for this kind; reads only.
    pub tablet_kind: TabletKind,
    /// Right only where one shard has all of it. Where several have, resolving gives
    /// [`PlanError::Several`](crate::PlanError), and the statement is planned again with `split`.
    pub(crate) alone: bool,
    /// What keeps lookup tables right.
    pub maintain: Option<Box<maintain::Maintain>>,
    /// Rows lack numbers, which come from a sequence: binding gives
    /// [`PlanError::Generate`](crate::PlanError), and the text with the numbers in it is planned
    /// with `numbered`.
    pub generate: Option<Box<generate::Generate>>,
    /// A file's lines are divided among the shards.
    pub load: Option<Box<load::Load>>,
    /// The ALTER VSCHEMA that a new table's comment asks for, once the table is there.
    pub vindex: Option<Box<str>>,
}

/// Which servers.
#[derive(Debug, Clone)]
pub enum Target {
    /// Drop-in mode: the one server.
    DropIn,
    /// A keyspace's shards.
    Keyspace {
        /// In the snapshot that the plan was made with.
        keyspace: KeyspaceIdx,
        /// Which of its shards.
        shards: Destination,
    },
}

/// Which shards of a keyspace. The vindex's result is computed by [`resolve`](crate::resolve) for
/// each execution.
#[derive(Debug, Clone)]
pub enum Destination {
    /// The keyspace has one shard and is not sharded.
    Unsharded,
    /// One shard, it does not matter which (`SELECT 1`, reference tables). Always the same one, so
    /// that answers agree.
    Any,
    /// The session has chosen this shard (`USE ks:-80`).
    Shard(u16),
    /// One value (or one tuple for multi-column vindexes): at most one shard when the vindex is
    /// unique. Values that do not tell which shard go to all of them, unless `alone` says why the
    /// statement needs to be on one.
    Equal {
        /// The vindex and the value.
        to: EqualTo,
        /// Why the statement needs to be on one shard, as its error says it.
        alone: Option<String>,
    },
    /// Several tables, each restricted to one value: right only where all of them mean one and the
    /// same shard.
    Together(Vec<EqualTo>),
    /// `col IN (...)`, or a row of tuples; each shard gets the part of the list that lies there
    /// when the text can be split.
    In {
        /// The vindex that maps each item.
        vindex: Arc<dyn Vindex>,
        /// The types of its columns.
        families: SmallVec<[Family; 1]>,
        /// The list's items.
        rows: InRows,
    },
    /// A lookup table knows: it is asked first.
    Lookup(Box<lookup::LookupTo>),
    /// A pinned table.
    KeyspaceId(Vec<u8>),
    /// INSERT / REPLACE: rows go where their primary vindex says.
    Rows(InsertRows),
    /// One shard, the next in the session's turn: rows that may lie anywhere.
    Turn,
    /// All shards.
    Scatter,
    /// From one shard to another: what the session has chosen (`USE ks[range]`).
    Range(u16, u16),
    /// Can match nothing (`id = NULL`): any shard answers, with an empty result of the right shape.
    Nowhere,
}

/// A vindex and the value (or tuple) that a table's rows have for it.
#[derive(Debug, Clone)]
pub struct EqualTo {
    /// A functional one.
    pub(crate) vindex: Arc<dyn Vindex>,
    /// One for each of the vindex's first columns, in order; fewer than it has where it maps a part
    /// of its columns to a range.
    pub(crate) values: SmallVec<[Operand; 1]>,
    /// The types of the columns.
    pub(crate) families: SmallVec<[Family; 1]>,
}

impl EqualTo {
    /// The same vindex and the same values, for certain.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.vindex, &other.vindex)
            && self.values == other.values
            && self.families == other.families
    }
}

/// A value known at execution.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// `NULL`
    Null,
    /// The n-th literal of the fingerprint.
    Literal(u16),
    /// The n-th `?` of a prepared statement.
    Param(u16),
    /// A value fixed in the plan (planner-folded), as its SQL text.
    Const(Vec<u8>),
    /// `LAST_INSERT_ID()`, as the session knows it.
    InsertId,
}

/// The items of an IN-list.
#[derive(Debug, Clone)]
pub enum InRows {
    /// A collapsed list: the literals of the fingerprint's n-th list.
    List(u16),
    /// Spelled out; each row has the vindex's columns in order.
    Operands(Vec<SmallVec<[Operand; 1]>>),
}

/// The rows of an INSERT, and what their shards are told by.
#[derive(Debug, Clone)]
pub struct InsertRows {
    /// The table's primary vindex.
    pub(crate) vindex: Arc<dyn Vindex>,
    /// Column names for messages.
    pub(crate) columns: SmallVec<[String; 1]>,
    /// The types of these columns.
    pub(crate) families: SmallVec<[Family; 1]>,
    /// Those that are known to hold no NULL: a bit for each, the first one's is the lowest.
    pub(crate) not_null: u8,
    /// INSERT IGNORE: values that do not fit are changed.
    pub(crate) ignore: bool,
    /// The place of the column for which the server puts in a number of its own when it is given 0.
    pub numbered: Option<usize>,
    /// Where the values for the vindex are.
    pub(crate) source: RowSource,
    /// The rows' keyspace ids are needed for lookup tables.
    pub(crate) keeps_ids: bool,
    /// Each row's shard must be known: RETURNING answers in the order of rows.
    pub(crate) keeps_places: bool,
}

/// Where an INSERT has the values that place its rows.
#[derive(Debug, Clone)]
pub(crate) enum RowSource {
    /// Collapsed rows of pure literals: the fingerprint's row spans; `positions` are the vindex's
    /// columns inside a row (`u16::MAX`: not in the row, so NULL), `width` the literals of a row.
    Collapsed { positions: SmallVec<[u16; 1]>, width: u16 },
    /// Spelled out: per row the vindex operands; the text pieces of rows are `Piece::Row(n)`.
    Operands(Vec<SmallVec<[Operand; 1]>>),
}

/// How the answers of several shards become one. With one shard every form is the identity and the
/// answer is relayed undecoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combine {
    /// Rows of all shards, one after another.
    Concat,
    /// Affected rows, warnings are added up.
    Sum,
    /// Every shard does the same; the first answer stands for all (DDL, FLUSH, ANALYZE).
    First,
    /// SHOW TABLE STATUS: a row for each table, with rows and sizes added up.
    Status,
    /// SHOW INDEX: a row for each part of a key, with the numbers of values added up.
    Keys,
}

/// The text that goes to a shard.
#[derive(Debug, Clone)]
pub(crate) enum Text {
    /// As the client wrote it, byte for byte.
    AsIs,
    /// Put together for each shard.
    Pieces(Vec<Piece>),
    /// Pieces that are needed only where rows or list items go to several shards; with one shard,
    /// as the client wrote it.
    Split(Vec<Piece>),
}

/// A part of a text that is put together for a shard.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Bytes that are the same in every execution.
    Verbatim(Vec<u8>),
    /// The n-th literal, as written.
    Literal(u16),
    /// The n-th collapsed list, with its parentheses; with `split`, only the items that lie on the
    /// shard (it is then the list that decides the destination).
    List {
        /// The list's number in the fingerprint.
        list: u16,
        /// The items are divided among the shards.
        split: bool,
    },
    /// The collapsed rows of an INSERT that lie on the shard, separated by commas.
    CollapsedRows,
    /// Row n of a spelled-out INSERT; left out, with its comma, where it lies elsewhere.
    Row {
        /// The row's number, from 0.
        row: u16,
        /// Its text, with its parentheses and without a comma.
        pieces: Vec<Self>,
    },
    /// The n-th `?`; interpolated as a literal when the statement runs as text, kept as `?` when it
    /// is prepared on the backend.
    Param(u16),
    /// A value that only the session knows.
    Session(SessionValue),
    /// The number of rows that every shard must send for `LIMIT skip, take`: their sum.
    LimitSum {
        /// The client's OFFSET.
        skip: Option<Operand>,
        /// The client's row count.
        take: Operand,
    },
}

/// A text that is the same in every execution.
pub(crate) fn verbatim(text: impl Into<String>) -> Piece {
    Piece::Verbatim(text.into().into_bytes())
}

/// Replaces a function call in the text: behind a pool the backend's own answer would belong to
/// someone else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionValue {
    /// `LAST_INSERT_ID()`
    LastInsertId,
    /// `@@last_insert_id`, `@@identity`: the same, as a column that may be NULL.
    Identity,
    /// `ROW_COUNT()`
    RowCount,
    /// `FOUND_ROWS()`; replaced only where no `SQL_CALC_FOUND_ROWS` is pending.
    FoundRows,
    /// `CONNECTION_ID()`
    ConnectionId,
    /// `DATABASE()`, `SCHEMA()`: a quoted string or NULL.
    Database,
    /// `USER()`, `SESSION_USER()`, `SYSTEM_USER()`
    User,
    /// `CURRENT_USER()`, `CURRENT_USER`
    CurrentUser,
    /// `@@warning_count`
    WarningCount,
    /// `@@error_count`
    ErrorCount,
    /// In front of a write that every copy of a table gets: the time that all servers shall take it
    /// for. MariaDB's form.
    Clock,
    /// The same behind the verb, MySQL's form.
    ClockHint,
    /// `@@socket`
    Socket,
    /// `@@port`
    Port,
    /// `@@hostname`
    Hostname,
    /// A system variable of Vitess's, which no server has.
    Vitess(&'static VitessVariable),
}
