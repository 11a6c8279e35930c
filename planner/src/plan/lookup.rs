//! Statements whose rows are found through a lookup vindex.
use super::Piece;
use crate::lookup::LookupDef;
use std::sync::Arc;

/// A lookup table, and what it is asked.
#[derive(Debug, Clone)]
pub struct LookupTo {
    pub(crate) vindex: Arc<LookupDef>,
    /// `SELECT to FROM table WHERE from = ...`
    pub(crate) query: Vec<Piece>,
    /// Several values may be asked for.
    pub(crate) many: bool,
    /// Why the statement needs to be on one shard.
    pub(crate) alone: Option<String>,
    /// The statement reads the newest rows and locks them, or changes them.
    pub(crate) locks: bool,
}
