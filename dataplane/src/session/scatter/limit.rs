//! `sql_select_limit` over several shards.
use super::super::Session;
use super::{Merging, Rows, Work};
use coregate_planner::plan::tree::Merge;
use coregate_protocol::walker::ResponseKind;

impl Session {
    /// The limit that the session has set to the rows of a query; `Some(None)`: one that is not
    /// known here.
    pub(super) fn row_limit(&self) -> Option<Option<u64>> {
        let set = self.state.settings.get("sql_select_limit")?;
        let value = set.rsplit(|b| *b == b'=').next().unwrap_or_default();
        let value = std::str::from_utf8(value.trim_ascii()).ok();
        if value.is_some_and(|value| value.eq_ignore_ascii_case("default")) {
            return None;
        }
        let limit = value.and_then(|value| value.parse().ok());
        (limit != Some(u64::MAX)).then_some(limit)
    }
}

/// Lets `sql_select_limit` count the rows of all shards together: each applies it to its own, which
/// leaves enough. It says nothing of a query that has a LIMIT, or of rows that are only gathered,
/// whose texts say so. `false`: it cannot be done.
pub(super) fn limit_rows(work: &mut Work<'_>, limit: Option<u64>) -> bool {
    static EVERYTHING: Merge = Merge::EVERYTHING;
    match (&mut work.rows, limit) {
        (Rows::Gather(_), _) => true,
        (Rows::Merge(merging), _) if merging.merge.limit.is_some() => true,
        (Rows::Merge(merging), Some(limit)) => {
            merging.take = limit;
            true
        }
        (Rows::Pass, Some(take)) if work.kind == ResponseKind::Query => {
            work.rows = Rows::Merge(Merging {
                merge: &EVERYTHING,
                skip: 0,
                take,
                finish: None,
                into: None,
            });
            true
        }
        _ => false,
    }
}
