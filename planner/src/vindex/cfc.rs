//! `cfc`: a string made of parts of fixed width (the last may be of any), each hashed on its own.
use super::hash::{md5, xxhash};
use super::text::text;
use super::{CreateError, KeyspaceId, Mapping, Params, Vindex, VindexError};
use crate::value::Value;

#[derive(Debug)]
pub(super) struct Cfc {
    name: String,
    hash: Option<Parts>,
}

#[derive(Debug)]
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

impl Vindex for Cfc {
    fn kind(&self) -> &'static str {
        "cfc"
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
