//! Values that one step of a statement has read, in the texts of the next.
use super::super::Session;
use crate::exec::{BINARY, Column, ExecError, hex};
use coregate_planner::control::SqlError;
use coregate_planner::plan::tree::Load;
use coregate_protocol::Status;
use coregate_protocol::column::ColumnType;
use coregate_protocol::value::write_string;

/// How text is written for the session's servers to read.
#[derive(Clone, Copy)]
pub(in crate::session) struct TextForm {
    /// The session's own texts are in it.
    utf8mb4: bool,
    /// Says whether a backslash escapes.
    status: Status,
}

impl TextForm {
    /// Of texts that fill temporary tables.
    pub(in crate::session) const OF_LOADS: Self = Self { utf8mb4: true, status: Status::empty() };
}

impl Session {
    pub(super) fn text_form(&self) -> TextForm {
        TextForm { utf8mb4: self.settings.client_charset() == "utf8mb4", status: self.status() }
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
    let number =
        [T::TINY, T::SHORT, T::INT24, T::LONG, T::LONGLONG, T::DECIMAL, T::NEWDECIMAL, T::DOUBLE, T::YEAR];
    let time =
        [T::DATE, T::NEWDATE, T::TIME, T::TIME2, T::DATETIME, T::DATETIME2, T::TIMESTAMP, T::TIMESTAMP2];
    match column.kind {
        T::FLOAT => Err(crate::error::sql_error(
            1235,
            "VT12001: unsupported: a FLOAT value that goes from one shard to another, as servers print it with fewer digits than it has; \
             write column+0e0",
        )),
        kind if number.contains(&kind) => crate::exec::write_literal(Load::Number, value, out).map_err(error),
        kind if time.contains(&kind) => crate::exec::write_literal(Load::Quoted, value, out).map_err(error),
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
            if form.utf8mb4 || value.iter().all(plain) {
                write_string(value, form.status, out);
            } else {
                out.extend_from_slice(b"_utf8mb4 ");
                hex(value, out);
            }
            Ok(())
        }
    }
}
