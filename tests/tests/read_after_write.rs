//! Sessions that read from replicas what they have written, and what they have seen: a replica that
//! is late is waited for, then passed by.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::replicated::Cluster;
use coregate_tests::wire::Value;
use coregate_tests::{Answer, Connection, wait_until};

/// Who reads there goes on, and nothing is applied until the query is killed.
const HOLD: &str = "flush tables with read lock; select sleep(120) as held";
const HELD: &str = "select max(id) from information_schema.processlist where info like 'select \
    sleep(120) as held%'";

fn replica(cluster: &Cluster) -> Connection {
    let mut conn = cluster.connect("ks@replica");
    wait_until("replicas are read from", || !conn.query("select 1 from t").is_error());
    conn
}

fn count(conn: &mut Connection) -> u64 {
    conn.value("select count(*) from t")
        .unwrap()
        .parse()
        .unwrap()
}

fn one_after_another(cluster: &Cluster) {
    let mut conn = replica(cluster);
    conn.run("set read_after_write_timeout = 20");
    for n in 1..=200u64 {
        conn.run("use ks");
        conn.run(&format!("insert into t (id, v) values ({n}, 'x')"));
        conn.run("use ks@replica");
        assert_eq!(count(&mut conn), n);
    }
    // As a prepared statement, and in a transaction.
    conn.run("use ks");
    conn.run("delete from t where id > 100");
    conn.run("use ks@replica");
    let read = conn
        .prepare("select concat('n', count(*), '.') from t where id > ?")
        .unwrap();
    let answer = conn.execute(&read, &[Value::Int(0)]);
    let Answer::Rows { raw, .. } = &answer else { panic!("rows were expected: {answer:?}") };
    assert!(String::from_utf8_lossy(&raw[0]).contains("n100."), "{answer:?}");
    conn.run("use ks");
    conn.run("delete from t where id > 50");
    conn.run("use ks@replica");
    conn.run("begin");
    assert_eq!(count(&mut conn), 50);
    conn.run("commit");
    // All of it was read from replicas.
    assert!(
        cluster
            .proxy
            .metric("coregate_read_after_write_fallbacks_total")
            < 1.0
    );
}

#[test]
fn what_was_written_is_read_on_replicas() {
    one_after_another(&Cluster::of("raw", "ks:1:1", 2));
}

#[test]
fn what_was_written_is_read_on_replicas_of_all_shards() {
    one_after_another(&Cluster::sharded("raw-sharded"));
}

#[test]
fn what_was_written_is_read_on_replicas_of_mysql() {
    if let Some(cluster) = Cluster::of_mysql("raw-mysql", "ks:1:1", 2) {
        one_after_another(&cluster);
    }
}

#[test]
fn a_replica_that_is_late_is_passed_by_and_time_does_not_run_backwards() {
    let cluster = Cluster::of("raw-late", "ks:1:1", 2);
    cluster.ctl(&["disable-recoveries"]).unwrap();
    let (mut plain, mut causal, mut other) =
        (replica(&cluster), replica(&cluster), cluster.connect("ks"));
    other.run("insert into t (id, v) values (1, 'seen by all')");
    wait_until("it is on the replica", || count(&mut plain) == 1);
    causal.run("set read_after_write_timeout = 0.2");
    let alias = cluster.replicas()[0].clone();
    assert_eq!(count(&mut causal), 1);
    std::thread::scope(|scope| {
        scope.spawn(|| cluster.try_on(&alias, HOLD));
        wait_until("nothing is applied any more", || cluster.on(&alias, HELD) != "NULL");
        causal.run("use ks");
        causal.run("insert into t (id, v) values (2, 'own')");
        causal.run("use ks@replica");
        for _ in 0..5 {
            assert_eq!(count(&mut causal), 2, "from the primary");
        }
        assert_eq!(count(&mut plain), 1, "that session has not asked for more");
        assert_eq!(causal.query("delete from t").error().code, 1290, "it still only reads");
        let id = cluster.on(&alias, HELD);
        cluster.on(&alias, &format!("kill query {id}"));
    });
    wait_until("the replica has it", || count(&mut plain) == 2);
    let wrong = causal.query("set read_after_write_timeout = 'soon'");
    assert_eq!(wrong.error().code, 1231);
    let wrong = causal.query("set read_after_write_gtid = '0-1-1'') or 1'");
    assert_eq!(wrong.error().code, 1231);
    causal.run("set read_after_write_timeout = 0");
    assert_eq!(count(&mut causal), 2);
    assert!(
        cluster
            .proxy
            .metric("coregate_read_after_write_fallbacks_total")
            >= 1.0
    );
}
