//! `cfc`: a string made of parts of fixed width (the last may be of any), each hashed on its own.
use super::hash::{md5, xxhash};
use super::text::text;
use super::{CreateError, KeyspaceId, Mapping, Params, Vindex, VindexError};
use crate::snapshot::KeyRange;
use crate::value::Value;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Cfc {
    name: String,
    hash: Option<Parts>,
}

#[derive(Debug, Clone)]
struct Parts {
    kind: Kind,
    /// Where the parts end: rising, none of them 0, at least one.
    offsets: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Md5,
    XxHash64,
}

impl Cfc {
    pub(super) fn new(name: &str, params: &Params) -> Result<Self, CreateError> {
        let kind = match params.get("hash").map_or("", String::as_str) {
            "" => return Ok(Self { name: name.to_owned(), hash: None }),
            "md5" => Kind::Md5,
            "xxhash64" => Kind::XxHash64,
            other => {
                let why = format!("must be md5, xxhash64 or left out, not {other:?}");
                return Err(CreateError::param(name, "hash", why));
            }
        };
        let given = params.get("offsets").filter(|s| !s.is_empty());
        let given = given.ok_or_else(|| CreateError::missing(name, "offsets"))?;
        let offsets: Vec<usize> = serde_json::from_str(given).unwrap_or_default();
        let rising = offsets.windows(2).all(|pair| pair[0] < pair[1]);
        if offsets.first().is_none_or(|first| *first == 0) || !rising {
            let why = format!("must be rising positive numbers in brackets, not {given:?}");
            return Err(CreateError::param(name, "offsets", why));
        }
        Ok(Self { name: name.to_owned(), hash: Some(Parts { kind, offsets }) })
    }
}

impl Parts {
    /// A part's hash, no longer than the part.
    fn push(&self, id: &mut KeyspaceId, part: &[u8]) {
        match self.kind {
            Kind::Md5 => id.extend_from_slice(&md5(part)[..part.len().min(16)]),
            Kind::XxHash64 => id.extend_from_slice(&xxhash(part)[..part.len().min(8)]),
        }
    }
}

/// Where the strings lie that a pattern of LIKE matches: their ids begin alike, as far as the text
/// before the first wildcard has whole parts.
#[derive(Debug)]
struct Prefixes(Option<Parts>);

impl Vindex for Prefixes {
    fn kind(&self) -> &'static str {
        "cfc"
    }
    fn cost(&self) -> u8 {
        2
    }
    fn is_unique(&self) -> bool {
        false
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        let pattern = text(super::only(values)?);
        // What an escape stands for does not matter: the text before it says enough.
        let wild = pattern
            .iter()
            .position(|b| matches!(b, b'%' | b'_' | b'\\'));
        let prefix = pattern
            .get(..wild.unwrap_or(pattern.len()))
            .unwrap_or_default();
        let Some(parts) = &self.0 else {
            return Ok(Mapping::Range(KeyRange::of_prefix(prefix)));
        };
        let mut id = KeyspaceId::new();
        let mut from = 0;
        for &to in &parts.offsets {
            let Some(part) = prefix.get(from..to) else { break };
            parts.push(&mut id, part);
            from = to;
        }
        Ok(Mapping::Range(KeyRange::of_prefix(&id)))
    }
}

impl Vindex for Cfc {
    fn kind(&self) -> &'static str {
        "cfc"
    }
    fn of_patterns(&self) -> Option<Arc<dyn Vindex>> {
        Some(Arc::new(Prefixes(self.hash.clone())))
    }
    fn cost(&self) -> u8 {
        1
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        let text = text(super::only(values)?);
        let Some(parts) = &self.hash else { return Ok(Mapping::Id(KeyspaceId::from_slice(&text))) };
        let need = parts.offsets.last().copied().unwrap_or(0);
        if text.len() < need {
            let (name, got) = (&self.name, text.len());
            return Err(VindexError(format!(
                "insufficient size for cfc vindex {name}. need {need}, got {got}"
            )));
        }
        let mut id = KeyspaceId::new();
        let mut from = 0;
        for &to in &parts.offsets {
            parts.push(&mut id, &text[from..to]);
            from = to;
        }
        parts.push(&mut id, &text[from..]);
        Ok(Mapping::Id(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_lie_in_the_range_of_a_pattern_that_matches_them() {
        for hash in ["md5", "xxhash64", ""] {
            let mut params = Params::new();
            params.insert("hash".into(), hash.into());
            params.insert("offsets".into(), "[2, 4]".into());
            let cfc = Cfc::new("c", &params).unwrap();
            let patterns = cfc.of_patterns().unwrap();
            let range = |pattern: &str| match patterns.map(&[Value::Bytes(pattern.as_bytes())]) {
                Ok(Mapping::Range(range)) => range,
                other => panic!("{other:?}"),
            };
            let Ok(Mapping::Id(id)) = cfc.map(&[Value::Bytes(b"abcdef")]) else { panic!() };
            for pattern in ["abcdef", "abcd%", "abc%", "ab_def", "ab%", "a%", "%", r"abcd\%"] {
                assert!(range(pattern).contains(&id), "{hash} {pattern}");
            }
            let is_full = |pattern| range(pattern) == KeyRange::full();
            assert!(is_full("a%") != hash.is_empty(), "{hash}");
            assert!(!range("xx%").contains(&id) && !range("abxx%").contains(&id), "{hash}");
            assert!(!is_full("ab%") && is_full("%"));
        }
    }
}
