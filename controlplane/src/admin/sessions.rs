//! What clients' sessions do at the moment.
use super::api::{Reply, ok};
use super::{Admin, error};
use axum::extract::State;
use axum::http::StatusCode;
use coregate_planner::control::SessionInfo;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the cores may take to tell.
const PATIENCE: Duration = Duration::from_secs(5);
/// Sessions that are listed: those first that keep connections or work.
const SESSIONS_SHOWN_MAX: usize = 1_000;

pub(super) async fn list(State(admin): State<Admin>) -> Reply {
    let Some(data) = admin.shared.data() else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "the data plane has not started yet");
    };
    let (tell, told) = oneshot::channel();
    data.sessions(Box::new(move |sessions| drop(tell.send(sessions))));
    let Ok(Ok(mut sessions)) = tokio::time::timeout(PATIENCE, told).await else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "the cores do not answer");
    };
    let total = sessions.len();
    let rank = |s: &SessionInfo| (s.pinned_by.is_none() && !s.in_transaction, s.rests, s.id);
    sessions.sort_by_key(rank);
    sessions.truncate(SESSIONS_SHOWN_MAX);
    ok(json!({"total": total, "sessions": sessions.iter().map(session_json).collect::<Vec<_>>()}))
}

fn session_json(s: &SessionInfo) -> Value {
    json!({"id": s.id, "user": s.user, "host": s.host, "database": s.database, "rests": s.rests,
        "in_transaction": s.in_transaction, "seconds": s.seconds, "statement": s.statement,
            "pinned_by": s.pinned_by})
}
