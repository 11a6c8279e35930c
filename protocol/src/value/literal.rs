//! Values as text: as a literal in SQL, and as a column of a text row.

use std::io::Write;

use super::{DateTime, Time, Value};
use crate::capability::Status;

impl Value<'_> {
    /// Appends the value as an SQL literal. `status` says whether backslashes escape
    /// ([`Status::NO_BACKSLASH_ESCAPES`]). Bytes become a quoted string in the connection's
    /// character set, which must be one in which `'` and `\` are never a part of another character
    /// (<https://dev.mysql.com/doc/refman/8.4/en/string-literals.html>). Infinities and NaN, which
    /// SQL cannot say, become NULL, as does long data.
    pub fn write_literal(&self, status: Status, out: &mut Vec<u8>) {
        match self {
            Self::Null | Self::LongData => out.extend_from_slice(b"NULL"),
            Self::Float(v) if !v.is_finite() => out.extend_from_slice(b"NULL"),
            Self::Double(v) if !v.is_finite() => out.extend_from_slice(b"NULL"),
            // The exponent makes it a DOUBLE: without one it would be an exact DECIMAL.
            Self::Float(v) => put(out, format_args!("{v:e}")),
            Self::Double(v) => put(out, format_args!("{v:e}")),
            Self::Bytes(v) => write_string(v, status, out),
            Self::Int(_) | Self::UInt(_) => self.write_text(out),
            Self::Date(_) | Self::DateTime(_) | Self::Time(_) => {
                out.push(b'\'');
                self.write_text(out);
                out.push(b'\'');
            }
        }
    }

    /// Appends the value as text rows show it; nothing for NULL. Fractions of seconds appear only
    /// if there are any.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null | Self::LongData => {}
            Self::Int(v) => out.extend_from_slice(itoa::Buffer::new().format(*v).as_bytes()),
            Self::UInt(v) => out.extend_from_slice(itoa::Buffer::new().format(*v).as_bytes()),
            Self::Float(v) => put(out, format_args!("{v}")),
            Self::Double(v) => put(out, format_args!("{v}")),
            Self::Bytes(v) => out.extend_from_slice(v),
            Self::Date(v) => put_date(out, v),
            Self::DateTime(v) => {
                put_date(out, v);
                put(out, format_args!(" {:02}:{:02}:{:02}", v.hour, v.minute, v.second));
                put_micros(out, v.micros);
            }
            Self::Time(v) => put_time(out, v),
        }
    }
}

/// Appends bytes as a quoted string literal; see [`Value::write_literal`].
pub fn write_string(bytes: &[u8], status: Status, out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    out.push(b'\'');
    let backslash_escapes = !status.contains(Status::NO_BACKSLASH_ESCAPES);
    for &byte in bytes {
        match byte {
            b'\'' => out.push(b'\''),
            b'\\' if backslash_escapes => out.push(b'\\'),
            // Tools that read statements from logs stumble over these; the server would not.
            0 if backslash_escapes => {
                out.extend_from_slice(b"\\0");
                continue;
            }
            0x1A if backslash_escapes => {
                out.extend_from_slice(b"\\Z");
                continue;
            }
            _ => {}
        }
        out.push(byte);
    }
    out.push(b'\'');
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = out.write_fmt(text);
}

fn put_date(out: &mut Vec<u8>, v: &DateTime) {
    put(out, format_args!("{:04}-{:02}-{:02}", v.year, v.month, v.day));
}

fn put_micros(out: &mut Vec<u8>, micros: u32) {
    if micros != 0 {
        put(out, format_args!(".{micros:06}"));
    }
}

fn put_time(out: &mut Vec<u8>, v: &Time) {
    let sign = if v.negative { "-" } else { "" };
    let hours = u64::from(v.days) * 24 + u64::from(v.hours);
    put(out, format_args!("{sign}{hours:02}:{:02}:{:02}", v.minutes, v.seconds));
    put_micros(out, v.micros);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(value: Value<'_>, status: Status) -> String {
        let mut out = Vec::new();
        value.write_literal(status, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn literals() {
        let plain = Status::empty();
        assert_eq!(literal(Value::Null, plain), "NULL");
        assert_eq!(literal(Value::Int(-7), plain), "-7");
        assert_eq!(literal(Value::UInt(u64::MAX), plain), "18446744073709551615");
        assert_eq!(literal(Value::Double(1.5), plain), "1.5e0");
        assert_eq!(literal(Value::Double(f64::NAN), plain), "NULL");
        assert_eq!(literal(Value::Bytes(b"it's \\ \0"), plain), "'it''s \\\\ \\0'");
        assert_eq!(
            literal(Value::Bytes(b"it's \\ x"), Status::NO_BACKSLASH_ESCAPES),
            "'it''s \\ x'"
        );
        let date =
            DateTime { year: 2024, month: 2, day: 29, hour: 1, minute: 2, second: 3, micros: 40 };
        assert_eq!(literal(Value::Date(date), plain), "'2024-02-29'");
        assert_eq!(literal(Value::DateTime(date), plain), "'2024-02-29 01:02:03.000040'");
        let time = Time { negative: true, days: 2, hours: 3, minutes: 4, seconds: 5, micros: 0 };
        assert_eq!(literal(Value::Time(time), plain), "'-51:04:05'");
    }
}
