//! `region_experimental` and `region_json`: one or two bytes name a region, the rest of the
//! keyspace id is a hash.
use super::hash::des;
use super::text::{text, unsigned};
use super::{CreateError, KeyspaceId, Mapping, Params, ReadFile, Vindex, VindexError};
use crate::snapshot::KeyRange;
use crate::value::Value;
use ahash::AHashMap;

/// The low one or two bytes of a region's number.
#[derive(Debug, Clone, Copy)]
enum Width {
    One,
    Two,
}

impl Width {
    fn new(name: &str, params: &Params) -> Result<Self, CreateError> {
        match params.get("region_bytes").map(String::as_str) {
            Some("1") => Ok(Self::One),
            Some("2") => Ok(Self::Two),
            Some(other) => Err(CreateError::param(
                name,
                "region_bytes",
                format!("must be 1 or 2, not {other:?}"),
            )),
            None => Err(CreateError::missing(name, "region_bytes")),
        }
    }

    fn prefix(self, region: u64) -> KeyspaceId {
        let bytes = region.to_be_bytes();
        KeyspaceId::from_slice(match self {
            Self::One => &bytes[7..],
            Self::Two => &bytes[6..],
        })
    }
}

/// Columns (region, id).
#[derive(Debug)]
pub(super) struct RegionExperimental {
    width: Width,
}

impl RegionExperimental {
    pub(super) fn new(name: &str, params: &Params) -> Result<Self, CreateError> {
        Ok(Self { width: Width::new(name, params)? })
    }
}

impl Vindex for RegionExperimental {
    fn kind(&self) -> &'static str {
        "region_experimental"
    }
    fn cost(&self) -> u8 {
        1
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn max_columns(&self) -> usize {
        2
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        let (region, key) = match values {
            [region] => (region, None),
            [region, key] => (region, Some(key)),
            _ => return Ok(Mapping::None),
        };
        let Some(region) = unsigned(region) else { return Ok(Mapping::None) };
        let mut id = self.width.prefix(region);
        let Some(key) = key else { return Ok(Mapping::Range(KeyRange::of_prefix(&id))) };
        let Some(key) = unsigned(key) else { return Ok(Mapping::None) };
        id.extend_from_slice(&des(key));
        Ok(Mapping::Id(id))
    }
}

/// Columns (id, region's name).
#[derive(Debug)]
pub(super) struct RegionJson {
    width: Width,
    regions: AHashMap<Vec<u8>, u64>,
}

impl RegionJson {
    pub(super) fn new(
        name: &str,
        params: &Params,
        read: ReadFile<'_>,
    ) -> Result<Self, CreateError> {
        let path = params
            .get("region_map")
            .ok_or_else(|| CreateError::missing(name, "region_map"))?;
        let json = read(path).map_err(|e| CreateError::file(name, "region_map", path, &e))?;
        let regions: std::collections::BTreeMap<String, u64> = serde_json::from_str(&json)
            .map_err(|e| {
                CreateError::param(
                    name,
                    "region_map",
                    format!("must map names to unsigned integers: {e}"),
                )
            })?;
        let regions = regions
            .into_iter()
            .map(|(name, n)| (name.into_bytes(), n))
            .collect();
        Ok(Self { width: Width::new(name, params)?, regions })
    }
}

impl Vindex for RegionJson {
    fn kind(&self) -> &'static str {
        "region_json"
    }
    fn cost(&self) -> u8 {
        1
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn max_columns(&self) -> usize {
        2
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        let [key, region] = values else { return Ok(Mapping::None) };
        let (Some(key), Some(&region)) = (unsigned(key), self.regions.get(text(region).as_ref()))
        else {
            return Ok(Mapping::None);
        };
        let mut id = self.width.prefix(region);
        id.extend_from_slice(&des(key));
        Ok(Mapping::Id(id))
    }
}
