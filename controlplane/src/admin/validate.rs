//! Is all as it should be?
use super::Admin;
use super::api::{Reply, ok};
use crate::Error;
use crate::backend::{PATIENCE, failed};
use crate::topology::KeyspaceRecord;
use crate::view::Shared;
use axum::extract::{Query, State};
use coregate_planner::snapshot::Tablet;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What each table looks like.
type Tables = BTreeMap<String, String>;

/// `?keyspace=` looks at one only. An empty list: nothing is wrong.
pub(super) async fn validate(
    State(admin): State<Admin>,
    Query(only): Query<BTreeMap<String, String>>,
) -> Reply {
    let shared = &admin.shared;
    let wanted = only.get("keyspace");
    let records = shared.records();
    if let Some(name) = wanted.filter(|name| !records.iter().any(|r| r.name == **name)) {
        return super::error(
            axum::http::StatusCode::NOT_FOUND,
            format!("there is no keyspace {name}"),
        );
    }
    let mut found = shared.missing_lines();
    if let Some(roster) = shared.roster() {
        found.extend(
            roster
                .away
                .map(|why| format!("the topology's store cannot be used: {why}")),
        );
        let newest = roster
            .processes
            .iter()
            .map(|p| p.revision)
            .max()
            .unwrap_or(0);
        let late = roster.processes.iter().filter(|p| p.revision < newest);
        found.extend(
            late.map(|p| format!("process {}: it uses revision {} of {newest}", p.id, p.revision)),
        );
        if roster.leader.is_none() {
            found.push("no process leads".to_owned());
        }
    }
    for record in records
        .iter()
        .filter(|r| wanted.is_none_or(|name| *name == r.name))
    {
        found.extend(tablets(shared, record));
        found.extend(schemas(shared, record).await);
    }
    ok(json!({"results": found}))
}

fn tablets(shared: &Shared, record: &KeyspaceRecord) -> Vec<String> {
    let health = shared.health();
    let mut found = Vec::new();
    for shard in &record.shards {
        for tablet in &shard.tablets {
            let Some(health) = health.get(&tablet.alias) else { continue };
            if !health.serves() {
                let why = health
                    .message
                    .clone()
                    .unwrap_or_else(|| format!("{:?}", health.state));
                let name = tablet.kind.name();
                found.push(format!(
                    "{}/{}: tablet {} ({name}): {why}",
                    record.name, shard.name, tablet.alias
                ));
            }
        }
    }
    found
}

/// All primaries of a keyspace have the same tables.
async fn schemas(shared: &Shared, record: &KeyspaceRecord) -> Vec<String> {
    let serving = shared.serving();
    let mut first: Option<(String, Tables)> = None;
    let mut found = Vec::new();
    for shard in &record.shards {
        let of_shard = serving
            .shards
            .values()
            .find(|s| s.keyspace == record.name && s.shard == shard.name);
        let Some(primary) = of_shard.and_then(|s| s.primary()).cloned() else { continue };
        let tables = match read(shared, &primary, record.database()).await {
            Ok(tables) => tables,
            Err(e) => {
                found.push(format!(
                    "{}/{}: its tables cannot be read: {e}",
                    record.name, shard.name
                ));
                continue;
            }
        };
        match &first {
            None => first = Some((shard.name.clone(), tables)),
            Some((name, of_first)) => {
                let differ = differences(of_first, &tables);
                found.extend(differ.into_iter().map(|table| {
                    format!(
                        "{}: table {table} is not the same on the shards {name} and {}",
                        record.name, shard.name
                    )
                }));
            }
        }
    }
    found
}

fn differences(a: &Tables, b: &Tables) -> Vec<String> {
    let names = a
        .keys()
        .chain(b.keys().filter(|name| !a.contains_key(*name)));
    names
        .filter(|name| a.get(*name) != b.get(*name))
        .cloned()
        .collect()
}

async fn read(shared: &Shared, tablet: &Arc<Tablet>, database: &str) -> Result<Tables, Error> {
    let mut conn = shared.connector.connect(tablet).await?;
    let sql = "SELECT table_name, CONCAT_WS(' ', column_name, column_type, is_nullable, \
        column_key, COALESCE(column_default, '-'), extra, \
               COALESCE(collation_name, '-')) FROM information_schema.columns WHERE table_schema = \
               ? \
               ORDER BY table_name, ordinal_position";
    let rows = conn.exec::<(String, String)>(sql, (database,));
    let rows = match tokio::time::timeout(PATIENCE, rows).await {
        Ok(rows) => rows.map_err(|e| failed(tablet, e))?,
        Err(_) => return Err(failed(tablet, "no answer to a question for its columns")),
    };
    let mut tables = Tables::new();
    for (table, column) in rows {
        let text = tables.entry(table).or_default();
        text.push_str(&column);
        text.push('\n');
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_differ_or_are_missing_are_named() {
        let of = |list: &[(&str, &str)]| -> Tables {
            list.iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect()
        };
        let (a, b) =
            (of(&[("t", "1"), ("u", "1"), ("v", "1")]), of(&[("t", "1"), ("u", "2"), ("w", "1")]));
        assert_eq!(differences(&a, &b), ["u", "v", "w"]);
    }
}
