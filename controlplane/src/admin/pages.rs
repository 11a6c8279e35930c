//! Simple pages, each of them JSON for those who ask for it.
use super::{Admin, error, status_json, wants_json};
use crate::view::Shared;
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use coregate_planner::control::PlanStats;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the cores may take to tell their plans.
const PATIENCE: Duration = Duration::from_secs(5);

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn page(title: &str, body: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Coregate: {title}</title><style>\
         body{{font:14px/1.5 sans-serif;margin:2em;max-width:110em}}table{{border-collapse:collapse}}\
         td,th{{border:1px solid #ccc;padding:.2em .6em;text-align:left;vertical-align:top}}code{{white-space:pre-wrap}}\
         </style><h1>{title}</h1>{body}</html>"
    ))
}

fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut out = String::from("<table><tr>");
    for name in head {
        out += &format!("<th>{name}</th>");
    }
    out += "</tr>";
    for row in rows {
        out += "<tr>";
        for cell in row {
            out += &format!("<td>{}</td>", escape(&cell));
        }
        out += "</tr>";
    }
    out + "</table>"
}

fn tablets(shared: &Shared) -> String {
    let health = shared.health();
    let (records, serving) = (shared.records(), shared.serving());
    let all = shared.tablets();
    let mut rows = Vec::new();
    for record in records.iter() {
        for shard in &record.shards {
            for tablet in &shard.tablets {
                let known = all.iter().find(|t| t.alias == tablet.alias);
                rows.extend(known.map(|t| (format!("{}/{}", record.name, shard.name), t)));
            }
        }
    }
    rows.extend(
        serving
            .drop_in
            .iter()
            .map(|tablet| ("all databases".to_owned(), tablet)),
    );
    let row = |(place, tablet): (String, &std::sync::Arc<coregate_planner::snapshot::Tablet>)| {
        let health = health.get(&tablet.alias).cloned().unwrap_or_default();
        let lag = health.lag_s.map_or_else(String::new, |s| format!("{s} s"));
        let state = format!("{:?}", health.state);
        let kind = format!("{:?}", tablet.kind);
        [place, tablet.alias.clone(), kind, state, lag, health.message.unwrap_or_default()]
    };
    table(["keyspace/shard", "tablet", "type", "state", "lag", ""], rows.into_iter().map(row))
}

/// The page: one file, in the program. It asks `/api` for what it shows.
pub(super) async fn index() -> Response<Body> {
    // Nothing from elsewhere is run or asked, and nobody else may show it.
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src \
        'unsafe-inline'; connect-src 'self'; \
        img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, include_str!("page.html")).into_response()
}

/// Statements of all cores, the same ones added up, that `/api/statements` tells of.
const STATEMENTS_SHOWN_MAX: usize = 100;

/// What took most time, of all cores together.
pub(super) async fn statements(State(admin): State<Admin>) -> Response<Body> {
    let Some(data) = admin.shared.data() else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "the data plane has not started yet");
    };
    let (tell, told) = oneshot::channel();
    data.plans(Box::new(move |plans| drop(tell.send(plans))));
    let Ok(Ok(plans)) = tokio::time::timeout(PATIENCE, told).await else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "the cores do not answer");
    };
    let mut all: std::collections::HashMap<(String, String), PlanStats> = Default::default();
    for plan in plans {
        match all.entry((plan.query.clone(), plan.destination.clone())) {
            std::collections::hash_map::Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.count += plan.count;
                known.errors += plan.errors;
                known.rows += plan.rows;
                known.time_us += plan.time_us;
                known.shard_queries += plan.shard_queries;
            }
            std::collections::hash_map::Entry::Vacant(new) => drop(new.insert(plan)),
        }
    }
    let mut all: Vec<PlanStats> = all.into_values().collect();
    all.sort_by_key(|p| std::cmp::Reverse(p.time_us));
    all.truncate(STATEMENTS_SHOWN_MAX);
    Json(all.iter().map(plan_json).collect::<Value>()).into_response()
}

pub(super) async fn status(
    State(admin): State<Admin>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    let status = status_json(&admin.shared);
    if wants_json(&headers, query.as_deref()) {
        return Json(json!({"status": status, "health": admin.shared.health()})).into_response();
    }
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let rows = status
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| [k.clone(), text(v)]);
    let body = table(["", ""], rows) + "<h2>Tablets</h2>" + &tablets(&admin.shared);
    page("Status", &body).into_response()
}

/// The plans of all cores, those that took most time first.
pub(super) async fn queryz(
    State(admin): State<Admin>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    let Some(data) = admin.shared.data() else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "the data plane has not started yet");
    };
    let (tell, told) = oneshot::channel();
    data.plans(Box::new(move |plans| drop(tell.send(plans))));
    let Ok(Ok(mut plans)) = tokio::time::timeout(PATIENCE, told).await else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "the cores do not answer");
    };
    plans.sort_by_key(|p| std::cmp::Reverse(p.time_us));
    if wants_json(&headers, query.as_deref()) {
        return Json(plans.iter().map(plan_json).collect::<Value>()).into_response();
    }
    let row = |p: &PlanStats| {
        let mean = p.time_us.checked_div(p.count).unwrap_or(0);
        let numbers =
            [p.count, p.errors, p.rows, p.shard_queries, p.time_us, mean].map(|n| n.to_string());
        let [count, errors, rows, shards, time, mean] = numbers;
        [
            p.query.clone(),
            p.class.clone(),
            p.destination.clone(),
            p.tables.join(", "),
            p.workload.clone().unwrap_or_default(),
            count,
            errors,
            rows,
            shards,
            time,
            mean,
        ]
    };
    let head = [
        "query",
        "class",
        "destination",
        "tables",
        "workload",
        "count",
        "errors",
        "rows",
        "shard queries",
        "time µs",
        "mean µs",
    ];
    page("Queries", &table(head, plans.iter().map(row))).into_response()
}

fn plan_json(p: &PlanStats) -> Value {
    json!({"Query": p.query, "Class": p.class, "Destination": p.destination, "Tables": p.tables,
        "Workload": p.workload, "Count": p.count,
        "Errors": p.errors, "Rows": p.rows, "ShardQueries": p.shard_queries, "TimeUs": p.time_us})
}
