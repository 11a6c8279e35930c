//! Moving primaries, types of tablets, and what was done by itself.
use super::api::{Reply, ask, ok};
use super::{Admin, Request, error};
use crate::owner::How;
use crate::reparent::{Emergency, Planned};
use crate::topology::Kind;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PlannedBody {
    new_primary: Option<String>,
}

pub(super) async fn planned(
    State(admin): State<Admin>,
    Path((keyspace, shard)): Path<(String, String)>,
    Json(body): Json<PlannedBody>,
) -> Reply {
    let how = How::Planned(Planned { new_primary: body.new_primary });
    ask(&admin, Request::Reparent { keyspace, shard, how }).await
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EmergencyBody {
    new_primary: Option<String>,
    ignore_replicas: Vec<String>,
}

pub(super) async fn emergency(
    State(admin): State<Admin>,
    Path((keyspace, shard)): Path<(String, String)>,
    Json(body): Json<EmergencyBody>,
) -> Reply {
    let emergency =
        Emergency { new_primary: body.new_primary, ignored: body.ignore_replicas, confirm: false };
    ask(&admin, Request::Reparent { keyspace, shard, how: How::Emergency(emergency) }).await
}

/// The body is the type: `replica`, `rdonly`, `spare`, `drained`.
pub(super) async fn change_type(
    State(admin): State<Admin>,
    Path(alias): Path<String>,
    body: String,
) -> Reply {
    let name = body.trim().to_ascii_lowercase();
    match serde_json::from_value::<Kind>(name.as_str().into()) {
        Ok(kind) => ask(&admin, Request::SetKind { alias, kind }).await,
        Err(_) => error(
            StatusCode::BAD_REQUEST,
            format!("{name:?} is no type of tablet: replica, rdonly, spare or drained"),
        ),
    }
}

pub(super) async fn recoveries(State(admin): State<Admin>) -> Reply {
    let shared = &admin.shared;
    ok(json!({"disabled": shared.recoveries_disabled(), "recoveries": shared.recoveries()}))
}

/// What is wrong with shards now, and what is done about it. VTOrc's name.
pub(super) async fn problems(State(admin): State<Admin>) -> Reply {
    Json(admin.shared.problems()).into_response()
}

/// The body is `enabled` or `disabled`.
pub(super) async fn switch(State(admin): State<Admin>, body: String) -> Reply {
    match body.trim() {
        "enabled" => ask(&admin, Request::DisableRecoveries(false)).await,
        "disabled" => ask(&admin, Request::DisableRecoveries(true)).await,
        other => error(StatusCode::BAD_REQUEST, format!("{other:?} must be enabled or disabled")),
    }
}
