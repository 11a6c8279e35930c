//! What a session sets up is its own and is kept exactly, on whatever servers its statements run: a
//! plain server, a drop-in before it, a keyspace on one server and one on two answer alike.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::{Connection, Login};
use coregate_tests::{Answer, Coregate, MariaDb};
use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;

struct World {
    server: MariaDb,
    drop_in: Coregate,
    cluster: Coregate,
}

const TABLE: &str =
    "kv (id bigint primary key, v varbinary(300), t varchar(100) character set utf8mb4)";

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let server = MariaDb::start("session-state", &[]);
    let mut root = server.connect();
    root.run("create database one");
    root.run(&format!("create table one.{TABLE}"));
    let drop_in = Coregate::drop_in("session-state-proxy", &server, &["--cores", "1"]);
    let keyspaces = ["--keyspace", "plain", "--keyspace", "ring:2", "--cores", "1"];
    let cluster = Coregate::local("session-state-cluster", &keyspaces);
    for keyspace in ["plain", "ring"] {
        let mut conn = cluster.connect_as("app", "app", Some(keyspace));
        conn.run(&format!("create table {TABLE}"));
        if keyspace == "ring" {
            conn.run("ALTER VSCHEMA ON ring.kv ADD VINDEX hash(id) USING hash");
        }
    }
    World { server, drop_in, cluster }
});

fn targets() -> Vec<(&'static str, SocketAddr, &'static str)> {
    let (drop_in, cluster) = (WORLD.drop_in.mysql, WORLD.cluster.mysql);
    vec![("drop-in", drop_in, "one"), ("unsharded", cluster, "plain"), ("sharded", cluster, "ring")]
}

fn login(address: SocketAddr, database: &str) -> Connection {
    let (user, password) = if database == "one" { ("sb", "sb") } else { ("app", "app") };
    let login = Login { user, password, database: Some(database), capabilities: 0 };
    Connection::over(TcpStream::connect(address).unwrap(), &login).unwrap()
}

fn plain() -> Connection {
    login(([127, 0, 0, 1], WORLD.server.port).into(), "one")
}

/// Status bits that tell the SQL mode: NO_BACKSLASH_ESCAPES, ANSI_QUOTES.
const MODES: u16 = 0x8200;

/// What must be alike: types, values, counts, codes.
fn told(answer: &Answer) -> String {
    match answer {
        Answer::Ok { affected, insert_id, status, .. } => {
            format!("OK {affected} {insert_id} {:#x}", status & MODES)
        }
        Answer::Error(error) => format!("ERROR {} {}", error.code, error.state),
        Answer::Rows { columns, rows, status, .. } => {
            let columns: Vec<_> = columns
                .iter()
                .map(|c| (c.name.clone(), c.kind, c.charset, c.flags, c.decimals))
                .collect();
            format!("{columns:?} {rows:02x?} {:#x}", status & MODES)
        }
    }
}

fn run(conn: &mut Connection, sql: &[u8]) -> Answer {
    conn.send_command(3, sql).unwrap();
    let mut answers = conn.answers(false).unwrap();
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.remove(0)
}

fn bytes(sql: &&str) -> Vec<u8> {
    sql.as_bytes().to_vec()
}

/// Runs a script everywhere, each on a connection of its own; the plain server says what is right.
fn alike(script: &[Vec<u8>]) {
    alike_on(&targets(), script);
}

fn alike_on(targets: &[(&str, SocketAddr, &str)], script: &[Vec<u8>]) {
    let play = |conn: &mut Connection| {
        let _ = run(conn, b"delete from kv");
        script
            .iter()
            .map(|sql| told(&run(conn, sql)))
            .collect::<Vec<_>>()
    };
    let wanted = play(&mut plain());
    for &(name, address, database) in targets {
        let got = play(&mut login(address, database));
        for ((sql, wanted), got) in script.iter().zip(&wanted).zip(&got) {
            assert_eq!(got, wanted, "{name}: {}", String::from_utf8_lossy(sql));
        }
    }
}

fn alike_texts(script: &[&str]) {
    alike(&script.iter().map(bytes).collect::<Vec<_>>());
}

/// Where one server has all there is: what the grammar does not know goes there as it is.
fn alike_on_one_server(script: &[&str]) {
    let targets = targets();
    alike_on(&targets[..2], &script.iter().map(bytes).collect::<Vec<_>>());
}

#[test]
fn values_of_execute_are_bound() {
    alike_texts(&[
        "set sql_mode='NO_BACKSLASH_ESCAPES'",
        "set @a='x'' or 1=1 -- '",
        "set @b='\\'' or 1=1 -- '",
        "set @b='\\'",
        "prepare p from 'select 5 from dual where ''q'' = ?'",
        "execute p using @a",
        "execute p using @b",
        "prepare i from 'insert into kv values (?, ?, ?)'",
        "set @i=1",
        "execute i using @i, @a, @b",
        "select hex(v), hex(t) from kv where id = 1",
        "set sql_mode=''",
        "execute p using @a",
        "execute p using @b",
        "select hex(@a), hex(@b)",
        "execute i using @i, @a",
        "execute nosuch using @i",
        "prepare bad from 'select nosuch from kv where id = ?'",
        "deallocate prepare i",
        "execute i using @i, @a, @b",
    ]);
}

#[test]
fn values_of_execute_keep_their_types() {
    alike_texts(&[
        "prepare p from 'select 1+?, 10/?, ?'",
        "execute p using @unset, @unset, @unset",
        "set @n=null",
        "execute p using @n, @n, @n",
        "set @x=1",
        "execute p using @x, @x, @x",
        "set @d=9999999999999999999999999999, @e=1.50, @f=1e0, @u=18446744073709551615, @s='12abc'",
        "execute p using @d, @d, @d",
        "execute p using @e, @e, @e",
        "execute p using @f, @f, @f",
        "execute p using @u, @u, @u",
        "set @c=cast(3 as decimal(10,0)), @v=cast(7 as unsigned), @m=-9223372036854775808, \
            @w=0.1e0+0.2e0",
        "execute p using @c, @c, @c",
        "execute p using @v, @v, @v",
        "execute p using @m, @m, @m",
        "execute p using @w, @w, @w",
        "select @c, @v, @m, @w, @d, @e, @f, @u",
        "prepare l from 'select id from kv where id = ? limit ?'",
        "execute l using @x, @x",
        "set @who=current_user",
        "execute p using @who, @x, @x",
    ]);
}

#[test]
fn values_of_execute_place_rows() {
    alike_texts(&[
        "prepare i from 'insert into kv (id, v, t) values (?, ?, ?), (?, ?, ?)'",
        "set @v=x'ff00c3', @t='\u{e9}\u{20ac}', @one=1, @two=2, @three='3', @four=4.0",
        "execute i using @one, @v, @t, @two, @v, @t",
        "execute i using @three, @v, @t, @four, @v, @t",
        "prepare s from 'select id, hex(v), hex(t) from kv where id = ?'",
        "execute s using @one",
        "execute s using @two",
        "execute s using @three",
        "execute s using @four",
        "prepare u from 'update kv set t = ? where id in (?, ?, ?)'",
        "execute u using @v, @one, @two, @four",
        "set @t='\u{20ac}'",
        "execute u using @t, @one, @two, @four",
        "begin",
        "prepare d from 'delete from kv where id = ?'",
        "execute d using @one",
        "execute d using @two",
        "rollback",
        "execute s using @one",
        "set @text='delete from kv where id = ?'",
        "prepare d from @text",
        "execute d using @one",
        "execute s using @one",
        "select count(*) from information_schema.user_variables where variable_name like \
            'coregate%'",
    ]);
}

#[test]
fn bytes_that_are_no_utf8_are_kept() {
    let many = [
        b"set @x=_binary'\xff\xfe'".to_vec(),
        b"select hex(@x), collation(@x)".to_vec(),
        b"set names latin1".to_vec(),
        b"set @z='\xe9', @y=_latin1'\xe8' collate latin1_bin, @p='a\\'\\\\'".to_vec(),
        b"select hex(@z), collation(@z), hex(@y), collation(@y), hex(@p)".to_vec(),
        b"set names utf8mb4".to_vec(),
        b"set sql_mode='NO_BACKSLASH_ESCAPES,ANSI_QUOTES'".to_vec(),
        b"select hex(@z), collation(@z), hex(@y), collation(@y), hex(@p), hex(@x)".to_vec(),
        b"select @z".to_vec(),
        b"set names latin1".to_vec(),
        b"prepare p from 'select hex(?), hex(''\xe9''), ''\xe9'''".to_vec(),
        b"execute p using @z".to_vec(),
        b"set @t='select ''\xe9'''".to_vec(),
        b"prepare p from @t".to_vec(),
        b"execute p".to_vec(),
    ];
    alike(&many);
}

/// Another session's connection to the server has neither the variables of one nor its statements.
#[test]
fn variables_and_statements_are_the_sessions_own() {
    for (name, address, database) in targets() {
        let mut one = login(address, database);
        one.run("set @secret='s', @i=1");
        one.run("prepare p from 'select id from kv where id = ? and ''secret'' = ''secret'''");
        one.run("execute p using @i");
        let mut two = login(address, database);
        for _ in 0..4 {
            assert_eq!(two.value("select @secret"), None, "{name}");
            assert_eq!(two.value("select @`coregate text`"), None, "{name}");
            let error = two.query("execute p using @i");
            assert_eq!(error.error().code, 1243, "{name}");
        }
    }
}

/// A probe tells by its answer how the server has read it, and by the bound value how the proxy
/// has.
const PROBE: &str = r"select 'a\\' as a, 'b' as b, 2 || 3 as c";
const QUOTED: &str = r#"select "id", id from kv where id = 1 or 'a' = "t""#;

#[test]
fn the_sql_mode_is_followed_in_every_form() {
    for set in [
        "set sql_mode=4",
        "set sql_mode=1048576",
        "set sql_mode=@@sql_mode|1048576",
        "set sql_mode=@@sql_mode|4",
        "set @m='NO_BACKSLASH_ESCAPES', sql_mode=@m",
        "set sql_mode=concat(@@sql_mode, ',ANSI')",
        "set sql_mode='ansi'",
        "set sql_mode=DEFAULT",
        "set session sql_mode=2",
        "set @@sql_mode='NO_BACKSLASH_ESCAPES'",
        "set @@session.sql_mode=NO_BACKSLASH_ESCAPES",
        "set local sql_mode=1048580",
        "set sql_mode='nosuch'",
        "set sql_mode=-1",
    ] {
        alike_texts(&[
            set,
            PROBE,
            QUOTED,
            "set sql_mode=DEFAULT",
            PROBE,
            QUOTED,
            "select @@sql_mode",
        ]);
    }
}

#[test]
fn a_statement_that_sets_the_mode_within_is_followed() {
    for set in [
        "execute immediate 'set sql_mode=1048580'",
        "begin not atomic set sql_mode=1048580; end",
        "begin not atomic execute immediate 'set sql_mode=1048580'; end",
        "set statement sql_mode=1048580 for select 1",
        "create or replace procedure m() set names latin1",
        "create or replace procedure m() execute immediate 'set sql_mode=1048580'",
        "create or replace procedure m() begin set autocommit=0; set names latin1; signal sqlstate \
            '45000'; end",
    ] {
        let call = "call m()";
        alike_on_one_server(&[
            set,
            call,
            PROBE,
            QUOTED,
            "select @@autocommit, '\u{e9}'",
            "set sql_mode=DEFAULT",
            PROBE,
            QUOTED,
        ]);
    }
}

#[test]
fn the_mode_of_a_set_statement_does_not_change_the_reading() {
    alike_on_one_server(&[
        r"set statement sql_mode='NO_BACKSLASH_ESCAPES' for select 'a\\', 'b'",
        PROBE,
    ]);
    alike_on_one_server(&[r#"set statement sql_mode='ANSI_QUOTES' for select "a""#, QUOTED]);
}

#[test]
fn the_sql_mode_set_by_a_prepared_statement_is_followed() {
    alike_texts(&[
        "prepare p from 'set sql_mode=1048576'",
        "execute p",
        PROBE,
        "deallocate prepare p",
        "set sql_mode=''",
        PROBE,
        "prepare p from 'set sql_mode=?'",
        "set @m=1048580",
        "execute p using @m",
        PROBE,
        QUOTED,
    ]);
}

#[test]
fn oracles_mode_is_refused() {
    for (name, address, database) in targets() {
        let mut conn = login(address, database);
        for set in [
            "set sql_mode=ORACLE",
            "set sql_mode='oracle,ansi'",
            "set sql_mode=concat('ORA', 'CLE')",
        ] {
            assert_eq!(conn.query(set).error().code, 1235, "{name}: {set}");
            conn.run("begin");
            conn.run("select 1");
            conn.run("commit");
            assert!(!conn.value("select @@sql_mode").unwrap().contains("ORACLE"), "{name}");
        }
    }
}

#[test]
fn the_servers_default_mode_is_the_sessions() {
    let server = MariaDb::start("session-mode", &["--sql-mode=NO_BACKSLASH_ESCAPES"]);
    let proxy = Coregate::drop_in("session-mode-proxy", &server, &["--cores", "1"]);
    let mut root = server.connect();
    let open = || {
        let login = Login { user: "sb", password: "sb", database: None, capabilities: 0 };
        Connection::over(TcpStream::connect(proxy.mysql).unwrap(), &login).unwrap()
    };
    for round in 0..3 {
        // A comment ends what the proxy would read as going on.
        let mut conn = open();
        let answer = conn.query(r"select 'a\' -- '");
        assert_eq!(answer.rows(), [[Some("a\\".to_owned())]], "{round}");
        let Answer::Rows { status, .. } = answer else { unreachable!() };
        assert_eq!(status & MODES, 0x200);
        assert!(conn.ping());
        conn.run("set sql_mode=''");
        assert_eq!(conn.value(r"select 'a\\'").unwrap(), "a\\");
        conn.run("set sql_mode=default");
        assert_eq!(conn.value(r"select 'a\'").unwrap(), "a\\");
    }
    // What is set for all holds for sessions that begin later, also on older connections to the
    // server.
    let mut old = open();
    old.run("set global sql_mode='ANSI_QUOTES'");
    assert_eq!(old.value(r"select 'a\'").unwrap(), "a\\");
    let mut new = open();
    assert_eq!(new.value("select @@sql_mode").unwrap(), "ANSI_QUOTES");
    assert_eq!(new.query("select \"a\"").error().code, 1054);
    root.run("set global sql_mode=''");
    coregate_tests::wait_until("the default is read again", || {
        open().value("select @@sql_mode").as_deref() == Some("")
    });
}

#[test]
fn what_is_set_for_all_is_seen_by_new_sessions() {
    let mut admin = login(WORLD.drop_in.mysql, "one");
    let before = admin
        .value("select @@global.div_precision_increment")
        .unwrap();
    let mut old = login(WORLD.drop_in.mysql, "one");
    assert_eq!(old.value("select @@div_precision_increment").unwrap(), before);
    admin.run("set global div_precision_increment=7");
    let seen = login(WORLD.drop_in.mysql, "one").value("select @@div_precision_increment");
    admin.run(&format!("set global div_precision_increment={before}"));
    assert_eq!(seen.unwrap(), "7");
}

/// The statements of one connection to each target, in an order of two sessions.
fn two_sessions(targets: &[(&str, SocketAddr, &str)], setup: &[&str], script: &[(usize, &str)]) {
    let play = |address: SocketAddr, database: &str| {
        let mut admin = login(address, database);
        for sql in setup {
            admin.run(sql);
        }
        drop(admin);
        let mut sessions = [login(address, database), login(address, database)];
        script
            .iter()
            .map(|(n, sql)| told(&sessions[*n].query(sql)))
            .collect::<Vec<_>>()
    };
    let wanted = play(([127, 0, 0, 1], WORLD.server.port).into(), "one");
    for &(name, address, database) in targets {
        let got = play(address, database);
        for (((n, sql), wanted), got) in script.iter().zip(&wanted).zip(&got) {
            assert_eq!(got, wanted, "{name}, session {n}: {sql}");
        }
    }
}

#[test]
fn what_a_trigger_sets_is_its_sessions_own() {
    let setup = [
        "drop table if exists counted",
        "create table counted (id int primary key, app varchar(50))",
        "create trigger counting before insert on counted for each row set @cnt=ifnull(@cnt,0)+1, \
            new.app=@app_user",
    ];
    let script = [
        (0, "set @app_user='one'"),
        (0, "insert into counted (id) values (1)"),
        (1, "insert into counted (id) values (2)"),
        (0, "insert into counted (id) values (3)"),
        (0, "select @cnt"),
        (1, "select @cnt"),
        (1, "insert into counted (id) values (2)"),
        (1, "select @cnt"),
        (0, "begin"),
        (0, "insert into counted (id) values (4)"),
        (0, "commit"),
        (0, "select @cnt"),
        (1, "select * from counted order by id"),
    ];
    two_sessions(&targets()[..2], &setup, &script);
}

#[test]
fn what_a_function_sets_is_its_sessions_own() {
    let setup = [
        "drop view if exists v_f",
        "drop function if exists outer_f",
        "drop function if exists inner_f",
        "create function inner_f() returns int deterministic begin set @f=ifnull(@f,0)+1; return \
            @f; end",
        "create function outer_f() returns int deterministic return inner_f() * 10",
        "create view v_f as select outer_f() as f",
    ];
    let script = [
        (0, "select outer_f()"),
        (1, "select @f"),
        (1, "select inner_f()"),
        (0, "select f from v_f"),
        (0, "select @f"),
        (1, "select `inner_f`()"),
        (1, "do outer_f()"),
        (1, "select @f"),
        (0, "set @x=inner_f()"),
        (0, "select @f, @x"),
    ];
    two_sessions(&targets()[..2], &setup, &script);
}

/// Made by another session while this one has a transaction open on another table.
#[test]
fn a_new_trigger_is_known_at_once() {
    for (name, address, database) in &targets()[..2] {
        let mut one = login(*address, database);
        one.run("create or replace table late (id int)");
        one.run("insert into late values (1)");
        let mut two = login(*address, database);
        two.run("create or replace trigger late_t before insert on late for each row set @late=1");
        one.run("insert into late values (2)");
        for _ in 0..3 {
            assert_eq!(two.value("select @late"), None, "{name}");
            assert_eq!(login(*address, database).value("select @late"), None, "{name}");
        }
        assert_eq!(one.value("select @late").as_deref(), Some("1"), "{name}");
    }
}

#[test]
fn a_harmless_trigger_costs_no_connection() {
    let (_, address, database) = targets()[0];
    let mut one = login(address, database);
    one.run("create or replace table audit (id int)");
    one.run("create or replace table audited (id int)");
    one.run(
        "create or replace trigger audit_t before insert on audited for each row insert into \
        audit values (new.id)",
    );
    one.run("insert into audited values (1)");
    let resets = WORLD.drop_in.metric("coregate_backend_resets_total");
    for _ in 0..5 {
        one.run("insert into audited values (2)");
        login(address, database).run("insert into audited values (3)");
    }
    let after = WORLD.drop_in.metric("coregate_backend_resets_total");
    assert!(after - resets <= 1.0, "{resets} {after}");
}

#[test]
fn last_insert_id_is_the_one_that_was_generated() {
    let setup = [
        "create or replace table auto (id int auto_increment primary key, n int unique, v \
            varchar(20))",
        "create or replace table log (id int auto_increment primary key, of int)",
        "create or replace table noted (id int auto_increment primary key, n int)",
        "create or replace trigger noting after insert on noted for each row insert into log (of) \
            values (new.id)",
        "create or replace procedure adds() insert into auto (v) values ('by a procedure')",
        "create or replace function given() returns int deterministic return last_insert_id()",
        "create or replace function taken() returns int deterministic return last_insert_id(77)",
        "insert into log values (1000, 0)",
    ];
    let steps = [
        "insert into auto (v) values ('a'), ('b'), ('c')",
        "insert into auto (n, v) values (1, 'd')",
        "insert into auto (id, v) values (50, 'explicit')",
        "insert into auto values (null, 2, 'null'), (60, 3, 'explicit')",
        "insert into auto values (0, 4, 'zero')",
        "insert into auto (n, v) values (1, 'duplicate')",
        "insert into auto (v, n) values ('first', 5), ('second', 1)",
        "insert into auto (n, v) values (1, 'e') on duplicate key update v='f'",
        "insert into auto (n, v) values (1, 'e') on duplicate key update id=last_insert_id(id), \
            v='g'",
        "insert into auto (n, v) values (6, 'e') on duplicate key update v='f'",
        "insert ignore into auto (n, v) values (1, 'h')",
        "insert ignore into auto (n, v) values (7, 'h')",
        "insert into auto (v) select 'i' union select 'j'",
        "insert into auto (v) select v from auto where 1 = 0",
        "insert into auto (v) values ('k') returning id, v",
        "insert into auto (id, v) values (200, 'k') returning id, v",
        "insert into auto set v='l'",
        "insert into auto set v='m', id=300",
        "insert into auto set id=last_insert_id(), n=-1",
        "insert into auto (n) values (last_insert_id())",
        "replace into auto (id, v) values (300, 'n')",
        "replace into auto (v) values ('o')",
        "insert into noted (n) values (1)",
        "begin",
        "insert into auto (v) values ('p')",
        "rollback",
        "call adds()",
        "select last_insert_id(42)",
        "select last_insert_id() + 1",
        "do last_insert_id(43)",
        "update auto set v='q' where id = last_insert_id(2)",
        "update auto set n=last_insert_id(n+100) where id = 4",
        "update auto set n=last_insert_id(n+100) where id = -1",
        "set last_insert_id=44",
        "set @@session.last_insert_id=45",
        "set identity=46",
        "set @l=last_insert_id()",
        "select @l",
        "set @m=last_insert_id(47)",
        "select given()",
        "select taken()",
        "set insert_id=500",
        "insert into auto (v) values ('r')",
        "insert into auto (v) values ('s')",
        "prepare p from 'insert into auto (v) values (?)'",
        "execute p using @l",
        "delete from auto where id = 1",
        "insert into nosuch values (1)",
    ];
    let mut script =
        vec![(1, "insert into auto (v) values ('of another')"), (1, "select last_insert_id()")];
    for step in steps {
        script.extend([(0, step), (0, "select last_insert_id()"), (1, "select last_insert_id()")]);
    }
    two_sessions(&targets()[..2], &setup, &script);
}

#[test]
fn warnings_of_all_shards_are_kept() {
    alike_texts(&[
        "insert into kv values (1, 'a', 'x'), (4, 'a', 'x')",
        "select t+0 as n from kv",
        "show warnings",
        "show count(*) warnings",
        "select 1",
        "show warnings",
        "update kv set v = v where t+0 = 0 and id in (1, 4)",
        "show warnings",
        "select id from kv where id = 1",
        "show warnings",
        "drop database if exists nosuch",
        "show warnings",
    ]);
    let codes = |conn: &mut Connection| -> Vec<_> {
        conn.run("drop table if exists nosuch");
        let rows = conn.query("show warnings").rows();
        rows.into_iter()
            .map(|row| (row[0].clone(), row[1].clone()))
            .collect()
    };
    let wanted = codes(&mut plain());
    for (name, address, database) in targets() {
        let mut conn = login(address, database);
        let Answer::Rows { warnings, .. } = conn.run("select t+0 as n from kv") else {
            unreachable!()
        };
        assert_eq!(warnings, 2, "{name}");
        assert_eq!(codes(&mut conn), wanted, "{name}");
    }
}

#[test]
fn values_that_a_server_counts_or_keeps() {
    alike_on_one_server(&[
        "select 1 as a union select 2 union select 3 limit 1",
        "select found_rows()",
        "select 1 as a union select 2",
        "select found_rows()",
        "(select 1 as a) union all (select 2) order by a limit 1, 1",
        "select found_rows()",
    ]);
    for (name, address, database) in targets() {
        let mut conn = login(address, database);
        let row = conn
            .query("select @@socket, @@global.socket")
            .rows()
            .remove(0);
        assert_eq!(row, [None, None], "{name}");
    }
}

#[test]
fn a_password_can_be_set() {
    WORLD
        .server
        .connect()
        .run("create or replace user pw identified by 'old'");
    let mut conn = login(WORLD.drop_in.mysql, "one");
    conn.run("set password for pw = password('new')");
    let direct = |password: &str| {
        let login = Login { user: "pw", password, database: None, capabilities: 0 };
        let address: SocketAddr = ([127, 0, 0, 1], WORLD.server.port).into();
        Connection::over(TcpStream::connect(address).unwrap(), &login).map(drop)
    };
    direct("new").unwrap();
    conn.run("set password = password('sb')");
}

#[test]
fn wait_timeout_ends_a_session_that_rests() {
    for (name, address, database) in targets() {
        let mut conn = login(address, database);
        conn.run("set wait_timeout=1");
        assert_eq!(conn.value("select @@wait_timeout").as_deref(), Some("1"), "{name}");
        let mut other = login(address, database);
        coregate_tests::wait_until("the session is closed", || {
            conn.packet().is_ok() || conn.is_closed()
        });
        assert!(other.ping(), "{name}");
    }
}

#[test]
fn state_is_reported_to_clients_that_track_it() {
    const SESSION_TRACK: u32 = 1 << 23;
    let raw = |address: SocketAddr, script: &[(u8, &str)]| -> Vec<Vec<u8>> {
        let login = Login {
            user: "sb",
            password: "sb",
            database: Some("one"),
            capabilities: SESSION_TRACK,
        };
        let mut conn = Connection::over(TcpStream::connect(address).unwrap(), &login).unwrap();
        let packet = |(command, text): &(u8, &str)| {
            conn.send_command(*command, text.as_bytes()).unwrap();
            conn.packet().unwrap()
        };
        script.iter().map(packet).collect()
    };
    let script = [
        (3, "set names latin1"),
        (3, "set names utf8"),
        (3, "set autocommit=0"),
        (3, "set autocommit=1"),
        (3, "set time_zone='+01:00'"),
        (3, "set sql_mode=''"),
        (3, "set @a=1"),
        (2, "mysql"),
        (3, "use one"),
        (3, "begin"),
        (3, "commit"),
        (3, "set session_track_transaction_info='CHARACTERISTICS'"),
        (3, "begin"),
        (3, "rollback"),
        (3, "start transaction read only"),
        (3, "commit"),
        (3, "set session_track_system_variables='*'"),
        (3, "set names utf8mb4"),
        (3, "set session_track_schema=0"),
        (3, "use one"),
    ];
    let wanted = raw(([127, 0, 0, 1], WORLD.server.port).into(), &script);
    let got = raw(WORLD.drop_in.mysql, &script);
    for (((_, sql), wanted), got) in script.iter().zip(&wanted).zip(&got) {
        // Variables come in no certain order.
        let sorted = |packet: &Vec<u8>| {
            let mut bytes = packet.clone();
            bytes.sort_unstable();
            bytes
        };
        assert_eq!(sorted(got), sorted(wanted), "{sql}: {}", String::from_utf8_lossy(got));
    }
}
