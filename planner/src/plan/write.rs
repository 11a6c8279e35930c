//! Changes that take several steps: rows are read first, and locked, then changed by their keys.
//! Every step's text is a statement as a client could have written it, or goes to one shard.
use super::maintain::Owner;
use super::tree::Load;
use super::{InsertRows, Operand, Piece};
use crate::column::Family;
use crate::lookup::{LookupDef, Written};
use crate::snapshot::{KeyspaceIdx, TabletKind};
use crate::vindex::Vindex;
use smallvec::SmallVec;
use std::sync::Arc;

/// What is done instead of sending the statement to shards.
#[derive(Debug, Clone)]
pub enum Write {
    /// UPDATE or DELETE: a query reads the rows, which are then changed by their keys.
    ByKey(Box<ByKey>),
    /// The rows of a query are inserted.
    InsertSelect(Box<InsertSelect>),
    /// A server computes values, then the statement is planned with them.
    Evaluated(Box<Evaluated>),
    /// Rows are inserted one after another, each with what it does to lookup tables.
    EachRow(Box<EachRow>),
}

/// INSERT or REPLACE of the rows of a query. They are inserted by statements that are planned as a
/// client's.
#[derive(Debug, Clone)]
pub struct InsertSelect {
    pub(crate) query: Vec<Piece>,
    /// Before `VALUES`.
    pub(crate) head: Vec<Piece>,
    /// Behind the rows.
    pub(crate) tail: Vec<Piece>,
    /// The types of the columns that are given, in their order; none where they are not known.
    pub types: Vec<String>,
    /// `RETURNING`, for the case that the query has no rows.
    pub returning: Option<ReturningNone>,
    /// INSERT IGNORE: a value that servers cut while they read the rows is no error.
    pub ignore: bool,
    /// Why the shards cannot do it, for EXPLAIN.
    pub(crate) why: String,
}

/// What RETURNING names, for an answer without rows: its columns are told by a query of one shard.
#[derive(Debug, Clone)]
pub struct ReturningNone {
    /// The changed table's.
    pub keyspace: KeyspaceIdx,
    /// What the session has chosen.
    pub tablet_kind: TabletKind,
    /// The table as SQL names it, in backticks.
    pub table: String,
    pub(crate) items: Vec<Piece>,
}

/// An INSERT with expressions where values must be known: they are computed by a server, and the
/// statement planned with their values.
#[derive(Debug, Clone)]
pub struct Evaluated {
    pub(crate) expressions: Vec<Vec<Piece>>,
    /// The type of each one's column, and whether the column places the row or is looked up.
    pub types: Vec<(String, bool)>,
    /// What stands before the first, between them, and behind the last.
    pub(crate) texts: Vec<Vec<Piece>>,
}

/// An INSERT, REPLACE or `INSERT ... ON DUPLICATE KEY UPDATE` of rows that may change others, into
/// a table that owns lookup vindexes. Its rows are inserted one after another; what each of them
/// changes is seen by what there is before and behind it.
#[derive(Debug, Clone)]
pub struct EachRow {
    /// The table's.
    pub keyspace: KeyspaceIdx,
    /// What the session has chosen; writes go to primaries.
    pub tablet_kind: TabletKind,
    /// The table as SQL names it, in backticks.
    pub table: String,
    /// `INSERT IGNORE`: rows that are there already, also by a unique lookup vindex, are left out.
    pub ignore: bool,
    /// REPLACE
    pub replace: bool,
    /// Where the rows lie.
    pub(crate) rows: InsertRows,
    pub(crate) head: Vec<Piece>,
    /// Each row as the statement has it; `None`: the collapsed ones.
    pub(crate) texts: Option<Vec<Vec<Piece>>>,
    pub(crate) tail: Vec<Piece>,
    /// By which unique keys a row may be there already.
    pub unique: UniqueKeys,
    /// The table with its keyspace, for statements that are planned.
    pub full_name: String,
    /// The primary key, in the image's query.
    pub key: Vec<KeyPart>,
    /// What is read of rows before and behind each insertion.
    pub image: Image,
}

/// The unique keys of a table.
#[derive(Debug, Clone)]
pub struct UniqueKeys {
    /// Each key's columns, in order.
    pub(crate) keys: Vec<Vec<UniqueColumn>>,
    /// Which of them a unique lookup vindex holds over all shards: a row may be there on another
    /// one.
    pub elsewhere: Vec<usize>,
    /// Which of those no server keeps: the table has no such key.
    pub by_lookup: Vec<usize>,
    /// Which of them is the primary key, by which servers look first.
    pub primary: Option<usize>,
}

/// A column of a unique key, and where a new row has its value.
#[derive(Debug, Clone)]
pub(crate) struct UniqueColumn {
    /// As SQL names it, in backticks.
    pub(crate) name: String,
    /// What a new row gives it.
    pub(crate) value: NewValue,
    /// What IGNORE stores in the place of NULL.
    pub(crate) for_null: Option<&'static str>,
}

/// What an INSERT's rows give a column.
#[derive(Debug, Clone)]
pub(crate) enum NewValue {
    /// The column is not given: `DEFAULT(column)`.
    Default,
    /// Its place in a collapsed row.
    Place(u16),
    /// One for each spelled-out row.
    Operands(Vec<Operand>),
}

/// An UPDATE or DELETE whose rows are chosen by a query. Places are columns of that query's rows.
#[derive(Debug, Clone)]
pub struct ByKey {
    /// Reads the rows; planned as a client's query is. What locks them comes behind it.
    pub(crate) query: Vec<Piece>,
    /// Has it a LIMIT?
    pub limited: bool,
    /// One for each table that changes.
    pub changes: Vec<Change>,
    /// UPDATE or DELETE IGNORE.
    pub ignore: bool,
    /// It names several tables: MariaDB is strict with what an UPDATE of such reads.
    pub joins: bool,
    /// Why the shards cannot do it, for EXPLAIN.
    pub(crate) why: String,
}

/// What happens to one table's rows.
#[derive(Debug, Clone)]
pub struct Change {
    /// The table's.
    pub keyspace: KeyspaceIdx,
    /// What the session has chosen; writes go to primaries.
    pub tablet_kind: TabletKind,
    /// The table as SQL names it, in backticks.
    pub table: String,
    /// Where its rows lie.
    pub lies: Lies,
    /// What tells a row from the others: the primary key, or a unique one without NULLs.
    pub key: Vec<KeyPart>,
    /// The key is all columns, as the table has no other: rows that are alike are told apart by
    /// their number only.
    pub whole_row: bool,
    /// Several rows of the query may be one row of this table.
    pub joined: bool,
    /// The change itself.
    pub how: How,
    /// What keeps lookup tables and places right; `None`: the change touches neither.
    pub image: Option<Image>,
}

/// Where a table's rows lie.
#[derive(Debug, Clone)]
pub enum Lies {
    /// The keyspace has one shard.
    One,
    /// Every shard has all of them.
    Copies,
    /// The keyspace id of the table's only shard.
    Pinned(Vec<u8>),
    /// Each where a functional vindex says.
    Vindex(ByVindex),
    /// Only a lookup table would tell.
    Anywhere,
}

/// The values from which a functional vindex tells a row's place.
#[derive(Debug, Clone)]
pub struct ByVindex {
    /// The table's primary vindex.
    pub vindex: Arc<dyn Vindex>,
    /// The types of its columns.
    pub families: SmallVec<[Family; 1]>,
    /// The columns of its values in the query's rows.
    pub places: SmallVec<[u16; 1]>,
}

/// A column of a key.
#[derive(Debug, Clone)]
pub struct KeyPart {
    /// The column of its values in the query's rows.
    pub place: u16,
    /// What selects it: the column, or a CAST that gives its bytes.
    pub read: String,
    /// What stands on the other side of `=`: the column itself, so that an index helps, or what
    /// selects it.
    pub test: String,
    /// How a value is written as a literal.
    pub written: Written,
}

/// The statement that changes rows by their keys, but for the condition on the key.
#[derive(Debug, Clone)]
pub enum How {
    /// `DELETE FROM t`, and where rows are given back an order and what RETURNING names. LIMIT
    /// stands between the two.
    Delete {
        /// `DELETE FROM t`
        head: String,
        /// `ORDER BY ...`, or nothing.
        order: Vec<Piece>,
        /// `RETURNING ...`, or nothing.
        returning: Vec<Piece>,
    },
    /// `UPDATE t SET`, the assignments, and an order.
    Update {
        /// `UPDATE t SET`
        head: String,
        /// The assignments.
        set: Vec<SetPart>,
        /// `ORDER BY ...`, or nothing.
        order: Vec<Piece>,
    },
}

/// A part of the assignments' text.
#[derive(Debug, Clone)]
pub enum SetPart {
    /// The statement's own text.
    Text(Vec<Piece>),
    /// A value that the query has read.
    Value(Read),
}

/// Where the query has a value.
#[derive(Debug, Clone, Copy)]
pub struct Read {
    /// The column in the query's rows.
    pub place: u16,
    /// The same as a double, for a column that holds one: quotients have more digits than servers
    /// print.
    pub double: Option<u16>,
}

/// What must be known of a row before and after the change, to keep lookup tables right and the row
/// where it belongs.
#[derive(Debug, Clone)]
pub struct Image {
    /// Where the image begins in the query's rows.
    pub start: u16,
    /// Its columns, to be read again behind the change.
    pub list: String,
    /// How many columns the image has.
    pub width: u16,
    /// The row's place; places in the image.
    pub by: ByVindex,
    /// The lookup tables whose entries may change.
    pub lookups: Vec<ImageEntry>,
    /// For each part of the key, where its new value is: the key itself where it does not change.
    pub new_key: Vec<(u16, Written)>,
    /// The row may move to another shard.
    pub moves: Option<Moves>,
}

/// A lookup table, and where the image has what is in its entries.
#[derive(Debug, Clone)]
pub struct ImageEntry {
    /// The lookup vindex.
    pub def: Arc<LookupDef>,
    /// The table whose rows the entries are about.
    pub owner: Arc<Owner>,
    /// Places in the image.
    pub columns: SmallVec<[(u16, Written); 1]>,
    /// The table keeps the entries; else those of another one must be there.
    pub is_owner: bool,
}

/// How a row is taken to another shard.
#[derive(Debug, Clone)]
pub struct Moves {
    /// All its columns that are stored and not computed.
    pub list: String,
    /// How each of these columns' values is written.
    pub loads: Vec<Load>,
    /// `INSERT INTO t (columns) VALUES `
    pub insert: String,
}
