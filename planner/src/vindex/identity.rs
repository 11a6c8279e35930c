//! `binary`: the keyspace id is the value's text. `null`: all rows lie together.
use super::text::text;
use super::{KeyspaceId, Mapping, Vindex, VindexError};
use crate::value::Value;

#[derive(Debug)]
pub(super) struct Binary;

impl Vindex for Binary {
    fn kind(&self) -> &'static str {
        "binary"
    }
    fn cost(&self) -> u8 {
        0
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        Ok(Mapping::Id(KeyspaceId::from_slice(&text(super::only(values)?))))
    }
}

/// Vitess's cost of 100 makes the planner prefer any other vindex.
#[derive(Debug)]
pub(super) struct Null;

impl Vindex for Null {
    fn kind(&self) -> &'static str {
        "null"
    }
    fn cost(&self) -> u8 {
        100
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        super::only(values)?;
        Ok(Mapping::Id(KeyspaceId::from_slice(&[0])))
    }
}
