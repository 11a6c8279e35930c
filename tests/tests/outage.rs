//! Servers that die, hang and come back; sessions that are killed, idle or too many; signals; the
//! PROXY protocol.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::Login;
use coregate_tests::{Connection, Coregate, MariaDb, guard, wait_until, world};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Keyspace ids by the hash vindex: 1, 2, 3 and 5 lie on -80; 4 and 6 on 80-.
const LEFT: i64 = 1;
const RIGHT: i64 = 4;

/// A cluster of its own: one keyspace of two shards with one table.
fn cluster(name: &str, more: &[&str]) -> (Coregate, PathBuf) {
    let schema = guard::dir().join(format!("{name}-schema"));
    std::fs::create_dir_all(&schema).unwrap();
    std::fs::write(
        schema.join("ks.sql"),
        "create table t (id bigint primary key, v varchar(100));",
    )
    .unwrap();
    std::fs::write(
        schema.join("ks.json"),
        r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
            "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#,
    )
    .unwrap();
    let schema = schema.to_str().unwrap();
    let mut args = vec!["--keyspace", "ks:2", "--schema", schema, "--vschema", schema];
    args.extend_from_slice(more);
    let dir = guard::dir().join(name);
    (Coregate::local_in(name, &dir, &args), dir)
}

/// The process of the server whose shard has this row.
fn server_of(dir: &Path, proxy: &Coregate, id: i64) -> Pid {
    let mut conn = connect(proxy);
    let data = conn
        .value(&format!("select @@datadir from t where id = {id}"))
        .expect("a directory");
    let tablets = dir.join("tablets");
    for entry in std::fs::read_dir(tablets).unwrap() {
        let tablet = entry.unwrap().path();
        if data.contains(&format!("/{}/", tablet.file_name().unwrap().to_str().unwrap())) {
            let pid = std::fs::read_to_string(tablet.join("pid")).unwrap();
            return Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        }
    }
    panic!("whose directory is {data}?");
}

fn connect(proxy: &Coregate) -> Connection {
    proxy.connect_as(world::USER, world::PASSWORD, Some("ks"))
}

fn by_id(id: i64) -> String {
    format!("select v from t where id = {id}")
}

fn fill(proxy: &Coregate) {
    connect(proxy)
        .run("insert into t (id, v) values (1,'a'),(2,'b'),(3,'c'),(4,'d'),(5,'e'),(6,'f')");
}

#[test]
fn a_shard_that_dies_takes_no_other_with_it() {
    let (proxy, dir) = cluster("dies", &["--cores", "2"]);
    fill(&proxy);
    let right = server_of(&dir, &proxy, RIGHT);
    let mut waiting = connect(&proxy);
    waiting
        .send_command(3, format!("select sleep(1000) from t where id = {RIGHT}").as_bytes())
        .unwrap();
    let mut shard = proxy.connect_as(world::USER, world::PASSWORD, Some("ks:80-"));
    let running =
        "select count(*) from information_schema.processlist where info like 'select sleep(1000)%'";
    wait_until("it runs", || shard.value(running).as_deref() == Some("1"));
    let mut old = connect(&proxy);
    assert_eq!(old.value(&by_id(RIGHT)), Some("d".into()));
    kill_process(right, Signal::KILL).unwrap();
    // Who was waiting is told; the session lives or is closed, but it is not left waiting.
    if let Ok(answer) = waiting.answer(false) {
        assert_eq!(answer.error().code, 1158, "{answer:?}");
    }
    for _ in 0..20 {
        let error = old.query(&by_id(RIGHT));
        assert!(matches!(error.error().code, 1429 | 1158 | 1040 | 1105), "{error:?}");
        assert!(!error.error().message.is_empty());
        assert_eq!(
            old.value(&by_id(LEFT)),
            Some("a".into()),
            "the other shard, in the same session"
        );
        assert_eq!(connect(&proxy).value(&by_id(LEFT)), Some("a".into()), "and in new ones");
    }
    assert!(connect(&proxy).query("select v from t").is_error(), "half a result is no result");
}

#[test]
fn a_shard_that_hangs_takes_no_other_with_it_and_goes_on() {
    let (proxy, dir) = cluster("hangs", &[]);
    fill(&proxy);
    let right = server_of(&dir, &proxy, RIGHT);
    kill_process(right, Signal::STOP).unwrap();
    let mut waiting: Vec<Connection> = (0..20).map(|_| connect(&proxy)).collect();
    for conn in &mut waiting {
        conn.send_command(3, by_id(RIGHT).as_bytes()).unwrap();
    }
    for _ in 0..20 {
        assert_eq!(connect(&proxy).value(&by_id(LEFT)), Some("a".into()));
    }
    kill_process(right, Signal::CONT).unwrap();
    for conn in &mut waiting {
        assert_eq!(conn.answer(false).unwrap().value(), Some("d".into()));
    }
}

#[test]
fn a_server_that_comes_back_is_used_again() {
    let mut server = MariaDb::start("restarts", &[]);
    server.connect().run("create table t (id int primary key)");
    let proxy = Coregate::drop_in("restarts-proxy", &server, &["--cores", "2"]);
    let client = || proxy.connect_as("sb", "sb", Some("test"));
    let mut old = client();
    let mut in_transaction = client();
    in_transaction.run("begin");
    in_transaction.run("insert into t values (1)");
    old.run("select 1");
    server.kill();
    for _ in 0..5 {
        assert!(old.query("select * from t").is_error());
    }
    server.restart();
    // What was in the transaction is lost, and its session must hear of it before anything else is
    // done in its name.
    if let Ok(answers) = in_transaction.try_query("insert into t values (2)") {
        assert!(answers[0].is_error(), "{answers:?}");
    }
    wait_until("the server is used again", || !old.query("select * from t").is_error());
    assert_eq!(client().run("select * from t").rows(), Vec::<Vec<Option<String>>>::new());
    let mut again = client();
    again.run("insert into t values (3)");
    assert_eq!(client().value("select id from t"), Some("3".into()));
}

struct Shared {
    server: MariaDb,
    proxy: Coregate,
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let (server, proxy) = world::drop_in(&["--cores", "2"]);
    Shared { server, proxy }
});

fn client() -> Connection {
    SHARED
        .proxy
        .connect_as(world::USER, world::PASSWORD, Some("test"))
}

#[test]
fn kill_query_ends_the_statement_only() {
    for _ in 0..4 {
        let mut victim = client();
        let id = victim.value("select connection_id()").unwrap();
        assert_eq!(id, victim.id.to_string(), "the greeting's id is the session's");
        victim
            .send_command(3, b"select sleep(1000), 'to be killed'")
            .unwrap();
        let mut direct = SHARED.server.connect();
        let running = "select count(*) from information_schema.processlist where info like 'select \
            sleep(1000), \\'to be%'";
        wait_until("it runs", || direct.value(running).as_deref() == Some("1"));
        client().run(&format!("kill query {id}"));
        // A sleep that is killed answers 1; other statements give 1317.
        let answer = victim.answer(false).expect("an answer");
        if answer.is_error() {
            assert_eq!(answer.error().code, 1317, "{answer:?}");
        } else {
            assert_eq!(answer.rows()[0][0], Some("1".into()));
        }
        assert_eq!(victim.value("select 1"), Some("1".into()));
        wait_until("it has ended on the server", || direct.value(running).as_deref() == Some("0"));
    }
}

#[test]
fn kill_ends_the_connection() {
    for busy in [false, true] {
        let mut victim = client();
        if busy {
            victim
                .send_command(3, b"select sleep(1000), 'to be cut'")
                .unwrap();
            let mut direct = SHARED.server.connect();
            let running = "select count(*) from information_schema.processlist where info like \
                '%to be cut%' and info like 'select sleep%'";
            wait_until("it runs", || direct.value(running).as_deref() == Some("1"));
        }
        client().run(&format!("kill {}", victim.id));
        assert!(victim.is_closed(), "busy: {busy}");
    }
    assert_eq!(client().value("select 1"), Some("1".into()));
}

#[test]
fn too_many_connections() {
    let server = MariaDb::start("few", &[]);
    let proxy =
        Coregate::drop_in("few-proxy", &server, &["--max-connections", "5", "--cores", "2"]);
    let client = || Connection::try_login(proxy.mysql, "sb", "sb", None);
    let mut all: Vec<Connection> = (0..5).map(|_| client().expect("one of five")).collect();
    for _ in 0..3 {
        assert_eq!(client().expect_err("the sixth").code, 1040);
    }
    assert_eq!(all[0].value("select 1"), Some("1".into()));
    all.pop();
    wait_until("the place of the one that left is free", || client().is_ok());
}

/// A server that has no more connections to give is waited for, as a pool that is full.
#[test]
fn statements_wait_for_a_server_without_connections() {
    let server = MariaDb::start("full", &["--max-connections=8"]);
    for cores in ["1", "2"] {
        let proxy = Coregate::drop_in(&format!("full-proxy-{cores}"), &server, &["--cores", cores]);
        let mut clients = Vec::new();
        for n in 0..25 {
            let mut conn = Connection::login(proxy.mysql, "sb", "sb", None);
            clients.push(std::thread::spawn(move || {
                for _ in 0..4 {
                    let value = conn.value(&format!("select sleep(0.02) + {n}"));
                    assert_eq!(value, Some(n.to_string()));
                }
            }));
        }
        for client in clients {
            client.join().unwrap();
        }
        wait_until("it is said that the server was full", || {
            proxy.metric("coregate_backend_connect_errors_total") > 0.0
        });
    }
}

/// What rests on pooled connections makes room for statements that are needed.
#[test]
fn statements_are_prepared_on_a_server_that_allows_few() {
    let server = MariaDb::start("frugal", &["--max-prepared-stmt-count=20"]);
    for cores in ["1", "2"] {
        let proxy =
            Coregate::drop_in(&format!("frugal-proxy-{cores}"), &server, &["--cores", cores]);
        let login = || Connection::login(proxy.mysql, "sb", "sb", None);
        for round in 0..3 {
            let mut conns: Vec<Connection> = (0..4).map(|_| login()).collect();
            for n in 0..30 {
                for conn in &mut conns {
                    let statement = conn.prepare(&format!("select {round} + {n}")).unwrap();
                    assert!(!conn.execute(&statement, &[]).is_error());
                    conn.close_statement(&statement);
                }
            }
        }
        let mut conn = login();
        conn.run("set @sql = 'select 5'");
        conn.run("prepare p from @sql");
        assert_eq!(conn.value("execute p"), Some("5".into()));
    }
}

/// Another process before the same servers, for what only a configuration file says.
fn configured(name: &str, config: &str) -> (Coregate, Coregate) {
    let (cluster, dir) = cluster(&format!("{name}-cluster"), &["--cores", "1"]);
    fill(&cluster);
    // The cluster holds its own directory; what it has written of the topology is enough for
    // another.
    let topology = guard::dir().join(format!("{name}-topology"));
    std::fs::create_dir_all(topology.join("topology")).unwrap();
    std::fs::copy(dir.join("topology/ks.json"), topology.join("topology/ks.json")).unwrap();
    let users = world::users_file();
    let text = format!(
        "[topology]\ndir = {:?}\n[users]\nfile = {:?}\n[server]\ncores = 1\n{config}\n",
        topology.to_str().unwrap(),
        users.to_str().unwrap()
    );
    let proxy = Coregate::configured(name, &text);
    (cluster, proxy)
}

#[test]
fn idle_clients_and_slow_logins_are_closed() {
    let (_cluster, proxy) = configured("idle", "idle_timeout_s = 1\nhandshake_timeout_ms = 500");
    let mut conn = connect(&proxy);
    assert_eq!(conn.value(&by_id(RIGHT)), Some("d".into()));
    let mut silent = Connection::greeted(TcpStream::connect(proxy.mysql).unwrap()).unwrap();
    silent.packet().expect("a greeting");
    assert!(silent.is_closed(), "it did not log in");
    assert!(conn.is_closed(), "it was idle");
    // Who works is not idle, however long it takes.
    let mut busy = connect(&proxy);
    busy.run("select sleep(3)");
    assert_eq!(busy.value("select 1"), Some("1".into()));
}

#[test]
fn transactions_that_are_left_open_are_rolled_back() {
    let limits = "idle_transaction_timeout_ms = 700\ntransaction_timeout_ms = 2500";
    let (_cluster, proxy) = configured("left-open", limits);
    let write = format!("update t set v = v where id = {RIGHT}");
    let closed_with = |conn: &mut Connection| {
        conn.expect_sequence(0);
        let told = conn.answer(false).expect("a farewell");
        assert_eq!(told.error().code, 4031, "{told:?}");
        assert!(conn.is_closed());
        told.error().message.clone()
    };
    let mut idle = connect(&proxy);
    idle.run("begin");
    idle.run(&write);
    assert!(closed_with(&mut idle).contains("idle_transaction_timeout_ms"));
    // Nobody holds the row any more; who has no transaction may rest, and who works in one is not
    // idle.
    let mut other = connect(&proxy);
    other.run("begin");
    other.run(&write);
    other.run("commit");
    let mut busy = connect(&proxy);
    busy.run("begin");
    busy.run(&write);
    busy.run("select sleep(1.2)");
    for _ in 0..2 {
        busy.run("commit and chain");
        busy.run("select sleep(1.2)");
    }
    busy.run("select sleep(1.2)");
    busy.send_command(3, b"select sleep(1)").unwrap();
    assert!(!busy.answer(false).unwrap().is_error(), "a statement is not cut short");
    assert!(closed_with(&mut busy).contains("server.transaction_timeout_ms"));
    assert_eq!(other.value("select 1"), Some("1".into()));
    assert_eq!(proxy.metric("coregate_transaction_timeouts_total"), 2.0);
}

#[test]
fn the_proxy_protocol_tells_the_clients_address() {
    let (_cluster, proxy) = configured("behind", "proxy_protocol = true");
    let login = Login {
        user: world::USER,
        password: world::PASSWORD,
        database: Some("ks"),
        capabilities: 0,
    };
    let v1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 3306\r\n".to_vec();
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend_from_slice(&[192, 0, 2, 7, 192, 0, 2, 1, 0, 1, 0, 2]);
    for (header, cut) in [(&v1, 0), (&v1, 9), (&v2, 0), (&v2, 13)] {
        let mut socket = TcpStream::connect(proxy.mysql).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.write_all(&header[..cut]).unwrap();
        socket.write_all(&header[cut..]).unwrap();
        let mut conn = Connection::over(socket, &login).expect("a login");
        assert_eq!(conn.value("select user()"), Some("app@192.0.2.7".into()));
        assert_eq!(conn.value(&by_id(RIGHT)), Some("d".into()));
    }
    // `root` may come from this machine only: the header says where it comes from.
    let mut socket = TcpStream::connect(proxy.mysql).unwrap();
    socket.write_all(&v1).unwrap();
    let root = Login { user: "root", ..Login::default() };
    assert_eq!(
        Connection::over(socket, &root)
            .expect_err("from elsewhere")
            .code,
        1045
    );
    // Without a header nobody gets in.
    let mut socket = TcpStream::connect(proxy.mysql).unwrap();
    socket.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert!(Connection::greeted(socket).unwrap().is_closed());
}

#[test]
fn sigterm_lets_transactions_finish() {
    let server = MariaDb::start("drains", &[]);
    server.connect().run("create table t (id int primary key)");
    let mut proxy = Coregate::drop_in("drains-proxy", &server, &["--cores", "2"]);
    let client = || proxy.connect_as("sb", "sb", Some("test"));
    let (mut resting, mut writing, mut reading) = (client(), client(), client());
    writing.run("begin");
    writing.run("insert into t values (1)");
    reading
        .send_command(3, b"select sleep(2), 'the answer'")
        .unwrap();
    let mut direct = server.connect();
    let running =
        "select count(*) from information_schema.processlist where info like 'select sleep(2)%'";
    wait_until("it runs", || direct.value(running).as_deref() == Some("1"));
    proxy.process.signal(Signal::TERM);
    assert!(resting.is_closed(), "who does nothing is disconnected");
    let address = proxy.mysql;
    wait_until("no new clients", || Connection::try_login(address, "sb", "sb", None).is_err());
    assert_eq!(reading.answer(false).expect("its answer").rows()[0][1], Some("the answer".into()));
    writing.run("insert into t values (2)");
    writing.run("commit");
    assert!(writing.is_closed());
    let status = proxy
        .process
        .wait(coregate_tests::PATIENCE)
        .expect("an end");
    assert_eq!(status.code(), Some(0));
    assert_eq!(direct.value("select count(*) from t"), Some("2".into()));
}

#[test]
fn a_cluster_that_was_killed_starts_again_and_keeps_its_rows() {
    let (mut proxy, dir) = cluster("killed", &[]);
    fill(&proxy);
    proxy.process.kill();
    drop(proxy);
    let again = Coregate::local_in("killed-again", &dir, &[]);
    assert_eq!(connect(&again).value(&by_id(RIGHT)), Some("d".into()));
    let mut again = again;
    assert_eq!(again.process.terminate().code(), Some(0));
    let needle = format!("--datadir={}", dir.display());
    let left = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&line)
            .contains(&needle)
            .then_some(())
    });
    assert_eq!(left.count(), 0, "servers of the cluster are still running");
}
