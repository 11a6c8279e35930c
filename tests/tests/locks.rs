//! Locks that a statement leaves on its connection: they are the session's, are released where they
//! were taken, and go with it.
#![allow(clippy::unwrap_used)]
use coregate_tests::{Answer, Connection, Coregate, MariaDb, guard, wait_until, world};
use std::fs;

/// What takes a lock, and what releases it.
const TABLE_LOCKS: &[&str] = &[
    "flush tables with read lock",
    "FLUSH /*!40000 LOCAL */ TABLES t WITH READ LOCK",
    "/*! flush tables t with read lock */",
    "flush tables t for export",
    "lock tables t read",
    "/*!40000 LOCK TABLES t READ */",
];

fn is_locked(other: &mut Connection) -> bool {
    match other.query("insert ignore into t (id) values (1000)") {
        Answer::Error(error) => {
            assert!([1205, 1223, 1099].contains(&error.code), "{error:?}");
            true
        }
        _ => false,
    }
}

fn writer(address: std::net::SocketAddr, database: &str) -> Connection {
    let mut conn = Connection::login(address, world::USER, world::PASSWORD, Some(database));
    conn.run("set lock_wait_timeout = 1");
    conn
}

fn check(name: &str, coregate: &Coregate, database: &str) {
    let login = || coregate.connect_as(world::USER, world::PASSWORD, Some(database));
    let mut other = writer(coregate.mysql, database);
    for sql in TABLE_LOCKS {
        let at = format!("{name}: {sql}");
        let mut conn = login();
        conn.run(sql);
        // Another of this session's statements does not lose it.
        conn.run("select 1");
        assert!(is_locked(&mut other), "{at}");
        conn.run("unlock tables");
        assert!(!is_locked(&mut other), "{at}: UNLOCK TABLES");

        let prepared = conn.prepare(sql);
        if let Ok(prepared) = prepared {
            conn.execute(&prepared, &[]).ok();
            assert!(is_locked(&mut other), "{at}: prepared");
            conn.run("unlock tables");
            assert!(!is_locked(&mut other), "{at}: UNLOCK TABLES, prepared");
        }
        conn.run(sql);
        conn.send_command(0x1F, b"").unwrap();
        conn.packet().unwrap();
        wait_until("the lock to go with COM_RESET_CONNECTION", || !is_locked(&mut other));

        conn.run(sql);
        drop(conn);
        wait_until("the lock to go with its session", || !is_locked(&mut other));
    }
}

fn named(conn: &mut Connection, lock: &str) -> bool {
    conn.value(&format!("select is_free_lock('{lock}')")) == Some("0".into())
}

/// GET_LOCK wherever it stands.
fn check_named(name: &str, coregate: &Coregate, database: &str) {
    let login = || coregate.connect_as(world::USER, world::PASSWORD, Some(database));
    let mut other = login();
    for (n, sql) in [
        "select get_lock('L', 1)",
        "select `get_lock`('L', 1)",
        "select GET_LOCK /* a comment */ ('L', 1)",
        "do if(1, get_lock('L', 1), 0)",
        "set @a = get_lock('L', 1)",
        "set @a = 1, @b = (select get_lock('L', 1))",
        "analyze select get_lock('L', 1)",
        "select get_lock('L', 1), (select 1 union select 2)",
        "set statement max_statement_time = 10 for select get_lock('L', 1)",
        "execute immediate 'select get_lock(''L'', 1)'",
        "begin not atomic do get_lock('L', 1); signal sqlstate '45000'; end",
    ]
    .into_iter()
    .enumerate()
    {
        let lock = format!("{name}{n}");
        let at = format!("{name}: {sql}");
        let mut conn = login();
        conn.query(&sql.replace("'L'", &format!("'{lock}'")));
        assert!(named(&mut other, &lock), "{at}");
        assert_eq!(conn.value(&format!("select release_lock('{lock}')")), Some("1".into()), "{at}");
        assert!(!named(&mut other, &lock), "{at}: RELEASE_LOCK");
        conn.query(&sql.replace("'L'", &format!("'{lock}'")));
        drop(conn);
        wait_until("the lock to go with its session", || !named(&mut other, &lock));
    }
}

#[test]
fn locks_stay_with_their_session() {
    let server = MariaDb::start("upstream", &[]);
    server
        .connect()
        .run("create table t (id bigint primary key) engine=innodb");
    let users = world::users_file();
    let coregate = Coregate::drop_in("locks", &server, &["--users", users.to_str().unwrap()]);
    check("dropin", &coregate, "test");
    check_named("dropin", &coregate, "test");

    let mut conn = coregate.connect_as(world::USER, world::PASSWORD, Some("test"));
    let mut other = writer(coregate.mysql, "test");
    // DDL waits for a backup's stages.
    conn.run("backup stage start");
    conn.run("backup stage block_commit");
    assert!(is_locked(&mut other), "BACKUP STAGE");
    conn.run("backup stage end");
    assert!(!is_locked(&mut other), "BACKUP STAGE END");
    conn.run("backup stage start");
    conn.run("backup stage block_commit");
    drop(conn);
    wait_until("the backup's lock to go", || !is_locked(&mut other));
    // BEGIN releases what LOCK TABLES has locked, before another statement follows.
    let mut conn = coregate.connect_as(world::USER, world::PASSWORD, Some("test"));
    conn.run("lock tables t write");
    assert!(is_locked(&mut other));
    conn.run("begin");
    assert!(!is_locked(&mut other), "BEGIN");
}

#[test]
fn locks_stay_with_their_session_in_keyspaces() {
    let dir = guard::dir().join("lock-schemas");
    fs::create_dir_all(&dir).unwrap();
    for keyspace in ["plain", "ring"] {
        fs::write(dir.join(format!("{keyspace}.sql")), "create table t (id bigint primary key);\n")
            .unwrap();
    }
    let by_id = r#"{"column_vindexes": [{"column": "id", "name": "hash"}]}"#;
    let vschema = format!(
        r#"{{"sharded": true, "vindexes": {{"hash": {{"type": "hash"}}}},
            "tables": {{"t": {by_id}}}}}"#
    );
    fs::write(dir.join("ring.json"), vschema).unwrap();
    let (dir, users) = (dir.to_str().unwrap(), world::users_file());
    let users = users.to_str().unwrap();
    let coregate = Coregate::local(
        "locks",
        &[
            "--keyspace",
            "plain",
            "--keyspace",
            "ring:2",
            "--schema",
            dir,
            "--vschema",
            dir,
            "--users",
            users,
        ],
    );
    check("plain", &coregate, "plain");
    check_named("plain", &coregate, "plain");
    check_named("shard", &coregate, "ring:-80");
    // All shards: each connection keeps its lock.
    let mut other = writer(coregate.mysql, "ring");
    let mut conn = coregate.connect_as(world::USER, world::PASSWORD, Some("ring"));
    for sql in ["flush tables with read lock", "flush tables t with read lock"] {
        conn.run(sql);
        for id in 1..8 {
            let insert = format!("insert into t (id) values ({id})");
            assert!(other.query(&insert).is_error(), "{sql}");
        }
        conn.run("unlock tables");
        assert!(!is_locked(&mut other));
    }
    conn.run("flush tables with read lock");
    drop(conn);
    wait_until("the lock to go with its session", || !is_locked(&mut other));
    // A write is analyzed by running it: never on one shard for all.
    assert_eq!(other.query("analyze delete from t").error().code, 1235);
    assert_eq!(
        other
            .query("analyze insert into t (id) values (1), (2), (3)")
            .error()
            .code,
        1235
    );
}
