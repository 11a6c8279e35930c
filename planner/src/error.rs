//! Why a statement cannot be planned, in MySQL's form: code, SQLSTATE and a sentence that says what
//! to do.
use crate::lookup::LookUp;
use crate::vindex::VindexError;

/// Bytes of a text that are shown where it stops making sense. Servers show 80 of them, each in its
/// way.
const NEAR_MAX: usize = 200;

/// Every way in which planning or binding a statement can fail. All of them are the statement's
/// fault, not the server's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Understood, but this version cannot do it without risking a wrong answer.
    #[error("VT12001: unsupported: {0}")]
    Unsupported(String),
    /// The text after the place where the grammar gave up.
    #[error(
        "You have an error in your SQL syntax; check the manual that corresponds to your MySQL \
            server version for the right syntax to use near '{near}' at line {line}"
    )]
    Syntax {
        /// The text from there on, its first 200 bytes.
        near: String,
        /// The line of the statement, from 1.
        line: u32,
    },
    /// A text without a statement (`ER_EMPTY_QUERY`).
    #[error("Query was empty")]
    Empty,
    /// A table without its keyspace, which the session has not selected and the vschemas do not
    /// tell (`ER_NO_DB_ERROR`).
    #[error("No database selected: use USE <keyspace>, or write the table as keyspace.table")]
    NoDatabase,
    /// A name that no keyspace has (`ER_BAD_DB_ERROR`).
    #[error("VT05003: unknown database '{0}' in vschema")]
    UnknownDatabase(String),
    /// A table that neither vschema nor servers know (`ER_NO_SUCH_TABLE`).
    #[error("VT05004: table '{0}' does not exist")]
    UnknownTable(String),
    /// A target string names a shard that the keyspace does not have.
    #[error("no shard '{shard}' in keyspace '{keyspace}'; SHOW SHARDS lists them")]
    UnknownShard {
        /// The keyspace's name.
        keyspace: String,
        /// The shard or range, as it was written.
        shard: String,
    },
    /// What may write, where USE has chosen replicas: the servers' account may be one whose writes
    /// a replica takes.
    #[error(
        "the tablet type {0} is for reads only, so it cannot execute this statement; choose \
            another with USE <keyspace>@primary"
    )]
    ReadOnlyTablet(&'static str),
    /// What stands behind `@` in a target string.
    #[error("'{0}' is not a tablet type; allowed are primary, replica and rdonly")]
    UnknownTabletType(String),
    /// A table of several keyspaces, named without one.
    #[error(
        "ambiguous table reference: {0} is in more than one keyspace; write it as keyspace.table \
            or select a keyspace with USE"
    )]
    AmbiguousTable(String),
    /// Known from the servers, but nothing says how its rows are spread.
    #[error(
        "VT09001: table '{table}' does not have a primary vindex, so its rows cannot be placed; \
            add one with ALTER VSCHEMA ON {keyspace}.{table} ADD VINDEX <name>(<column>) USING \
            <type>"
    )]
    NoVindex {
        /// The keyspace's name.
        keyspace: String,
        /// The table's name.
        table: String,
    },
    /// The vindex takes no such value.
    #[error("cannot map the value of column '{column}' to a keyspace id: {reason}")]
    CannotMap {
        /// The vindex's column, or all of them with commas.
        column: String,
        /// What the vindex says.
        reason: String,
    },
    /// A column that places a row, or is looked up, has a value that only servers could compute.
    #[error(
        "VT12001: unsupported: INSERT into a sharded table with an expression for vindex column \
            '{0}'; give a literal or a parameter"
    )]
    NotALiteral(String),
    /// A column that places a row, or is looked up, is NULL (`ER_BAD_NULL_ERROR`).
    #[error("Column '{0}' cannot be null: it places the row, so the statement must give a value")]
    NullKey(String),
    /// In a strict mode, as a server says it of a column's value (`ER_WARN_DATA_OUT_OF_RANGE`).
    #[error("Out of range value for column '{column}' at row {row}")]
    OutOfRange {
        /// The column, as the table has it.
        column: String,
        /// The row of the INSERT, from 1.
        row: u64,
    },
    /// The same for its length (`ER_DATA_TOO_LONG`).
    #[error("Data too long for column '{column}' at row {row}")]
    DataTooLong {
        /// The column, as the table has it.
        column: String,
        /// The row of the INSERT, from 1.
        row: u64,
    },
    /// The servers keep foreign keys within a shard.
    #[error(
        "VT12002: unsupported: cross-shard foreign keys: '{key}' of '{table}' refers to rows that \
            may lie on other shards; place both tables by one vindex over the key's columns, or \
            set foreignKeyMode to unmanaged"
    )]
    CrossShardKey {
        /// The table that has the foreign key.
        table: String,
        /// The key's name.
        key: String,
    },
    /// The session has chosen several shards by a range of keyspace ids.
    #[error(
        "VT03023: INSERT not supported when targeting a key range: {0}; select the keyspace, or \
            one shard of it, with USE"
    )]
    InsertIntoRange(String),
    /// An INSERT leaves out a column that has no default (`ER_NO_DEFAULT_FOR_FIELD`).
    #[error("Field '{0}' doesn't have a default value")]
    NoDefault(String),
    /// A row with more or fewer values than columns (`ER_WRONG_VALUE_COUNT_ON_ROW`): its number,
    /// from 1.
    #[error("Column count doesn't match value count at row {0}")]
    ColumnCount(u64),
    /// A column that the table does not have (`ER_BAD_FIELD_ERROR`).
    #[error("Unknown column '{column}' in '{place}'")]
    UnknownColumn {
        /// The name, as it was written.
        column: String,
        /// The clause, in MySQL's words: `field list`.
        place: String,
    },
    /// A DELETE of several tables names one that it does not read (`ER_UNKNOWN_TABLE`).
    #[error("Unknown table '{0}' in MULTI DELETE")]
    UnknownTarget(String),
    /// The most levels that the parser goes down.
    #[error("the expression is nested more than {0} levels deep; write it with fewer parentheses")]
    TooDeep(usize),
    /// More literals, rows or tables than plans can number.
    #[error("the statement has more than {0} parts of one kind; split it into smaller statements")]
    TooLong(usize),
    /// CREATE DATABASE of a keyspace that there is.
    #[error("VT06001: cannot create database '{0}'; database exists")]
    DatabaseExists(String),
    /// DROP DATABASE of a keyspace that there is not.
    #[error("VT05001: cannot drop database '{0}'; database does not exist")]
    NoSuchDatabase(String),
    /// The keyspace id in hexadecimal digits, and the keyspace's name.
    #[error(
        "keyspace id {0} belongs to no shard of keyspace '{1}'; the shards do not cover the whole \
            range"
    )]
    NoShard(String, String),
    /// The servers that know the types of a table's columns could not be asked yet.
    #[error(
        "the columns of table '{table}' in keyspace '{keyspace}' are not known yet, so its rows \
            cannot be placed: none of the keyspace's servers could be asked since the start; try \
            again when one is up, /readyz says what is missing"
    )]
    ColumnsPending {
        /// The keyspace's name.
        keyspace: String,
        /// The table's name.
        table: String,
    },
    /// A routing rule stands in the way.
    #[error("{0}")]
    Rule(String),
    /// The statement goes to all shards, which the configuration does not allow.
    #[error(
        "plan includes scatter, which server.no_scatter disallows; restrict the statement to a \
            shard by its conditions, or allow it with the comment /*vt+ ALLOW_SCATTER */"
    )]
    NoScatter,
    /// The text's literals would end elsewhere in another character set.
    #[error(
        "the statement has a \\ or a ` right after a byte above 0x7f, which is half of a character \
            in the session's character set and none in others; pass such text as a parameter, or \
            use SET NAMES utf8mb4"
    )]
    AmbiguousText,
    /// More `?` than the protocol can number (`ER_PS_MANY_PARAM`).
    #[error("Prepared statement contains too many placeholders")]
    TooManyParameters,
    /// The plan names a literal or a parameter that the statement at hand does not have.
    #[error("a parameter of the prepared statement is missing")]
    MissingParameter,
    /// The plan is for one shard, and the values at hand lie on several: the statement has to be
    /// planned again, as one that is split (`PlanInput::split`).
    #[error("VT12001: unsupported: the statement's values lie on several shards")]
    Several,
    /// Where the rows lie a lookup table knows, which has not been asked yet
    /// (`SessionValues::looked_up`).
    #[error("the lookup vindex '{name}' has to be asked first: \
        {query}", name = .0.vindex.name, query = String::from_utf8_lossy(&.0.query))]
    LookUp(Box<LookUp>),
    /// Rows lack numbers, which have to be taken from a sequence first.
    #[error("numbers of a sequence must be taken first: {0}")]
    Generate(Box<crate::resolve::Numbers>),
    /// The directive `PRIORITY` has another value.
    #[error("Invalid priority value specified in query: PRIORITY takes a number from 0 to 100")]
    Priority,
    /// LIMIT has a parameter that is no number of rows.
    #[error("Incorrect arguments to LIMIT: it takes whole numbers from 0")]
    NotACount,
}

impl PlanError {
    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported(what.into())
    }

    pub(crate) fn no_sequence(column: &str) -> Self {
        Self::Unsupported(format!(
            "INSERT ... SELECT without a value for '{column}', which comes from a sequence; select \
                the value"
        ))
    }

    pub(crate) fn cannot_map(column: &str, error: VindexError) -> Self {
        Self::CannotMap { column: column.to_owned(), reason: error.0 }
    }

    /// MySQL's error number and SQLSTATE.
    pub fn code(&self) -> (u16, &'static [u8; 5]) {
        match self {
            Self::Unsupported(_) | Self::Several => (1235, b"42000"),
            Self::Syntax { .. } => (1064, b"42000"),
            Self::Empty => (1065, b"42000"),
            Self::NoDatabase => (1046, b"3D000"),
            Self::UnknownDatabase(_) => (1049, b"42000"),
            Self::UnknownTable(_) => (1146, b"42S02"),
            Self::UnknownShard { .. } | Self::UnknownTabletType(_) => (1049, b"42000"),
            Self::ReadOnlyTablet(_) => (1290, b"HY000"),
            Self::AmbiguousTable(_) => (1105, b"HY000"),
            Self::InsertIntoRange(_) => (1105, b"HY000"),
            Self::NoVindex { .. } => (1173, b"42000"),
            Self::CannotMap { .. } => (1105, b"HY000"),
            Self::NotALiteral(_) | Self::CrossShardKey { .. } => (1235, b"42000"),
            Self::NullKey(_) => (1048, b"23000"),
            Self::OutOfRange { .. } => (1264, b"22003"),
            Self::DataTooLong { .. } => (1406, b"22001"),
            Self::NoDefault(_) => (1364, b"HY000"),
            Self::ColumnCount(_) => (1136, b"21S01"),
            Self::UnknownColumn { .. } => (1054, b"42S22"),
            Self::UnknownTarget(_) => (1109, b"42S02"),
            Self::TooDeep(_) | Self::TooLong(_) => (1436, b"HY000"),
            Self::DatabaseExists(_) => (1007, b"HY000"),
            Self::NoSuchDatabase(_) => (1008, b"HY000"),
            Self::NoShard(..) => (1105, b"HY000"),
            Self::Rule(_) | Self::ColumnsPending { .. } | Self::LookUp(_) | Self::Generate(_) => {
                (1105, b"HY000")
            }
            Self::NoScatter => (1235, b"42000"),
            Self::AmbiguousText => (1235, b"42000"),
            Self::Priority => (1105, b"HY000"),
            Self::TooManyParameters => (1390, b"HY000"),
            Self::MissingParameter | Self::NotACount => (1210, b"HY000"),
        }
    }

    /// MySQL's message for a text that stops making sense at byte `at`.
    pub fn syntax(sql: &[u8], at: usize) -> Self {
        let at = at.min(sql.len());
        let (before, after) = sql.split_at(at);
        let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
        // As servers do, which keep texts that end at a NUL.
        let near = after.split(|b| *b == 0).next().unwrap_or_default();
        Self::Syntax {
            near: crate::raw::to_short_text(near, NEAR_MAX),
            line: u32::try_from(line).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place of a variant in the table below; a new one has to get its own.
    fn place(error: &PlanError) -> usize {
        use PlanError as E;
        match error {
            E::Unsupported(_) => 0,
            E::Syntax { .. } => 1,
            E::Empty => 2,
            E::NoDatabase => 3,
            E::UnknownDatabase(_) => 4,
            E::UnknownTable(_) => 5,
            E::UnknownShard { .. } => 6,
            E::ReadOnlyTablet(_) => 7,
            E::UnknownTabletType(_) => 8,
            E::AmbiguousTable(_) => 9,
            E::NoVindex { .. } => 10,
            E::CannotMap { .. } => 11,
            E::NotALiteral(_) => 12,
            E::NullKey(_) => 13,
            E::NoDefault(_) => 14,
            E::ColumnCount(_) => 15,
            E::UnknownColumn { .. } => 16,
            E::UnknownTarget(_) => 17,
            E::TooDeep(_) => 18,
            E::TooLong(_) => 19,
            E::DatabaseExists(_) => 20,
            E::NoShard(..) => 21,
            E::ColumnsPending { .. } => 22,
            E::Rule(_) => 23,
            E::NoScatter => 24,
            E::AmbiguousText => 25,
            E::TooManyParameters => 26,
            E::MissingParameter => 27,
            E::NotACount => 28,
            E::CrossShardKey { .. } => 29,
            E::NoSuchDatabase(_) => 30,
            E::InsertIntoRange(_) => 31,
            E::Priority => 32,
            E::OutOfRange { .. } => 33,
            E::DataTooLong { .. } => 34,
            // Never a client's to see: the statement is planned again, or a server asked first.
            E::Several | E::LookUp(_) | E::Generate(_) => usize::MAX,
        }
    }

    /// As MySQL and MariaDB number these errors.
    #[test]
    fn every_error_has_a_code_and_a_state() {
        use PlanError as E;
        let text = || "x".to_owned();
        let table: Vec<(E, u16, &[u8; 5])> = vec![
            (E::Unsupported(text()), 1235, b"42000"),
            (E::Syntax { near: text(), line: 1 }, 1064, b"42000"),
            (E::Empty, 1065, b"42000"),
            (E::NoDatabase, 1046, b"3D000"),
            (E::UnknownDatabase(text()), 1049, b"42000"),
            (E::UnknownTable(text()), 1146, b"42S02"),
            (E::UnknownShard { keyspace: text(), shard: text() }, 1049, b"42000"),
            (E::ReadOnlyTablet("x"), 1290, b"HY000"),
            (E::UnknownTabletType(text()), 1049, b"42000"),
            (E::AmbiguousTable(text()), 1105, b"HY000"),
            (E::NoVindex { keyspace: text(), table: text() }, 1173, b"42000"),
            (E::CannotMap { column: text(), reason: text() }, 1105, b"HY000"),
            (E::NotALiteral(text()), 1235, b"42000"),
            (E::NullKey(text()), 1048, b"23000"),
            (E::NoDefault(text()), 1364, b"HY000"),
            (E::ColumnCount(1), 1136, b"21S01"),
            (E::UnknownColumn { column: text(), place: text() }, 1054, b"42S22"),
            (E::UnknownTarget(text()), 1109, b"42S02"),
            (E::TooDeep(1), 1436, b"HY000"),
            (E::TooLong(1), 1436, b"HY000"),
            (E::DatabaseExists(text()), 1007, b"HY000"),
            (E::NoShard(text(), text()), 1105, b"HY000"),
            (E::ColumnsPending { keyspace: text(), table: text() }, 1105, b"HY000"),
            (E::Rule(text()), 1105, b"HY000"),
            (E::NoScatter, 1235, b"42000"),
            (E::AmbiguousText, 1235, b"42000"),
            (E::TooManyParameters, 1390, b"HY000"),
            (E::MissingParameter, 1210, b"HY000"),
            (E::NotACount, 1210, b"HY000"),
            (E::CrossShardKey { table: text(), key: text() }, 1235, b"42000"),
            (E::NoSuchDatabase(text()), 1008, b"HY000"),
            (E::InsertIntoRange(text()), 1105, b"HY000"),
            (E::Priority, 1105, b"HY000"),
            (E::OutOfRange { column: text(), row: 1 }, 1264, b"22003"),
            (E::DataTooLong { column: text(), row: 1 }, 1406, b"22001"),
        ];
        for (at, (error, code, state)) in table.iter().enumerate() {
            assert_eq!(place(error), at, "{error:?}");
            assert_eq!(error.code(), (*code, *state), "{error:?}");
            assert!(!error.to_string().is_empty());
        }
        assert_eq!(table.len(), 35);
    }
}
