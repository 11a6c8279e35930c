//! Tables that own lookup vindexes: whoever changes their rows, the lookup tables say where the
//! rows lie.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::Value;
use coregate_tests::{Answer, Connection, Coregate, world};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

const PLAIN: &str = "
create table email_idx (email varchar(60) not null primary key, keyspace_id varbinary(20));
create table team_idx (team varchar(20), id bigint not null, keyspace_id varbinary(20), unique key \
(id, team));
create table badge_idx (badge bigint not null primary key, user_id bigint unsigned);
";

const SHARDED: &str = "
create table users (id bigint not null primary key, email varchar(60), team varchar(20), badge \
bigint, note varchar(20));
";

const VSCHEMA: &str = r#"{"sharded": true,
 "vindexes": {
  "hash": {"type": "hash"},
  "email": {"type": "lookup_unique", "owner": "users", "params": {"table": "look.email_idx",
  "from": "email", "to": "keyspace_id", "ignore_nulls": "true"}},
  "team": {"type": "lookup", "owner": "users", "params": {"table": "look.team_idx",
  "from": "team,id", "to": "keyspace_id"}},
  "badge": {"type": "lookup_hash_unique", "owner": "users", "params": {"table": "look.badge_idx",
  "from": "badge", "to": "user_id", "ignore_nulls": "true"}}
 },
 "tables": {"users": {"column_vindexes": [
   {"column": "id", "name": "hash"}, {"column": "email", "name": "email"},
   {"columns": ["team", "id"], "name": "team"}, {"column": "badge", "name": "badge"}]}}}"#;

static LOCAL: LazyLock<Coregate> =
    LazyLock::new(|| Coregate::local_of_two("lookups", ("look", 3), [PLAIN, SHARDED], VSCHEMA));

/// One test at a time: entries next to each other are locked together, and servers may call that a
/// deadlock.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect() -> Connection {
    LOCAL.connect_as(world::USER, world::PASSWORD, Some("test"))
}

/// What the lookup tables must hold for the users with ids in a range, and do hold.
fn check(conn: &mut Connection, from: i64, to: i64) {
    let expected = conn.query(&format!(
        "select email, team, badge, id from users where id between {from} and {to} order by id"
    ));
    let mut entries = Vec::new();
    for row in expected.rows() {
        let cell = |at: usize| row[at].clone();
        entries.push((cell(0), cell(1), cell(2), cell(3).unwrap()));
    }
    let mut emails: Vec<_> = entries.iter().filter_map(|e| e.0.clone()).collect();
    emails.sort();
    let mut teams: Vec<_> = entries.iter().map(|e| (e.1.clone(), e.3.clone())).collect();
    teams.sort();
    let mut badges: Vec<_> = entries
        .iter()
        .filter_map(|e| Some((e.2.clone()?, e.3.clone())))
        .collect();
    badges.sort();
    let rows = |conn: &mut Connection, sql: &str| {
        let mut rows = conn.query(sql).rows();
        rows.sort();
        rows
    };
    let like = |column: &str| format!("{column} between '{from:06}' and '{to:06}~'");
    let found = rows(conn, &format!("select email from look.email_idx where {}", like("email")));
    assert_eq!(
        found
            .into_iter()
            .map(|r| r[0].clone().unwrap())
            .collect::<Vec<_>>(),
        emails
    );
    let found =
        rows(conn, &format!("select team, id from look.team_idx where id between {from} and {to}"));
    let found: Vec<_> = found
        .into_iter()
        .map(|r| (r[0].clone(), r[1].clone().unwrap()))
        .collect();
    assert_eq!(found, teams);
    let sql =
        format!("select badge, user_id from look.badge_idx where user_id between {from} and {to}");
    let found = rows(conn, &sql);
    let found: Vec<_> = found
        .into_iter()
        .map(|r| (r[0].clone().unwrap(), r[1].clone().unwrap()))
        .collect();
    assert_eq!(found, badges);
}

/// Rows with ids from `base` on; emails sort by them.
fn insert(base: i64, rows: i64) -> String {
    let rows = (0..rows).map(|n| {
        let id = base + n;
        format!("({id}, '{id:06}@x', 'team{}', {}, null)", n % 3, id * 10)
    });
    let rows = rows.collect::<Vec<_>>().join(", ");
    format!("insert into users (id, email, team, badge, note) values {rows}")
}

#[test]
fn rows_that_come_change_and_go_have_their_entries() {
    let _turn = alone();
    let mut conn = connect();
    conn.run(&insert(1000, 20));
    check(&mut conn, 1000, 1999);
    conn.run("insert into users (id, email, team, badge) values (1500, null, null, null)");
    check(&mut conn, 1000, 1999);
    conn.run("insert into users (id, team) values (1501, 'few'), (1502, 'few')");
    conn.run("insert into users set id = 1503, email = '001503@x'");
    check(&mut conn, 1000, 1999);
    conn.run("delete u from users u where u.id in (1501, 1502)");
    conn.run("delete from users where id = 1503");
    check(&mut conn, 1000, 1999);
    conn.run("update users set email = '001003@y', badge = 99001003 where id = 1003");
    conn.run("update users set team = 'other' where id between 1005 and 1009");
    conn.run("update users set team = null, email = null where id in (1010, 1011)");
    conn.run("update users set note = 'x' where id between 1000 and 1999");
    check(&mut conn, 1000, 1999);
    conn.run("delete from users where id in (1001, 1003, 1010, 1500)");
    check(&mut conn, 1000, 1999);
    conn.run("delete from users where team = 'other' and id < 2000");
    check(&mut conn, 1000, 1999);
    let count = conn.value("select count(*) from users where id between 1000 and 1999");
    assert_eq!(count.unwrap(), "12");
}

#[test]
fn prepared_statements_keep_them_too() {
    let _turn = alone();
    let mut conn = connect();
    let insert = conn
        .prepare("insert into users (id, email, team, badge) values (?, ?, ?, ?), (?, ?, ?, ?)")
        .unwrap();
    let row = |id: i64| {
        vec![
            Value::Int(id),
            Value::from(format!("{id:06}'\\@p").as_str()),
            Value::from("p"),
            Value::Int(id * 10),
        ]
    };
    for id in (2000..2010).step_by(2) {
        let values: Vec<Value> = row(id).into_iter().chain(row(id + 1)).collect();
        conn.execute(&insert, &values).ok();
    }
    check(&mut conn, 2000, 2999);
    let update = conn
        .prepare("update users set email = ?, team = ? where id = ?")
        .unwrap();
    conn.execute(&update, &[Value::from("002003@q"), Value::Null, Value::Int(2003)])
        .ok();
    let delete = conn.prepare("delete from users where id = ?").unwrap();
    conn.execute(&delete, &[Value::Int(2004)]).ok();
    check(&mut conn, 2000, 2999);
}

#[test]
fn statements_prepared_by_name_keep_them_too() {
    let _turn = alone();
    let mut conn = connect();
    conn.run(
        "prepare put from 'insert into users (id, email, team, badge) values (?, ?, ?, ?), (?, ?, \
            ?, ?)'",
    );
    for id in [2500, 2502, 2504] {
        conn.run(&format!("set @a = {id}, @b = '{id:06}''\\\\@é', @c = 'n', @d = {id} * 10"));
        conn.run("set @e = @a + 1, @f = concat('00', @a + 1, '@n'), @g = @d + 1");
        let answer = conn.query("execute put using @a, @b, @c, @d, @e, @f, @c, @g");
        assert!(matches!(answer, Answer::Ok { affected: 2, .. }), "{answer:?}");
    }
    check(&mut conn, 2500, 2999);
    conn.run("prepare one from 'insert into users (id, email) values (?, ?)'");
    conn.run("set @a = 2600, @b = _latin1 x'303032363030e9'");
    conn.run("execute one using @a, @b");
    check(&mut conn, 2500, 2999);
    assert_eq!(
        conn.value("select email from users where email = '002600é'")
            .unwrap(),
        "002600é"
    );
    conn.run("prepare change from 'update users set email = ?, team = ? where id = ?'");
    conn.run("set @a = '002503@q', @b = null, @c = 2503");
    conn.run("execute change using @a, @b, @c");
    conn.run("prepare some from 'update users set badge = badge + ? where id in (?, ?)'");
    conn.run("set @n = 7, @a = 2502, @b = 2505");
    conn.run("begin");
    conn.run("execute some using @n, @a, @b");
    conn.run("rollback");
    check(&mut conn, 2500, 2999);
    conn.run("execute some using @n, @a, @b");
    check(&mut conn, 2500, 2999);
    conn.run("prepare away from 'delete from users where id = ? or team = ?'");
    conn.run("set @a = 2504, @b = 'nobody'");
    conn.run("execute away using @a, @b");
    check(&mut conn, 2500, 2999);
    // One that fails leaves nothing.
    conn.run("set @a = 2700, @b = '002502''\\\\@é'");
    assert_eq!(conn.query("execute one using @a, @b").error().code, 1062);
    check(&mut conn, 2500, 2999);
    // What a session in another character set would write otherwise is refused.
    conn.run("set names latin1");
    conn.run("set @a = 2701, @b = _latin1 x'303032373031e9'");
    assert_eq!(conn.query("execute one using @a, @b").error().code, 1235);
    conn.run("set names utf8mb4");
    check(&mut conn, 2500, 2999);
}

/// An entry whose row went behind our back is given to the next row with its value, be it the same
/// row again.
#[test]
fn entries_without_rows_are_used_again() {
    let _turn = alone();
    let mut conn = connect();
    for begin in ["", "begin"] {
        for same in [true, false] {
            conn.run(&insert(3600, 3));
            let mut shards: Vec<String> = conn
                .query("show shards")
                .rows()
                .into_iter()
                .filter_map(|row| row[0].clone())
                .filter(|name| name.starts_with("test"))
                .collect();
            assert_eq!(shards.len(), 3);
            for shard in shards.drain(..) {
                conn.run(&format!("use `{}`", shard.replace('/', ":")));
                conn.run("delete from users where id between 3600 and 3699");
            }
            conn.run("use test");
            conn.run("delete from look.team_idx where id between 3600 and 3699");
            if !begin.is_empty() {
                conn.run(begin);
            }
            let by = if same { 0 } else { 10 };
            for id in 3600..3603 {
                let sql = format!(
                    "insert into users (id, email, team, badge) values ({}, '{id:06}@x', 'again', \
                        {})",
                    id + by,
                    id * 10
                );
                conn.run(&sql);
            }
            conn.query("commit").ok();
            check(&mut conn, 3600, 3699);
            assert_eq!(
                conn.query(
                    "insert into users (id, email) values (3650, '003650@x'), (3651, '003650@x')"
                )
                .error()
                .code,
                1062
            );
            check(&mut conn, 3600, 3699);
            conn.run("delete from users where id between 3600 and 3699");
        }
    }
}

/// So it is where the lookup table's key is the looked-up columns, and the vindex is not unique.
#[test]
fn entries_of_vindexes_that_are_not_unique_are_used_again() {
    let _turn = alone();
    let mut conn = connect();
    for id in 3700..3703 {
        let left = format!("insert into look.team_idx values ('left', {id}, x'00')");
        conn.run(&left);
    }
    conn.run("insert into users (id, email, team, badge) values (3700, '003700@x', 'left', 37000)");
    conn.run(
        "insert into users (id, email, team, badge) values (3701, '003701@x', 'other', 37010)",
    );
    conn.run("update users set team = 'left' where id = 3701");
    conn.run(
        "insert ignore into users (id, email, team, badge) \
         values (3702, '003702@x', 'left', 37020)",
    );
    assert_eq!(
        conn.value("select count(*) from users where team = 'left' and id between 3700 and 3702")
            .as_deref(),
        Some("3")
    );
    check(&mut conn, 3700, 3702);
    conn.run("delete from users where id between 3700 and 3702");
    check(&mut conn, 3700, 3702);
}

/// A row that moves to the shard of another row does not take that row's entry.
#[test]
fn rows_that_move_take_no_entry_of_others() {
    let _turn = alone();
    let mut conn = connect();
    conn.run(&insert(3100, 2));
    for id in 3110..3130 {
        for taken in ["003100@x", "003101@x"] {
            let sql = format!("update users set id = {id}, email = '{taken}' where id = 3100");
            let wanted = if taken == "003100@x" { 0 } else { 1062 };
            match conn.query(&sql) {
                Answer::Error(error) => assert_eq!(error.code, wanted, "{sql}: {error:?}"),
                answer => assert_eq!(wanted, 0, "{sql}: {answer:?}"),
            }
            check(&mut conn, 3100, 3999);
            conn.run(&format!("update users set id = 3100 where id = {id}"));
            check(&mut conn, 3100, 3999);
        }
        let found = conn
            .query("select id from users where email = '003101@x'")
            .rows();
        assert_eq!(found.len(), 1);
    }
}

#[test]
fn a_statement_that_fails_leaves_nothing_in_the_lookup_tables() {
    let _turn = alone();
    let mut conn = connect();
    conn.run(&insert(3000, 6));
    // The entry of the second row is there already; the first row's goes again.
    let clash = "insert into users (id, email, team, badge) values (3100, '003100@x', 't', null), \
        (3101, '003001@x', 't', null)";
    assert_eq!(conn.query(clash).error().code, 1062);
    check(&mut conn, 3000, 3999);
    // The row itself is there already.
    let clash = "insert into users (id, email, team, badge) values (3000, '003102@x', 't', 31020)";
    assert_eq!(conn.query(clash).error().code, 1062);
    check(&mut conn, 3000, 3999);
    assert_eq!(
        conn.query("update users set email = '003001@x' where id = 3002")
            .error()
            .code,
        1062
    );
    check(&mut conn, 3000, 3999);

    // A unique lookup vindex has the value for another row.
    let taken = "(id, email, team) values (3102, '003001@x', 't')";
    let on_duplicate = format!("insert into users {taken} on duplicate key update note = 'z'");
    assert_eq!(conn.query(&on_duplicate).error().code, 1062);
    conn.run("replace into users (id, email, team) values (3002, '003001@x', 't')");
    assert!(
        conn.query("select 1 from users where id = 3001")
            .rows()
            .is_empty()
    );
    check(&mut conn, 3000, 3999);
    conn.run(&format!("insert ignore into users {taken}"));
    let warning = conn.query("show warnings").rows();
    assert_eq!(warning[0][1].as_deref(), Some("1062"), "{warning:?}");
    check(&mut conn, 3000, 3999);
    // What could not keep them right is refused.
    assert_eq!(conn.query("truncate table users").error().code, 1235);
    check(&mut conn, 3000, 3999);

    conn.run("begin");
    conn.run("insert into users (id, email, team, badge) values (3200, '003200@x', 't', null)");
    assert_eq!(conn.query(clash).error().code, 1062);
    // Only the statement is undone.
    conn.run("update users set team = 'kept' where id = 3003");
    conn.run("commit");
    check(&mut conn, 3000, 3999);
    assert_eq!(
        conn.value("select team from users where id = 3200")
            .unwrap(),
        "t"
    );
    assert_eq!(
        conn.value("select team from users where id = 3003")
            .unwrap(),
        "kept"
    );

    conn.run("begin");
    conn.run("delete from users where id between 3000 and 3999");
    conn.run("rollback");
    check(&mut conn, 3000, 3999);
    let count = conn.value("select count(*) from users where id between 3000 and 3999");
    assert_eq!(count.unwrap(), "6");
}

#[test]
fn without_autocommit_they_change_with_the_transaction() {
    let _turn = alone();
    let mut conn = connect();
    conn.run("set autocommit = 0");
    conn.run(&insert(4000, 5));
    conn.run("rollback");
    check(&mut conn, 4000, 4999);
    conn.run(&insert(4000, 5));
    conn.run("delete from users where id = 4002");
    conn.run("commit");
    check(&mut connect(), 4000, 4999);
}

/// An entry whose row has gone, as a crash between two commits leaves it.
#[test]
fn entries_of_rows_that_are_gone_are_given_to_new_ones() {
    let _turn = alone();
    let mut conn = connect();
    conn.run(&insert(5000, 6));
    conn.run(
        "insert into look.email_idx values ('005100@x', x'ffff'), ('005101@x', x'0001'), \
        ('005102@x', x'7777'), ('005103@x', x'9999')",
    );
    conn.run(
        "insert into users (id, email, team) values (5100, '005100@x', 't'), (5110, \
        '005110@x', 't'), (5101, '005101@x', 't')",
    );
    conn.run("update users set email = '005102@x' where id = 5003");
    conn.run("replace into users (id, email, team) values (5002, '005103@x', 't')");
    check(&mut conn, 5000, 5999);
    // They find their rows now.
    for (email, id) in [("005100@x", "5100"), ("005102@x", "5003"), ("005103@x", "5002")] {
        let found = conn.value(&format!("select id from users where email = '{email}'"));
        assert_eq!(found.as_deref(), Some(id));
    }
    // Those of rows that are there are not given away.
    for sql in [
        "insert into users (id, email, team) values (5120, '005120@x', 't'), (5121, '005100@x', \
            't')",
        "insert into users (id, email, team) values (5130, '005130@x', 't'), (5131, '005130@x', \
            't')",
        "update users set email = '005140@x' where id in (5004, 5005)",
        "update users set email = '005100@x' where id = 5004",
    ] {
        let answer = conn.query(sql);
        assert!(answer.is_error(), "{sql}: {answer:?}");
        assert_eq!(answer.error().code, 1062, "{sql}");
    }
    check(&mut conn, 5000, 5999);
    // REPLACE takes such a row away.
    conn.run("replace into users (id, email, team) values (5005, '005101@x', 't')");
    assert!(
        conn.query("select 1 from users where id = 5101")
            .rows()
            .is_empty()
    );
    check(&mut conn, 5000, 5999);
}
