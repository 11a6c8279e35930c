//! What a machine runs out of, or does not have yet: descriptors, room for the log, the servers.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Coregate, MariaDb, coregate::binary, guard, wait_until};
use std::net::TcpStream;
use std::process::Command;

/// Through a shell that sets limits or sends the log elsewhere first.
fn behind(shell: &str, name: &str, url: &str, more: &[&str]) -> Coregate {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{shell} exec \"$0\" \"$@\"")])
        .arg(binary());
    command.args([
        "serve",
        "--upstream",
        url,
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--cores",
        "1",
    ]);
    Coregate::run(name, command.args(more)).unwrap()
}

#[test]
fn without_descriptors_clients_wait_and_those_inside_go_on() {
    let server = MariaDb::start("descriptors", &[]);
    let proxy = behind("ulimit -n 80;", "descriptors-proxy", &server.url(), &[]);
    let mut inside = proxy.connect_as("sb", "sb", None);
    assert_eq!(inside.value("SELECT 1").as_deref(), Some("1"));
    let crowd: Vec<TcpStream> = (0..150)
        .map(|_| TcpStream::connect(proxy.mysql).unwrap())
        .collect();
    wait_until("there are no more", || proxy.process.descriptors() >= 78);
    for n in 0..50 {
        assert_eq!(inside.value(&format!("SELECT {n}")), Some(n.to_string()));
    }
    wait_until("it is told", || {
        proxy
            .process
            .stderr()
            .contains("cannot accept a connection")
    });
    drop(crowd);
    wait_until("there are some again", || {
        coregate_tests::Connection::try_login(proxy.mysql, "sb", "sb", None).is_ok()
    });
    assert_eq!(inside.value("SELECT 'still'").as_deref(), Some("still"));
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let server = MariaDb::start("full-log", &[]);
    let proxy =
        behind("exec 2>/dev/full;", "full-log-proxy", &server.url(), &["--max-connections", "2"]);
    let mut first = proxy.connect_as("sb", "sb", None);
    // Something to log: clients that are refused, a server that goes away.
    for _ in 0..5 {
        assert!(coregate_tests::Connection::try_login(proxy.mysql, "sb", "wrong", None).is_err());
    }
    assert_eq!(first.value("SELECT 1").as_deref(), Some("1"));
    let mut server = server;
    server.kill();
    wait_until("the server is missed", || first.query("SELECT 1").is_error());
    server.restart();
    wait_until("the server is back", || {
        let login = coregate_tests::Connection::try_login(proxy.mysql, "sb", "sb", None);
        let Ok(mut conn) = login else { return false };
        conn.try_query("SELECT 1")
            .is_ok_and(|answers| answers.iter().all(|a| !a.is_error()))
    });
}

#[test]
fn it_starts_before_its_servers_and_finds_them() {
    let mut server = MariaDb::start("early-server", &[]);
    server
        .connect()
        .run("CREATE TABLE test.t7 (id BIGINT PRIMARY KEY)");
    let port = server.port;
    server.kill();
    let dir = guard::dir().join("early-topology");
    std::fs::create_dir_all(dir.join("topology")).unwrap();
    let tables: Vec<String> = (0..1_000)
        .map(|n| format!(r#""t{n}": {{"column_vindexes": [{{"column": "id", "name": "hash"}}]}}"#))
        .collect();
    let keyspace = format!(
        r#"{{"name": "ks", "database": "test", "vschema": {{"sharded": true,
            "vindexes": {{"hash": {{"type": "hash"}}}},
            "tables": {{{}}}}}, "shards": [{{"name": "-", "tablets": [{{"alias": "z-1",
            "type": "primary",
            "host": "127.0.0.1", "port": {port}, "user": "sb", "password": "sb"}}]}}]}}"#,
        tables.join(",")
    );
    std::fs::write(dir.join("topology/ks.json"), keyspace).unwrap();
    let users = coregate_tests::world::users_file();
    let config =
        format!("[topology]\ndir = {dir:?}\n[users]\nfile = {users:?}\n[cores]\ncount = 1\n");
    let proxy = Coregate::configured("early", &config);
    let mut conn = proxy.connect_as("app", "app", Some("ks"));
    assert!(conn.query("SELECT id FROM t7 WHERE id = 1").is_error());
    server.restart();
    wait_until("the server is found", || !conn.query("SELECT id FROM t7 WHERE id = 1").is_error());
}
