//! `lookup-vindex`: begins what is to be done, and tells how far it is until it has ended.
use super::{Client, part, shards_of};
use crate::Failure;
use crate::cli::LookupVindexes;
use serde_json::{Value, json};
use std::time::Duration;

/// How often it is asked how far it is.
const LOOK: Duration = Duration::from_millis(300);

pub(super) fn run(client: &Client<'_>, command: &LookupVindexes) -> Result<Value, Failure> {
    let place = |keyspace: &str, name: &str| {
        format!("keyspaces/{}/lookup-vindexes/{}", part(keyspace), part(name))
    };
    let path = match command {
        LookupVindexes::Create {
            keyspace,
            name,
            kind,
            table_owner,
            table_owner_columns,
            lookup_keyspace,
            table,
            ignore_nulls,
        } => {
            let path = place(keyspace, name);
            let body = json!({"type": kind, "table_owner": table_owner,
                "table_owner_columns": table_owner_columns,
                "keyspace": lookup_keyspace, "table": table, "ignore_nulls": ignore_nulls});
            client.post_json(&path, &body)?;
            path
        }
        LookupVindexes::Show { keyspace, name } => return client.get(&place(keyspace, name), &[]),
        LookupVindexes::Verify { keyspace, name } => {
            let path = place(keyspace, name);
            client.post_json(&format!("{path}/verify"), &Value::Null)?;
            path
        }
        LookupVindexes::Externalize { keyspace, name } => {
            let path = place(keyspace, name);
            client.post_json(&format!("{path}/externalize"), &Value::Null)?;
            path
        }
    };
    until_ended(client, &path)
}

fn until_ended(client: &Client<'_>, path: &str) -> Result<Value, Failure> {
    let mut last = String::new();
    loop {
        let progress = client.get(path, &[])?;
        let now = line(&progress);
        if !now.is_empty() && now != last {
            eprintln!("{now}");
            last = now;
        }
        if progress.get("running").and_then(Value::as_bool) != Some(true) {
            return Ok(progress);
        }
        std::thread::sleep(LOOK);
    }
}

/// `-80: 1200 rows, done  80-: 500 rows`
fn line(progress: &Value) -> String {
    let of = |(name, shard): (&str, &Value)| {
        let rows = shard.get("rows").and_then(Value::as_u64).unwrap_or(0);
        let done = shard.get("done").and_then(Value::as_bool) == Some(true);
        format!("{name}: {rows} rows{}", if done { ", done" } else { "" })
    };
    shards_of(progress).map(of).collect::<Vec<_>>().join("  ")
}

/// It failed, or rows lack entries.
pub(super) fn is_bad(progress: &Value) -> bool {
    let count = |key: &str| progress.get(key).and_then(Value::as_u64).unwrap_or(0);
    progress.get("error").is_some_and(|e| !e.is_null()) || count("missing") + count("conflicts") > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_far_each_shard_is() {
        let progress = json!({"shards": [{"shard": "-80", "rows": 7, "done": true},
            {"shard": "80-", "rows": 2, "done": false}]});
        assert_eq!(line(&progress), "-80: 7 rows, done  80-: 2 rows");
        assert!(
            is_bad(&json!({"error": "no"})) && is_bad(&json!({"missing": 1})) && !is_bad(&progress)
        );
    }
}
