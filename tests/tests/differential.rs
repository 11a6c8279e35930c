//! The same statements on a plain server, through the drop-in, and on a sharded keyspace where its
//! shapes are supported: the same rows, columns, counts and errors.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::{Login, Value, caps};
use coregate_tests::{Answer, Connection, Coregate, MariaDb, guard, world};
use std::net::TcpStream;
use std::sync::LazyLock;

struct World {
    server: MariaDb,
    drop_in: Coregate,
    local: Coregate,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let server = MariaDb::start("plain", &[]);
    let drop_in = Coregate::drop_in("plain-proxy", &server, &["--cores", "1"]);
    let dir = guard::dir().join("differential");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("sharded.sql"), include_str!("differential/sharded.sql")).unwrap();
    std::fs::write(dir.join("sharded.json"), include_str!("differential/sharded.json")).unwrap();
    let dir = dir.to_str().unwrap();
    let local =
        Coregate::local("cluster", &["--keyspace", "sharded:4", "--schema", dir, "--vschema", dir]);
    World { server, drop_in, local }
});

/// Statements of a file: one a line; empty lines and those with `--` are comments.
fn statements(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with("--"))
}

fn over(
    address: std::net::SocketAddr,
    user: &str,
    database: &str,
    capabilities: u32,
) -> Connection {
    let login = Login { user, password: user, database: Some(database), capabilities };
    Connection::over(TcpStream::connect(address).unwrap(), &login).unwrap()
}

/// What a proxy may say otherwise than the server: bits of the status that tell of the server's own
/// work (no index used, slow), and two that nobody reads (a read-only transaction, ANSI_QUOTES).
fn comparable(mut answer: Answer) -> Answer {
    const OWN_STATE: u16 = 0x10 | 0x20 | 0x800 | 0x2000 | 0x4000 | 0x8000;
    match &mut answer {
        Answer::Ok { status, .. } | Answer::Rows { status, .. } => *status &= !OWN_STATE,
        Answer::Error(_) => {}
    }
    answer
}

fn compare(sql: &str, wanted: Vec<Answer>, got: Vec<Answer>) -> Option<String> {
    let (wanted, got): (Vec<_>, Vec<_>) =
        (wanted.into_iter().map(comparable).collect(), got.into_iter().map(comparable).collect());
    (wanted != got).then(|| format!("{sql}\n    server: {wanted:.1500?}\n    proxy:  {got:.1500?}"))
}

fn direct(capabilities: u32) -> Connection {
    over(([127, 0, 0, 1], WORLD.server.port).into(), "sb", "test", capabilities)
}

/// What differs, and why. A statement that does not differ any more must leave this list.
const KNOWN: &[(&str, &str)] = &[(
    "select 1; selekt 2; select 3",
    "the text after `near` ends with the statement, not with the packet",
)];

/// Both work on the same server, one after the other, each in a database of its own.
#[test]
fn text_statements_through_the_drop_in() {
    for (n, capabilities) in [0, caps::DEPRECATE_EOF, caps::FOUND_ROWS]
        .into_iter()
        .enumerate()
    {
        let (mut plain, mut proxy) =
            (direct(capabilities), over(WORLD.drop_in.mysql, "sb", "test", capabilities));
        let database = format!("differential{n}");
        let mut all = vec![
            format!("create database {database} character set utf8mb4"),
            format!("use {database}"),
        ];
        all.extend(statements(include_str!("differential/text.sql")).map(str::to_owned));
        let run = |conn: &mut Connection| -> Vec<Vec<Answer>> {
            let answers = all
                .iter()
                .map(|sql| conn.try_query(sql).unwrap_or_else(|e| panic!("{sql}: {e}")))
                .collect();
            conn.run(&format!("drop database {database}"));
            answers
        };
        let (wanted, got) = (run(&mut plain), run(&mut proxy));
        let each = all.iter().zip(wanted).zip(got);
        let known = |sql: &str| KNOWN.iter().any(|(known, _)| *known == sql);
        let (mut different, mut met) = (Vec::new(), std::collections::BTreeSet::new());
        for ((sql, wanted), got) in each {
            match compare(sql, wanted, got) {
                Some(_) if known(sql) => _ = met.insert(sql.clone()),
                Some(text) => different.push(text),
                None => {}
            }
        }
        let gone: Vec<_> = KNOWN
            .iter()
            .filter(|(sql, _)| !met.contains(*sql))
            .collect();
        assert!(gone.is_empty(), "these do not differ any more; take them off the list: {gone:?}");
        assert!(
            different.is_empty(),
            "{} statements differ:\n{}",
            different.len(),
            different.join("\n")
        );
    }
}

#[test]
fn prepared_statements_through_the_drop_in() {
    let values = [
        Value::Null,
        Value::Int(5),
        Value::Int(-1),
        Value::Double(1.5),
        Value::from("3"),
        Value::from("text 🦀"),
        Value::Bytes(vec![0, 255]),
    ];
    let statements = [
        "select ?",
        "select ? + 1, ?",
        "select * from p where id = ?",
        "select v from p where v = ?",
        "select concat(?, 'x')",
        "select id from p where id in (?, ?, 3) order by id",
        "update p set v = ? where id = 2",
        "select nothing from p",
        "insert into p (id, v) values (?, 'new')",
        "delete from p where id > 100",
        "selekt ?",
        "select * from p order by id",
        "select 1 limit ?",
        "select count(*), max(d), sum(f) from p",
        "do ?",
        "select * from no_such where id = ?",
    ];
    for capabilities in [0, caps::DEPRECATE_EOF] {
        let run = |mut conn: Connection| {
            conn.run(
                "create or replace table p (id int primary key, v varchar(50), d datetime(3), \
                f double) charset utf8mb4",
            );
            conn.run(
                "insert into p values (1,'a','2024-02-29 \
                1:2:3.004',0.1),(2,'b',null,null),(3,'text 🦀',null,1e300),(5,'e','1000-01-01',0)",
            );
            let mut said = Vec::new();
            for sql in statements {
                match conn.prepare(sql) {
                    Err(error) => said.push(format!("{sql}: {error:?}")),
                    Ok(prepared) => {
                        let count = prepared.parameters.len();
                        said.push(format!("{sql}: {count} {:?}", prepared.columns));
                        for value in &values {
                            let bound: Vec<Value> = (0..count).map(|_| value.clone()).collect();
                            let answer = comparable(conn.execute(&prepared, &bound));
                            said.push(format!("{sql} with {value:?}: {answer:?}"));
                        }
                        conn.close_statement(&prepared);
                    }
                }
            }
            conn.run("drop table p");
            said
        };
        let wanted = run(direct(capabilities));
        let got = run(over(WORLD.drop_in.mysql, "sb", "test", capabilities));
        let different: Vec<_> = wanted.iter().zip(&got).filter(|(w, g)| w != g).collect();
        let text: String = different
            .iter()
            .map(|(w, g)| format!("server: {w:.900}\nproxy:  {g:.900}\n\n"))
            .collect();
        assert!(
            different.is_empty() && wanted.len() == got.len(),
            "{} differ:\n{text}",
            different.len()
        );
    }
}

/// On a sharded keyspace rows may come in another order, unless ORDER BY gives one; all else is the
/// same.
#[test]
fn supported_shapes_on_a_sharded_keyspace() {
    let mut plain = direct(0);
    let mut sharded = over(WORLD.local.mysql, world::USER, "sharded", 0);
    plain.run("create database sharded character set utf8mb4");
    plain.run("use sharded");
    for statement in include_str!("differential/sharded.sql")
        .split(";\n")
        .filter(|s| !s.trim().is_empty())
    {
        plain.run(statement);
    }
    // A literal in the place of DATABASE() is never NULL.
    const NOT_NULL: u16 = 1;
    let mut different = Vec::new();
    for sql in statements(include_str!("differential/shapes.sql")) {
        let (wanted, got) = (plain.query(sql), sharded.query(sql));
        let brief = |answer: &Answer| match answer {
            Answer::Ok { affected, warnings, .. } => {
                format!("ok, {affected} rows, {warnings} warnings")
            }
            Answer::Error(e) => format!("error {} ({})", e.code, e.state),
            Answer::Rows { columns, rows, .. } => {
                let mut rows = rows.clone();
                if !sql.to_lowercase().contains("order by") {
                    rows.sort();
                }
                let columns: Vec<_> = columns
                    .iter()
                    .map(|c| (&c.name, &c.table, c.kind, c.flags & !NOT_NULL, c.charset))
                    .collect();
                format!("{columns:?} {rows:?}")
            }
        };
        let (wanted, said) = (brief(&wanted), brief(&got));
        if wanted != said {
            different.push(format!(
                "{sql}\n    server:  {wanted:.700}\n    sharded: {said:.700} {}",
                match &got {
                    Answer::Error(e) => e.message.as_str(),
                    _ => "",
                }
            ));
        }
    }
    assert!(
        different.is_empty(),
        "{} statements differ:\n{}",
        different.len(),
        different.join("\n")
    );
}
