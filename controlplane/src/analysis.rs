//! What is wrong with a shard, and what is done about it: the names are those of Vitess's vtorc.
//! Pure.
//!
//! | analysis | recovery |
//! | --- | --- |
//! | `DeadPrimary` | another replica is promoted, after the replicas have confirmed that they do not reach it either |
//! | `DeadPrimaryWithoutReplicas`, `DeadPrimaryAndReplicas`, `InvalidPrimary` | none: nobody could take its place; reported |
//! | `PrimaryHasPrimary` | it forgets whom it replicates from: the topology says that it is the primary |
//! | `PrimaryDiskStalled` | another replica is promoted: the primary answers, but no write ends there |
//! | `PrimarySemiSyncBlocked` | the same: replicas are connected, and acknowledge nothing |
//! | `LockedSemiSyncPrimary` | replicas that follow it without acknowledging connect anew; without such, none: reported |
//! | `PrimaryIsReadOnly`, `PrimarySemiSyncMustBeSet` | it is made writable, with semi-sync where the durability asks for it |
//! | `NotConnectedToPrimary`, `ConnectedToWrongPrimary`, `ReplicationStopped`, `ReplicaIsWritable`, `ReplicaSemiSyncMustBeSet`, `ReplicaSemiSyncMustNotBeSet` | it is made read-only and follows the primary |
//! | `PrimarySemiSyncMustNotBeSet` | semi-sync is switched off: no replica is left that could acknowledge |
//! | `RollsBackUnknownBranch` (not of Vitess) | that one event is skipped: the branch is not there to be rolled back |
//! | `ErrantGTIDDetected` | it is drained: it has transactions that the primary does not have |
//! | `AllPrimaryReplicasNotReplicating`, `AllPrimaryReplicasNotReplicatingOrDead` | none of its own, each replica has its own; reported |
mod galera;
#[cfg(test)]
pub(super) mod tests;
mod writes;

use crate::health::{Health, State, Trouble};
use crate::servers::status::{Facts, Replication, Thread};
use crate::topology::{Kind, TabletRecord};
use std::time::Duration;

/// ER_MASTER_FATAL_ERROR_READING_BINLOG: the primary does not have where the replica is.
/// ER_GTID_STRICT_OUT_OF_ORDER: the replica has written itself.
const ERRANT: [u32; 2] = [1236, 1950];

/// XAER_NOTA
const UNKNOWN_XID: u32 = 1397;

pub(crate) struct ShardView<'a> {
    pub(crate) primary: Member<'a>,
    pub(crate) replicas: Vec<Member<'a>>,
    /// What semi-sync has to be; `None`: whatever it is.
    pub(crate) semi_sync: Option<bool>,
    /// Writes that do not end for so long, on a primary that answers, count as never ending.
    pub(crate) stall: Duration,
}

#[derive(Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) record: &'a TabletRecord,
    pub(crate) health: Option<&'a Health>,
    /// It is away, and others have all that it could have acknowledged.
    pub(crate) stale: bool,
}

impl<'a> Member<'a> {
    /// What it says, if it can be asked.
    pub(crate) fn facts(&self) -> Option<&'a Facts> {
        let health = self.health.filter(|h| h.trouble.is_none())?;
        health.facts.as_ref()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Analysis {
    DeadPrimary,
    DeadPrimaryWithoutReplicas,
    DeadPrimaryAndReplicas,
    InvalidPrimary,
    PrimaryHasPrimary,
    PrimaryDiskStalled,
    PrimarySemiSyncBlocked,
    /// With a replica that should connect to it anew, if there is one.
    LockedSemiSyncPrimary(Option<String>),
    AllPrimaryReplicasNotReplicating,
    AllPrimaryReplicasNotReplicatingOrDead,
    PrimaryIsReadOnly,
    PrimarySemiSyncMustBeSet,
    PrimarySemiSyncMustNotBeSet,
    GaleraWriterUnfit,
    GaleraWithoutMajority,
    Replica(ReplicaProblem, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplicaProblem {
    NotConnectedToPrimary,
    ConnectedToWrongPrimary,
    ReplicationStopped,
    ReplicaIsWritable,
    ReplicaSemiSyncMustBeSet,
    ReplicaSemiSyncMustNotBeSet,
    ErrantGTIDDetected,
    /// Not of Vitess: MariaDB has lost an XA branch in a crash, and its primary rolls it back.
    RollsBackUnknownBranch,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// The primary is gone; its replicas must say so, too.
    Emergency,
    /// The primary is there, and nothing can be written.
    Blocked,
    FixPrimary,
    /// It connects to the primary anew.
    Reconnect(String),
    FixReplica(String),
    Drain(String),
    SkipRollback(String),
    /// The operator reads it in the log.
    Report,
}

impl Recovery {
    /// As lists show it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Emergency | Self::Blocked => "EmergencyReparentShard",
            Self::FixPrimary => "FixPrimary",
            Self::Reconnect(_) => "ReconnectReplica",
            Self::FixReplica(_) => "FixReplica",
            Self::Drain(_) => "DrainTablet",
            Self::SkipRollback(_) => "SkipRollback",
            Self::Report => "none",
        }
    }
}

impl Analysis {
    pub(crate) fn recovery(&self) -> Recovery {
        match self {
            Self::DeadPrimary | Self::GaleraWriterUnfit => Recovery::Emergency,
            Self::DeadPrimaryWithoutReplicas
            | Self::DeadPrimaryAndReplicas
            | Self::InvalidPrimary
            | Self::GaleraWithoutMajority
            | Self::LockedSemiSyncPrimary(None)
            | Self::AllPrimaryReplicasNotReplicating
            | Self::AllPrimaryReplicasNotReplicatingOrDead => Recovery::Report,
            Self::PrimaryDiskStalled | Self::PrimarySemiSyncBlocked => Recovery::Blocked,
            Self::LockedSemiSyncPrimary(Some(alias)) => Recovery::Reconnect(alias.clone()),
            Self::PrimaryHasPrimary
            | Self::PrimaryIsReadOnly
            | Self::PrimarySemiSyncMustBeSet
            | Self::PrimarySemiSyncMustNotBeSet => Recovery::FixPrimary,
            Self::Replica(ReplicaProblem::RollsBackUnknownBranch, alias) => {
                Recovery::SkipRollback(alias.clone())
            }
            Self::Replica(ReplicaProblem::ErrantGTIDDetected, alias) => {
                Recovery::Drain(alias.clone())
            }
            Self::Replica(_, alias) => Recovery::FixReplica(alias.clone()),
        }
    }
}

impl std::fmt::Display for Analysis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Replica(problem, alias) => write!(f, "{problem:?} ({alias})"),
            Self::LockedSemiSyncPrimary(Some(alias)) => {
                write!(f, "LockedSemiSyncPrimary ({alias})")
            }
            Self::LockedSemiSyncPrimary(None) => f.write_str("LockedSemiSyncPrimary"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// What is wrong, the worst first. Nothing also where not enough is known.
pub(crate) fn analyse(shard: &ShardView<'_>) -> Vec<Analysis> {
    if shard.is_galera() {
        return galera::analyse(shard).into_iter().collect();
    }
    if let Some(problem) = of_primary(shard) {
        return vec![problem];
    }
    let known = |facts: &Facts| facts.is_movable();
    if !shard.primary.facts().is_some_and(known) {
        return Vec::new();
    }
    let of_replica = |replica: &Member<'_>| {
        let problem = replica_problem(shard, replica)?;
        Some(Analysis::Replica(problem, replica.record.alias.clone()))
    };
    let mut found: Vec<Analysis> = shard.replicas.iter().filter_map(of_replica).collect();
    // Behind what is done about it.
    found.extend(writes::locked(shard));
    found.extend(none_replicates(shard));
    found
}

/// Reported, so that somebody looks: writes to replicas are getting old, or there is nobody to take
/// over.
fn none_replicates(shard: &ShardView<'_>) -> Option<Analysis> {
    let mut followers = shard
        .replicas
        .iter()
        .filter(|r| r.record.kind != Kind::Drained)
        .peekable();
    followers.peek()?;
    let mut dead = false;
    for replica in followers {
        match (replica.health, replica.facts()) {
            (None, _) => return None,
            (Some(health), _) if health.state == State::Unknown => return None,
            (_, None) => dead = true,
            (_, Some(facts)) if replicates(facts) => return None,
            _ => {}
        }
    }
    Some(match dead {
        true => Analysis::AllPrimaryReplicasNotReplicatingOrDead,
        false => Analysis::AllPrimaryReplicasNotReplicating,
    })
}

/// What has a primary to connect to does not count as standing still.
fn replicates(facts: &Facts) -> bool {
    let running = |r: &Replication| r.receiver == Thread::Running && r.applier;
    facts.replication.as_ref().is_some_and(running)
}

fn of_primary(shard: &ShardView<'_>) -> Option<Analysis> {
    let health = shard.primary.health?;
    match (health.state, health.trouble) {
        (State::Unknown, _) | (_, Some(Trouble::OutOfConnections)) => return None,
        (State::Unreachable, Some(Trouble::Refused)) => return Some(Analysis::InvalidPrimary),
        (State::Unreachable, _) => return Some(dead(shard)),
        _ => {}
    }
    let facts = shard.primary.facts()?;
    if !facts.is_movable() {
        return None;
    }
    if facts.replication.is_some() {
        return Some(Analysis::PrimaryHasPrimary);
    }
    if facts.read_only {
        return Some(Analysis::PrimaryIsReadOnly);
    }
    if let Some(problem) = writes::blocked(shard) {
        return Some(problem);
    }
    let acknowledged = shard.replicas.iter().any(acknowledges);
    match (shard.semi_sync, facts.semi_sync.primary_on, acknowledged) {
        (Some(true), false, true) => return Some(Analysis::PrimarySemiSyncMustBeSet),
        // Its commits would wait for nobody, for ever.
        (Some(true), true, false) => return Some(Analysis::PrimarySemiSyncMustNotBeSet),
        _ => {}
    }
    None
}

fn dead(shard: &ShardView<'_>) -> Analysis {
    if !shard.replicas.iter().any(|r| r.record.kind.is_candidate()) {
        return Analysis::DeadPrimaryWithoutReplicas;
    }
    let alive = |r: &Member<'_>| r.record.kind.is_candidate() && r.facts().is_some();
    if shard.replicas.iter().any(alive) {
        Analysis::DeadPrimary
    } else {
        Analysis::DeadPrimaryAndReplicas
    }
}

/// Those that may be promoted are those that acknowledge.
pub(crate) fn acknowledges(member: &Member<'_>) -> bool {
    member.record.kind.is_candidate()
}

fn replica_problem(shard: &ShardView<'_>, replica: &Member<'_>) -> Option<ReplicaProblem> {
    let facts = replica.facts()?;
    let drained = replica.record.kind == Kind::Drained;
    // MySQL's super_read_only is off while a drained server is made anew.
    let writable = if drained { !facts.read_only } else { facts.is_writable() };
    if writable {
        return Some(ReplicaProblem::ReplicaIsWritable);
    }
    if drained {
        // What it acknowledged could never be promoted.
        let receives = facts
            .replication
            .as_ref()
            .is_some_and(|r| r.receiver != Thread::Stopped);
        let counts = shard.semi_sync == Some(true) && facts.semi_sync.replica_on && receives;
        return counts.then_some(ReplicaProblem::ReplicaSemiSyncMustNotBeSet);
    }
    if has_errant(shard, facts) {
        return Some(ReplicaProblem::ErrantGTIDDetected);
    }
    let Some(replication) = &facts.replication else {
        return Some(ReplicaProblem::NotConnectedToPrimary);
    };
    if ERRANT.contains(&replication.error_code) {
        return Some(ReplicaProblem::ErrantGTIDDetected);
    }
    if replication.error_code == UNKNOWN_XID && replication.error.contains("'XA ROLLBACK ") {
        return Some(ReplicaProblem::RollsBackUnknownBranch);
    }
    let source = shard.primary.record.source()?;
    if !same_source(replication, &source) {
        return Some(ReplicaProblem::ConnectedToWrongPrimary);
    }
    if replication.receiver == Thread::Stopped || !replication.applier {
        return Some(ReplicaProblem::ReplicationStopped);
    }
    match (shard.semi_sync, acknowledges(replica), facts.semi_sync.replica_on) {
        (Some(true), true, false) => Some(ReplicaProblem::ReplicaSemiSyncMustBeSet),
        (Some(true), false, true) => Some(ReplicaProblem::ReplicaSemiSyncMustNotBeSet),
        _ => None,
    }
}

/// MySQL tells it by its sets. The primary's own transactions may be younger than what it said
/// last; those of others are not.
fn has_errant(shard: &ShardView<'_>, facts: &Facts) -> bool {
    let Some(primary) = shard.primary.facts() else { return false };
    let (Some(own), Some(all), Some(uuid)) =
        (&facts.position, &primary.position, &primary.server_uuid)
    else {
        return false;
    };
    own.beyond(all)
        .is_some_and(|beyond| !beyond.without_server(uuid).is_empty())
}

fn same_source(replication: &Replication, (host, port): &(String, u16)) -> bool {
    replication.source_port == *port && replication.source_host.eq_ignore_ascii_case(host)
}
