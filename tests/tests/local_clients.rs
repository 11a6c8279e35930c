//! Clients of the same machine: Unix-domain sockets on both sides, and how clients are spread over
//! cores.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Connection, Coregate, MariaDb, guard, wait_until};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder};
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

async fn connect(socket: &Path, user: &str, password: &str) -> Result<Conn, Error> {
    let opts = OptsBuilder::default()
        .socket(Some(socket.display().to_string()))
        .prefer_socket(true)
        .user(Some(user))
        .pass(Some(password));
    Conn::new(opts).await
}

#[test]
fn a_socket_serves_and_is_taken_away_at_the_end() {
    let server = MariaDb::start("unix", &[]);
    let path = guard::dir().join("clients.sock");
    let socket = path.to_str().unwrap();
    let users = guard::dir().join("unix-users.json");
    std::fs::write(&users, r#"{"sb": [{"Password": "here", "SourceHost": "localhost"}]}"#).unwrap();
    let config = guard::dir().join("unix.toml");
    std::fs::write(&config, "[server]\nsocket_mode = \"0600\"\n[cores]\ncount = 2\n").unwrap();
    let args = [
        "--socket",
        socket,
        "--users",
        users.to_str().unwrap(),
        "--config",
        config.to_str().unwrap(),
    ];
    let mut proxy = Coregate::drop_in("unix-proxy", &server, &args);
    let out = std::fs::read_to_string(&proxy.process.out).unwrap();
    assert!(out.contains(&format!(" socket={socket}")), "{out}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    on_runtime(async {
        let mut conn = connect(&path, "sb", "here").await.unwrap();
        let row: Option<(i64, String)> = conn
            .query_first("SELECT 1, REPEAT('x', 100000)")
            .await
            .unwrap();
        assert!(row.is_some_and(|(one, text)| one == 1 && text.len() == 100_000));
        let prepared: Option<i64> = conn.exec_first("SELECT ? + 1", (41,)).await.unwrap();
        assert_eq!(prepared, Some(42));
        // As MySQL calls it.
        let hosts: Vec<String> = conn
            .query_map("SHOW PROCESSLIST", |row: mysql_async::Row| row.get("Host").unwrap())
            .await
            .unwrap();
        assert!(hosts.iter().any(|host| host.starts_with("localhost")), "{hosts:?}");
        conn.change_user(Default::default()).await.ok();
        assert!(connect(&path, "sb", "wrong").await.is_err());
    });
    // A second process is told, and what it leaves works on.
    let second = Coregate::try_start(
        "unix-second",
        [
            "serve",
            "--upstream",
            &server.url(),
            "--socket",
            socket,
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ],
    );
    let error = second.map(drop).unwrap_err();
    assert!(error.contains("another process listens on it"), "{error}");
    on_runtime(async { connect(&path, "sb", "here").await.unwrap() });
    // After a kill the file stays, and the next start replaces it.
    proxy.process.kill();
    assert!(path.exists());
    let mut proxy = Coregate::drop_in("unix-again", &server, &args);
    on_runtime(async { connect(&path, "sb", "here").await.unwrap() });
    assert!(proxy.process.terminate().success());
    assert!(!path.exists());
}

#[test]
fn a_name_in_the_abstract_namespace() {
    let server = MariaDb::start("abstract", &[]);
    let name = format!("coregate-{}", std::process::id());
    let _proxy = Coregate::drop_in("abstract-proxy", &server, &["--socket", &format!("@{name}")]);
    let mut client =
        UnixStream::connect_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let mut head = [0; 5];
    client.read_exact(&mut head).unwrap();
    assert_eq!(head[4], 10, "the greeting's version");
}

#[test]
fn the_upstream_can_be_a_socket() {
    let server = MariaDb::start("unix-upstream", &[]);
    let url = format!("mysql://sb:sb@localhost/?socket={}", server.socket().display());
    let args = ["serve", "--upstream", &url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let proxy = Coregate::start("unix-upstream-proxy", args);
    let mut conn = proxy.connect_as("sb", "sb", None);
    assert_eq!(conn.value("SELECT 1").as_deref(), Some("1"));
    // Without a port: not over TCP.
    let mut own = server.connect();
    let local = own.value(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'sb' AND HOST = \
            'localhost'",
    );
    assert_ne!(local.as_deref(), Some("0"));
}

/// Sessions of each core.
fn sessions(proxy: &Coregate) -> Vec<u64> {
    let text = proxy.admin("/metrics");
    let mut found: Vec<(String, u64)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("coregate_sessions{")?.split_once("} "))
        .map(|(core, count)| (core.to_owned(), count.parse::<f64>().unwrap() as u64))
        .collect();
    found.sort();
    found.into_iter().map(|(_, count)| count).collect()
}

#[test]
fn clients_are_spread_evenly_over_cores() {
    let server = MariaDb::start("spread", &["--max-connections=400"]);
    let path = guard::dir().join("spread.sock");
    let args = ["--cores", "2", "--socket", path.to_str().unwrap()];
    let proxy = Coregate::drop_in("spread-proxy", &server, &args);
    let mut held: Vec<Connection> = Vec::new();
    for (clients, most) in [(8, 4), (64, 34), (256, 136)] {
        while held.len() < clients {
            held.push(proxy.connect_as("sb", "sb", None));
        }
        wait_until("all sessions are counted", || {
            sessions(&proxy).iter().sum::<u64>() == clients as u64
        });
        let each = sessions(&proxy);
        assert!(each.len() == 2 && each.iter().all(|n| *n <= most), "{clients} clients: {each:?}");
    }
    // Who comes after others have gone fills the gaps.
    held.clear();
    wait_until("all are gone", || sessions(&proxy).iter().sum::<u64>() == 0);
    // One core accepts all that come through the socket.
    on_runtime(async {
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(connect(&path, "sb", "sb").await.unwrap());
        }
        assert_eq!(sessions(&proxy), [4, 4]);
    });
}

/// A core has connections to a server of its own: one that gets more clients than the other would
/// let them wait while the other's rest.
#[test]
fn no_core_starves_while_another_has_connections_left() {
    let server = MariaDb::start("starve", &[]);
    let config = guard::dir().join("starve.toml");
    std::fs::write(
        &config,
        "[cores]\ncount = 2\n[pool]\nsize_per_core = 4\nwait_timeout_ms = 200\n",
    )
    .unwrap();
    let proxy = Coregate::drop_in("starve-proxy", &server, &["--config", config.to_str().unwrap()]);
    let mut held = Vec::new();
    for n in 0..8 {
        let mut conn = proxy.connect_as("sb", "sb", None);
        conn.run("BEGIN");
        assert_eq!(conn.value(&format!("SELECT {n}")), Some(n.to_string()));
        held.push(conn);
    }
    assert_eq!(proxy.metric("coregate_pool_wait_timeouts_total"), 0.0);
}
