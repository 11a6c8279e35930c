//! Servers of one's own behind a topology's files: replication is set up, a dead primary is
//! replaced, what lags or has gone astray gets no reads, and statements wait within their bounds.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Connection, Coregate, MariaDb, guard, wait_until, world};

const OPTIONS: &[&str] = &[
    "--log-slave-updates=ON",
    "--gtid-strict-mode=ON",
    "--slave-net-timeout=5",
    "--innodb-flush-log-at-trx-commit=2",
];

struct Shard {
    servers: Vec<MariaDb>,
    proxy: Coregate,
}

impl Shard {
    /// The first server is primary, the others are replicas that follow nobody yet.
    fn start(name: &str, count: usize, config: &str) -> Self {
        let servers: Vec<MariaDb> = (0..count).map(|_| MariaDb::start(name, OPTIONS)).collect();
        servers[0]
            .connect()
            .run("create table t (id bigint primary key, v varchar(100))");
        let dir = guard::dir().join(format!("{name}-topology"));
        std::fs::create_dir_all(dir.join("topology")).unwrap();
        let tablets: Vec<String> = servers
            .iter()
            .enumerate()
            .map(|(n, server)| {
                let (kind, port) = (if n == 0 { "primary" } else { "replica" }, server.port);
                format!(
                    r#"{{"alias": "a-{n}", "type": "{kind}", "host": "127.0.0.1", "port": {port},
                        "user": "sb",
                        "password": "sb"}}"#
                )
            })
            .collect();
        let text = format!(
            r#"{{"name": "ks", "database": "test", "shards": [{{"name": "0", "tablets": [{}]}}],
                "vschema": {{"tables": {{}}}}, "replication": {{"user": "sb",
                "password": "sb"}}}}"#,
            tablets.join(",")
        );
        std::fs::write(dir.join("topology/ks.json"), text).unwrap();
        let config = format!(
            "[topology]\ndir = {:?}\n[users]\nfile = {:?}\n[server]\ncores = \
                1\n[failover]\nenabled = true\n{config}\n",
            dir.to_str().unwrap(),
            world::users_file().to_str().unwrap()
        );
        let shard = Self { servers, proxy: Coregate::configured(name, &config) };
        for replica in &shard.servers[1..] {
            wait_until("the replicas have the table", || {
                !replica.connect().query("select * from t").is_error()
            });
        }
        shard
    }

    fn connect(&self, database: &str) -> Connection {
        self.proxy
            .connect_as(world::USER, world::PASSWORD, Some(database))
    }

    /// Aliases of this type, with their states.
    fn tablets(&self, kind: &str) -> Vec<String> {
        let rows = self.connect("ks").run("show vitess_tablets").rows();
        let of_kind = rows.iter().filter(|row| row[3].as_deref() == Some(kind));
        of_kind
            .map(|row| format!("{} {}", row[5].as_deref().unwrap(), row[4].as_deref().unwrap()))
            .collect()
    }

    fn wait_for(&self, kind: &str, tablets: &[&str]) {
        wait_until("the tablets are as they should be", || self.tablets(kind) == tablets);
    }
}

#[test]
fn a_dead_primary_is_replaced_and_returns_as_a_replica() {
    let mut shard = Shard::start("returns", 3, "");
    shard.wait_for("PRIMARY", &["a-0 SERVING"]);
    shard.wait_for("REPLICA", &["a-1 SERVING", "a-2 SERVING"]);
    wait_until("commits wait for a replica", || {
        shard.servers[0]
            .connect()
            .value("select @@rpl_semi_sync_master_enabled")
            .as_deref()
            == Some("1")
    });
    shard
        .connect("ks")
        .run("insert into t (id, v) values (1, 'a')");
    shard.servers[0].kill();
    // No connection had been opened by a session of this client: the statement waits, and is run
    // once.
    shard
        .connect("ks")
        .run("insert into t (id, v) values (2, 'b')");
    let new = shard.tablets("PRIMARY");
    assert!(new[0] != "a-0 SERVING", "{new:?}");
    let at: usize = new[0]["a-".len()..]
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(
        shard.servers[at]
            .connect()
            .value("select group_concat(id) from t"),
        Some("1,2".into())
    );
    // It comes back as one that takes writes.
    shard.servers[0].restart();
    wait_until("it follows the new one", || {
        let mut direct = shard.servers[0].connect();
        direct.value("select @@read_only").as_deref() == Some("1")
            && direct.value("select count(*) from t").as_deref() == Some("2")
    });
    wait_until("all serve", || {
        shard
            .tablets("REPLICA")
            .iter()
            .filter(|t| t.ends_with(" SERVING"))
            .count()
            == 2
    });
    shard
        .connect("ks")
        .run("insert into t (id, v) values (3, 'c')");
    wait_until("it gets what is written", || {
        shard.servers[0]
            .connect()
            .value("select count(*) from t")
            .as_deref()
            == Some("3")
    });
    // The topology's file says so too.
    let text =
        std::fs::read_to_string(guard::dir().join("returns-topology/topology/ks.json")).unwrap();
    assert!(text.contains("\"term\": 1") && text.contains("primary_since"), "{text}");
}

#[test]
fn a_replica_that_has_written_itself_is_drained() {
    let shard = Shard::start("astray", 3, "");
    shard.wait_for("REPLICA", &["a-1 SERVING", "a-2 SERVING"]);
    shard.servers[1]
        .connect()
        .run("insert into t (id, v) values (100, 'astray')");
    shard
        .connect("ks")
        .run("insert into t (id, v) values (1, 'a')");
    shard.wait_for("DRAINED", &["a-1 NOT_SERVING"]);
    shard.wait_for("REPLICA", &["a-2 SERVING"]);
    shard
        .connect("ks")
        .run("insert into t (id, v) values (2, 'b')");
    let mut reader = shard.connect("ks@replica");
    wait_until("the other one has both", || {
        reader.value("select group_concat(id) from t").as_deref() == Some("1,2")
    });
}

#[test]
fn replicas_that_lag_are_not_read_from() {
    let config = "[replicas]\nlag_max_ms = 1000\nwhen_none = \"primary\"";
    let shard = Shard::start("lags", 3, config);
    shard.wait_for("REPLICA", &["a-1 SERVING", "a-2 SERVING"]);
    let port = |n: usize| shard.servers[n].port.to_string();
    let mut reader = shard.connect("ks@replica");
    let whose = "select @@server_id from t limit 1";
    let mut writer = shard.connect("ks");
    writer.run("insert into t (id, v) values (1, 'a')");
    wait_until("a replica has it", || reader.value(whose).is_some());
    let mut id = 1;
    for lagging in [1, 2] {
        let mut direct = shard.servers[lagging].connect();
        // Till it has changed, it may be repaired and run again.
        wait_until("it is told to lag", || {
            direct.run("stop slave");
            !direct
                .query("change master to master_delay=3600")
                .is_error()
        });
        direct.run("start slave");
        // What its own account says is 0 for as long as it waits.
        let alias = format!("tablet=\"a-{lagging}\"");
        wait_until("it lags", || {
            id += 1;
            writer.run(&format!("insert into t (id, v) values ({id}, 'x')"));
            let metrics = shard.proxy.admin("/metrics");
            let of_it =
                |l: &&str| l.starts_with("coregate_tablet_lag_seconds") && l.contains(&alias);
            let line = metrics.lines().find(of_it);
            line.is_some_and(|l| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 1.5)
        });
        let left = if lagging == 1 { 2 } else { 0 };
        for _ in 0..4 {
            assert_eq!(
                shard.connect("ks@replica").value(whose),
                Some(port(left)),
                "the primary where none is left"
            );
        }
    }
    assert_eq!(reader.value(whose), Some(port(0)));
    assert_eq!(reader.query("delete from t").error().code, 1290);
}

#[test]
fn statements_wait_within_their_bounds() {
    let mut shard =
        Shard::start("bounds", 2, "[buffer]\nsize = 1\nwindow_ms = 1500\nbytes_max = 65536");
    shard.wait_for("REPLICA", &["a-1 SERVING"]);
    let (mut one, mut two) = (shard.connect("ks"), shard.connect("ks"));
    let large = format!("insert into t (id, v) values (3, left('{}', 9))", "x".repeat(70_000));
    one.run("select 1 from t");
    // Nobody can take its place.
    shard.servers[1].kill();
    shard.servers[0].kill();
    // One that is larger than all that may wait does not.
    let refused = shard.proxy.metric("coregate_buffer_refused_total");
    wait_until("a large one is refused at once", || {
        shard
            .connect("ks")
            .try_query(&large)
            .is_ok_and(|answers| answers[0].is_error())
            && shard.proxy.metric("coregate_buffer_refused_total") > refused
    });
    assert!(shard.proxy.metric("coregate_buffered_bytes") < 1.0);
    one.send_command(3, b"insert into t (id, v) values (1, 'a')")
        .unwrap();
    wait_until("it waits", || {
        shard.proxy.metric("coregate_buffered") >= 1.0 || !shard.tablets("PRIMARY").is_empty()
    });
    wait_until("there is no room for another", || {
        two.query("insert into t (id, v) values (2, 'b')")
            .error()
            .code
            == 1429
    });
    let answer = one.answer(false).unwrap();
    assert!(matches!(answer.error().code, 1429 | 1158), "{answer:?}");
    shard.servers[0].restart();
    wait_until("it goes on when the primary is back", || {
        !shard.connect("ks").query("select * from t").is_error()
    });
}
