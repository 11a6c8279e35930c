//! What an answer amounted to.

use crate::capability::Status;
use crate::response::{ErrPacket, OkPacket, PrepareOk};

/// What the walker learnt from the packets that hold numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows changed, summed over all results.
    pub affected_rows: u64,
    /// The last one that was not 0.
    pub last_insert_id: u64,
    /// Status after the last result.
    pub status: Status,
    /// Every flag that any of the results had.
    pub status_seen: Status,
    /// Warnings of the last result.
    pub warnings: u16,
    /// Code and SQLSTATE of the error that ended the answer.
    pub error: Option<(u16, [u8; 5])>,
    /// Rows, over all results.
    pub rows: u64,
    /// Results that are complete, whether they had rows or not.
    pub results: u32,
    /// The answer to COM_STMT_PREPARE.
    pub prepare: Option<PrepareOk>,
    /// Columns of the last result that has any.
    pub columns: u16,
}

impl Summary {
    /// Notes the numbers of an OK, or those of an EOF in its shape.
    pub(super) fn end_of_result(&mut self, ok: &OkPacket<'_>) {
        self.affected_rows = self.affected_rows.saturating_add(ok.affected_rows);
        if ok.last_insert_id != 0 {
            self.last_insert_id = ok.last_insert_id;
        }
        self.results += 1;
        self.note_status(ok.status, ok.warnings);
    }

    pub(super) fn note_status(&mut self, status: Status, warnings: u16) {
        self.status = status;
        self.status_seen |= status;
        self.warnings = warnings;
    }

    pub(super) fn end_by_error(&mut self, error: &ErrPacket<'_>) {
        self.error = Some((error.code, error.sqlstate));
    }
}
