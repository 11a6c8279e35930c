//! What a statement costs before it is sent: its fingerprint always, the plan when the cache does
//! not have it, and binding the plan to the statement's values.
use bumpalo::Bump;
use coregate_planner::fingerprint::{Fingerprint, SqlMode};
use coregate_planner::plan::{Action, Route, SessionValue};
use coregate_planner::resolve::{Binding, Resolved, Scratch, SessionValues, resolve};
use coregate_planner::route::{PlanInput, SessionContext, plan};
use coregate_planner::snapshot::Snapshot;
use coregate_planner::vschema::{Keyspace, KeyspaceSpec, SnapshotBuilder};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}}, "tables": {
    "sbtest1": {"column_vindexes": [{"column": "id", "name": "hash"}],
        "columns": [{"name": "id"}, {"name": "k"}, {"name": "c"}, {"name": "pad"}],
        "column_list_authoritative": true},
    "customer": {"column_vindexes": [{"column": "id", "name": "hash"}]},
    "corder": {"column_vindexes": [{"column": "customer_id", "name": "hash"}]}}}"#;

const STATEMENTS: [(&str, &str); 6] = [
    ("point", "SELECT c FROM sbtest1 WHERE id=12345"),
    ("in_10", "SELECT c FROM sbtest1 WHERE id IN (1,2,3,4,5,6,7,8,9,10)"),
    (
        "join",
        "SELECT o.total FROM customer c JOIN corder o ON o.customer_id = c.id WHERE c.id = 7 AND \
            o.total > 100",
    ),
    (
        "insert",
        "INSERT INTO sbtest1 (id, k, c, pad) VALUES (5012, 4993, '83868641912-28773972837', \
            '67847967377')",
    ),
    (
        "long_join",
        "SELECT c.id, c.name, SUM(o.total) AS total FROM customer c JOIN corder o ON o.customer_id \
            = c.id \
         WHERE c.id = 12345 AND o.placed > '2024-01-01' GROUP BY c.id, c.name ORDER BY total DESC \
         LIMIT 10",
    ),
    ("update", "UPDATE sbtest1 SET k=k+1 WHERE id=5046"),
];

struct NoValues;

impl SessionValues for NoValues {
    fn write(&self, _: SessionValue, _: &mut Vec<u8>) {}
    fn write_param(&self, _: u16, _: &mut Vec<u8>) {}
}

fn snapshot() -> Snapshot {
    let vschema = Keyspace::from_json(VSCHEMA).expect("the vschema above is right");
    let shards = ["-40", "40-80", "80-c0", "c0-"];
    let builder = SnapshotBuilder::new(1)
        .keyspace(KeyspaceSpec::new("sbt", &shards, vschema), &|_| Err(String::new()));
    builder.expect("the keyspace above is right").build()
}

fn fingerprint_of(sql: &str) -> Fingerprint {
    let mut fingerprint = Fingerprint::new();
    fingerprint
        .read(sql.as_bytes(), SqlMode::default())
        .expect("the statements above can be read");
    fingerprint
}

fn route_of(snapshot: &Snapshot, sql: &str, fingerprint: &Fingerprint, arena: &Bump) -> Route {
    let session = SessionContext { keyspace: Some(0), ..SessionContext::default() };
    let input = PlanInput {
        sql: sql.as_bytes(),
        fingerprint,
        snapshot,
        serving: None,
        session: &session,
        arena,
        prepared: false,
        split: false,
    };
    match plan(&input).map(|plan| plan.action) {
        Ok(Action::Route(route)) => route,
        other => panic!("{sql} is not routed: {other:?}"),
    }
}

/// An INSERT of 1,000 rows, as sysbench writes them.
fn bulk() -> String {
    let (c, pad) = ("c".repeat(60), "p".repeat(30));
    let rows: Vec<String> = (0..1_000)
        .map(|n| format!("({},{n},'{c}','{pad}')", 5_012_000 + n))
        .collect();
    format!("INSERT INTO sbtest1 (id, k, c, pad) VALUES {}", rows.join(","))
}

fn fingerprints(c: &mut Criterion) {
    let mut group = c.benchmark_group("fingerprint");
    let mut fingerprint = Fingerprint::new();
    let bulk = bulk();
    for (name, sql) in STATEMENTS
        .into_iter()
        .chain([("insert_1000", bulk.as_str())])
    {
        group.throughput(Throughput::Bytes(sql.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), sql, |b, sql| {
            b.iter(|| fingerprint.read(black_box(sql.as_bytes()), SqlMode::default()));
        });
    }
}

fn plans(c: &mut Criterion) {
    let mut group = c.benchmark_group("plan_on_miss");
    let snapshot = snapshot();
    let mut arena = Bump::new();
    for (name, sql) in STATEMENTS {
        let fingerprint = fingerprint_of(sql);
        group.bench_with_input(BenchmarkId::from_parameter(name), sql, |b, sql| {
            b.iter(|| {
                arena.reset();
                route_of(&snapshot, black_box(sql), &fingerprint, &arena)
            });
        });
    }
}

fn resolves(c: &mut Criterion) {
    let mut group = c.benchmark_group("resolve");
    let snapshot = snapshot();
    let (mut scratch, mut resolved) = (Scratch::default(), Resolved::default());
    let bulk = bulk();
    for (name, sql) in STATEMENTS
        .into_iter()
        .chain([("insert_1000", bulk.as_str())])
    {
        let fingerprint = fingerprint_of(sql);
        let route = route_of(&snapshot, sql, &fingerprint, &Bump::new());
        let binding = Binding {
            sql: sql.as_bytes(),
            fingerprint: &fingerprint,
            params: &[],
            sql_mode: SqlMode::default(),
            charsets: Default::default(),
            session: &NoValues,
            prepared: false,
        };
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| resolve(black_box(&route), &snapshot, &binding, &mut scratch, &mut resolved));
        });
    }
}

/// A parser that makes a tree of owned strings, for comparison: tokens alone, and the tree. Where a
/// plan is made, our figure holds the tree and the routing.
#[cfg(feature = "sqlparser")]
fn others(c: &mut Criterion) {
    use sqlparser::dialect::MySqlDialect;
    use sqlparser::parser::Parser;
    use sqlparser::tokenizer::Tokenizer;
    let mut group = c.benchmark_group("sqlparser");
    for (name, sql) in STATEMENTS {
        group.throughput(Throughput::Bytes(sql.len() as u64));
        group.bench_function(BenchmarkId::new("tokens", name), |b| {
            b.iter(|| Tokenizer::new(&MySqlDialect {}, black_box(sql)).tokenize());
        });
        group.bench_function(BenchmarkId::new("tree", name), |b| {
            b.iter(|| Parser::parse_sql(&MySqlDialect {}, black_box(sql)));
        });
    }
}

#[cfg(not(feature = "sqlparser"))]
fn others(_: &mut Criterion) {}

criterion_group!(benches, fingerprints, plans, resolves, others);
criterion_main!(benches);
