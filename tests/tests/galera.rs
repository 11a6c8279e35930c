//! Galera clusters as shards: the writer is lost, cut off, drained; nodes join again. Skipped, with
//! a word on stderr, where Galera is not installed.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::replicated::Cluster;
use coregate_tests::{proofs, wait_until};
use rustix::process::{Signal, kill_process};

fn three(name: &str) -> Option<Cluster> {
    Cluster::of_galera(name, "ks:1:2", 3)
}

/// The server's own log.
fn log(cluster: &Cluster, alias: &str) -> String {
    std::fs::read_to_string(cluster.dir.join("tablets").join(alias).join("err.log")).unwrap()
}

#[test]
fn planned_switches_fail_no_statement() {
    let Some(cluster) = three("ga-planned") else { return };
    proofs::planned_moves_fail_no_statement(&cluster, 5);
    let wrong =
        cluster.ctl(&["planned-reparent-shard", "ks/0", "--new-primary", &cluster.primary()]);
    assert!(wrong.unwrap_err().contains("primary already"));
    // What is written is read everywhere, by whoever asks for it.
    let (mut writer, mut reader) = (cluster.connect("ks"), cluster.connect("ks@replica"));
    reader.run("set wsrep_sync_wait = 1");
    for id in 1_000_000..1_000_050 {
        writer.run(&format!("insert into t (id, v) values ({id}, 'causal')"));
        assert_eq!(
            reader.value(&format!("select v from t where id = {id}")),
            Some("causal".into())
        );
    }
}

#[test]
fn a_killed_writer_loses_nothing_and_joins_again() {
    let Some(cluster) = three("ga-killed") else { return };
    proofs::a_lost_primary_loses_nothing(&cluster, Signal::KILL, 3);
    let joined = cluster.replicas().into_iter().filter(|alias| {
        let log = log(&cluster, alias);
        log.contains("IST received") || log.contains("SST received")
    });
    assert!(joined.count() > 0);
}

#[test]
fn a_stopped_writer_loses_nothing() {
    let Some(cluster) = three("ga-stopped") else { return };
    proofs::a_lost_primary_loses_nothing(&cluster, Signal::STOP, 2);
}

#[test]
fn a_writer_that_is_cut_off_gets_nothing_and_one_without_data_copies_it() {
    let Some(cluster) = three("ga-cut") else { return };
    let writers = cluster.writers(4);
    writers.record.wait_more(100);
    let old = cluster.primary();
    cluster.on(&old, "set global wsrep_provider_options='gmcast.isolate=1'");
    wait_until("another gets the writes", || cluster.primary() != old);
    writers.record.wait_more(100);
    wait_until("what is cut off does not serve", || {
        let replicas = cluster.tablets("REPLICA");
        replicas.contains(&(old.clone(), "NOT_SERVING".into()))
    });
    let whose = |conn: &mut coregate_tests::Connection| conn.value("select @@server_id").unwrap();
    for _ in 0..6 {
        assert_ne!(format!("zone1-{}", whose(&mut cluster.connect("ks@replica"))), old);
    }
    cluster.on(&old, "set global wsrep_provider_options='gmcast.isolate=0'");
    cluster.wait_well();
    // One dies and has nothing left that says how far it was: it copies all of the data.
    let third = cluster
        .replicas()
        .into_iter()
        .find(|alias| *alias != old)
        .unwrap();
    kill_process(cluster.pid(&third), Signal::KILL).unwrap();
    std::fs::remove_file(
        cluster
            .dir
            .join("tablets")
            .join(&third)
            .join("data/grastate.dat"),
    )
    .unwrap();
    wait_until("it is missed", || cluster.proxy.admin("/api/tablets").contains("\"dead\""));
    writers.record.wait_more(100);
    cluster.wait_well();
    assert!(log(&cluster, &third).contains("SST received"), "it has copied what there is");
    let record = writers.stop();
    cluster.check(&record);
}

#[test]
fn nodes_that_are_desynchronised_are_not_used() {
    let Some(cluster) = three("ga-desync") else { return };
    let old = cluster.primary();
    cluster
        .connect("ks")
        .run("insert into t (id, v) values (1, 'a')");
    cluster.on(&old, "set global wsrep_desync=ON");
    wait_until("another gets the writes", || cluster.primary() != old);
    cluster.on(&old, "set global wsrep_desync=OFF");
    cluster.wait_well();
    let reader = cluster.replicas()[0].clone();
    cluster.on(&reader, "set global wsrep_reject_queries=ALL");
    wait_until("it is not read from", || {
        cluster
            .tablets("REPLICA")
            .contains(&(reader.clone(), "NOT_SERVING".into()))
    });
    assert_eq!(cluster.connect("ks").value("select v from t"), Some("a".into()));
}

#[test]
fn a_crash_of_everything_loses_nothing_that_is_on_disk() {
    let Some(cluster) = three("ga-crash") else { return };
    let writers = cluster.writers(2);
    writers.record.wait_more(100);
    cluster.ctl(&["planned-reparent-shard", "ks/0"]).unwrap();
    writers.record.wait_more(100);
    let record = writers.stop();
    let primary = cluster.primary();
    let cluster = cluster.crash_and_start("ga-crash-again");
    let mut cluster = cluster;
    cluster.galera = true;
    assert_eq!(cluster.primary(), primary);
    cluster.check(&record);
    cluster
        .connect("ks")
        .run("insert into t (id, v) values (0, 'again')");
}

#[test]
fn transactions_that_prepare_are_refused() {
    let Some(cluster) = Cluster::of_galera("ga-twopc", "ks:2:0", 2) else { return };
    let mut conn = cluster.connect("ks");
    conn.run("set transaction_mode = 'twopc'");
    let rows: Vec<String> = (1..40).map(|id| format!("({id}, 'a')")).collect();
    let answer = conn.query(&format!("insert into t (id, v) values {}", rows.join(",")));
    assert!(answer.error().message.contains("Galera"), "{answer:?}");
    assert_eq!(cluster.connect("ks").value("select count(*) from t"), Some("0".into()));
}
