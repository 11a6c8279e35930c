//! What keeps the lookup tables right that a changed table owns.
use super::{Operand, Piece};
use crate::column::Family;
use crate::lookup::{LookupDef, Written, quoted};
use crate::snapshot::{Keyspace, Table};
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
    pub def: Arc<LookupDef>,
    pub values: EntryValues,
    /// Another table owns the vindex: the entries must be there already.
    pub check: bool,
    /// The columns, for messages.
    pub columns: String,
    /// Those that are known to hold no NULL: a bit for each, the first one's is the lowest.
    pub not_null: u8,
    /// How many characters the owner's columns keep of a text, where the lookup table may keep
    /// another number: `u32::MAX` elsewhere.
    pub lengths: SmallVec<[u32; 1]>,
    /// The types of the owner's columns.
    pub families: SmallVec<[Family; 1]>,
    pub owner: Arc<Owner>,
}

/// The table whose rows an entry is about, as a client would name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub keyspace: String,
    /// `keyspace`.`table`
    pub table: String,
    /// Its columns that hold the values, in backticks.
    pub columns: Vec<String>,
}

impl Owner {
    /// Do the columns that hold the values tell where a row lies?
    pub fn is_placed_by_its_columns(&self, keyspace: &Keyspace) -> bool {
        let named = |table: &&Arc<Table>| {
            self.table == format!("{}.{}", quoted(&self.keyspace), quoted(&table.name))
        };
        let table = keyspace.tables.values().find(named);
        table
            .and_then(|table| table.column_vindexes.first())
            .is_some_and(|primary| {
                primary.columns.iter().all(|column| {
                    let column = quoted(column);
                    self.columns
                        .iter()
                        .any(|own| own.eq_ignore_ascii_case(&column))
                })
            })
    }

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
pub enum EntryValues {
    /// Places in the rows that the fingerprint collapsed; `u16::MAX`: in none, NULL.
    Collapsed(SmallVec<[u16; 1]>),
    Operands(Vec<SmallVec<[Operand; 1]>>),
}

/// The entries of rows that an UPDATE or DELETE changes.
#[derive(Debug, Clone)]
pub struct ChangeEntries {
    /// Reads the rows: first the columns of the primary vindex, then those of lookup vindexes.
    pub query: Vec<Piece>,
    pub vindex: Arc<dyn Vindex>,
    /// The types of the primary vindex's columns.
    pub families: SmallVec<[Family; 1]>,
    pub lookups: Vec<ChangedEntries>,
}

#[derive(Debug, Clone)]
pub struct ChangedEntries {
    pub def: Arc<LookupDef>,
    pub owner: Arc<Owner>,
    /// The query's columns that hold the values, and how they are written.
    pub columns: SmallVec<[(u16, Written); 1]>,
    /// New values, for columns that change; none at all where the rows go.
    pub new: Vec<Option<Vec<Piece>>>,
}
