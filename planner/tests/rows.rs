//! The rows of a large INSERT lie where each of them lies alone, whatever way they are read.
#![allow(clippy::unwrap_used)]
mod support;

use coregate_planner::fingerprint::Fingerprint;
use coregate_planner::plan::{Action, Plan};
use coregate_planner::resolve::{Binding, Resolved, Scratch, resolve};
use coregate_planner::route::SessionContext;
use coregate_planner::snapshot::Snapshot;
use coregate_planner::vschema::{Keyspace, KeyspaceSpec, SnapshotBuilder};
use proptest::prelude::*;
use std::collections::BTreeMap;
use support::{Session, plan_sql, table};

const VSCHEMA: &str = r#"{"sharded": true,
    "vindexes": {"hash": {"type": "hash"}, "xxhash": {"type": "xxhash"},
    "numeric": {"type": "numeric"}},
    "tables": {
        "first": {"column_vindexes": [{"column": "id", "name": "hash"}]},
        "third": {"column_vindexes": [{"column": "id", "name": "hash"}]},
        "small": {"column_vindexes": [{"column": "id", "name": "hash"}]},
        "text": {"column_vindexes": [{"column": "id", "name": "hash"}]},
        "other": {"column_vindexes": [{"column": "id", "name": "xxhash"}]},
        "plain": {"column_vindexes": [{"column": "id", "name": "numeric"}]}}}"#;

fn snapshot() -> Snapshot {
    let tables = vec![
        table("first", &["id", "a", "b'"]),
        table("third", &["a", "b'", "id"]),
        table("small", &["id tinyint", "a", "b'"]),
        table("text", &["id'", "a", "b'"]),
        table("other", &["id", "a", "b'"]),
        table("plain", &["id", "a", "b'"]),
    ];
    let names = ["-2a", "2a-80", "80-c123456789abcdef", "c123456789abcdef-"];
    let spec = KeyspaceSpec {
        tables,
        ..KeyspaceSpec::new("ks", &names, Keyspace::from_json(VSCHEMA).unwrap())
    };
    SnapshotBuilder::new(1)
        .keyspace(spec, &|_| Err(String::new()))
        .unwrap()
        .build()
}

fn bind(
    snapshot: &Snapshot,
    plan: &Plan,
    sql: &str,
    fingerprint: &Fingerprint,
) -> Result<Resolved, String> {
    let Action::Route(route) = &plan.action else { panic!("not a route: {sql}") };
    let binding = Binding {
        sql: sql.as_bytes(),
        fingerprint,
        params: &[],
        sql_mode: Default::default(),
        charsets: Default::default(),
        session: &Session,
        prepared: false,
    };
    let mut out = Resolved::default();
    match resolve(route, snapshot, &binding, &mut Scratch::default(), &mut out) {
        Ok(()) => Ok(out),
        Err(e) => Err(e.to_string()),
    }
}

/// The rows that each shard gets, in order.
fn rows_of(snapshot: &Snapshot, sql: &str) -> Result<BTreeMap<u16, Vec<String>>, String> {
    let session = SessionContext { keyspace: Some(0), ..SessionContext::default() };
    let (plan, fingerprint) = plan_sql(snapshot, &session, sql).map_err(|e| e.to_string())?;
    let found = bind(snapshot, &plan, sql, &fingerprint)?;
    let rows = found.shards.iter().map(|shard| {
        let text = shard
            .text
            .clone()
            .unwrap_or_else(|| sql.as_bytes().to_vec());
        let mut read = Fingerprint::new();
        read.read(&text, Default::default()).unwrap();
        let rows = read.rows.spans.iter();
        let rows = rows.map(|r| {
            String::from_utf8_lossy(&text[r.start as usize..r.end as usize]).replace(' ', "")
        });
        (shard.shard, rows.collect())
    });
    Ok(rows.collect())
}

fn compare(snapshot: &Snapshot, table: &str, rows: &[String]) {
    let all = rows_of(snapshot, &format!("insert into {table} values {}", rows.join(",")));
    let mut each = Ok(BTreeMap::<u16, Vec<String>>::new());
    for row in rows {
        // A blank behind a number, and the row is read by itself.
        let spread = row.replace(',', " ,").replace(')', " )");
        let one = rows_of(snapshot, &format!("insert into {table} values {spread}"));
        match (&mut each, one) {
            (Ok(each), Ok(one)) => one
                .into_iter()
                .for_each(|(shard, rows)| each.entry(shard).or_default().extend(rows)),
            (each @ Ok(_), Err(e)) => *each = Err(e),
            (Err(_), _) => {}
        }
    }
    assert_eq!(all.is_err(), each.is_err(), "{table} {rows:?}: {all:?} {each:?}");
    if let Ok(all) = all {
        assert_eq!(Ok(all), each, "{table} {rows:?}");
    }
}

fn ids() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => (1u64..100).prop_map(|n| n.to_string()),
        10 => any::<u32>().prop_map(|n| n.to_string()),
        4 => any::<u64>().prop_map(|n| n.to_string()),
        1 => any::<i32>().prop_map(|n| n.to_string()),
        1 => prop_oneof!["'[0-9]{1,3}'", "[0-9]{1,4} ", " \
            [0-9]{1,4}", "[0-9]{1,2}\\.0", "007", "0", "NULL", "99999999999999999999", "0x1F"],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn rows_lie_where_each_lies_alone(ids in proptest::collection::vec(ids(), 1..100)) {
        let snapshot = snapshot();
        for table in ["first", "third", "small", "text", "other", "plain"] {
            let row = |(n, id): (usize, &String)| match table {
                "third" => format!("({n},'b(,''{n}',{id})"),
                _ => format!("({id},{n},'b')"),
            };
            compare(&snapshot, table, &ids.iter().enumerate().map(row).collect::<Vec<_>>());
        }
    }
}

/// The way that takes many rows at once is the one that is compared above.
#[test]
fn numbers_are_placed() {
    let snapshot = snapshot();
    let rows: Vec<String> = (1..=1_000).map(|n| format!("({n},{n},'b')")).collect();
    for table in ["first", "plain", "other"] {
        compare(&snapshot, table, &rows);
    }
    let refused = rows_of(&snapshot, "insert into small values (1,1,'b'),(300,1,'b')");
    assert!(refused.is_err(), "{refused:?}");
}
