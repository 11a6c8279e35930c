//! `unicode_loose_md5`, `unicode_loose_xxhash`: a hash of the string's sort key under a collation
//! that ignores case, accents and width. The collation is frozen (CLDR 23 on Unicode 6.2, primary
//! weights), whatever the server's collations do.
use super::hash::{md5, xxhash};
use super::text::text;
use super::{KeyspaceId, Mapping, Vindex, VindexError};
use crate::value::Value;

pub(crate) mod nfd;
mod weights;

/// The bytes that are hashed.
fn key(value: &Value<'_>) -> Result<Vec<u8>, VindexError> {
    let text = text(value);
    let Ok(text) = std::str::from_utf8(&text) else {
        return Err(VindexError(
            "the value for a unicode_loose vindex is not valid UTF-8".to_owned(),
        ));
    };
    Ok(weights::key(text.trim_end_matches(' ')))
}

/// What `lookup_unicodeloosemd5_hash` holds in a value's place: the first eight bytes of its
/// `unicode_loose_md5`, as a number. Bytes that are no UTF-8 have a number, too.
pub(crate) fn md5_number(text: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(text);
    let [a, b, c, d, e, f, g, h, ..] = md5(&weights::key(text.trim_end_matches(' ')));
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[derive(Debug)]
pub(super) struct LooseMd5;

impl Vindex for LooseMd5 {
    fn kind(&self) -> &'static str {
        "unicode_loose_md5"
    }
    fn cost(&self) -> u8 {
        1
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        Ok(Mapping::Id(KeyspaceId::from_slice(&md5(&key(super::only(values)?)?))))
    }
}

#[derive(Debug)]
pub(super) struct LooseXxHash;

impl Vindex for LooseXxHash {
    fn kind(&self) -> &'static str {
        "unicode_loose_xxhash"
    }
    fn cost(&self) -> u8 {
        1
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        Ok(Mapping::Id(KeyspaceId::from_slice(&xxhash(&key(super::only(values)?)?))))
    }
}
