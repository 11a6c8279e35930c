//! Primaries that move and die, under continuous writes with a record of every acknowledged row.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::replicated::{Cluster, Record, Writers};
use coregate_tests::wire::Value;
use coregate_tests::{Connection, proofs, wait_until};
use rustix::process::{Signal, kill_process};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

#[test]
fn planned_moves_fail_no_statement() {
    proofs::planned_moves_fail_no_statement(&Cluster::start("planned"), 5);
}

#[test]
fn a_move_ends_open_transactions_with_an_error_and_keeps_nothing_of_them() {
    let cluster = Cluster::start("transactions");
    let (mut open, mut idle) = (cluster.connect("ks"), cluster.connect("ks"));
    idle.run("select * from t");
    open.run("begin");
    open.run("insert into t (id, v) values (1, 'gone')");
    let mut begun = cluster.connect("ks");
    begun.run("begin");
    cluster
        .ctl(&["PlannedReparentShard", "ks/0", "--new-primary", "zone1-102"])
        .unwrap();
    assert_eq!(cluster.primary(), "zone1-102");
    let answer = open.query("insert into t (id, v) values (2, 'gone')");
    assert!(answer.error().message.contains("rolled back"), "{answer:?}");
    // It had nothing on any server yet.
    begun.run("insert into t (id, v) values (3, 'kept')");
    begun.run("commit");
    assert_eq!(idle.value("select group_concat(id) from t"), Some("3".into()));
    let wrong = cluster.ctl(&["planned-reparent-shard", "ks/0", "--new-primary", "zone1-109"]);
    assert!(wrong.unwrap_err().contains("zone1-109 is no tablet"));
    let wrong = cluster.ctl(&["planned-reparent-shard", "ks/0", "--new-primary", "zone1-102"]);
    assert!(wrong.unwrap_err().contains("primary already"));
}

#[test]
fn a_killed_primary_loses_nothing_that_was_acknowledged() {
    proofs::a_lost_primary_loses_nothing(&Cluster::start("killed"), Signal::KILL, 3);
}

#[test]
fn a_stopped_primary_loses_nothing_that_was_acknowledged() {
    proofs::a_lost_primary_loses_nothing(&Cluster::start("stopped"), Signal::STOP, 3);
}

#[test]
fn an_ordered_emergency_and_a_second_failure_lose_nothing() {
    let cluster = Cluster::start("emergency");
    let writers = cluster.writers(3);
    writers.record.wait_more(50);
    let said = cluster
        .ctl(&["emergency-reparent-shard", "ks/0", "--new-primary", "zone1-102"])
        .unwrap();
    assert!(said.contains("zone1-102 is primary"), "{said}");
    writers.record.wait_more(50);
    cluster.wait_well();
    // A replica is away, and the other one has what is written since: it alone can be promoted.
    kill_process(cluster.pid("zone1-100"), Signal::STOP).unwrap();
    wait_until("it is missed", || cluster.proxy.admin("/api/tablets").contains("\"frozen\""));
    writers.record.wait_more(200);
    std::thread::sleep(std::time::Duration::from_secs(2));
    kill_process(cluster.pid("zone1-102"), Signal::KILL).unwrap();
    wait_until("the last one is primary", || cluster.primary() == "zone1-101");
    writers.record.wait_more(50);
    kill_process(cluster.pid("zone1-100"), Signal::CONT).unwrap();
    let record = writers.stop();
    cluster.check(&record);
}

#[test]
fn nothing_is_done_by_itself_where_it_is_switched_off() {
    let cluster = Cluster::start("off");
    cluster.ctl(&["disable-recoveries"]).unwrap();
    let primary = cluster.primary();
    kill_process(cluster.pid(&primary), Signal::KILL).unwrap();
    wait_until("it is started again", || {
        cluster
            .proxy
            .admin("/api/tablets")
            .contains("the primary is read-only")
    });
    assert_eq!(cluster.primary(), primary);
    assert!(
        !cluster
            .ctl(&["get-recoveries"])
            .unwrap()
            .contains("DeadPrimary")
    );
    cluster.ctl(&["enable-recoveries"]).unwrap();
    cluster.wait_well();
    cluster
        .connect("ks")
        .run("insert into t (id, v) values (1, 'a')");
    assert_eq!(cluster.writable(), [primary]);
}

/// Statements of one kind, again and again, on a connection of its own; `run` gives the error, if
/// there is one.
fn repeat(
    cluster: &Cluster,
    record: &Arc<Record>,
    mut run: impl FnMut(&mut Connection, u64) -> Result<(), String> + Send + 'static,
) -> JoinHandle<()> {
    let (record, mut conn) = (Arc::clone(record), cluster.connect("ks"));
    std::thread::spawn(move || {
        let mut turn = 0;
        while !record.stop.load(Ordering::Relaxed) {
            turn += 1;
            match run(&mut conn, turn) {
                Ok(()) => drop(
                    record
                        .acknowledged
                        .lock()
                        .unwrap()
                        .insert(record.tried.fetch_add(1, Ordering::Relaxed)),
                ),
                Err(why) => record.fail(why),
            }
        }
    })
}

fn said(answer: &coregate_tests::Answer) -> Result<(), String> {
    if answer.is_error() { Err(answer.error().message.clone()) } else { Ok(()) }
}

#[test]
fn planned_moves_of_shards_fail_no_statement_of_any_kind() {
    let cluster = Cluster::sharded("shards");
    let record = Arc::new(Record::default());
    let threads = vec![
        // On all shards, in a transaction of Coregate's own.
        repeat(&cluster, &record, |conn, n| {
            let rows: Vec<String> = (0..8)
                .map(|i| format!("({}, 'many')", n * 8 + i + 1_000_000))
                .collect();
            said(&conn.query(&format!("insert into t (id, v) values {}", rows.join(","))))
        }),
        // Prepared, on either shard.
        {
            let mut prepared = None;
            repeat(&cluster, &record, move |conn, n| {
                if prepared.is_none() {
                    let made = conn.prepare("insert into t (id, v) values (?, 'prepared')");
                    prepared = Some(made.map_err(|e| e.message)?);
                }
                let id = Value::Int(i64::try_from(n).unwrap());
                said(&conn.execute(prepared.as_ref().unwrap(), &[id]))
            })
        },
        // Reads that are merged, and reads that one server finishes.
        repeat(&cluster, &record, |conn, _| {
            said(&conn.query("select id, v from t order by id limit 3"))
        }),
        repeat(&cluster, &record, |conn, _| {
            said(&conn.query(
                "select a.v, count(*) from t a join t b on a.v = b.v where a.id < 20 \
                and b.id < 20 group by a.v",
            ))
        }),
        // Short transactions end before the primary is taken away.
        repeat(&cluster, &record, |conn, n| {
            for sql in [
                "begin",
                &format!("insert into t (id, v) values ({}, 'tx')", n + 500_000),
                "commit",
            ] {
                said(&conn.query(sql))?;
            }
            Ok(())
        }),
        repeat(&cluster, &record, |conn, n| {
            said(&conn.query(&format!("set @a = {n}")))?;
            said(&conn.query("execute immediate 'select count(*) from t where id = ?' using @a"))
        }),
    ];
    for shard in ["ks/-80", "ks/80-", "ks/-80", "ks/80-"] {
        record.wait_more(100);
        cluster.ctl(&["planned-reparent-shard", shard]).unwrap();
        record.wait_more(100);
    }
    let record = Writers { record, threads }.stop();
    assert_eq!(*record.errors.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn one_replica_is_enough_and_a_new_start_finds_what_was_promoted() {
    let cluster = Cluster::of("single", "ks:1:1", 2);
    let writers = cluster.writers(2);
    writers.record.wait_more(50);
    let old = cluster.primary();
    kill_process(cluster.pid(&old), Signal::KILL).unwrap();
    wait_until("the other is primary", || cluster.primary() != old);
    // Commits wait until the old one is back as a replica.
    writers.record.wait_more(50);
    let record = writers.stop();
    cluster.check(&record);
    let new = cluster.primary();
    // Coregate itself dies, and leaves its servers behind.
    let cluster = cluster.crash_and_start("single-again");
    assert_eq!(cluster.primary(), new);
    cluster.check(&record);
    cluster
        .connect("ks")
        .run("insert into t (id, v) values (0, 'again')");
}

#[test]
fn a_server_of_ours_that_has_gone_astray_is_made_anew() {
    let cluster = Cluster::start("anew");
    let mut conn = cluster.connect("ks");
    conn.run("insert into t (id, v) values (1, 'a')");
    let astray = cluster.replicas()[0].clone();
    cluster.on(&astray, "set global read_only=0; insert into t values (100, 'astray')");
    conn.run("insert into t (id, v) values (2, 'b')");
    wait_until("it is found", || {
        let said = cluster.ctl(&["get-recoveries"]).unwrap();
        said.contains("is drained") && said.contains("made anew")
    });
    wait_until("it is a replica again", || cluster.replicas().contains(&astray));
    cluster.wait_well();
    conn.run("insert into t (id, v) values (3, 'c')");
    wait_until("it has what the primary has, and nothing else", || {
        cluster
            .try_on(&astray, "select group_concat(id order by id) from t")
            .is_ok_and(|ids| ids == "1,2,3")
    });
    assert_eq!(cluster.on(&astray, "select @@read_only"), "1");
    // It can be primary, too.
    cluster
        .ctl(&["planned-reparent-shard", "ks/0", "--new-primary", &astray])
        .unwrap();
    conn.run("insert into t (id, v) values (4, 'd')");
    cluster.wait_well();
}

/// A process that ends in the middle of it goes on after its next start.
#[test]
fn what_is_to_be_made_anew_is_so_after_a_new_start() {
    let cluster = Cluster::start("anew-later");
    cluster
        .connect("ks")
        .run("insert into t (id, v) values (1, 'a')");
    let replica = cluster.replicas()[0].clone();
    cluster
        .ctl(&["change-tablet-type", &replica, "drained"])
        .unwrap();
    let tablet = cluster.dir.join("tablets").join(&replica);
    // Of the old data: an inode's number may be given again.
    let marked = tablet.join("data/of_the_old_server");
    std::fs::write(&marked, "").unwrap();
    std::fs::write(tablet.join("anew"), "replica").unwrap();
    let cluster = cluster.crash_and_start("anew-later");
    wait_until("it is a replica again", || cluster.replicas().contains(&replica));
    cluster.wait_well();
    assert!(!marked.exists());
    assert!(!tablet.join("anew").exists());
    wait_until("it has the rows", || {
        cluster
            .try_on(&replica, "select group_concat(id) from t")
            .as_deref()
            == Ok("1")
    });
}

#[test]
fn health_costs_no_plan_and_the_catalog_does() {
    let cluster = Cluster::start("plans");
    let mut conn = cluster.connect("ks");
    let mut misses = |statements: u32| {
        for _ in 0..statements {
            conn.run("select v from t where id = 7");
        }
        // Gauges are published once a second.
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        cluster.proxy.metric("coregate_plan_cache_misses_total")
    };
    misses(5);
    let before = misses(5);
    let replica = cluster.replicas()[0].clone();
    kill_process(cluster.pid(&replica), Signal::STOP).unwrap();
    let state = || {
        cluster
            .tablets("REPLICA")
            .into_iter()
            .find(|(alias, _)| *alias == replica)
            .unwrap()
            .1
    };
    wait_until("it does not serve", || state() == "NOT_SERVING");
    kill_process(cluster.pid(&replica), Signal::CONT).unwrap();
    wait_until("it serves", || state() == "SERVING");
    // SHOW VITESS_TABLETS itself is never kept.
    let shown = misses(0) - before;
    let again = misses(5);
    assert_eq!(again - before, shown, "a change of health has emptied the plan cache");
    cluster
        .connect("ks")
        .run("alter vschema add table ks.fresh");
    assert!(misses(5) > again + 1.0, "the plans are still the old ones");
}

#[test]
fn a_session_reads_from_one_replica_that_is_well() {
    let cluster = Cluster::start("replicas");
    cluster
        .connect("ks")
        .run("insert into t (id, v) values (1, 'a')");
    for replica in cluster.replicas() {
        wait_until("it has the row", || cluster.on(&replica, "select count(*) from t") == "1");
    }
    let reader = || cluster.connect("ks@replica");
    let whose = |conn: &mut Connection| {
        conn.value("select @@server_id from t where id = 1")
            .unwrap()
    };
    let (mut one, mut two) = (reader(), reader());
    let (first, second) = (whose(&mut one), whose(&mut two));
    let both: BTreeSet<_> = [first.clone(), second.clone()].into();
    assert_eq!(both.len(), 2, "sessions are spread");
    for _ in 0..10 {
        assert_eq!((whose(&mut one), whose(&mut two)), (first.clone(), second.clone()));
    }
    assert!(
        one.query("insert into t (id, v) values (2, 'b')")
            .is_error()
    );
    cluster
        .ctl(&["change-tablet-type", &format!("zone1-{first}"), "drained"])
        .unwrap();
    for _ in 0..10 {
        assert_eq!((whose(&mut one), whose(&mut two)), (second.clone(), second.clone()));
    }
    cluster.on(&format!("zone1-{second}"), "stop slave sql_thread");
    // Nobody is left; then it is repaired.
    wait_until("it is read from again", || {
        let answer = one.query("select @@server_id from t where id = 1");
        !answer.is_error()
    });
    cluster
        .ctl(&["ChangeTabletType", &format!("zone1-{first}"), "replica"])
        .unwrap();
    wait_until("both are read from", || {
        // For a moment, none may be well.
        let answer = reader().query("select @@server_id from t where id = 1");
        !answer.is_error() && answer.value().as_ref() == Some(&first)
    });
    let wrong = cluster.ctl(&["change-tablet-type", "zone1-100", "drained"]);
    assert!(wrong.unwrap_err().contains("planned-reparent-shard"));
}
