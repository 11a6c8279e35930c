//! INSERTs whose rows get numbers from a sequence.
use super::{Operand, Piece};
use crate::identity::ShardId;

/// A sequence's table: `id`, which is 0, `next_id` and `cache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// `keyspace.table`
    pub name: String,
    /// As its server knows it, in backticks.
    pub table: String,
    /// The one shard that the table is on.
    pub shard: ShardId,
}

/// How the text is put together anew, with a number in each row that lacks one.
#[derive(Debug, Clone)]
pub struct Generate {
    /// `Err`: its name, where the vschema does not have it.
    pub(crate) sequence: Result<Sequence, String>,
    pub(crate) column: String,
    /// Up to the first row; with the column in the list, where the statement leaves it out.
    pub(crate) head: Vec<Piece>,
    pub(crate) rows: GenerateRows,
    pub(crate) tail: Vec<Piece>,
}

#[derive(Debug, Clone)]
pub(crate) enum GenerateRows {
    /// Rows that the fingerprint collapsed: the column's place in them; `None`: behind the last
    /// one.
    Collapsed(Option<u16>),
    Rows(Vec<GenerateRow>),
}

#[derive(Debug, Clone)]
pub(crate) struct GenerateRow {
    pub(crate) before: Vec<Piece>,
    pub(crate) value: GenerateValue,
    pub(crate) after: Vec<Piece>,
}

#[derive(Debug, Clone)]
pub(crate) enum GenerateValue {
    /// Nothing is given, or DEFAULT, or NULL.
    Number,
    /// A number is taken in the place of NULL, and of 0 unless the SQL mode forbids it.
    Operand(Operand, Vec<Piece>),
}
