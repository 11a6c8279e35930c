//! One tablet: what its server says, and orders to it.
use super::api::{Reply, ok};
use super::{Admin, error};
use crate::Error;
use crate::backend::{PATIENCE, failed};
use crate::servers::replication::Server;
use crate::sql::{Row, Value as Cell};
use crate::topology::{KeyspaceRecord, Kind, TabletRecord};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use coregate_planner::snapshot::Tablet;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A tablet, with its keyspace, shard and server.
struct Found {
    keyspace: KeyspaceRecord,
    shard: String,
    record: TabletRecord,
    tablet: Arc<Tablet>,
}

fn find(admin: &Admin, alias: &str) -> Result<Found, Box<Reply>> {
    let missing = || {
        let why = format!("there is no tablet {alias}; get-tablets lists them");
        Box::new(error(StatusCode::NOT_FOUND, why))
    };
    let tablet = admin
        .shared
        .tablets()
        .into_iter()
        .find(|t| t.alias == alias)
        .ok_or_else(missing)?;
    for keyspace in admin.shared.records().iter() {
        for shard in &keyspace.shards {
            if let Some(record) = shard.tablets.iter().find(|t| t.alias == alias) {
                let (record, shard) = (record.clone(), shard.name.clone());
                return Ok(Found { keyspace: keyspace.clone(), shard, record, tablet });
            }
        }
    }
    Err(missing())
}

fn bad(e: &Error) -> Reply {
    error(StatusCode::BAD_GATEWAY, e)
}

pub(super) async fn tablet(State(admin): State<Admin>, Path(alias): Path<String>) -> Reply {
    match find(&admin, &alias) {
        Ok(found) => {
            ok(super::api::tablet_json(&admin, &found.keyspace, &found.shard, &found.record))
        }
        Err(reply) => *reply,
    }
}

/// Asks the server now, whatever the last check said.
pub(super) async fn health_check(State(admin): State<Admin>, Path(alias): Path<String>) -> Reply {
    let found = match find(&admin, &alias) {
        Ok(found) => found,
        Err(reply) => return *reply,
    };
    let facts = async {
        let mut server = Server::connect(&admin.shared.connector, &found.tablet, PATIENCE).await?;
        server.facts().await
    };
    let (answers, facts) = match facts.await {
        Ok(facts) => (true, serde_json::to_value(facts).unwrap_or_default()),
        Err(e) => (false, json!({"error": e.to_string()})),
    };
    let known = super::api::tablet_json(&admin, &found.keyspace, &found.shard, &found.record);
    ok(json!({"alias": alias, "answers": answers, "now": facts, "health": known.get("health")}))
}

/// What Vitess's FullStatus tells, as far as the server and the account let us: rows of SHOW
/// statements under their own names.
pub(super) async fn full_status(State(admin): State<Admin>, Path(alias): Path<String>) -> Reply {
    let found = match find(&admin, &alias) {
        Ok(found) => found,
        Err(reply) => return *reply,
    };
    match status_of(&admin, &found.tablet).await {
        Ok(mut status) => {
            status.insert("alias".to_owned(), json!(alias));
            ok(Value::Object(status))
        }
        Err(e) => bad(&e),
    }
}

/// Each with the name that it has in the answer; the first that the server knows counts.
const STATUS: [(&str, &[&str]); 4] = [
    ("primary_status", &["SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"]),
    ("replication_status", &["SHOW REPLICA STATUS", "SHOW SLAVE STATUS"]),
    (
        "variables",
        &["SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'version_comment', \
                'server_id', 'server_uuid', 'hostname', \
           'read_only', 'super_read_only', 'gtid_mode', 'gtid_executed', 'gtid_purged', \
           'gtid_current_pos', 'gtid_slave_pos', \
           'gtid_binlog_pos', 'gtid_strict_mode', 'binlog_format', 'binlog_row_image', 'log_bin', \
           'log_slave_updates', \
           'log_replica_updates', 'max_connections', 'max_allowed_packet', 'sql_mode', \
           'innodb_flush_log_at_trx_commit', 'sync_binlog') \
           OR Variable_name LIKE 'rpl_semi_sync%'"],
    ),
    (
        "status",
        &["SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime', 'Threads_connected', \
                'Threads_running', 'Max_used_connections') \
           OR Variable_name LIKE 'Rpl_semi_sync%' OR Variable_name LIKE 'wsrep_cluster_%'"],
    ),
];

async fn status_of(admin: &Admin, tablet: &Arc<Tablet>) -> Result<Map<String, Value>, Error> {
    let mut conn = admin.shared.connector.connect(tablet).await?;
    let mut status = Map::new();
    for (name, statements) in STATUS {
        let mut why = Value::Null;
        for sql in statements {
            match tokio::time::timeout(PATIENCE, conn.query::<Row>(*sql)).await {
                Err(_) => return Err(failed(tablet, "no answer to SHOW")),
                Ok(Ok(rows)) => {
                    why = shown(name, rows);
                    break;
                }
                // Not known there, or not for this account.
                Ok(Err(e @ crate::sql::Error::Server(_))) => why = json!({"error": e.to_string()}),
                Ok(Err(e)) => return Err(failed(tablet, e)),
            }
        }
        status.insert(name.to_owned(), why);
    }
    Ok(status)
}

/// Names and values become one object, other rows one each.
fn shown(name: &str, rows: Vec<Row>) -> Value {
    if matches!(name, "variables" | "status") {
        let pair = |row: &Row| Some((row.text(0)?, json!(row.text(1)?)));
        return Value::Object(rows.iter().filter_map(pair).collect());
    }
    let object = |row: Row| {
        let cells = row.into_pairs().map(|(name, cell)| match cell {
            Cell::Null => (name, Value::Null),
            cell => (name, json!(cell.text())),
        });
        Value::Object(cells.collect())
    };
    let mut objects: Vec<Value> = rows.into_iter().map(object).collect();
    match objects.len() {
        0 => Value::Null,
        1 => objects.remove(0),
        _ => objects.into(),
    }
}

/// The body is `true` or `false`. A replica that takes writes has a history of its own soon: that
/// is refused.
pub(super) async fn set_writable(
    State(admin): State<Admin>,
    Path(alias): Path<String>,
    body: String,
) -> Reply {
    let found = match find(&admin, &alias) {
        Ok(found) => found,
        Err(reply) => return *reply,
    };
    let writable = match body.trim() {
        "true" => true,
        "false" => false,
        other => return error(StatusCode::BAD_REQUEST, format!("{other:?} must be true or false")),
    };
    if writable && found.record.kind != Kind::Primary {
        let why = format!(
            "{alias} is a {}: only a primary may take writes; planned-reparent-shard makes it one",
            found.record.kind.name()
        );
        return error(StatusCode::BAD_REQUEST, why);
    }
    let set = async {
        let mut server = Server::connect(&admin.shared.connector, &found.tablet, PATIENCE).await?;
        server.set_read_only(!writable).await
    };
    match set.await {
        Ok(()) => ok(json!({"ok": true, "alias": alias, "writable": writable})),
        Err(e) => bad(&e),
    }
}

pub(super) async fn start_replication(
    State(admin): State<Admin>,
    Path(alias): Path<String>,
) -> Reply {
    replication(&admin, &alias, &["START REPLICA", "START SLAVE"]).await
}

pub(super) async fn stop_replication(
    State(admin): State<Admin>,
    Path(alias): Path<String>,
) -> Reply {
    replication(&admin, &alias, &["STOP REPLICA", "STOP SLAVE"]).await
}

/// In the words of newer servers, or of older ones.
async fn replication(admin: &Admin, alias: &str, statements: &[&str]) -> Reply {
    let found = match find(admin, alias) {
        Ok(found) => found,
        Err(reply) => return *reply,
    };
    if found.record.kind == Kind::Primary {
        return error(
            StatusCode::BAD_REQUEST,
            format!("{alias} is a primary: it does not replicate"),
        );
    }
    let run = async {
        let mut conn = admin.shared.connector.connect(&found.tablet).await?;
        let mut last = Ok(());
        for sql in statements {
            let ran = tokio::time::timeout(PATIENCE, conn.query_drop(*sql)).await;
            last = ran
                .map_err(|_| failed(&found.tablet, format!("{sql}: no answer")))?
                .map_err(|e| failed(&found.tablet, format!("{sql}: {e}")));
            if last.is_ok() {
                break;
            }
        }
        last
    };
    match run.await {
        Ok(()) => ok(json!({"ok": true, "alias": alias})),
        Err(e) => bad(&e),
    }
}
