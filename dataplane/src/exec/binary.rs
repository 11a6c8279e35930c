//! Rows of text in the binary protocol, for clients that have prepared the statement.
use super::key::{Column, double, integer, not_a};
use super::{ExecError, Row};
use coregate_protocol::column::ColumnType;
use coregate_protocol::row::put_binary_row;
use coregate_protocol::value::{DateTime, Time, Value};

/// Can values of these columns be given in binary as the server would?
pub(crate) fn check(columns: &[Column]) -> Result<(), ExecError> {
    if columns
        .iter()
        .any(|column| column.kind == ColumnType::FLOAT)
    {
        return Err(ExecError::Unsupported(
            "a FLOAT column of a prepared statement over several shards, whose text has fewer \
                digits than its value; select it as column + 0e0",
        ));
    }
    Ok(())
}

/// A row of text in binary.
pub(crate) fn row(row: Row<'_>, columns: &[Column]) -> Result<Vec<u8>, ExecError> {
    let mut values = Vec::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        let value = row
            .value(at)
            .map_or(Ok(Value::Null), |text| value(text, column))?;
        values.push((column.kind, value));
    }
    let mut out = Vec::with_capacity(row.payload.len() + 8);
    put_binary_row(&mut out, values).map_err(|error| ExecError::answer(error.to_string()))?;
    Ok(out)
}

fn value<'a>(text: &'a [u8], column: &Column) -> Result<Value<'a>, ExecError> {
    Ok(match column.kind {
        ColumnType::TINY
        | ColumnType::SHORT
        | ColumnType::YEAR
        | ColumnType::LONG
        | ColumnType::INT24
        | ColumnType::LONGLONG => {
            let number = integer(text)?;
            match i64::try_from(number) {
                Ok(number) => Value::Int(number),
                Err(_) => Value::UInt(u64::try_from(number).map_err(|_| not_a("integer", text))?),
            }
        }
        ColumnType::DOUBLE => Value::Double(double(text)?),
        ColumnType::DATE | ColumnType::NEWDATE => Value::Date(date(text)?),
        ColumnType::DATETIME | ColumnType::TIMESTAMP => Value::DateTime(date(text)?),
        ColumnType::TIME => Value::Time(time(text)?),
        _ => Value::Bytes(text),
    })
}

/// Numbers between other characters; the digits behind a point are microseconds.
fn numbers(text: &[u8], out: &mut [u32]) -> Result<u32, ExecError> {
    let (whole, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default()),
        None => (text, &[][..]),
    };
    let parts = whole.split(|b| !b.is_ascii_digit());
    for (out, part) in out.iter_mut().zip(parts) {
        *out = u32::try_from(integer(part)?).map_err(|_| not_a("time", text))?;
    }
    let mut micros = 0;
    for at in 0..6 {
        micros = micros * 10
            + fraction
                .get(at)
                .map_or(0, |b| u32::from(b.wrapping_sub(b'0').min(9)));
    }
    Ok(micros)
}

/// `2026-11-27 08:15:00.25`
fn date(text: &[u8]) -> Result<DateTime, ExecError> {
    let mut parts = [0; 6];
    let micros = numbers(text, &mut parts)?;
    let [year, month, day, hour, minute, second] = parts;
    let byte = |n: u32| u8::try_from(n).map_err(|_| not_a("date", text));
    Ok(DateTime {
        year: u16::try_from(year).map_err(|_| not_a("date", text))?,
        month: byte(month)?,
        day: byte(day)?,
        hour: byte(hour)?,
        minute: byte(minute)?,
        second: byte(second)?,
        micros,
    })
}

/// `-838:59:59.5`
fn time(text: &[u8]) -> Result<Time, ExecError> {
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut parts = [0; 3];
    let micros = numbers(rest, &mut parts)?;
    let [hours, minutes, seconds] = parts;
    let byte = |n: u32| u8::try_from(n).map_err(|_| not_a("time", text));
    Ok(Time {
        negative,
        days: hours / 24,
        hours: byte(hours % 24)?,
        minutes: byte(minutes)?,
        seconds: byte(seconds)?,
        micros,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_read_with_their_fractions() {
        let found = date(b"2026-11-27 08:15:01.25").unwrap();
        assert_eq!((found.year, found.month, found.day), (2026, 11, 27));
        assert_eq!((found.hour, found.minute, found.second, found.micros), (8, 15, 1, 250_000));
        let found = time(b"-838:59:58").unwrap();
        assert_eq!((found.negative, found.days, found.hours), (true, 34, 22));
        assert_eq!((found.minutes, found.seconds, found.micros), (59, 58, 0));
        assert_eq!(date(b"0000-00-00").unwrap(), DateTime::default());
        assert!(date(b"monday").is_err());
    }
}
