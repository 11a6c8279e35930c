//! A primary that answers, takes writes, and ends none of them: its disk stands still, or nobody
//! acknowledges. Pure.
use super::{Analysis, Member, ShardView, acknowledges};
use crate::health::Health;
use crate::servers::status::Thread;

/// Nothing that it is given to write ends, and somebody could take its place.
pub(super) fn blocked(shard: &ShardView<'_>) -> Option<Analysis> {
    let health = shard.primary.health?;
    let able = |r: &Member<'_>| acknowledges(r) && r.facts().is_some();
    if !shard.replicas.iter().any(able) {
        return None;
    }
    if health.writes_stall_ms.is_some_and(|ms| shard.is_long(ms)) {
        return Some(Analysis::PrimaryDiskStalled);
    }
    let facts = shard.primary.facts()?;
    let waits = waits_long(shard, health);
    (waits && facts.semi_sync.clients > 0 && nothing_comes(shard))
        .then_some(Analysis::PrimarySemiSyncBlocked)
}

/// Commits wait for an acknowledgement, and nobody is connected who gives one. Replicas that do not
/// replicate are repaired for that reason; one that replicates without acknowledging connects anew.
pub(super) fn locked(shard: &ShardView<'_>) -> Option<Analysis> {
    let (health, facts) = (shard.primary.health?, shard.primary.facts()?);
    if !waits_long(shard, health) || facts.semi_sync.clients > 0 {
        return None;
    }
    let silent = |r: &&Member<'_>| {
        let receives = |f: &crate::servers::status::Facts| {
            f.replication
                .as_ref()
                .is_some_and(|r| r.receiver == Thread::Running)
        };
        acknowledges(r) && r.facts().is_some_and(receives)
    };
    let alias = shard.replicas.iter().find(silent);
    Some(Analysis::LockedSemiSyncPrimary(alias.map(|r| r.record.alias.clone())))
}

fn waits_long(shard: &ShardView<'_>, health: &Health) -> bool {
    shard.semi_sync == Some(true) && health.unacknowledged_ms.is_some_and(|ms| shard.is_long(ms))
}

/// Not one of those that could acknowledge has received anything for as long: a large transaction
/// on its way is none that is stuck.
fn nothing_comes(shard: &ShardView<'_>) -> bool {
    let stands = |r: &Member<'_>| {
        r.health
            .and_then(|h| h.received_ms)
            .is_none_or(|ms| shard.is_long(ms))
    };
    shard
        .replicas
        .iter()
        .filter(|r| acknowledges(r) && r.facts().is_some())
        .all(stands)
}

impl ShardView<'_> {
    fn is_long(&self, ms: u64) -> bool {
        u128::from(ms) >= self.stall.as_millis()
    }
}
