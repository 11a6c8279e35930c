//! Which pools serve a shard: its primary's, and those of its replicas that may be read from.
use super::{Kind, TabletPool};
use coregate_planner::identity::ShardId;
use coregate_planner::serving::Writes;
use coregate_planner::snapshot::TabletKind;
use smallvec::SmallVec;
use std::rc::Rc;

#[derive(Default)]
pub(super) struct ShardPools {
    pub(super) primary: Option<Rc<TabletPool>>,
    pub(super) writes: Writes,
    pub(super) replicas: Vec<Replica>,
}

pub(super) struct Replica {
    pub(super) kind: TabletKind,
    pub(super) weight: u32,
    pub(super) pool: Rc<TabletPool>,
}

/// The replicas that a session reads from: always the same one of a shard, so that time does not
/// run backwards for it.
#[derive(Default)]
pub(crate) struct Chosen(SmallVec<[(ShardId, Kind, Rc<TabletPool>); 1]>);

impl ShardPools {
    /// The session's own replica as long as it may be read from; else the one with the least to do
    /// for its weight.
    pub(super) fn replica(
        &self,
        shard: ShardId,
        kind: TabletKind,
        core: u16,
        chosen: &mut Chosen,
    ) -> Option<Rc<TabletPool>> {
        let key = Kind::from(kind);
        let old = chosen
            .0
            .iter()
            .position(|(s, k, _)| (*s, *k) == (shard, key));
        let of_kind = || {
            self.replicas
                .iter()
                .filter(|r| r.kind == kind && r.weight > 0)
        };
        if let Some((_, _, pool)) = old.and_then(|at| chosen.0.get(at))
            && of_kind().any(|r| Rc::ptr_eq(&r.pool, pool))
        {
            return Some(Rc::clone(pool));
        }
        if let Some(at) = old {
            let (_, _, gone) = chosen.0.swap_remove(at);
            gone.leave_session();
        }
        let load =
            |r: &&Replica| (r.pool.sessions() + 1).saturating_mul(1 << 16) / r.weight as usize;
        // Each core begins with another one, or the first would get all of few sessions.
        let first = usize::from(core).checked_rem(of_kind().count())?;
        let best = of_kind()
            .skip(first)
            .chain(of_kind().take(first))
            .min_by_key(load)?;
        best.pool.join_session();
        chosen.0.push((shard, key, Rc::clone(&best.pool)));
        Some(Rc::clone(&best.pool))
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        for (_, _, pool) in &self.0 {
            pool.leave_session();
        }
    }
}
