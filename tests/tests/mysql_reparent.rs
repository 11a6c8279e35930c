//! MySQL's servers: their primaries move and die as MariaDB's do. Skipped, with a word on stderr,
//! where no server of MySQL is.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::replicated::Cluster;
use coregate_tests::{proofs, wait_until};
use rustix::process::{Signal, kill_process};

fn three(name: &str) -> Option<Cluster> {
    Cluster::of_mysql(name, "ks:1:2", 3)
}

#[test]
fn planned_moves_of_mysql_fail_no_statement() {
    let Some(cluster) = three("my-planned") else { return };
    proofs::planned_moves_fail_no_statement(&cluster, 5);
    // Replicas refuse writes of every account; all wait for acknowledgements where they are
    // primary.
    for replica in cluster.replicas() {
        assert_eq!(cluster.on(&replica, "select @@super_read_only"), "1");
        assert_eq!(cluster.on(&replica, "select @@rpl_semi_sync_source_enabled"), "0");
    }
    let primary = cluster.primary();
    assert_eq!(cluster.on(&primary, "select @@rpl_semi_sync_source_enabled"), "1");
    assert_eq!(cluster.on(&primary, "select @@rpl_semi_sync_source_wait_point"), "AFTER_SYNC");
}

#[test]
fn a_killed_primary_of_mysql_loses_nothing_that_was_acknowledged() {
    let Some(cluster) = three("my-killed") else { return };
    proofs::a_lost_primary_loses_nothing(&cluster, Signal::KILL, 3);
}

#[test]
fn a_stopped_primary_of_mysql_loses_nothing_that_was_acknowledged() {
    let Some(cluster) = three("my-stopped") else { return };
    proofs::a_lost_primary_loses_nothing(&cluster, Signal::STOP, 2);
}

#[test]
fn transactions_that_only_a_replica_has_are_found_and_it_is_made_anew() {
    let Some(cluster) = three("my-errant") else { return };
    let mut conn = cluster.connect("ks");
    conn.run("insert into t (id, v) values (1, 'a')");
    let astray = cluster.replicas()[0].clone();
    let sql = "set global super_read_only=0; set global read_only=0; insert into t values (100, \
        'astray')";
    cluster.on(&astray, sql);
    wait_until("it is found", || {
        let said = cluster.ctl(&["get-recoveries"]).unwrap();
        said.contains("is drained: it has transactions that") && said.contains("made anew")
    });
    wait_until("it is a replica again", || cluster.replicas().contains(&astray));
    cluster.wait_well();
    conn.run("insert into t (id, v) values (2, 'b')");
    wait_until("it has what the primary has", || {
        cluster.on(&astray, "select group_concat(id) from t") == "1,2"
    });
    assert_eq!(cluster.on(&astray, "select @@super_read_only"), "1");
}

#[test]
fn a_copy_that_fails_is_tried_again() {
    let Some(cluster) = three("my-again") else { return };
    let primary = cluster.primary();
    cluster.on(&primary, "revoke backup_admin on *.* from 'repl'@'127.0.0.1'");
    let astray = cluster.replicas()[0].clone();
    cluster.on(
        &astray,
        "set global super_read_only=0; set global read_only=0; insert into t values (100, \
            'astray')",
    );
    wait_until("it fails", || {
        cluster
            .proxy
            .process
            .stderr()
            .contains("cannot be made anew, and is tried again")
    });
    assert!(!cluster.replicas().contains(&astray));
    cluster.on(&cluster.primary(), "grant backup_admin on *.* to 'repl'@'127.0.0.1'");
    wait_until("it is a replica again", || cluster.replicas().contains(&astray));
    cluster.wait_well();
    assert_eq!(cluster.on(&astray, "select count(*) from t"), "0");
}

#[test]
fn an_ordered_emergency_of_mysql_and_a_new_start_keep_everything() {
    let Some(cluster) = three("my-emergency") else { return };
    let writers = cluster.writers(3);
    writers.record.wait_more(50);
    let said = cluster
        .ctl(&["emergency-reparent-shard", "ks/0", "--new-primary", "zone1-102"])
        .unwrap();
    assert!(said.contains("zone1-102 is primary"), "{said}");
    writers.record.wait_more(50);
    cluster.wait_well();
    // Both replicas stop: commits wait for them, and go on.
    for replica in cluster.replicas() {
        kill_process(cluster.pid(&replica), Signal::STOP).unwrap();
    }
    wait_until("they are missed", || {
        cluster
            .proxy
            .admin("/api/tablets")
            .matches("\"frozen\"")
            .count()
            == 2
    });
    for replica in cluster.replicas() {
        kill_process(cluster.pid(&replica), Signal::CONT).unwrap();
    }
    writers.record.wait_more(50);
    let record = writers.stop();
    cluster.check(&record);
}

#[test]
fn other_servers_than_mysql_are_refused() {
    let dir = coregate_tests::guard::dir().join("my-wrong");
    let dir = dir.to_str().unwrap();
    let start = |more: &[&str]| {
        let args = [
            "local",
            "--dir",
            dir,
            "--flavor",
            "mysql",
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ];
        coregate_tests::Coregate::try_start("my-wrong", args.iter().chain(more))
    };
    let said = start(&["--mysqld", "/nowhere/mysqld"])
        .map(drop)
        .unwrap_err();
    assert!(said.contains("there is no such file"), "{said}");
    let said = start(&["--mysqld", "/usr/sbin/mariadbd"])
        .map(drop)
        .unwrap_err();
    assert!(said.contains("is not MySQL's server") && said.contains("MariaDB"), "{said}");
}
