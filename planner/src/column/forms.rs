//! The forms in which MySQL writes and reads numbers and dates, and how long they are.
use super::Sought;
use crate::value::Value;

/// How many digits a number has.
pub(super) fn digits(n: u64) -> u32 {
    n.checked_ilog10().unwrap_or(0) + 1
}

/// At most so many characters.
pub(super) fn fits(text: &[u8], length: u32) -> bool {
    text.len() <= length as usize
        || std::str::from_utf8(text).is_ok_and(|text| text.chars().count() <= length as usize)
}

/// The integers that equal a double.
pub(super) fn whole<'a>(n: f64) -> Sought<'a> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    // No integer is 5.5, but MariaDB rounds it where it looks into an index: what it finds is the
    // servers' business.
    if !n.is_finite() || n.abs() >= EXACT || n.fract() != 0.0 {
        Sought::Anywhere
    } else {
        Sought::Value(Value::Int(n as i64))
    }
}

/// `5.0` is 5.
pub(super) fn decimal<'a>(text: &[u8]) -> Sought<'a> {
    let as_text = std::str::from_utf8(text).unwrap_or_default();
    if text.iter().any(|b| matches!(b, b'e' | b'E')) {
        return as_text.parse().map_or(Sought::Anywhere, whole);
    }
    let (before, after) = as_text.split_once('.').unwrap_or((as_text, ""));
    if !after.bytes().all(|b| b == b'0') {
        return Sought::Anywhere;
    }
    let before = if matches!(before, "" | "-" | "+") { "0" } else { before };
    integer(before.as_bytes()).map_or(Sought::Nothing, Sought::Value)
}

/// Digits with nothing but a sign before them.
pub(super) fn integer<'a>(text: &[u8]) -> Option<Value<'a>> {
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

/// Has it the form of a date? The day need not exist.
pub(super) fn is_date(text: &[u8]) -> bool {
    text.len() == 10
        && text.iter().enumerate().all(|(n, b)| match n {
            4 | 7 => *b == b'-',
            _ => b.is_ascii_digit(),
        })
}

/// A day that there is, or no day at all.
pub(super) fn is_day(text: &[u8]) -> bool {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to).and_then(|d| std::str::from_utf8(d).ok());
        digits.and_then(|d| d.parse::<u32>().ok()).unwrap_or(0)
    };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => 0,
    };
    is_date(text) && ((1..=days).contains(&day) && year > 0 || text == b"0000-00-00")
}

/// Is this how MySQL writes the number?
pub(super) fn is_plain(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let begins = match digits {
        [b'0', b'.', _, ..] => true,
        [b'1'..=b'9', ..] => digits.last().is_some_and(u8::is_ascii_digit),
        _ => false,
    };
    begins && !digits.iter().any(|b| matches!(b, b'e' | b'E'))
}
