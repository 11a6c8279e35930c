//! Prepared statements outlive what they were prepared under: the database, the SQL mode and the
//! character set of that moment stay theirs, whatever the session selects and sets later, and
//! whoever else prepares the same text.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::{Login, Prepared, Value};
use coregate_tests::{Answer, Connection, Coregate, MariaDb, world};
use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;

struct World {
    server: MariaDb,
    drop_in: Coregate,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let server = MariaDb::start("prepared", &[]);
    let mut root = server.connect();
    for name in ["first", "second"] {
        root.run(&format!("create database {name} character set utf8mb4"));
        root.run(&format!(
            "create table {name}.t (id int primary key, v varchar(50)) character set utf8mb4"
        ));
        root.run(&format!("insert into {name}.t values (1, 'in {name}'), (2, 'two of {name}')"));
    }
    let drop_in = Coregate::drop_in("prepared-proxy", &server, &["--cores", "1"]);
    World { server, drop_in }
});

/// In a cluster a database is a keyspace.
static CLUSTER: LazyLock<Coregate> =
    LazyLock::new(|| world::local(&["--keyspace", "one", "--keyspace", "two:2"]));

fn cluster(keyspace: &str) -> Connection {
    CLUSTER.connect_as(world::USER, world::PASSWORD, Some(keyspace))
}

fn targets() -> [(&'static str, SocketAddr); 2] {
    [("server", ([127, 0, 0, 1], WORLD.server.port).into()), ("drop-in", WORLD.drop_in.mysql)]
}

fn login(address: SocketAddr, database: Option<&str>) -> Connection {
    let login = Login { user: "sb", password: "sb", database, capabilities: 0 };
    Connection::over(TcpStream::connect(address).unwrap(), &login).unwrap()
}

/// The one text of a binary result of one row.
fn cell(conn: &mut Connection, statement: &Prepared, values: &[Value]) -> Option<String> {
    let answer = conn.execute(statement, values);
    let Answer::Rows { raw, .. } = &answer else { panic!("rows were expected: {answer:?}") };
    let [row] = raw.as_slice() else { panic!("one row was expected: {answer:?}") };
    // A zero, the bit of NULL, the length, the text.
    let [0, nulls, rest @ ..] = row.as_slice() else { panic!("no binary row: {row:?}") };
    let text = rest
        .get(1..)
        .map(|text| String::from_utf8_lossy(text).into_owned());
    text.filter(|_| *nulls == 0)
}

#[test]
fn the_same_text_in_two_databases() {
    for (name, address) in targets() {
        // One after the other, so that both use the same connection to the server.
        for database in ["first", "second", "first"] {
            let mut conn = login(address, Some(database));
            let statement = conn.prepare("select v from t where id = ?").unwrap();
            let got = cell(&mut conn, &statement, &[Value::Int(1)]);
            assert_eq!(got, Some(format!("in {database}")), "{name}");
        }
    }
}

#[test]
fn a_statement_keeps_its_database() {
    for (name, address) in targets() {
        let mut conn = login(address, Some("first"));
        let statement = conn.prepare("select v from t where id = ?").unwrap();
        conn.run("use second");
        assert_eq!(
            cell(&mut conn, &statement, &[Value::Int(1)]),
            Some("in first".into()),
            "{name}"
        );
        assert_eq!(conn.value("select v from t where id = 1"), Some("in second".into()), "{name}");
        let newer = conn.prepare("select v from t where id = ?").unwrap();
        assert_eq!(cell(&mut conn, &newer, &[Value::Int(1)]), Some("in second".into()), "{name}");
        // The whole statement runs in its database.
        let here = conn
            .prepare("select concat(database(), ': ', v) from t where id = 1")
            .unwrap();
        conn.run("use first");
        assert_eq!(cell(&mut conn, &here, &[]), Some("second: in second".into()), "{name}");
        conn.run("begin");
        assert_eq!(
            cell(&mut conn, &statement, &[Value::Int(2)]),
            Some("two of first".into()),
            "{name}"
        );
        assert_eq!(
            cell(&mut conn, &newer, &[Value::Int(2)]),
            Some("two of second".into()),
            "{name}"
        );
        conn.run("rollback");
    }
}

#[test]
fn a_statement_keeps_its_sql_mode() {
    for (name, address) in targets() {
        for _ in 0..2 {
            let mut conn = login(address, Some("first"));
            let text = conn.prepare("select \"v\" from t where id = 1").unwrap();
            conn.run("set sql_mode = 'ANSI_QUOTES'");
            let column = conn.prepare("select \"v\" from t where id = 1").unwrap();
            assert_eq!(cell(&mut conn, &text, &[]), Some("v".into()), "{name}");
            assert_eq!(cell(&mut conn, &column, &[]), Some("in first".into()), "{name}");
            conn.run("set sql_mode = ''");
            assert_eq!(cell(&mut conn, &column, &[]), Some("in first".into()), "{name}");
            assert_eq!(cell(&mut conn, &text, &[]), Some("v".into()), "{name}");
        }
    }
}

#[test]
fn a_statement_keeps_its_character_set() {
    for (name, address) in targets() {
        for names in ["utf8mb4", "latin1", "utf8mb4"] {
            let mut conn = login(address, Some("first"));
            conn.run(&format!("set names {names}"));
            let statement = conn
                .prepare("select hex(convert('é' using utf8mb4))")
                .unwrap();
            let wanted = if names == "utf8mb4" { "C3A9" } else { "C383C2A9" };
            assert_eq!(cell(&mut conn, &statement, &[]), Some(wanted.into()), "{name} {names}");
        }
    }
}

#[test]
fn a_statement_follows_changes_of_its_table() {
    for (name, address) in targets() {
        let table = format!("changing_{}", name.replace('-', "_"));
        let (mut conn, mut other) = (login(address, Some("first")), login(address, Some("first")));
        other.run(&format!("create table {table} (id int primary key)"));
        other.run(&format!("insert into {table} values (1)"));
        let statement = conn.prepare(&format!("select * from {table}")).unwrap();
        let columns = |answer: Answer| match answer {
            Answer::Rows { columns, raw, .. } if raw.len() == 1 => columns.len(),
            other => panic!("one row was expected: {other:?}"),
        };
        assert_eq!(columns(conn.execute(&statement, &[])), 1, "{name}");
        other.run(&format!("alter table {table} add v varchar(10) default 'x'"));
        assert_eq!(columns(conn.execute(&statement, &[])), 2, "{name}");
        other.run(&format!("drop table {table}"));
        assert!(
            matches!(conn.execute(&statement, &[]), Answer::Error(e) if e.code == 1146),
            "{name}"
        );
    }
}

#[test]
fn a_statement_keeps_its_keyspace() {
    let mut conn = cluster("one");
    conn.run("create table kept (id bigint primary key, v varchar(50))");
    conn.run("insert into kept values (1, 'in one')");
    conn.run("use two");
    conn.run("create table kept (id bigint primary key, v varchar(50))");
    conn.run("alter vschema on two.kept add vindex hash(id) using hash");
    conn.run("insert into kept (id, v) values (1, 'in two'), (4, 'four in two')");
    conn.run("use one");
    let one = conn.prepare("select v from kept where id = ?").unwrap();
    conn.run("use two");
    let two = conn.prepare("select v from kept where id = ?").unwrap();
    for database in ["one", "two", "one"] {
        conn.run(&format!("use {database}"));
        assert_eq!(cell(&mut conn, &one, &[Value::Int(1)]), Some("in one".into()));
        assert_eq!(cell(&mut conn, &two, &[Value::Int(1)]), Some("in two".into()));
        assert_eq!(cell(&mut conn, &two, &[Value::Int(4)]), Some("four in two".into()));
    }
    // The snapshot changes: plans are made anew, for the keyspace that was chosen then.
    conn.run("alter vschema on two.kept drop vindex hash");
    conn.run("alter vschema on two.kept add vindex hash2(id) using hash");
    assert_eq!(cell(&mut conn, &one, &[Value::Int(1)]), Some("in one".into()));
    assert_eq!(cell(&mut conn, &two, &[Value::Int(4)]), Some("four in two".into()));
}

/// What is made of a statement for several shards would be read under the session's settings.
#[test]
fn a_statement_for_several_shards_is_not_read_anew() {
    let mut conn = cluster("two");
    conn.run("create table read_once (id int primary key, a int, b varchar(10))");
    conn.run("alter vschema on two.read_once add vindex hash(id) using hash");
    conn.run("insert into read_once values (1, 1, 'v1'), (4, 2, 'v2')");
    conn.run("set sql_mode = 'PIPES_AS_CONCAT'");
    let sql = "select id, 'a'||b||? from read_once where a >= ? order by id";
    let statement = conn.prepare(sql).unwrap();
    conn.run(&format!("prepare named from '{}'", sql.replace('\'', "''")));
    conn.run("set @z = 'z', @n = 0");
    let values = [Value::from("z"), Value::Int(0)];
    let there = |conn: &mut Connection| conn.execute(&statement, &values);
    let wanted = there(&mut conn);
    assert!(matches!(&wanted, Answer::Rows { raw, .. } if raw.len() == 2), "{wanted:?}");
    for other in ["set sql_mode = ''", "set sql_mode = 'ANSI_QUOTES'", "set names latin1"] {
        conn.run(other);
        assert_eq!(there(&mut conn).error().code, 1235, "{other}");
        assert_eq!(conn.query("execute named using @z, @n").error().code, 1235, "{other}");
        // What does not decide on how it is read may be another.
        conn.run("set names utf8mb4");
        conn.run("set sql_mode = 'PIPES_AS_CONCAT,STRICT_TRANS_TABLES'");
        assert_eq!(format!("{:?}", there(&mut conn)), format!("{wanted:?}"), "{other}");
        assert_eq!(conn.query("execute named using @z, @n").rows().len(), 2, "{other}");
    }
}

/// By name, too, wherever the session is now.
#[test]
fn a_statement_by_name_outlives_the_choice_of_its_keyspace() {
    let mut conn = cluster("one");
    conn.run("create table counted (id int primary key)");
    conn.run("insert into counted values (1)");
    conn.run("use two");
    conn.run("create table counted (id int primary key)");
    conn.run("alter vschema on two.counted add vindex hash(id) using hash");
    conn.run("insert into counted values (1), (4), (5)");
    conn.run("set @id = 0");
    let count = |conn: &mut Connection, name: &str| {
        conn.query(&format!("execute {name} using @id")).rows()[0][0]
            .clone()
            .unwrap()
    };
    for (mine, wanted, other) in [("one", "1", "two"), ("two", "3", "one")] {
        conn.run(&format!("use {mine}"));
        conn.run("prepare c from 'select count(*) from counted where id > ?'");
        assert_eq!(count(&mut conn, "c"), wanted, "{mine}");
        conn.run(&format!("use {other}"));
        assert_eq!(count(&mut conn, "c"), wanted, "{mine} from {other}");
        conn.run("deallocate prepare c");
        assert_eq!(conn.query("execute c using @id").error().code, 1243, "{mine}");
        conn.run("prepare c from 'select 7 where ? = 0'");
        assert_eq!(count(&mut conn, "c"), "7", "{mine}");
        conn.run("deallocate prepare c");
    }
}

/// A server's statement serves several sessions. MariaDB keeps long data by the type that the
/// parameter had at the last execution.
#[test]
fn long_data_is_its_own_whoever_was_there_before() {
    let mut conn = cluster("two");
    conn.run("create table long_data (id int primary key, v varchar(100))");
    conn.run("alter vschema on two.long_data add vindex hash(id) using hash");
    let sql = "insert into long_data (id, v) values (?, ?)";
    // INT, DOUBLE, DATETIME, and their values.
    let others: [(u8, &[u8]); 3] =
        [(3, &[7, 0, 0, 0]), (5, &[0, 0, 0, 0, 0, 0, 248, 63]), (12, &[4, 0xe8, 7, 1, 2])];
    let mut id = 0i32;
    let bind = |statement: &Prepared, id: i32, v_type: u8, value: &[u8]| {
        let mut out = statement.id.to_le_bytes().to_vec();
        out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 1, 3, 0, v_type, 0]);
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(value);
        out
    };
    for round in 0..12 {
        let (v_type, value) = others[round % 3];
        let mut first = cluster("two");
        let statement = first.prepare(sql).unwrap();
        id += 1;
        first
            .send_command(0x17, &bind(&statement, id, v_type, value))
            .unwrap();
        first.answer(true).unwrap().ok();
        drop(first);
        let mut second = cluster("two");
        let statement = second.prepare(sql).unwrap();
        for part in ["hel", "lo"] {
            let mut long = statement.id.to_le_bytes().to_vec();
            long.extend_from_slice(&[1, 0]);
            long.extend_from_slice(part.as_bytes());
            second.send_command(0x18, &long).unwrap();
        }
        id += 1;
        second
            .send_command(0x17, &bind(&statement, id, 252, &[]))
            .unwrap();
        second.answer(true).unwrap().ok();
        assert_eq!(
            conn.value(&format!("select v from long_data where id = {id}"))
                .as_deref(),
            Some("hello"),
            "after type {v_type}"
        );
    }
    conn.run("drop table long_data");
}
