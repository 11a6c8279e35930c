//! What a column's type says about the values that lie in it: a vindex maps the bytes of a value, MySQL compares by the
//! column's type. `id = '5'`, `id = 5.0` and `id = 0x05` all find the row whose integer `id` is 5, so that all of them must
//! go where 5 lies; and where a value says nothing for certain about the rows that it equals, every shard may have them.
use crate::charset::{Charset, Charsets};
use crate::snapshot::{Column, Table};
use crate::value::Value;

/// Types whose values compare alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// The type is not known: values are taken as they come, as Vitess does.
    #[default]
    Unknown,
    Integer,
    /// Compared by a collation. Which strings are equal beyond their bytes is the vindex's business, as in Vitess.
    Text {
        /// Its character set, in which strings that are given as bytes are understood.
        utf8: bool,
        /// CHAR, which keeps no spaces at the end.
        fixed: bool,
    },
    /// Bytes; with BINARY, how many: shorter values are filled up with zeros. 0 if that is not known.
    Binary {
        fixed: Option<u32>,
    },
    Date,
    /// Types of which one value has many forms: decimals, doubles, times, ENUM and SET.
    Other,
}

impl Family {
    pub(crate) fn of(column: &Column) -> Self {
        let text = |fixed| {
            let charset = column.collation.as_deref().map(Charset::of_collation);
            Self::Text { utf8: charset.is_none_or(|c| c == Charset::Utf8), fixed }
        };
        match column.data_type.as_str() {
            "" => Self::Unknown,
            "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" => Self::Integer,
            "char" => text(true),
            "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => text(false),
            "binary" => Self::Binary { fixed: Some(column.bytes.unwrap_or(0)) },
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Binary { fixed: None },
            "date" => Self::Date,
            _ => Self::Other,
        }
    }

    pub(crate) fn of_column(table: &Table, column: &str) -> Self {
        find(table, column).map_or(Self::Unknown, Self::of)
    }

    /// Do equal columns of these types have equal bytes?
    pub(crate) fn alike(self, other: Self) -> bool {
        match (self, other) {
            (a, b) if !a.has_one_form() || !b.has_one_form() => false,
            (Self::Unknown, _) | (_, Self::Unknown) => true,
            (Self::Text { .. }, Self::Text { .. }) | (Self::Binary { .. }, Self::Binary { .. }) => true,
            (a, b) => a == b,
        }
    }

    /// Does one value lie in one place, in whatever form it was written?
    pub(crate) fn has_one_form(self) -> bool {
        !matches!(self, Self::Other | Self::Binary { fixed: Some(0) })
    }
}

pub(crate) fn find<'t>(table: &'t Table, column: &str) -> Option<&'t Column> {
    table
        .columns
        .iter()
        .find(|c| c.name.eq_ignore_ascii_case(column))
}

/// What a comparison `column = value` can find.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sought<'a> {
    /// Rows that were placed by this value.
    Value(Value<'a>),
    Nothing,
    /// Rows that may have been placed by other values.
    Anywhere,
}

/// A string as the column has it, in the form by which rows are placed; other values as they are. `None` where its
/// characters cannot be told.
fn converted<'a>(
    family: Family,
    value: Value<'a>,
    charsets: Charsets,
    buffer: &'a mut Vec<u8>,
) -> Option<Value<'a>> {
    let bytes = match (family, value) {
        (Family::Text { .. }, Value::Bytes(text)) if charsets.are_utf8() => text,
        (Family::Text { .. }, Value::Bytes(text)) => charsets.as_text(text, buffer)?,
        (Family::Text { utf8, .. }, Value::Binary(bytes) | Value::Hex(bytes) | Value::Bits(bytes)) => {
            Some(bytes).filter(|b| utf8 || b.is_ascii())?
        }
        (Family::Binary { .. }, Value::Bytes(text)) => charsets.as_bytes(text, buffer)?,
        (Family::Binary { .. }, Value::Binary(bytes) | Value::Hex(bytes) | Value::Bits(bytes)) => bytes,
        (Family::Unknown, Value::Bytes(text)) if !charsets.are_utf8() && !text.is_ascii() => return None,
        (Family::Integer | Family::Date, Value::Binary(bytes)) => bytes,
        (_, value) => return Some(value),
    };
    Some(match family {
        // The server cuts them off, and compares CHAR as if both had as many.
        Family::Text { fixed: true, .. } => {
            let spaces = bytes.iter().rev().take_while(|b| **b == b' ').count();
            Value::Bytes(bytes.get(..bytes.len() - spaces).unwrap_or_default())
        }
        _ => Value::Bytes(bytes),
    })
}

/// What a comparison with this value can find. `buffer` is for the text where it is converted.
pub(crate) fn sought<'a>(
    family: Family,
    value: Value<'a>,
    charsets: Charsets,
    buffer: &'a mut Vec<u8>,
) -> Sought<'a> {
    converted(family, value, charsets, buffer).map_or(Sought::Anywhere, |value| compared(family, value))
}

fn compared(family: Family, value: Value<'_>) -> Sought<'_> {
    match (family, value) {
        (_, Value::Null) => Sought::Nothing,
        (Family::Unknown, value) => Sought::Value(value),
        (Family::Integer, Value::Int(_) | Value::UInt(_)) => Sought::Value(value),
        (Family::Integer, Value::Float(n)) => whole(n),
        (Family::Integer, Value::Decimal(text)) => decimal(text),
        (Family::Integer, Value::Hex(bytes)) => match bytes {
            [] => Sought::Anywhere,
            _ if bytes.len() <= 8 => {
                Sought::Value(Value::UInt(bytes.iter().fold(0, |n, &b| n << 8 | u64::from(b))))
            }
            _ => Sought::Anywhere,
        },
        (Family::Integer, Value::Bytes(bytes)) => integer(bytes).map_or(Sought::Anywhere, Sought::Value),
        (Family::Text { .. }, Value::Bytes(_)) => Sought::Value(value),
        // Rows that have it may have been placed by it without the zeros.
        (Family::Binary { fixed: Some(0) }, Value::Bytes([.., 0])) => Sought::Anywhere,
        (Family::Binary { .. }, Value::Bytes(_)) => Sought::Value(value),
        (Family::Date, Value::Bytes(bytes)) if is_date(bytes) => Sought::Value(value),
        // Numbers equal every text that begins with them.
        _ => Sought::Anywhere,
    }
}

/// Why a row cannot be placed by a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotStored {
    /// The server may make another value of it.
    Changed,
    /// Text whose characters cannot be told.
    Charset,
}

/// The value that a column holds after it was given this one.
pub(crate) fn stored<'a>(
    family: Family,
    value: Value<'a>,
    charsets: Charsets,
    buffer: &'a mut Vec<u8>,
) -> Result<Value<'a>, NotStored> {
    let value = converted(family, value, charsets, buffer).ok_or(NotStored::Charset)?;
    let kept = match (family, value) {
        (_, Value::Null) | (Family::Unknown | Family::Other, _) => true,
        (Family::Integer | Family::Date, _) => {
            return match compared(family, value) {
                Sought::Value(value) => Ok(value),
                _ => Err(NotStored::Changed),
            };
        }
        (Family::Text { .. } | Family::Binary { .. }, Value::Float(_)) => false,
        (Family::Binary { fixed: Some(length @ 1..) }, Value::Bytes(bytes)) => bytes.len() == length as usize,
        (Family::Binary { fixed: Some(1..) }, _) => false,
        (Family::Text { .. } | Family::Binary { .. }, Value::Decimal(text)) => is_plain(text),
        (Family::Text { .. } | Family::Binary { .. }, _) => true,
    };
    kept.then_some(value).ok_or(NotStored::Changed)
}

fn whole<'a>(n: f64) -> Sought<'a> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !n.is_finite() || n.abs() >= EXACT {
        Sought::Anywhere
    } else if n.fract() != 0.0 {
        Sought::Nothing
    } else {
        Sought::Value(Value::Int(n as i64))
    }
}

/// `5.0` is 5, and no integer is 5.5.
fn decimal<'a>(text: &[u8]) -> Sought<'a> {
    let as_text = std::str::from_utf8(text).unwrap_or_default();
    if text.iter().any(|b| matches!(b, b'e' | b'E')) {
        return as_text.parse().map_or(Sought::Anywhere, whole);
    }
    let (before, after) = as_text.split_once('.').unwrap_or((as_text, ""));
    if !after.bytes().all(|b| b == b'0') {
        return Sought::Nothing;
    }
    let before = if matches!(before, "" | "-" | "+") { "0" } else { before };
    integer(before.as_bytes()).map_or(Sought::Nothing, Sought::Value)
}

/// Digits with nothing but a sign before them.
fn integer<'a>(text: &[u8]) -> Option<Value<'a>> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    text.parse()
        .map(Value::Int)
        .or_else(|_| text.parse().map(Value::UInt))
        .ok()
}

fn is_date(text: &[u8]) -> bool {
    text.len() == 10
        && text.iter().enumerate().all(|(n, b)| match n {
            4 | 7 => *b == b'-',
            _ => b.is_ascii_digit(),
        })
}

/// Is this how MySQL writes the number?
fn is_plain(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let begins = match digits {
        [b'0', b'.', _, ..] => true,
        [b'1'..=b'9', ..] => digits.last().is_some_and(u8::is_ascii_digit),
        _ => false,
    };
    begins && !digits.iter().any(|b| matches!(b, b'e' | b'E'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Family = Family::Text { utf8: true, fixed: false };

    fn sought(family: Family, value: Value<'static>) -> Sought<'static> {
        super::sought(family, value, Charsets::default(), Box::leak(Box::default()))
    }

    fn stored(family: Family, value: Value<'static>) -> Option<Value<'static>> {
        super::stored(family, value, Charsets::default(), Box::leak(Box::default())).ok()
    }

    #[test]
    fn forms_of_one_integer_are_one_value() {
        let five = Sought::Value(Value::Int(5));
        for value in [
            Value::Int(5),
            Value::Bytes(b"5"),
            Value::Bytes(b"005"),
            Value::Decimal(b"5.0"),
            Value::Decimal(b"5."),
            Value::Decimal(b"0.5e1"),
            Value::Float(5.0),
        ] {
            assert_eq!(sought(Family::Integer, value), five, "{value:?}");
        }
        assert_eq!(sought(Family::Integer, Value::Hex(b"\x05")), Sought::Value(Value::UInt(5)));
        assert_eq!(sought(Family::Integer, Value::Decimal(b"-.0")), Sought::Value(Value::Int(0)));
        for value in [Value::Decimal(b"5.5"), Value::Float(0.1), Value::Decimal(b"99999999999999999999")] {
            assert_eq!(sought(Family::Integer, value), Sought::Nothing, "{value:?}");
        }
        for value in [Value::Bytes(b"5x"), Value::Bytes(b" 5"), Value::Bytes(b"5.0"), Value::Float(1e19)] {
            assert_eq!(sought(Family::Integer, value), Sought::Anywhere, "{value:?}");
        }
        for value in [Value::Bytes(b"\x05"), Value::Bits(b"5"), Value::Bits(b"\x05")] {
            assert_eq!(sought(Family::Integer, value), Sought::Anywhere, "{value:?}");
        }
        assert_eq!(sought(Family::Integer, Value::Binary(b"5")), five);
    }

    #[test]
    fn numbers_equal_many_texts() {
        assert_eq!(sought(TEXT, Value::Int(5)), Sought::Anywhere);
        assert_eq!(sought(TEXT, Value::Bytes(b"5")), Sought::Value(Value::Bytes(b"5")));
        assert_eq!(sought(Family::Date, Value::Bytes(b"2020-1-1")), Sought::Anywhere);
        assert_eq!(sought(Family::Other, Value::Bytes(b"5")), Sought::Anywhere);
    }

    #[test]
    fn what_the_server_would_change_has_no_place() {
        assert_eq!(stored(Family::Integer, Value::Bytes(b"05")), Some(Value::Int(5)));
        assert_eq!(stored(Family::Integer, Value::Decimal(b"5.5")), None);
        assert_eq!(stored(Family::Integer, Value::Bytes(b"5x")), None);
        assert_eq!(stored(TEXT, Value::Int(5)), Some(Value::Int(5)));
        for (text, plain) in [
            (&b"1.50"[..], true),
            (b"-0.5", true),
            (b".5", false),
            (b"5.", false),
            (b"01.5", false),
            (b"1e3", false),
            (b"1.5e3", false),
        ] {
            assert_eq!(stored(TEXT, Value::Decimal(text)).is_some(), plain, "{text:?}");
        }
    }

    #[test]
    fn fixed_lengths_fill_up() {
        let char = Family::Text { utf8: true, fixed: true };
        assert_eq!(sought(char, Value::Bytes(b"a  ")), Sought::Value(Value::Bytes(b"a")));
        assert_eq!(stored(char, Value::Bytes(b" a ")), Some(Value::Bytes(b" a")));
        assert_eq!(stored(TEXT, Value::Bytes(b"a ")), Some(Value::Bytes(b"a ")));
        let binary = |n| Family::Binary { fixed: Some(n) };
        assert_eq!(stored(binary(2), Value::Bytes(b"a")), None);
        assert_eq!(stored(binary(2), Value::Int(5)), None);
        assert_eq!(stored(binary(2), Value::Bits(b"a\0")), Some(Value::Bytes(b"a\0")));
        assert_eq!(sought(binary(2), Value::Bytes(b"a\0")), Sought::Value(Value::Bytes(b"a\0")));
        assert_eq!(sought(binary(0), Value::Bytes(b"a\0")), Sought::Anywhere);
        assert!(binary(16).alike(Family::Binary { fixed: None }) && !binary(0).alike(binary(0)));
    }

    #[test]
    fn text_is_placed_by_its_utf8() {
        let (latin1, gbk) = (Charset::by_name("latin1"), Charset::by_name("gbk"));
        let session = |charset| Charsets { client: charset, connection: charset };
        let mut buffer = Vec::new();
        let mut find =
            |family, value, charset| match super::sought(family, value, session(charset), &mut buffer) {
                Sought::Value(Value::Bytes(bytes)) => Some(bytes.to_vec()),
                _ => None,
            };
        let (e, utf8) = (Value::Bytes(b"\xe9"), "é".as_bytes().to_vec());
        let bytes = Family::Binary { fixed: None };
        assert_eq!(find(TEXT, e, latin1), Some(utf8.clone()));
        assert_eq!(find(bytes, e, latin1), Some(b"\xe9".to_vec()));
        assert_eq!(find(TEXT, Value::Binary("é".as_bytes()), latin1), Some(utf8));
        assert_eq!(find(TEXT, e, gbk), None);
        assert_eq!(find(bytes, e, gbk), Some(b"\xe9".to_vec()));
        assert_eq!(find(Family::Unknown, e, latin1), None);
        assert_eq!(find(Family::Unknown, Value::Bytes(b"a"), latin1), Some(b"a".to_vec()));
        let other = Family::Text { utf8: false, fixed: false };
        assert_eq!(find(other, Value::Bits(b"\xe9"), latin1), None);
        assert_eq!(find(other, Value::Bits(b"a"), latin1), Some(b"a".to_vec()));
        let refused = super::stored(TEXT, e, session(gbk), &mut buffer);
        assert_eq!(refused, Err(NotStored::Charset));
    }
}
