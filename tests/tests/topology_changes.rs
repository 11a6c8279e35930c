//! Keyspaces that come and go under open transactions, waiting statements and cursors: each goes on
//! where it began.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Connection, Coregate, MariaDb, guard, wait_until, world};
use rustix::process::Signal;
use std::path::PathBuf;

struct World {
    server: MariaDb,
    proxy: Coregate,
    dir: PathBuf,
}

impl World {
    /// Keyspaces `main` and `shop`, databases of one server.
    fn new(name: &str, config: &str) -> Self {
        let server = MariaDb::start(name, &[]);
        let mut direct = server.connect();
        for database in ["aaa", "main", "shop"] {
            direct.run(&format!("create database {database}"));
            direct.run(&format!(
                "create table {database}.note (id bigint primary key, v varchar(100))"
            ));
        }
        let dir = guard::dir().join(format!("{name}-topo"));
        std::fs::create_dir_all(dir.join("topology")).unwrap();
        let text = format!(
            "[topology]\ndir = {dir:?}\n[users]\nfile = {:?}\n[server]\ncores = 1\n{config}",
            world::users_file()
        );
        Self::write(&dir, "main", server.port);
        Self::write(&dir, "shop", server.port);
        Self { proxy: Coregate::configured(name, &text), server, dir }
    }

    fn write(dir: &std::path::Path, keyspace: &str, port: u16) {
        let text = format!(
            r#"{{"name": "{keyspace}", "shards": [{{"name": "0",
                "tablets": [{{"alias": "zone1-{keyspace}", "type": "primary",
               "host": "127.0.0.1", "port": {port}, "user": "sb", "password": "sb"}}]}}]}}"#
        );
        std::fs::write(dir.join(format!("topology/{keyspace}.json")), text).unwrap();
    }

    fn connect(&self, database: &str) -> Connection {
        self.proxy
            .connect_as(world::USER, world::PASSWORD, Some(database))
    }

    fn add(&self, keyspace: &str) {
        Self::write(&self.dir, keyspace, self.server.port);
        self.reload(|names| names.iter().any(|n| n == keyspace));
    }

    fn remove(&self, keyspace: &str) {
        std::fs::remove_file(self.dir.join(format!("topology/{keyspace}.json"))).unwrap();
        self.reload(|names| names.iter().all(|n| n != keyspace));
    }

    fn reload(&self, so: impl Fn(&[String]) -> bool) {
        self.proxy.process.signal(Signal::HUP);
        let mut conn = self.connect("shop");
        wait_until("the new topology is in use", || {
            let names: Vec<String> = conn
                .query("show keyspaces")
                .rows()
                .into_iter()
                .filter_map(|mut row| row.swap_remove(0))
                .collect();
            so(&names)
        });
    }

    fn count(&self, database: &str) -> String {
        self.server
            .connect()
            .value(&format!("select count(*) from {database}.note"))
            .unwrap()
    }
}

#[test]
fn a_transaction_stays_in_its_keyspaces() {
    let world = World::new("transaction", "");
    let mut conn = world.connect("shop");
    conn.run("begin");
    conn.run("insert into note values (1, 'shop')");
    world.add("aaa");
    conn.run("use main");
    conn.run("insert into note values (777, 'main')");
    conn.run("use shop");
    conn.run("insert into note values (2, 'shop')");
    conn.run("commit");
    let counts = ["aaa", "main", "shop"].map(|d| world.count(d));
    assert_eq!(counts, ["0", "1", "2"]);
    // And the other way round.
    conn.run("begin");
    conn.run("insert into note values (3, 'shop')");
    world.remove("aaa");
    conn.run("insert into note values (4, 'shop')");
    conn.run("insert into main.note values (778, 'main')");
    conn.run("commit");
    let counts = ["aaa", "main", "shop"].map(|d| world.count(d));
    assert_eq!(counts, ["0", "2", "4"]);
}

#[test]
fn waiting_statements_go_where_they_were_meant_to() {
    let world = World::new("waiting", "[pool]\nsize_per_core = 1\n");
    let mut holder = world.connect("main");
    holder.run("begin");
    holder.run("insert into note values (0, 'holds the only connection')");
    let mut waiting: Vec<Connection> = (1..=8).map(|_| world.connect("main")).collect();
    for (id, conn) in (1..).zip(&mut waiting) {
        conn.send_command(3, format!("insert into note values ({id}, 'waits')").as_bytes())
            .unwrap();
    }
    wait_until("they wait", || world.proxy.metric("coregate_pool_waiting") >= 8.0);
    world.add("aaa");
    holder.run("commit");
    for conn in &mut waiting {
        let answer = conn.answer(false).unwrap();
        assert!(!answer.is_error(), "{answer:?}");
    }
    let counts = ["aaa", "main", "shop"].map(|d| world.count(d));
    assert_eq!(counts, ["0", "9", "0"]);
}

#[test]
fn cursors_and_prepared_statements_stay_where_they_are() {
    let world = World::new("cursor", "");
    let mut conn = world.connect("shop");
    conn.run("insert into note values (1, 'a'), (2, 'b'), (3, 'c')");
    let insert = conn
        .prepare("insert into note values (?, 'prepared')")
        .unwrap();
    let select = conn.prepare("select id, v from note order by id").unwrap();
    let mut out = select.id.to_le_bytes().to_vec();
    out.push(1);
    out.extend_from_slice(&1u32.to_le_bytes());
    conn.send_command(0x17, &out).unwrap();
    // A count, two columns, EOF: the rows are to be fetched.
    for _ in 0..4 {
        conn.packet().unwrap();
    }
    world.add("aaa");
    let fetch = [select.id.to_le_bytes(), 10u32.to_le_bytes()].concat();
    conn.send_command(0x1C, &fetch).unwrap();
    let rows = std::iter::from_fn(|| conn.packet().ok().filter(|p| p.first() == Some(&0)));
    assert_eq!(rows.count(), 3, "the cursor's rows");
    let id = coregate_tests::wire::Value::Int(4);
    conn.execute(&insert, &[id]).ok();
    assert_eq!(["aaa", "main", "shop"].map(|d| world.count(d)), ["0", "0", "4"]);
    world.remove("main");
    conn.execute(&insert, &[coregate_tests::wire::Value::Int(5)])
        .ok();
    assert_eq!(["aaa", "main", "shop"].map(|d| world.count(d)), ["0", "0", "5"]);
    // A session whose keyspace is gone is told so, and reaches no other.
    let mut gone = world.connect("shop");
    world.add("main");
    gone.run("use main");
    world.remove("main");
    let answer = gone.query("insert into note values (6, 'nowhere')");
    assert!(answer.is_error(), "{answer:?}");
    assert_eq!(["aaa", "main", "shop"].map(|d| world.count(d)), ["0", "0", "5"]);
}
