//! Shards that a lookup table tells.
use super::{Binder, text};
use crate::error::PlanError;
use crate::lookup::LookUp;
use crate::plan::Route;
use crate::plan::lookup::LookupTo;
use crate::plan::maintain::Maintain;
use crate::snapshot::ShardIdx;

/// The question as it is for a route.
#[cold]
pub(super) fn of_route(mut question: Box<LookUp>, route: &Route) -> PlanError {
    question.changes = matches!(route.maintain.as_deref(), Some(Maintain::Change(_)));
    PlanError::LookUp(question)
}

impl Binder<'_> {
    /// The shards of the table's answer; that it must be asked first, where it was not.
    pub(super) fn place_looked_up(
        &self,
        to: &LookupTo,
        set: &mut Vec<ShardIdx>,
    ) -> Result<(), PlanError> {
        let query = text::one(&to.query, self.binding);
        let Some(ids) = self.binding.session.looked_up(&query) else {
            let vindex = to.vindex.clone();
            return Err(PlanError::LookUp(Box::new(LookUp {
                query,
                vindex,
                locks: to.locks,
                changes: false,
            })));
        };
        for id in ids {
            set.push(self.shard(&id)?);
        }
        set.sort_unstable();
        set.dedup();
        match &to.alone {
            Some(why) if set.len() > 1 => Err(PlanError::Unsupported(why.clone())),
            _ => Ok(()),
        }
    }
}
