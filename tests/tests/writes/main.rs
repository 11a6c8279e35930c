//! Changes over several shards leave what one server leaves: the answer (counts, text, errors) and
//! every table's rows are compared after each statement, as text in a transaction that is rolled
//! back, and prepared without one.
//!
//! The statements stand one in a line, in `by_key.sql` and others. A line that begins with `!` may
//! be refused here.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::Value;
use coregate_tests::{Answer, Connection};
use std::sync::{Mutex, MutexGuard, PoisonError};
use world::{WORLD, contents, entries, refill};

mod faults;
mod load;
mod random;
mod world;

/// One test at a time: each compares whole tables.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn outcome(answer: &Answer, ordered: bool) -> String {
    match answer {
        Answer::Ok { affected, info, warnings, .. } => {
            // A server says nothing where it sees before that no row can match.
            let none = info == "Rows matched: 0  Changed: 0  Warnings: 0";
            let info = if none { "" } else { info.as_str() };
            format!("{affected} rows, {warnings} warnings, {info:?}")
        }
        Answer::Rows { raw, .. } => {
            let mut raw = raw.clone();
            if !ordered {
                raw.sort();
            }
            format!("{raw:?}")
        }
        Answer::Error(error) => format!("error {}", error.code),
    }
}

fn prepared(conn: &mut Connection, sql: &str) -> Answer {
    match conn.prepare(sql) {
        Ok(statement) => {
            let answer = conn.execute(&statement, &[]);
            conn.close_statement(&statement);
            answer
        }
        Err(error) => Answer::Error(error),
    }
}

/// PREPARE and EXECUTE.
fn by_name(conn: &mut Connection, sql: &str) -> Answer {
    match conn.query(&format!("prepare s from '{}'", sql.replace('\\', "\\\\").replace('\'', "''")))
    {
        Answer::Error(error) => Answer::Error(error),
        _ => conn.query("execute s"),
    }
}

struct Pair {
    plain: Connection,
    sharded: Connection,
    wrong: Vec<String>,
    /// The rows of answers are compared in their order.
    ordered: bool,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            plain: WORLD.server.connect(),
            sharded: WORLD.sharded(),
            wrong: Vec::new(),
            ordered: false,
        };
        pair.both("set names utf8mb4");
        pair.refill();
        pair
    }

    fn both(&mut self, sql: &str) {
        self.plain.run(sql);
        self.sharded.run(sql);
    }

    fn refill(&mut self) {
        refill(&mut self.plain);
        refill(&mut self.sharded);
    }

    /// Runs it on both sides, and compares answers and tables. The codes of their error and ours.
    fn compare(
        &mut self,
        sql: &str,
        how: &str,
        run: fn(&mut Connection, &str) -> Answer,
    ) -> (Option<u16>, Option<u16>) {
        let (theirs, ours) = (run(&mut self.plain, sql), run(&mut self.sharded, sql));
        if outcome(&theirs, self.ordered) != outcome(&ours, self.ordered) {
            self.wrong
                .push(format!("{how}: {sql}\n    plain {theirs:.300?}\n    ours  {ours:.300?}"));
        }
        self.compare_tables(&format!("{how}: {sql}"));
        let code = |answer: Answer| match answer {
            Answer::Error(error) => Some(error.code),
            _ => None,
        };
        (code(theirs), code(ours))
    }

    fn compare_tables(&mut self, after: &str) {
        let (theirs, ours) = (contents(&mut self.plain), contents(&mut self.sharded));
        for (theirs, ours) in theirs.iter().zip(&ours) {
            if theirs != ours {
                let only = |a: &[Vec<u8>], b: &[Vec<u8>]| -> Vec<String> {
                    a.iter()
                        .filter(|row| !b.contains(row))
                        .take(5)
                        .map(|row| String::from_utf8_lossy(row).into_owned())
                        .collect()
                };
                self.wrong.push(format!(
                    "after {after}\n    {} and {} rows; only plain has {:?}, only we have {:?}",
                    theirs.len(),
                    ours.len(),
                    only(theirs, ours),
                    only(ours, theirs)
                ));
            }
        }
        let (wanted, found) = entries(&mut self.sharded);
        if wanted != found {
            let only = |a: &[String], b: &[String]| -> Vec<String> {
                a.iter()
                    .filter(|row| !b.contains(row))
                    .take(5)
                    .cloned()
                    .collect()
            };
            self.wrong.push(format!(
                "after {after}\n    entries that are missing: {:?}, and that are too much: {:?}",
                only(&wanted, &found),
                only(&found, &wanted)
            ));
        }
    }

    fn end(self) {
        assert!(self.wrong.is_empty(), "{} differ:\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}

/// Statements that are compared one by one, each over the same rows.
fn compare_all(statements: &str) {
    let _turn = alone();
    let mut pair = Pair::new();
    for sql in statements
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("--"))
    {
        let (ordered, sql) = match sql.strip_prefix("= ") {
            Some(sql) => (true, sql),
            None => (false, sql),
        };
        pair.ordered = ordered;
        pair.both("begin");
        pair.compare(sql, "text", Connection::query);
        pair.both("rollback");
        pair.compare_tables(&format!("rollback: {sql}"));
        pair.both("begin");
        pair.compare(sql, "by name", by_name);
        pair.both("rollback");
        let before = pair.wrong.len();
        pair.compare(sql, "prepared", prepared);
        if pair.wrong.len() > before {
            pair.refill();
        }
    }
    pair.end();
}

#[test]
fn copies_change_on_all_shards_or_on_none() {
    let _turn = alone();
    let mut pair = Pair::new();
    let mut shards = ["-40", "40-80", "80-c0", "c0-"].map(|shard| {
        let target = format!("test:{shard}");
        WORLD.local.connect_as(
            coregate_tests::world::USER,
            coregate_tests::world::PASSWORD,
            Some(&target),
        )
    });
    shards[2].run("insert into countries values ('zz', 'alone')");
    for begin in ["commit", "begin"] {
        for sql in [
            "insert into countries values ('yy', 'Y'), ('zz', 'Z')",
            "update countries set code = 'zz' where code = 'de'",
        ] {
            pair.sharded.run(begin);
            assert_eq!(pair.sharded.query(sql).error().code, 1062, "{sql}");
            pair.sharded.run("commit");
            let counts = shards.each_mut().map(|conn| {
                conn.value("select group_concat(code order by code) from countries")
                    .unwrap()
            });
            assert_eq!(counts[..2], ["de,fr,jp", "de,fr,jp"], "{begin} {sql}");
            assert_eq!(counts[2..], ["de,fr,jp,zz", "de,fr,jp"], "{begin} {sql}");
        }
    }
    shards[2].run("delete from countries where code = 'zz'");
    pair.compare_tables("nothing");
    pair.end();
}

/// Every copy gets the same time, and what would be another value on each server is refused.
#[test]
fn copies_have_the_same_values() {
    let _turn = alone();
    let mut conn = WORLD.sharded();
    let mut shards = ["-40", "40-80", "80-c0", "c0-"].map(|shard| {
        let target = format!("test:{shard}");
        WORLD.local.connect_as(
            coregate_tests::world::USER,
            coregate_tests::world::PASSWORD,
            Some(&target),
        )
    });
    let mut alike = |after: &str| {
        let copies = shards.each_mut().map(|conn| {
            conn.query("select id, u, n, at from copies order by id")
                .rows()
        });
        assert!(copies.iter().all(|copy| *copy == copies[0]), "{after}: {copies:?}");
        copies[0].len()
    };
    conn.run("delete from copies");
    for (sql, rows) in [
        ("insert into copies (id, u, n) values (1, 'a', 1), (2, 'b', 2)", 2),
        ("insert into copies values (3, 'c', 3, now(6)), (4, 'd', 4, current_timestamp)", 4),
        ("insert into copies (id, u) values (5, curtime(6))", 5),
        ("update copies set n = n + 1 where id < 3", 5),
        ("update copies set u = now(6) where n in (select level from customers)", 5),
        ("replace into copies (id, u, n) values (1, 'z', 9)", 5),
        (
            "insert into copies (id, u, n) select id + 100, name, level from customers where id < 4",
            8,
        ),
        ("insert into copies (id, u) values (1, 'q') on duplicate key update n = 77", 8),
    ] {
        conn.run(sql);
        assert_eq!(alike(sql), rows, "{sql}");
    }
    let statement = conn
        .prepare("insert into copies (id, u, n) values (?, ?, ?)")
        .unwrap();
    let values = [Value::Int(50), Value::from("p"), Value::Int(1)];
    assert!(!conn.execute(&statement, &values).is_error());
    assert_eq!(alike("prepared"), 9);
    conn.run("prepare s from 'update copies set n = ? where id = 50'");
    conn.run("set @n = 5");
    conn.run("execute s using @n");
    assert_eq!(alike("by name"), 9);
    for sql in [
        "insert into copies (id, n) values (60, 1)",
        "insert into copies (id, u, n) values (60, default, 1)",
        "insert into copies (id, u) values (60, uuid())",
        "update copies set n = rand() * 100",
    ] {
        let error = conn.query(sql).error().clone();
        assert_eq!(error.code, 1235, "{sql}: {}", error.message);
        assert_eq!(alike(sql), 9, "{sql}");
    }
    conn.run("create trigger copied before insert on copies for each row set new.u = uuid()");
    let sql = "insert into copies (id, u, n) values (61, 'x', 1)";
    assert_eq!(conn.query(sql).error().code, 1235);
    conn.run("drop trigger copied");
    conn.run(
        "create trigger copied before insert on copies for each row set new.u = concat(new.u, \
        now(6))",
    );
    conn.run(sql);
    assert_eq!(alike(sql), 10);
    conn.run("drop trigger copied");
    conn.run("delete from copies");
}

/// Somebody copies the source to the shards.
#[test]
fn a_copy_with_a_source_changes_at_its_source() {
    let _turn = alone();
    let mut conn = WORLD.sharded();
    conn.run("insert into countries values ('x1', 'one'), ('x2', 'two')");
    for sql in [
        "insert into regions values ('eu', 'Europe', 1), ('us', 'America', 2)",
        "replace into test.regions (code, name) values ('as', 'Asia')",
        "update regions set regions.n = 5, name = upper(name) where code = 'eu'",
        "insert into regions (code, n) values ('eu', 1) on duplicate key update n = regions.n + 1",
        "insert into regions select code, name, 7 from countries where code like 'x%'",
        "update regions r set n = 9 where r.code = (select min(code) from countries where code \
            like 'x%')",
        "delete from regions where code in ('us', 'x2') order by code",
    ] {
        conn.run(sql);
    }
    let statement = conn
        .prepare("update regions set n = n + 1 where code = 'as' or code = 'eu'")
        .unwrap();
    assert!(!conn.execute(&statement, &[]).is_error());
    let mut list = |table: &str| {
        conn.query(&format!("select code, name, n from {table} order by code"))
            .rows()
    };
    let row = |code: &str, name: &str, n: Option<&str>| {
        vec![Some(code.to_owned()), Some(name.to_owned()), n.map(str::to_owned)]
    };
    let wanted =
        [row("as", "Asia", None), row("eu", "EUROPE", Some("7")), row("x1", "one", Some("9"))];
    assert_eq!(list("plain.regions"), wanted);
    assert_eq!(list("regions"), [] as [Vec<Option<String>>; 0]);
    conn.run("delete from regions");
    conn.run("delete from countries where code like 'x%'");
    assert_eq!(conn.query("select * from plain.regions").rows().len(), 0);
}

/// What the server would store otherwise is refused, and nothing changes.
#[test]
fn rows_that_move_keep_all_values() {
    const BOTH: &str = "set sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'";
    let _turn = alone();
    let mut conn = WORLD.sharded();
    let list = "select k, n, i, d from moving order by k";
    conn.run(BOTH);
    conn.run("insert into moving values \
        (1,0,'::1','2020-02-31'),(2,0,'::1','2020-02-31'),(3,0,'::1','2020-02-31'),(4,0,'::1','2020-02-31')");
    let before = conn.query(list).rows();
    assert_eq!(before[0][1..], ["0", "::1", "2020-02-31"].map(|v| Some(v.to_owned())));
    for (mode, names) in [
        ("set sql_mode = 'ALLOW_INVALID_DATES'", "set names utf8mb4"),
        ("set sql_mode = 'NO_AUTO_VALUE_ON_ZERO'", "set names utf8mb4"),
        (BOTH, "set names binary"),
    ] {
        conn.run(mode);
        conn.run(names);
        let error = conn.query("update moving set k = k + 100").error().clone();
        assert_eq!(error.code, 1235, "{mode}, {names}: {}", error.message);
        assert_eq!(conn.query(list).rows(), before, "{mode}, {names}");
    }
    conn.run(BOTH);
    conn.run("insert into moving select k + 10, n, i, d from moving where k = 1 or k = 2");
    conn.run("set names utf8mb4");
    assert_eq!(
        conn.value("select count(*) from moving where i = '::1'")
            .unwrap(),
        "6"
    );
    conn.run("delete from moving where k > 10");
    conn.run("update moving set k = k + 100");
    let after = conn.query(list).rows();
    assert!(
        after
            .iter()
            .zip(&before)
            .all(|(is, was)| is[0] != was[0] && is[1..] == was[1..]),
        "{after:?}"
    );
    conn.run("delete from moving");
}

/// A subquery gives a BIT value as digits, a column as bytes.
#[test]
fn a_bit_that_may_be_read_in_two_ways_is_refused() {
    let _turn = alone();
    let mut conn = WORLD.sharded();
    conn.run("insert into people (id, bits) values (9001, 257)");
    conn.run("insert into notes (id, customer_id, weight) values (9001, 1, 0)");
    let sql = "update notes set weight = (select bits from people where id = 9001) where id > 9000";
    assert_eq!(conn.query(sql).error().code, 1235);
    conn.run(
        "update notes set weight = (select bits+0 from people where id = 9001) where id > \
        9000",
    );
    assert_eq!(
        conn.value("select weight from notes where id = 9001")
            .unwrap(),
        "257"
    );
    conn.run("delete from notes where id = 9001");
    conn.run("delete from people where id = 9001");
}

#[test]
fn returning_gives_the_rows_of_all_shards() {
    compare_all(include_str!("returning.sql"));
}

#[test]
fn changes_by_key_leave_what_one_server_leaves() {
    compare_all(include_str!("by_key.sql"));
}

#[test]
fn changes_of_vindex_columns_move_rows_and_entries() {
    compare_all(include_str!("vindexes.sql"));
}

#[test]
fn inserts_of_several_steps_leave_what_one_server_leaves() {
    compare_all(include_str!("inserts.sql"));
}
