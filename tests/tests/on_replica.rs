//! Replicas are read only for clients, whatever they send there: the servers' account could write.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::replicated::Cluster;
use coregate_tests::wire::Value;
use coregate_tests::{Connection, wait_until};
use std::sync::LazyLock;

/// The replica is late whenever a test says so.
struct World {
    cluster: Cluster,
    replica: String,
}

/// Who reads there goes on, and nothing is applied until the query is killed.
const HOLD: &str = "flush tables with read lock; select sleep(120) as held";
const HELD: &str = "select max(id) from information_schema.processlist where info like 'select \
    sleep(120) as held%'";

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let cluster = Cluster::of("on-replica", "ks:1:1", 2);
    cluster.ctl(&["disable-recoveries"]).unwrap();
    let mut conn = cluster.connect("ks");
    for sql in [
        "create table w (n bigint auto_increment primary key, x bigint)",
        "create sequence sq",
        "create function writes(x bigint) returns bigint deterministic modifies sql data \
         begin insert into w (x) values (x); return x; end",
    ] {
        conn.run(sql);
    }
    wait_until("it is on the replica", || {
        !cluster
            .connect("ks@replica")
            .query("select writes from (select 1 writes) t")
            .is_error()
    });
    let replica = cluster.replicas()[0].clone();
    World { cluster, replica }
});

fn connect(target: &str) -> Connection {
    let mut conn = WORLD.cluster.connect(target);
    wait_until("it is read from", || !conn.query("select count(*) from w").is_error());
    conn
}

/// A replica that applies nothing, while `then` runs.
fn held(then: impl FnOnce()) {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let World { cluster, replica } = &*WORLD;
    std::thread::scope(|scope| {
        scope.spawn(|| cluster.try_on(replica, HOLD));
        wait_until("nothing is applied any more", || cluster.on(replica, HELD) != "NULL");
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(then));
        let id = cluster.on(replica, HELD);
        cluster.try_on(replica, &format!("kill {id}")).ok();
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn nothing_writes_there() {
    let mut conn = connect("ks@replica");
    for before in [
        "select 0",
        "set session transaction read write",
        "set tx_read_only = 0",
        "set transaction read write",
        "start transaction read write",
        "begin",
        "set autocommit = 0",
    ] {
        conn.run(before);
        for sql in ["select writes(6)", "select nextval(sq)", "select writes(7) from w"] {
            let answer = conn.query(sql);
            assert!(
                answer.is_error() && matches!(answer.error().code, 1290 | 1792),
                "{before}; {sql}: {answer:?}"
            );
        }
        conn.run("rollback");
        conn.run("set autocommit = 1");
    }
    // Some servers say so when they prepare it.
    let executed = conn
        .prepare("select writes(?)")
        .map(|prepared| conn.execute(&prepared, &[Value::Int(8)]));
    assert_eq!(executed.map_or_else(|e| e.code, |answer| answer.error().code), 1792);
    assert!(
        conn.query("prepare p from 'select writes(9)'").is_error()
            || conn.query("execute p").is_error()
    );
    assert_eq!(conn.query("select n from w for update").error().code, 1290);
    // Elsewhere the session may.
    conn.run("use ks");
    assert_eq!(conn.value("select writes(10)").as_deref(), Some("10"));
    assert_eq!(
        WORLD
            .cluster
            .on(&WORLD.replica, "select count(*) from ks.w where x between 6 and 9"),
        "0"
    );
}

#[test]
fn a_primary_in_its_place_is_read_only_too() {
    held(|| {
        let mut conn = connect("ks@replica");
        conn.run("set read_after_write_timeout = 0.1");
        conn.run("use ks");
        conn.run("insert into w (x) values (500)");
        conn.run("use ks@replica");
        assert_eq!(
            conn.value("select count(*) from w where x = 500")
                .as_deref(),
            Some("1")
        );
        assert_eq!(conn.query("select writes(6)").error().code, 1792);
    });
}

#[test]
fn what_one_command_or_transaction_writes_is_seen() {
    held(|| {
        let mut conn = connect("ks@replica");
        conn.run("set read_after_write_timeout = 0.1");
        let count = |conn: &mut Connection, from: u64| {
            let sql = format!("select count(*) from w where x >= {from} and x < {from} + 10");
            conn.value(&sql).unwrap()
        };
        // Several statements in one text.
        conn.send_command(0x1b, &[0, 0]).unwrap();
        conn.packet().unwrap();
        assert_eq!(count(&mut conn, 100), "0");
        for answer in conn
            .try_query("use ks; insert into w (x) values (100), (101); use ks@replica")
            .unwrap()
        {
            answer.ok();
        }
        assert_eq!(count(&mut conn, 100), "2");
        // A COMMIT that comes while a replica is selected.
        for (begin, end) in [("begin", "commit"), ("set autocommit = 0", "set autocommit = 1")] {
            let from = if begin == "begin" { 200 } else { 300 };
            conn.run("use ks");
            conn.run(begin);
            conn.run(&format!("insert into w (x) values ({from})"));
            conn.run("use ks@replica");
            conn.run(end);
            assert_eq!(count(&mut conn, from), "1", "{begin}");
        }
    });
}

#[test]
fn a_statement_follows_the_type_of_tablet() {
    let mut conn = connect("ks");
    let write = conn.prepare("insert into w (x) values (?)").unwrap();
    let read = conn.prepare("select @@server_id + ?").unwrap();
    conn.run("prepare w from 'insert into w (x) values (21)'");
    conn.run("use ks@replica");
    assert_eq!(conn.execute(&write, &[Value::Int(20)]).error().code, 1290);
    assert_eq!(conn.execute(&write, &[Value::Int(20)]).error().code, 1290, "again");
    assert_eq!(conn.query("execute w").error().code, 1290);
    let there = conn.execute(&read, &[Value::Int(0)]);
    conn.run("use ks");
    let here = conn.execute(&read, &[Value::Int(0)]);
    assert_ne!(format!("{there:?}"), format!("{here:?}"), "each answers where it is asked");
    conn.execute(&write, &[Value::Int(20)]).ok();
    assert_eq!(
        conn.value("select count(*) from w where x in (20, 21)")
            .as_deref(),
        Some("1")
    );
}
