//! What is wrong with a shard, and what is done about it: the names are those of Vitess's vtorc. Pure.
//!
//! | analysis | recovery |
//! | --- | --- |
//! | `DeadPrimary` | another replica is promoted, after the replicas have confirmed that they do not reach it either |
//! | `DeadPrimaryWithoutReplicas`, `DeadPrimaryAndReplicas`, `InvalidPrimary` | none: nobody could take its place; reported |
//! | `PrimaryIsReadOnly`, `PrimarySemiSyncMustBeSet` | it is made writable, with semi-sync where the durability asks for it |
//! | `NotConnectedToPrimary`, `ConnectedToWrongPrimary`, `ReplicationStopped`, `ReplicaIsWritable`, `ReplicaSemiSyncMustBeSet`, `ReplicaSemiSyncMustNotBeSet` | it is made read-only and follows the primary |
//! | `PrimarySemiSyncMustNotBeSet` | semi-sync is switched off: no replica is left that could acknowledge |
//! | `RollsBackUnknownBranch` (not of Vitess) | that one event is skipped: the branch is not there to be rolled back |
//! | `ErrantGTIDDetected` | it is drained: it has transactions that the primary does not have |
mod galera;

use crate::health::{Health, State, Trouble};
use crate::servers::status::{Facts, Replication, Thread};
use crate::topology::{Kind, TabletRecord};

/// ER_MASTER_FATAL_ERROR_READING_BINLOG: the primary does not have where the replica is. ER_GTID_STRICT_OUT_OF_ORDER: the replica has
/// written itself.
const ERRANT: [u32; 2] = [1236, 1950];

/// XAER_NOTA
const UNKNOWN_XID: u32 = 1397;

pub(crate) struct ShardView<'a> {
    pub(crate) primary: Member<'a>,
    pub(crate) replicas: Vec<Member<'a>>,
    /// What semi-sync has to be; `None`: whatever it is.
    pub(crate) semi_sync: Option<bool>,
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
    Emergency,
    FixPrimary,
    FixReplica(String),
    Drain(String),
    SkipRollback(String),
    /// The operator reads it in the log.
    Report,
}

impl Analysis {
    pub(crate) fn recovery(&self) -> Recovery {
        match self {
            Self::DeadPrimary | Self::GaleraWriterUnfit => Recovery::Emergency,
            Self::DeadPrimaryWithoutReplicas
            | Self::DeadPrimaryAndReplicas
            | Self::InvalidPrimary
            | Self::GaleraWithoutMajority => Recovery::Report,
            Self::PrimaryIsReadOnly | Self::PrimarySemiSyncMustBeSet | Self::PrimarySemiSyncMustNotBeSet => {
                Recovery::FixPrimary
            }
            Self::Replica(ReplicaProblem::RollsBackUnknownBranch, alias) => {
                Recovery::SkipRollback(alias.clone())
            }
            Self::Replica(ReplicaProblem::ErrantGTIDDetected, alias) => Recovery::Drain(alias.clone()),
            Self::Replica(_, alias) => Recovery::FixReplica(alias.clone()),
        }
    }
}

impl std::fmt::Display for Analysis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Replica(problem, alias) => write!(f, "{problem:?} ({alias})"),
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
    shard.replicas.iter().filter_map(of_replica).collect()
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
    if facts.read_only {
        return Some(Analysis::PrimaryIsReadOnly);
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
    if shard.replicas.iter().any(alive) { Analysis::DeadPrimary } else { Analysis::DeadPrimaryAndReplicas }
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
    let Some(replication) = &facts.replication else { return Some(ReplicaProblem::NotConnectedToPrimary) };
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

/// MySQL tells it by its sets. The primary's own transactions may be younger than what it said last; those of others are not.
fn has_errant(shard: &ShardView<'_>, facts: &Facts) -> bool {
    let Some(primary) = shard.primary.facts() else { return false };
    let (Some(own), Some(all), Some(uuid)) = (&facts.position, &primary.position, &primary.server_uuid)
    else {
        return false;
    };
    own.beyond(all)
        .is_some_and(|beyond| !beyond.without_server(uuid).is_empty())
}

fn same_source(replication: &Replication, (host, port): &(String, u16)) -> bool {
    replication.source_port == *port && replication.source_host.eq_ignore_ascii_case(host)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::gtid::Position;
    use crate::servers::status::SemiSync;

    pub(super) fn record(alias: &str, kind: Kind) -> TabletRecord {
        let text = format!(
            r#"{{"alias": "{alias}", "type": "replica", "host": "h", "port": {}, "user": "u"}}"#,
            alias.len()
        );
        TabletRecord { kind, ..serde_json::from_str(&text).unwrap() }
    }

    pub(super) fn alive(facts: Facts) -> Health {
        Health { state: State::Serving, facts: Some(facts), ..Health::default() }
    }

    pub(super) fn down(trouble: Trouble) -> Health {
        Health { state: State::Unreachable, trouble: Some(trouble), ..Health::default() }
    }

    fn primary() -> Facts {
        Facts {
            version: "10.11.6-MariaDB".into(),
            position: Position::mariadb("0-1-1"),
            semi_sync: SemiSync { primary_on: true, ..SemiSync::default() },
            ..Facts::default()
        }
    }

    fn replica() -> Facts {
        let replication = Replication {
            source_host: "H".into(),
            source_port: 1,
            receiver: Thread::Running,
            applier: true,
            ..Replication::default()
        };
        Facts {
            read_only: true,
            replication: Some(replication),
            semi_sync: SemiSync { replica_on: true, ..SemiSync::default() },
            ..primary()
        }
    }

    fn of(primary: &Health, replicas: &[(Kind, Health)]) -> Option<Analysis> {
        let first = record("p", Kind::Primary);
        let records: Vec<_> = replicas
            .iter()
            .map(|(kind, _)| record("r1", *kind))
            .collect();
        let members = records.iter().zip(replicas);
        let found = analyse(&ShardView {
            primary: Member { record: &first, health: Some(primary), stale: false },
            replicas: members
                .map(|(record, (_, health))| Member { record, health: Some(health), stale: false })
                .collect(),
            semi_sync: Some(true),
        });
        found.into_iter().next()
    }

    #[test]
    fn every_problem_of_a_primary_has_its_name() {
        let good = || vec![(Kind::Replica, alive(replica()))];
        assert_eq!(of(&alive(primary()), &good()), None);
        let drained = vec![(Kind::Drained, alive(Facts { semi_sync: SemiSync::default(), ..replica() }))];
        assert_eq!(of(&alive(primary()), &drained), Some(Analysis::PrimarySemiSyncMustNotBeSet));
        for trouble in [Trouble::Dead, Trouble::Frozen] {
            let dead = down(trouble);
            assert_eq!(of(&dead, &good()), Some(Analysis::DeadPrimary));
            assert_eq!(of(&dead, &[]), Some(Analysis::DeadPrimaryWithoutReplicas));
            let drained = vec![(Kind::Drained, alive(replica()))];
            assert_eq!(of(&dead, &drained), Some(Analysis::DeadPrimaryWithoutReplicas));
            let both = vec![(Kind::Replica, down(Trouble::Dead))];
            assert_eq!(of(&dead, &both), Some(Analysis::DeadPrimaryAndReplicas));
        }
        assert_eq!(of(&down(Trouble::Refused), &good()), Some(Analysis::InvalidPrimary));
        let full = Health { state: State::NotServing, ..down(Trouble::OutOfConnections) };
        assert_eq!(of(&full, &good()), None, "it is busy, not dead");
        let read_only = Facts { read_only: true, ..primary() };
        assert_eq!(of(&alive(read_only), &good()), Some(Analysis::PrimaryIsReadOnly));
        let alone = Facts { semi_sync: SemiSync::default(), ..primary() };
        assert_eq!(of(&alive(alone.clone()), &good()), Some(Analysis::PrimarySemiSyncMustBeSet));
        assert_eq!(of(&alive(alone), &[]), None, "nobody could acknowledge");
        let old = Facts { version: "5.7.44".into(), read_only: true, position: None, ..primary() };
        assert_eq!(of(&alive(old), &good()), None, "its statements are others");
        assert_eq!(of(&Health::default(), &good()), None, "not looked at yet");
    }

    #[test]
    fn every_problem_of_a_replica_has_its_name() {
        use ReplicaProblem as P;
        let with = |change: fn(&mut Replication)| {
            let mut facts = replica();
            facts.replication.as_mut().map(change);
            facts
        };
        let no_acks = Facts { semi_sync: SemiSync::default(), ..replica() };
        for (kind, facts, problem) in [
            (Kind::Replica, Facts { read_only: false, ..replica() }, Some(P::ReplicaIsWritable)),
            (Kind::Drained, Facts { read_only: false, ..replica() }, Some(P::ReplicaIsWritable)),
            (Kind::Drained, Facts { replication: None, ..replica() }, None),
            (Kind::Drained, with(|r| r.receiver = Thread::Stopped), None),
            (Kind::Drained, replica(), Some(P::ReplicaSemiSyncMustNotBeSet)),
            (Kind::Drained, no_acks.clone(), None),
            (Kind::Replica, Facts { replication: None, ..replica() }, Some(P::NotConnectedToPrimary)),
            (Kind::Replica, with(|r| r.source_port = 9), Some(P::ConnectedToWrongPrimary)),
            (Kind::Replica, with(|r| r.receiver = Thread::Stopped), Some(P::ReplicationStopped)),
            (Kind::Replica, with(|r| r.receiver = Thread::Connecting), None),
            (Kind::Replica, with(|r| r.applier = false), Some(P::ReplicationStopped)),
            (Kind::Replica, with(|r| r.error_code = 1236), Some(P::ErrantGTIDDetected)),
            (
                Kind::Replica,
                with(|r| {
                    (r.applier, r.error_code) = (false, 1397);
                    r.error = "Error 'XAER_NOTA: Unknown XID' on query. Query: 'XA ROLLBACK X'31''".into();
                }),
                Some(P::RollsBackUnknownBranch),
            ),
            (
                Kind::Replica,
                with(|r| {
                    (r.applier, r.error_code) = (false, 1397);
                    r.error = "Error 'XAER_NOTA: Unknown XID' on query. Query: 'XA COMMIT X'31''".into();
                }),
                Some(P::ReplicationStopped),
            ),
            (Kind::Replica, no_acks.clone(), Some(P::ReplicaSemiSyncMustBeSet)),
            (Kind::Rdonly, no_acks, None),
            (Kind::Rdonly, replica(), Some(P::ReplicaSemiSyncMustNotBeSet)),
        ] {
            let other = (Kind::Replica, alive(replica()));
            let found = of(&alive(primary()), &[(kind, alive(facts)), other]);
            let wanted = problem.map(|p| Analysis::Replica(p, "r1".into()));
            assert_eq!(found, wanted);
            if let Some(found) = found {
                assert_ne!(found.recovery(), Recovery::Report);
            }
        }
    }

    #[test]
    fn sets_of_mysql_tell_who_has_gone_astray() {
        use ReplicaProblem as P;
        const A: &str = "4f49185b-ea75-11f1-8072-02fc00000001";
        const B: &str = "4f61bf5d-ea75-11f1-98cf-02fc00000001";
        let at = |facts: Facts, set: &str| Facts {
            version: "9.7.4".into(),
            server_uuid: Some(A.into()),
            super_read_only: Some(facts.read_only),
            position: Position::mysql(&set.replace('A', A).replace('B', B)),
            ..facts
        };
        let problem =
            |facts: Facts| match of(&alive(at(primary(), "A:1-9,B:1-2")), &[(Kind::Replica, alive(facts))]) {
                Some(Analysis::Replica(problem, _)) => Some(problem),
                None => None,
                other => panic!("{other:?}"),
            };
        assert_eq!(problem(at(replica(), "A:1-9,B:1-2")), None);
        assert_eq!(problem(at(replica(), "A:1-12,B:1-2")), None, "it has been asked later");
        assert_eq!(problem(at(replica(), "A:1-5,B:1-3")), Some(P::ErrantGTIDDetected));
        let alone = Facts { replication: None, ..at(replica(), "B:9") };
        assert_eq!(problem(alone), Some(P::ErrantGTIDDetected), "it must not be made to follow");
        let writable = Facts { super_read_only: Some(false), ..at(replica(), "A:1-9,B:1-2") };
        assert_eq!(problem(writable), Some(P::ReplicaIsWritable));
        let alone = Facts { semi_sync: SemiSync::default(), ..primary() };
        let writable = Facts { super_read_only: Some(false), ..at(alone, "A:1") };
        assert_eq!(of(&alive(writable), &[]), None);
    }
}
