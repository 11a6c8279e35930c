//! `/api/...`: what `coregate ctl` calls.
use super::{Admin, Request, error, status_json};
use crate::owner::Answer;
use crate::plane::Command;
use crate::topology::{KeyspaceRecord, Kind, ShardRecord, TabletRecord};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use coregate_planner::keyrange::to_hex;
use coregate_planner::snapshot::KeyRange;
use coregate_planner::vschema;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

pub(super) type Reply = Response<Body>;

pub(super) fn ok(value: Value) -> Reply {
    Json(value).into_response()
}

fn no_keyspace(name: &str) -> Reply {
    error(StatusCode::NOT_FOUND, format!("there is no keyspace {name}"))
}

fn find(admin: &Admin, name: &str) -> Option<KeyspaceRecord> {
    admin
        .shared
        .records()
        .iter()
        .find(|r| r.name == name)
        .cloned()
}

fn keyspace_json(record: &KeyspaceRecord) -> Value {
    json!({"name": record.name, "keyspace": {
        "database": record.database(), "sharded": record.vschema.sharded || record.shards.len() > 1,
        "shards": record.shards.iter().map(|s| &s.name).collect::<Vec<_>>(),
            "version": record.version,
    }})
}

fn shard_json(record: &KeyspaceRecord, shard: &ShardRecord) -> Value {
    let range = KeyRange::of_shard(&shard.name).unwrap_or_default();
    let primary = shard
        .tablets
        .iter()
        .find(|t| t.kind == Kind::Primary)
        .map(|t| &t.alias);
    json!({"keyspace": record.name, "name": shard.name, "shard": {
        "primary_alias": primary, "is_primary_serving": true, "primary_term": shard.term,
        "primary_term_start_time": shard.primary_since,
        "key_range": {"start": to_hex(&range.start), "end": to_hex(&range.end)},
        "tablets": shard.tablets.iter().map(|t| &t.alias).collect::<Vec<_>>(),
    }})
}

pub(super) fn tablet_json(
    admin: &Admin,
    record: &KeyspaceRecord,
    shard: &str,
    tablet: &TabletRecord,
) -> Value {
    let health = admin
        .shared
        .health()
        .get(&tablet.alias)
        .cloned()
        .unwrap_or_default();
    let address = match (&tablet.socket, &tablet.host) {
        (Some(socket), _) => socket.display().to_string(),
        (None, host) => format!("{}:{}", host.as_deref().unwrap_or_default(), tablet.port),
    };
    json!({"alias": tablet.alias, "keyspace": record.name, "shard": shard,
        "type": tablet.kind.name(),
        "address": address, "health": health})
}

pub(super) async fn ping(State(admin): State<Admin>) -> Reply {
    ok(status_json(&admin.shared))
}

pub(super) async fn keyspaces(State(admin): State<Admin>) -> Reply {
    ok(admin.shared.records().iter().map(keyspace_json).collect())
}

pub(super) async fn keyspace(State(admin): State<Admin>, Path(name): Path<String>) -> Reply {
    find(&admin, &name).map_or_else(|| no_keyspace(&name), |record| ok(keyspace_json(&record)))
}

pub(super) async fn shards(State(admin): State<Admin>, Path(name): Path<String>) -> Reply {
    let Some(record) = find(&admin, &name) else { return no_keyspace(&name) };
    ok(record
        .shards
        .iter()
        .map(|shard| shard_json(&record, shard))
        .collect())
}

pub(super) async fn shard(
    State(admin): State<Admin>,
    Path((name, shard)): Path<(String, String)>,
) -> Reply {
    let Some(record) = find(&admin, &name) else { return no_keyspace(&name) };
    match record.shards.iter().find(|s| s.name == shard) {
        Some(found) => ok(shard_json(&record, found)),
        None => error(StatusCode::NOT_FOUND, format!("keyspace {name} has no shard {shard}")),
    }
}

/// A filter that can fit nothing is a mistake, not an empty list.
fn names_nothing(admin: &Admin, only: &BTreeMap<String, String>) -> Option<Reply> {
    let missing = |why: String| Some(error(StatusCode::NOT_FOUND, why));
    let records = admin.shared.records();
    let of_keyspace = |r: &&KeyspaceRecord| {
        only.get("keyspace")
            .is_none_or(|k| r.name.eq_ignore_ascii_case(k))
    };
    let mut fitting = records.iter().filter(of_keyspace).peekable();
    if let (Some(keyspace), None) = (only.get("keyspace"), fitting.peek()) {
        return missing(format!("there is no keyspace {keyspace}"));
    }
    let has = |r: &KeyspaceRecord, shard: &str| {
        r.shards.iter().any(|s| s.name.eq_ignore_ascii_case(shard))
    };
    if let Some(shard) = only.get("shard")
        && !fitting.any(|r| has(r, shard))
    {
        return missing(format!("there is no shard {shard}"));
    }
    let kind = only.get("type")?;
    let known = serde_json::from_value::<Kind>(kind.to_ascii_lowercase().into()).is_ok();
    let why = format!("{kind:?} is no type of tablet: primary, replica, rdonly, spare or drained");
    (!known).then(|| error(StatusCode::BAD_REQUEST, why))
}

/// `?keyspace=`, `&shard=`, `&type=` narrow the list.
pub(super) async fn tablets(
    State(admin): State<Admin>,
    Query(only): Query<BTreeMap<String, String>>,
) -> Reply {
    let is = |key: &str, value: &str| {
        only.get(key)
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    if let Some(why) = names_nothing(&admin, &only) {
        return why;
    }
    let mut list = Vec::new();
    for record in admin
        .shared
        .records()
        .iter()
        .filter(|r| is("keyspace", &r.name))
    {
        for shard in record.shards.iter().filter(|s| is("shard", &s.name)) {
            for tablet in shard.tablets.iter().filter(|t| is("type", t.kind.name())) {
                list.push(tablet_json(&admin, record, &shard.name, tablet));
            }
        }
    }
    if only.is_empty()
        && let Some(upstream) = &admin.shared.serving().drop_in
    {
        let health = admin
            .shared
            .health()
            .get(&upstream.alias)
            .cloned()
            .unwrap_or_default();
        list.push(
            json!({"alias": upstream.alias, "keyspace": null, "shard": null, "type": "PRIMARY",
            "address": crate::backend::name(upstream), "health": health}),
        );
    }
    ok(list.into())
}

pub(super) async fn vschema(State(admin): State<Admin>, Path(name): Path<String>) -> Reply {
    let Some(record) = find(&admin, &name) else { return no_keyspace(&name) };
    Json(record.vschema).into_response()
}

/// The tables as the cores know them.
pub(super) async fn schema(State(admin): State<Admin>, Path(name): Path<String>) -> Reply {
    let snapshot = admin.shared.snapshot();
    let Some(keyspace) = snapshot.keyspaces.iter().find(|k| k.name == name) else {
        return no_keyspace(&name);
    };
    let mut tables: Vec<_> = keyspace.tables.values().collect();
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    let columns = |t: &coregate_planner::snapshot::Table| -> Vec<Value> {
        t.columns
            .iter()
            .map(|c| json!({"name": c.name, "type": c.data_type, "collation": c.collation}))
            .collect()
    };
    let table = |t: &&std::sync::Arc<coregate_planner::snapshot::Table>| {
        json!({"name": t.name,
        "in_vschema": t.in_vschema, "columns": columns(t)})
    };
    ok(json!({"keyspace": name, "tables": tables.iter().map(table).collect::<Vec<_>>()}))
}

/// How far the last `apply-schema` is.
pub(super) async fn schema_progress(
    State(admin): State<Admin>,
    Path(keyspace): Path<String>,
) -> Reply {
    match admin.shared.schema_progress(&keyspace) {
        Some(progress) => Json(progress).into_response(),
        None => ok(json!({"running": false, "shards": []})),
    }
}

/// Has the control plane's loop do it, and waits until the cores use the result.
pub(super) async fn ask(admin: &Admin, request: Request) -> Reply {
    let (answer, answered) = oneshot::channel();
    if admin
        .commands
        .send(Command::Admin(request, Answer::Admin(answer)))
        .await
        .is_err()
    {
        return error(StatusCode::SERVICE_UNAVAILABLE, "the control plane is shutting down");
    }
    match answered.await {
        Ok(Ok(value)) => ok(value),
        Ok(Err(message)) => error(StatusCode::BAD_REQUEST, message),
        Err(_) => error(StatusCode::SERVICE_UNAVAILABLE, "the control plane is shutting down"),
    }
}

pub(super) async fn apply_vschema(
    State(admin): State<Admin>,
    Path(keyspace): Path<String>,
    body: String,
) -> Reply {
    if find(&admin, &keyspace).is_none() {
        return no_keyspace(&keyspace);
    }
    if let Some(empty) = refuse_empty(&body) {
        return empty;
    }
    match vschema::Keyspace::from_json(&body) {
        Ok(vschema) => ask(&admin, Request::ApplyVschema { keyspace, vschema }).await,
        Err(e) => error(StatusCode::BAD_REQUEST, e),
    }
}

/// A file that was cut off must not take everything away.
fn refuse_empty(body: &str) -> Option<Reply> {
    let why = "the body is empty: write {} to take everything away";
    body.trim()
        .is_empty()
        .then(|| error(StatusCode::BAD_REQUEST, why))
}

/// `?recursive=true`, where it has shards; its databases stay.
pub(super) async fn delete_keyspace(
    State(admin): State<Admin>,
    Path(keyspace): Path<String>,
    Query(how): Query<BTreeMap<String, String>>,
) -> Reply {
    let Some(record) = find(&admin, &keyspace) else { return no_keyspace(&keyspace) };
    if how.get("recursive").is_none_or(|r| r != "true") {
        let why = format!(
            "keyspace {keyspace} has {} shards: --recursive removes them, too",
            record.shards.len()
        );
        return error(StatusCode::BAD_REQUEST, why);
    }
    ask(&admin, Request::DeleteKeyspace(keyspace)).await
}

pub(super) async fn rules(State(admin): State<Admin>) -> Reply {
    Json(admin.shared.rules()).into_response()
}

pub(super) async fn apply_rules(State(admin): State<Admin>, body: String) -> Reply {
    if let Some(empty) = refuse_empty(&body) {
        return empty;
    }
    match vschema::RoutingRules::from_json(&body) {
        Ok(rules) => ask(&admin, Request::ApplyRules(rules)).await,
        Err(e) => error(StatusCode::BAD_REQUEST, e),
    }
}

/// The body is SQL, run on every shard's primary.
pub(super) async fn apply_schema(
    State(admin): State<Admin>,
    Path(keyspace): Path<String>,
    sql: String,
) -> Reply {
    if find(&admin, &keyspace).is_none() {
        return no_keyspace(&keyspace);
    }
    ask(&admin, Request::ApplySchema { keyspace, sql }).await
}

pub(super) async fn reload(State(admin): State<Admin>) -> Reply {
    ask(&admin, Request::Reload).await
}
