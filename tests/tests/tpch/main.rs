//! The 22 queries of TPC-H at scale 0.01 over four shards: the answers of one server, and the plans
//! in `plans.txt`.
//!
//! `UPDATE_PLANS=1` writes the plans anew. `TPCH_TIMES=1` prints how long each query took on both
//! sides.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Answer, Connection, Coregate, MariaDb, guard, world};
use std::fmt::Write;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Instant;

mod data;

struct World {
    server: MariaDb,
    local: Coregate,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let dir = guard::dir().join("tpch");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("tpch.json"), include_str!("vschema.json")).unwrap();
    std::fs::write(dir.join("tpch.sql"), include_str!("schema.sql")).unwrap();
    let dir = dir.to_str().unwrap();
    let local =
        Coregate::local("cluster", &["--keyspace", "tpch:4", "--schema", dir, "--vschema", dir]);
    let server = MariaDb::start("plain", &[]);
    let mut plain = server.connect();
    for statement in include_str!("schema.sql").lines() {
        plain.run(statement);
    }
    let world = World { server, local };
    let mut sharded = world.sharded();
    for statement in data::rows() {
        plain.run(&statement);
        sharded.run(&statement);
    }
    world
});

impl World {
    fn sharded(&self) -> Connection {
        self.local
            .connect_as(world::USER, world::PASSWORD, Some("tpch"))
    }
}

/// Their numbers and texts.
fn queries() -> Vec<(&'static str, &'static str)> {
    let mut lines = include_str!("queries.sql").lines();
    let mut all = Vec::new();
    while let (Some(title), Some(sql)) = (lines.next(), lines.next()) {
        let number = title.trim_start_matches("-- ").split(':').next();
        all.push((number.unwrap(), sql));
    }
    all
}

/// Names and types of the columns, and the rows. No order of theirs is left open.
type Told = (Vec<(String, u8)>, Vec<Vec<Option<String>>>);

fn told(answer: &Answer) -> Told {
    match answer {
        Answer::Rows { columns, .. } => {
            let columns = columns.iter().map(|c| (c.name.clone(), c.kind));
            (columns.collect(), answer.rows())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn twenty_two_queries_answer_as_one_server() {
    let (mut plain, mut sharded) = (WORLD.server.connect(), WORLD.sharded());
    let mut wrong = Vec::new();
    for (number, sql) in queries() {
        let start = Instant::now();
        let theirs = told(&plain.query(sql));
        let between = Instant::now();
        let ours = sharded.query(sql);
        if std::env::var_os("TPCH_TIMES").is_some() {
            eprintln!("{number}: {:?} and {:?}", between - start, between.elapsed());
        }
        if ours.is_error() {
            wrong.push(format!("{number}: {ours:?}"));
            continue;
        }
        let ours = told(&ours);
        // Each has something to say, or it would prove nothing.
        if theirs.1.iter().flatten().all(Option::is_none) {
            wrong.push(format!("{number}: one server finds nothing"));
        }
        if theirs != ours {
            let first = theirs.1.iter().zip(&ours.1).find(|(a, b)| a != b);
            let counts = (theirs.1.len(), ours.1.len());
            wrong.push(format!(
                "{number}: {counts:?} rows, {:?}, {:?}, {first:?}",
                theirs.0, ours.0
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn their_plans_stay_what_they_are() {
    let mut sharded = WORLD.sharded();
    let mut is = String::new();
    for (number, sql) in queries() {
        let _ = writeln!(is, "Query {number}");
        for row in sharded.query(&format!("vexplain plan {sql}")).rows() {
            for line in row.iter().flatten().flat_map(|cell| cell.lines()) {
                let _ = writeln!(is, "  {line}");
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tpch/plans.txt");
    if std::env::var_os("UPDATE_PLANS").is_some() {
        std::fs::write(&path, &is).unwrap();
        return;
    }
    let was = std::fs::read_to_string(&path).unwrap();
    let differs = was.lines().zip(is.lines()).find(|(was, is)| was != is);
    assert!(
        differs.is_none() && was.len() == is.len(),
        "UPDATE_PLANS=1 writes the plans anew: {differs:?}"
    );
}
