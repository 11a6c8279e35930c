//! `/metrics` in Prometheus's text format, and the same numbers as JSON under `/debug/vars`.
use super::{Admin, status_json};
use crate::health::State as HealthState;
use crate::view::Shared;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use coregate_planner::control::{Metric, MetricKind};
use coregate_planner::serving::Writes;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The cores' metrics and our own.
fn collect(shared: &Shared) -> Vec<Metric> {
    let mut all = shared.data().map_or_else(Vec::new, |data| data.metrics());
    let gauge =
        |name, help, labels, value| Metric { name, help, kind: MetricKind::Gauge, labels, value };
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    all.push(gauge(
        "coregate_build_info",
        "Always 1; the label is Coregate's version.",
        version,
        1.0,
    ));
    let uptime = shared.started.elapsed().as_secs_f64();
    all.push(gauge("coregate_uptime_seconds", "Time since the start.", vec![], uptime));
    let snapshot = shared.snapshot().version as f64;
    all.push(gauge(
        "coregate_snapshot_version",
        "Version of the published snapshot.",
        vec![],
        snapshot,
    ));
    for (alias, health) in shared.health() {
        let labels = vec![("tablet", alias)];
        let up = f64::from(u8::from(health.state == HealthState::Serving));
        all.push(gauge(
            "coregate_tablet_serving",
            "1 when the server is as it should be.",
            labels.clone(),
            up,
        ));
        if let Some(lag) = health.lag_s {
            let help = "How far a replica is behind its primary.";
            let lag = health.lag_ms.map_or(lag as f64, |ms| ms as f64 / 1_000.0);
            all.push(gauge("coregate_tablet_lag_seconds", help, labels, lag));
        }
    }
    repairs(shared, &mut all);
    let moving = shared.serving();
    let moving = moving
        .shards
        .values()
        .filter(|s| s.writes == Writes::Moving)
        .count() as f64;
    all.extend(super::processes::metrics(shared));
    place(&mut all, shared);
    all.push(gauge(
        "coregate_shards_moving",
        "Shards whose primary is being replaced.",
        vec![],
        moving,
    ));
    all
}

/// What is wrong with shards, and what was done about it.
fn repairs(shared: &Shared, all: &mut Vec<Metric>) {
    let gauge =
        |name, help, labels, value| Metric { name, help, kind: MetricKind::Gauge, labels, value };
    let recoveries = shared.recoveries();
    for (result, ok) in [("done", true), ("failed", false)] {
        let count = recoveries.iter().filter(|r| r.ok == ok).count() as f64;
        let help = "Primaries moved and replication repaired, of the last 256.";
        all.push(gauge("coregate_recoveries", help, vec![("result", result.to_owned())], count));
    }
    for (result, count) in ["done", "failed"].into_iter().zip(shared.recovered()) {
        let help = "Primaries moved and replication repaired since the start.";
        let (name, kind, value) = ("coregate_recoveries_total", MetricKind::Counter, count as f64);
        all.push(Metric { name, help, kind, labels: vec![("result", result.to_owned())], value });
    }
    let problems = shared.problems();
    for record in shared.records().iter() {
        for shard in &record.shards {
            let of_shard = problems
                .iter()
                .filter(|p| p.keyspace == record.name && p.shard == shard.name);
            let labels = vec![("keyspace", record.name.clone()), ("shard", shard.name.clone())];
            let help = "Things that are wrong with a shard's servers.";
            all.push(gauge("coregate_shard_problems", help, labels, of_shard.count() as f64));
        }
    }
    for problem in problems {
        let labels = vec![
            ("keyspace", problem.keyspace),
            ("shard", problem.shard),
            // Without the tablet, which is one of many.
            (
                "analysis",
                problem
                    .analysis
                    .split(' ')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            ),
        ];
        if all
            .iter()
            .any(|m: &Metric| m.name == "coregate_shard_problem" && m.labels == labels)
        {
            continue;
        }
        let help = "1 for each thing that is wrong with a shard's servers, by vtorc's names.";
        all.push(gauge("coregate_shard_problem", help, labels, 1.0));
    }
}

/// Parts of a histogram stand under one name.
fn family(metric: &Metric) -> &'static str {
    let parts = ["_bucket", "_sum", "_count"];
    let base = parts.iter().find_map(|part| metric.name.strip_suffix(part));
    base.filter(|_| metric.kind == MetricKind::Histogram)
        .unwrap_or(metric.name)
}

/// What is told of a tablet is told of its shard, too.
fn place(all: &mut [Metric], shared: &Shared) {
    let records = shared.records();
    let mut places = BTreeMap::new();
    for record in records.iter() {
        for shard in &record.shards {
            for tablet in &shard.tablets {
                places
                    .insert(tablet.alias.as_str(), (&record.name, &shard.name, tablet.kind.name()));
            }
        }
    }
    for metric in all.iter_mut() {
        let alias = metric.labels.iter().find(|(label, _)| *label == "tablet");
        let Some((keyspace, shard, kind)) = alias.and_then(|(_, alias)| places.get(alias.as_str()))
        else {
            continue;
        };
        metric.labels.extend([
            ("keyspace", (*keyspace).clone()),
            ("shard", (*shard).clone()),
            ("type", kind.to_ascii_lowercase()),
        ]);
    }
}

/// Samples of one name must stand together, under one HELP and TYPE.
fn render(mut all: Vec<Metric>) -> String {
    all.sort_by_key(family);
    let mut text = String::new();
    let mut last = "";
    for metric in &all {
        let name = family(metric);
        if name != last {
            let kind = match metric.kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram => "histogram",
            };
            let help = metric.help.replace('\\', "\\\\").replace('\n', "\\n");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            last = name;
        }
        text.push_str(metric.name);
        for (i, (label, value)) in metric.labels.iter().enumerate() {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(text, "{}{label}=\"{value}\"", if i == 0 { '{' } else { ',' });
        }
        let _ =
            writeln!(text, "{} {}", if metric.labels.is_empty() { "" } else { "}" }, metric.value);
    }
    text
}

pub(super) async fn prometheus(State(admin): State<Admin>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        render(collect(&admin.shared)),
    )
}

/// `{"name": value}` or `{"name": [{"labels": {...}, "value": n}]}`.
pub(super) async fn vars(State(admin): State<Admin>) -> Json<Value> {
    let mut out = Map::new();
    out.insert("status".to_owned(), status_json(&admin.shared));
    for metric in collect(&admin.shared) {
        if metric.labels.is_empty() {
            out.insert(metric.name.to_owned(), json!(metric.value));
            continue;
        }
        let labels: Map<String, Value> = metric
            .labels
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.into()))
            .collect();
        let list = out.entry(metric.name).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(json!({"labels": labels, "value": metric.value}));
        }
    }
    Json(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_name_stand_together() {
        let metric = |name, labels, value| Metric {
            name,
            help: "h",
            kind: MetricKind::Counter,
            labels,
            value,
        };
        let text = render(vec![
            metric("b", vec![("l", "x\"y".to_owned()), ("m", "z".to_owned())], 1.0),
            metric("a", vec![], 2.5),
            metric("b", vec![("l", "w".to_owned())], 3.0),
        ]);
        let wanted = "# HELP a h\n# TYPE a counter\na 2.5\n# HELP b h\n# TYPE b counter\n\
                      b{l=\"x\\\"y\",m=\"z\"} 1\nb{l=\"w\"} 3\n";
        assert_eq!(text, wanted);
    }
}
