//! `numeric`: an unsigned integer, big-endian. `reverse_bits`: its bits from the other end.
//! `numeric_static_map`: looked up in a table first.
use super::text::unsigned;
use super::{CreateError, KeyspaceId, Mapping, Params, ReadFile, Vindex, VindexError};
use crate::value::Value;
use ahash::AHashMap;
use std::sync::Arc;

fn id(n: u64) -> Mapping {
    Mapping::Id(KeyspaceId::from_slice(&n.to_be_bytes()))
}

#[derive(Debug)]
pub(super) struct Numeric;

impl Vindex for Numeric {
    fn kind(&self) -> &'static str {
        "numeric"
    }
    fn cost(&self) -> u8 {
        0
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        Ok(unsigned(super::only(values)?).map_or(Mapping::None, id))
    }
}

#[derive(Debug)]
pub(super) struct ReverseBits;

impl Vindex for ReverseBits {
    fn kind(&self) -> &'static str {
        "reverse_bits"
    }
    fn cost(&self) -> u8 {
        1
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        Ok(unsigned(super::only(values)?).map_or(Mapping::None, |n| id(n.reverse_bits())))
    }
}

/// Numbers of the table map to the table's numbers, others through the fallback vindex, or to
/// themselves without one.
#[derive(Debug)]
pub(super) struct NumericStaticMap {
    table: AHashMap<u64, u64>,
    fallback: Option<Arc<dyn Vindex>>,
}

impl NumericStaticMap {
    pub(super) fn new(
        name: &str,
        params: &Params,
        read: ReadFile<'_>,
    ) -> Result<Self, CreateError> {
        let json = match (params.get("json"), params.get("json_path")) {
            (Some(json), None) => json.clone(),
            (None, Some(path)) => {
                read(path).map_err(|e| CreateError::file(name, "json_path", path, &e))?
            }
            (None, None) => return Err(CreateError::missing(name, "json or json_path")),
            (Some(_), Some(_)) => {
                return Err(CreateError::param(
                    name,
                    "json",
                    "cannot stand beside json_path; give one of them",
                ));
            }
        };
        let bad = |e: String| {
            CreateError::param(
                name,
                "json",
                format!("must map unsigned integers to unsigned integers: {e}"),
            )
        };
        let entries: std::collections::BTreeMap<String, u64> =
            serde_json::from_str(&json).map_err(|e| bad(e.to_string()))?;
        let mut table = AHashMap::with_capacity(entries.len());
        for (key, value) in entries {
            table.insert(
                key.parse()
                    .map_err(|_| bad(format!("the key {key:?} is not one")))?,
                value,
            );
        }
        let fallback = match params.get("fallback_type") {
            None => None,
            Some(kind) => Some(super::registry::hashing(name, kind, &Params::new(), read)?),
        };
        Ok(Self { table, fallback })
    }
}

impl Vindex for NumericStaticMap {
    fn kind(&self) -> &'static str {
        "numeric_static_map"
    }
    fn cost(&self) -> u8 {
        1
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        let Some(n) = unsigned(super::only(values)?) else { return Ok(Mapping::None) };
        match (self.table.get(&n), &self.fallback) {
            (Some(&mapped), _) => Ok(id(mapped)),
            (None, Some(fallback)) => fallback.map(values),
            (None, None) => Ok(id(n)),
        }
    }
}
