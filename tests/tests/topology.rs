//! A topology whose servers are not all there, and files that are changed while Coregate runs.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Connection, Coregate, MariaDb, guard, wait_until, world};
use rustix::process::Signal;
use std::path::PathBuf;

const TABLE: &str = "create table t (id bigint primary key, v varchar(100))";

struct Topology {
    name: String,
    dir: PathBuf,
}

impl Topology {
    fn new(name: &str) -> Self {
        let dir = guard::dir().join(format!("{name}-topology"));
        std::fs::create_dir_all(dir.join("topology")).unwrap();
        Self { name: name.to_owned(), dir }
    }

    fn file(&self, keyspace: &str) -> PathBuf {
        self.dir.join(format!("topology/{keyspace}.json"))
    }

    /// One primary a shard, on these ports; `more` goes into the first shard's list of tablets.
    fn keyspace(&self, name: &str, database: &str, ports: &[u16], more: &str) {
        let shards: Vec<String> = ports
            .iter()
            .enumerate()
            .map(|(n, port)| {
                let shard = match (ports.len(), n) {
                    (1, _) => "0",
                    (_, 0) => "-80",
                    _ => "80-",
                };
                let more = if n == 0 { more } else { "" };
                format!(
                    r#"{{"name": "{shard}", "tablets": [{{"alias": "{name}-{n}",
                        "type": "primary", "host": "127.0.0.1",
                        "port": {port}, "user": "sb", "password": "sb"}}{more}]}}"#
                )
            })
            .collect();
        let vschema = if ports.len() == 1 {
            r#"{"tables": {}}"#
        } else {
            r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
                "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#
        };
        let text = format!(
            r#"{{"name": "{name}", "database": "{database}", "shards": [{}],
                "vschema": {vschema}}}"#,
            shards.join(",")
        );
        std::fs::write(self.file(name), text).unwrap();
    }

    fn start(&self, more: &str) -> Coregate {
        let text = format!(
            "[topology]\ndir = {:?}\n[users]\nfile = {:?}\n[server]\ncores = 1\n{more}\n",
            self.dir.to_str().unwrap(),
            world::users_file().to_str().unwrap()
        );
        Coregate::configured(&self.name, &text)
    }
}

fn connect(proxy: &Coregate, database: &str) -> Connection {
    proxy.connect_as(world::USER, world::PASSWORD, Some(database))
}

#[test]
fn a_keyspace_whose_servers_are_all_down_places_nothing_until_they_are_there() {
    let mut servers = [MariaDb::start("left", &[]), MariaDb::start("right", &[])];
    for server in &mut servers {
        server.connect().run(TABLE);
        server.kill();
    }
    let topology = Topology::new("down");
    topology.keyspace("ks", "test", &servers.each_ref().map(|s| s.port), "");
    let proxy = topology.start("");
    assert!(proxy.admin("/readyz").contains("missing: keyspace ks"), "{}", proxy.admin("/readyz"));
    let mut conn = connect(&proxy, "ks");
    for sql in ["insert into t (id, v) values ('05', 'a')", "select * from t where id = '05'"] {
        let answer = conn.query(sql);
        // Either the columns are not known yet, or the servers' SQL mode, by which the text is
        // read.
        assert!(matches!(answer.error().code, 1105 | 1429), "{answer:?}");
    }
    for server in servers.iter_mut().rev() {
        server.restart();
    }
    wait_until("the columns are known", || proxy.admin("/readyz") == "ok\n");
    conn.run("insert into t (id, v) values ('05', 'a')");
    assert_eq!(conn.value("select v from t where id = 5"), Some("a".into()));
    assert_eq!(conn.value("select v from t where id = '005'"), Some("a".into()));
    assert!(conn.value("select @@version").unwrap().contains("MariaDB"));
    let greeted = || connect(&proxy, "ks").server_version.contains("MariaDB");
    wait_until("new clients are told what the servers are", greeted);
}

#[test]
fn a_start_needs_no_first_primary_and_no_name() {
    let mut first = MariaDb::start("first", &[]);
    let second = MariaDb::start("second", &[]);
    for server in [&first, &second] {
        server.connect().run(TABLE);
    }
    first.kill();
    let topology = Topology::new("first");
    let replica =
        r#", {"alias": "r-1", "type": "replica", "host": "nowhere.invalid", "user": "sb"}"#;
    topology.keyspace("aa", "test", &[first.port], "");
    topology.keyspace("ks", "test", &[first.port, second.port], replica);
    let proxy = topology.start("");
    let readyz = proxy.admin("/readyz");
    assert!(readyz.contains("missing: tablet r-1: the name nowhere.invalid"), "{readyz}");
    assert!(readyz.contains("missing: keyspace aa") && !readyz.contains("keyspace ks"), "{readyz}");
    // The columns are those of the other shard; 4 and 6 lie there.
    let mut conn = connect(&proxy, "ks");
    assert!(conn.server_version.contains("MariaDB"), "the version too: {}", conn.server_version);
    conn.run("insert into t (id, v) values ('04', 'd')");
    assert_eq!(conn.value("select v from t where id = 4"), Some("d".into()));
    assert_eq!(conn.query("select v from t where id = 1").error().code, 1429);
    let mut replica = proxy.connect_as(world::USER, world::PASSWORD, Some("ks@replica"));
    let answer = replica.query("select v from t where id = 1");
    assert_eq!(answer.error().code, 1429, "{answer:?}");
    assert!(
        answer
            .error()
            .message
            .contains("nowhere.invalid cannot be resolved"),
        "{answer:?}"
    );
    first.restart();
    wait_until("the first keyspace is served", || {
        !connect(&proxy, "aa").query("select * from t").is_error()
    });
    conn.run("insert into t (id, v) values ('01', 'a')");
    assert_eq!(conn.value("select v from t where id = 1"), Some("a".into()));
}

#[test]
fn a_refused_reload_changes_nothing_now_or_later() {
    let server = MariaDb::start("reloads", &[]);
    server.connect().run("create database other");
    server.connect().run("create table other.t (id int)");
    let topology = Topology::new("reloads");
    for name in ["good", "bad", "still"] {
        topology.keyspace(name, "test", &[server.port], "");
    }
    let proxy = topology.start("");
    topology.keyspace("good", "other", &[server.port], "");
    std::fs::write(topology.file("bad"), "{\"name\": 1}").unwrap();
    proxy.process.signal(Signal::HUP);
    wait_until("it is refused", || proxy.process.stderr().contains("nothing has changed"));
    let mut conn = connect(&proxy, "still");
    conn.run("alter vschema add table still.fresh");
    let mut conn = connect(&proxy, "good");
    assert_eq!(conn.query("select * from t").error().code, 1146, "still the old database");
    for keyspace in ["good", "bad"] {
        let before = std::fs::read_to_string(topology.file(keyspace)).unwrap();
        let answer = conn.query(&format!("alter vschema add table {keyspace}.fresh"));
        assert!(
            answer
                .error()
                .message
                .contains("has changed since it was read"),
            "{answer:?}"
        );
        assert_eq!(std::fs::read_to_string(topology.file(keyspace)).unwrap(), before);
    }
    topology.keyspace("bad", "test", &[server.port], "");
    proxy.process.signal(Signal::HUP);
    wait_until("the new database is used", || !conn.query("select * from t").is_error());
    conn.run("alter vschema add table good.fresh");
}
