//! Literals: where they stand in a text, and what they mean.
use crate::sql::lex::{SqlMode, Tok, Token};
use crate::value::Value;
use std::ops::Range;

/// A literal lifted out of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    /// Bytes of the statement, with quotes, introducer and sign.
    pub span: Range<u32>,
    pub(crate) kind: LiteralKind,
}

impl Literal {
    pub(crate) fn text<'a>(&self, sql: &'a [u8]) -> &'a [u8] {
        sql.get(self.span.start as usize..self.span.end as usize)
            .unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LiteralKind {
    /// `12`, `-12`
    Int,
    /// `1.5`
    Decimal,
    /// `1e5`
    Float,
    /// `'a'`
    String,
    /// `N'a'`
    NationalString,
    /// `_utf8mb4'a'`, `_binary'a'`
    IntroducedString,
    /// `x'4D'`
    HexString,
    /// `0x4D`
    HexNumber,
    /// `b'01'`, `0b01`
    Bit,
    /// `NULL`; only in collapsed rows.
    Null,
}

impl LiteralKind {
    pub(crate) fn of(tok: Tok) -> Option<Self> {
        Some(match tok {
            Tok::Int => Self::Int,
            Tok::Decimal => Self::Decimal,
            Tok::Float => Self::Float,
            Tok::Str => Self::String,
            Tok::National => Self::NationalString,
            Tok::Introduced => Self::IntroducedString,
            Tok::HexString => Self::HexString,
            Tok::HexNumber => Self::HexNumber,
            Tok::Bit => Self::Bit,
            _ => return None,
        })
    }
}

/// The value of a literal of `sql`. Text that must be unescaped is put into `scratch`; otherwise
/// nothing is copied.
pub(crate) fn literal_value<'a>(
    sql: &'a [u8],
    literal: &Literal,
    scratch: &'a mut Vec<u8>,
    mode: SqlMode,
) -> Value<'a> {
    text_value(literal.text(sql), literal.kind, scratch, mode)
}

/// The value of a literal that is not in the fingerprint, from its text alone.
pub(crate) fn const_value<'a>(
    text: &'a [u8],
    scratch: &'a mut Vec<u8>,
    mode: SqlMode,
) -> Option<Value<'a>> {
    let sign = usize::from(text.first() == Some(&b'-'));
    let mut lexer = crate::sql::lex::Lexer::new(text, mode);
    lexer.seek(sign);
    let Token { tok, end, .. } = lexer.next_token().ok()?;
    if end as usize != text.len() {
        return None;
    }
    if tok == Tok::Word {
        return match () {
            () if text.eq_ignore_ascii_case(b"null") => Some(Value::Null),
            () if text.eq_ignore_ascii_case(b"true") => Some(Value::Int(1)),
            () if text.eq_ignore_ascii_case(b"false") => Some(Value::Int(0)),
            () => None,
        };
    }
    Some(text_value(text, LiteralKind::of(tok)?, scratch, mode))
}

fn text_value<'a>(
    text: &'a [u8],
    kind: LiteralKind,
    scratch: &'a mut Vec<u8>,
    mode: SqlMode,
) -> Value<'a> {
    match kind {
        LiteralKind::Null => Value::Null,
        LiteralKind::Int => integer(text),
        // As written: a text vindex maps the digits of the statement, as Vitess's does.
        LiteralKind::Decimal | LiteralKind::Float => Value::Decimal(text),
        LiteralKind::String | LiteralKind::NationalString => quoted(text, scratch, mode),
        // UTF-8 or bytes.
        LiteralKind::IntroducedString => match quoted(text, scratch, mode) {
            Value::Bytes(bytes) => Value::Binary(bytes),
            value => value,
        },
        LiteralKind::HexString => {
            let digits = text
                .get(2..text.len().saturating_sub(1))
                .unwrap_or_default();
            Value::Bits(bits(digits, 4, scratch))
        }
        LiteralKind::HexNumber => Value::Hex(bits(text.get(2..).unwrap_or_default(), 4, scratch)),
        LiteralKind::Bit => {
            let digits = text.get(2..).unwrap_or_default();
            Value::Bits(bits(digits.strip_suffix(b"'").unwrap_or(digits), 1, scratch))
        }
    }
}

/// What stands between the quotes.
fn quoted<'a>(text: &'a [u8], scratch: &'a mut Vec<u8>, mode: SqlMode) -> Value<'a> {
    let open = memchr::memchr2(b'\'', b'"', text).unwrap_or(0);
    let quote = text.get(open).copied().unwrap_or(b'\'');
    let inner = text
        .get(open + 1..text.len().saturating_sub(1))
        .unwrap_or_default();
    unescape(inner, quote, scratch, mode)
}

fn integer(text: &[u8]) -> Value<'_> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut value: u64 = 0;
    for &b in digits {
        let digit = u64::from(b.wrapping_sub(b'0'));
        match value.checked_mul(10).and_then(|v| v.checked_add(digit)) {
            Some(v) if digit < 10 => value = v,
            _ => return Value::Decimal(text),
        }
    }
    match (negative, i64::try_from(value)) {
        (false, Ok(v)) => Value::Int(v),
        (false, Err(_)) => Value::UInt(value),
        (true, Ok(v)) => Value::Int(-v),
        (true, Err(_)) if value == 1 << 63 => Value::Int(i64::MIN),
        (true, Err(_)) => Value::Decimal(text),
    }
}

/// Hexadecimal and bit literals are byte strings; an odd number of digits is padded on the left.
fn bits<'a>(digits: &[u8], per_digit: u32, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    scratch.clear();
    let per_byte = (8 / per_digit) as usize;
    let first = digits.len() % per_byte;
    let (head, tail) = digits.split_at(first);
    let groups = std::iter::once(head)
        .filter(|h| !h.is_empty())
        .chain(tail.chunks(per_byte));
    for group in groups {
        let byte = group.iter().fold(0u8, |acc, &b| {
            let digit = char::from(b).to_digit(16).unwrap_or(0) as u8;
            acc.wrapping_shl(per_digit) | digit
        });
        scratch.push(byte);
    }
    scratch
}

fn unescape<'a>(inner: &'a [u8], quote: u8, scratch: &'a mut Vec<u8>, mode: SqlMode) -> Value<'a> {
    let escapes = !mode.contains(SqlMode::NO_BACKSLASH_ESCAPES);
    let special =
        if escapes { memchr::memchr2(quote, b'\\', inner) } else { memchr::memchr(quote, inner) };
    if special.is_none() {
        return Value::Bytes(inner);
    }
    scratch.clear();
    let mut bytes = inner.iter().copied();
    while let Some(b) = bytes.next() {
        if b == b'\\' && escapes {
            match bytes.next() {
                Some(b'n') => scratch.push(b'\n'),
                Some(b't') => scratch.push(b'\t'),
                Some(b'r') => scratch.push(b'\r'),
                Some(b'0') => scratch.push(0),
                Some(b'b') => scratch.push(8),
                Some(b'Z') => scratch.push(26),
                Some(c @ (b'%' | b'_')) => scratch.extend_from_slice(&[b'\\', c]),
                Some(c) => scratch.push(c),
                None => {}
            }
        } else {
            scratch.push(b);
            if b == quote {
                bytes.next();
            }
        }
    }
    Value::Bytes(scratch)
}
