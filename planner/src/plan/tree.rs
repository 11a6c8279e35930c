//! Plans whose answer is put together from the answers of several shards.
//!
//! A tree has *leaves*, each of which is a [`Route`]: a SELECT that every shard answers by itself.
//! What happens to their rows is the tree's [`Form`]. Every column that the client sees is a column
//! of some server's answer, whose name, type and flags are passed on; columns that only the merging
//! needs come behind them and are cut off.
use super::{Operand, Piece, Route};
use crate::collation::Collation;
use crate::column::Family;
use crate::lookup::LookupDef;
use crate::vindex::Vindex;
use std::sync::Arc;

/// A query over several shards.
#[derive(Debug, Clone)]
pub struct Tree {
    /// In the order in which they run; a merge has one.
    pub leaves: Vec<Leaf>,
    /// What happens to their rows.
    pub form: Form,
    /// Where a prepared statement's columns come from.
    pub described: Described,
}

/// How a server is asked which columns and parameters a prepared statement has.
#[derive(Debug, Clone, Default)]
pub enum Described {
    /// The client's own text means the same to every shard.
    #[default]
    AsIs,
    /// By this text: names are other ones there.
    By(Vec<Piece>),
    /// No server has all tables: by the text of [`Finish`], over tables without rows.
    Finished,
}

/// A query that each of its shards answers.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Where the query goes, and its text.
    pub route: Route,
}

/// What happens to the rows of the leaves.
#[derive(Debug, Clone)]
pub enum Form {
    /// Rows of one leaf are merged, grouped, sorted and limited on their way.
    Merge(Merge),
    /// The leaves' rows are loaded into temporary tables of one server, which runs the statement
    /// itself.
    Finish(Finish),
}

/// Steps in their order, over the rows of the first leaf. A step that is not there does nothing.
#[derive(Debug, Clone, Default)]
pub struct Merge {
    /// How many columns the client gets: the first ones.
    pub shown: u16,
    /// How many columns each shard must send; any other number means that the tables have changed
    /// since the plan was made.
    pub width: u16,
    /// The order in which every shard sends its rows, and in which they are merged. Without keys,
    /// the shards' rows come one shard after another.
    pub order: Vec<Key>,
    /// Rows that are equal by the first keys of `order` become one.
    pub group: Option<Group>,
    /// Groups are sorted again by these keys, when `order` is not the wanted one.
    pub sort: Vec<Key>,
    /// Of the rows that the client gets, after everything else.
    pub limit: Option<Limit>,
    /// Why the shards cannot answer alone, for EXPLAIN.
    pub why: String,
}

impl Merge {
    /// Nothing happens to the rows, which may have any columns.
    pub const EVERYTHING: Self = Self {
        shown: u16::MAX,
        width: 0,
        order: Vec::new(),
        group: None,
        sort: Vec::new(),
        limit: None,
        why: String::new(),
    };
}

/// A column by which rows are compared. NULL comes first, or last if `descending`.
#[derive(Debug, Clone)]
pub struct Key {
    /// Where the value stands in the leaf's rows. Its type on the wire says how it is compared,
    /// unless `weight` is given.
    pub column: u16,
    /// The order is from the largest to the smallest.
    pub descending: bool,
    /// For text, and only there.
    pub text: Option<TextKey>,
}

/// How the values of a text column compare.
#[derive(Debug, Clone)]
pub enum TextKey {
    /// By their bytes: the column's collation is a binary one without padding.
    Bytes,
    /// By the column that holds `WEIGHT_STRING()` of the value, or NULL where the value is NULL.
    /// With `ascii`, also NULL for ASCII values: these are weighed by the collation's own table.
    Weight {
        /// Where the weight stands in the leaf's rows.
        column: u16,
        /// ASCII values have no weight there.
        ascii: bool,
        /// The column's, with its table of weights.
        collation: Arc<Collation>,
    },
}

/// How rows that are equal by some keys become one.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// How many keys of `order` make a group; 0: all rows are one group, and there is one row even
    /// if the shards send none.
    pub keys: u16,
    /// What becomes of each shown column that is no key; columns that are not named keep the first
    /// row's value.
    pub aggregates: Vec<Aggregate>,
    /// How many keys of `order` make a distinct value of those aggregates that are over distinct
    /// ones: rows that are equal by them count once. 0: there are none.
    pub distinct: u16,
}

/// A column of the groups, put together from the shards' parts.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// The column of the leaf's answer that holds each shard's part, and where the result goes.
    pub column: u16,
    /// How the parts are put together.
    pub function: Function,
    /// Over distinct values: see [`Group::distinct`].
    pub distinct: bool,
}

/// The aggregate functions whose parts can be put together.
#[derive(Debug, Clone)]
pub enum Function {
    /// COUNT: integers are added up; NULL counts as 0.
    Count,
    /// SUM: exact for integers and decimals; NULL if all are NULL.
    Sum,
    /// AVG: the columns that hold SUM and COUNT of the same expression.
    Avg {
        /// The column of the SUM.
        sum: u16,
        /// The column of the COUNT.
        count: u16,
    },
    /// MIN and MAX: compared as a key is.
    Least {
        /// How text is compared; `None` of other types.
        text: Option<TextKey>,
    },
    /// As `Least`, for MAX.
    Greatest {
        /// How text is compared; `None` of other types.
        text: Option<TextKey>,
    },
    /// BIT_AND: a group without values has all bits set.
    BitAnd,
    /// BIT_OR
    BitOr,
    /// BIT_XOR
    BitXor,
    /// ANY_VALUE and constants: the first row's.
    First,
}

/// `LIMIT skip, take`.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// How many rows to leave out at first.
    pub(crate) skip: Option<Operand>,
    /// How many rows to give at most.
    pub(crate) take: Operand,
}

/// A statement that one server runs over gathered rows.
#[derive(Debug, Clone, Default)]
pub struct Finish {
    /// One for each leaf.
    pub gathers: Vec<Gather>,
    /// The statement's own text with the gathered tables in the places of the real ones, and
    /// without its locking clauses.
    pub text: Vec<Piece>,
    /// The server is asked for `FOUND_ROWS()` behind it.
    pub found_rows: bool,
    /// Why the shards cannot answer, for EXPLAIN.
    pub(crate) why: String,
}

/// Rows of one table, for the server that finishes.
#[derive(Debug, Clone, Default)]
pub struct Gather {
    /// The temporary table's name, as it stands in [`Finish::text`].
    pub table: String,
    /// The names that the client knows the table by.
    pub keyspace: String,
    /// The table's name in the keyspace.
    pub org_table: String,
    /// The leaf's columns, in their order.
    pub columns: Vec<GatherColumn>,
    /// Columns that are compared with columns of other tables: each gets an index.
    pub indexed: Vec<u16>,
    /// The primary key, where all of its columns are gathered and no two rows have the same:
    /// servers then know that other columns depend on it.
    pub primary: Vec<u16>,
    /// The leaf's text is a statement of its own, which is planned as a client's: a view whose rows
    /// several shards find together.
    pub planned: bool,
    /// A table of information_schema, whose columns its servers tell.
    pub system: Option<SystemTable>,
    /// What values its rows must have to matter: those of tables that are gathered before.
    pub keys: Vec<GatherKey>,
    /// Has the leaf's query conditions of its own?
    pub filtered: bool,
    /// Bytes at the end of the leaf's text behind its conditions: further ones are put before them.
    pub tail: usize,
}

/// Rows of a table matter only where a column has a value that was gathered before.
#[derive(Debug, Clone)]
pub struct GatherKey {
    /// The column, as it stands in the leaf's query.
    pub(crate) column: String,
    /// The gather whose rows have the values, and in which of its columns.
    pub from: u16,
    /// The values' column there, from 0.
    pub value: u16,
    /// How the values are written.
    pub form: KeyForm,
    /// What tells the shards of the values' rows.
    pub(crate) place: Option<KeyPlace>,
}

/// How values are written, so that they compare with the column as the other one does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyForm {
    /// Those that the column can hold; others equal none of its.
    Integer {
        /// The least number that the column holds.
        min: i64,
        /// The greatest one.
        max: u64,
    },
    /// DECIMAL: digits, a sign and a point.
    Decimal,
    /// DATE
    Date,
    /// DATETIME
    Moment,
    /// CHAR, VARCHAR and TEXT.
    Text {
        /// The column's character set.
        charset: String,
        /// The column's collation.
        collation: String,
    },
    /// BINARY, VARBINARY and BLOB.
    Bytes,
}

/// What tells on which shards rows with a value can be.
#[derive(Debug, Clone)]
pub(crate) enum KeyPlace {
    Vindex { vindex: Arc<dyn Vindex>, family: Family },
    Lookup { vindex: Arc<LookupDef>, locks: bool },
}

/// Rows of a table of information_schema. Several leaves in a row may be of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemTable {
    /// As the statement names it, without `information_schema`.
    pub name: String,
    /// Whose rows are put together, and how.
    pub rows: SystemRows,
    /// A database, and what the client calls it.
    pub renamed: Option<(String, String)>,
    /// The first leaf of the table.
    pub begins: bool,
    /// The last one.
    pub(crate) ends: bool,
}

/// Where the rows of a table of information_schema come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemRows {
    /// As one server of each keyspace gives them.
    Plain,
    /// With numbers that are added up over a keyspace's shards.
    Counted(Counted),
    /// The sessions of this process: no server is asked.
    Sessions,
}

/// Tables with numbers of rows and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// TABLES: `TABLE_ROWS`, `DATA_LENGTH` and the like.
    Tables,
    /// PARTITIONS: the same of each partition.
    Partitions,
    /// STATISTICS: `CARDINALITY`
    Statistics,
}

/// A column of the temporary table that rows are gathered into.
#[derive(Debug, Clone, Default)]
pub struct GatherColumn {
    /// As the statement refers to it, without quotes.
    pub name: String,
    /// What follows the name in CREATE TABLE: type, character set and collation, NULL or NOT NULL.
    pub definition: String,
    /// How its values are written.
    pub load: Load,
    /// Which flags about keys and defaults the real column can have, as in a column definition
    /// packet.
    pub flags: u16,
}

/// How a value that came as text is written into the INSERT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Load {
    /// As it came: numbers.
    #[default]
    Number,
    /// In quotes: dates and times, whose text has neither quotes nor backslashes.
    Quoted,
    /// `x'...'`: bytes.
    Hex,
    /// `CONVERT(x'...' USING utf8mb4)`: JSON.
    HexText,
    /// Seconds since 1970 in UTC; 0 is the zero date.
    Timestamp,
}
