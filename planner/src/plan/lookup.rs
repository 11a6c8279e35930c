//! Statements whose rows are found through a lookup vindex.
use super::{InRows, Piece};
use crate::column::Family;
use crate::lookup::LookupDef;
use std::sync::Arc;

/// A lookup table, and what it is asked.
#[derive(Debug, Clone)]
pub struct LookupTo {
    pub(crate) vindex: Arc<LookupDef>,
    /// `SELECT to FROM table WHERE from = ...`
    pub(crate) query: Vec<Piece>,
    /// Where the table holds numbers in the values' places: what stands behind `query`'s WHERE.
    pub(crate) hashed: Vec<Hashed>,
    /// Several values may be asked for.
    pub(crate) many: bool,
    /// Why the statement needs to be on one shard.
    pub(crate) alone: Option<String>,
    /// The statement reads the newest rows and locks them, or changes them.
    pub(crate) locks: bool,
}

/// A column of a lookup table that holds numbers, and the values that it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Hashed {
    /// In backticks.
    pub(crate) column: String,
    /// The type of the owner's column.
    pub(crate) family: Family,
    pub(crate) values: InRows,
}
