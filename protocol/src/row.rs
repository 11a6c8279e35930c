//! Rows of results, as text (COM_QUERY) and in binary (COM_STMT_EXECUTE).
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_row.html>,
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html>

use crate::codec::{self, NULL_MARK, Reader};
use crate::column::ColumnType;
use crate::error::ProtocolError;
use crate::value::{ParamType, Value};

/// The columns of a text row; `None` is NULL. After an error there are no more.
#[derive(Clone, Debug)]
pub struct TextRow<'a> {
    reader: Reader<'a>,
}

impl<'a> TextRow<'a> {
    /// Reads the row that is `payload`.
    pub fn new(payload: &'a [u8]) -> Self {
        Self { reader: Reader::new(payload) }
    }
}

impl<'a> Iterator for TextRow<'a> {
    type Item = Result<Option<&'a [u8]>, ProtocolError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let item = self.reader.lenenc_bytes_or_null("column of a row");
        if item.is_err() {
            self.reader.rest();
        }
        Some(item)
    }
}

/// Appends one column of a text row.
pub fn put_text(out: &mut Vec<u8>, column: Option<&[u8]>) {
    match column {
        None => out.push(NULL_MARK),
        Some(text) => codec::put_lenenc_bytes(out, text),
    }
}

/// First byte of a binary row.
const BINARY_ROW: u8 = 0x00;
/// In a row (not among parameters) the NULL bitmap begins at this bit.
const NULL_BITMAP_OFFSET: usize = 2;

fn bitmap_len(columns: usize) -> usize {
    (columns + NULL_BITMAP_OFFSET).div_ceil(8)
}

/// The columns of a binary row. After an error there are no more.
#[derive(Clone, Debug)]
pub struct BinaryRow<'a, T> {
    reader: Reader<'a>,
    nulls: &'a [u8],
    types: T,
    index: usize,
}

impl<'a, T: ExactSizeIterator<Item = ParamType>> BinaryRow<'a, T> {
    /// Reads the row that is `payload`, whose columns have `types`.
    ///
    /// # Errors
    /// `UnexpectedPacket` if it is no binary row, `Truncated` if its NULL bitmap is too short.
    pub fn new(
        payload: &'a [u8],
        types: impl IntoIterator<IntoIter = T>,
    ) -> Result<Self, ProtocolError> {
        let types = types.into_iter();
        let mut reader = Reader::new(payload);
        let head = reader.u8("binary row")?;
        if head != BINARY_ROW {
            return Err(ProtocolError::UnexpectedPacket { waiting_for: "binary row", head });
        }
        let nulls = reader.bytes(bitmap_len(types.len()), "NULL bitmap")?;
        Ok(Self { reader, nulls, types, index: 0 })
    }
}

impl<'a, T: Iterator<Item = ParamType>> Iterator for BinaryRow<'a, T> {
    type Item = Result<Value<'a>, ProtocolError>;

    fn next(&mut self) -> Option<Self::Item> {
        let ty = self.types.next()?;
        let bit = self.index + NULL_BITMAP_OFFSET;
        self.index += 1;
        if self.nulls.get(bit / 8)? >> (bit % 8) & 1 == 1 {
            return Some(Ok(Value::Null));
        }
        let item = Value::read(&mut self.reader, ty);
        if item.is_err() {
            self.nulls = b"";
        }
        Some(item)
    }
}

/// Appends a binary row of columns with their types.
///
/// # Errors
/// [`ProtocolError::Misuse`] if a value does not fit its type. `out` then holds a part of the row.
pub fn put_binary_row<'v, I>(out: &mut Vec<u8>, columns: I) -> Result<(), ProtocolError>
where
    I: IntoIterator<Item = (ColumnType, Value<'v>)>,
    I::IntoIter: ExactSizeIterator,
{
    let columns = columns.into_iter();
    out.push(BINARY_ROW);
    let nulls_at = out.len();
    out.resize(nulls_at + bitmap_len(columns.len()), 0);
    for (index, (ty, value)) in columns.enumerate() {
        if value == Value::Null {
            let bit = index + NULL_BITMAP_OFFSET;
            if let Some(byte) = out.get_mut(nulls_at + bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        } else {
            value.write_as(ty, out)?;
        }
    }
    Ok(())
}
