//! Values of vindex columns that are no ordinary ones: NULL, too large, too long, and patterns.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Answer, Connection, Coregate, MariaDb, guard, world};
use std::sync::LazyLock;

const TABLES: &str = "
create table codes (code varchar(20), n int not null primary key);
create table loose (code varchar(20), n int not null primary key);
create table tiny (id tinyint not null primary key, n int);
create table above (id int unsigned not null primary key, n int);
create table short (name varchar(3) not null primary key, n int);
create table raw (name varbinary(3) not null primary key, n int);
create table parts (k varchar(20) collate utf8mb4_bin not null primary key, n int);
create table folded (k varchar(20) collate utf8mb4_general_ci not null primary key, n int);
";

const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"},
 "xx": {"type": "xxhash"}, "loose": {"type": "unicode_loose_md5"},
 "cfc": {"type": "cfc", "params": {"hash": "md5", "offsets": "[2, 4]"}}},
 "tables": {"codes": {"column_vindexes": [{"column": "code", "name": "xx"}]},
 "loose": {"column_vindexes": [{"column": "code", "name": "loose"}]},
 "tiny": {"column_vindexes": [{"column": "id", "name": "hash"}]},
 "above": {"column_vindexes": [{"column": "id", "name": "hash"}]},
 "short": {"column_vindexes": [{"column": "name", "name": "xx"}]},
 "raw": {"column_vindexes": [{"column": "name", "name": "xx"}]},
 "parts": {"column_vindexes": [{"column": "k", "name": "cfc"}]},
 "folded": {"column_vindexes": [{"column": "k", "name": "cfc"}]}}}"#;

static LOCAL: LazyLock<Coregate> = LazyLock::new(|| {
    let dir = guard::dir().join("vindex-values");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("test.sql"), TABLES).unwrap();
    std::fs::write(dir.join("test.json"), VSCHEMA).unwrap();
    let dir = dir.to_str().unwrap();
    Coregate::local("cluster", &["--keyspace", "test:4", "--schema", dir, "--vschema", dir])
});

static SERVER: LazyLock<MariaDb> = LazyLock::new(|| {
    let server = MariaDb::start("vindex-values", &[]);
    let mut conn = server.connect();
    let all = TABLES.split(';').map(str::trim);
    all.filter(|sql| !sql.is_empty())
        .for_each(|sql| drop(conn.run(sql)));
    server
});

fn connect() -> (Connection, Connection) {
    let sharded = LOCAL.connect_as(world::USER, world::PASSWORD, Some("test"));
    (SERVER.connect(), sharded)
}

/// What a statement comes to, in words.
fn told(conn: &mut Connection, sql: &str) -> String {
    match conn.query(sql) {
        Answer::Error(error) => format!("{} {}", error.code, error.message),
        Answer::Ok { affected, .. } => format!("{affected} rows"),
        rows => format!("{:?}", rows.rows()),
    }
}

fn same(both: &mut (Connection, Connection), sql: &str) {
    let alone = told(&mut both.0, sql);
    assert_eq!(told(&mut both.1, sql), alone, "{sql}");
}

#[test]
fn rows_with_null_are_found_and_changed() {
    let mut both = connect();
    for table in ["codes", "loose"] {
        for sql in [
            "insert into T values (null, 1), ('a', 2), (null, 3), ('', 4)",
            "select n from T where code = null",
            "select n from T where code <=> null order by n",
            "select n from T where null <=> code order by n",
            "select n from T where code is null order by n",
            "select n from T where code in (null, 'a')",
            "update T set n = n + 10 where code is null and n = 1",
            "update T set n = n + 1 where code is null order by n limit 1",
            "update T set n = n + 1 where code <=> null order by n desc limit 1",
            "select * from T order by n",
            "update T set code = null where code = 'a'",
            "select n from T where code is null order by n",
            "update T set code = 'b' where code is null order by n limit 1",
            "select n from T where code = 'b'",
            "delete from T where code <=> null order by n limit 1",
            "select * from T order by n",
            "delete from T where code is null",
            "select * from T order by n",
        ] {
            same(&mut both, &sql.replace('T', table));
        }
    }
}

#[test]
fn what_does_not_fit_a_column_is_the_servers_error() {
    let mut both = connect();
    for sql in [
        "insert into tiny values (127, 1), (128, 2)",
        "insert into tiny values (-129, 1)",
        "insert into tiny (n, id) values (1, 5), (1, 300 ), (1, 6)",
        "insert into tiny values (99999999999999999999999, 1)",
        "insert into tiny values ('300', 1)",
        "insert into above values (-1, 1)",
        "insert into above values (4294967296, 1)",
        "insert into short values ('abc', 1), ('abcd', 2)",
        "insert into short values ('äöüß', 2)",
        "replace into short values ('abcdefgh', 2)",
        "insert into raw values ('äö', 2)",
        "insert into short values ('abc', 1)",
        "select * from tiny",
        "select * from short",
    ] {
        same(&mut both, sql);
    }
    // What the server would make another value of.
    both.1.run("set sql_mode = ''");
    for sql in ["insert into tiny values (128, 2)", "insert ignore into short values ('abcd', 2)"] {
        assert!(told(&mut both.1, sql).starts_with("1105 "), "{sql}");
    }
}

/// How many shards a query goes to.
fn shards(conn: &mut Connection, sql: &str) -> usize {
    conn.query(&format!("vexplain queries {sql}")).rows().len()
}

#[test]
fn patterns_go_to_the_shards_of_their_prefix() {
    let mut both = connect();
    let keys: Vec<String> = (0..60)
        .map(|n| format!("('{}{}tail{n}', {n})", ["ab", "cd", "ef"][n % 3], ["xy", "zz"][n % 2]))
        .collect();
    for table in ["parts", "folded"] {
        same(&mut both, &format!("insert into {table} values {}", keys.join(", ")));
        for pattern in
            ["abxy%", "abxytail1%", "ab%", "a%", "%", "abx_tail1%", r"ab\%%", "abzztail3", "q%"]
        {
            for condition in
                ["k like 'P'", "k not like 'P'", "k like 'P' and n > 20", "k like 'P' or n = 1"]
            {
                let condition = condition.replace('P', pattern);
                same(&mut both, &format!("select n from {table} where {condition} order by n"));
            }
        }
        same(
            &mut both,
            &format!("select n from {table} where k like 'ab|%%' escape '|' order by n"),
        );
        same(&mut both, &format!("select count(*) from {table} where k regexp 'ab'"));
    }
    let conn = &mut both.1;
    assert_eq!(shards(conn, "select n from parts where k like 'abxy%'"), 1);
    assert_eq!(shards(conn, "select n from parts where k like 'ab%'"), 1);
    assert_eq!(shards(conn, "select n from parts where k like 'a%'"), 4);
    assert_eq!(shards(conn, "select n from parts where k not like 'abxy%'"), 4);
    // Letters of another case are like it there, and lie elsewhere.
    assert_eq!(shards(conn, "select n from folded where k like 'abxy%'"), 4);
    let statement = conn.prepare("select n from parts where k like ?").unwrap();
    let answer = conn.execute(&statement, &["efxy%".into()]);
    let Answer::Rows { raw, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(raw.len(), 10);
    same(&mut both, "update parts set n = n + 100 where k like 'cdzz%'");
    same(&mut both, "delete from parts where k like 'abxy%'");
    same(&mut both, "select * from parts order by k");
}
