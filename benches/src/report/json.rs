//! All figures, every round.
use super::{Case, Report, Row};
use crate::drive::Measured;
use serde_json::{Map, Value, json};

type Of = fn(&Measured) -> Option<f64>;

impl Report {
    pub(crate) fn json(&self) -> String {
        let machine: Map<String, Value> = self
            .facts
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(value.clone())))
            .collect();
        let cases: Vec<Value> = self.cases.iter().map(case).collect();
        format!("{:#}\n", json!({"machine": machine, "settings": self.settings, "cases": cases}))
    }
}

fn case(case: &Case) -> Value {
    json!({"load": case.load, "title": case.title, "protocol": case.protocol.name(),
        "connections": case.connections,
        "idle": case.idle, "seconds": case.seconds, "rate": case.rate,
        "loop": if case.rate.is_some() { "open" } else { "closed" },
        "targets": case.rows.iter().map(|r| row(case, r)).collect::<Vec<_>>()})
}

fn row(case: &Case, row: &Row) -> Value {
    let ratio = |to: Option<&Row>, of: Of| {
        let spread = to.and_then(|to| row.ratio(to, of));
        spread.map(|[median, least, greatest]| {
            json!({"median": median, "least": least,
                "greatest": greatest})
        })
    };
    let base = |of: Of| ratio(case.base(), of);
    json!({"target": row.name, "failure": row.failure,
        "cpu_us_per_query": row.median(Measured::cpu_us),
        "cpu_us_per_mb": row.median(Measured::cpu_us_per_mb),
        "queries_per_s": row.median(|m| Some(m.queries_per_s())),
        "transactions_per_s": row.median(|m| Some(m.transactions_per_s())),
        "mb_per_s": row.median(|m| Some(m.mb_per_s())),
        "p50_ms": row.median(|m| Some(m.latency_ms(0.5))),
        "p99_ms": row.median(|m| Some(m.latency_ms(0.99))),
        "peak_kib": row.median(|m| m.peak_kib.map(|kib| kib as f64)),
        "cpu_base": case.cpu_base().map(|base| base.name.clone()),
        "cpu_ratio": ratio(case.cpu_base(), Measured::cpu_us),
        "base": case.base().map(|base| base.name.clone()),
        "queries_per_s_ratio": base(|m| Some(m.queries_per_s())),
        "p50_ratio": base(|m| Some(m.latency_ms(0.5))),
        "p99_ratio": base(|m| Some(m.latency_ms(0.99))),
        "rounds": row.rounds.iter().map(round).collect::<Vec<_>>()})
}

fn round(m: &Measured) -> Value {
    let slices = m.slices.iter().map(|s| {
        json!({"seconds": s.seconds, "transactions": s.transactions, "p50_ms": s.p50_ms,
            "p99_ms": s.p99_ms})
    });
    json!({"queries": m.queries, "transactions": m.transactions, "retries": m.retries,
        "unsent": m.unsent,
        "bytes": m.bytes, "seconds": m.seconds, "cpu_us_per_query": m.cpu_us(),
            "queries_per_s": m.queries_per_s(),
        "peak_kib": m.peak_kib, "load_saturated": m.load_saturated,
        "p50_ms": m.latency_ms(0.5), "p95_ms": m.latency_ms(0.95), "p99_ms": m.latency_ms(0.99),
        "p999_ms": m.latency_ms(0.999), "max_ms": m.latency_ms(1.0),
            "slices": slices.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use serde_json::Value;

    #[test]
    fn ratios_name_what_they_are_to() {
        let json: Value = serde_json::from_str(&report().json()).unwrap();
        let coregate = &json["cases"][0]["targets"][1];
        assert_eq!(coregate["cpu_ratio"]["median"], 0.375);
        assert_eq!(
            (&coregate["cpu_base"], &coregate["rounds"][1]["queries"]),
            (&"haproxy".into(), &100.into())
        );
        assert_eq!(json["machine"]["kernel"], "6.18 & more");
    }
}
