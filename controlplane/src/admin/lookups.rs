//! Lookup vindexes for tables that have rows already.
use super::api::{Reply, ask, ok};
use super::{Admin, Request, error};
use crate::backfill::{Job, definition};
use crate::plane::Command;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use coregate_planner::control::ControlRequest;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// `consistent_lookup_unique` and the like.
    r#type: String,
    table_owner: String,
    table_owner_columns: Vec<String>,
    /// Where the lookup table is; made if it is not there.
    #[serde(default)]
    keyspace: Option<String>,
    #[serde(default)]
    table: Option<String>,
    #[serde(default)]
    ignore_nulls: bool,
}

type Refused = (StatusCode, String);

fn refused(why: impl Into<String>) -> Refused {
    (StatusCode::BAD_REQUEST, why.into())
}

/// What becomes of a request, or an error of it.
async fn done(admin: &Admin, request: Request) -> Result<(), Refused> {
    let reply = ask(admin, request).await;
    if reply.status().is_success() {
        return Ok(());
    }
    let status = reply.status();
    let body = axum::body::to_bytes(reply.into_body(), super::MAX_BODY)
        .await
        .unwrap_or_default();
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    let why = told.get("error").and_then(Value::as_str);
    Err((status, why.map_or_else(|| String::from_utf8_lossy(&body).into_owned(), str::to_owned)))
}

async fn alter(admin: &Admin, sql: String) -> Result<(), Refused> {
    let (tell, told) = oneshot::channel();
    let request = ControlRequest::AlterVschema { sql, keyspace: None };
    let command = Command::Control(request, Box::new(move |result| drop(tell.send(result))));
    let gone =
        || (StatusCode::SERVICE_UNAVAILABLE, "the control plane is shutting down".to_owned());
    admin.commands.send(command).await.map_err(|_| gone())?;
    told.await
        .map_err(|_| gone())?
        .map(drop)
        .map_err(|e| refused(e.message))
}

/// Makes what is not there: the lookup table, its vindex where it is spread, and the vindex,
/// `write_only`.
async fn define(admin: &Admin, keyspace: &str, name: &str, body: &Body) -> Result<(), Refused> {
    let snapshot = admin.shared.snapshot();
    let wanted = definition::Wanted {
        keyspace,
        name,
        kind: &body.r#type,
        owner: &body.table_owner,
        columns: &body.table_owner_columns,
        lookup_keyspace: body.keyspace.as_deref().unwrap_or(keyspace),
        table: body.table.as_deref().unwrap_or(name),
        ignore_nulls: body.ignore_nulls,
    };
    let steps = wanted.steps(&snapshot).map_err(refused)?;
    if let Some(sql) = steps.create {
        let keyspace = wanted.lookup_keyspace.to_owned();
        done(admin, Request::ApplySchema { keyspace, sql }).await?;
    }
    for sql in steps.alter {
        alter(admin, sql).await?;
    }
    Ok(())
}

/// Begins to fill it; what is there already is passed over.
pub(super) async fn create(
    State(admin): State<Admin>,
    Path((keyspace, name)): Path<(String, String)>,
    Json(body): Json<Body>,
) -> Reply {
    if let Err((status, why)) = define(&admin, &keyspace, &name, &body).await {
        return error(status, why);
    }
    let mut job = match Job::begin(&admin.shared, &keyspace, &name, "create") {
        Ok(job) => job,
        Err(why) => return error(StatusCode::BAD_REQUEST, why),
    };
    tokio::spawn(async move {
        let result = job.fill().await;
        job.end(result);
    });
    ok(json!({"ok": true}))
}

/// Counts what does not fit.
pub(super) async fn verify(
    State(admin): State<Admin>,
    Path((keyspace, name)): Path<(String, String)>,
) -> Reply {
    let mut job = match Job::begin(&admin.shared, &keyspace, &name, "verify") {
        Ok(job) => job,
        Err(why) => return error(StatusCode::BAD_REQUEST, why),
    };
    tokio::spawn(async move {
        let mut result = job.find_missing().await;
        if result.is_ok() {
            result = job.find_dangling().await;
        }
        job.end(result);
    });
    ok(json!({"ok": true}))
}

/// Lets queries use it, if every row has its entry.
pub(super) async fn externalize(
    State(admin): State<Admin>,
    Path((keyspace, name)): Path<(String, String)>,
) -> Reply {
    let mut job = match Job::begin(&admin.shared, &keyspace, &name, "externalize") {
        Ok(job) => job,
        Err(why) => return error(StatusCode::BAD_REQUEST, why),
    };
    tokio::spawn(async move {
        let mut result = job.find_missing().await.and_then(|()| job.is_complete());
        if result.is_ok() {
            let request = Request::Externalize { keyspace, vindex: name };
            result = done(&admin, request).await.map_err(|(_, why)| why);
        }
        job.end(result);
    });
    ok(json!({"ok": true}))
}

/// How far it is.
pub(super) async fn show(
    State(admin): State<Admin>,
    Path((keyspace, name)): Path<(String, String)>,
) -> Reply {
    match admin.shared.backfill(&keyspace, &name) {
        Some(progress) => ok(serde_json::to_value(progress).unwrap_or_default()),
        None => error(
            StatusCode::NOT_FOUND,
            format!(
                "nothing was done about vindex {name} of keyspace {keyspace} since this process \
                    started"
            ),
        ),
    }
}
