//! CREATE DATABASE and DROP DATABASE of SQL clients: a keyspace of one shard on servers of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::{Login, Value};
use coregate_tests::{Answer, Connection, Coregate, Etcd, MariaDb, guard, wait_until, world};
use std::net::TcpStream;
use std::path::Path;

fn connect(coregate: &Coregate, database: Option<&str>) -> Connection {
    coregate.connect_as(world::USER, world::PASSWORD, database)
}

fn databases(conn: &mut Connection) -> Vec<String> {
    let rows = conn.run("show databases").rows();
    rows.into_iter()
        .filter_map(|mut row| row.remove(0))
        .collect()
}

fn code(conn: &mut Connection, sql: &str) -> u16 {
    conn.query(sql).error().code
}

fn affected(answer: &Answer) -> u64 {
    let Answer::Ok { affected, .. } = answer else { panic!("{answer:?}") };
    *affected
}

fn warned(answer: &Answer) -> u16 {
    let Answer::Ok { warnings, .. } = answer else { panic!("{answer:?}") };
    *warnings
}

fn warnings(conn: &mut Connection) -> Vec<(String, String)> {
    let rows = conn.run("show warnings").rows();
    let cell = |row: &[Option<String>], at: usize| row[at].clone().unwrap();
    rows.iter()
        .map(|row| (cell(row, 0), cell(row, 1)))
        .collect()
}

/// Directories of servers.
fn servers(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("tablets")).unwrap();
    let mut all: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    all.sort();
    all
}

fn fill(conn: &mut Connection, database: &str) {
    conn.run(&format!("use {database}"));
    conn.run("create table t (id bigint primary key auto_increment, v varchar(20))");
    conn.run("insert into t (v) values ('a'), ('b'), ('c')");
    assert_eq!(conn.value("select count(*) from t").as_deref(), Some("3"));
}

/// What another one has dropped stays a session's database: no other database's table of that name
/// is meant.
fn its_tables_are_no_others(conn: &mut Connection, other: &mut Connection) {
    fill(conn, "ks");
    for sql in ["select count(*) from t", "insert into t values (9, 'z')", "update t set v = 'z'"] {
        assert_eq!(code(other, sql), 1049, "{sql}");
    }
    assert_eq!(other.value("select database()").as_deref(), Some("one"));
    assert_eq!(
        conn.value("select count(*) from ks.t where v <> 'z'")
            .as_deref(),
        Some("3")
    );
    conn.run("drop table ks.t");
}

#[test]
fn a_database_is_made_used_dropped_and_made_again() {
    let dir = guard::dir().join("databases");
    let local = Coregate::local_in("databases", &dir, &["--keyspace", "ks"]);
    let before = servers(&dir);
    let mut conn = connect(&local, None);
    let made = conn.run("create database one");
    assert_eq!(affected(&made), 1);
    assert_eq!(
        databases(&mut conn)
            .iter()
            .filter(|name| *name == "one")
            .count(),
        1
    );
    fill(&mut conn, "one");
    // Another session, and a name with the keyspace in it.
    let mut other = connect(&local, Some("one"));
    assert_eq!(other.value("select v from t where id = 2").as_deref(), Some("b"));
    assert_eq!(
        connect(&local, Some("ks"))
            .value("select count(*) from one.t")
            .as_deref(),
        Some("3")
    );
    // There already.
    assert_eq!(code(&mut conn, "create database one"), 1007);
    assert_eq!(code(&mut conn, "CREATE SCHEMA `one`"), 1007);
    assert_eq!(warned(&conn.run("create database if not exists one")), 1);
    assert_eq!(warnings(&mut conn), [("Note".to_owned(), "1007".to_owned())]);
    // What the statement says of the database is done.
    conn.run("create database if not exists latin character set latin1 collate latin1_bin;");
    let sql = "select default_collation_name from information_schema.schemata where schema_name = \
        'latin'";
    assert_eq!(conn.value(sql).as_deref(), Some("latin1_bin"));
    let three = servers(&dir);
    assert_eq!(three.len(), before.len() + 2, "{three:?}");
    // Refused by the server: nothing is left of it.
    assert_eq!(code(&mut conn, "create database wrong character set nosuch"), 1115);
    assert_eq!(code(&mut conn, "create database `a b`"), 1102);
    assert_eq!(code(&mut conn, "create database mysql"), 1007);
    assert_eq!(servers(&dir), three);
    assert!(!databases(&mut conn).contains(&"wrong".to_owned()));
    // It goes, with the default database of who drops it.
    conn.run("use one");
    conn.run("drop database one");
    assert_eq!(code(&mut conn, "select count(*) from t"), 1046);
    assert_eq!(code(&mut conn, "select count(*) from one.t"), 1049);
    its_tables_are_no_others(&mut conn, &mut other);
    assert_eq!(code(&mut conn, "drop database one"), 1008);
    assert_eq!(warned(&conn.run("drop database if exists one")), 1);
    assert_eq!(warnings(&mut conn), [("Note".to_owned(), "1008".to_owned())]);
    assert_eq!(servers(&dir).len(), before.len() + 1);
    // Again: it is a new one.
    conn.run("create database one");
    fill(&mut conn, "one");
    assert_eq!(other.value("select count(*) from t").as_deref(), Some("3"));
    // Also after a new start.
    drop((conn, other, local));
    let local = Coregate::local_in("databases", &dir, &[]);
    let mut conn = connect(&local, Some("one"));
    assert_eq!(conn.value("select count(*) from t").as_deref(), Some("3"));
    conn.run("drop database latin");
    conn.run("drop schema one");
    assert_eq!(servers(&dir), before);
    assert_eq!(code(&mut conn, "drop database ks"), 1235, "it is the last one");
}

#[test]
fn every_way_of_sending_it_commits_first_and_does_the_same() {
    let local = Coregate::local("databases-ways", &["--keyspace", "ks"]);
    let mut conn = connect(&local, Some("ks"));
    conn.run("create table t (id bigint primary key)");
    conn.run("begin");
    conn.run("insert into t values (1)");
    let create = conn.prepare("create database binary_one").unwrap();
    assert_eq!(affected(&conn.execute(&create, &[] as &[Value])), 1);
    conn.run("rollback");
    assert_eq!(conn.value("select count(*) from t").as_deref(), Some("1"), "committed before");
    assert_eq!(conn.execute(&create, &[] as &[Value]).error().code, 1007);
    conn.run("prepare p from 'create database named_one'");
    conn.run("execute p");
    assert_eq!(code(&mut conn, "execute p"), 1007);
    fill(&mut conn, "binary_one");
    fill(&mut conn, "named_one");
    let drop = conn.prepare("drop database binary_one").unwrap();
    conn.execute(&drop, &[] as &[Value]).ok();
    conn.run("prepare p from 'drop database if exists named_one'");
    conn.run("execute p");
    conn.run("set @sql = 'create database named_one'");
    conn.run("prepare p from @sql");
    conn.run("execute p");
    assert_eq!(code(&mut conn, "prepare p from @sql"), 1007);
    fill(&mut conn, "named_one");
    conn.run("drop database named_one");
    assert!(
        !databases(&mut conn)
            .iter()
            .any(|name| name.ends_with("_one"))
    );
    // At the same moment: each client is answered as if it were alone.
    let codes: Vec<Option<u16>> = std::thread::scope(|scope| {
        let create = |sql: &'static str| {
            let mut conn = connect(&local, None);
            scope.spawn(move || {
                let answer = conn.query(sql);
                answer.is_error().then(|| answer.error().code)
            })
        };
        let all =
            ["create database race", "create database race", "create database if not exists race"]
                .map(create);
        all.map(|thread| thread.join().unwrap()).to_vec()
    });
    assert_eq!(codes[2], None);
    let failed = codes.iter().flatten().count();
    assert!(
        (1..=2).contains(&failed) && codes.iter().flatten().all(|code| *code == 1007),
        "{codes:?}"
    );
    fill(&mut conn, "race");
}

#[test]
fn rights_are_kept_and_replicas_too() {
    let dir = guard::dir().join("databases-rights");
    std::fs::create_dir_all(&dir).unwrap();
    let users = dir.join("users");
    let text = r#"{"boss": {"Password": "pw", "Groups": ["admin"]}, "plain": {"Password": "pw"},
        "reader": {"Password": "pw", "ReadOnly": true}, "shopper": {"Password": "pw",
        "Keyspaces": ["ks", "shop"]}}"#;
    std::fs::write(&users, text).unwrap();
    let args = ["--keyspace", "ks:1:1", "--users", users.to_str().unwrap()];
    let local = Coregate::local_in("databases-rights", &dir.join("d"), &args);
    let login = |user: &str| {
        let login = Login { user, password: "pw", database: None, capabilities: 0 };
        Connection::over(TcpStream::connect(local.mysql).unwrap(), &login).unwrap()
    };
    assert!(login("reader").query("create database x").is_error());
    assert_eq!(code(&mut login("shopper"), "create database x"), 1044);
    login("shopper").run("create database shop");
    let mut conn = login("plain");
    fill(&mut conn, "shop");
    assert!(login("reader").query("drop database shop").is_error());
    let rows = conn.run("show vitess_tablets").rows();
    let of_shop = rows
        .iter()
        .filter(|row| row[1].as_deref() == Some("shop"))
        .count();
    assert_eq!(of_shop, 2, "as many replicas as the other keyspace has");
    wait_until("its replica has the rows", || {
        let mut replica = login("plain");
        let is_there = !replica.query("use `shop@replica`").is_error();
        let count = replica.query("select count(*) from t");
        is_there && !count.is_error() && count.value().as_deref() == Some("3")
    });
    login("boss").run("drop database shop");
}

#[test]
fn who_has_no_servers_to_make_says_so() {
    let server = MariaDb::start("databases-files", &[]);
    let dir = guard::dir().join("databases-files-topology");
    std::fs::create_dir_all(dir.join("topology")).unwrap();
    let record = format!(
        r#"{{"name": "ks", "database": "test", "shards": [{{"name": "0", "tablets": [
            {{"alias": "z-1", "type": "primary", "socket": {:?}, "user": "sb",
            "password": "sb"}}]}}]}}"#,
        server.socket()
    );
    std::fs::write(dir.join("topology/ks.json"), record).unwrap();
    let users = world::users_file();
    let config =
        format!("[topology]\ndir = {dir:?}\n[users]\nfile = {users:?}\n[server]\ncores = 1\n");
    let proxy = Coregate::configured("databases-files", &config);
    let mut conn = connect(&proxy, Some("ks"));
    for (sql, part) in
        [("create database x", "coregate ctl reload"), ("drop database ks", "delete-keyspace")]
    {
        let answer = conn.query(sql);
        let error = answer.error();
        assert!(error.code == 1235 && error.message.contains(part), "{error:?}");
    }
    assert_eq!(code(&mut conn, "drop database x"), 1008);
    conn.run("drop database if exists x");
    conn.run("create database if not exists ks");
}

#[test]
fn every_process_on_the_store_uses_it_when_it_is_answered() {
    let etcd = Etcd::start("etcd-databases", 1);
    let local =
        Coregate::local("databases-etcd", &["--keyspace", "ks", "--topo", &etcd.url("databases")]);
    let users = world::users_file();
    let config = format!(
        "[server]\ncores = 1\n[topology]\nstore = \"etcd\"\nendpoints = {}\nroot = \
            \"/databases\"\n[users]\nfile = {users:?}\n",
        etcd.endpoints()
    );
    let other = Coregate::configured("databases-beside", &config);
    wait_until("they know each other", || {
        local.admin("/api/processes").matches("\"id\"").count() == 2
    });
    let mut own = connect(&local, None);
    own.run("create database far");
    let mut beside = connect(&other, Some("far"));
    fill(&mut beside, "far");
    own.run("use far");
    assert_eq!(own.value("select count(*) from t").as_deref(), Some("3"));
    own.run("drop database far");
    assert_eq!(code(&mut connect(&other, None), "use far"), 1049);
    assert!(beside.query("select count(*) from t").is_error());
    // Who has no servers to make has it done by who has.
    let mut beside = connect(&other, None);
    assert_eq!(affected(&beside.run("create database asked character set latin1")), 1);
    assert_eq!(code(&mut beside, "create database asked"), 1007);
    assert_eq!(code(&mut beside, "create database wrong character set nosuch"), 1115);
    fill(&mut beside, "asked");
    assert_eq!(own.value("select count(*) from asked.t").as_deref(), Some("3"));
    beside.run("drop database asked");
    assert!(beside.query("select count(*) from t").is_error());
    assert_eq!(code(&mut own, "use asked"), 1049);
    assert!(
        !etcd
            .ctl(&["get", "--prefix", "--keys-only", "/databases/global/"])
            .contains("requests/")
    );
    // Its own process dies: there is nobody to ask any more.
    drop(local);
    wait_until("it has gone", || other.admin("/api/processes").matches("\"id\"").count() == 1);
    assert_eq!(code(&mut beside, "create database late"), 1235);
}
