//! What a session sees of transactions, names and counts is what it would see on one plain server.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::Answer;
use coregate_tests::alike::{Target, World, told};
use coregate_tests::wire::{Value, caps};
use std::sync::LazyLock;

static WORLD: LazyLock<World> = LazyLock::new(|| World::start("alike"));

/// 1, 2 and 3 lie on another shard than 4 and 6.
const ROWS: &str = "insert into kv values (1, 'a'), (2, 'b'), (4, 'd'), (6, 'f')";

#[test]
fn set_transaction_is_for_the_statement_that_comes_to_its_tables() {
    WORLD.alike(&[
        ROWS,
        "set transaction read only",
        "insert into kv values (3, 'c'), (5, 'e'), (7, 'g'), (8, 'h')",
        "update kv set v = 'x' where id in (1, 2, 4, 6)",
        "insert into kv values (3, 'c')",
        "select nofunction()",
        "insert into kv values (3, 'c')",
        "select count(*) from kv where id = 1",
        "insert into kv values (3, 'c')",
        "set transaction read only",
        "select (select id from kv where id = 1 union select 2) from kv where id = 1",
        "insert into kv values (5, 'e')",
        "set transaction isolation level serializable",
        "insert into kv values (1, 'a'), (4, 'd')",
        "select id, v from kv",
    ]);
}

#[test]
fn row_count_of_what_failed() {
    WORLD.alike(&[
        ROWS,
        "select row_count()",
        "insert into kv values (7, 'a'), (8, 'b'), (9, 'c'), (10, 'd'), (4, 'd'), (1, 'a')",
        "select row_count()",
        "update kv set v = 'y' where id in (1, 2, 4, 6)",
        "select row_count()",
        "update kv set nosuch = 1",
        "select row_count()",
        "delete from kv where id in (1, 4)",
        "select row_count()",
        "select from where",
        "select row_count()",
        "rollback to nosuch",
        "select row_count()",
    ]);
}

#[test]
fn a_savepoint_alone_begins_nothing() {
    WORLD.alike(&[
        "set autocommit = 0",
        "savepoint s",
        "rollback to s",
        "select 1",
        "savepoint s2",
        "insert into kv values (1, 'a')",
        "savepoint s",
        "insert into kv values (4, 'd')",
        "rollback to s",
        "commit",
        "select id from kv",
        "rollback to s",
        "set autocommit = 1",
        "savepoint s",
        "begin",
        "savepoint s",
        "commit",
    ]);
}

#[test]
fn savepoints_are_named_without_case_and_accents() {
    WORLD.alike(&[
        "set names utf8mb4",
        "begin",
        "savepoint é",
        "insert into kv values (1, 'a')",
        "savepoint É",
        "insert into kv values (4, 'd')",
        "rollback to e",
        "select id from kv",
        "release savepoint É",
        "release savepoint é",
        "savepoint ß",
        "insert into kv values (6, 'f')",
        "rollback to S",
        "savepoint ø",
        "release savepoint o",
        "savepoint я",
        "release savepoint Я",
        "commit",
        "select id from kv",
        "prepare é from 'select 1'",
        "execute é",
        "execute E",
        "deallocate prepare É",
        "execute É",
    ]);
}

#[test]
fn execute_immediate_is_prepare_and_execute() {
    WORLD.alike(&[
        ROWS,
        "execute immediate 'select id, v from kv'",
        "execute immediate 'select v from kv where id = 4'",
        "set @id = 4, @sql = 'select v from kv where id = ?'",
        "execute immediate @sql using @id",
        "execute immediate 'update kv set v = ? where id = ?' using @sql, @id",
        "execute immediate @sql using @id",
        "execute immediate @sql",
        "execute immediate 'selec 1'",
        "execute immediate 'insert into kv values (8, ''h''), (9, ''i'')'",
        "execute immediate @nosuch",
        "prepare immediate from 'select 2'",
        "execute immediate",
        "execute immediate 'execute immediate \"select 1\"'",
        "select id, v from kv",
    ]);
}

#[test]
fn statements_by_name_do_not_nest() {
    WORLD.alike(&[
        "prepare p from 'select 1'",
        "prepare q from 'prepare r from ''select 1'''",
        "prepare q from 'execute p'",
        "prepare q from 'deallocate prepare p'",
        "prepare q from 'drop prepare p'",
        "prepare q from 'execute immediate ''select 1'''",
        "execute q",
        "execute p",
    ]);
    for target in WORLD.targets() {
        let mut conn = target.connect();
        conn.run("prepare p from 'select 1'");
        for sql in [
            "prepare r from 'select 1'",
            "execute p",
            "deallocate prepare p",
            "execute immediate 'do 1'",
        ] {
            assert_eq!(conn.prepare(sql).unwrap_err().code, 1295, "{}: {sql}", target.name);
        }
    }
}

/// A view that calls GET_LOCK(), or one over it.
#[test]
fn locks_taken_in_views_stay_with_their_session() {
    for target in WORLD.targets().iter().filter(|t| t.name != "sharded") {
        let (name, mut other) = (target.name, target.connect());
        let mut conn = target.connect();
        conn.run(&format!("create or replace view locking as select get_lock('{name}', 0) l"));
        conn.run("create or replace view over_it as select l + 1 from locking");
        let mut is_free =
            || other.value(&format!("select is_free_lock('{name}')")) == Some("1".into());
        for view in ["locking", "over_it"] {
            conn.run(&format!("select * from {view}"));
            assert!(!is_free(), "{name} {view}");
            assert_eq!(
                conn.value(&format!("select release_lock('{name}')")),
                Some("1".into()),
                "{name} {view}"
            );
            assert!(is_free(), "{name} {view}");
            let mut brief = target.connect();
            brief.run(&format!("select * from {view}"));
            assert!(!is_free(), "{name} {view}");
            drop(brief);
            coregate_tests::wait_until("the lock goes with its session", &mut is_free);
        }
    }
}

/// What MariaDB's drivers make objects of.
#[test]
fn types_of_mariadbs_own_are_told() {
    const SQL: &str = "select json_object('a', 1) j, 'a' t, inet6_aton('::1') i from kv";
    let _turn = WORLD.turn();
    let columns = |target: &Target| {
        let mut conn = target.connect_mariadb(caps::EXTENDED_METADATA);
        assert_ne!(conn.extended_capabilities, 0, "{}", target.name);
        conn.run("delete from kv");
        conn.run(ROWS);
        let mut all = Vec::new();
        for sql in [SQL, &format!("{SQL} where id = 4"), &format!("{SQL} where id = 0")] {
            let Answer::Rows { columns, .. } = conn.query(sql) else { panic!("{sql} has rows") };
            all.extend(columns.into_iter().map(|c| (c.name, c.kind, c.extended)));
            let statement = conn.prepare(sql).unwrap();
            let Answer::Rows { columns, .. } = conn.execute(&statement, &[]) else {
                panic!("{sql} has rows")
            };
            all.extend(columns.into_iter().map(|c| (c.name, c.kind, c.extended)));
        }
        // Others' answers have the form that they know.
        assert!(!conn.query("show databases").is_error());
        let mut other = target.connect();
        assert!(matches!(other.query(SQL), Answer::Rows { rows, .. } if rows.len() == 4));
        all
    };
    let wanted = columns(&WORLD.plain());
    assert!(
        wanted
            .iter()
            .any(|(_, _, extended)| extended.ends_with(b"json")),
        "{wanted:?}"
    );
    for target in WORLD.targets() {
        assert_eq!(columns(&target), wanted, "{}", target.name);
    }
}

/// The session goes on; what is prepared stays, what is not is rolled back.
#[test]
fn a_reset_leaves_xa_transactions_that_are_prepared() {
    let _turn = WORLD.turn();
    for (n, target) in WORLD
        .targets()
        .iter()
        .enumerate()
        .filter(|(_, t)| t.name != "sharded")
    {
        for prepare in [true, false] {
            let mut conn = target.connect();
            conn.run("delete from kv");
            let xid = format!("'reset{n}{prepare}'");
            conn.run(&format!("xa start {xid}"));
            conn.run("insert into kv values (1, 'a')");
            conn.run(&format!("xa end {xid}"));
            if prepare {
                conn.run(&format!("xa prepare {xid}"));
            }
            conn.send_command(0x1F, b"").unwrap();
            let answer = conn.answer(false).unwrap();
            assert_eq!(told(&[answer]), "OK 0 0 0x2", "{}", target.name);
            if prepare {
                let end = || conn.query(&format!("xa commit {xid}")).is_error();
                let mut end = end;
                coregate_tests::wait_until("its connection is closed", || !end());
            }
            let wanted = if prepare { "1" } else { "0" };
            assert_eq!(
                conn.value("select count(*) from kv").as_deref(),
                Some(wanted),
                "{}",
                target.name
            );
        }
    }
}

#[test]
fn last_insert_id_of_a_number_places_rows() {
    WORLD.alike(&[
        "insert into kv values (1, 'a'), (4, 'd'), (7, 'x')",
        "insert into kv values (last_insert_id(8), 'x')",
        "select last_insert_id()",
        "insert into kv values (last_insert_id(6), 'x')",
        "select last_insert_id()",
        "select v from kv where id = last_insert_id(7)",
        "select last_insert_id()",
        "select v from kv where id = last_insert_id('4')",
        "select v from kv where id = last_insert_id(7.4)",
        "update kv set v = 'z' where id = last_insert_id(4)",
        "select last_insert_id()",
        "delete from kv where id = last_insert_id(1)",
        "select last_insert_id()",
        "select id, v from kv",
    ]);
}

#[test]
fn rows_without_a_place_are_refused_by_the_servers_codes() {
    WORLD.alike(&[
        "insert into kv values (null, 'a')",
        "insert into kv (v) values ('a')",
        "replace into kv (v) values ('a')",
        "insert into kv values (null, 'a'), (4, 'd')",
        "insert into kv values (40 + 1, 'a')",
        "insert into kv set id = abs(-42)",
        "select count(*) from kv where id > 40",
        "delete from kv where id > 40",
    ]);
    let target = &WORLD.targets()[2];
    let mut conn = target.connect();
    let statement = conn.prepare("insert into kv values (?, 'a')").unwrap();
    assert_eq!(conn.execute(&statement, &[Value::Null]).error().code, 1048);
}

/// A client on the same machine would reconnect past us.
#[test]
fn where_clients_connect_is_told_as_of_this_side() {
    for target in WORLD.targets() {
        let (mut conn, port) = (target.connect(), target.address.port().to_string());
        let row =
            |name: &str, value: &str| vec![vec![Some(name.to_owned()), Some(value.to_owned())]];
        for scope in ["", "global ", "session "] {
            let mut shown = |name: &str| {
                conn.query(&format!("show {scope}variables like '{name}'"))
                    .rows()
            };
            assert_eq!(shown("port"), row("port", &port), "{}", target.name);
            assert_eq!(shown("socket"), row("socket", ""), "{}", target.name);
            assert_eq!(shown("version_comment").len(), 1, "{}", target.name);
        }
        assert_eq!(conn.value("select @@port").as_ref(), Some(&port), "{}", target.name);
        assert_eq!(conn.value("select @@global.socket"), None, "{}", target.name);
        let name = conn.value("select @@hostname");
        let shown = conn.query("show variables where variable_name = 'hostname'");
        assert_eq!(shown.rows()[0][1], name, "{}", target.name);
        let statement = conn.prepare("show variables like 'port'").unwrap();
        let Answer::Rows { raw, .. } = conn.execute(&statement, &[]) else { panic!("rows") };
        assert!(raw[0].ends_with(port.as_bytes()), "{}: {raw:?}", target.name);
        let all = conn.query("show variables").rows();
        assert!(all.len() > 400 && all.contains(&row("port", &port)[0]), "{}", target.name);
    }
}

/// The text near a syntax error is the client's own bytes, cut as the server cuts it.
#[test]
fn syntax_errors_quote_the_clients_bytes() {
    let long = [b"frm '".as_slice(), &b"\xE9".repeat(200), b"'"].concat();
    let texts = [
        b"select 'caf\xE9' frm `\xE9`".as_slice(),
        b"selec 'caf\xE9'",
        &[b"frm ".as_slice(), &[b'a'; 200]].concat(),
        &long,
    ];
    let told = |target: &Target| {
        let mut conn = target.connect();
        conn.run("set names latin1");
        let told = texts.map(|text| {
            conn.send_command(3, text).unwrap();
            conn.packet().unwrap()
        });
        let warning = conn.query("show warnings");
        let Answer::Rows { rows, .. } = warning else { panic!("rows") };
        (told, rows)
    };
    let wanted = told(&WORLD.plain());
    for target in WORLD.targets() {
        let got = told(&target);
        for (got, wanted) in got.0.iter().zip(&wanted.0).take(3) {
            let text = |packet: &[u8]| String::from_utf8_lossy(packet).into_owned();
            assert_eq!(got, wanted, "{}: {} {}", target.name, text(got), text(wanted));
        }
    }
}

/// MariaDB's drivers send batches so where they are offered it: a batch that fails leaves none of
/// its rows.
#[test]
fn a_batch_is_one_statement() {
    const SENDS_TYPES: u16 = 128;
    let _turn = WORLD.turn();
    let play = |target: &Target| {
        let mut conn = target.connect_mariadb(caps::BULK);
        assert_eq!(conn.extended_capabilities, caps::BULK, "{}", target.name);
        conn.run("delete from kv");
        conn.run("insert into kv values (50, 'there')");
        let statement = conn.prepare("insert into kv values (?, ?)").unwrap();
        let mut bulk = |types: bool, rows: &[(i64, Option<&str>)]| {
            let mut payload = statement.id.to_le_bytes().to_vec();
            payload.extend_from_slice(&(if types { SENDS_TYPES } else { 0 }).to_le_bytes());
            if types {
                payload.extend_from_slice(&[8, 0, 253, 0]);
            }
            for (id, text) in rows {
                payload.push(0);
                payload.extend_from_slice(&id.to_le_bytes());
                match text {
                    Some(text) => {
                        payload.extend_from_slice(&[0, u8::try_from(text.len()).unwrap()]);
                        payload.extend_from_slice(text.as_bytes());
                    }
                    None => payload.push(1),
                }
            }
            conn.send_command(0xFA, &payload).unwrap();
            told(&conn.answers(true).unwrap())
        };
        let mut all = vec![
            bulk(true, &[(1, Some("a")), (2, None), (3, Some("é"))]),
            bulk(false, &[(4, Some("d")), (5, Some("e"))]),
            bulk(true, &[(6, Some("f")), (50, Some("twice")), (7, Some("g"))]),
            bulk(true, &[]),
        ];
        all.push(told(&[conn.query("select row_count()")]));
        all.push(told(&[conn.query("select id, v from kv")]));
        let statement = conn
            .prepare("update kv set v = ? where id = last_insert_id()")
            .unwrap();
        conn.run("do last_insert_id(4)");
        let payload =
            [&statement.id.to_le_bytes()[..], &[128, 0, 253, 0, 0, 1, b'x', 0, 1, b'y']].concat();
        conn.send_command(0xFA, &payload).unwrap();
        all.push(told(&conn.answers(true).unwrap()));
        all.push(told(&[conn.query("select id, v from kv")]));
        all
    };
    let wanted = play(&WORLD.plain());
    assert_eq!(play(&WORLD.targets()[0]), wanted);
    // Elsewhere drivers send row by row.
    for target in &WORLD.targets()[1..] {
        assert_eq!(target.connect_mariadb(caps::BULK).extended_capabilities, 0, "{}", target.name);
    }
}

/// Ids that nobody has, in every form that one is given in.
#[test]
fn kill_takes_expressions() {
    WORLD.alike(&[
        "kill 4000000000",
        "kill -1",
        "kill 'a'",
        "kill hard query 4000000001",
        "kill 2000000000 + 2000000000",
        "set @id = 4000000003",
        "kill @id",
        "kill null",
        "kill query id 99999",
        "kill query id 99 + 1",
        "kill user nosuchuser",
        "kill soft user 'nosuch'@'%'",
        "kill user 'nosuch'@localhost",
        "kill",
    ]);
}
