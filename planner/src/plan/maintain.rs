//! What keeps the lookup tables right that a changed table owns.
use super::{Operand, Piece};
use crate::column::Family;
use crate::lookup::{LookupDef, Written, quoted};
use crate::vindex::Vindex;
use smallvec::SmallVec;
use std::sync::Arc;

/// Runs before the change, in its transaction.
#[derive(Debug, Clone)]
pub enum Maintain {
    /// New rows: entries are added.
    Insert(Vec<InsertEntries>),
    /// Rows that there are: they are read and locked, and their entries taken away or put in
    /// another's place.
    Change(Box<ChangeEntries>),
}

/// The entries that an INSERT adds to one lookup table, or must find there.
#[derive(Debug, Clone)]
pub struct InsertEntries {
    pub(crate) def: Arc<LookupDef>,
    pub(crate) values: EntryValues,
    /// Another table owns the vindex: the entries must be there already.
    pub(crate) check: bool,
    /// The columns, for messages.
    pub(crate) columns: String,
    /// Those that are known to hold no NULL: a bit for each, the first one's is the lowest.
    pub(crate) not_null: u8,
    /// How many characters the owner's columns keep of a text, where the lookup table may keep
    /// another number: `u32::MAX` elsewhere.
    pub(crate) lengths: SmallVec<[u32; 1]>,
    /// The types of the owner's columns.
    pub(crate) families: SmallVec<[Family; 1]>,
    pub(crate) owner: Arc<Owner>,
}

/// The table whose rows an entry is about, as a client would name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The keyspace's name, without quotes.
    pub keyspace: String,
    /// `keyspace`.`table`
    pub table: String,
    /// Its columns that hold the values, in backticks.
    pub columns: Vec<String>,
}

impl Owner {
    pub(crate) fn new(keyspace: &str, table: &str, columns: &[String]) -> Arc<Self> {
        let table = format!("{}.{}", quoted(keyspace), quoted(table));
        let keyspace = keyspace.to_owned();
        Arc::new(Self {
            keyspace,
            table,
            columns: columns.iter().map(|column| quoted(column)).collect(),
        })
    }
}

/// Where an INSERT's rows have the values.
#[derive(Debug, Clone)]
pub(crate) enum EntryValues {
    /// Places in the rows that the fingerprint collapsed; `u16::MAX`: in none, NULL.
    Collapsed(SmallVec<[u16; 1]>),
    /// For each spelled-out row, its values in the vindex's order.
    Operands(Vec<SmallVec<[Operand; 1]>>),
}

/// The entries of rows that an UPDATE or DELETE changes.
#[derive(Debug, Clone)]
pub struct ChangeEntries {
    /// Reads the rows: first the columns of the primary vindex, then those of lookup vindexes.
    pub(crate) query: Vec<Piece>,
    pub(crate) vindex: Arc<dyn Vindex>,
    /// The types of the primary vindex's columns.
    pub families: SmallVec<[Family; 1]>,
    /// The lookup tables whose entries change.
    pub lookups: Vec<ChangedEntries>,
}

/// What happens to the entries of one lookup table.
#[derive(Debug, Clone)]
pub struct ChangedEntries {
    pub(crate) def: Arc<LookupDef>,
    pub(crate) owner: Arc<Owner>,
    /// The query's columns that hold the values, and how they are written.
    pub columns: SmallVec<[(u16, Written); 1]>,
    /// New values, for columns that change; none at all where the rows go.
    pub(crate) new: Vec<Option<Vec<Piece>>>,
}
