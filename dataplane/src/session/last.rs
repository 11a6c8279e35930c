//! What the last statement has left for the client to ask for.
use super::warnings::Warnings;

#[derive(Default)]
pub(super) struct Last {
    /// `LAST_INSERT_ID()`
    pub(super) insert_id: u64,
    /// `ROW_COUNT()`
    pub(super) row_count: i64,
    /// `FOUND_ROWS()`
    pub(super) found_rows: u64,
    /// `SHOW WARNINGS`; `None`: there are none.
    pub(super) warnings: Option<Box<Warnings>>,
}
