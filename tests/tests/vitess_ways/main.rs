//! What applications that come from Vitess rely on, as its own end-to-end tests use it.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod entries;
mod foreign_keys;
mod lookups;
mod outer;
mod sources;
mod targets;

use coregate_tests::wire::Answer;
use coregate_tests::{Coregate, guard};

/// A cluster of keyspaces: name, number of shards, tables, vschema.
fn cluster(name: &str, keyspaces: &[(&str, u32, &str, &str)]) -> Coregate {
    let dir = guard::dir().join(format!("{name}-schema"));
    std::fs::create_dir_all(&dir).unwrap();
    let mut args: Vec<String> = Vec::new();
    for (keyspace, shards, tables, vschema) in keyspaces {
        std::fs::write(dir.join(format!("{keyspace}.sql")), tables).unwrap();
        std::fs::write(dir.join(format!("{keyspace}.json")), vschema).unwrap();
        args.extend(["--keyspace".to_owned(), format!("{keyspace}:{shards}")]);
    }
    let dir = dir.to_str().unwrap();
    args.extend(["--schema", dir, "--vschema", dir].map(str::to_owned));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Coregate::local(name, &args)
}

fn rows(answer: &Answer) -> Vec<String> {
    let rows = answer.rows().into_iter();
    rows.map(|row| {
        let cells = row
            .into_iter()
            .map(|cell| cell.unwrap_or_else(|| "NULL".into()));
        cells.collect::<Vec<_>>().join("|")
    })
    .collect()
}
