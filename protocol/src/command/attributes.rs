//! Query attributes: named values beside a query's text.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query.html>

use crate::codec::{self, Reader};
use crate::error::ProtocolError;
use crate::value::{ParamType, Value};

/// The attributes of one query, known to be well formed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryAttributes<'a> {
    count: usize,
    nulls: &'a [u8],
    types: &'a [u8],
    values: &'a [u8],
}

impl<'a> QueryAttributes<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> + use<'a> {
        let nulls = self.nulls;
        let mut types = Reader::new(self.types);
        let mut values = Reader::new(self.values);
        (0..self.count).map_while(move |index| {
            let ty = ParamType::from_bytes(types.array("type").ok()?);
            let name = types.lenenc_bytes("name").ok()?;
            let value = if is_null(nulls, index) {
                Value::Null
            } else {
                Value::read(&mut values, ty).ok()?
            };
            Some((name, value))
        })
    }

    /// Reads the attributes that stand before the text.
    pub(super) fn read(r: &mut Reader<'a>) -> Result<Self, ProtocolError> {
        let count = r.lenenc_int("number of attributes")?;
        let sets = r.lenenc_int("number of attribute sets")?;
        if sets != 1 {
            return Err(ProtocolError::Malformed("number of attribute sets"));
        }
        if count == 0 {
            return Ok(Self::default());
        }
        // Each takes three bytes at least, which bounds the loops below by what really came.
        let count = usize::try_from(count)
            .ok()
            .filter(|count| *count <= r.remaining());
        let count = count.ok_or(ProtocolError::Truncated("query attributes"))?;
        let nulls = r.bytes(count.div_ceil(8), "NULL bitmap")?;
        if r.u8("flag of new parameters")? != 1 {
            return Err(ProtocolError::Malformed("flag of new parameters"));
        }
        let types = r.peek_rest();
        let before = r.position();
        for _ in 0..count {
            r.array::<2>("attribute type")?;
            r.lenenc_bytes("attribute name")?;
        }
        let types = types.get(..r.position() - before).unwrap_or_default();
        let values = r.peek_rest();
        let before = r.position();
        let mut again = Reader::new(types);
        for index in 0..count {
            let ty = ParamType::from_bytes(again.array("attribute type")?);
            again.lenenc_bytes("attribute name")?;
            if !is_null(nulls, index) {
                Value::read(r, ty)?;
            }
        }
        let values = values.get(..r.position() - before).unwrap_or_default();
        Ok(Self { count, nulls, types, values })
    }
}

/// Appends attributes as they stand before a query's text.
pub fn put_attributes(out: &mut Vec<u8>, attributes: &[(&[u8], Value<'_>)]) {
    codec::put_lenenc_int(out, attributes.len() as u64);
    codec::put_lenenc_int(out, 1);
    if attributes.is_empty() {
        return;
    }
    let nulls_at = out.len();
    out.resize(nulls_at + attributes.len().div_ceil(8), 0);
    out.push(1);
    for (index, (name, value)) in attributes.iter().enumerate() {
        if *value == Value::Null
            && let Some(byte) = out.get_mut(nulls_at + index / 8)
        {
            *byte |= 1 << (index % 8);
        }
        out.extend_from_slice(&value.natural_type().to_bytes());
        codec::put_lenenc_bytes(out, name);
    }
    for (_, value) in attributes {
        value.write(out);
    }
}

/// Whether a bitmap that begins at bit 0 has the bit of `index`.
pub(super) fn is_null(nulls: &[u8], index: usize) -> bool {
    nulls
        .get(index / 8)
        .is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}
