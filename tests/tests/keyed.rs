//! Tables that are asked for the values of tables before them: how many rows shards send, which
//! shards are asked, what is locked, and what happens when a server dies in between.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Connection, Coregate, MariaDb, guard, world};
use std::sync::{LazyLock, Mutex, PoisonError};

const PLAIN: &str = "
create table mail_idx (mail varchar(60) not null primary key, keyspace_id varbinary(20));
create table badge_idx (badge bigint not null primary key, keyspace_id varbinary(20));
";

const SHARDED: &str = r"
create table wide (id bigint not null primary key, n int, name varchar(60), mail varchar(60), \
latin varchar(60) character set latin1 collate latin1_german2_ci, raw varbinary(60), day date, \
moment datetime(6), price decimal(12,3), badge bigint);
create table line (id bigint not null primary key, no bigint unsigned, item varchar(60), latin \
varchar(60) character set latin1 collate latin1_german2_ci, raw varbinary(60), day date, moment \
datetime(6), price decimal(12,3), key (no));
create table users (id bigint not null primary key, mail varchar(60), badge bigint);
";

const VSCHEMA: &str = r#"{"sharded": true,
 "vindexes": {"hash": {"type": "hash"},
  "mail": {"type": "lookup_unique", "owner": "users", "params": {"table": "look.mail_idx",
  "from": "mail", "to": "keyspace_id"}},
  "badge": {"type": "lookup_unique", "owner": "users", "params": {"table": "look.badge_idx",
  "from": "badge", "to": "keyspace_id"}}},
 "tables": {
  "wide": {"column_vindexes": [{"column": "id", "name": "hash"}]},
  "line": {"column_vindexes": [{"column": "id", "name": "hash"}]},
  "users": {"column_vindexes": [{"column": "id", "name": "hash"}, {"column": "mail",
  "name": "mail"}, {"column": "badge", "name": "badge"}]}}}"#;

/// More than a table is asked for by name.
const LINES: usize = 10_050;

static LOCAL: LazyLock<Coregate> = LazyLock::new(|| {
    let dir = guard::dir().join("keyed");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("look.sql"), PLAIN).unwrap();
    std::fs::write(dir.join("test.sql"), SHARDED.replace("\\\n", "")).unwrap();
    std::fs::write(dir.join("test.json"), VSCHEMA).unwrap();
    let dir = dir.to_str().unwrap();
    let keyspaces =
        ["--keyspace", "look", "--keyspace", "test:4", "--schema", dir, "--vschema", dir];
    let local = Coregate::local("keyed", &keyspaces);
    let mut conn = local.connect_as(world::USER, world::PASSWORD, Some("test"));
    let texts = ["a", "it\\'s", "b\\\\c", "ä", "", "a b", "\"q\"", "%"];
    let row = |n: usize| {
        let text = texts[n % texts.len()];
        format!(
            "'{text}','{text}',x'{:02x}27','2026-01-{:02}','2026-01-{:02} 01:02:03.{:06}',{}.5",
            n % 7,
            n % 28 + 1,
            n % 28 + 1,
            n % 11,
            n % 13
        )
    };
    let numbers: Vec<usize> = (1..=LINES).collect();
    for chunk in numbers.chunks(1_000) {
        let rows: Vec<_> = chunk
            .iter()
            .map(|n| format!("({n},{n},{})", row(*n)))
            .collect();
        conn.run(&format!(
            "insert into line (id,no,item,latin,raw,day,moment,price) values {}",
            rows.join(",")
        ));
    }
    for n in 1..=20 {
        conn.run(&format!(
            "insert into wide (id,n,mail,badge,name,latin,raw,day,moment,price) values ({n},{},\
                'u{}@x',{},{})",
            n * 10,
            n,
            n * 3,
            row(n)
        ));
        conn.run(&format!("insert into users values ({n}, 'U{n}@x', {})", n * 3));
    }
    conn.run("insert into wide (id, n) values (100, null), (101, -5), (102, 10)");
    local
});

/// One test at a time counts what is asked.
static TURN: Mutex<()> = Mutex::new(());

fn connect() -> Connection {
    LOCAL.connect_as(world::USER, world::PASSWORD, Some("test"))
}

/// The calls of a query that read this table: shards, texts and rows.
fn calls(conn: &mut Connection, sql: &str, table: &str) -> Vec<(String, String, u64)> {
    let trace = conn.value(&format!("vexplain trace {sql}")).unwrap();
    let trace: serde_json::Value = serde_json::from_str(&trace).unwrap();
    let of_table = format!("FROM `{table}` AS");
    let calls = trace["Calls"].as_array().unwrap().iter().map(|call| {
        let text = |name: &str| call[name].as_str().unwrap().to_owned();
        (text("Shard"), text("Query"), call["Rows"].as_u64().unwrap())
    });
    calls
        .filter(|(_, sql, _)| sql.contains(&of_table))
        .collect()
}

fn rows(calls: &[(String, String, u64)]) -> u64 {
    calls.iter().map(|(.., rows)| rows).sum()
}

#[test]
fn a_join_reads_the_rows_that_it_needs() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut conn = connect();
    let sql = "select w.id, l.item from wide w join line l on w.n = l.no where w.id = 5";
    assert_eq!(conn.query(sql).rows().len(), 1);
    let asked = calls(&mut conn, sql, "line");
    assert_eq!((asked.len(), rows(&asked)), (4, 1), "{asked:?}");
    // A value that a column cannot hold is asked of nobody, as NULL is.
    for id in [100, 101] {
        let sql =
            format!("select count(*) from wide w join line l on w.n = l.no where w.id = {id}");
        assert_eq!(conn.value(&sql).unwrap(), "0");
        assert_eq!(calls(&mut conn, &sql, "line"), []);
    }
    // Left out, rows still count where the join is an outer one.
    let sql = "select count(*), count(l.id) from wide w left join line l on w.n = l.no where \
        w.id in (5, 6, 100, 101)";
    let row = conn.query(sql).rows().remove(0);
    assert_eq!(row, [Some("4".to_owned()), Some("2".to_owned())]);
    assert_eq!(rows(&calls(&mut conn, sql, "line")), 2);
    let handler = "select l.id from wide w join line l on l.no = w.n where w.id in (1, 2, 102)";
    let read = |conn: &mut Connection| -> u64 {
        let shards = ["-40", "40-80", "80-c0", "c0-"].map(|shard| {
            let mut shard =
                LOCAL.connect_as(world::USER, world::PASSWORD, Some(&format!("test:{shard}")));
            let sum = "select sum(variable_value) from information_schema.global_status where \
                variable_name in ('HANDLER_READ_KEY', 'HANDLER_READ_NEXT', \
                'HANDLER_READ_RND_NEXT')";
            shard.value(sum).unwrap().parse::<f64>().unwrap() as u64
        });
        assert_eq!(conn.query(handler).rows().len(), 3);
        shards.iter().sum()
    };
    let first = read(&mut conn);
    let second = read(&mut conn);
    assert!(second - first < LINES as u64 / 4, "{} reads", second - first);
}

#[test]
fn values_go_to_the_shards_that_can_have_them() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut conn = connect();
    let sql =
        "select l.id from wide w join line l on l.id = w.n where w.id in (1, 2, 3) order by 1";
    let found: Vec<_> = conn
        .query(sql)
        .rows()
        .concat()
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(found, ["10", "20", "30"]);
    let asked = calls(&mut conn, sql, "line");
    assert!(asked.len() < 4 && rows(&asked) == 3, "{asked:?}");
    for (_, text, rows) in &asked {
        let list = text
            .split(" IN (")
            .nth(1)
            .unwrap()
            .split(')')
            .next()
            .unwrap();
        assert_eq!(list.split(',').count() as u64, *rows, "{text}");
    }
    // By a lookup vindex, whose table compares as the column does.
    for sql in [
        "select u.id from wide w join users u on u.mail = w.mail where w.id = 7",
        "select u.id from wide w join users u on u.badge = w.badge where w.id = 7",
    ] {
        assert_eq!(conn.value(sql).unwrap(), "7", "{sql}");
        let asked = calls(&mut conn, sql, "users");
        assert_eq!((asked.len(), rows(&asked)), (1, 1), "{sql}: {asked:?}");
    }
    let sql = "select u.id from wide w join users u on u.badge = w.badge + 0 where w.id = 7";
    assert_eq!(calls(&mut conn, sql, "users").len(), 4);
}

#[test]
fn too_many_values_are_not_asked_for() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut conn = connect();
    for (upper, keyed) in [(10_000, true), (10_001, false)] {
        let sql = format!(
            "select count(*), count(w.id) from line l left join wide w on w.n = l.no where l.id \
                <= {upper}"
        );
        let row = conn.query(&sql).rows().remove(0);
        // Two have 10.
        assert_eq!(row, [Some((upper + 1).to_string()), Some("21".to_owned())], "{upper}");
        let asked = calls(&mut conn, &sql, "wide");
        assert!(!asked.is_empty());
        assert_eq!(asked.iter().all(|(_, text, _)| text.contains(" IN (")), keyed, "{upper}");
    }
}

#[test]
fn values_mean_the_same_under_any_settings() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let columns = [
        ("name", "item"),
        ("latin", "latin"),
        ("raw", "raw"),
        ("day", "day"),
        ("moment", "moment"),
        ("price", "price"),
    ];
    for setting in [
        "set names utf8mb4",
        "set sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'",
        "set sql_mode = 'TRADITIONAL'",
        "set names latin1",
        "set names gbk",
        "set character_set_connection = ucs2",
        "set time_zone = '-08:00'",
        "set in_predicate_conversion_threshold = 2",
    ] {
        let mut conn = connect();
        conn.run(setting);
        for (one, two) in columns {
            let sql = format!(
                "select count(*), sum(l.id) from wide w join line l on l.{two} = w.{one} where \
                    w.id in (3, 4, 5, 6, 7, 8, 9, 10) and l.id <= 600"
            );
            let other = format!(
                "select count(*), sum(l.id) from wide w join line l on concat(l.{two}) = \
                    concat(w.{one}) where w.id in (3, 4, 5, 6, 7, 8, 9, 10) and l.id <= 600"
            );
            let asked = calls(&mut conn, &sql, "line");
            assert!(!asked.is_empty(), "{sql}");
            assert!(asked.iter().all(|(_, text, _)| text.contains(" IN (")), "{sql}: {asked:?}");
            assert_eq!(conn.query(&sql).rows(), conn.query(&other).rows(), "{setting}: {sql}");
        }
    }
}

#[test]
fn rows_that_are_not_asked_for_are_not_locked() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut one, mut two) = (connect(), connect());
    two.run("set innodb_lock_wait_timeout = 1");
    one.run("begin");
    let sql = "select l.id from wide w join line l on l.no = w.n where w.id = 9 for update";
    assert_eq!(one.value(sql).unwrap(), "90");
    two.run("update line set item = item where id = 5000");
    assert_eq!(
        two.query("update line set item = 'x' where id = 90")
            .error()
            .code,
        1205
    );
    assert_eq!(
        two.query("update wide set name = 'x' where id = 9")
            .error()
            .code,
        1205
    );
    one.run("rollback");
    two.run("update line set item = item where id = 90");
}

/// The shards' servers, and a process in front of them.
fn cluster() -> (Vec<MariaDb>, Coregate) {
    let servers: Vec<MariaDb> = ["a", "b"]
        .map(|shard| MariaDb::start(&format!("keyed-{shard}"), &[]))
        .into();
    let shards = servers.iter().zip(["-80", "80-"]).enumerate();
    let shards: Vec<String> = shards
        .map(|(n, (server, name))| {
            let create = "create table t (id bigint primary key, v int, key (v))";
            server.connect().run(create);
            format!(
                r#"{{"name": "{name}", "tablets": [{{"alias": "zone1-{n}", "type": "primary",
                    "host": "127.0.0.1", "port": {}, "user": "sb", "password": "sb"}}]}}"#,
                server.port
            )
        })
        .collect();
    let dir = guard::dir().join("keyed-faults");
    std::fs::create_dir_all(dir.join("topology")).unwrap();
    let keyspace = format!(
        r#"{{"name": "test", "shards": [{}], "vschema": {{"sharded": true,
            "vindexes": {{"hash": {{"type": "hash"}}}},
            "tables": {{"t": {{"column_vindexes": [{{"column": "id", "name": "hash"}}]}}}}}}}}"#,
        shards.join(",")
    );
    std::fs::write(dir.join("topology/test.json"), keyspace).unwrap();
    let config = format!(
        "[topology]\ndir = {dir:?}\n[users]\nfile = {:?}\n[server]\ncores = 1\n[failover]\nenabled \
            = false\n",
        world::users_file()
    );
    (servers, Coregate::configured("keyed-faults", &config))
}

#[test]
fn a_server_that_dies_between_two_tables_is_an_error() {
    let (mut servers, proxy) = cluster();
    let connect = || proxy.connect_as(world::USER, world::PASSWORD, Some("test"));
    let mut conn = connect();
    let rows: Vec<_> = (1..=40).map(|id| format!("({id},{})", id + 1)).collect();
    conn.run(&format!("insert into t values {}", rows.join(",")));
    // One whose row is on the first shard, and is joined with one of the second.
    let on_second: Vec<u64> = servers[1]
        .connect()
        .query("select id from t")
        .rows()
        .concat()
        .into_iter()
        .map(|id| id.unwrap().parse().unwrap())
        .collect();
    let id = (1..40)
        .find(|id| !on_second.contains(id) && on_second.contains(&(id + 1)))
        .unwrap();
    let sql = format!("select b.id from t a join t b on b.id = a.v where a.id = {id} for update");
    assert_eq!(conn.value(&sql).unwrap(), (id + 1).to_string());
    let mut holder = servers[1].connect();
    holder.run("begin");
    holder.run("select * from t for update");
    let waiting = std::thread::spawn(move || {
        let answer = conn.query(&sql);
        (conn, answer)
    });
    let mut watch = servers[1].connect();
    coregate_tests::wait_until("the second table is asked", || {
        let waits = "select count(*) from information_schema.innodb_trx where trx_state = \
            'LOCK WAIT'";
        watch.value(waits).unwrap() == "1"
    });
    servers[1].kill();
    let (_, answer) = waiting.join().unwrap();
    assert!(answer.error().code > 1000, "{answer:?}");
    // The first shard is as it was, and holds no lock.
    let mut conn = connect();
    conn.run(&format!("update t set v = v where id = {id}"));
    let refused =
        conn.query(&format!("select b.id from t a join t b on b.id = a.v where a.id = {id}"));
    assert!(refused.error().code > 1000);
}
