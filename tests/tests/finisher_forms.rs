//! In what form a server can be given the rows of a statement that it finishes: what another form
//! than filled temporary tables would change in answers.
//!
//! The reasons stand in `docs/decisions/0019-gathered-rows.md`. Whoever finds that one of these
//! tests fails on a newer server may look at the decision again.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::replicated::Cluster;
use coregate_tests::wire::Column;
use coregate_tests::{Answer, Connection, MariaDb};

const NOT_NULL: u16 = 1;
/// Flags of a column that say something of keys and defaults.
const OF_TABLE: u16 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 12 | 1 << 14;
/// A number. MariaDB has it at DECIMALs of JSON_TABLE, and not at those of tables.
const NUM: u16 = 1 << 15;

/// Name, type with character set and collation, and what follows them.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("id", "int", "not null primary key"),
    ("b", "bigint", "not null"),
    ("ti", "tinyint", "null"),
    ("u", "int unsigned", "not null"),
    ("d", "decimal(10,2)", "not null"),
    ("v", "varchar(20) character set utf8mb4 collate utf8mb4_unicode_ci", "not null"),
    ("c", "char(5) character set latin1 collate latin1_swedish_ci", "null"),
    ("dt", "datetime(3)", "not null"),
    ("da", "date", "null"),
];

const ROWS: &str = "(1, 10, 1, 3, 1.50, x'6162', x'78', '0000-00-00', '2020-02-31'),\
    (2, 11, null, 4, 2.50, x'6364', null, '2020-01-01 10:00:00.125', null)";

/// The same rows.
const JSON: &str = r#"[[1,10,1,3,"1.50","ab","x","0000-00-00","2020-02-31"],
    [2,11,null,4,"2.50","cd",null,"2020-01-01 10:00:00.125",null]]"#;

const LITERALS: &str = "select 1,10,1,3,1.50,_utf8mb4 x'6162',_latin1 x'78',\
    timestamp'2020-01-02 00:00:00.000',date'2020-01-03' union all \
    select 2,11,null,4,2.50,_utf8mb4 x'6364',null,timestamp'2020-01-01 10:00:00.125',null";

const LOADING: &str = "set sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'";
const STRICT: &str = "set sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES'";

fn create(table: &str) -> String {
    let columns: Vec<String> = COLUMNS
        .iter()
        .map(|(name, kind, more)| format!("{name} {kind} {more}"))
        .collect();
    format!("create temporary table {table} ({}) engine=InnoDB", columns.join(", "))
}

/// The statement with its rows in itself, with all types declared.
fn inlined(sql: &str) -> String {
    let columns: Vec<String> = COLUMNS
        .iter()
        .enumerate()
        .map(|(n, (name, kind, _))| format!("{name} {kind} path '$[{n}]'"))
        .collect();
    format!(
        "with g0 as (select * from json_table('{JSON}', '$[*]' columns ({})) j limit \
            18446744073709551615) {sql}",
        columns.join(", ")
    )
}

/// The same, with types that come of a table without rows.
fn united(sql: &str) -> String {
    format!("with g0 as (select * from empty0 where false union all {LITERALS}) {sql}")
}

/// A connection to each server that is here, with the rows in `g0` and none in `empty0`.
fn each(name: &str, test: impl Fn(&mut Connection, bool)) {
    let filled = |conn: &mut Connection| {
        conn.run(LOADING);
        for table in ["g0", "empty0"] {
            conn.run(&create(table));
        }
        conn.run(&format!("insert into g0 values {ROWS}"));
        conn.run(STRICT);
    };
    let server = MariaDb::start(name, &[]);
    let mut conn = server.connect();
    filled(&mut conn);
    test(&mut conn, false);
    // One shard: every statement goes to its server as it is.
    if let Some(cluster) = Cluster::of_mysql(&format!("{name}-mysql"), "ks:1:0", 1) {
        let mut conn = cluster.connect("ks");
        filled(&mut conn);
        test(&mut conn, true);
    }
}

fn columns(answer: &Answer) -> &[Column] {
    match answer {
        Answer::Rows { columns, .. } => columns,
        other => panic!("rows were expected: {other:?}"),
    }
}

/// What of a column its type alone decides.
fn kind(column: &Column) -> (u8, u32, u16, u8, u16) {
    let flags = column.flags & !(OF_TABLE | NOT_NULL | NUM);
    (column.kind, column.length, column.charset, column.decimals, flags)
}

#[test]
fn rows_in_the_statement_have_types_but_no_keys_and_may_all_be_null() {
    each("forms-flags", |conn, mysql| {
        let sql = "select * from g0 as t";
        let (filled, rows) = (conn.run(sql), conn.run(&inlined(sql)));
        let pairs = columns(&filled).iter().zip(columns(&rows));
        for ((a, b), (name, _, more)) in pairs.zip(COLUMNS) {
            assert_eq!(kind(a), kind(b), "{name}");
            assert_eq!(a.flags & NOT_NULL != 0, more.starts_with("not null"), "{name}");
            assert_eq!(b.flags & (NOT_NULL | OF_TABLE), 0, "{name}");
            let counted = (a.flags ^ b.flags) & NUM != 0;
            assert_eq!(counted, !mysql && *name == "d", "{name}");
            assert_eq!((a.org_table.as_str(), b.org_table.as_str()), ("g0", "json_table"));
        }
        // What is computed of them may be NULL as well: no name of a column tells.
        let sql = "select id + 1, u * 2, b = 10 from g0 as t";
        let (filled, rows) = (conn.run(sql), conn.run(&inlined(sql)));
        assert!(columns(&filled).iter().all(|c| c.flags & NOT_NULL != 0));
        assert!(columns(&rows).iter().all(|c| c.flags & NOT_NULL == 0));
    });
}

#[test]
fn literals_under_an_empty_table_widen_its_types() {
    each("forms-union", |conn, mysql| {
        let sql = "select * from g0 as t";
        let (filled, united) = (conn.run(sql), conn.run(&united(sql)));
        let pairs = columns(&filled).iter().zip(columns(&united));
        let widened: Vec<&str> = pairs
            .filter(|(a, b)| kind(a) != kind(b))
            .map(|(a, _)| a.name.as_str())
            .collect();
        let integers = if mysql { vec!["id", "ti", "u", "c"] } else { vec!["ti", "u", "c"] };
        assert_eq!(widened, integers);
    });
}

#[test]
fn casts_give_types_of_their_own() {
    each("forms-cast", |conn, _| {
        let filled = conn.run("select id, c, da from g0 as t");
        let sql = "with g0 as (select cast(1 as signed) id, cast('x' as char(5)) c, \
            cast('2020-01-01' as date) da) select id, c, da from g0 as t";
        let cast = conn.run(sql);
        let types = |answer: &Answer| -> Vec<_> { columns(answer).iter().map(kind).collect() };
        let (a, b) = (types(&filled), types(&cast));
        assert!(a[0] != b[0] && a[1] != b[1] && a[2] == b[2], "{a:?} {b:?}");
    });
}

#[test]
fn rows_in_the_statement_know_no_primary_key() {
    each("forms-group", |conn, mysql| {
        // Only MySQL looks at keys here; MariaDB refuses both.
        let sql = "select id, v, count(*) from g0 as t group by id";
        assert_eq!(conn.query(sql).is_error(), !mysql);
        assert_eq!(conn.query(&inlined(sql)).error().code, 1055);
    });
}

#[test]
fn a_zero_date_that_must_not_be_null_is_null_in_a_table_only() {
    each("forms-zero", |conn, _| {
        conn.run(LOADING);
        let sql = "select count(*) from g0 as t where dt is null";
        assert_eq!(conn.value(sql).unwrap(), "1");
        assert_eq!(conn.value(&inlined(sql)).unwrap(), "0");
    });
}

/// Tables are filled under settings of their own; a statement has one `sql_mode` for its rows and
/// for itself.
#[test]
fn rows_in_the_statement_are_read_under_the_session_s_settings() {
    each("forms-mode", |conn, mysql| {
        let sql = "select da from g0 as t where id = 1";
        assert_eq!(conn.value(sql).unwrap(), "2020-02-31");
        let found = conn.query(&inlined(sql)).value();
        assert_eq!(found.as_deref(), (!mysql).then_some("0000-00-00"));
    });
}

#[test]
fn a_table_that_is_emptied_and_filled_again_answers_as_a_new_one() {
    each("forms-kept", |conn, _| {
        let queries = [
            "select * from g0 as t order by id",
            "select id + 1, concat(v, 'x'), b from g0 as t order by 1",
            "select id, sum(d), max(dt), count(c) from g0 as t group by id order by id",
            "select count(*) from g0 as t where dt is null",
        ];
        let first: Vec<Answer> = queries.iter().map(|sql| conn.query(sql)).collect();
        for _ in 0..3 {
            conn.run(LOADING);
            conn.run("delete from g0");
            conn.run(&format!("insert into g0 values {ROWS}"));
            conn.run(STRICT);
            for (sql, first) in queries.iter().zip(&first) {
                assert_eq!(&conn.query(sql), first, "{sql}");
            }
        }
    });
}

/// Statements that are sent together, and whose answers are then read.
type Batch = Vec<String>;

/// The statements that make a table and fill it, and the same rows as a part of WITH.
fn table(name: &str, count: usize) -> (String, String, String) {
    let rows = |one: fn(usize) -> String| (0..count).map(one).collect::<Vec<_>>().join(",");
    let create = format!(
        "create temporary table {name} (id bigint not null, k int not null, v varchar(40) \
            character set utf8mb4 collate utf8mb4_general_ci not null, primary key (id), key (k)) \
         engine=InnoDB"
    );
    let values = rows(|n| format!("({n},{},x'61626364656667683{}')", n * 7 % 20, n % 10));
    let json = rows(|n| format!("[{n},{},\"abcdefgh{}\"]", n * 7 % 20, n % 10));
    let inline = format!(
        "{name} as (select * from json_table('[{json}]', '$[*]' columns (id bigint path '$[0]', k \
            int path '$[1]', v varchar(40) character set utf8mb4 collate utf8mb4_general_ci path \
            '$[2]')) j limit 18446744073709551615)"
    );
    (create, format!("insert into {name} (id,k,v) values {values}"), inline)
}

/// What is sent for one statement over two tables of so many rows, in batches.
fn forms(rows: usize) -> [(&'static str, Vec<Batch>); 5] {
    let all = |list: &[&str]| -> Batch { list.iter().map(|&sql| sql.to_owned()).collect() };
    let query = "select a.id, a.v, b.v from g0 a join g1 b on b.k = a.id where a.id < 10 order by \
        a.id";
    let before = [
        "set @_m=@@sql_mode,@_z=@@time_zone,@_c=@@character_set_client,\
            @_o=@@collation_connection,@_a=@@autocommit,character_set_client=utf8mb4,\
            collation_connection=utf8mb4_general_ci",
        "set sql_mode='ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO',time_zone='+00:00',autocommit=1",
    ];
    let after = "set sql_mode=@_m,time_zone=@_z,character_set_client=@_c,collation_connection=@_o";
    let end = "set autocommit=@_a,@_m=null,@_z=null,@_c=null,@_o=null,@_a=null";
    let ((c0, i0, j0), (c1, i1, j1)) = (table("g0", rows), table("g1", rows));
    let new = all(&[before[0], before[1], &c0, &i0, &c1, &i1, after]);
    let kept = all(&[before[0], before[1], &i0, &i1, after]);
    let empty = all(&["delete from g0", "delete from g1", end]);
    let query_only = all(&[query]);
    [
        ("select 1", vec![all(&["select 1"])]),
        ("new tables", vec![new, query_only.clone(), all(&["drop temporary table g0,g1", end])]),
        ("kept tables", vec![kept, query_only.clone(), empty.clone()]),
        ("kept tables, no settings", vec![all(&[&i0, &i1]), query_only, empty[..2].to_vec()]),
        ("in the statement", vec![vec![format!("with {j0},{j1} {query}")]]),
    ]
}

/// Of a process, in microseconds.
fn cpu(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = [fields[11], fields[12]].map(|n| n.parse::<u64>().unwrap());
    ticks.iter().sum::<u64>() * 10_000
}

fn send(conn: &mut Connection, batches: &[Batch]) {
    for batch in batches {
        for sql in batch {
            conn.send_command(3, sql.as_bytes()).unwrap();
        }
        for _ in batch {
            conn.expect_sequence(1);
            conn.answer(false).unwrap().ok();
        }
    }
}

fn measure(server: &str, pid: u32, connect: impl Fn() -> Connection) {
    const COUNT: u64 = 500;
    for rows in [2, 20] {
        let forms = forms(rows);
        let mut conns: Vec<Connection> = forms.iter().map(|_| connect()).collect();
        for (conn, (name, _)) in conns.iter_mut().zip(&forms) {
            if name.starts_with("kept") {
                conn.run(&table("g0", rows).0);
                conn.run(&table("g1", rows).0);
            }
        }
        let mut found = vec![Vec::new(); forms.len()];
        for _ in 0..11 {
            for ((conn, (_, batches)), found) in conns.iter_mut().zip(&forms).zip(&mut found) {
                let before = cpu(pid);
                (0..COUNT).for_each(|_| send(conn, batches));
                found.push((cpu(pid) - before) / COUNT);
            }
        }
        for ((name, _), mut found) in forms.iter().zip(found) {
            found.sort_unstable();
            println!(
                "{server}, 2 x {rows} rows: {name}: {} us ({} to {})",
                found[5], found[0], found[10]
            );
        }
    }
}

#[test]
#[ignore = "a measurement: it prints the CPU that each form costs a server"]
fn what_each_form_costs() {
    let server = MariaDb::start("forms-cost", &[]);
    measure("MariaDB", server.process.id(), || server.connect());
    drop(server);
    if let Some(cluster) = Cluster::of_mysql("forms-cost-mysql", "ks:1:0", 1) {
        let pid = cluster.on("zone1-100", "select @@pid_file");
        let pid = std::fs::read_to_string(pid).unwrap();
        measure("MySQL", pid.trim().parse().unwrap(), || cluster.connect("ks"));
    }
}
