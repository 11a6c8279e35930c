//! SHOW WARNINGS behind a pool: the next statement may run on another connection, so warnings are fetched while the
//! connection that has them is still at hand, and kept by the session until its next statement.
use super::answer::Answer;
use super::{Outcome, Session};
use coregate_planner::control::SqlError;
use coregate_planner::plan::WarningsKind;
use coregate_protocol::walker::Summary;

/// Warnings kept; MySQL's max_error_count is 64 by default.
const WARNINGS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Warnings {
    /// Level, code, message.
    rows: Vec<(String, u16, String)>,
    /// What the server counted.
    count: u64,
    errors: u64,
}

impl Session {
    #[inline]
    pub(super) fn warnings_are_empty(&self) -> bool {
        self.warnings.is_none()
    }

    #[cold]
    pub(super) fn clear_warnings(&mut self) {
        self.warnings = None;
    }

    pub(super) fn note_warnings(&mut self, summary: &Summary) {
        let warnings = self.warnings.get_or_insert_default();
        warnings.count = u64::from(summary.warnings);
        if let Some((code, _)) = summary.error {
            warnings.count = warnings.count.max(1);
            warnings.errors = 1;
            if warnings.rows.is_empty() {
                warnings.rows.push(("Error".into(), code, String::new()));
            }
        }
    }

    pub(super) fn note_error(&mut self, error: &SqlError) {
        let warnings = self.warnings.get_or_insert_default();
        warnings.rows = vec![("Error".into(), error.code, error.message.clone())];
        warnings.count = 1;
        warnings.errors = 1;
    }

    /// Takes over the rows of a server's SHOW WARNINGS.
    pub(super) fn keep_warnings(&mut self, rows: Vec<(String, u16, String)>) {
        let warnings = self.warnings.get_or_insert_default();
        warnings.errors = rows.iter().filter(|(level, ..)| level == "Error").count() as u64;
        warnings.rows = rows.into_iter().take(WARNINGS_MAX).collect();
    }

    pub(super) fn show_warnings(
        &mut self,
        kind: WarningsKind,
        count_only: bool,
        offset: u64,
        limit: Option<u64>,
        answer: &mut Answer,
    ) -> Outcome {
        let errors_only = kind == WarningsKind::Errors;
        let warnings = self.warnings.take();
        let known = warnings.as_deref();
        if count_only {
            let (name, count) = match errors_only {
                true => ("@@session.error_count", known.map_or(0, |w| w.errors)),
                false => ("@@session.warning_count", known.map_or(0, |w| w.count)),
            };
            self.send_rows(answer, &[name], &[vec![Some(count.to_string())]]);
        } else {
            let rows = known.map_or(&[][..], |w| w.rows.as_slice());
            let picked = rows.iter().filter(|(level, ..)| !errors_only || level == "Error");
            let skip = usize::try_from(offset).unwrap_or(usize::MAX);
            let take = limit.and_then(|l| usize::try_from(l).ok()).unwrap_or(usize::MAX);
            let cells: Vec<Vec<Option<String>>> = picked
                .skip(skip)
                .take(take)
                .map(|(level, code, message)| vec![Some(level.clone()), Some(code.to_string()), Some(message.clone())])
                .collect();
            self.send_rows(answer, &["Level", "Code", "Message"], &cells);
        }
        self.warnings = warnings;
        Ok(())
    }
}
