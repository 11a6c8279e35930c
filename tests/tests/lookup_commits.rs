//! COMMIT of rows and of their entries in lookup tables on another server, under `MULTI`, and what
//! clients are told of answers that are lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::tap::{Side, Taps};
use coregate_tests::{Connection, Coregate, MariaDb, guard, world};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// The taps by what is behind them.
const ENTRIES: usize = 0;
const ROWS: usize = 1;

struct Cluster {
    servers: [MariaDb; 2],
    taps: Arc<Taps>,
    proxy: Coregate,
}

fn keyspace(name: &str, port: u16, vschema: &str) -> String {
    format!(
        r#"{{"name": "{name}", "database": "test", "shards": [{{"name": "0", "tablets": [{{
            "alias": "z-{name}", "type": "primary", "host": "127.0.0.1", "port": {port},
            "user": "sb", "password": "sb"}}]}}], "vschema": {vschema}}}"#
    )
}

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let servers = ["entries", "rows"].map(|name| MariaDb::start(name, &[]));
    servers[ENTRIES]
        .connect()
        .run("create table email_idx (email varchar(40) primary key, keyspace_id varbinary(20))");
    servers[ROWS]
        .connect()
        .run("create table users (id bigint primary key, email varchar(40))");
    let taps: Arc<Taps> = Arc::default();
    let dir = guard::dir().join("lookup-commits");
    std::fs::create_dir_all(dir.join("topology")).unwrap();
    let vschemas = [
        ("look", r#"{"tables": {"email_idx": {}}}"#),
        (
            "ks",
            r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"},
                "email": {"type": "consistent_lookup_unique", "owner": "users", "params": {
                    "table": "look.email_idx", "from": "email", "to": "keyspace_id"}}},
                "tables": {"users": {"column_vindexes": [{"column": "id", "name": "hash"},
                    {"column": "email", "name": "email"}]}}}"#,
        ),
    ];
    for (number, (name, vschema)) in vschemas.iter().enumerate() {
        let server = SocketAddr::from(([127, 0, 0, 1], servers[number].port));
        let text = keyspace(name, taps.before(number, server), vschema);
        std::fs::write(dir.join(format!("topology/{name}.json")), text).unwrap();
    }
    let config = format!(
        "[topology]\ndir = {:?}\n[users]\nfile = {:?}\n[server]\ncores = 1\n",
        dir.to_str().unwrap(),
        world::users_file().to_str().unwrap()
    );
    let proxy = Coregate::configured("lookup-commits", &config);
    Cluster { servers, taps, proxy }
});

/// The tests share the taps.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    fn connect(&self, keyspace: &str) -> Connection {
        self.proxy
            .connect_as(world::USER, world::PASSWORD, Some(keyspace))
    }

    fn count(&self, server: usize, table: &str) -> String {
        let sql = format!("select count(*) from {table}");
        self.servers[server].connect().value(&sql).unwrap()
    }

    /// Runs the last statement of a session, whose step is held and then cut off: the tap that held
    /// it, and the error's text.
    fn cut(&self, mut conn: Connection, sql: &'static str, held: (&str, Side)) -> (usize, String) {
        self.taps.want(held.0, held.1);
        let client = std::thread::spawn(move || conn.query(sql).error().message.clone());
        let tap = self.taps.wait_held();
        self.taps.drop_held();
        (tap, client.join().unwrap())
    }
}

/// Whatever is lost, no row that is there is without its entry.
#[test]
fn entries_are_committed_before_their_rows_and_removed_behind_them() {
    let _turn = alone();
    let mut conn = CLUSTER.connect("ks");
    conn.run("begin");
    // The order of use is no order of COMMIT.
    for id in [4, 1] {
        conn.run(&format!("insert into users values ({id}, 'a{id}@x')"));
    }
    conn.run("update users set id = id where id = 4");
    let (tap, _) = CLUSTER.cut(conn, "commit", ("COMMIT AND", Side::Before));
    assert_eq!(tap, ENTRIES);
    assert_eq!(CLUSTER.count(ROWS, "users"), "0");
    let mut conn = CLUSTER.connect("ks");
    conn.run("insert into users values (7, 'seven@x')");
    conn.run("begin");
    conn.run("delete from users where id = 7");
    let (tap, _) = CLUSTER.cut(conn, "commit", ("COMMIT AND", Side::Before));
    assert_eq!(tap, ROWS);
    let mut conn = CLUSTER.connect("ks");
    assert_eq!(
        conn.value("select id from users where email = 'seven@x'")
            .as_deref(),
        Some("7")
    );
    conn.run("delete from users where id = 7");
    assert_eq!(CLUSTER.count(ENTRIES, "email_idx"), "0");
}

#[test]
fn a_clients_xa_statement_whose_answer_is_lost_is_unknown() {
    let _turn = alone();
    for (end, step) in [("xa prepare 'p1'", "xa prepare"), ("xa commit 'p2' one phase", "one ph")] {
        let mut conn = CLUSTER.connect("look");
        let name = end.split('\'').nth(1).unwrap();
        conn.run(&format!("xa start '{name}'"));
        conn.run(&format!("insert into email_idx values ('{name}', 'z')"));
        conn.run(&format!("xa end '{name}'"));
        let (_, told) = CLUSTER.cut(conn, end, (step, Side::After));
        assert!(told.contains("unknown") && !told.contains("rolled back"), "{told}");
    }
    let mut conn = CLUSTER.connect("look");
    assert_eq!(conn.query("xa recover").rows().len(), 1);
    conn.run("xa rollback 'p1'");
    assert_eq!(conn.value("select email from email_idx").as_deref(), Some("p2"));
    conn.run("delete from email_idx");
}

/// What comes behind an answer nobody has asked for: clients know that by its number.
#[test]
fn a_server_that_is_lost_behind_an_answer_is_told_of_unasked() {
    let _turn = alone();
    let mut conn = CLUSTER.connect("ks");
    conn.run("begin");
    CLUSTER.taps.want("RELEASE SAVEPOINT", Side::Before);
    conn.run("insert into users values (9, 'nine@x')");
    CLUSTER.taps.wait_held();
    CLUSTER.taps.drop_held();
    conn.expect_sequence(0);
    let told = conn.answer(false).unwrap();
    assert!(told.error().message.contains("rolled back on every shard"), "{told:?}");
    assert_eq!(CLUSTER.count(ROWS, "users"), "0");
}
