//! Stands where a functional vindex would, for rows that only a lookup table can place.
use super::{Mapping, Vindex, VindexError};
use crate::lookup::LookupDef;
use crate::value::Value;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Looked(pub(crate) Arc<LookupDef>);

impl Vindex for Looked {
    fn kind(&self) -> &'static str {
        "lookup"
    }

    fn cost(&self) -> u8 {
        10
    }

    fn is_unique(&self) -> bool {
        true
    }

    fn lookup(&self) -> Option<&Arc<LookupDef>> {
        Some(&self.0)
    }

    fn map(&self, _: &[Value<'_>]) -> Result<Mapping, VindexError> {
        Err(VindexError("its lookup table must be asked".into()))
    }
}
