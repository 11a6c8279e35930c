//! Who gets in, from where, with which rights; and who takes too long about it.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::Login;
use coregate_tests::{Connection, Coregate, MariaDb, guard, wait_until};
use std::io::{Read, Write};
use std::net::TcpStream;

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 3306\r\n";

/// A drop-in behind a balancer, with these users.
fn behind(name: &str, server: &MariaDb, users: &str) -> Coregate {
    let file = |kind: &str, text: &str| {
        let path = guard::dir().join(format!("{name}.{kind}"));
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let users = file("users.json", users);
    let config =
        file("toml", "[server]\nproxy_protocol = true\nhandshake_timeout_ms = 700\ncores = 1\n");
    Coregate::drop_in(name, server, &["--config", &config, "--users", &users])
}

fn login(proxy: &Coregate, header: &[u8], user: &str, password: &str) -> Result<Connection, u16> {
    let mut socket = TcpStream::connect(proxy.mysql).unwrap();
    socket.write_all(header).unwrap();
    let login = Login { user, password, ..Login::default() };
    Connection::over(socket, &login).map_err(|e| e.code)
}

#[test]
fn an_entry_counts_only_where_it_fits() {
    let server = MariaDb::start("entries", &[]);
    // One password, twice: with the admin right from this machine only.
    let users = r#"{"both": [
        {"Password": "same", "SourceHost": "localhost", "Groups": ["admin"]},
        {"Password": "same"}, {"Password": "other"}],
      "root": [{"Password": "", "SourceHost": "localhost"}]}"#;
    let proxy = behind("entries-proxy", &server, users);
    let local = b"PROXY TCP4 127.0.0.1 127.0.0.1 5000 3306\r\n";
    let admin = |header: &[u8], password: &str| {
        let mut conn = login(&proxy, header, "both", password).unwrap();
        conn.query("alter vschema on x.t drop vindex h")
            .error()
            .code
            != 1227
    };
    assert!(admin(local, "same") && !admin(local, "other"), "another entry has the right");
    assert!(!admin(V1, "same") && !admin(V1, "other"), "the entry with the right is not for there");
    // Without an address, the connection's own counts: here it is this machine's.
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let mut conn = login(&proxy, header, "root", "").unwrap();
        assert_eq!(conn.value("select user()"), Some("root@127.0.0.1".into()));
    }
    assert_eq!(login(&proxy, V1, "root", "").err(), Some(1045));
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for() {
    let server = MariaDb::start("headers", &[]);
    let mut proxy = behind("headers-proxy", &server, r#"{"u": {"Password": "p"}}"#);
    let before = proxy.process.descriptors();
    let mut waiting: Vec<TcpStream> = (0..50)
        .map(|n| {
            let mut socket = TcpStream::connect(proxy.mysql).unwrap();
            socket.write_all(&V1[..n % V1.len()]).unwrap();
            socket
        })
        .collect();
    for socket in &mut waiting {
        assert_eq!(socket.read(&mut [0; 100]).unwrap_or(0), 0, "closed without a word");
    }
    wait_until("their descriptors are free", || proxy.process.descriptors() <= before + 2);
    let _slow = TcpStream::connect(proxy.mysql).unwrap();
    assert_eq!(proxy.process.terminate().code(), Some(0));
}

#[test]
fn half_requests_do_not_use_up_the_admin_port() {
    let server = MariaDb::start("half", &[]);
    let proxy = Coregate::drop_in("half-proxy", &server, &["--cores", "1"]);
    let (descriptors, memory) = (proxy.process.descriptors(), proxy.process.rss_kib());
    let mut half = Vec::new();
    for n in 0..2_000 {
        let mut socket = TcpStream::connect(proxy.admin).unwrap();
        let _ = socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Long: ");
        half.push(socket);
        if n % 500 == 499 {
            assert_eq!(proxy.admin("/healthz"), "ok\n", "others are still answered");
        }
    }
    assert_eq!(proxy.admin("/healthz"), "ok\n");
    let now = proxy.process.descriptors();
    assert!(now < descriptors + 400, "{descriptors} descriptors before, {now} now");
    let now = proxy.process.rss_kib();
    assert!(now < memory + 64 * 1024, "{memory} KiB before, {now} now");
    // The last ones are closed too, when their header does not come.
    let mut answer = Vec::new();
    let _ = half.last_mut().unwrap().read_to_end(&mut answer);
}

#[test]
fn pages_of_other_sites_are_not_answered() {
    let server = MariaDb::start("rebound", &[]);
    let proxy = Coregate::drop_in("rebound-proxy", &server, &["--cores", "1"]);
    let get = |host: &str| {
        let mut socket = TcpStream::connect(proxy.admin).unwrap();
        write!(socket, "GET /queryz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(
        [get("localhost:3380"), get("127.0.0.1:3380"), get("evil.example:3380")],
        ["200", "200", "403"]
    );
}

#[test]
fn a_restart_takes_its_address_over() {
    let server = MariaDb::start("again", &[]);
    let mut proxy = Coregate::drop_in("again-proxy", &server, &["--cores", "1"]);
    let (mysql, admin) = (proxy.mysql.to_string(), proxy.admin.to_string());
    let url = server.url();
    let args = ["serve", "--upstream", &url, "--listen", &mysql, "--admin", &admin, "--cores", "1"];
    for n in 0..5 {
        let mut conn = proxy.connect_as("sb", "sb", None);
        conn.run("select 1");
        if n % 2 == 0 {
            proxy.process.kill();
        } else {
            proxy.process.terminate();
        }
        proxy = Coregate::start("again-proxy", args);
    }
    // One that listens is in nobody's way.
    let taken = Coregate::try_start("taken-proxy", args).unwrap_err();
    assert!(taken.contains("in use") && taken.contains("exit status: 1"), "{taken}");
    assert_eq!(proxy.connect_as("sb", "sb", None).value("select 1"), Some("1".into()));
}
