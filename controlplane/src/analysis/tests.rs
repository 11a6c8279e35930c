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
        stall: Duration::from_secs(10),
    });
    found.into_iter().next()
}

#[test]
fn every_problem_of_a_primary_has_its_name() {
    let good = || vec![(Kind::Replica, alive(replica()))];
    assert_eq!(of(&alive(primary()), &good()), None);
    let drained =
        vec![(Kind::Drained, alive(Facts { semi_sync: SemiSync::default(), ..replica() }))];
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
                r.error =
                    "Error 'XAER_NOTA: Unknown XID' on query. Query: 'XA ROLLBACK X'31''".into();
            }),
            Some(P::RollsBackUnknownBranch),
        ),
        (
            Kind::Replica,
            with(|r| {
                (r.applier, r.error_code) = (false, 1397);
                r.error =
                    "Error 'XAER_NOTA: Unknown XID' on query. Query: 'XA COMMIT X'31''".into();
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
    let problem = |facts: Facts| match of(
        &alive(at(primary(), "A:1-9,B:1-2")),
        &[(Kind::Replica, alive(facts))],
    ) {
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

/// All of them, with these replicas.
fn all(primary: &Health, replicas: &[(Kind, Health)]) -> Vec<Analysis> {
    let first = record("p", Kind::Primary);
    let name = |n: usize| format!("r{}", n + 1);
    let records: Vec<_> = replicas
        .iter()
        .enumerate()
        .map(|(n, (kind, _))| record(&name(n), *kind))
        .map(|r| TabletRecord { port: 1, ..r })
        .collect();
    let members = records.iter().zip(replicas);
    analyse(&ShardView {
        primary: Member { record: &first, health: Some(primary), stale: false },
        replicas: members
            .map(|(record, (_, health))| Member { record, health: Some(health), stale: false })
            .collect(),
        semi_sync: Some(true),
        stall: Duration::from_secs(10),
    })
}

#[test]
fn a_primary_that_follows_somebody_forgets_them() {
    let good = [(Kind::Replica, alive(replica()))];
    for read_only in [false, true] {
        let follows = Facts { read_only, replication: replica().replication, ..primary() };
        assert_eq!(all(&alive(follows), &good), [Analysis::PrimaryHasPrimary]);
    }
    assert_eq!(Analysis::PrimaryHasPrimary.recovery(), Recovery::FixPrimary);
}

#[test]
fn a_primary_that_ends_no_write_is_replaced_if_somebody_can() {
    let stalled = |ms| Health { writes_stall_ms: Some(ms), ..alive(primary()) };
    let good = || (Kind::Replica, alive(replica()));
    assert_eq!(all(&stalled(9_999), &[good()]), []);
    assert_eq!(all(&stalled(10_000), &[good()]), [Analysis::PrimaryDiskStalled]);
    assert_eq!(Analysis::PrimaryDiskStalled.recovery(), Recovery::Blocked);
    let nobody = [(Kind::Rdonly, alive(Facts { semi_sync: SemiSync::default(), ..replica() }))];
    let alone = Health {
        writes_stall_ms: Some(60_000),
        ..alive(Facts { semi_sync: SemiSync::default(), ..primary() })
    };
    assert_eq!(all(&alone, &nobody), [], "nobody could take its place");
}

#[test]
fn a_primary_whose_commits_nobody_acknowledges_is_blocked_or_locked() {
    let waits = |clients, ms| {
        let semi_sync = SemiSync { primary_on: true, clients, waiting: 3, ..SemiSync::default() };
        Health { unacknowledged_ms: Some(ms), ..alive(Facts { semi_sync, ..primary() }) }
    };
    let receives = |ms| Health { received_ms: Some(ms), ..alive(replica()) };
    let one = |health: Health| [(Kind::Replica, health)];
    let blocked = Analysis::PrimarySemiSyncBlocked;
    assert_eq!(all(&waits(1, 9_000), &one(receives(20_000))), []);
    assert_eq!(all(&waits(1, 10_000), &one(receives(20_000))), std::slice::from_ref(&blocked));
    assert_eq!(
        all(&waits(1, 10_000), &one(receives(200))),
        [],
        "a large transaction is on its way"
    );
    let two = [(Kind::Replica, receives(20_000)), (Kind::Replica, receives(200))];
    assert_eq!(all(&waits(1, 10_000), &two), [], "to one of them");
    assert_eq!(blocked.recovery(), Recovery::Blocked);
    // Nobody is connected that acknowledges.
    let locked = |alias: Option<&str>| Analysis::LockedSemiSyncPrimary(alias.map(str::to_owned));
    assert_eq!(all(&waits(0, 10_000), &one(receives(20_000))), [locked(Some("r1"))]);
    assert_eq!(locked(Some("r1")).recovery(), Recovery::Reconnect("r1".into()));
    let mut connecting = replica();
    connecting.replication.as_mut().unwrap().receiver = Thread::Connecting;
    let orphan = all(&waits(0, 10_000), &one(alive(connecting)));
    assert_eq!(orphan, [locked(None), Analysis::AllPrimaryReplicasNotReplicating]);
    assert_eq!(orphan[0].recovery(), Recovery::Report);
    let stopped = alive(Facts { replication: None, ..replica() });
    let found = all(&waits(0, 10_000), &one(stopped));
    let problem = Analysis::Replica(ReplicaProblem::NotConnectedToPrimary, "r1".into());
    assert_eq!(found.first(), Some(&problem), "that is repaired first");
}

#[test]
fn replicas_that_all_stand_still_are_reported_behind_their_repairs() {
    let good = || (Kind::Replica, alive(replica()));
    let still = || (Kind::Replica, alive(Facts { replication: None, ..replica() }));
    let dead = || (Kind::Replica, down(Trouble::Dead));
    let last = |replicas: &[(Kind, Health)]| all(&alive(primary()), replicas).pop();
    let of = |n: &str| Some(Analysis::Replica(ReplicaProblem::NotConnectedToPrimary, n.into()));
    assert_eq!(last(&[good(), still()]), of("r2"), "one does");
    assert_eq!(last(&[still(), still()]), Some(Analysis::AllPrimaryReplicasNotReplicating));
    let or_dead = Analysis::AllPrimaryReplicasNotReplicatingOrDead;
    assert_eq!(last(&[still(), dead()]), Some(or_dead.clone()));
    assert_eq!(or_dead.recovery(), Recovery::Report);
    assert_eq!(last(&[still(), (Kind::Replica, Health::default())]), of("r1"), "not looked at yet");
    assert_eq!(all(&alive(primary()), &[still(), still()]).len(), 3);
}
