//! The topology as a tree of paths, as etcd has it; a store of files is shown in the same form.
//! Passwords are left out.
use super::api::{Reply, ok};
use super::{Admin, error};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The cells of all tablets, and how many tablets each has.
pub(super) async fn cells(State(admin): State<Admin>) -> Reply {
    let mut cells: BTreeMap<String, usize> = BTreeMap::new();
    for record in admin.shared.records().iter() {
        for tablet in record.shards.iter().flat_map(|s| &s.tablets) {
            *cells.entry(tablet.cell().to_owned()).or_default() += 1;
        }
    }
    ok(cells
        .into_iter()
        .map(|(name, tablets)| json!({"name": name, "tablets": tablets}))
        .collect())
}

pub(super) async fn root(State(admin): State<Admin>) -> Reply {
    show(&admin, "").await
}

pub(super) async fn path(State(admin): State<Admin>, Path(path): Path<String>) -> Reply {
    show(&admin, &path).await
}

async fn show(admin: &Admin, path: &str) -> Reply {
    let Some(store) = admin.shared.store() else {
        return error(StatusCode::NOT_FOUND, "a drop-in has no topology");
    };
    let tree = match store.tree().await {
        Ok(tree) => tree,
        Err(e) => return error(StatusCode::BAD_GATEWAY, e),
    };
    let path = path.trim_matches('/');
    match at(&tree, path) {
        Some(node) => ok(node),
        None => error(StatusCode::NOT_FOUND, format!("there is nothing at /{path}")),
    }
}

/// What stands at a path: a value, or the names below it.
fn at(tree: &BTreeMap<String, String>, path: &str) -> Option<Value> {
    let data = tree
        .get(path)
        .map(|text| match serde_json::from_str::<Value>(text) {
            Ok(mut value) => {
                hide(&mut value);
                value
            }
            Err(_) => Value::String(text.clone()),
        });
    let below = if path.is_empty() { String::new() } else { format!("{path}/") };
    let children = tree.keys().filter_map(|key| key.strip_prefix(&below));
    let children: BTreeSet<&str> = children.filter_map(|rest| rest.split('/').next()).collect();
    if data.is_none() && children.is_empty() {
        return None;
    }
    Some(json!({"path": format!("/{path}"), "data": data, "children": children}))
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match key.as_str() {
                    "password" => *value = json!("..."),
                    _ => hide(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(hide),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_values_or_children_and_no_passwords() {
        let tree = BTreeMap::from([
            (
                "global/keyspaces/ks/Keyspace".to_owned(),
                r#"{"replication": {"password": "p"}}"#.to_owned(),
            ),
            ("global/keyspaces/ks/VSchema".to_owned(), "{}".to_owned()),
        ]);
        let names = at(&tree, "global/keyspaces/ks").unwrap();
        assert_eq!(names["children"], json!(["Keyspace", "VSchema"]));
        assert_eq!(at(&tree, "").unwrap()["children"], json!(["global"]));
        let leaf = at(&tree, "global/keyspaces/ks/Keyspace").unwrap();
        assert_eq!(leaf["data"]["replication"]["password"], "...");
        assert!(at(&tree, "global/key").is_none());
    }
}
