//! `multicol`: each column's own vindex gives some bytes of the keyspace id; a key that lacks its
//! last columns covers a range.
use super::{CreateError, KeyspaceId, Mapping, Params, ReadFile, Vindex, VindexError};
use crate::snapshot::KeyRange;
use crate::value::Value;
use std::sync::Arc;

/// Vitess's limit for columns, and for their bytes together.
const MAX: usize = 8;

#[derive(Debug)]
pub(super) struct MultiCol {
    columns: Vec<Part>,
    cost: u8,
}

#[derive(Debug)]
struct Part {
    vindex: Arc<dyn Vindex>,
    bytes: usize,
}

impl MultiCol {
    pub(super) fn new(
        name: &str,
        params: &Params,
        read: ReadFile<'_>,
    ) -> Result<Self, CreateError> {
        let count = params
            .get("column_count")
            .ok_or_else(|| CreateError::missing(name, "column_count"))?;
        let count = count
            .parse()
            .ok()
            .filter(|n| (1..=MAX).contains(n))
            .ok_or_else(|| {
                CreateError::param(
                    name,
                    "column_count",
                    format!("must be a number from 1 to {MAX}, not {count:?}"),
                )
            })?;
        let bytes = column_bytes(name, params, count)?;
        let kinds: Vec<&str> = params
            .get("column_vindex")
            .map_or_else(Vec::new, |list| list.split(',').map(str::trim).collect());
        if kinds.len() > count {
            return Err(CreateError::param(
                name,
                "column_vindex",
                "names more vindexes than there are columns",
            ));
        }
        let own = |key: &str| matches!(key, "column_count" | "column_bytes" | "column_vindex");
        let rest: Params = params
            .iter()
            .filter(|(k, _)| !own(k))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let mut columns = Vec::with_capacity(count);
        let mut cost = 0u8;
        for (i, bytes) in bytes.into_iter().enumerate() {
            let kind = kinds
                .get(i)
                .copied()
                .filter(|k| !k.is_empty())
                .unwrap_or("hash");
            let vindex = super::registry::hashing(name, kind, &rest, read)?;
            cost = cost.saturating_add(vindex.cost());
            columns.push(Part { vindex, bytes });
        }
        Ok(Self { columns, cost })
    }
}

/// How many bytes each column gives: as said, and what is left of 8 in even parts, rounded up from
/// the left.
fn column_bytes(name: &str, params: &Params, count: usize) -> Result<Vec<usize>, CreateError> {
    let bad = |why: String| CreateError::param(name, "column_bytes", why);
    let given: Vec<&str> = params
        .get("column_bytes")
        .map_or_else(Vec::new, |list| list.split(',').collect());
    if given.len() > count {
        return Err(bad("has more numbers than there are columns".to_owned()));
    }
    let mut bytes = vec![None; count];
    for (i, part) in given
        .into_iter()
        .enumerate()
        .filter(|(_, part)| !part.is_empty())
    {
        let n = part.parse().ok().filter(|n| *n <= MAX);
        bytes[i] =
            Some(n.ok_or_else(|| bad(format!("must be numbers from 0 to {MAX}, not {part:?}")))?);
    }
    let used: usize = bytes.iter().flatten().sum();
    let mut open = bytes.iter().filter(|b| b.is_none()).count();
    let Some(mut left) = MAX.checked_sub(used).filter(|left| open <= *left) else {
        return Err(bad(format!(
            "must leave at least a byte for each column, {MAX} bytes together"
        )));
    };
    let mut take = || {
        let share = left.div_ceil(open);
        left -= share;
        open -= 1;
        share
    };
    Ok(bytes
        .into_iter()
        .map(|b| b.unwrap_or_else(&mut take))
        .collect())
}

impl Vindex for MultiCol {
    fn kind(&self) -> &'static str {
        "multicol"
    }
    fn cost(&self) -> u8 {
        self.cost
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn max_columns(&self) -> usize {
        self.columns.len()
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        if values.is_empty() || values.len() > self.columns.len() {
            return Err(VindexError(format!("multicol takes 1 to {} values", self.columns.len())));
        }
        let mut id = KeyspaceId::new();
        let mut filled = 0;
        for (part, value) in self.columns.iter().zip(values) {
            // A column that cannot be mapped, for whatever reason, means that no row matches (as in
            // Vitess).
            let Ok(Mapping::Id(own)) = part.vindex.map(std::slice::from_ref(value)) else {
                return Ok(Mapping::None);
            };
            if id.len() < filled {
                id.resize(filled, 0);
            }
            id.extend_from_slice(&own[..own.len().min(part.bytes)]);
            filled += part.bytes;
        }
        if values.len() < self.columns.len() {
            return Ok(Mapping::Range(KeyRange::of_prefix(&id)));
        }
        Ok(Mapping::Id(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(count: usize, given: &str) -> Result<Vec<usize>, CreateError> {
        let params: Params = [("column_bytes".to_owned(), given.to_owned())].into();
        column_bytes("v", &params, count)
    }

    #[test]
    fn bytes_left_over_are_shared_out() {
        assert_eq!(column_bytes("v", &Params::new(), 3).unwrap(), [3, 3, 2]);
        assert_eq!(bytes(2, "2").unwrap(), [2, 6]);
        assert_eq!(bytes(4, ",1,,1").unwrap(), [3, 1, 3, 1]);
        assert_eq!(bytes(2, "1,2").unwrap(), [1, 2]);
        for bad in ["9", "8,", "x", "1,2,3", "-1"] {
            assert!(bytes(2, bad).is_err(), "{bad}");
        }
    }
}
