//! Sessions work the same on every fallback of the data ring for older kernels.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Coregate, MariaDb, mariadb, wait_until};
use std::sync::LazyLock;
use std::thread;

static SERVER: LazyLock<MariaDb> = LazyLock::new(|| MariaDb::start("kernels", &[]));

/// Short and long answers, many clients, a client that is gone in the middle of an answer, a
/// statement that is killed.
fn sessions_work(kernel: &str, says: &str) {
    let server = &*SERVER;
    let coregate = Coregate::drop_in_as_of(kernel, server);
    assert!(coregate.process.stderr().contains(says), "{kernel}: {}", coregate.process.stderr());
    let connect = || coregate.connect_as(mariadb::USER, mariadb::PASSWORD, Some(mariadb::DATABASE));

    let long = "select seq, repeat(char(65 + seq % 26), 2000) from seq_1_to_20000";
    assert_eq!(connect().query(long), server.connect().query(long));
    let wide = "select repeat('x', 20000000)";
    assert_eq!(connect().value(wide).map(|v| v.len()), Some(20_000_000));
    let sent = "y".repeat(3_000_000);
    assert_eq!(
        connect()
            .value(&format!("select length('{sent}')"))
            .as_deref(),
        Some("3000000")
    );

    thread::scope(|scope| {
        for n in 0..40 {
            scope.spawn(move || {
                let mut conn = connect();
                for i in 0..50 {
                    let sum = conn.value(&format!("select {n} + {i}"));
                    assert_eq!(sum, Some((n + i).to_string()));
                }
            });
        }
    });

    let mut gone = connect();
    gone.send_command(3, long.as_bytes()).unwrap();
    drop(gone);
    let mut victim = connect();
    let id = victim.value("select connection_id()").unwrap();
    thread::scope(|scope| {
        let sleeper = scope.spawn(move || victim.query("select sleep(50)"));
        let mut killer = connect();
        wait_until("the statement is killed", || {
            killer.query(&format!("kill query {id}"));
            sleeper.is_finished()
        });
    });
    assert_eq!(connect().value("select 1").as_deref(), Some("1"));
}

#[test]
fn linux_6_0() {
    sessions_work("6.0", "multishot receives; without deferred task work");
}

#[test]
fn linux_5_19() {
    sessions_work("5.19", "multishot accepts; without deferred task work, multishot receives");
}

#[test]
fn linux_5_17() {
    sessions_work(
        "5.17",
        "io_uring with sends without completions; without deferred task work, buffer rings",
    );
}

#[test]
fn linux_5_15() {
    sessions_work(
        "5.15",
        "io_uring without deferred task work, sends without completions, buffer rings",
    );
}
