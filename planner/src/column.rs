//! What a column's type says about the values that lie in it: a vindex maps the bytes of a value,
//! MySQL compares by the column's type. `id = '5'`, `id = 5.0` and `id = 0x05` all find the row
//! whose integer `id` is 5, so that all of them must go where 5 lies; and where a value says
//! nothing for certain about the rows that it equals, every shard may have them.
mod forms;

use crate::charset::{Charsets, Holds};
use crate::snapshot::{Column, Table};
use crate::value::Value;
use forms::{decimal, digits, fits, integer, is_date, is_day, is_plain, whole};

/// Types whose values compare alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// The type is not known: values are taken as they come, as Vitess does.
    #[default]
    Unknown,
    /// Between two values, both of which fit.
    Integer {
        /// The least value of the type.
        min: i64,
        /// The greatest one.
        max: u64,
    },
    /// Compared by a collation. Which strings are equal beyond their bytes is the vindex's
    /// business, as in Vitess.
    Text {
        /// By its character set, in which strings that are given as bytes are understood, too.
        holds: Holds,
        /// CHAR, which keeps no spaces at the end.
        fixed: bool,
        /// In characters.
        length: u32,
    },
    /// So many bytes at most.
    Binary(u32),
    /// BINARY(n): shorter values are filled up with zeros. `None` if the length is not known.
    Fixed(Option<u32>),
    /// DATE
    Date,
    /// Types of which one value has many forms: decimals, doubles, times, ENUM and SET.
    Other,
}

impl Family {
    pub(crate) fn of(column: &Column) -> Self {
        let length = column.length.unwrap_or(u32::MAX);
        let text = |fixed| {
            let holds = Holds::of_collation(column.collation.as_deref());
            Self::Text { holds, fixed, length }
        };
        match column.data_type.as_str() {
            "" => Self::Unknown,
            "tinyint" => Self::integer(8, column.unsigned),
            "smallint" => Self::integer(16, column.unsigned),
            "mediumint" => Self::integer(24, column.unsigned),
            "int" | "integer" => Self::integer(32, column.unsigned),
            "bigint" => Self::integer(64, column.unsigned),
            "char" => text(true),
            "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => text(false),
            "binary" => Self::Fixed(column.length),
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Binary(length),
            "date" => Self::Date,
            _ => Self::Other,
        }
    }

    fn integer(bits: u32, unsigned: bool) -> Self {
        if unsigned {
            Self::Integer { min: 0, max: u64::MAX >> (64 - bits) }
        } else {
            Self::Integer { min: i64::MIN >> (64 - bits), max: u64::MAX >> (65 - bits) }
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
            (Self::Fixed(_) | Self::Binary(_), Self::Fixed(_) | Self::Binary(_)) => true,
            (a, b) => std::mem::discriminant(&a) == std::mem::discriminant(&b),
        }
    }

    /// Can it be that a mode that is not strict, or IGNORE, makes another text of this one?
    pub(crate) fn may_change(self, value: &Value<'_>) -> bool {
        matches!((self, value), (Self::Text { holds, .. },
            Value::Bytes(text)) if holds.all_of(text).is_none())
    }

    /// Does every value of a column of the other type fit into one of this?
    pub(crate) fn takes_all_of(self, other: Self) -> bool {
        match (self, other) {
            (Self::Integer { min, max }, Self::Integer { min: least, max: most }) => {
                least >= min && most <= max
            }
            (
                Self::Text { holds, length, .. },
                Self::Text { holds: given, length: longest, .. },
            ) => {
                longest <= length
                    && (holds == given || matches!(holds, Holds::Anything | Holds::Unicode { .. }))
            }
            (Self::Binary(length), Self::Binary(longest)) => longest <= length,
            (Self::Fixed(length), Self::Fixed(given)) => length == given,
            (a, b) => a == b || a == Self::Unknown,
        }
    }

    /// Does one value lie in one place, in whatever form it was written?
    pub(crate) fn has_one_form(self) -> bool {
        !matches!(self, Self::Other | Self::Fixed(None))
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

/// A string as the column has it, in the form by which rows are placed; other values as they are.
/// `None` where its characters cannot be told.
fn converted<'a>(
    family: Family,
    value: Value<'a>,
    charsets: Charsets,
    buffer: &'a mut Vec<u8>,
) -> Option<Value<'a>> {
    let bytes = match (family, value) {
        (Family::Text { .. }, Value::Bytes(text)) if charsets.are_utf8() => text,
        (Family::Text { .. }, Value::Bytes(text)) => charsets.as_text(text, buffer)?,
        (
            Family::Text { holds, .. },
            Value::Binary(bytes) | Value::Hex(bytes) | Value::Bits(bytes),
        ) => {
            let utf8 = holds.bytes_are_utf8()?;
            Some(bytes).filter(|b| utf8 || b.is_ascii())?
        }
        (Family::Binary(_) | Family::Fixed(_), Value::Bytes(text)) => {
            charsets.as_bytes(text, buffer)?
        }
        (
            Family::Binary(_) | Family::Fixed(_),
            Value::Binary(bytes) | Value::Hex(bytes) | Value::Bits(bytes),
        ) => bytes,
        (Family::Unknown, Value::Bytes(text)) if !charsets.are_utf8() && !text.is_ascii() => {
            return None;
        }
        (Family::Integer { .. } | Family::Date, Value::Binary(bytes)) => bytes,
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
    converted(family, value, charsets, buffer)
        .map_or(Sought::Anywhere, |value| compared(family, value))
}

fn compared(family: Family, value: Value<'_>) -> Sought<'_> {
    match (family, value) {
        (_, Value::Null) => Sought::Nothing,
        (Family::Unknown, value) => Sought::Value(value),
        (Family::Integer { .. }, Value::Int(_) | Value::UInt(_)) => Sought::Value(value),
        (Family::Integer { .. }, Value::Float(n)) => whole(n),
        (Family::Integer { .. }, Value::Decimal(text)) => decimal(text),
        (Family::Integer { .. }, Value::Hex(bytes)) => match bytes {
            [] => Sought::Anywhere,
            _ if bytes.len() <= 8 => {
                Sought::Value(Value::UInt(bytes.iter().fold(0, |n, &b| n << 8 | u64::from(b))))
            }
            _ => Sought::Anywhere,
        },
        (Family::Integer { .. }, Value::Bytes(bytes)) => {
            integer(bytes).map_or(Sought::Anywhere, Sought::Value)
        }
        (Family::Text { .. } | Family::Binary(_), Value::Bytes(_)) => Sought::Value(value),
        (Family::Fixed(Some(length)), Value::Bytes(bytes)) if bytes.len() == length as usize => {
            Sought::Value(value)
        }
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
    /// Text with characters that the column's character set does not have.
    Characters,
    /// NULL, for which the server stores a default.
    Null,
}

/// The value that a column holds after it was given this one. What does not fit the server refuses
/// in a strict mode only; else, and for INSERT IGNORE, it cuts.
pub(crate) fn stored<'a>(
    family: Family,
    value: Value<'a>,
    charsets: Charsets,
    buffer: &'a mut Vec<u8>,
) -> Result<Value<'a>, NotStored> {
    let value = converted(family, value, charsets, buffer).ok_or(NotStored::Charset)?;
    let kept = match (family, value) {
        (_, Value::Null) | (Family::Unknown | Family::Other, _) => true,
        (Family::Integer { min, max }, _) => {
            let (number, fits) = match compared(family, value) {
                Sought::Value(Value::Int(n)) => {
                    (Value::Int(n), n >= min && (n < 0 || n as u64 <= max))
                }
                Sought::Value(Value::UInt(n)) => (Value::UInt(n), n <= max),
                _ => (value, false),
            };
            return fits.then_some(number).ok_or(NotStored::Changed);
        }
        (Family::Date, Value::Bytes(bytes)) => is_day(bytes),
        (Family::Fixed(Some(length)), Value::Bytes(bytes)) => bytes.len() == length as usize,
        // Such a column has no place for a row by itself; see `has_one_form`.
        (Family::Fixed(None), _) => true,
        (Family::Date | Family::Fixed(_), _) => false,
        (Family::Text { length, .. } | Family::Binary(length), Value::Decimal(text)) => {
            is_plain(text) && text.len() <= length as usize
        }
        (Family::Text { holds, .. }, Value::Bytes(text)) if holds.all_of(text) == Some(false) => {
            return Err(NotStored::Characters);
        }
        (Family::Text { length, .. }, Value::Bytes(text)) => fits(text, length),
        (Family::Binary(length), Value::Bytes(bytes)) => bytes.len() <= length as usize,
        (Family::Text { length, .. } | Family::Binary(length), Value::Int(n)) => {
            digits(n.unsigned_abs()) + u32::from(n < 0) <= length
        }
        (Family::Text { length, .. } | Family::Binary(length), Value::UInt(n)) => {
            digits(n) <= length
        }
        (Family::Text { .. } | Family::Binary(_), _) => false,
    };
    kept.then_some(value).ok_or(NotStored::Changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charset::Charset;

    const BIG: Family = Family::Integer { min: i64::MIN, max: i64::MAX as u64 };
    const TEXT: Family =
        Family::Text { holds: Holds::Unicode { ascii: true }, fixed: false, length: 10 };

    fn sought(family: Family, value: Value<'static>) -> Sought<'static> {
        super::sought(family, value, Charsets::default(), Box::leak(Box::default()))
    }

    fn stored(family: Family, value: Value<'static>) -> Option<Value<'static>> {
        super::stored(family, value, Charsets::default(), Box::leak(Box::default())).ok()
    }

    #[test]
    fn what_does_not_fit_is_not_stored_as_it_is() {
        let tiny = Family::integer(8, false);
        assert_eq!(tiny, Family::Integer { min: -128, max: 127 });
        assert_eq!(Family::integer(64, false), BIG);
        assert_eq!(Family::integer(24, true), Family::Integer { min: 0, max: 16_777_215 });
        for (family, value, fits) in [
            (tiny, Value::Int(127), true),
            (tiny, Value::Int(-128), true),
            (tiny, Value::Int(128), false),
            (tiny, Value::Int(-129), false),
            (tiny, Value::Bytes(b"300"), false),
            (BIG, Value::UInt(u64::MAX), false),
            (Family::integer(64, true), Value::UInt(u64::MAX), true),
            (Family::integer(64, true), Value::Int(-1), false),
            (TEXT, Value::Bytes("äöüäöüäöüä".as_bytes()), true),
            (TEXT, Value::Bytes(b"abcdefghijk"), false),
            (TEXT, Value::Int(-123_456_789), true),
            (TEXT, Value::Int(-1_234_567_890), false),
            (Family::Binary(2), Value::Bytes("ä".as_bytes()), true),
            (Family::Binary(2), Value::Bytes("äa".as_bytes()), false),
            (Family::Date, Value::Bytes(b"2024-02-29"), true),
            (Family::Date, Value::Bytes(b"2023-02-29"), false),
            (Family::Date, Value::Bytes(b"2024-00-01"), false),
            (Family::Date, Value::Bytes(b"0000-00-00"), true),
        ] {
            assert_eq!(stored(family, value).is_some(), fits, "{value:?} in {family:?}");
        }
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
            assert_eq!(sought(BIG, value), five, "{value:?}");
        }
        assert_eq!(sought(BIG, Value::Hex(b"\x05")), Sought::Value(Value::UInt(5)));
        assert_eq!(sought(BIG, Value::Decimal(b"-.0")), Sought::Value(Value::Int(0)));
        assert_eq!(sought(BIG, Value::Decimal(b"99999999999999999999")), Sought::Nothing);
        for value in [Value::Decimal(b"5.5"), Value::Float(0.1)] {
            assert_eq!(sought(BIG, value), Sought::Anywhere, "{value:?}");
        }
        for value in
            [Value::Bytes(b"5x"), Value::Bytes(b" 5"), Value::Bytes(b"5.0"), Value::Float(1e19)]
        {
            assert_eq!(sought(BIG, value), Sought::Anywhere, "{value:?}");
        }
        for value in [Value::Bytes(b"\x05"), Value::Bits(b"5"), Value::Bits(b"\x05")] {
            assert_eq!(sought(BIG, value), Sought::Anywhere, "{value:?}");
        }
        assert_eq!(sought(BIG, Value::Binary(b"5")), five);
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
        assert_eq!(stored(BIG, Value::Bytes(b"05")), Some(Value::Int(5)));
        assert_eq!(stored(BIG, Value::Decimal(b"5.5")), None);
        assert_eq!(stored(BIG, Value::Bytes(b"5x")), None);
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
        let char = Family::Text { holds: Holds::Unicode { ascii: true }, fixed: true, length: 10 };
        assert_eq!(sought(char, Value::Bytes(b"a  ")), Sought::Value(Value::Bytes(b"a")));
        assert_eq!(stored(char, Value::Bytes(b" a ")), Some(Value::Bytes(b" a")));
        assert_eq!(stored(TEXT, Value::Bytes(b"a ")), Some(Value::Bytes(b"a ")));
        let binary = |n| Family::Fixed(Some(n));
        assert_eq!(stored(binary(2), Value::Bytes(b"a")), None);
        assert_eq!(stored(binary(2), Value::Int(5)), None);
        assert_eq!(stored(binary(2), Value::Bits(b"a\0")), Some(Value::Bytes(b"a\0")));
        assert_eq!(sought(binary(2), Value::Bytes(b"a\0")), Sought::Value(Value::Bytes(b"a\0")));
        assert_eq!(sought(binary(2), Value::Bytes(b"a")), Sought::Anywhere);
        let unknown = Family::Fixed(None);
        assert_eq!(sought(unknown, Value::Bytes(b"a\0")), Sought::Anywhere);
        assert!(binary(16).alike(Family::Binary(16)) && !unknown.alike(unknown));
    }

    #[test]
    fn text_is_placed_by_its_utf8() {
        let (latin1, gbk) = (Charset::by_name("latin1"), Charset::by_name("gbk"));
        let session = |charset| Charsets { client: charset, connection: charset };
        let mut buffer = Vec::new();
        let mut find = |family, value, charset| match super::sought(
            family,
            value,
            session(charset),
            &mut buffer,
        ) {
            Sought::Value(Value::Bytes(bytes)) => Some(bytes.to_vec()),
            _ => None,
        };
        let (e, utf8) = (Value::Bytes(b"\xe9"), "é".as_bytes().to_vec());
        let bytes = Family::Binary(10);
        assert_eq!(find(TEXT, e, latin1), Some(utf8.clone()));
        assert_eq!(find(bytes, e, latin1), Some(b"\xe9".to_vec()));
        assert_eq!(find(TEXT, Value::Binary("é".as_bytes()), latin1), Some(utf8));
        assert_eq!(find(TEXT, e, gbk), None);
        assert_eq!(find(bytes, e, gbk), Some(b"\xe9".to_vec()));
        assert_eq!(find(Family::Unknown, e, latin1), None);
        assert_eq!(find(Family::Unknown, Value::Bytes(b"a"), latin1), Some(b"a".to_vec()));
        let other = Family::Text {
            holds: Holds::of_collation(Some("latin1_bin")),
            fixed: false,
            length: 10,
        };
        assert_eq!(find(other, Value::Bits(b"\xe9"), latin1), None);
        assert_eq!(find(other, Value::Bits(b"a"), latin1), Some(b"a".to_vec()));
        let refused = super::stored(TEXT, e, session(gbk), &mut buffer);
        assert_eq!(refused, Err(NotStored::Charset));
    }
}
