//! Aggregates whose parts the shards have computed.
use super::decimal::Decimal;
use super::key::{Column, Keys, Values, double, integer};
use super::{ExecError, Row, double as doubles};
use coregate_planner::plan::tree::{Aggregate, Function};
use coregate_protocol::column::ColumnType;
use std::cmp::Ordering;

/// How the parts of one column become its value.
pub(super) struct Combiner {
    column: usize,
    how: How,
    shown: Column,
    /// Of rows with the same distinct value, only the first counts.
    distinct: bool,
}

enum How {
    Count,
    Sum {
        at: usize,
        of: Sum,
    },
    Avg {
        at: usize,
        of: Sum,
        count: usize,
    },
    /// The row with the least (or greatest) value gives its own.
    Extreme {
        keys: Box<Keys>,
        wanted: Ordering,
    },
    Bits(fn(u64, u64) -> u64),
    First,
}

/// What is added up.
#[derive(Clone, Copy)]
enum Sum {
    Exact { scale: u8 },
    Double,
}

/// What came together of one column so far.
#[derive(Debug, Clone)]
pub(super) enum Total {
    Null,
    Integer(i128),
    Exact(Decimal),
    Double(f64),
    Average(Box<Self>, i128),
    Bits(u64),
    /// A value, and the whole row it came from, with its keys.
    Taken {
        row: Vec<u8>,
        values: Values,
    },
    /// The first row's.
    First,
}

impl Sum {
    fn of(column: &Column) -> Result<Self, ExecError> {
        Ok(match column.kind {
            ColumnType::NEWDECIMAL | ColumnType::DECIMAL => Self::Exact { scale: column.decimals },
            ColumnType::DOUBLE | ColumnType::FLOAT => Self::Double,
            ColumnType::TINY
            | ColumnType::SHORT
            | ColumnType::LONG
            | ColumnType::INT24
            | ColumnType::LONGLONG => Self::Exact { scale: 0 },
            _ => return Err(ExecError::Unsupported("SUM of such values over several shards")),
        })
    }

    fn read(self, text: &[u8]) -> Result<Total, ExecError> {
        Ok(match self {
            Self::Exact { scale } => Total::Exact(Decimal::parse(text, scale)?),
            Self::Double => Total::Double(double(text)?),
        })
    }
}

fn add(total: &mut Total, part: Total) -> Result<(), ExecError> {
    match (&mut *total, part) {
        (_, Total::Null) => {}
        (Total::Null, part) => *total = part,
        (Total::Exact(a), Total::Exact(b)) => a.add(&b)?,
        (Total::Double(a), Total::Double(b)) => {
            *a += b;
            if a.is_infinite() {
                return Err(ExecError::OutOfRange("DOUBLE", "SUM over several shards"));
            }
        }
        _ => return Err(ExecError::answer("sums of different types")),
    }
    Ok(())
}

impl Combiner {
    pub(super) fn new(aggregate: &Aggregate, columns: &[Column]) -> Result<Self, ExecError> {
        let column = |at: u16| {
            let found = columns.get(usize::from(at));
            found.ok_or_else(|| ExecError::answer("a shard's answer lacks a column"))
        };
        let shown = *column(aggregate.column)?;
        let extreme = |text, wanted| {
            let keys = Box::new(Keys::one(aggregate.column, text, columns)?);
            Ok::<_, ExecError>(How::Extreme { keys, wanted })
        };
        let how = match &aggregate.function {
            Function::Count => How::Count,
            Function::Sum => How::Sum { at: usize::from(aggregate.column), of: Sum::of(&shown)? },
            Function::Avg { sum, count } => How::Avg {
                at: usize::from(*sum),
                of: Sum::of(column(*sum)?)?,
                count: usize::from(*count),
            },
            Function::Least { text } => extreme(text.as_ref(), Ordering::Less)?,
            Function::Greatest { text } => extreme(text.as_ref(), Ordering::Greater)?,
            Function::BitAnd => How::Bits(|a, b| a & b),
            Function::BitOr => How::Bits(|a, b| a | b),
            Function::BitXor => How::Bits(|a, b| a ^ b),
            Function::First => How::First,
        };
        if matches!(how, How::Bits(_)) && shown.kind != ColumnType::LONGLONG {
            return Err(ExecError::Unsupported(
                "bit functions of byte strings over several shards",
            ));
        }
        Ok(Self { column: usize::from(aggregate.column), how, shown, distinct: aggregate.distinct })
    }

    pub(super) fn column(&self) -> usize {
        self.column
    }

    /// The part that one row has.
    pub(super) fn part(&self, row: Row<'_>) -> Result<Total, ExecError> {
        let own = row.value(self.column);
        Ok(match &self.how {
            How::First => Total::First,
            How::Count => Total::Integer(own.map_or(Ok(0), integer)?),
            How::Sum { at, of } => row
                .value(*at)
                .map_or(Ok(Total::Null), |text| of.read(text))?,
            How::Avg { at, of, count } => {
                let count = row.value(*count).map_or(Ok(0), integer)?;
                let sum = row
                    .value(*at)
                    .map_or(Ok(Total::Null), |text| of.read(text))?;
                Total::Average(Box::new(sum), count)
            }
            How::Bits(_) => match own {
                Some(text) => Total::Bits(integer(text)? as u64),
                None => Total::Null,
            },
            How::Extreme { keys, .. } => match own {
                Some(_) => {
                    let mut values = Values::new();
                    keys.read(row, &mut values)?;
                    Total::Taken { row: row.payload.to_vec(), values }
                }
                None => Total::Null,
            },
        })
    }

    /// What the function gives where there are no rows at all.
    pub(super) fn nothing(&self, out: &mut Vec<u8>) {
        let text: Option<&[u8]> = match &self.how {
            How::Count => Some(b"0"),
            How::Bits(operation) => {
                Some(if operation(0, u64::MAX) == 0 { b"18446744073709551615" } else { b"0" })
            }
            _ => None,
        };
        coregate_protocol::row::put_text(out, text);
    }

    /// Adds a row's part. `again`: a row with the same distinct value came before.
    pub(super) fn combine(
        &self,
        total: &mut Total,
        row: Row<'_>,
        again: bool,
    ) -> Result<(), ExecError> {
        if again && self.distinct {
            return Ok(());
        }
        let part = self.part(row)?;
        match (&self.how, &mut *total, part) {
            (How::First, ..) => Ok(()),
            (How::Count, Total::Integer(a), Total::Integer(b)) => {
                *a += b;
                Ok(())
            }
            (How::Sum { .. }, total, part) => add(total, part),
            (How::Avg { .. }, Total::Average(sum, count), Total::Average(part, more)) => {
                *count += more;
                add(sum, *part)
            }
            (How::Bits(_), _, Total::Null) | (How::Extreme { .. }, _, Total::Null) => Ok(()),
            (How::Bits(_) | How::Extreme { .. }, Total::Null, part) => {
                *total = part;
                Ok(())
            }
            (How::Bits(operation), Total::Bits(a), Total::Bits(b)) => {
                *a = operation(*a, b);
                Ok(())
            }
            (
                How::Extreme { keys, wanted },
                Total::Taken { row: held, values },
                Total::Taken { row, values: new },
            ) => {
                if keys.compare(1, (&new, &row), (values, held)) == *wanted {
                    *total = Total::Taken { row, values: new };
                }
                Ok(())
            }
            _ => Err(ExecError::answer("parts of an aggregate that do not fit together")),
        }
    }

    /// Appends the result as a column of a text row.
    pub(super) fn write(
        &self,
        total: &Total,
        first: Row<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), ExecError> {
        let mut text = Vec::new();
        match total {
            Total::First => {
                out.extend_from_slice(first.raw(self.column));
                return Ok(());
            }
            Total::Null => {
                coregate_protocol::row::put_text(out, None);
                return Ok(());
            }
            Total::Integer(value) => text.extend_from_slice(value.to_string().as_bytes()),
            Total::Bits(value) => text.extend_from_slice(value.to_string().as_bytes()),
            Total::Exact(value) => value.write(&mut text),
            Total::Double(value) => doubles::write(*value, self.shown.decimals, &mut text),
            Total::Average(sum, count) => match &**sum {
                Total::Exact(sum) if *count > 0 => {
                    let count = u64::try_from(*count).unwrap_or(u64::MAX);
                    sum.quotient(count, self.shown.decimals)?.write(&mut text);
                }
                Total::Double(sum) if *count > 0 => {
                    doubles::write(sum / *count as f64, self.shown.decimals, &mut text);
                }
                _ => {
                    coregate_protocol::row::put_text(out, None);
                    return Ok(());
                }
            },
            Total::Taken { row, .. } => {
                let cells = super::key::own_cells(row, first.cells.len())?;
                out.extend_from_slice(Row { payload: row, cells: &cells }.raw(self.column));
                return Ok(());
            }
        }
        coregate_protocol::row::put_text(out, Some(&text));
        Ok(())
    }
}
