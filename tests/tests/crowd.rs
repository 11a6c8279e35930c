//! More clients than connections: what the proxy wants to know for itself is asked once, not by
//! each of those who wait.
#![allow(clippy::unwrap_used)]
use coregate_tests::wire::{Connection, Login};
use coregate_tests::{Coregate, MariaDb, guard};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 48;
/// As `AGE_MAX` of routines, with the time of a sweep.
const AGE: Duration = Duration::from_secs(12);

fn login(proxy: &Coregate) -> Connection {
    let login = Login { user: "sb", password: "sb", database: Some("one"), capabilities: 0 };
    Connection::over(TcpStream::connect(proxy.mysql).unwrap(), &login).unwrap()
}

/// Ends the clients, also where a check fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How often the server was asked for its routines.
fn questions(root: &mut Connection) -> u64 {
    let sql = "select count(*) from mysql.general_log where command_type = 'Query' \
               and argument like '%from information_schema.routines%' and argument not like \
               '%general_log%'";
    root.value(sql).unwrap().parse().unwrap()
}

#[test]
fn routines_are_asked_for_once_whoever_waits() {
    let server = MariaDb::start("crowd", &["--log-output=TABLE"]);
    let mut root = server.connect();
    root.run("create database one");
    for n in 0..60 {
        root.run(&format!("create table one.t{n} (id int primary key, v int)"));
        root.run(&format!(
            "create function one.f{n}(x int) returns int deterministic return x + {n}"
        ));
        root.run(&format!(
            "create trigger one.g{n} before insert on one.t{n} for each row set new.v = {n}"
        ));
    }
    let config = guard::dir().join("crowd.toml");
    std::fs::write(&config, "[pool]\nsize_per_core = 12\n").unwrap();
    let proxy = Coregate::drop_in(
        "crowd-proxy",
        &server,
        &["--cores", "1", "--config", config.to_str().unwrap()],
    );
    root.run("set global general_log = 1");
    let before = questions(&mut root);
    let clients: Vec<_> = (0..CLIENTS).map(|_| login(&proxy)).collect();
    let (done, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let _end = End(&done);
        for mut client in clients {
            let (done, answers) = (&done, &answers);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(
                        client
                            .value("select 1 + (select count(*) from t1)")
                            .as_deref(),
                        Some("1")
                    );
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let wait = |so: &dyn Fn() -> bool| {
            let start = Instant::now();
            while !so() && start.elapsed() < Duration::from_secs(60) {
                thread::sleep(Duration::from_millis(20));
            }
        };
        wait(&|| answers.load(Ordering::Relaxed) > 1_000);
        let first = questions(&mut root) - before;
        // A change of routines is known before the next statement runs.
        let mut client = login(&proxy);
        client.run(
            "create or replace function f1(x int) returns int deterministic return @left := x",
        );
        client.run("select f1(5)");
        assert_eq!(client.value("select @left").as_deref(), Some("5"));
        let changed = questions(&mut root) - before - first;
        thread::sleep(AGE);
        let aged = questions(&mut root) - before - first - changed;
        // A question and the rounds in which it is followed: two for a function that leaves
        // something behind.
        assert!((1..=2).contains(&first), "at first: {first}");
        assert!((1..=6).contains(&changed), "after a change: {changed}");
        assert!((1..=6).contains(&aged), "in {AGE:?}: {aged}");
    });
}
