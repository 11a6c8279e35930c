//! Transactions over several shards that are not finished: vtctldclient's DistributedTransaction.
use super::api::{Reply, ok};
use super::{Admin, error};
use crate::resolver;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde_json::json;
use std::collections::HashMap;

/// `?keyspace=` shows those that have a part there.
pub(super) async fn list(
    State(admin): State<Admin>,
    Query(query): Query<HashMap<String, String>>,
) -> Reply {
    let (mut all, silent) = resolver::unresolved(&admin.shared, None).await;
    if let Some(keyspace) = query.get("keyspace").filter(|name| !name.is_empty()) {
        let prefix = format!("{keyspace}/");
        let concerns = |name: &String| name.starts_with(&prefix);
        all.retain(|t| concerns(&t.decider) || t.participants.iter().any(concerns));
    }
    ok(json!({"transactions": all, "shards_not_asked": silent}))
}

pub(super) async fn info(State(admin): State<Admin>, Path(id): Path<String>) -> Reply {
    let (all, silent) = resolver::unresolved(&admin.shared, Some(&id)).await;
    match all.into_iter().next() {
        Some(found) => ok(json!({"transaction": found, "shards_not_asked": silent})),
        None => none(&id),
    }
}

pub(super) async fn conclude(State(admin): State<Admin>, Path(id): Path<String>) -> Reply {
    match resolver::conclude(&admin.shared, &id).await {
        (0, 0) => none(&id),
        (finished, 0) => ok(json!({"id": id, "finished": finished})),
        (finished, left) => error(
            StatusCode::CONFLICT,
            format!(
                "transaction {id}: {finished} branches are finished and {left} are left: the shard \
                    that decides cannot be asked, its owner \
                 is deciding now, or a branch's connection is still open; repeat it later"
            ),
        ),
    }
}

fn none(id: &str) -> Reply {
    let why = format!(
        "there is no prepared transaction {id}; distributed-transaction unresolved-list shows \
            those that there are"
    );
    error(StatusCode::NOT_FOUND, why)
}
