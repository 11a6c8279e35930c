//! The server that finishes a query over several shards: what it must not do to its binary log and
//! its replicas.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Connection, Coregate, MariaDb, guard, world};

/// Two shards, whose servers log in a format.
fn cluster(name: &str, options: &[&str]) -> (Vec<MariaDb>, Coregate) {
    let servers: Vec<MariaDb> = ["a", "b"]
        .map(|shard| MariaDb::start(&format!("{name}-{shard}"), options))
        .into();
    let shards = servers.iter().zip(["-80", "80-"]).enumerate();
    let shards: Vec<String> = shards
        .map(|(n, (server, name))| {
            server
                .connect()
                .run("create table t (id bigint primary key, v varchar(100))");
            format!(
                r#"{{"name": "{name}", "tablets": [{{"alias": "zone1-{n}", "type": "primary",
                    "host": "127.0.0.1", "port": {}, "user": "sb", "password": "sb"}}]}}"#,
                server.port
            )
        })
        .collect();
    let dir = guard::dir().join(name);
    std::fs::create_dir_all(dir.join("topology")).unwrap();
    let keyspace = format!(
        r#"{{"name": "test", "shards": [{}], "vschema": {{"sharded": true,
            "vindexes": {{"hash": {{"type": "hash"}}}},
            "tables": {{"t": {{"column_vindexes": [{{"column": "id", "name": "hash"}}]}}}}}}}}"#,
        shards.join(",")
    );
    std::fs::write(dir.join("topology/test.json"), keyspace).unwrap();
    let config = format!(
        "[topology]\ndir = {dir:?}\n[users]\nfile = {:?}\n[server]\ncores = 1\n",
        world::users_file()
    );
    (servers, Coregate::configured(name, &config))
}

fn connect(proxy: &Coregate) -> Connection {
    proxy.connect_as(world::USER, world::PASSWORD, Some("test"))
}

/// What a server has logged, without the end of its file.
fn logged(server: &MariaDb) -> Vec<Option<String>> {
    let rows = server.connect().query("show binlog events").rows();
    rows.into_iter().map(|row| row[5].clone()).collect()
}

const FINISHED: &str = "select count(*) from t a join t b on b.id = a.id + 1";

#[test]
fn temporary_tables_never_reach_a_binary_log() {
    for format in ["MIXED", "STATEMENT", "ROW"] {
        let name = format!("log-{}", format.to_lowercase());
        let option = format!("--binlog-format={format}");
        let (servers, proxy) = cluster(&name, &["--log-bin", &option, "--server-id=7"]);
        let mut conn = connect(&proxy);
        conn.run("insert into t values (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')");
        let before: Vec<_> = servers.iter().map(logged).collect();
        for _ in 0..4 {
            assert_eq!(conn.value(FINISHED).unwrap(), "3", "{format}");
        }
        conn.run("begin");
        conn.run("insert into t values (5, 'e')");
        assert_eq!(conn.value(FINISHED).unwrap(), "4", "{format}");
        conn.run("rollback");
        assert_eq!(before, servers.iter().map(logged).collect::<Vec<_>>(), "{format}");
        assert_eq!(proxy.metric("coregate_finished_queries_total"), 5.0);
        // What clients write is logged as the server was told to.
        conn.run("insert into t values (6, 'f')");
        assert_ne!(before, servers.iter().map(logged).collect::<Vec<_>>(), "{format}");
    }
}

#[test]
fn an_account_that_cannot_keep_them_out_is_told_so() {
    let (servers, proxy) =
        cluster("log-denied", &["--log-bin", "--binlog-format=MIXED", "--server-id=7"]);
    for server in &servers {
        let mut conn = server.connect();
        conn.run("revoke binlog admin, super on *.* from sb@'%'");
    }
    let mut conn = connect(&proxy);
    conn.run("insert into t values (1, 'a'), (2, 'b')");
    let answer = conn.query(FINISHED);
    assert_eq!(answer.error().code, 1235);
    assert!(answer.error().message.contains("BINLOG ADMIN"), "{:?}", answer.error());
    // What is merged needs no tables.
    assert_eq!(conn.value("select count(*) from t").unwrap(), "2");
}
