//! SQL values as Vitess's vindexes see them: as the text that MySQL would send, and as unsigned
//! integers read from it.
use crate::value::Value;
use std::borrow::Cow;

/// The value's text. NULL is the empty string, as in Vitess.
pub(super) fn text<'a>(value: &Value<'a>) -> Cow<'a, [u8]> {
    match *value {
        Value::Null => Cow::Borrowed(b""),
        Value::Int(n) => Cow::Owned(n.to_string().into_bytes()),
        Value::UInt(n) => Cow::Owned(n.to_string().into_bytes()),
        Value::Float(n) => Cow::Owned(float(n).into_bytes()),
        Value::Decimal(digits) => Cow::Borrowed(digits),
        Value::Bytes(bytes) | Value::Binary(bytes) | Value::Hex(bytes) | Value::Bits(bytes) => {
            Cow::Borrowed(bytes)
        }
    }
}

/// A double as MySQL writes it: the shortest digits that read back the same, with an exponent from
/// 1e15 on and below 1e-15.
fn float(n: f64) -> String {
    let size = n.abs();
    if size != 0.0 && !(1e-15..1e15).contains(&size) { format!("{n:e}") } else { format!("{n}") }
}

/// The value as an unsigned integer; `None` when it is not one. Spaces and tabs around the digits
/// are let pass.
pub(super) fn unsigned(value: &Value<'_>) -> Option<u64> {
    match *value {
        Value::Null => None,
        Value::Int(n) => u64::try_from(n).ok(),
        Value::UInt(n) => Some(n),
        _ => digits(&text(value)),
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = text.iter().position(|b| !blank(b))?;
    let end = text.iter().rposition(|b| !blank(b))? + 1;
    let mut n = 0u64;
    for &b in &text[start..end] {
        if !b.is_ascii_digit() {
            return None;
        }
        n = n.checked_mul(10)?.checked_add(u64::from(b - b'0'))?;
    }
    Some(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_have_their_shortest_text() {
        for (n, text) in [(1.0, "1"), (0.1, "0.1"), (-1.5, "-1.5"), (1e14, "100000000000000")] {
            assert_eq!(float(n), text);
        }
        assert_eq!((float(1e15), float(2.5e-16)), ("1e15".to_owned(), "2.5e-16".to_owned()));
    }

    #[test]
    fn only_whole_numbers_are_numbers() {
        for good in ["123", " 123", "123\t", "000123"] {
            assert_eq!(digits(good.as_bytes()), Some(123), "{good:?}");
        }
        for bad in [
            "",
            " ",
            "-1",
            "+1",
            "1.0",
            "1e3",
            "0x1",
            "1 2",
            "18446744073709551616",
            "99999999999999999999",
        ] {
            assert_eq!(digits(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(digits(b"18446744073709551615"), Some(u64::MAX));
    }
}
