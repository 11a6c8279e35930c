//! Tables whose numbers come from a sequence.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::{Answer, Value};
use coregate_tests::{Connection, Coregate, guard, infile, world};
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

const PLAIN: &str = "
create table user_seq (id bigint not null primary key, next_id bigint, cache bigint) comment \
'vitess_sequence';
insert into user_seq values (0, 1, 100);
create table few_seq (id bigint not null primary key, next_id bigint, cache bigint);
insert into few_seq values (0, 10, 3);
create table empty_seq (id bigint not null primary key, next_id bigint, cache bigint);
create table note (id bigint not null primary key, text varchar(20));
";

const SHARDED: &str = "
create table users (id bigint not null primary key, name varchar(20), n int default 5);
create table events (user_id bigint not null, id bigint not null, what varchar(20), primary key \
(user_id, id));
";

const PLAIN_VSCHEMA: &str = r#"{"tables": {
 "user_seq": {"type": "sequence"}, "few_seq": {"type": "sequence"},
 "empty_seq": {"type": "sequence"},
 "note": {"auto_increment": {"column": "id", "sequence": "few_seq"}}}}"#;

const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}}, "tables": {
 "users": {"column_vindexes": [{"column": "id", "name": "hash"}],
 "auto_increment": {"column": "id", "sequence": "user_seq"}},
 "events": {"column_vindexes": [{"column": "user_id", "name": "hash"}],
 "auto_increment": {"column": "id", "sequence": "plain.user_seq"}}}}"#;

fn files() -> PathBuf {
    let dir = guard::dir().join("sequences");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("plain.sql"), PLAIN).unwrap();
    std::fs::write(dir.join("plain.json"), PLAIN_VSCHEMA).unwrap();
    std::fs::write(dir.join("test.sql"), SHARDED).unwrap();
    std::fs::write(dir.join("test.json"), VSCHEMA).unwrap();
    dir
}

static LOCAL: LazyLock<Coregate> = LazyLock::new(|| {
    let dir = files();
    let dir = dir.to_str().unwrap();
    let keyspaces = [
        "--keyspace",
        "plain",
        "--keyspace",
        "test:2",
        "--schema",
        dir,
        "--vschema",
        dir,
        "--cores",
        "2",
    ];
    Coregate::local("cluster", &keyspaces)
});

/// One test at a time: they count on each other's numbers.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect() -> Connection {
    LOCAL.connect_as(world::USER, world::PASSWORD, Some("test"))
}

fn rows(conn: &mut Connection, sql: &str) -> Vec<String> {
    let rows = conn.query(sql).rows().into_iter();
    rows.map(|row| {
        let cells = row
            .into_iter()
            .map(|cell| cell.unwrap_or_else(|| "NULL".into()));
        cells.collect::<Vec<_>>().join(" ")
    })
    .collect()
}

/// The OK's id, which LAST_INSERT_ID() must agree with.
fn id(conn: &mut Connection, answer: Answer) -> u64 {
    let Answer::Ok { insert_id, .. } = answer else { panic!("{answer:?}") };
    let last = conn.value("select last_insert_id()").unwrap();
    assert_eq!(last, insert_id.to_string());
    insert_id
}

fn insert(conn: &mut Connection, sql: &str) -> u64 {
    let answer = conn.run(sql);
    id(conn, answer)
}

#[test]
fn rows_without_a_number_get_the_next_ones() {
    let _turn = alone();
    let mut conn = connect();
    let conn = &mut conn;
    let first = insert(conn, "insert into users (name) values ('one')");
    let mut expected = vec![format!("{first} one 5")];
    let mut note = |id: u64, name: &str, n: &str| expected.push(format!("{id} {name} {n}"));
    let id = insert(conn, "insert into users (name, n) values ('a', 1), ('b', 2), ('c', 3)");
    for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
        note(id + at as u64, name, &(at + 1).to_string());
    }
    let id = insert(conn, "insert into users values (null, 'null', 7)");
    note(id, "null", "7");
    let id = insert(
        conn,
        "insert into users (id, name) values (default, 'default'), (0, 'zero'), ('0', 'text')",
    );
    for (at, name) in ["default", "zero", "text"].into_iter().enumerate() {
        note(id + at as u64, name, "5");
    }
    let id = insert(conn, "insert into users set name = concat('s', 'et')");
    note(id, "set", "5");
    let id = insert(conn, "insert into users set name = 'null set', id = null");
    note(id, "null set", "5");
    let id = insert(conn, "insert into users () values (), ()");
    note(id, "NULL", "5");
    note(id + 1, "NULL", "5");
    let id = insert(conn, "insert into users values ()");
    note(id, "NULL", "5");
    let id = insert(conn, "replace into test.users (name) values ('it''s')");
    note(id, "it's", "5");
    let id = insert(conn, "insert into users (name) values ('dup') on duplicate key update n = 9");
    note(id, "dup", "5");
    let found = rows(
        conn,
        &format!("select * from users where id between {first} and {first} + 500000 order by id"),
    );
    assert_eq!(found, expected);
    let far = first + 1_000_000;
    // A statement that gives its numbers leaves LAST_INSERT_ID() alone.
    conn.run(&format!("insert into users (id, name) values ({far}, 'given')"));
    assert_eq!(conn.value("select last_insert_id()").unwrap(), id.to_string());
    // A sequence goes on behind a larger number that is given to it.
    assert_eq!(insert(conn, "insert into users (name) values ('behind')"), far + 1);
    conn.run(&format!("insert into users (id, name) values ({}, 'near')", far + 4));
    let later: Vec<u64> = (0..4)
        .map(|_| insert(conn, "insert into users (name) values ('x')"))
        .collect();
    assert!(!later.contains(&(far + 4)), "{later:?}");
    conn.run("set sql_mode = 'no_auto_value_on_zero'");
    conn.run("insert into users (id, name) values (0, 'zero')");
    assert_eq!(rows(conn, "select name from users where id = 0"), ["zero"]);
}

#[test]
fn prepared_statements_and_those_by_name_get_them_too() {
    let _turn = alone();
    let mut conn = connect();
    let conn = &mut conn;
    let one = conn.prepare("insert into users (name) values (?)").unwrap();
    let answer = conn.execute(&one, &[Value::from("p'1\\")]);
    let first = id(conn, answer);
    let answer = conn.execute(&one, &[Value::Null]);
    let second = id(conn, answer);
    let (far, next) = (second + 1_000_000, second + 1_000_001);
    let two = conn
        .prepare("insert into users (id, name, n) values (?, ?, 1), (?, ?, 2)")
        .unwrap();
    let answer =
        conn.execute(&two, &[Value::Null, Value::from("x"), Value::Int(0), Value::from("y")]);
    let third = id(conn, answer);
    // With numbers of their own, they are executed as they are.
    let answer = conn.execute(
        &two,
        &[Value::Int(far as i64), Value::from("x"), Value::Int(next as i64), Value::from("y")],
    );
    assert!(matches!(answer, Answer::Ok { affected: 2, .. }), "{answer:?}");
    let sql = format!(
        "select id, name, n from users where id in ({first}, {second}, {third}, {third} + 1, \
            {far}, {next}) order by id"
    );
    let expected = [
        format!("{first} p'1\\ 5"),
        format!("{second} NULL 5"),
        format!("{third} x 1"),
        format!("{} y 2", third + 1),
        format!("{far} x 1"),
        format!("{next} y 2"),
    ];
    assert_eq!(rows(conn, &sql), expected);
    conn.run("prepare s from 'insert into users (name, n) values (?, ?)'");
    conn.run("set @a = 'by name', @b = 77");
    let named = insert(conn, "execute s using @a, @b");
    assert!(named > next);
    assert_eq!(
        rows(conn, &format!("select name, n from users where id = {named}")),
        ["by name 77"]
    );
    let next = conn
        .prepare("select next ? values from plain.user_seq")
        .unwrap();
    let Answer::Rows { raw, columns, .. } = conn.execute(&next, &[Value::Int(5)]) else {
        panic!("rows")
    };
    assert_eq!(columns[0].name, "nextval");
    let value = i64::from_le_bytes(raw[0][2..10].try_into().unwrap());
    assert!(value > i64::try_from(named).unwrap());
}

#[test]
fn transactions_lookups_and_other_tables_take_part() {
    let _turn = alone();
    let mut conn = connect();
    let conn = &mut conn;
    conn.run("begin");
    let gone = insert(conn, "insert into users (name) values ('gone')");
    conn.run("rollback");
    assert_eq!(rows(conn, &format!("select id from users where id = {gone}")), [""; 0]);
    conn.run("begin");
    let kept = insert(conn, "insert into users (name) values ('kept'), ('kept')");
    assert!(kept > gone);
    let event = insert(
        conn,
        &format!("insert into events (user_id, what) values ({kept}, 'made'), ({kept} , 'seen')"),
    );
    conn.run("insert into events (user_id, id, what) values (last_insert_id(), 1, 'last')");
    conn.run("commit");
    assert_eq!(
        rows(conn, &format!("select id from events where user_id = {kept} order by id")),
        [event.to_string(), (event + 1).to_string()]
    );
    assert_eq!(rows(conn, &format!("select what from events where user_id = {event}")), ["last"]);
    let answer = conn.query("insert into users (name) values ('r') returning id, name");
    if let Answer::Rows { .. } = answer {
        let last = conn.value("select last_insert_id()").unwrap();
        assert_eq!(answer.rows(), [[Some(last), Some("r".into())]]);
    }
    conn.run("insert into events (user_id, id, what) values (last_insert_id(), 2, 'last')");
    // The rows of a query, and values that a server computes.
    let copied = insert(
        conn,
        "insert into users (name, n) select what, 88 from events where user_id > 0 order by id",
    );
    let count = conn
        .value(&format!("select count(*) from users where n = 88 and id >= {copied}"))
        .unwrap();
    assert_eq!(
        count,
        conn.value("select count(*) from events where user_id > 0")
            .unwrap()
    );
    let some =
        insert(conn, "insert into users (id, name) select null, 'x' union all select 0, 'y'");
    assert_eq!(
        rows(conn, &format!("select name from users where id in ({some}, {some} + 1) order by id")),
        ["x", "y"]
    );
    let computed = insert(conn, "insert into events (user_id, what) values (1 + 2, 'sum')");
    assert_eq!(
        rows(conn, &format!("select what from events where user_id = 3 and id = {computed}")),
        ["sum"]
    );
    // A keyspace that is not sharded.
    conn.run("use plain");
    let first = insert(conn, "insert into note (text) values ('a')");
    assert_eq!(
        insert(conn, "insert into note (text) values ('b'), ('c'), ('d'), ('e'), ('f')"),
        first + 1
    );
    insert(conn, "insert into note (text) select 'g' union select 'h'");
    assert_eq!(rows(conn, "select count(*) from note where text in ('g', 'h')"), ["2"]);
    conn.run("delete from note where text in ('g', 'h')");
    assert_eq!(rows(conn, "select text from note order by id"), ["a", "b", "c", "d", "e", "f"]);
}

/// What a column of integers makes 0 of takes a number, as with AUTO_INCREMENT, and never a shard's
/// own.
#[test]
fn values_that_become_zero_take_numbers_too() {
    let _turn = alone();
    let mut conn = connect();
    let conn = &mut conn;
    let mut last = insert(conn, "insert into users (name) values ('first')");
    let mut next = |conn: &mut Connection, answer: Answer, what: &str| {
        let now = id(conn, answer);
        assert!((last + 1..last + 1000).contains(&now), "{what}: {now} behind {last}");
        last = now;
    };
    for value in [
        "0.0",
        "0e0",
        "'0.0'",
        "+0",
        "0.4",
        "(select 0)",
        "1-1",
        "if(1, 0, 1)",
        "@nope",
        "cast(0 as char)",
        "false",
        "null + 1",
    ] {
        for table in ["users (id, name)", "events (id, user_id)"] {
            let sql = format!("insert into {table} values ({value}, 7)");
            let answer = conn.run(&sql);
            next(conn, answer, &sql);
        }
        let sql = format!("insert into events (id, user_id) select {value}, 8");
        let answer = conn.run(&sql);
        next(conn, answer, &sql);
    }
    let put = conn
        .prepare("insert into events (id, user_id, what) values (?, 9, 'p')")
        .unwrap();
    for value in
        [Value::Double(0.0), Value::from("0.0"), Value::Null, Value::Int(0), Value::Double(0.5)]
    {
        let answer = conn.execute(&put, std::slice::from_ref(&value));
        next(conn, answer, &format!("{value:?}"));
    }
    conn.run("prepare put from 'insert into events (id, user_id) values (?, 10)'");
    for value in ["0.0e0", "0.0", "null", "'0'"] {
        conn.run(&format!("set @x = {value}"));
        let answer = conn.run("execute put using @x");
        next(conn, answer, value);
    }
    conn.run("set sql_mode = ''");
    for value in ["'abc'", "''", "0x00", "concat('a', 'b')"] {
        let sql = format!("insert into events (id, user_id) values ({value}, 7711)");
        assert_eq!(conn.query(&sql).error().code, 1235, "{sql}");
    }
    assert!(rows(conn, "select * from events where user_id = 7711").is_empty());
}

#[test]
fn files_take_no_numbers_and_move_a_sequence_on() {
    let _turn = alone();
    let mut conn = infile::connect(LOCAL.mysql, "test");
    let conn = &mut conn;
    let first = insert(conn, "insert into events (user_id) values (1)");
    let far = first + 2_000_000;
    let lines: String = (0..20).map(|n| format!("{}\t{n}\n", far + n)).collect();
    let sql = "load data local infile 'x' into table events (id, user_id)";
    assert!(matches!(
        infile::load(conn, sql, &[lines.as_bytes()]),
        Answer::Ok { affected: 20, .. }
    ));
    let behind = insert(conn, "insert into events (user_id) values (1)");
    assert!(behind >= far + 20, "{behind} behind {far}");
    for line in [&b"0\t1\n"[..], b"\\N\t1\n", b"0.0\t1\n", b"x\t1\n", b"\t1\n"] {
        assert_eq!(infile::load(conn, sql, &[line]).error().code, 1235, "{line:?}");
    }
    for value in ["null", "default", "0", "@i + 1"] {
        let sql =
            format!("load data local infile 'x' into table events (@i, user_id) set id = {value}");
        assert_eq!(conn.query(&sql).error().code, 1235, "{sql}");
    }
}

#[test]
fn next_values_are_selected() {
    let _turn = alone();
    let mut conn = connect();
    let mut next = |sql: &str| conn.value(sql).unwrap().parse::<u64>().unwrap();
    let a = next("select next value for few_seq");
    let b = next("select next 7 values from plain.few_seq");
    assert!(b > a);
    let c = next("select next value from few_seq");
    assert!(c >= b + 7, "{a} {b} {c}");
    assert!(
        next(
            "select next :: values from few_seq"
                .replace("::", "1")
                .as_str()
        ) > c
    );
    for (sql, code) in
        [("select next 0 values from few_seq", 1210), ("select next value for empty_seq", 1105)]
    {
        assert_eq!(conn.query(sql).error().code, code, "{sql}");
    }
    // Who changes the table by hand is heeded.
    conn.run("insert into plain.empty_seq values (0, 500, 10)");
    assert_eq!(conn.value("select next value for empty_seq").unwrap(), "500");
    conn.run("update plain.empty_seq set next_id = 900 where id = 0");
    assert_eq!(conn.value("select next value for empty_seq").unwrap(), "900");
    assert_eq!(conn.value("select next_id from plain.empty_seq").unwrap(), "910");
}
