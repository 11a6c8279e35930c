//! Values that one step of a statement has read, in the texts of the next.
use super::super::Session;
use crate::exec::{BINARY, Column, ExecError, hex};
use coregate_planner::charset::Charset;
use coregate_planner::control::SqlError;
use coregate_planner::plan::tree::Load;
use coregate_protocol::Status;
use coregate_protocol::column::ColumnType;
use coregate_protocol::value::write_string;

const TIMES: [ColumnType; 8] = {
    use ColumnType as T;
    [T::DATE, T::NEWDATE, T::TIME, T::TIME2, T::DATETIME, T::DATETIME2, T::TIMESTAMP, T::TIMESTAMP2]
};

/// How text is written for the session's servers to read.
#[derive(Clone, Copy)]
pub(in crate::session) struct TextForm {
    /// The session's own texts are in it.
    utf8mb4: bool,
    /// Strings without a character set's name are binary ones.
    binary: bool,
    /// Says whether a backslash escapes.
    status: Status,
    /// Dates and times are written as such: as strings, numbers and other kinds would be read out
    /// of them otherwise.
    typed: bool,
}

impl TextForm {
    /// Of texts that fill temporary tables.
    pub(in crate::session) const OF_LOADS: Self =
        Self { utf8mb4: true, binary: false, status: Status::empty(), typed: false };

    pub(super) fn typed(self) -> Self {
        Self { typed: true, ..self }
    }

    /// For a column of this type. A string is as good where it is read as what it is; the planner
    /// knows strings.
    pub(super) fn for_column(self, column: Option<&Column>, target: &str) -> Self {
        use ColumnType as T;
        let text = target.ends_with("char")
            || target.ends_with("text")
            || target.ends_with("binary")
            || target.ends_with("blob");
        let alike = match column.map(|c| c.kind) {
            Some(T::TIME | T::TIME2) => target == "time",
            _ => matches!(target, "date" | "datetime" | "timestamp"),
        };
        Self { typed: !text && !alike, ..self }
    }
}

impl Session {
    pub(super) fn text_form(&self) -> TextForm {
        TextForm {
            // A binary string is no text of a uuid or an address.
            binary: self.state.settings.charsets().connection == Charset::Binary,
            utf8mb4: self.state.settings.client_charset() == "utf8mb4",
            status: self.status(),
            typed: false,
        }
    }
}

/// What makes a literal of a date or time out of a string, unless it is none that servers take so,
/// as zero dates.
fn word_of(kind: ColumnType, value: &[u8]) -> Option<&'static [u8]> {
    use ColumnType as T;
    if matches!(kind, T::TIME | T::TIME2) {
        return Some(b"TIME");
    }
    let number = |from: usize, to: usize| {
        let digits = std::str::from_utf8(value.get(from..to)?).ok()?;
        digits.parse::<u32>().ok()
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    match kind {
        _ if day == 0 || day > days => None,
        T::DATE | T::NEWDATE => Some(b"DATE"),
        _ => Some(b"TIMESTAMP"),
    }
}

/// Would this value place a row by what a string, and not a date or time, is for its column?
pub(super) fn check_placing(
    value: Option<&[u8]>,
    column: Option<&Column>,
    form: TextForm,
) -> Result<(), SqlError> {
    match (value, column) {
        (Some(value), Some(column))
            if form.typed
                && TIMES.contains(&column.kind)
                && word_of(column.kind, value).is_some() =>
        {
            Err(crate::error::sql_error(
                1235,
                "VT12001: unsupported: a date or time for a vindex column of another type in an \
                    INSERT of several steps; CAST it to the column's type",
            ))
        }
        _ => Ok(()),
    }
}

/// A value of a query's answer as a literal that means the same. Text has come in utf8mb4.
pub(in crate::session) fn value_literal(
    value: Option<&[u8]>,
    column: Option<&Column>,
    form: TextForm,
    out: &mut Vec<u8>,
) -> Result<(), SqlError> {
    use ColumnType as T;
    let error = |error: ExecError| crate::error::sql_error(error.code(), error.to_string());
    let (Some(value), Some(column)) = (value, column) else {
        out.extend_from_slice(b"NULL");
        return Ok(());
    };
    let number = [
        T::TINY,
        T::SHORT,
        T::INT24,
        T::LONG,
        T::LONGLONG,
        T::DECIMAL,
        T::NEWDECIMAL,
        T::DOUBLE,
        T::YEAR,
    ];
    match column.kind {
        T::FLOAT => Err(crate::error::sql_error(
            1235,
            "VT12001: unsupported: a FLOAT value that goes from one shard to another, as servers \
                print it with fewer digits than it has; \
             write column+0e0",
        )),
        kind if number.contains(&kind) => {
            crate::exec::write_literal(Load::Number, value, out).map_err(error)
        }
        kind if TIMES.contains(&kind) => {
            if form.typed
                && let Some(word) = word_of(kind, value)
            {
                out.extend_from_slice(word);
            }
            crate::exec::write_literal(Load::Quoted, value, out).map_err(error)
        }
        // Columns come as bytes, but what subqueries make of them as digits.
        T::BIT if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
            Err(crate::error::sql_error(
                1235,
                "VT12001: unsupported: a BIT value that goes from one shard to another and may be \
                    read in two ways; write column+0",
            ))
        }
        T::BIT => {
            let number = value.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
            out.extend_from_slice(number.to_string().as_bytes());
            Ok(())
        }
        _ if column.collation == BINARY => {
            hex(value, out);
            Ok(())
        }
        _ => {
            let plain = |b: &u8| (b' '..=b'~').contains(b) && !matches!(b, b'\'' | b'\\');
            if !form.binary && (form.utf8mb4 || value.iter().all(plain)) {
                write_string(value, form.status, out);
            } else {
                out.extend_from_slice(b"_utf8mb4 ");
                hex(value, out);
            }
            Ok(())
        }
    }
}
