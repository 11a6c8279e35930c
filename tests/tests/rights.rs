//! What users of the users file may do.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::{Login, Value};
use coregate_tests::{Answer, Connection, Coregate, guard, wait_until};
use std::net::TcpStream;
use std::sync::LazyLock;

const USERS: &str = r#"{
 "boss": {"Password": "pw", "Groups": ["admin"]},
 "reader": {"Password": "pw", "ReadOnly": true},
 "shopper": {"Password": "pw", "Keyspaces": ["shop"]},
 "plain": {"Password": "pw", "Keyspaces": ["plain"]},
 "secret": {"Password": "pw", "RequireTls": true},
 "few": {"Password": "pw", "MaxConnections": 2}}"#;

const TABLES: &str = "create table t (id bigint not null primary key, a int, key (a));";
const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
    "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#;

static LOCAL: LazyLock<Coregate> = LazyLock::new(|| {
    let dir = guard::dir().join("rights");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("users"), USERS).unwrap();
    for name in ["shop", "other", "plain"] {
        std::fs::write(dir.join(format!("{name}.sql")), TABLES).unwrap();
    }
    std::fs::write(dir.join("shop.json"), VSCHEMA).unwrap();
    std::fs::write(dir.join("other.json"), VSCHEMA).unwrap();
    let (users, dir) = (dir.join("users"), dir.to_str().unwrap());
    let args = [
        "--keyspace",
        "shop:2",
        "--keyspace",
        "other:2",
        "--keyspace",
        "plain",
        "--schema",
        dir,
        "--vschema",
        dir,
        "--users",
        users.to_str().unwrap(),
    ];
    let local = Coregate::local("rights", &args);
    let mut boss = local.connect_as("boss", "pw", Some("shop"));
    for keyspace in ["shop", "other", "plain"] {
        boss.run(&format!("insert into {keyspace}.t (id, a) values (1, 1), (2, 2), (4, 4)"));
        boss.run(&format!("use {keyspace}"));
        boss.run("create table written (n int)");
        boss.run(
            "create function writes() returns int deterministic begin insert into written values \
                (1); return 1; end",
        );
    }
    local
});

fn login(user: &str, database: Option<&str>) -> Result<Connection, u16> {
    let login = Login { user, password: "pw", database, capabilities: 0 };
    Connection::over(TcpStream::connect(LOCAL.mysql).unwrap(), &login).map_err(|error| error.code)
}

/// What a user with ReadOnly may do.
const ALLOWED: &[&str] = &[
    "select count(*) from t",
    "select a.id, b.a from t a join t b on a.id = b.a + 1 order by 1",
    "select a, count(id) over () from t order by id",
    "show tables",
    "explain select * from t where id = 1",
    "begin",
    "select a from t where id = 2",
    "commit",
    "start transaction read only",
    "rollback",
    "set session transaction isolation level read committed",
    "set @a = 1",
    "prepare s from 'select count(*) from t where id > ?'",
    "execute s using @a",
    "deallocate prepare s",
];

/// What they may not.
const DENIED: &[&str] = &[
    "insert into t (id, a) values (7, 7)",
    "insert into t (id, a) select id + 100, a from t",
    "replace into t (id, a) values (1, 7)",
    "update t set a = 7",
    "update t set a = 7 where id = 1",
    "delete from t where id in (1, 2)",
    "truncate table t",
    "create table x (id int)",
    "create temporary table x (id int)",
    "alter table t add b int",
    "drop table t",
    "select * from t where id = 1 for update",
    "lock tables t write",
    "call p()",
    "start transaction read write",
    "set transaction read write",
    "set session transaction read write",
    "set session tx_read_only = 0",
    "set @@tx_read_only = off",
    "prepare s from 'delete from t where id = 1'",
    "execute immediate 'delete from t where id = 1'",
    "execute immediate 'set session transaction read write'",
    "select writes() from t where id = 1",
    "select sum(writes()) from t",
    "select writes(), row_number() over (order by id) from t",
];

#[test]
fn readers_read() {
    for keyspace in ["shop", "plain"] {
        let mut conn = login("reader", Some(keyspace)).unwrap();
        for sql in ALLOWED {
            let answer = conn.query(sql);
            assert!(!answer.is_error(), "{keyspace} {sql}: {answer:?}");
        }
        let mut wrong = Vec::new();
        for sql in DENIED {
            let answer = conn.query(sql);
            if !answer.is_error() || ![1142, 1227, 1792, 1305, 1235].contains(&answer.error().code)
            {
                wrong.push(format!("{keyspace} {sql}: {answer:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(conn.prepare("delete from t where id = ?").is_err());
        let select = conn.prepare("select a from t where id >= ?").unwrap();
        conn.execute(&select, &[Value::Int(0)]).ok();
        // As after login.
        conn.send_command(0x1f, b"").unwrap();
        conn.answer(false).unwrap().ok();
        assert_eq!(
            conn.query(&format!("select {keyspace}.writes()"))
                .error()
                .code,
            1792
        );
        let mut boss = login("boss", Some(keyspace)).unwrap();
        assert_eq!(boss.value("select count(*) from t where a = id").unwrap(), "3");
    }
}

#[test]
fn keyspaces_are_closed_to_others() {
    for database in [None, Some("shop")] {
        let mut conn = login("shopper", database).unwrap();
        let denied = |conn: &mut Connection, sql: &str| {
            let answer = conn.query(sql);
            assert!(
                matches!(&answer, Answer::Error(error) if error.code == 1044),
                "{database:?} {sql}: {answer:?}"
            );
        };
        conn.run("insert into shop.t (id, a) values (99, 99) on duplicate key update a = 99");
        conn.run("delete from shop.t where id = 99");
        for sql in [
            "select * from other.t where id = 1",
            "select count(*) from other.t",
            "select * from shop.t s join other.t o on s.id = o.a",
            "select * from shop.t where id in (select a from plain.t p)",
            "insert into other.t (id, a) values (9, 9)",
            "insert into shop.t (id, a) select id, a from other.t o",
            "update plain.t set a = 9",
            "delete from other.t",
            "alter table other.t add b int",
            "drop table other.t",
            "create table other.x (id int)",
            "lock tables plain.t write",
            "truncate table plain.t",
            "use other",
            "use plain",
            "use other:-80@primary",
            "use `shop:-80@primary`",
            "prepare s from 'select * from other.t where id = 1'",
        ] {
            denied(&mut conn, sql);
        }
        assert!(conn.prepare("select * from plain.t").is_err());
    }
    assert_eq!(login("shopper", Some("other")).err(), Some(1044));
    assert_eq!(login("shopper", Some("plain@replica")).err(), Some(1044));
    assert_eq!(login("shopper", Some("shop:-80")).err(), Some(1044));
}

/// Keyspaces may share a server, which knows all names in what is no query.
#[test]
fn keyspaces_are_closed_to_what_a_server_reads_for_itself() {
    let mut conn = login("plain", Some("plain")).unwrap();
    for sql in [
        "create view v as select * from shop.t",
        "create table zt as select * from `shop`.t",
        "create temporary table zt as select * from SHOP . t",
        "set @x = (select count(*) from shop.t)",
        "select nextval(shop.sq)",
        "select shop.f()",
        "do shop.f()",
        "create table z (id bigint, foreign key (id) references shop.t (id))",
        "handler shop.t open",
        "set statement max_statement_time = 9 for select * from shop.t",
        "create procedure p() delete from shop.t",
        "create trigger tr before insert on t for each row insert into shop.t values (1, 1)",
        "prepare p from 'select shop.f()'",
        "execute immediate 'select shop.f()'",
    ] {
        let answer = conn.query(sql);
        assert!(matches!(&answer, Answer::Error(error) if error.code == 1044), "{sql}: {answer:?}");
    }
    // A name alone is none of a keyspace.
    assert_eq!(
        conn.query("select a as shop, 'shop.t' from plain.t s where s.id = 1")
            .rows()
            .len(),
        1
    );
    conn.run("create view v as select shops.id from t shops join plain.t s on s.id = shops.id");
    conn.run("drop view v");
}

#[test]
fn logins_are_limited() {
    assert_eq!(login("secret", None).err(), Some(1045));
    let (one, two) = (login("few", None).unwrap(), login("few", Some("shop")).unwrap());
    assert_eq!(login("few", None).err(), Some(1226));
    two.quit();
    wait_until("there is room again", || login("few", None).is_ok());
    drop(one);
    // Others are not counted.
    let _others: Vec<_> = (0..5).map(|_| login("reader", None).unwrap()).collect();
}
