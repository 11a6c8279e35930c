//! What users without the admin right may not do, in whatever way they ask.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Connection, Coregate, MariaDb, guard};
use std::sync::LazyLock;

const USERS: &str =
    r#"{"boss": [{"Password": "p", "Groups": ["admin"]}], "user": [{"Password": "p"}]}"#;

struct World {
    server: MariaDb,
    dropin: Coregate,
    sharded: Coregate,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let users = guard::dir().join("privileges-users.json");
    std::fs::write(&users, USERS).unwrap();
    let users = users.to_str().unwrap();
    let schema = guard::dir().join("privileges-schema");
    std::fs::create_dir_all(&schema).unwrap();
    std::fs::write(schema.join("ks.sql"), "create table t (id bigint primary key, v int);")
        .unwrap();
    std::fs::write(
        schema.join("ks.json"),
        r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
            "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#,
    )
    .unwrap();
    let schema = schema.to_str().unwrap();
    let server = MariaDb::start("privileges", &[]);
    server
        .connect()
        .run("create table t (id bigint primary key, v int)");
    let dropin = Coregate::drop_in("privileges-proxy", &server, &["--users", users]);
    let keyspaces =
        ["--keyspace", "ks:2", "--keyspace", "whole", "--schema", schema, "--vschema", schema];
    let sharded =
        Coregate::local("privileges-local", &[&keyspaces[..], &["--users", users]].concat());
    World { server, dropin, sharded }
});

fn denied(conn: &mut Connection, sql: &str) {
    let answer = conn.query(sql);
    // What no sharded keyspace can do is refused to everybody there.
    assert!(
        answer.is_error() && matches!(answer.error().code, 1227 | 1235 | 1064),
        "{sql}: {answer:?}"
    );
}

#[test]
fn the_tablets_power_is_not_every_users() {
    let world = &*WORLD;
    let targets = [
        (&world.dropin, "test"),
        (&world.sharded, "ks"),
        (&world.sharded, "ks:-80"),
        (&world.sharded, "whole"),
    ];
    for (proxy, database) in targets {
        let connect = |user| proxy.connect_as(user, "p", Some(database));
        let mut conn = connect("user");
        for sql in [
            "shutdown",
            "create user u identified by 'x'",
            "set password = password('x')",
            "set global max_connections = 1000",
            "set @@global.max_connections = 1000",
            "grant all on *.* to u",
            "select load_file('/etc/passwd')",
        ] {
            denied(&mut conn, sql);
            // Prepared, and by name.
            let prepared = conn.query(&format!("prepare p from '{}'", sql.replace('\'', "''")));
            assert!(prepared.is_error(), "{sql}: {prepared:?}");
            conn.send_command(0x16, sql.as_bytes()).unwrap();
            let packet = conn.packet().expect("an answer to COM_STMT_PREPARE");
            let refused = [[0xff, 0xcb, 0x04], [0xff, 0xd3, 0x04], [0xff, 0x28, 0x04]];
            assert!(refused.iter().any(|r| packet.starts_with(r)), "{sql}: {packet:?}");
            assert!(database == "ks" || packet.starts_with(&refused[0]), "{sql}: {packet:?}");
        }
        denied(&mut conn, "kill user sb");
        denied(&mut conn, "execute immediate 'kill user sb'");
        conn.run("set @s = concat('shut', 'down')");
        denied(&mut conn, "prepare p from @s");
        denied(&mut conn, "execute immediate 'shutdown'");
        denied(&mut conn, "execute immediate @s");
        assert_eq!(conn.query("use mysql").error().code, 1044);
        assert_eq!(
            Connection::try_login(proxy.mysql, "user", "p", Some("mysql"))
                .expect_err("not for users")
                .code,
            1044
        );
        // What concerns the user's rows goes on, also what looks alike.
        conn.run("set @a = @@global.max_connections");
    }
    let mut boss = world.dropin.connect_as("boss", "p", Some("mysql"));
    boss.run("create user u identified by 'x'");
    boss.run("set global max_connections = 599");
    assert_eq!(
        world
            .server
            .connect()
            .value("select @@global.max_connections"),
        Some("599".into())
    );
    boss.run("select * from user");
}

/// What `coregate tune grants` prints is enough for everything that users do and that the control
/// plane asks.
#[test]
fn the_printed_grants_suffice() {
    let server = MariaDb::start("grants", &["--log-bin-trust-function-creators=1"]);
    let printed = std::process::Command::new(coregate_tests::coregate::binary())
        .args(["tune", "grants", "--user", "cg", "--database", "test"])
        .output()
        .unwrap();
    assert!(printed.status.success());
    let mut direct = server.connect();
    let lines = String::from_utf8(printed.stdout).unwrap();
    let statements = lines.lines().filter(|l| !l.starts_with("--"));
    for statement in statements.filter(|l| !l.contains("-- MySQL")) {
        let sql = statement
            .split("; --")
            .next()
            .unwrap()
            .trim_end_matches(';');
        direct.run(&sql.replace("'...'", "'pw'"));
    }
    let url = format!("mysql://cg:pw@127.0.0.1:{}", server.port);
    let args = ["serve", "--upstream", &url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let proxy = Coregate::start("granted-proxy", args);
    let mut conn = proxy.connect_as("cg", "pw", Some("test"));
    for sql in [
        "create table t (id int primary key, v int)",
        "insert into t values (1, 2), (3, 4)",
        "create view w as select * from t",
        "create procedure p() update t set v = 7",
        "create trigger r before insert on t for each row set new.v = 1",
        "create temporary table x (id int)",
        "lock tables t write",
        "unlock tables",
        "begin",
        "update t set v = 5 where id = 1",
        "commit",
        "alter table t add key (v)",
        "truncate t",
        "call p()",
        "show processlist",
        "drop table t",
    ] {
        let answer = conn.query(sql);
        assert!(!answer.is_error(), "{sql}: {answer:?}");
    }
    assert!(
        conn.query("select load_file('/etc/passwd')")
            .value()
            .is_none()
    );
    assert!(conn.query("create user u").is_error() && conn.query("shutdown").is_error());
    coregate_tests::wait_until("it is healthy", || proxy.metric("coregate_tablet_serving") == 1.0);
}

/// A row that is not logged does not come to replicas, and is lost with its primary.
#[test]
fn nobody_writes_beside_the_log() {
    let world = &*WORLD;
    let mut root = world.server.connect();
    // Before one server, it is the privilege that it is there.
    let mut user = world.dropin.connect_as("user", "p", Some("test"));
    for sql in [
        "set sql_log_bin = 0",
        "set @@session.gtid_domain_id = 7",
        "set statement server_id = 9 for do 1",
    ] {
        denied(&mut user, sql);
    }
    let mut boss = world.dropin.connect_as("boss", "p", Some("test"));
    boss.run("set sql_log_bin = 0");
    assert_eq!(boss.value("select @@sql_log_bin").as_deref(), Some("0"));
    assert_eq!(root.value("select @@sql_log_bin").as_deref(), Some("1"));
    // In keyspaces nobody decides it; the head of a dump is taken, as it says nothing about rows.
    for user in ["user", "boss"] {
        for database in ["ks", "whole"] {
            let mut conn = world.sharded.connect_as(user, "p", Some(database));
            let answer = conn.query("set @@session.sql_log_bin= 0, @x = 5, gtid_domain_id = 77");
            assert!(!answer.is_error(), "{answer:?}");
            let told = conn.query("show warnings").rows();
            assert!(told.len() == 2 && format!("{told:?}").contains("sql_log_bin"), "{told:?}");
            assert_eq!(
                conn.value("select concat(@x, @@sql_log_bin, @@gtid_domain_id = 77)")
                    .as_deref(),
                Some("5ON0")
            );
        }
    }
    let mut user = world.sharded.connect_as("user", "p", Some("whole"));
    denied(&mut user, "create procedure beside() begin set sql_log_bin = 0; end");
    denied(&mut user, "set statement gtid_domain_id = 7 for insert into t values (1, 1)");
}
