//! What a packet holds: where a statement ends, what may follow it, and what PREPARE takes.
//! Compared with the server itself.
#![allow(clippy::unwrap_used)]
use coregate_tests::wire::{Login, SqlError, caps};
use coregate_tests::{Answer, Connection, Coregate, MariaDb, guard, world};
use std::fs;
use std::net::{SocketAddr, TcpStream};

const SEVERAL: &[&str] = &[
    "select 1; select 2",
    "select 1;\n  select 2",
    "select 1; -- x",
    "select 1;; ;",
    "select 1\0",
    "select 1 \0 ",
    "select 1\0\0",
    "select \0 1",
    "select 1;\0",
    "select \\N, \\N + 1, concat(\\N, 'a')",
    "select nosuch from (select 1) d; select 2",
    "create or replace procedure p() begin select 1; select 2; end; call p(); select 3",
    "create or replace function f(a int) returns int return if(a, 2, 3); select f(1)",
    "create or replace function f(a int) returns int begin if a then return 4; end if; return 5; \
        end; select f(1), f(0)",
    "create or replace procedure p() if 1 then select 'yes'; else select 'no'; end if; call p()",
    "create or replace trigger tr before insert on t for each row begin set new.v = 7; set new.v = \
        new.v + 1; end; replace into t values (1, 1); select v from t where id = 1",
    "drop trigger if exists tr; create event if not exists e on schedule at now() + interval 1 \
        year do begin select 1; select 2; end; drop event e",
    "begin not atomic declare a int default 5; select a; end; select 6",
    "if 1 then select 'yes'; else select 'no'; end if; select 7",
    "select 1; create or replace procedure p() begin select 1; end",
];

fn login(address: SocketAddr, database: &str, several: bool) -> Connection {
    let stream = TcpStream::connect(address).unwrap();
    let login = Login {
        user: world::USER,
        password: world::PASSWORD,
        database: Some(database),
        capabilities: 0,
    };
    let mut conn = Connection::over(stream, &login).unwrap();
    // COM_SET_OPTION
    conn.send_command(0x1B, &[u8::from(!several), 0]).unwrap();
    conn.packet().unwrap();
    conn
}

/// What must be equal: rows, columns' names, errors, counts.
fn shape(answer: &Answer) -> String {
    match answer {
        Answer::Ok { affected, .. } => format!("ok {affected}"),
        Answer::Rows { columns, rows, .. } => {
            let names: Vec<_> = columns.iter().map(|c| c.name.as_str()).collect();
            format!("{names:?} {rows:?}")
        }
        Answer::Error(error) => said(error),
    }
}

/// Long texts are cut off in different ways.
fn said(error: &SqlError) -> String {
    let shown = error
        .message
        .split("near '")
        .map(|part| part.get(..70).unwrap_or(part));
    format!("{} {} {}", error.code, error.state, shown.collect::<String>())
}

fn shapes(conn: &mut Connection, sql: &str) -> Vec<String> {
    let answers = conn.try_query(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    answers.iter().map(shape).collect()
}

fn prepared(conn: &mut Connection, sql: &str) -> String {
    match conn.prepare(sql) {
        Ok(statement) => format!(
            "{:?}",
            statement
                .columns
                .iter()
                .map(|c| &c.name)
                .collect::<Vec<_>>()
        ),
        Err(error) => said(&error),
    }
}

fn compare(name: &str, address: SocketAddr, database: &str, server: &MariaDb) {
    let here = |several: bool| login(address, database, several);
    let there = |several: bool| {
        let mut conn = server.connect();
        conn.send_command(0x1B, &[u8::from(!several), 0]).unwrap();
        conn.packet().unwrap();
        conn
    };
    for sql in SEVERAL {
        for several in [true, false] {
            let (mut a, mut b) = (here(several), there(several));
            assert_eq!(
                shapes(&mut a, sql),
                shapes(&mut b, sql),
                "{name}, several: {several}: {sql:?}"
            );
        }
        let (mut a, mut b) = (here(true), there(true));
        assert_eq!(prepared(&mut a, sql), prepared(&mut b, sql), "{name}, prepared: {sql:?}");
        let by_name = format!(
            "prepare s from '{}'",
            sql.replace('\'', "''")
                .replace('\\', "\\\\")
                .replace('\0', "\\0")
        );
        assert_eq!(shapes(&mut a, &by_name), shapes(&mut b, &by_name), "{name}: {by_name:?}");
    }
}

#[test]
fn packets_are_divided_as_the_server_does() {
    let server = MariaDb::start("upstream", &[]);
    let mut direct = server.connect();
    direct.run("create table t (id int primary key, v int)");
    direct.run("set global log_bin_trust_function_creators = 1");
    let users = world::users_file();
    let users = users.to_str().unwrap();
    let coregate = Coregate::drop_in("statements", &server, &["--users", users]);
    compare("drop-in", coregate.mysql, "test", &server);

    let dir = guard::dir().join("statement-schemas");
    fs::create_dir_all(&dir).unwrap();
    let schema = "create table t (id int primary key, v int);
        set global log_bin_trust_function_creators = 1;
        create procedure made() begin select 1; select 2; end; create table after_it (id int \
        primary key);";
    fs::write(dir.join("plain.sql"), schema).unwrap();
    let dir = dir.to_str().unwrap();
    let coregate =
        Coregate::local("statements", &["--keyspace", "plain", "--schema", dir, "--users", users]);
    let mut conn = coregate.connect_as(world::USER, world::PASSWORD, Some("plain"));
    assert_eq!(conn.try_query("call made()").unwrap().len(), 3);
    conn.run("select * from after_it");
    compare("unsharded", coregate.mysql, "plain", &server);
}

const NEWEST: u32 = u32::MAX;

fn execute(conn: &mut Connection, id: u32, rest: &[u8]) -> Answer {
    let body = [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0], rest].concat();
    conn.send_command(0x17, &body).unwrap();
    conn.answer(true).unwrap()
}

fn raw(answer: &Answer) -> Vec<Vec<u8>> {
    match answer {
        Answer::Rows { raw, .. } => raw.clone(),
        other => vec![shape(other).into_bytes()],
    }
}

/// The same commands to the server and through Coregate.
fn prepared_statements(conn: &mut Connection) -> Vec<Vec<Vec<u8>>> {
    let mut seen = Vec::new();
    let mut note = |answer: Answer| seen.push(raw(&answer));
    // All parameters NULL, and no types.
    let two = conn.prepare("select ?, ? is null").unwrap();
    note(execute(conn, two.id, &[3, 0]));
    note(execute(conn, two.id, &[1, 0, 5]));
    // One typed before: the types stay.
    let one = conn.prepare("select ? from t where id = 1").unwrap();
    note(execute(conn, one.id, &[0, 1, 3, 0, 9, 0, 0, 0]));
    note(execute(conn, one.id, &[1, 0]));
    note(execute(conn, one.id, &[0, 0, 8, 0, 0, 0]));
    // The statement prepared last.
    note(execute(conn, NEWEST, &[0, 1, 3, 0, 7, 0, 0, 0]));
    conn.prepare("select nosuch from nosuch").unwrap_err();
    note(execute(conn, NEWEST, &[]));
    conn.prepare("select 1; select 2").unwrap_err();
    note(execute(conn, NEWEST, &[]));
    conn.prepare("select 10").unwrap();
    note(execute(conn, NEWEST, &[]));
    conn.send_command(0x1A, &NEWEST.to_le_bytes()).unwrap();
    assert_eq!(conn.packet().unwrap()[0], 0, "COM_STMT_RESET");
    conn.send_command(0x19, &NEWEST.to_le_bytes()).unwrap();
    note(execute(conn, NEWEST, &[]));
    // Both in one send.
    let prepare = [&[10, 0, 0, 0, 0x16][..], b"select 11"].concat();
    let run = [10, 0, 0, 0, 0x17, 255, 255, 255, 255, 0, 1, 0, 0, 0];
    std::io::Write::write_all(&mut conn.stream, &[&prepare[..], &run].concat()).unwrap();
    conn.expect_sequence(1);
    for _ in 0..3 {
        conn.packet().unwrap();
    }
    conn.expect_sequence(1);
    note(conn.answer(true).unwrap());
    seen
}

#[test]
fn prepared_statements_are_executed_as_the_server_does() {
    let (server, drop_in) = world::drop_in(&[]);
    let mut direct = server.connect();
    direct.run("create table t (id bigint primary key)");
    direct.run("insert into t values (1)");
    let wanted = prepared_statements(&mut direct);
    let mut conn = drop_in.connect_as(world::USER, world::PASSWORD, Some("test"));
    assert_eq!(prepared_statements(&mut conn), wanted);

    // COM_REFRESH: only for who may administer, and with the server's answer.
    conn.send_command(7, &[1]).unwrap();
    assert_eq!(shape(&conn.answer(false).unwrap()), "ok 0");
    conn.run("begin");
    conn.run("insert into t values (5)");
    conn.send_command(7, &[4]).unwrap();
    conn.answer(false).unwrap().ok();
    assert_eq!(direct.value("select count(*) from t where id = 5"), Some("1".into()), "it commits");
    let mut other = drop_in.connect_as(world::NATIVE_USER, world::NATIVE_PASSWORD, None);
    other.send_command(7, &[128]).unwrap();
    assert_eq!(other.answer(false).unwrap().error().code, 1227);

    let cluster = world::local(&[]);
    for database in ["plain", "ring", "ring:-80"] {
        let mut conn = cluster.connect_as(world::USER, world::PASSWORD, Some(database));
        conn.run("replace into big (id, v) values (1, 'x')");
        let two = conn
            .prepare("select id, ? from big where id in (1, ?)")
            .unwrap();
        assert_eq!(raw(&execute(&mut conn, two.id, &[3, 0])).len(), 1, "{database}");
        assert_eq!(execute(&mut conn, NEWEST, &[1, 0, 5]).error().code, 1210, "{database}");
        assert_eq!(conn.prepare("select 1; select 2").unwrap_err().code, 1064, "{database}");
        assert_eq!(
            conn.query("prepare p from 'select 1; select 2'")
                .error()
                .code,
            1064,
            "{database}"
        );
        assert_eq!(execute(&mut conn, NEWEST, &[]).error().code, 1243, "{database}");
    }
    queries_of_several_shards(&cluster);
}

/// LOAD DATA LOCAL between other statements of one packet; what was counted and loaded.
fn load_among_others(address: SocketAddr) -> Vec<String> {
    const LOCAL_FILES: u32 = 128;
    let login = Login {
        user: world::USER,
        password: world::PASSWORD,
        database: Some("test"),
        capabilities: LOCAL_FILES,
    };
    let mut conn = Connection::over(TcpStream::connect(address).unwrap(), &login).unwrap();
    let load = "load data local infile 'x' into table loaded (v)";
    conn.send_command(
        3,
        format!(
            "truncate loaded; {load}; select count(*) from loaded; {load}; select max(v) from \
            loaded"
        )
        .as_bytes(),
    )
    .unwrap();
    let mut seen = vec![shape(&conn.answer(false).unwrap())];
    for _ in 0..2 {
        assert_eq!(conn.packet().unwrap()[0], 0xFB, "the file is asked for");
        for part in [&b"a\nb\n"[..], &[b'c'; 100_000], b"\nd\n", b""] {
            conn.send_next(part).unwrap();
        }
        seen.push(shape(&conn.answer(false).unwrap()));
        seen.push(shape(&conn.answer(false).unwrap()));
    }
    assert!(conn.ping());
    seen
}

#[test]
fn a_file_is_loaded_among_other_statements() {
    let server = MariaDb::start("upstream", &[]);
    let mut direct = server.connect();
    direct.run("create user app@'%' identified by 'app'");
    direct.run("grant all on *.* to app@'%'");
    direct.run("create table loaded (v varchar(10))");
    direct.run("set global sql_mode = ''");
    let users = world::users_file();
    let coregate = Coregate::drop_in("loading", &server, &["--users", users.to_str().unwrap()]);
    let there = load_among_others(SocketAddr::from(([127, 0, 0, 1], server.port)));
    assert_eq!(load_among_others(coregate.mysql), there);
}

/// Executes with a cursor on a connection without EOF packets: the status behind the columns, and
/// that of a fetch.
fn empty_cursor(conn: &mut Connection, sql: &str) -> (u16, u16) {
    let statement = conn.prepare(sql).unwrap();
    let status_of = |packet: &[u8]| {
        assert_eq!(packet[0], 0xFE, "{packet:?}");
        u16::from_le_bytes([packet[3], packet[4]])
    };
    let body = [&statement.id.to_le_bytes()[..], &[1, 1, 0, 0, 0]].concat();
    conn.send_command(0x17, &body).unwrap();
    assert_eq!(conn.packet().unwrap(), [1], "one column");
    conn.packet().unwrap();
    let opened = status_of(&conn.packet().unwrap());
    conn.send_command(0x1C, &[&statement.id.to_le_bytes()[..], &[10, 0, 0, 0]].concat())
        .unwrap();
    let fetched = status_of(&conn.packet().unwrap());
    conn.send_command(0x1C, &[&statement.id.to_le_bytes()[..], &[10, 0, 0, 0]].concat())
        .unwrap();
    assert_eq!(conn.packet().unwrap()[0], 0xFF, "the cursor is closed");
    assert!(conn.ping());
    (opened, fetched)
}

fn queries_of_several_shards(cluster: &Coregate) {
    let mut conn = cluster.connect_as(world::USER, world::PASSWORD, Some("ring"));
    let queries = [
        "select id from big",
        "select id from big where id in (1, 2, 3, 4, 5, 6)",
        "select id from big union all select id from big",
    ];
    for set in ["set sql_select_limit = 2", "set @@session.sql_select_limit = 1 + 1"] {
        conn.run(set);
        for sql in queries {
            assert_eq!(conn.query(sql).rows().len(), 2, "{sql}");
            // Rows in binary are passed on as they come.
            if let Ok(statement) = conn.prepare(sql) {
                assert_eq!(conn.execute(&statement, &[]).error().code, 1235, "{sql}");
            }
            conn.run(&format!("prepare p from '{sql}'"));
            assert_eq!(conn.query("execute p").rows().len(), 2, "{sql}");
        }
        assert_eq!(conn.run("select id from big where id = 1").rows().len(), 1);
        conn.run("use plain");
        assert_eq!(conn.run("select id from big").rows().len(), 2);
        conn.run("use ring");
        conn.run("set sql_select_limit = default");
        assert!(conn.run("select id from big").rows().len() > 2);
    }
    let hint = "select /*+ SET_VAR(sql_select_limit = 2) */ id from big";
    assert_eq!(conn.query(hint).error().code, 1235);
    conn.run(&format!("{hint} where id = 1"));

    let login = Login {
        user: world::USER,
        password: world::PASSWORD,
        database: Some("ring"),
        capabilities: caps::DEPRECATE_EOF,
    };
    let mut conn = Connection::over(TcpStream::connect(cluster.mysql).unwrap(), &login).unwrap();
    for sql in [
        "select id from big where v = 'none'",
        "show vitess_shards like 'none'",
        "select id from big where id = -1",
    ] {
        let (opened, fetched) = empty_cursor(&mut conn, sql);
        assert_eq!((opened & 0xC0, fetched & 0xC0), (0x40, 0x80), "{sql}");
    }
}
