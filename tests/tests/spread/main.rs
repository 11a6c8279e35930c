//! Tables without a vindex, directives of statements over shards, foreign keys that are managed,
//! and the memory of a core: over servers of which one may be away.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Answer, Connection, Coregate, MariaDb, guard, infile, wait_until, world};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

const SHARDS: [&str; 3] = ["-55", "55-aa", "aa-"];

const SCHEMA: &[&str] = &[
    "create table item (id bigint primary key, grp int, name varchar(40))",
    "create table events (at int, message varchar(40))",
    "create table parent (id bigint primary key, n int)",
    "create table child (id bigint, parent_id bigint, primary key (id, parent_id), foreign key \
        child_of (parent_id) references parent (id) on delete cascade)",
    "create table apart (id bigint primary key, parent_id bigint, foreign key apart_of (parent_id) \
        references parent (id))",
    "create table looked (id bigint, parent_id bigint, code varchar(10), primary key (id, \
        parent_id), foreign key looked_of (parent_id) references parent2 (id) on delete cascade)",
    "create table top (id bigint primary key)",
    "create table middle (id bigint primary key, foreign key middle_of (id) references top (id) on \
        delete cascade)",
    "create table emptied (id bigint primary key, parent_id bigint, foreign key emptied_of \
        (parent_id) references middle (id) on delete set null)",
    "create table code_idx (code varchar(10) primary key, keyspace_id varbinary(20))",
];

const VSCHEMA: &str = r#"{"sharded": true, "foreignKeyMode": "managed",
  "vindexes": {"hash": {"type": "hash"}, "xxhash": {"type": "xxhash"},
   "code": {"type": "consistent_lookup_unique", "owner": "looked",
    "params": {"table": "ks.code_idx", "from": "code", "to": "keyspace_id",
    "ignore_nulls": "true"}}},
  "tables": {
   "item": {"column_vindexes": [{"column": "id", "name": "hash"}]},
   "events": {"type": "log"},
   "parent": {"column_vindexes": [{"column": "id", "name": "hash"}]},
   "parent2": {"column_vindexes": [{"column": "id", "name": "hash"}]},
   "child": {"column_vindexes": [{"column": "parent_id", "name": "hash"}]},
   "top": {"column_vindexes": [{"column": "id", "name": "hash"}]},
   "middle": {"column_vindexes": [{"column": "id", "name": "hash"}]},
   "emptied": {"column_vindexes": [{"column": "parent_id", "name": "hash"}]},
   "apart": {"column_vindexes": [{"column": "id", "name": "hash"}]},
   "looked": {"column_vindexes": [{"column": "parent_id", "name": "hash"}, {"column": "code",
   "name": "code"}]},
   "code_idx": {"column_vindexes": [{"column": "code", "name": "xxhash"}]}}}"#;

struct Cluster {
    servers: Vec<Mutex<MariaDb>>,
    proxy: Coregate,
}

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let servers: Vec<MariaDb> = SHARDS
        .iter()
        .map(|_| MariaDb::start("shard", &["--innodb-flush-log-at-trx-commit=2"]))
        .collect();
    let dir = guard::dir().join("spread-topology");
    std::fs::create_dir_all(dir.join("topology")).unwrap();
    let shards = SHARDS.iter().zip(&servers).map(|(name, server)| {
        let mut conn = server.connect();
        conn.run("create table parent2 (id bigint primary key)");
        SCHEMA.iter().for_each(|sql| drop(conn.run(sql)));
        format!(
            r#"{{"name": "{name}", "tablets": [{{"alias": "t{name}", "type": "primary",
                "host": "127.0.0.1", "port": {},
                "user": "sb", "password": "sb"}}]}}"#,
            server.port
        )
    });
    let shards: Vec<String> = shards.collect();
    let keyspace = format!(
        r#"{{"name": "ks", "database": "test", "shards": [{}], "vschema": {VSCHEMA}}}"#,
        shards.join(",")
    );
    std::fs::write(dir.join("topology/ks.json"), keyspace).unwrap();
    let config = format!(
        "[topology]\ndir = {:?}\n[users]\nfile = {:?}\n[server]\ncores = 1\n[query]\nmemory_max = \
            1000000\nmemory_per_core_max = 2000000\n",
        dir.to_str().unwrap(),
        world::users_file().to_str().unwrap()
    );
    let proxy = Coregate::configured("spread", &config);
    let cluster = Cluster { servers: servers.into_iter().map(Mutex::new).collect(), proxy };
    let items: Vec<String> = (1..=60)
        .map(|n| format!("({n}, {}, 'item {n}')", n % 4))
        .collect();
    cluster
        .connect()
        .run(&format!("insert into item values {}", items.join(",")));
    cluster
});

/// The tests share the servers, of which one takes some away.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    fn connect(&self) -> Connection {
        self.proxy
            .connect_as(world::USER, world::PASSWORD, Some("ks"))
    }

    fn counts(&self, table: &str) -> Vec<u64> {
        let count = |server: &Mutex<MariaDb>| {
            let mut conn = server
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .connect();
            let count = conn.value(&format!("select count(*) from {table}"));
            count.unwrap().parse().unwrap()
        };
        self.servers.iter().map(count).collect()
    }
}

fn execute(conn: &mut Connection, sql: &str) -> Answer {
    let statement = conn.prepare(sql).unwrap();
    let answer = conn.execute(&statement, &[]);
    conn.close_statement(&statement);
    answer
}

#[test]
fn a_file_for_a_log_table_goes_to_one_shard() {
    let _turn = alone();
    CLUSTER.connect().run("delete from events");
    let mut conn = infile::connect(CLUSTER.proxy.mysql, "ks");
    for _ in 0..3 {
        let sql =
            "load data local infile 'f' into table events fields terminated by ',' (at, message)";
        let answer = infile::load(&mut conn, sql, &[b"1,a\n2,", b"b\n3,c\n"]);
        assert!(matches!(answer, Answer::Ok { affected: 3, .. }), "{answer:?}");
    }
    assert_eq!(CLUSTER.counts("events"), [3, 3, 3], "each to the next");
    let refused =
        infile::load(&mut conn, "load data local infile 'f' replace into table events", &[]);
    assert_eq!(refused.error().code, 1235);
    CLUSTER.connect().run("delete from events");
}

#[test]
fn rows_of_log_tables_go_to_the_shards_in_turn() {
    let _turn = alone();
    let mut conn = CLUSTER.connect();
    conn.run("delete from events");
    for n in 0..9 {
        let sql = format!("insert into events values ({n}, 'a'), ({n}, 'b')");
        match n % 3 {
            0 => drop(conn.run(&sql)),
            1 => assert!(!execute(&mut conn, &sql).is_error()),
            _ => {
                conn.run(&format!("prepare s from '{}'", sql.replace('\'', "''")));
                conn.run("execute s");
            }
        }
    }
    assert_eq!(CLUSTER.counts("events"), [6, 6, 6], "whole statements, each to the next");
    assert_eq!(
        conn.value("select count(*) from events where message = 'a'")
            .unwrap(),
        "9"
    );
    let rows = conn
        .query("select at, count(*) from events group by at order by at desc limit 2")
        .rows();
    assert_eq!(
        rows,
        [["8", "2"], ["7", "2"]].map(|row| row.map(|cell| Some(cell.to_owned())).to_vec())
    );
    // A transaction stays where it began.
    conn.run("begin");
    let before = CLUSTER.counts("events");
    for n in 20..24 {
        conn.run(&format!("insert into events values ({n}, 'c')"));
    }
    conn.run("commit");
    let after = CLUSTER.counts("events");
    let grown: Vec<u64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    assert_eq!(grown.iter().filter(|n| **n == 4).count(), 1, "{grown:?}");
    conn.run("insert into events select id, name from item where id < 5");
    conn.run("update events set message = 'z' where at = 3");
    assert_eq!(
        conn.value("select count(*) from events where message = 'z'")
            .unwrap(),
        "3"
    );
    conn.run("delete from events where at < 4 order by at limit 3");
    for sql in [
        "replace into events values (1, 'x')",
        "insert into events values (1, 'x') on duplicate key update message = 'y'",
    ] {
        assert_eq!(conn.query(sql).error().code, 1235, "{sql}");
    }
    conn.run("delete from events");
    assert_eq!(CLUSTER.counts("events"), [0, 0, 0]);
}

#[test]
fn errors_of_shards_become_warnings_where_asked_for() {
    let _turn = alone();
    let mut conn = CLUSTER.connect();
    let hint = "/*vt+ SCATTER_ERRORS_AS_WARNINGS */";
    // One shard's rows fail as they are read.
    let failing = "18446744073709551615 + if(id = 7, 1, 0)";
    let queries = [
        format!("select {hint} id, {failing} from item"),
        format!("select {hint} id, {failing} from item order by id"),
        format!("select {hint} grp, sum({failing}) from item group by grp order by grp"),
    ];
    for sql in &queries {
        let plain = sql.replace(hint, "");
        assert_eq!(conn.query(&plain).error().code, 1690, "{plain}");
        let answer = conn.query(sql);
        assert!(!answer.rows().is_empty(), "{sql}");
        assert_eq!(conn.query("show warnings").rows()[0][1].as_deref(), Some("1690"), "{sql}");
        assert_eq!(conn.value("select @@warning_count").unwrap(), "1");
        // In a transaction an error is an error.
        conn.run("begin");
        assert_eq!(conn.query(sql).error().code, 1690, "{sql}");
        conn.run("rollback");
    }
    // All shards fail: so does the statement.
    let sql = format!("select {hint} 18446744073709551615 + id from item");
    assert_eq!(conn.query(&sql).error().code, 1690);
    // One server is away.
    let counts = CLUSTER.counts("item");
    CLUSTER.servers[1].lock().unwrap().kill();
    let there = (counts[0] + counts[2]).to_string();
    let counted = format!("select {hint} count(*) from item");
    wait_until("the others answer", || {
        let answer = conn.query(&counted);
        !answer.is_error() && answer.value() == Some(there.clone())
    });
    assert_eq!(conn.query("show warnings").rows().len(), 1);
    let rows = conn
        .query(&format!("select {hint} id from item order by id"))
        .rows();
    assert_eq!(rows.len().to_string(), there);
    assert!(conn.query("select count(*) from item").is_error());
    CLUSTER.servers[1].lock().unwrap().restart();
    wait_until("all answer", || !conn.query("select count(*) from item").is_error());
    assert_eq!(conn.value("select count(*) from item").unwrap(), "60");
}

#[test]
fn memory_has_bounds_for_a_statement_and_a_core() {
    let _turn = alone();
    let mut conn = CLUSTER.connect();
    // Rows that are read to be inserted elsewhere, each of so many bytes; their texts are too long
    // for the column.
    let insert = |hint: &str, width: u32| {
        format!(
            "insert {hint} into item select id + 1000, grp, repeat('x', {width}) from item where \
                id <= 60"
        )
    };
    let refused = |conn: &mut Connection, sql: &str| {
        let error = conn.query(sql).error().clone();
        (error.code, error.message)
    };
    assert_eq!(refused(&mut conn, &insert("", 10_000)).0, 1406);
    let (code, message) = refused(&mut conn, &insert("", 30_000));
    assert!(code == 1038 && message.contains("query.memory_max"), "{code} {message}");
    let hint = "/*vt+ IGNORE_MAX_MEMORY_ROWS */";
    assert_eq!(refused(&mut conn, &insert(hint, 30_000)).0, 1406);
    let (code, message) = refused(&mut conn, &insert(hint, 60_000));
    assert!(code == 1038 && message.contains("query.memory_per_core_max"), "{code} {message}");
    wait_until("nothing is held", || CLUSTER.proxy.metric("coregate_query_memory_bytes") == 0.0);
    assert_eq!(refused(&mut conn, &insert(hint, 30_000)).0, 1406);
    assert_eq!(CLUSTER.counts("item").iter().sum::<u64>(), 60);
}

#[test]
fn foreign_keys_are_kept_within_a_shard_or_refused() {
    let _turn = alone();
    let mut conn = CLUSTER.connect();
    conn.run("insert into parent values (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)");
    conn.run("insert into child values (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)");
    assert_eq!(conn.query("insert into child values (7, 700)").error().code, 1452);
    let apart = "insert into apart values (1, 1)";
    let error = conn.query(apart).error().clone();
    assert_eq!(error.code, 1235);
    assert!(error.message.starts_with("VT12002"), "{}", error.message);
    for sql in [
        "delete from parent where id = 1",
        "update parent set id = 9 where id = 1",
        "replace into parent values (1, 1)",
    ] {
        assert!(conn.query(sql).error().message.starts_with("VT12002"), "{sql}");
    }
    assert!(conn.prepare(apart).is_err());
    for sql in ["delete from parent2 where id = 1", "update parent2 set id = 2"] {
        let message = &conn.query(sql).error().message.clone();
        assert!(
            message.starts_with("VT12001") && message.contains("looked_of"),
            "{sql}: {message}"
        );
    }
    conn.run("insert into parent2 values (1)");
    conn.run("insert into looked values (1, 1, 'a')");
    conn.run("delete from looked where id = 1");
    conn.run("delete from child where id > 3");
    assert_eq!(conn.value("select count(*) from child").unwrap(), "3");
}

/// A key passes on what another has passed on.
#[test]
fn keys_are_followed_to_their_end() {
    let _turn = alone();
    let mut conn = CLUSTER.connect();
    conn.run("insert into top values (7)");
    conn.run("insert into middle values (7)");
    conn.run("insert into emptied values (1, 7)");
    for sql in ["delete from top where id = 7", "delete from middle where id = 7"] {
        let answer = conn.query(sql);
        assert!(
            answer.is_error() && answer.error().message.contains("emptied_of"),
            "{sql}: {answer:?}"
        );
    }
    for table in ["emptied", "middle", "top"] {
        let sql = format!("select count(*) from {table}");
        assert_eq!(conn.value(&sql).as_deref(), Some("1"), "{table}");
    }
    conn.run("delete from emptied where id = 1");
}
