//! Cursors of prepared statements, and what only looks like one.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::Prepared;
use coregate_tests::{Connection, Coregate, MariaDb, guard};
use std::sync::LazyLock;

const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_FETCH: u8 = 0x1C;
const CURSOR_EXISTS: u16 = 1 << 6;

struct World {
    server: MariaDb,
    drop_in: Coregate,
    sharded: Coregate,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let server = MariaDb::start("cursors", &[]);
    let mut conn = server.connect();
    conn.run("create table t (id bigint primary key, g int)");
    conn.run(
        "create procedure opens() begin declare c cursor for select 1; open c; close c; select 5 \
            as a; end",
    );
    let config = guard::dir().join("cursors.toml");
    std::fs::write(&config, "[pool]\nstatements_max = 8\n").unwrap();
    let drop_in =
        Coregate::drop_in("cursors-drop-in", &server, &["--config", config.to_str().unwrap()]);
    let sharded = Coregate::local("cursors-sharded", &["--keyspace", "ks:2", "--cores", "1"]);
    let mut conn = sharded.connect_as("app", "app", Some("ks"));
    conn.run("create table t (id bigint primary key, g int, f float)");
    conn.run("alter vschema on ks.t add vindex hash(g) using hash");
    for n in 1..=40 {
        conn.run(&format!("insert into t (id, g, f) values ({n}, {}, 0.5)", n % 4));
    }
    let mut conn = drop_in.connect_as("sb", "sb", Some("test"));
    for n in 1..=40 {
        conn.run(&format!("insert into t values ({n}, {})", n % 4));
    }
    World { server, drop_in, sharded }
});

/// Of one answer: the 64-bit integers in its rows, and the status at its end. `rows`: there are
/// columns first.
fn read(conn: &mut Connection, columns: bool) -> Result<(Vec<i64>, u16), u16> {
    if columns {
        let head = conn.packet().unwrap();
        if head[0] == 0xFF {
            return Err(u16::from_le_bytes([head[1], head[2]]));
        }
        for _ in 0..head[0] {
            conn.packet().unwrap();
        }
        let eof = conn.packet().unwrap();
        assert_eq!(eof[0], 0xFE, "the end of the columns: {eof:?}");
        let status = u16::from_le_bytes([eof[3], eof[4]]);
        if status & CURSOR_EXISTS != 0 && status & 8 == 0 {
            return Ok((Vec::new(), status));
        }
    }
    let mut rows = Vec::new();
    loop {
        let packet = conn.packet().unwrap();
        match packet[0] {
            0xFF => return Err(u16::from_le_bytes([packet[1], packet[2]])),
            0xFE if packet.len() < 9 => {
                return Ok((rows, u16::from_le_bytes([packet[3], packet[4]])));
            }
            _ => {
                let mut bytes = [0; 8];
                let value = &packet[2..];
                bytes[..value.len().min(8)].copy_from_slice(&value[..value.len().min(8)]);
                rows.push(i64::from_le_bytes(bytes));
            }
        }
    }
}

/// Executes with 64-bit integers; `cursor`: is one asked for?
fn execute(
    conn: &mut Connection,
    statement: &Prepared,
    values: &[i64],
    cursor: bool,
) -> Result<(Vec<i64>, u16), u16> {
    let mut out = statement.id.to_le_bytes().to_vec();
    out.extend_from_slice(&[u8::from(cursor), 1, 0, 0, 0]);
    if !values.is_empty() {
        out.extend_from_slice(&[0, 1]);
        values.iter().for_each(|_| out.extend_from_slice(&[8, 0]));
        values
            .iter()
            .for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
    }
    conn.send_command(COM_STMT_EXECUTE, &out).unwrap();
    read(conn, true)
}

fn fetch(conn: &mut Connection, statement: &Prepared, count: u32) -> Result<Vec<i64>, u16> {
    let rest = [statement.id.to_le_bytes(), count.to_le_bytes()].concat();
    conn.send_command(COM_STMT_FETCH, &rest).unwrap();
    Ok(read(conn, false)?.0)
}

fn targets() -> Vec<(&'static str, Connection)> {
    let world = &*WORLD;
    vec![
        ("server", world.server.connect()),
        ("drop-in", world.drop_in.connect_as("sb", "sb", Some("test"))),
        ("sharded", world.sharded.connect_as("app", "app", Some("ks"))),
    ]
}

#[test]
fn statements_of_one_text_have_a_cursor_each() {
    LazyLock::force(&WORLD);
    for (name, mut conn) in targets() {
        let sql = "select id from t where g = ? and id > ? order by id";
        let [one, two] = [(); 2].map(|()| conn.prepare(sql).unwrap());
        assert!(execute(&mut conn, &one, &[1, 0], true).unwrap().1 & CURSOR_EXISTS != 0, "{name}");
        assert_eq!(fetch(&mut conn, &one, 1), Ok(vec![1]), "{name}");
        execute(&mut conn, &two, &[1, 20], true).unwrap();
        assert_eq!(fetch(&mut conn, &two, 1), Ok(vec![21]), "{name}");
        assert_eq!(fetch(&mut conn, &one, 3), Ok(vec![5, 9, 13]), "{name}");
        assert_eq!(fetch(&mut conn, &two, 2), Ok(vec![25, 29]), "{name}");
        // Executing one of them without a cursor closes its own.
        assert_eq!(execute(&mut conn, &two, &[1, 30], false).unwrap().0, [33, 37], "{name}");
        assert_eq!(fetch(&mut conn, &two, 2), Err(1421), "{name}");
        assert_eq!(fetch(&mut conn, &one, 9), Ok(vec![17, 21, 25, 29, 33, 37]), "{name}");
        // And again, on whatever shard.
        for (g, first) in [(2, 34), (3, 31)] {
            execute(&mut conn, &one, &[g, 30], true).unwrap();
            assert_eq!(fetch(&mut conn, &one, 1), Ok(vec![first]), "{name}");
        }
    }
}

#[test]
fn cursors_outlive_other_statements() {
    LazyLock::force(&WORLD);
    for (name, mut conn) in targets() {
        let open = conn
            .prepare("select id from t where g = ? order by id")
            .unwrap();
        execute(&mut conn, &open, &[1], true).unwrap();
        assert_eq!(fetch(&mut conn, &open, 2), Ok(vec![1, 5]), "{name}");
        // More than a pooled connection keeps.
        for n in 0..20 {
            let other = conn
                .prepare(&format!("select id + {n} from t where g = ? limit 1"))
                .unwrap();
            execute(&mut conn, &other, &[1], false).unwrap();
        }
        assert_eq!(fetch(&mut conn, &open, 2), Ok(vec![9, 13]), "{name}");
        if name == "sharded" {
            // Refused, as a FLOAT is gathered.
            if let Ok(refused) = conn.prepare("select * from t where id >= ? order by id limit ?") {
                let _ = execute(&mut conn, &refused, &[1, 5], false);
            }
        }
        let _ = conn.query("select nosuch from t where g = 1");
        assert_eq!(fetch(&mut conn, &open, 2), Ok(vec![17, 21]), "{name}");
    }
}

/// MariaDB leaves the flag of the cursor that the routine itself has opened.
#[test]
fn a_routines_cursor_is_none_of_the_clients() {
    LazyLock::force(&WORLD);
    for (name, mut conn) in targets().into_iter().take(2) {
        let call = conn.prepare("call opens()").unwrap();
        for cursor in [false, true] {
            let (rows, _) = execute(&mut conn, &call, &[], cursor).unwrap();
            assert_eq!(rows.len(), 1, "{name}");
            assert_eq!(conn.packet().unwrap()[0], 0, "{name}: the OK of CALL");
            assert!(conn.ping(), "{name}");
        }
    }
}

/// The server alone would select the database, and the session not know.
#[test]
fn a_database_in_another_character_set_is_not_selected_by_halves() {
    let mut conn = WORLD.drop_in.connect_as("sb", "sb", Some("test"));
    let raw = |conn: &mut Connection, sql: &[u8]| {
        conn.send_command(3, sql).unwrap();
        conn.answer(false).unwrap()
    };
    conn.run("set names latin1");
    raw(&mut conn, b"create database `\xe9`").ok();
    for sql in [&b"use \xe9"[..], b"use `\xe9`"] {
        assert_eq!(raw(&mut conn, sql).error().code, 1235);
        assert_eq!(conn.value("select database()").as_deref(), Some("test"));
    }
    conn.run("set names utf8mb4");
    conn.run("use `é`");
    conn.run("create table w (n int)");
    conn.run("use test");
    assert_eq!(conn.query("insert into w values (1)").error().code, 1146);
    conn.run("drop database `é`");
}
