//! How rows of several shards compare: by the types of their columns, text by the server's own
//! weights.
use super::decimal::compare_decimals;
use super::{Cells, ExecError, Row};
use coregate_planner::collation::{self, Collation, Weighed};
use coregate_planner::plan::tree::{Key, TextKey};
use coregate_protocol::column::{ColumnDefinition, ColumnFlags, ColumnType};
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::sync::Arc;

/// Of a column definition, what is needed beyond the packet itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) kind: ColumnType,
    pub(crate) decimals: u8,
    pub(crate) unsigned: bool,
    pub(crate) collation: u16,
}

/// The number of the `binary` collation.
pub(crate) const BINARY: u16 = 63;

impl Column {
    pub(crate) fn of(definition: &ColumnDefinition<'_>) -> Self {
        Self {
            kind: definition.column_type,
            decimals: definition.decimals,
            unsigned: definition.flags.contains(ColumnFlags::UNSIGNED),
            collation: definition.collation,
        }
    }

    /// Do values of both compare alike?
    fn is_like(&self, other: &Self) -> bool {
        // Servers that find no row say less exactly what kind of text or bytes there would be, and
        // with other decimals.
        let bytes = |kind| {
            use ColumnType as T;
            [
                T::STRING,
                T::VAR_STRING,
                T::VARCHAR,
                T::TINY_BLOB,
                T::BLOB,
                T::MEDIUM_BLOB,
                T::LONG_BLOB,
            ]
            .contains(&kind)
        };
        bytes(self.kind) && bytes(other.kind)
            || self.kind == other.kind && self.decimals == other.decimals
    }
}

/// How the values of one key compare.
#[derive(Debug, Clone)]
enum Kind {
    Integer,
    Decimal,
    Double,
    /// Of a form in which the order of the bytes is the order of the values.
    Bytes,
    Time,
    /// Every value is NULL.
    Null,
    Weight {
        column: u16,
        ascii: bool,
        collation: Arc<Collation>,
    },
}

#[derive(Debug, Clone)]
struct Comparison {
    column: u16,
    descending: bool,
    kind: Kind,
}

/// The keys by which rows compare.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    list: SmallVec<[Comparison; 2]>,
}

/// A key's value in one row. Text is named by its place in the row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value {
    Null,
    Integer(i128),
    Double(f64),
    /// Bytes of the row: `start..end`.
    Bytes(u32, u32),
    /// As [`Value::Bytes`], to be weighed as ASCII.
    Ascii(u32, u32),
}

pub(crate) type Values = SmallVec<[Value; 2]>;

impl Keys {
    /// How the plan's keys compare, given the columns that came.
    pub(crate) fn new(keys: &[Key], columns: &[Column]) -> Result<Self, ExecError> {
        let list = keys.iter().map(|key| {
            let kind = kind(key.column, key.text.as_ref(), columns)?;
            Ok(Comparison { column: key.column, descending: key.descending, kind })
        });
        Ok(Self { list: list.collect::<Result<_, ExecError>>()? })
    }

    /// One column, ascending.
    pub(crate) fn one(
        column: u16,
        text: Option<&TextKey>,
        columns: &[Column],
    ) -> Result<Self, ExecError> {
        let key = Key { column, descending: false, text: text.cloned() };
        Self::new(&[key], columns)
    }

    /// Do the columns of another shard compare in the same way?
    pub(crate) fn fit(&self, ours: &[Column], theirs: &[Column]) -> bool {
        self.list.iter().all(|key| {
            let at = usize::from(key.column);
            match (ours.get(at), theirs.get(at)) {
                (Some(ours), Some(theirs)) => ours.is_like(theirs),
                _ => false,
            }
        })
    }

    /// The keys of a row.
    #[inline]
    pub(crate) fn read(&self, row: Row<'_>, out: &mut Values) -> Result<(), ExecError> {
        out.clear();
        for key in &self.list {
            out.push(key.value(row)?);
        }
        Ok(())
    }

    /// Compares two rows by their first `count` keys.
    #[inline]
    pub(crate) fn compare(
        &self,
        count: usize,
        (a, row_a): (&[Value], &[u8]),
        (b, row_b): (&[Value], &[u8]),
    ) -> Ordering {
        for ((key, a), b) in self.list.iter().zip(a).zip(b).take(count) {
            let order = key.compare((*a, row_a), (*b, row_b));
            if order != Ordering::Equal {
                return if key.descending { order.reverse() } else { order };
            }
        }
        Ordering::Equal
    }
}

fn kind(column: u16, text: Option<&TextKey>, columns: &[Column]) -> Result<Kind, ExecError> {
    let Some(found) = columns.get(usize::from(column)) else {
        return Err(ExecError::answer("a shard's answer lacks a column"));
    };
    match text {
        Some(TextKey::Bytes) => return Ok(Kind::Bytes),
        Some(TextKey::Weight { column, ascii, collation }) => {
            return Ok(Kind::Weight {
                column: *column,
                ascii: *ascii,
                collation: Arc::clone(collation),
            });
        }
        None => {}
    }
    Ok(match found.kind {
        ColumnType::TINY
        | ColumnType::SHORT
        | ColumnType::LONG
        | ColumnType::INT24
        | ColumnType::LONGLONG
        | ColumnType::YEAR => Kind::Integer,
        ColumnType::NEWDECIMAL | ColumnType::DECIMAL => Kind::Decimal,
        ColumnType::DOUBLE | ColumnType::FLOAT => Kind::Double,
        ColumnType::DATE | ColumnType::DATETIME | ColumnType::TIMESTAMP | ColumnType::BIT => {
            Kind::Bytes
        }
        ColumnType::TIME => Kind::Time,
        ColumnType::NULL => Kind::Null,
        _ if found.collation == BINARY => Kind::Bytes,
        _ => {
            return Err(ExecError::Unsupported(
                "sorting or comparing text whose collation is not known, over several shards",
            ));
        }
    })
}

impl Comparison {
    #[inline]
    fn value(&self, row: Row<'_>) -> Result<Value, ExecError> {
        let at = usize::from(self.column);
        let Some((start, end)) = row.cells.place(at) else { return Ok(Value::Null) };
        let bytes = row
            .payload
            .get(start as usize..end as usize)
            .unwrap_or_default();
        Ok(match &self.kind {
            Kind::Integer => Value::Integer(integer(bytes)?),
            Kind::Double => Value::Double(double(bytes)?),
            Kind::Time => Value::Integer(i128::from(time(bytes)?)),
            Kind::Null => Value::Null,
            Kind::Bytes | Kind::Decimal => Value::Bytes(start, end),
            Kind::Weight { column, ascii, .. } => match row.cells.place(usize::from(*column)) {
                Some((start, end)) => Value::Bytes(start, end),
                None if *ascii => Value::Ascii(start, end),
                None => return Err(ExecError::answer("a weight is missing")),
            },
        })
    }

    #[inline]
    fn compare(&self, (a, row_a): (Value, &[u8]), (b, row_b): (Value, &[u8])) -> Ordering {
        match (a, b) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => Ordering::Less,
            (_, Value::Null) => Ordering::Greater,
            (Value::Integer(a), Value::Integer(b)) => a.cmp(&b),
            // Servers have no NaN.
            (Value::Double(a), Value::Double(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            _ => {
                let (text_a, text_b) = (text(a, row_a), text(b, row_b));
                match &self.kind {
                    Kind::Decimal => compare_decimals(text_a, text_b),
                    Kind::Weight { collation, .. } => {
                        collation::compare(weighed(a, text_a), weighed(b, text_b), collation)
                    }
                    _ => text_a.cmp(text_b),
                }
            }
        }
    }
}

fn text(value: Value, row: &[u8]) -> &[u8] {
    match value {
        Value::Bytes(start, end) | Value::Ascii(start, end) => {
            row.get(start as usize..end as usize).unwrap_or_default()
        }
        _ => &[],
    }
}

fn weighed(value: Value, text: &[u8]) -> Weighed<'_> {
    match value {
        Value::Ascii(..) => Weighed::Ascii(text),
        _ => Weighed::Bytes(text),
    }
}

/// An integer as it stands in a text row.
#[inline]
pub(super) fn integer(text: &[u8]) -> Result<i128, ExecError> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let mut value: i128 = 0;
    if digits.is_empty() || digits.len() > 20 {
        return Err(not_a("integer", text));
    }
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return Err(not_a("integer", text));
        }
        value = value * 10 + i128::from(digit);
    }
    Ok(if negative { -value } else { value })
}

pub(super) fn double(text: &[u8]) -> Result<f64, ExecError> {
    let parsed = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| not_a("double", text))
}

/// A TIME in microseconds.
fn time(text: &[u8]) -> Result<i64, ExecError> {
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (whole, fraction) = match rest.iter().position(|b| *b == b'.') {
        Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default()),
        None => (rest, &[][..]),
    };
    let mut seconds: i64 = 0;
    for part in whole.split(|b| *b == b':') {
        seconds = seconds * 60 + i64::try_from(integer(part)?).unwrap_or_default();
    }
    let mut micros: i64 = 0;
    for at in 0..6 {
        micros =
            micros * 10 + i64::from(fraction.get(at).map_or(0, |b| b.wrapping_sub(b'0').min(9)));
    }
    let value = seconds * 1_000_000 + micros;
    Ok(if negative { -value } else { value })
}

pub(super) fn not_a(what: &str, text: &[u8]) -> ExecError {
    ExecError::answer(format!("'{}' is no {what}", String::from_utf8_lossy(text)))
}

/// Reads a row of its own for tests and for groups.
pub(super) fn own_cells(payload: &[u8], columns: usize) -> Result<Cells, ExecError> {
    let mut cells = Cells::default();
    cells.find(payload, columns)?;
    Ok(cells)
}
