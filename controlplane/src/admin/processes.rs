//! Who serves the same topology.
use super::Admin;
use super::api::{Reply, ok};
use crate::view::Shared;
use axum::extract::State;
use coregate_planner::control::{Metric, MetricKind};
use serde_json::{Value, json};

/// As far as the store has told; a process that is alone on its topology is the only one.
pub(super) async fn list(State(admin): State<Admin>) -> Reply {
    let shared = &admin.shared;
    let Some(roster) = shared.roster() else { return ok(json!([alone(shared)])) };
    let leader = roster.leader.as_ref().map(|leader| leader.process.as_str());
    let process = |process: &crate::store::Process| {
        let mut value = serde_json::to_value(process).unwrap_or_default();
        if let Value::Object(map) = &mut value {
            map.insert("leader".to_owned(), json!(leader == Some(process.id.as_str())));
            map.insert("this".to_owned(), json!(process.id == shared.process()));
        }
        value
    };
    ok(roster.processes.iter().map(process).collect())
}

fn alone(shared: &Shared) -> Value {
    let status = super::status_json(shared);
    json!({
        "id": "this", "version": status.get("version"), "pid": status.get("pid"),
            "mysql": status.get("mysql"),
        "leader": true, "this": true,
    })
}

/// Of the store, and who uses it. A process that is alone on its topology leads, and has its store.
pub(super) fn metrics(shared: &Shared) -> Vec<Metric> {
    let (up, processes) = match shared.roster() {
        Some(roster) => (roster.away.is_none(), roster.processes.len()),
        None => (true, 1),
    };
    let gauge =
        |name, help, value| Metric { name, help, kind: MetricKind::Gauge, labels: vec![], value };
    let flag = |so: bool| f64::from(u8::from(so));
    vec![
        gauge("coregate_store_up", "1 when the topology's store can be used.", flag(up)),
        gauge(
            "coregate_leader",
            "1 when this process replaces dead primaries.",
            flag(shared.leads()),
        ),
        gauge("coregate_processes", "Processes that serve the same topology.", processes as f64),
    ]
}
