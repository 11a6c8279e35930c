//! `lookup_unicodeloosemd5_hash`: the lookup table holds a number for each value, the same for
//! texts that differ in case or accents only.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::Value;
use coregate_tests::{Connection, Coregate, world};
use std::sync::LazyLock;

const PLAIN: &str = "
create table name_idx (name bigint unsigned not null, user_id bigint unsigned not null, primary \
key (name, user_id));
create table mail_idx (mail bigint unsigned not null primary key, user_id bigint unsigned);
";

const SHARDED: &str = "
create table users (id bigint not null primary key, name varchar(40) collate \
utf8mb4_general_ci, mail varchar(60) collate utf8mb4_general_ci);
create table visits (mail varchar(60) collate utf8mb4_general_ci not null, at int not null, \
primary key (mail, at));
";

const VSCHEMA: &str = r#"{"sharded": true,
 "vindexes": {
  "hash": {"type": "hash"},
  "name": {"type": "lookup_unicodeloosemd5_hash", "owner": "users",
   "params": {"table": "look.name_idx", "from": "name", "to": "user_id", "ignore_nulls": "true"}},
  "mail": {"type": "lookup_unicodeloosemd5_hash_unique", "owner": "users",
   "params": {"table": "look.mail_idx", "from": "mail", "to": "user_id", "ignore_nulls": "true"}}
 },
 "tables": {
  "users": {"column_vindexes": [{"column": "id", "name": "hash"},
   {"column": "name", "name": "name"}, {"column": "mail", "name": "mail"}]},
  "visits": {"column_vindexes": [{"column": "mail", "name": "mail"}]}}}"#;

static LOCAL: LazyLock<Coregate> = LazyLock::new(|| {
    Coregate::local_of_two("loose-lookups", ("look", 3), [PLAIN, SHARDED], VSCHEMA)
});

fn rows(conn: &mut Connection, sql: &str) -> Vec<String> {
    let rows = conn.query(sql).rows().into_iter();
    let cell = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".into());
    rows.map(|row| row.into_iter().map(cell).collect::<Vec<_>>().join(" "))
        .collect()
}

/// How many shards a query goes to.
fn shards(conn: &mut Connection, sql: &str) -> usize {
    let steps = rows(conn, &format!("vexplain queries {sql}"));
    steps.iter().filter(|step| step.contains("users")).count()
}

/// Vitess's numbers for 10 and 20, from its own tests.
const TEN: &str = "17563797831108199066";
const TWENTY: &str = "8729390916138266389";

#[test]
fn values_are_found_by_the_number_that_vitess_gives_them() {
    let mut conn = LOCAL.connect_as(world::USER, world::PASSWORD, Some("test"));
    conn.run("insert into users values (1, '10', 'a@x'), (2, '20', 'b@x'), (3, 'Zoë', 'c@x')");
    conn.run("insert into users values (4, 'zoe', 'd@x'), (5, null, null)");
    let held =
        rows(&mut conn, "select name, user_id from look.name_idx where user_id < 3 order by 2");
    assert_eq!(held, [format!("{TEN} 1"), format!("{TWENTY} 2")]);
    assert_eq!(
        rows(&mut conn, "select count(distinct name), count(*) from look.name_idx"),
        ["3 4"]
    );

    let found = "select id from users where name = 'ZOE' order by id";
    assert_eq!(rows(&mut conn, found), ["3", "4"]);
    assert_eq!(rows(&mut conn, "select id from users where mail = 'A@X'"), ["1"]);
    assert_eq!(shards(&mut conn, "select id from users where mail = 'A@X'"), 1);
    assert_eq!(
        rows(&mut conn, "select id from users where mail in ('b@x', 'c@x', 'q') order by id"),
        ["2", "3"]
    );
    assert!(rows(&mut conn, "select id from users where mail = 'nobody@x'").is_empty());
    assert!(rows(&mut conn, "select id from users where mail = null").is_empty());
    assert_eq!(rows(&mut conn, "select id from users where mail is null"), ["5"]);
    let statement = conn.prepare("select id from users where mail = ?").unwrap();
    let answer = conn.execute(&statement, &[Value::from("D@x")]);
    let coregate_tests::Answer::Rows { raw, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(raw.len(), 1);

    // A value of the vindex that another table owns says where its rows lie.
    conn.run("insert into visits values ('A@x', 1), ('b@x', 2)");
    assert_eq!(rows(&mut conn, "select at from visits where mail = 'a@X'"), ["1"]);
    let refused = conn.query("insert into visits values ('nobody@x', 1)");
    assert_eq!(refused.error().code, 1105);

    // The same text to the vindex, if not to every collation.
    let taken = conn.query("insert into users values (9, 'nine', 'Á@x')");
    assert_eq!(taken.error().code, 1062, "{taken:?}");
    changes(&mut conn);
}

fn changes(conn: &mut Connection) {
    conn.run("update users set mail = 'e@x', name = 'Eve' where id = 1");
    assert!(rows(conn, "select id from users where mail = 'a@x'").is_empty());
    assert_eq!(rows(conn, "select id from users where mail = 'E@x' and name = 'eve'"), ["1"]);
    conn.run("update users set mail = concat('f', '@x') where mail = 'B@X'");
    assert_eq!(rows(conn, "select id from users where mail = 'f@x'"), ["2"]);
    conn.run("replace into users values (3, 'Zoé', 'F@x')");
    assert_eq!(rows(conn, "select id from users where mail = 'f@x'"), ["3"]);
    conn.run("insert into users values (4, 'x', 'g@x') on duplicate key update mail = 'h@x'");
    assert_eq!(rows(conn, "select id from users where mail = 'H@X'"), ["4"]);
    conn.run("delete from users where mail in ('h@x', 'F@X')");
    conn.run("delete from users where id in (1, 5)");
    assert!(rows(conn, "select * from users").is_empty());
    for table in ["name_idx", "mail_idx"] {
        assert!(rows(conn, &format!("select * from look.{table}")).is_empty(), "{table}");
    }
}
