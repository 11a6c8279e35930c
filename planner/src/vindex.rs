//! Vindexes: from column values to keyspace ids, bit-compatible with Vitess
//! (<https://vitess.io/docs/reference/features/vindexes/>).
use crate::lookup::LookupDef;
use crate::snapshot::KeyRange;
use crate::value::Value;
use smallvec::SmallVec;
use std::fmt::Debug;
use std::sync::Arc;

mod cfc;
mod des;
mod hash;
mod identity;
mod looked;
pub(crate) mod loose;
mod multicol;
mod numeric;
mod region;
mod registry;
mod text;

/// The number whose `hash` is this keyspace id: DES under a key of zeros is its own inverse.
pub(crate) fn hashed_number(id: [u8; 8]) -> u64 {
    des::encrypt(u64::from_be_bytes(id))
}

/// The keyspace id that `hash` gives to a number.
pub(crate) fn hash_of_number(number: u64) -> [u8; 8] {
    des::encrypt(number).to_be_bytes()
}

/// The keyspace id that `xxhash` gives to a text.
pub(crate) fn hashed_text(text: &[u8]) -> [u8; 8] {
    hash::xxhash(text)
}

/// A value's text, as vindexes that map bytes see it.
pub(crate) fn text_of<'v>(value: &Value<'v>) -> std::borrow::Cow<'v, [u8]> {
    text::text(value)
}

pub(crate) use looked::Looked;
pub use registry::{CreateError, Params, ReadFile, create};

/// Where a row lies in its keyspace: the bytes that shard ranges divide.
pub type KeyspaceId = SmallVec<[u8; 16]>;

/// What a vindex says about a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// No row can have this value.
    None,
    /// Rows with the value lie at this keyspace id.
    Id(KeyspaceId),
    /// A partial multi-column key covers a range of ids.
    Range(KeyRange),
}

/// The value cannot be mapped: a string for a numeric vindex, invalid UTF-8 for a loose one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct VindexError(pub String);

/// A functional vindex. Pure, so that a plan can call it on any core.
pub trait Vindex: Debug + Send + Sync {
    /// The type's name in a vschema, e.g. `xxhash`.
    fn kind(&self) -> &'static str;
    /// Vitess's cost: the planner prefers the lowest.
    fn cost(&self) -> u8;
    /// Does a value name at most one keyspace id?
    fn is_unique(&self) -> bool;
    /// How many columns it can take at most: 1, except `multicol` and the region ones.
    fn max_columns(&self) -> usize {
        1
    }
    /// The lookup table that must be asked, where there is no function.
    fn lookup(&self) -> Option<&Arc<LookupDef>> {
        None
    }
    /// The vindex that maps a pattern of LIKE to where the texts lie that it matches.
    fn of_patterns(&self) -> Option<Arc<dyn Vindex>> {
        None
    }
    /// Maps one row's values for the vindex's columns; fewer values than columns where a partial
    /// key is allowed.
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError>;
    /// Where an integer's id has eight bytes and every integer has one: puts each number's id, as a
    /// number with the highest byte first, in its place. `false` for other vindexes.
    fn ids_of_numbers(&self, _numbers: &mut [u64]) -> bool {
        false
    }
}

/// The value of a vindex of one column.
fn only<'v, 'a>(values: &'v [Value<'a>]) -> Result<&'v Value<'a>, VindexError> {
    match values {
        [value] => Ok(value),
        _ => Err(VindexError(format!("the vindex takes one value, not {}", values.len()))),
    }
}
