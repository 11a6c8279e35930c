//! Which column of an INSERT's rows is the AUTO_INCREMENT one, as its answers have shown. An
//! application that gives the numbers itself would otherwise be asked for LAST_INSERT_ID() behind
//! each INSERT, because the OK packet's id does not tell a number that was given from one that was
//! generated.
//!
//! What was learned is never believed alone: the OK's id must be the number that the last row gives
//! to that column, every row must give one, and the server is asked again after [`AGE_MAX`] and
//! after DDL.
use coregate_planner::fingerprint::SqlMode;
use coregate_planner::rows::numbers;
use smallvec::SmallVec;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// After so long the server is asked again.
const AGE_MAX: Duration = Duration::from_secs(10);

/// Answers that must agree before the server is not asked.
const AGREEING: u8 = 2;

/// What the answers to a plan have shown.
#[derive(Debug, Default)]
pub(crate) struct AutoColumn {
    known: Cell<Option<Known>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    column: u8,
    answers: u8,
    since: Instant,
    within: Within,
}

/// Where and when something was learned: it holds for this database (its name's hash) and as long
/// as tables stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Within {
    pub(crate) database: u64,
    pub(crate) ddl: u32,
}

/// The whole numbers that a statement's last row gives to columns which have one in every row.
#[derive(Debug, Default)]
pub(crate) struct LastRow(SmallVec<[(u8, u64); 2]>);

impl LastRow {
    /// `numbered`: see [`coregate_planner::rows::Rows`].
    pub(crate) fn of(row: &[u8], numbered: u64, mode: SqlMode) -> Self {
        let at = |column: u8| numbered >> column & 1 == 1;
        Self(
            numbers(row, mode)
                .filter(|(column, _)| at(*column))
                .collect(),
        )
    }
}

impl AutoColumn {
    /// Has the statement given the OK's id itself, so that nothing was generated?
    pub(crate) fn shows_given(&self, row: &LastRow, id: u64, within: Within, now: Instant) -> bool {
        let Some(known) = self.known.get() else { return false };
        known.answers >= AGREEING
            && known.within == within
            && now.saturating_duration_since(known.since) < AGE_MAX
            && row.0.contains(&(known.column, id))
    }

    /// The server has said that the id was given.
    pub(crate) fn was_given(&self, row: &LastRow, id: u64, within: Within, now: Instant) {
        let mut equal = row.0.iter().filter(|(_, number)| *number == id);
        let (Some((column, _)), None) = (equal.next(), equal.next()) else { return };
        let before = self.known.get();
        let answers = before
            .filter(|known| known.column == *column && known.within == within)
            .map_or(0, |known| known.answers);
        self.known.set(Some(Known {
            column: *column,
            answers: answers.saturating_add(1),
            since: now,
            within,
        }));
    }

    /// A number was generated.
    pub(crate) fn forget(&self) {
        self.known.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Within = Within { database: 1, ddl: 0 };

    #[test]
    fn two_answers_that_agree_are_believed_where_the_row_gives_the_id() {
        let (auto, now) = (AutoColumn::default(), Instant::now());
        let row = |text: &str| LastRow::of(text.as_bytes(), u64::MAX, SqlMode::empty());
        auto.was_given(&row("(7,3,'x')"), 7, HERE, now);
        assert!(!auto.shows_given(&row("(8,3,'x')"), 8, HERE, now), "one answer is not enough");
        auto.was_given(&row("(8,3,'x')"), 8, HERE, now);
        assert!(auto.shows_given(&row("(9,4,'x')"), 9, HERE, now));
        // The id is not what that column has.
        assert!(!auto.shows_given(&row("(10,9,'x')"), 9, HERE, now));
        // Not every row has a number there.
        assert!(!auto.shows_given(
            &LastRow::of(b"(9,4,'x')", 0b10, SqlMode::empty()),
            9,
            HERE,
            now
        ));
        for within in [Within { database: 2, ..HERE }, Within { ddl: 1, ..HERE }] {
            assert!(!auto.shows_given(&row("(9,4)"), 9, within, now));
        }
        assert!(!auto.shows_given(&row("(9,4)"), 9, HERE, now + AGE_MAX));
        auto.forget();
        assert!(!auto.shows_given(&row("(9,4)"), 9, HERE, now));
    }

    #[test]
    fn an_answer_that_fits_two_columns_or_none_shows_nothing() {
        let (auto, now) = (AutoColumn::default(), Instant::now());
        let row = LastRow::of(b"(7,7)", u64::MAX, SqlMode::empty());
        for _ in 0..3 {
            auto.was_given(&row, 7, HERE, now);
            auto.was_given(&row, 9, HERE, now);
        }
        assert!(!auto.shows_given(&row, 7, HERE, now));
        // Agreement begins anew with another column.
        auto.was_given(&LastRow::of(b"(7,8)", u64::MAX, SqlMode::empty()), 7, HERE, now);
        auto.was_given(&LastRow::of(b"(7,8)", u64::MAX, SqlMode::empty()), 8, HERE, now);
        assert!(!auto.shows_given(
            &LastRow::of(b"(7,8)", u64::MAX, SqlMode::empty()),
            8,
            HERE,
            now
        ));
    }
}
