//! One snapshot over all shards: whoever sums up what others move sees the same sum every time.
use super::{CLUSTER, TURN, connect};
use coregate_tests::{Connection, Coregate, wait_until};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const ACCOUNTS: u64 = 40;
const BALANCE: u64 = 1_000;
const SNAPSHOT: &str = "start transaction with consistent snapshot";

/// Moves money until it is stopped.
fn transfer(proxy: &Coregate, mut random: u64, stop: &AtomicBool, done: &AtomicU64) {
    let mut conn = connect(proxy);
    while !stop.load(Ordering::Relaxed) {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (from, to) = ((random >> 33) % ACCOUNTS, (random >> 45) % ACCOUNTS);
        // In one order, so that there are no deadlocks.
        let (first, second) = (from.min(to), from.max(to));
        conn.run("begin");
        for (id, amount) in [(first, -1), (second, 1)] {
            conn.run(&format!("update account set balance = balance + {amount} where id = {id}"));
        }
        conn.run("commit");
        done.fetch_add(1, Ordering::Relaxed);
    }
}

fn sum(conn: &mut Connection, begin: &str) -> u64 {
    conn.run(begin);
    let sum = conn.value("select sum(balance) from account");
    conn.run("commit");
    sum.unwrap().parse().unwrap()
}

#[test]
fn a_snapshot_sees_a_transaction_on_all_shards_or_on_none() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let other = CLUSTER.elsewhere("other", |_, port| port);
    let proxies = &[CLUSTER.proxy(), Coregate::configured("other", &other)];
    let mut conn = connect(&proxies[0]);
    conn.run("delete from account");
    let rows: Vec<String> = (0..ACCOUNTS)
        .map(|id| format!("({id}, {BALANCE})"))
        .collect();
    conn.run(&format!("insert into account (id, balance) values {}", rows.join(",")));
    let total = ACCOUNTS * BALANCE;
    let (stop, done, right, wrong) =
        (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (stop, done, right, wrong) = (&stop, &done, &right, &wrong);
        for (number, proxy) in proxies.iter().cycle().take(6).enumerate() {
            scope.spawn(move || transfer(proxy, number as u64 + 77, stop, done));
        }
        let readers: Vec<_> = proxies
            .iter()
            .map(|proxy| {
                scope.spawn(move || {
                    let mut conn = connect(proxy);
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(sum(&mut conn, SNAPSHOT), total);
                        right.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            let mut conn = connect(&proxies[1]);
            while !stop.load(Ordering::Relaxed) {
                if sum(&mut conn, "start transaction") != total {
                    wrong.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let enough = || {
            let [right, wrong, done] =
                [right, wrong, done].map(|count| count.load(Ordering::Relaxed));
            right >= 300 && wrong >= 3 && done >= 1_000
                || readers.iter().any(|reader| reader.is_finished())
        };
        wait_until("sums with and without a snapshot", enough);
        stop.store(true, Ordering::Relaxed);
        eprintln!(
            "{} right, {} wrong, {} transfers",
            right.load(Ordering::Relaxed),
            wrong.load(Ordering::Relaxed),
            done.load(Ordering::Relaxed)
        );
    });
    assert_eq!(CLUSTER.prepared(), 0);
}

#[test]
fn a_snapshot_is_as_of_its_beginning() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let proxy = CLUSTER.proxy();
    let (mut a, mut b) = (connect(&proxy), connect(&proxy));
    a.run("delete from account");
    a.run(
        "insert into account (id, balance) values (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, \
        1), (7, 1), (8, 1)",
    );
    for begin in [SNAPSHOT, "start transaction with consistent snapshot, read only"] {
        a.run(begin);
        b.run("update account set balance = balance + 1");
        let before = a.value("select sum(balance) from account").unwrap();
        let after = b.value("select sum(balance) from account").unwrap();
        assert_eq!(before.parse::<u64>().unwrap() + 8, after.parse::<u64>().unwrap());
        // It is left open no longer than its transaction.
        a.run("commit");
        assert_eq!(a.value("select sum(balance) from account").unwrap(), after);
    }
    // It may write, atomically; other shards cannot join.
    a.run(SNAPSHOT);
    a.run("update account set balance = 0");
    a.run("rollback");
    a.run(SNAPSHOT);
    a.run("update account set balance = 10");
    a.run("commit");
    assert_eq!(b.value("select sum(balance) from account").as_deref(), Some("80"));
    a.run(SNAPSHOT);
    a.run("rollback");
    // Nobody waits behind one that is open.
    a.run(SNAPSHOT);
    b.run("begin");
    b.run("update account set balance = 11");
    b.run("commit");
    a.run("commit");
}
