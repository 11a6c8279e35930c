//! The parameters of COM_STMT_EXECUTE.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html>

use super::attributes::is_null;
use crate::capability::Capabilities;
use crate::codec::{self, Reader};
use crate::error::ProtocolError;
use crate::value::{ParamType, Value};

/// Flag: no cursor, but a read-only one was asked for.
pub const CURSOR_TYPE_READ_ONLY: u8 = 1;
/// Flag: a number of parameters follows, which counts query attributes too.
pub const PARAMETER_COUNT_AVAILABLE: u8 = 8;

/// Where the statement id stands in a COM_STMT_EXECUTE payload (and in all other COM_STMT_ ones).
pub const STMT_ID_AT: std::ops::Range<usize> = 1..5;
/// Where the body begins in a COM_STMT_EXECUTE payload.
pub const BODY_AT: usize = 10;

/// The body of one execution, read without decoding its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecuteBody<'a> {
    /// Values that follow, query attributes included.
    pub params: usize,
    /// One bit for each value, from bit 0.
    pub null_bitmap: &'a [u8],
    /// Whether the types come with this execution; if not, those of the last one hold.
    pub new_params_bound: bool,
    /// The types as they are on the wire: two bytes each, and a name if `named`. Empty unless
    /// `new_params_bound`.
    pub types: &'a [u8],
    /// Whether each type has a name behind it.
    pub named: bool,
    /// The values.
    pub values: &'a [u8],
    /// Offset of the flag `new_params_bound` in the body. To insert types, set it and put them
    /// behind it.
    pub flag_at: usize,
}

impl<'a> ExecuteBody<'a> {
    /// Reads the body of an execution with `flags` of a statement with `num_params` parameters.
    ///
    /// # Errors
    /// `Truncated` or `Malformed`.
    pub fn parse(
        body: &'a [u8],
        num_params: usize,
        flags: u8,
        caps: Capabilities,
    ) -> Result<Self, ProtocolError> {
        let mut r = Reader::new(body);
        let named = caps.contains(Capabilities::QUERY_ATTRIBUTES);
        let mut params = num_params;
        if named && (num_params > 0 || flags & PARAMETER_COUNT_AVAILABLE != 0) {
            let count = r.lenenc_int("number of parameters")?;
            params = usize::try_from(count).unwrap_or(usize::MAX);
            if params < num_params {
                return Err(ProtocolError::Malformed("number of parameters"));
            }
        }
        let mut parsed = Self {
            params,
            null_bitmap: b"",
            new_params_bound: false,
            types: b"",
            named,
            values: b"",
            flag_at: r.position(),
        };
        if params == 0 {
            return Ok(parsed);
        }
        parsed.null_bitmap = r.bytes(params.div_ceil(8), "NULL bitmap")?;
        parsed.flag_at = r.position();
        parsed.new_params_bound = match r.u8("flag of new parameters")? {
            0 => false,
            1 => true,
            _ => return Err(ProtocolError::Malformed("flag of new parameters")),
        };
        if parsed.new_params_bound {
            let from = r.peek_rest();
            let before = r.position();
            for _ in 0..params {
                r.array::<2>("parameter type")?;
                if named {
                    r.lenenc_bytes("parameter name")?;
                }
            }
            parsed.types = from.get(..r.position() - before).unwrap_or_default();
        }
        parsed.values = r.rest();
        Ok(parsed)
    }

    /// Are all values NULL? Then an execution needs no types, also if none has brought any.
    pub fn is_all_null(&self) -> bool {
        (0..self.params).all(|index| is_null(self.null_bitmap, index))
    }

    /// Types that came with this execution, and their names; none unless `new_params_bound`.
    pub fn bound_types(&self) -> impl Iterator<Item = (ParamType, &'a [u8])> + use<'a> {
        let (mut r, named) = (Reader::new(self.types), self.named);
        std::iter::from_fn(move || {
            let ty = ParamType::from_bytes(r.array("parameter type").ok()?);
            let name = if named { r.lenenc_bytes("parameter name").ok()? } else { b"" };
            Some((ty, name))
        })
    }

    /// The values in order. `remembered` are the types of the last execution that brought some,
    /// used if this one did not; `long_data` tells for a parameter whether its value came by
    /// COM_STMT_SEND_LONG_DATA.
    pub fn values<'t, L>(&self, remembered: &'t [ParamType], long_data: L) -> Values<'a, 't, L>
    where
        L: Fn(usize) -> bool,
    {
        Values {
            nulls: self.null_bitmap,
            bound: self.new_params_bound.then(|| Reader::new(self.types)),
            named: self.named,
            remembered,
            values: Reader::new(self.values),
            index: 0,
            params: self.params,
            long_data,
        }
    }
}

/// Iterator of [`ExecuteBody::values`]. After an error there are no more.
#[derive(Clone, Debug)]
pub struct Values<'a, 't, L> {
    nulls: &'a [u8],
    bound: Option<Reader<'a>>,
    named: bool,
    remembered: &'t [ParamType],
    values: Reader<'a>,
    index: usize,
    params: usize,
    long_data: L,
}

impl<'a, L: Fn(usize) -> bool> Values<'a, '_, L> {
    fn read(&mut self, index: usize) -> Result<(ParamType, Value<'a>), ProtocolError> {
        let ty = match &mut self.bound {
            Some(r) => {
                let ty = ParamType::from_bytes(r.array("parameter type")?);
                if self.named {
                    r.lenenc_bytes("parameter name")?;
                }
                ty
            }
            None => match self.remembered.get(index) {
                Some(ty) => *ty,
                None if is_null(self.nulls, index) => Value::Null.natural_type(),
                None => return Err(ProtocolError::Malformed("parameters without types")),
            },
        };
        let value = if (self.long_data)(index) {
            Value::LongData
        } else if is_null(self.nulls, index) {
            Value::Null
        } else {
            Value::read(&mut self.values, ty)?
        };
        Ok((ty, value))
    }
}

impl<'a, L: Fn(usize) -> bool> Iterator for Values<'a, '_, L> {
    type Item = Result<(ParamType, Value<'a>), ProtocolError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.params {
            return None;
        }
        let item = self.read(self.index);
        self.index = if item.is_ok() { self.index + 1 } else { self.params };
        Some(item)
    }
}

/// Appends a body with types, for a backend of these capabilities. Values that came as long data
/// are announced, but not sent.
pub fn put_body(out: &mut Vec<u8>, caps: Capabilities, params: &[Value<'_>]) {
    if params.is_empty() {
        return;
    }
    let named = caps.contains(Capabilities::QUERY_ATTRIBUTES);
    if named {
        codec::put_lenenc_int(out, params.len() as u64);
    }
    let nulls_at = out.len();
    out.resize(nulls_at + params.len().div_ceil(8), 0);
    out.push(1);
    for (index, value) in params.iter().enumerate() {
        if *value == Value::Null
            && let Some(byte) = out.get_mut(nulls_at + index / 8)
        {
            *byte |= 1 << (index % 8);
        }
        out.extend_from_slice(&value.natural_type().to_bytes());
        if named {
            out.push(0);
        }
    }
    for value in params {
        value.write(out);
    }
}
