//! Transactions on several shards, as clients see them: savepoints, deadlocks, what ends with what.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Answer, Connection, Coregate, guard, world};
use std::sync::LazyLock;

/// Keyspace ids by the hash vindex: 1, 2, 3 and 5 lie on -80; 4 and 6 on 80-.
static LOCAL: LazyLock<Coregate> = LazyLock::new(|| {
    let schema = guard::dir().join("schema");
    std::fs::create_dir_all(&schema).unwrap();
    let tables: String = ["saved", "locked", "waited", "sums", "joined", "switched"]
        .map(|t| format!("create table {t} (id bigint primary key, v varchar(100));\n"))
        .concat();
    std::fs::write(schema.join("ks.sql"), tables).unwrap();
    let by_id = r#"{"column_vindexes": [{"column": "id", "name": "hash"}]}"#;
    let vschema = format!(
        r#"{{"sharded": true, "vindexes": {{"hash": {{"type": "hash"}}}},
            "tables": {{"saved": {by_id}, "locked": {by_id}, "waited": {by_id}, "sums": {by_id},
            "joined": {by_id}, "switched": {by_id}}}}}"#
    );
    std::fs::write(schema.join("ks.json"), vschema).unwrap();
    let schema = schema.to_str().unwrap();
    Coregate::local(
        "cluster",
        &["--keyspace", "ks:2", "--schema", schema, "--vschema", schema, "--cores", "2"],
    )
});

fn connect() -> Connection {
    LOCAL.connect_as(world::USER, world::PASSWORD, Some("ks"))
}

fn rows(conn: &mut Connection, table: &str) -> Vec<String> {
    let Answer::Rows { rows, .. } = conn.query(&format!("select concat(id, v) from {table}"))
    else {
        panic!("no rows");
    };
    let mut rows: Vec<String> = rows
        .into_iter()
        .map(|row| String::from_utf8(row[0].clone().unwrap()).unwrap())
        .collect();
    rows.sort();
    rows
}

/// A shard that joins after SAVEPOINT must know it, however the transaction was opened.
#[test]
fn savepoints_are_known_on_every_shard() {
    let mut conn = connect();
    for (open, first) in [
        ("begin", Some("insert into saved values (1, 'a')")),
        ("begin", None),
        ("set autocommit = 0", Some("insert into saved values (1, 'a')")),
        ("set autocommit = 0", None),
    ] {
        conn.run("delete from saved");
        conn.run(open);
        if let Some(first) = first {
            conn.run(first);
        }
        conn.run("savepoint s");
        conn.run("insert into saved values (2, 'b')");
        conn.run("insert into saved values (4, 'd')");
        conn.run("rollback to s");
        conn.run("insert into saved values (6, 'f')");
        conn.run("commit");
        conn.run("set autocommit = 1");
        let wanted: &[&str] = if first.is_some() { &["1a", "6f"] } else { &["6f"] };
        assert_eq!(rows(&mut conn, "saved"), wanted, "{open}, {first:?}");
        let Answer::Error(error) = conn.query("rollback to s") else {
            panic!("the savepoint has ended")
        };
        assert_eq!(error.code, 1305);
    }
}

/// Connectors send it at the start of each unit of work.
#[test]
fn autocommit_that_stays_off_commits_nothing() {
    let mut conn = connect();
    let mut other = connect();
    conn.run("set autocommit = 0, @no = 0, @yes = 1");
    for set in [
        "set autocommit = 0",
        "set @@session.autocommit = off, @z = 1",
        "set autocommit = @no",
        "set autocommit = @@session.autocommit",
        "execute immediate 'set autocommit = 0'",
    ] {
        conn.run("insert into switched values (1, 'a'), (4, 'b')");
        conn.run("savepoint s");
        conn.run("insert into switched values (2, 'c')");
        conn.run(set);
        assert_eq!(rows(&mut other, "switched"), [""; 0], "{set}");
        conn.run("rollback to s");
        assert_eq!(rows(&mut conn, "switched"), ["1a", "4b"], "{set}");
        conn.run("rollback");
        assert_eq!(rows(&mut conn, "switched"), [""; 0], "{set}");
    }
    for set in ["set autocommit = 7", "set autocommit = no_such_value"] {
        conn.run("insert into switched values (1, 'a'), (4, 'b')");
        assert_eq!(conn.query(set).error().code, 1231, "{set}");
        conn.run("rollback");
        assert_eq!(rows(&mut conn, "switched"), [""; 0], "{set}");
    }
    for set in [
        "set autocommit = 1",
        "set @@session.autocommit = on, @z = 1",
        "set autocommit = @yes",
        "set autocommit = default",
    ] {
        conn.run("set autocommit = 0");
        conn.run("insert into switched values (1, 'a'), (4, 'b')");
        conn.run(set);
        conn.run("rollback");
        assert_eq!(rows(&mut other, "switched"), ["1a", "4b"], "{set}");
        conn.run("delete from switched");
    }
}

/// A deadlock ends the transaction on the shard where it happens, so it must end on all.
#[test]
fn a_deadlock_ends_the_transaction_on_every_shard() {
    for open in ["begin", "set autocommit = 0"] {
        let mut setup = connect();
        setup.run("delete from locked");
        setup.run("insert into locked values (1, '-'), (2, '-'), (3, '-'), (4, '-'), (5, '-')");
        let (mut one, mut two) = (connect(), connect());
        two.run("begin");
        // The one with fewer changes is the victim.
        for id in [2, 3, 5] {
            two.run(&format!("update locked set v = 'two' where id = {id}"));
        }
        one.run(open);
        one.run("update locked set v = 'one' where id = 4");
        one.run("update locked set v = 'one' where id = 1");
        // Whoever comes second closes the circle; only the lighter one fails, whichever that is.
        let waiting = std::thread::spawn(move || {
            two.run("update locked set v = 'two' where id = 1");
            two.run("commit");
        });
        let Answer::Error(error) = one.query("update locked set v = 'one' where id = 2") else {
            panic!("a deadlock was expected");
        };
        assert_eq!(error.code, 1213, "{}", error.message);
        waiting.join().unwrap();
        one.run("commit");
        let wanted = ["1two", "2two", "3two", "4-", "5two"];
        assert_eq!(rows(&mut setup, "locked"), wanted, "{open}");
    }
}

/// The first error is told while another shard still waits for a lock, which nobody sets free.
#[test]
fn an_error_does_not_wait_for_other_shards() {
    let mut setup = connect();
    setup.run("insert into waited values (1, '-'), (2, '-'), (4, '-'), (6, '-')");
    let mut holder = connect();
    holder.run("begin");
    holder.run("update waited set v = 'holder' where id = 1");
    for open in ["", "begin", "set autocommit = 0"] {
        let mut one = connect();
        if !open.is_empty() {
            one.run(open);
            one.run("update waited set v = 'one' where id = 2");
        }
        let Answer::Error(error) = one.query("insert into waited values (1, 'x'), (4, 'x')") else {
            panic!("{open}: 4 is there");
        };
        assert_eq!(error.code, 1062, "{open}: {}", error.message);
        // The statement alone is undone.
        one.run("commit");
        let wanted = if open.is_empty() { "2-" } else { "2one" };
        assert!(rows(&mut setup, "waited").contains(&wanted.to_owned()), "{open}");
        setup.run("update waited set v = '-' where id = 2");
    }
    // On 80-, the two wait for each other; the one with fewer changes is the victim, wherever its
    // transaction waits besides.
    for sql in [
        "update waited set v = 'one' where id in (1, 6)",
        "select id, v from waited where id in (1, 6) for update",
        "select id, v from waited where id in (1, 6) order by id for update",
    ] {
        let (mut one, mut two) = (connect(), connect());
        one.run("begin");
        one.run("update waited set v = 'one' where id = 4");
        two.run("begin");
        two.run(
            "insert into waited values (100, 'two'), (101, 'two'), (102, 'two'), (103, 'two'), \
                (104, 'two')",
        );
        two.run("update waited set v = 'two' where id = 6");
        let waiting = std::thread::spawn(move || {
            two.run("update waited set v = 'two' where id = 4");
            two.run("rollback");
        });
        let Answer::Error(error) = one.query(sql) else { panic!("a deadlock was expected: {sql}") };
        assert_eq!(error.code, 1213, "{sql}: {}", error.message);
        waiting.join().unwrap();
        one.run("commit");
    }
    holder.run("rollback");
    let locked = setup
        .query("select concat(id, v) from waited where id in (1, 2, 4, 6) order by id for update");
    assert_eq!(locked.rows().len(), 4);
    let locked = setup.query("select repeat(v, 30000), repeat(v, 20000000) from waited for update");
    assert_eq!(
        locked
            .rows()
            .iter()
            .map(|row| row[1].as_ref().map_or(0, String::len))
            .sum::<usize>(),
        80_000_000
    );
    assert_eq!(rows(&mut setup, "waited"), ["1-", "2-", "4-", "6-"]);
}

/// What a server says of many rows is added up over shards, also where a shard had one row and said
/// nothing.
#[test]
fn the_text_of_an_ok_is_of_the_whole_statement() {
    let mut conn = connect();
    conn.run("delete from sums");
    for (sql, wanted) in [
        (
            "insert into sums values (1, 'a'), (2, 'b'), (4, 'd'), (6, 'f')",
            "Records: 4  Duplicates: 0  Warnings: 0",
        ),
        (
            "insert into sums values (3, 'c'), (5, 'e'), (100, 'x')",
            "Records: 3  Duplicates: 0  Warnings: 0",
        ),
        (
            "insert ignore into sums values (1, 'a'), (2, 'b'), (4, 'd')",
            "Records: 3  Duplicates: 3  Warnings: 3",
        ),
        (
            "insert ignore into sums values (1, 'a'), (4, 'd')",
            "Records: 2  Duplicates: 2  Warnings: 2",
        ),
        (
            "replace into sums values (1, 'A'), (2, 'B'), (4, 'D')",
            "Records: 3  Duplicates: 3  Warnings: 0",
        ),
        (
            "insert into sums values (1, 'a'), (4, 'D') on duplicate key update v = values(v)",
            "Records: 2  Duplicates: 1  Warnings: 0",
        ),
        ("insert into sums values (7, 'g')", ""),
        (
            "update sums set v = 'a' where id in (1, 2, 4, 6)",
            "Rows matched: 4  Changed: 3  Warnings: 0",
        ),
        ("delete from sums where id in (1, 4)", ""),
    ] {
        let Answer::Ok { info, .. } = conn.query(sql) else { panic!("{sql} has no rows") };
        assert_eq!(info, wanted, "{sql}");
    }
}

/// Its core is found by its number, whether there is such a session or not.
#[test]
fn sessions_that_are_not_there_cannot_be_killed() {
    let mut conn = connect();
    for id in 90_000_001..90_000_005 {
        for how in ["query", "connection"] {
            let Answer::Error(error) = conn.query(&format!("kill {how} {id}")) else {
                panic!("killed {id}")
            };
            assert_eq!((error.code, error.message), (1094, format!("Unknown thread id: {id}")));
        }
    }
    // There are two cores, and somewhere a session that is there.
    let mut others: Vec<Connection> = (0..8).map(|_| connect()).collect();
    for other in &mut others {
        let id = other.value("select connection_id()").unwrap();
        conn.run(&format!("kill {id}"));
        let said = other.try_query("select 1");
        assert!(matches!(said.as_deref(), Err(_) | Ok([Answer::Error(_)])), "{said:?}");
    }
}

/// A transaction that a server begins by itself is the session's: shards that join later take part
/// in it.
#[test]
fn a_transaction_that_a_server_began_is_joined_by_later_shards() {
    let mut conn = connect();
    for end in ["rollback", "commit"] {
        conn.run("use `ks:-80`");
        conn.run("begin not atomic start transaction; insert into joined values (1, 'a'); end");
        conn.run("use ks");
        conn.run("insert into joined values (2, 'b'), (4, 'd'), (6, 'f')");
        conn.run(end);
        let wanted: &[&str] = if end == "commit" { &["1a", "2b", "4d", "6f"] } else { &[] };
        assert_eq!(rows(&mut connect(), "joined"), wanted, "{end}");
    }
}

/// A variable that a query assigns lives on one shard's connection: another shard would read NULL,
/// or an older value.
#[test]
fn variables_that_other_shards_would_not_see_are_refused() {
    let mut conn = connect();
    for sql in [
        "select v into @z from saved where id = 4",
        "select @z := v from saved where id = 1",
        "update saved set v = (@z := 1)",
    ] {
        let Answer::Error(error) = conn.query(sql) else { panic!("{sql} was not refused") };
        assert_eq!(error.code, 1235, "{sql}");
    }
    conn.run("set @z = 7");
    assert_eq!(conn.value("select @z"), Some("7".into()));
}
