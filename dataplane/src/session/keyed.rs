//! Tables that are asked for the values of those that were gathered before them.
use super::{Outcome, Session};
use crate::exec::KeptValues;
use coregate_planner::plan::tree::{Finish, Gather};
use coregate_planner::resolve::{self, KeyValues, Resolved};
use coregate_planner::snapshot::KeyRange;

/// The columns of a gather whose values others are asked for.
pub(super) fn wanted(finish: &Finish, at: usize) -> impl Iterator<Item = u16> {
    let keys = finish.gathers.iter().flat_map(|gather| &gather.keys);
    keys.filter(move |key| usize::from(key.from) == at)
        .map(|key| key.value)
}

impl Session {
    /// Restricts a leaf to the values of the tables before it; `kept` has those of each of them.
    /// `false`: none of its rows matters.
    pub(super) async fn ask_by_keys(
        &mut self,
        gather: &Gather,
        ranges: &[KeyRange],
        kept: &[KeptValues],
        shards: &mut Resolved,
    ) -> Outcome<bool> {
        if gather.keys.is_empty() {
            return Ok(true);
        }
        let mut found = Vec::with_capacity(gather.keys.len());
        for key in &gather.keys {
            let kept = kept.get(usize::from(key.from));
            let mut values =
                KeyValues { values: kept.and_then(|kept| kept.of_column(key.value)), ids: None };
            let question = values
                .values
                .as_ref()
                .and_then(|values| resolve::lookup_question(key, values));
            if let Some(question) = question.filter(|_| ranges.len() > 1) {
                values.ids = Some(Box::pin(self.read_lookup(&question)).await?);
            }
            found.push(values);
        }
        if resolve::ask_by_keys(gather, ranges, &found, shards) {
            self.core.metrics().keyed_gathers.add(1);
        }
        Ok(!shards.shards.is_empty())
    }
}
