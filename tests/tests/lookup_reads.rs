//! Statements whose rows a lookup vindex finds: the lookup table tells their shards.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::{Answer, Value};
use coregate_tests::{Connection, Coregate, world};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

const PLAIN: &str = "
create table email_idx (email varchar(60) not null primary key, keyspace_id varbinary(20));
create table team_idx (team varchar(20), id bigint not null, keyspace_id varbinary(20), unique key \
(id, team));
create table badge_idx (badge bigint not null primary key, user_id bigint unsigned);
create table nick_idx (nick varchar(20) collate utf8mb4_bin not null, keyspace_id varbinary(20), \
primary key (nick));
create table half_idx (half bigint not null, keyspace_id varbinary(20), primary key (half, \
keyspace_id));
";

const SHARDED: &str = "
create table users (id bigint not null primary key, email varchar(60), team varchar(20), badge \
bigint, nick varchar(20) collate utf8mb4_general_ci,
  half bigint, code bigint, note varchar(20));
create table orders (id bigint not null primary key, user_id bigint not null, price int);
create table visits (id bigint not null primary key, user_id bigint not null, email varchar(60), \
half bigint);
create table code_idx (code bigint not null, keyspace_id varbinary(20), primary key (code, \
keyspace_id));
";

const VSCHEMA: &str = r#"{"sharded": true,
 "vindexes": {
  "hash": {"type": "hash"},
  "email": {"type": "lookup_unique", "owner": "users", "params": {"table": "look.email_idx",
  "from": "email", "to": "keyspace_id", "ignore_nulls": "true"}},
  "team": {"type": "lookup", "owner": "users", "params": {"table": "look.team_idx",
  "from": "team,id", "to": "keyspace_id"}},
  "badge": {"type": "lookup_hash_unique", "owner": "users", "params": {"table": "look.badge_idx",
  "from": "badge", "to": "user_id", "ignore_nulls": "true"}},
  "nick": {"type": "lookup_unique", "owner": "users", "params": {"table": "look.nick_idx",
  "from": "nick", "to": "keyspace_id", "ignore_nulls": "true"}},
  "half": {"type": "lookup", "owner": "users", "params": {"table": "look.half_idx",
  "from": "half", "to": "keyspace_id", "ignore_nulls": "true", "write_only": "true"}},
  "code": {"type": "consistent_lookup", "owner": "users", "params": {"table": "code_idx",
  "from": "code", "to": "keyspace_id", "ignore_nulls": "true"}}
 },
 "tables": {
  "code_idx": {"column_vindexes": [{"column": "code", "name": "hash"}]},
  "visits": {"column_vindexes": [{"column": "user_id", "name": "hash"}, {"column": "email",
  "name": "email"}, {"column": "half", "name": "half"}]},
  "orders": {"column_vindexes": [{"column": "user_id", "name": "hash"}]},
  "users": {"column_vindexes": [
   {"column": "id", "name": "hash"}, {"column": "email", "name": "email"},
   {"columns": ["team", "id"], "name": "team"}, {"column": "badge", "name": "badge"},
   {"column": "nick", "name": "nick"}, {"column": "half", "name": "half"}, {"column": "code",
   "name": "code"}]}}}"#;

static LOCAL: LazyLock<Coregate> = LazyLock::new(|| {
    Coregate::local_of_two("lookup-reads", ("look", 3), [PLAIN, SHARDED], VSCHEMA)
});

/// The type of BIGINT columns.
const LONGLONG: u8 = 8;

/// One test at a time: entries next to each other are locked together, and servers may call that a
/// deadlock.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect() -> Connection {
    LOCAL.connect_as(world::USER, world::PASSWORD, Some("test"))
}

/// Users `base` to `base + 11`, with an order for each.
fn fill(conn: &mut Connection, base: i64) {
    for id in base..base + 12 {
        let team = (id - base) % 4;
        conn.run(&format!(
            "insert into users (id, email, team, badge, nick, half, code) values \
             ({id}, '{id}@x', 'team{base}-{team}', {id}0, 'Nick{id}', {base}, {})",
            base + team
        ));
        conn.run(&format!("insert into orders values ({id}, {id}, {id} - {base})"));
    }
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

fn affected(answer: Answer) -> u64 {
    match answer {
        Answer::Ok { affected, .. } => affected,
        other => panic!("{other:?}"),
    }
}

/// The same as text, prepared, and by name.
fn same(conn: &mut Connection, sql: &str, values: &[&str], expected: &[&str]) {
    let mut text = String::new();
    let mut parts = sql.split('?');
    text.push_str(parts.next().unwrap());
    for (part, value) in parts.zip(values) {
        text.push_str(&format!("'{value}'{part}"));
    }
    assert_eq!(rows(conn, &text), expected, "{text}");
    let statement = conn.prepare(sql).unwrap();
    let bound: Vec<Value> = values.iter().map(|value| Value::from(*value)).collect();
    for _ in 0..2 {
        let Answer::Rows { columns, raw, .. } = conn.execute(&statement, &bound) else {
            panic!("rows: {sql}")
        };
        assert_eq!(raw.len(), expected.len(), "prepared: {sql}");
        let at = 1 + (columns.len() + 9) / 8;
        for (row, expected) in raw
            .iter()
            .zip(expected)
            .filter(|_| columns[0].kind == LONGLONG)
        {
            let number = i64::from_le_bytes(row[at..at + 8].try_into().unwrap());
            assert_eq!(number.to_string(), expected.split(' ').next().unwrap(), "prepared: {sql}");
        }
    }
    conn.run(&format!("prepare s from \"{sql}\""));
    let mut using = Vec::new();
    for (n, value) in values.iter().enumerate() {
        conn.run(&format!("set @v{n} = '{value}'"));
        using.push(format!("@v{n}"));
    }
    assert_eq!(
        rows(conn, &format!("execute s using {}", using.join(", "))),
        expected,
        "by name: {sql}"
    );
    conn.run("deallocate prepare s");
}

#[test]
fn queries_find_rows_by_every_kind_of_lookup() {
    let _turn = alone();
    let mut conn = connect();
    fill(&mut conn, 100);
    let conn = &mut conn;
    same(conn, "select id from users where email = ?", &["105@x"], &["105"]);
    same(conn, "select id from users where email = ?", &["none@x"], &[]);
    same(conn, "select count(*), max(id) from users where email = ?", &["none@x"], &["0 NULL"]);
    same(conn, "select id from users where badge = ?", &["1030"], &["103"]);
    same(
        conn,
        "select id from users where email in (?, ?, ?) order by id",
        &["101@x", "109@x", "no"],
        &["101", "109"],
    );
    let team = ["100", "104", "108"];
    same(conn, "select id from users where team = ? order by id", &["team100-0"], &team);
    same(
        conn,
        "select id from users where team = ? order by id limit 2",
        &["team100-0"],
        &team[..2],
    );
    same(
        conn,
        "select count(*), sum(id), avg(id) from users where team = ?",
        &["team100-0"],
        &["3 312 104.0000"],
    );
    same(
        conn,
        "select id from users where team = ? and note is null order by id desc",
        &["team100-3"],
        &["111", "107", "103"],
    );
    same(conn, "select id from users where code = ? order by id", &["102"], &["102", "106", "110"]);
    same(
        conn,
        "select id from users where code in (?, ?) order by id limit 3",
        &["102", "101"],
        &["101", "102", "105"],
    );
    same(
        conn,
        "select team, count(*) from users where code = ? group by team",
        &["103"],
        &["team100-3 3"],
    );
    // Tables that lie together are found by one of them.
    let join =
        "select o.id, o.price from users u join orders o on o.user_id = u.id where u.email = ?";
    same(conn, join, &["107@x"], &["107 7"]);
    let left = "select u.id, o.price from users u left join orders o on o.user_id = u.id and \
        o.price > 5 where u.code = ? order by 1";
    same(conn, left, &["100"], &["100 NULL", "104 NULL", "108 8"]);
    let right = "select o.id, u.id from orders o left join users u on o.user_id = u.id and u.email \
        = ? where o.id between 105 and 107 order by 1";
    same(conn, right, &["106@x"], &["105 NULL", "106 106", "107 NULL"]);
    // Where rows of several shards meet, each table is found by itself.
    let both = "select a.id, b.id from users a join users b on a.email = ? and b.badge = ?";
    same(conn, both, &["101@x", "1080"], &["101 108"]);
    let inner = "select id from users where email = ? and id > (select min(user_id) from orders \
        where user_id >= 100)";
    same(conn, inner, &["101@x"], &["101"]);
    same(
        conn,
        "select id from users where email = ? union all select id from users where badge = ?",
        &["101@x", "1080"],
        &["101", "108"],
    );
    // Case counts for the lookup table, and not for its owner: all shards are asked.
    same(conn, "select id from users where nick = ?", &["NICK104"], &["104"]);
    assert_eq!(rows(conn, "select id from users where email = null"), [""; 0]);
    assert_eq!(rows(conn, "select id from users where email <=> null and id = 100"), [""; 0]);
    conn.run("set sql_select_limit = 2");
    assert_eq!(rows(conn, "select id from users where code = 101 order by id"), ["101", "105"]);
    conn.run("set sql_select_limit = default");
}

#[test]
fn the_lookup_table_decides_and_the_row_itself_has_the_last_word() {
    let _turn = alone();
    let mut conn = connect();
    fill(&mut conn, 200);
    let conn = &mut conn;
    // Without its entry a row is not found, as in Vitess, except on the shard that answers when
    // there is none.
    let mut shards = rows(conn, "show vitess_shards like 'test/%'");
    shards.sort();
    let shard = shards[0].replace('/', ":");
    let mut first = LOCAL.connect_as(world::USER, world::PASSWORD, Some(&shard));
    let there = rows(&mut first, "select id from users");
    let hidden: Vec<String> = (200..212)
        .map(|id| id.to_string())
        .filter(|id| !there.contains(id))
        .collect();
    conn.run(&format!("delete from look.email_idx where email = '{}@x'", hidden[0]));
    same(conn, "select id from users where email = ?", &[&format!("{}@x", hidden[0])], &[]);
    // While it is being filled, a lookup is not used.
    conn.run("delete from look.half_idx where half = 200");
    same(conn, "select count(*) from users where half = ?", &["200"], &["12"]);
    // An entry that has no row finds none, and one that leads to another row does not find that.
    conn.run(
        "insert into look.email_idx select 'gone@x', keyspace_id from look.email_idx where email = \
            '203@x'",
    );
    same(conn, "select id, email from users where email = ?", &["gone@x"], &[]);
    same(conn, "select id from users where email in (?, ?)", &["gone@x", "203@x"], &["203"]);
    // Several entries for a row find it once.
    conn.run("insert into code_idx values (201, 0x00), (201, 0xff)");
    same(conn, "select id from users where code = ? order by id", &["201"], &["201", "205", "209"]);
    assert_eq!(affected(conn.query("update users set note = 'y' where code = 201")), 3);
}

#[test]
fn a_transaction_finds_what_it_has_changed() {
    let _turn = alone();
    let mut conn = connect();
    let mut other = connect();
    fill(&mut conn, 300);
    conn.run("begin");
    conn.run("insert into users (id, email, code) values (350, '350@x', 350)");
    same(&mut conn, "select id from users where email = ?", &["350@x"], &["350"]);
    same(&mut other, "select id from users where email = ?", &["350@x"], &[]);
    conn.run("update users set email = '350@y' where email = '350@x'");
    same(&mut conn, "select id from users where email = ?", &["350@y"], &["350"]);
    conn.run("delete from users where email = '301@x'");
    same(&mut conn, "select id from users where email = ?", &["301@x"], &[]);
    same(&mut other, "select id from users where email = ?", &["301@x"], &["301"]);
    conn.run("rollback");
    same(&mut conn, "select id from users where email in (?, ?)", &["350@y", "301@x"], &["301"]);
    conn.run("set autocommit = 0");
    conn.run("update users set note = 'n' where email = '302@x'");
    assert_eq!(rows(&mut conn, "select id from users where email = '302@x' for update"), ["302"]);
    conn.run("commit");
    same(&mut other, "select note from users where email = ?", &["302@x"], &["n"]);
}

#[test]
fn changes_find_their_rows_and_keep_the_entries_right() {
    let _turn = alone();
    let mut conn = connect();
    fill(&mut conn, 400);
    let conn = &mut conn;
    assert_eq!(affected(conn.query("update users set note = 'a' where email = '404@x'")), 1);
    assert_eq!(
        affected(conn.query("update users set note = 'b' where email in ('405@x', '406@x', 'no')")),
        2
    );
    assert_eq!(
        affected(
            conn.query("update users set note = 'c' where email = '407@x' order by id limit 1")
        ),
        1
    );
    assert_eq!(affected(conn.query("update users set email = '408@y' where email = '408@x'")), 1);
    assert_eq!(
        affected(conn.query(
            "update users u join orders o on o.user_id = u.id set o.price = 99 where u.email = \
                '409@x'"
        )),
        1
    );
    let sql =
        "select id, note from users where id between 400 and 409 and note is not null order by id";
    assert_eq!(rows(conn, sql), ["404 a", "405 b", "406 b", "407 c"]);
    assert_eq!(rows(conn, "select price from orders where user_id = 409"), ["99"]);
    same(conn, "select id from users where email = ?", &["408@y"], &["408"]);
    same(conn, "select id from users where email = ?", &["408@x"], &[]);
    let update = conn
        .prepare("update users set email = ? where email = ?")
        .unwrap();
    assert_eq!(affected(conn.execute(&update, &[Value::from("410@z"), Value::from("410@x")])), 1);
    assert_eq!(affected(conn.execute(&update, &[Value::from("410@z"), Value::from("410@x")])), 0);
    let delete = conn.prepare("delete from users where code = ?").unwrap();
    assert_eq!(affected(conn.execute(&delete, &[Value::Int(401)])), 3);
    assert_eq!(rows(conn, "select count(*) from users where id between 400 and 411"), ["9"]);
    assert_eq!(rows(conn, "select count(*) from code_idx where code = 401"), ["0"]);
    assert_eq!(
        rows(conn, "select email from look.email_idx where email like '41%'"),
        ["410@z", "411@x"]
    );
    // What several shards decide together finds its rows in the same way.
    assert_eq!(
        affected(
            conn.query("update users set note = 'd' where code in (400, 402) order by id limit 1")
        ),
        1
    );
    assert_eq!(rows(conn, "select id from users where note = 'd'"), ["400"]);
    let joined = "update users a join users b on b.email = '411@x' set a.note = b.nick where \
        a.email = '402@x'";
    assert_eq!(affected(conn.query(joined)), 1);
    same(conn, "select note from users where email = ?", &["402@x"], &["Nick411"]);
}

#[test]
fn a_change_waits_for_who_moves_the_entry_and_follows_it() {
    let _turn = alone();
    let mut conn = connect();
    fill(&mut conn, 500);
    conn.run("begin");
    conn.run("update users set email = null where id = 501");
    conn.run("update users set email = '501@x' where id = 502");
    let other = std::thread::spawn(|| {
        let mut other = connect();
        affected(other.query("delete from users where email = '501@x'"))
    });
    // It waits for the entry, which the transaction has locked. The table is made anew only if it
    // was not read for 100 ms.
    let mut watch = connect();
    let waits = "select count(*) from information_schema.innodb_trx where trx_state = 'LOCK WAIT'";
    watch.run("use look");
    let mut tries = 0;
    while rows(&mut watch, waits) == ["0"] {
        tries += 1;
        assert!(tries < 200, "nobody waits");
        std::thread::sleep(std::time::Duration::from_millis(150));
    }
    conn.run("commit");
    assert_eq!(other.join().unwrap(), 1);
    assert_eq!(rows(&mut conn, "select id from users where id in (501, 502)"), ["501"]);
    assert_eq!(
        rows(&mut conn, "select count(*) from look.email_idx where email in ('501@x', '502@x')"),
        ["0"]
    );
}

#[test]
fn values_of_another_table_s_lookup_must_lead_to_the_row() {
    let _turn = alone();
    let mut conn = connect();
    fill(&mut conn, 600);
    // What is still being filled is not relied on.
    conn.run(
        "insert into visits values (1, 601, '601@x', 12345), (2, 602, '602@x', null), (3, 603, \
            null, null)",
    );
    for sql in [
        "insert into visits values (4, 604, '604@x', 1), (5, 605, '604@x', 1)",
        "insert into visits (id, user_id, email) values (6, 606, 'none@x')",
        "replace into visits (id, user_id, email) values (6, 606, 'none@x')",
    ] {
        let error = conn.query(sql).error().clone();
        assert!(error.message.contains("do not map"), "{sql}: {error:?}");
    }
    let insert = conn
        .prepare("insert into visits (id, user_id, email) values (?, ?, ?)")
        .unwrap();
    let values = |id: i64, email: &str| [Value::Int(id), Value::Int(id), Value::from(email)];
    assert_eq!(affected(conn.execute(&insert, &values(607, "607@x"))), 1);
    assert!(conn.execute(&insert, &values(608, "609@x")).is_error());
    assert_eq!(rows(&mut conn, "select id from visits order by id"), ["1", "2", "3", "607"]);
    // They find its rows, too.
    same(&mut conn, "select id from visits where email = ?", &["607@x"], &["607"]);
    conn.run("begin");
    conn.run("insert into users (id, email) values (650, '650@x')");
    conn.run("insert into visits (id, user_id, email) values (650, 650, '650@x')");
    assert!(
        conn.query("insert into visits (id, user_id, email) values (651, 651, '650@x')")
            .is_error()
    );
    conn.run("commit");
    assert_eq!(rows(&mut conn, "select id from visits where user_id > 649"), ["650"]);
}
