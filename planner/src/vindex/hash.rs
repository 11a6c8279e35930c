//! `hash`: integers through a DES block with a key of zeros; the keyspace id is the 8 bytes of the
//! block. `xxhash` and `binary_md5`: the text's hash.
use super::text::{text, unsigned};
use super::{KeyspaceId, Mapping, Vindex, VindexError};
use crate::value::Value;
use md5::{Digest, Md5};
use xxhash_rust::xxh64::xxh64;

/// The 8 bytes that `hash` gives to an integer.
pub(super) fn des(n: u64) -> [u8; 8] {
    super::des::encrypt(n).to_be_bytes()
}

/// As Vitess: the 64-bit hash with seed 0, little-endian.
pub(super) fn xxhash(bytes: &[u8]) -> [u8; 8] {
    xxh64(bytes, 0).to_le_bytes()
}

pub(super) fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

/// What `hash` and those built on it read as a number: unlike elsewhere, negative integers count,
/// as their two's complement.
pub(super) fn hashable(value: &Value<'_>) -> Option<u64> {
    match *value {
        Value::Int(n) => Some(n.cast_unsigned()),
        _ => unsigned(value),
    }
}

#[derive(Debug)]
pub(super) struct Hash;

impl Vindex for Hash {
    fn kind(&self) -> &'static str {
        "hash"
    }
    fn cost(&self) -> u8 {
        1
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        let number = hashable(super::only(values)?);
        Ok(number.map_or(Mapping::None, |n| Mapping::Id(KeyspaceId::from_slice(&des(n)))))
    }
    fn ids_of_numbers(&self, numbers: &mut [u64]) -> bool {
        let (several, rest) = numbers.as_chunks_mut();
        several
            .iter_mut()
            .for_each(|numbers| *numbers = super::des::encrypt_each::<4>(*numbers));
        rest.iter_mut()
            .for_each(|number| *number = super::des::encrypt(*number));
        true
    }
}

#[derive(Debug)]
pub(super) struct XxHash;

impl Vindex for XxHash {
    fn kind(&self) -> &'static str {
        "xxhash"
    }
    fn cost(&self) -> u8 {
        1
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        Ok(Mapping::Id(KeyspaceId::from_slice(&xxhash(&text(super::only(values)?)))))
    }
}

#[derive(Debug)]
pub(super) struct BinaryMd5;

impl Vindex for BinaryMd5 {
    fn kind(&self) -> &'static str {
        "binary_md5"
    }
    fn cost(&self) -> u8 {
        1
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        Ok(Mapping::Id(KeyspaceId::from_slice(&md5(&text(super::only(values)?)))))
    }
}
