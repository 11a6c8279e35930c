//! Files that mariadb-dump writes are loaded into a sharded keyspace; LOCK TABLES holds on all of
//! its shards.
#![allow(clippy::unwrap_used)]
use coregate_tests::{Coregate, MariaDb, guard, world};
use std::fs;
use std::process::{Command, Stdio};

fn program(names: [&str; 2]) -> Command {
    let found = names.iter().find(|name| {
        Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    });
    Command::new(found.expect("a client program of MariaDB"))
}

fn cluster() -> Coregate {
    let dir = guard::dir().join("dump-schemas");
    fs::create_dir_all(&dir).unwrap();
    let by_id = r#"{"column_vindexes": [{"column": "id", "name": "hash"}]}"#;
    let vschema = format!(
        r#"{{"sharded": true, "vindexes": {{"hash": {{"type": "hash"}}}},
            "tables": {{"t": {by_id}, "u": {by_id}}}}}"#
    );
    fs::write(dir.join("ring.json"), vschema).unwrap();
    let (dir, users) = (dir.to_str().unwrap(), world::users_file());
    let users = users.to_str().unwrap();
    Coregate::local("dumps", &["--keyspace", "ring:2", "--vschema", dir, "--users", users])
}

#[test]
fn a_dump_is_loaded_into_shards() {
    let server = MariaDb::start("upstream", &[]);
    let mut direct = server.connect();
    direct.run(
        "create table t (id bigint primary key, v varchar(100), d timestamp(3) null, b blob, \
            key (v))",
    );
    direct.run(
        "create table u (id bigint primary key, n decimal(10,2)) engine=innodb comment='it''s; so'",
    );
    for id in 0..40 {
        direct.run(&format!(
            "insert into t values ({id}, 'v;\\'\\\\{id} é', '2024-03-31 02:30:00.123', \
                x'00ff5c27{id:02}')"
        ));
        direct.run(&format!("insert into u values ({id}, {id}.25)"));
    }
    let dump = program(["mariadb-dump", "mysqldump"])
        .args(["--no-defaults", "-h127.0.0.1", "-usb", "-psb", "--skip-ssl"])
        .args([&format!("-P{}", server.port), "test"])
        .output()
        .unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let text = String::from_utf8_lossy(&dump.stdout);
    for part in ["/*!40101 SET", "LOCK TABLES", "DISABLE KEYS", "/*M!"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let file = guard::dir().join("dump.sql");
    fs::write(&file, &dump.stdout).unwrap();

    let coregate = cluster();
    let loaded = program(["mariadb", "mysql"])
        .args(["--no-defaults", "-h127.0.0.1", "-uapp", "-papp", "--skip-ssl"])
        .args([&format!("-P{}", coregate.mysql.port()), "ring"])
        .stdin(fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    let mut conn = coregate.connect_as(world::USER, world::PASSWORD, Some("ring"));
    for table in ["t", "u"] {
        let mut rows = conn.run(&format!("select * from {table}")).rows();
        rows.sort_by_key(|row| row[0].clone().unwrap().parse::<u64>().unwrap());
        assert_eq!(
            rows,
            direct
                .run(&format!("select * from {table} order by id"))
                .rows()
        );
        for shard in ["-80", "80-"] {
            let mut conn =
                coregate.connect_as(world::USER, world::PASSWORD, Some(&format!("ring:{shard}")));
            let count: u64 = conn
                .value(&format!("select count(*) from {table}"))
                .unwrap()
                .parse()
                .unwrap();
            assert!((5..36).contains(&count), "{count} rows on {shard}");
        }
    }

    // What a comment's version decides on is planned as the servers run it.
    assert_eq!(
        conn.run("select id from t where id = 3 /*!99999 or id = 4 it's skipped */")
            .rows()
            .len(),
        1
    );
    assert_eq!(
        conn.run("select id from t where id = 3 /*!40000 or id = 4 */")
            .rows()
            .len(),
        2
    );
    assert_eq!(
        conn.run("select id from t where id in (3 /*!50708 , 4 */ /*M!100100 , 5 */)")
            .rows()
            .len(),
        2
    );
    let statement = conn
        .prepare("select id from t where id = ? /*!99999 or id = ? */")
        .unwrap();
    assert_eq!(statement.parameters.len(), 1);

    // LOCK TABLES: on every shard, against others, until UNLOCK TABLES.
    let mut other = coregate.connect_as(world::USER, world::PASSWORD, Some("ring"));
    other.run("set lock_wait_timeout = 1");
    conn.run("lock tables t write");
    conn.run("insert into t (id, v) values (100, 'a'), (101, 'b'), (102, 'c'), (103, 'd')");
    for id in 0..8 {
        assert_eq!(
            other
                .query(&format!("select * from t where id = {id}"))
                .error()
                .code,
            1205
        );
    }
    assert_eq!(conn.query("select * from u where id = 1").error().code, 1100);
    assert_eq!(other.query("lock tables t read").error().code, 1205);
    conn.run("unlock tables");
    assert_eq!(
        other
            .run("select * from t where id in (100, 101, 102, 103)")
            .rows()
            .len(),
        4
    );
    other.run("lock tables t read");
    drop(conn);
    other.run("unlock tables");
}
