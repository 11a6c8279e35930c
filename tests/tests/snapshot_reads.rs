//! `cross_shard_snapshot`: SELECTs over several shards that are in no transaction see each TWOPC
//! transaction on all shards or on none.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::Value;
use coregate_tests::{Connection, Coregate, guard, wait_until, world};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

const ACCOUNTS: u64 = 24;
const BALANCE: u64 = 1_000;
const IN_TRANS: u16 = 1;

static LOCAL: LazyLock<Coregate> = LazyLock::new(|| {
    let schema = guard::dir().join("schema");
    std::fs::create_dir_all(&schema).unwrap();
    let tables = "create table account (id bigint primary key, balance bigint not null);
        create table owner (id bigint primary key, name varchar(20));
        create table note (id bigint primary key, v int);\n";
    std::fs::write(schema.join("ks.sql"), tables).unwrap();
    let by_id = r#"{"column_vindexes": [{"column": "id", "name": "hash"}]}"#;
    let vschema = format!(
        r#"{{"sharded": true, "vindexes": {{"hash": {{"type": "hash"}}}},
            "tables": {{"account": {by_id}, "owner": {by_id}, "note": {by_id}}}}}"#
    );
    std::fs::write(schema.join("ks.json"), vschema).unwrap();
    let schema = schema.to_str().unwrap();
    Coregate::local(
        "snapshots",
        &["--keyspace", "ks:3", "--schema", schema, "--vschema", schema, "--cores", "2"],
    )
});

/// The tests count the same process's snapshots.
static TURN: Mutex<()> = Mutex::new(());

fn connect() -> Connection {
    let mut conn = LOCAL.connect_as(world::USER, world::PASSWORD, Some("ks"));
    conn.run("set transaction_mode = 'twopc'");
    conn
}

/// Moves money until it is stopped.
fn transfer(mut random: u64, stop: &AtomicBool) {
    let mut conn = connect();
    while !stop.load(Ordering::Relaxed) {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (from, to) = ((random >> 33) % ACCOUNTS, (random >> 45) % ACCOUNTS);
        conn.run("begin");
        for (id, amount) in [(from.min(to), -1), (from.max(to), 1)] {
            conn.run(&format!("update account set balance = balance + {amount} where id = {id}"));
        }
        conn.run("commit");
    }
}

/// Merged, one shard after another, finished on a server, and prepared.
const SUMS: [&str; 3] = [
    "select sum(balance) from account",
    "select cast(sum(s) as unsigned) from (select sum(balance) s from account \
        group by id % 5) x",
    "select cast(sum(a.balance) as unsigned) from account a join owner o on o.id + 0 = a.id + 0",
];

fn sum_rows(conn: &mut Connection) -> u64 {
    let rows = conn.query("select balance from account").rows();
    rows.iter()
        .map(|row| row[0].as_ref().unwrap().parse::<u64>().unwrap())
        .sum()
}

#[test]
fn sums_are_right_with_it_and_wrong_at_times_without() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut conn = connect();
    let values = |value: &str| {
        let rows: Vec<_> = (0..ACCOUNTS).map(|id| format!("({id}, {value})")).collect();
        rows.join(",")
    };
    conn.run(&format!("insert into account values {}", values(&BALANCE.to_string())));
    conn.run(&format!("insert into owner values {}", values("'x'")));
    let total = ACCOUNTS * BALANCE;
    let (stop, right, wrong) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (stop, right, wrong) = (&stop, &right, &wrong);
        for number in 0..4 {
            scope.spawn(move || transfer(number + 7, stop));
        }
        let reader = scope.spawn(move || {
            let mut conn = connect();
            conn.run("set cross_shard_snapshot = on");
            // It opens a snapshot at any level.
            conn.run("set session transaction isolation level read committed");
            let prepared = conn.prepare("select sum(balance) from account where id >= ?");
            let prepared = prepared.unwrap();
            while !stop.load(Ordering::Relaxed) {
                for sql in SUMS {
                    assert_eq!(conn.value(sql).unwrap(), total.to_string(), "{sql}");
                }
                assert_eq!(sum_rows(&mut conn), total);
                let answer = conn.execute(&prepared, &[Value::Int(0)]);
                assert!(!answer.is_error(), "{answer:?}");
                right.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(move || {
            let mut conn = connect();
            while !stop.load(Ordering::Relaxed) {
                if sum_rows(&mut conn) != total {
                    wrong.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        wait_until("sums with and without snapshots", || {
            let [right, wrong] = [right, wrong].map(|count| count.load(Ordering::Relaxed));
            right >= 30 && wrong >= 2 || reader.is_finished()
        });
        stop.store(true, Ordering::Relaxed);
    });
    assert!(LOCAL.metric("coregate_snapshots_total") >= 30.0);
}

#[test]
fn the_client_sees_nothing_of_the_transaction() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    use coregate_tests::Answer;
    let mut conn = connect();
    conn.run("insert into note values (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)");
    assert_eq!(
        conn.query("set cross_shard_snapshot = 'maybe'")
            .error()
            .code,
        1231
    );
    conn.run("set cross_shard_snapshot = 1");
    let before = LOCAL.metric("coregate_snapshots_total");
    for sql in [
        "select v from note",
        "select v from note order by v",
        "select count(*) from note",
        "select a.v from note a join note b on a.v = b.v + 1",
    ] {
        let answer = conn.query(sql);
        let Answer::Rows { status, rows, .. } = &answer else { panic!("{answer:?}") };
        assert!(!rows.is_empty());
        assert_eq!(status & IN_TRANS, 0, "{sql}");
        // A savepoint would be there in a transaction.
        conn.run("savepoint s");
        assert_eq!(conn.query("rollback to s").error().code, 1305, "{sql}");
    }
    assert_eq!(LOCAL.metric("coregate_snapshots_total"), before + 4.0);
    // One shard, and what locks, need none.
    conn.run("select v from note where id = 1");
    conn.run("select v from note for update");
    // A failure ends it, too, and leaves nothing.
    assert!(
        conn.query("select v, (select 1 union select 2) from note")
            .is_error()
    );
    conn.run("begin");
    conn.run("update note set v = v + 1");
    assert_eq!(conn.value("select sum(v) from note").as_deref(), Some("27"));
    conn.run("rollback");
    assert_eq!(conn.value("select sum(v) from note").as_deref(), Some("21"));
    // What the connections were told is for the snapshot alone.
    conn.run("set cross_shard_snapshot = default");
    conn.run("set session transaction isolation level read uncommitted");
    let mut other = connect();
    other.run("begin");
    other.run("update note set v = 100");
    for _ in 0..4 {
        assert_eq!(conn.value("select sum(v) from note").as_deref(), Some("600"));
    }
    other.run("rollback");
}
