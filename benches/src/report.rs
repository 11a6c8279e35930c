//! Figures as a table and as JSON.
use crate::args::Kind;
use crate::load::Measured;
use serde_json::{Value, json};
use std::fmt;

/// One kind of query against all targets.
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) connections: u32,
    pub(crate) seconds: u64,
    pub(crate) rate: Option<u32>,
    pub(crate) rows: Vec<Row>,
}

/// One target.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) rounds: Vec<Measured>,
    pub(crate) failure: Option<String>,
}

impl Row {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), rounds: Vec::new(), failure: None }
    }

    fn median(&self, of: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        median(self.rounds.iter().filter_map(of).collect())
    }

    /// The median of the rounds' ratios, each to the other's turn in the same round, with the least and the greatest.
    fn ratio(&self, to: &Self, of: impl Fn(&Measured) -> Option<f64>) -> Option<[f64; 3]> {
        let pairs = self.rounds.iter().zip(&to.rounds);
        let ratios: Vec<f64> = pairs
            .filter_map(|(a, b)| of(a).zip(of(b)))
            .filter(|(_, b)| *b > 0.0)
            .map(|(a, b)| a / b)
            .collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = ratios.iter().copied().fold(0.0, f64::max);
        Some([median(ratios)?, least, greatest])
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied()?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some((upper + values.get(middle.checked_sub(1)?).copied()?) / 2.0)
}

impl Case {
    fn of(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    fn title(&self) -> String {
        let pace = match self.rate {
            Some(rate) => format!("{rate} queries/s asked for, latency from when each was due"),
            None => "closed loop: latency is that of the answers that came, waiting to send is not in it"
                .to_owned(),
        };
        let rounds = self
            .rows
            .iter()
            .map(|row| row.rounds.len())
            .max()
            .unwrap_or_default();
        let (kind, n, seconds) = (self.kind.name(), self.connections, self.seconds);
        let plural = if n == 1 { "" } else { "s" };
        format!("point select, {kind}, {n} connection{plural}, {rounds} x {seconds} s; {pace}")
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.title())?;
        writeln!(
            f,
            "  {:12} {:>12} {:>22} {:>11} {:>9} {:>9} {:>9} {:>9}",
            "target", "CPU us/query", "x haproxy", "queries/s", "x direct", "p50 ms", "x direct", "p99 ms"
        )?;
        for row in &self.rows {
            if let Some(why) = &row.failure {
                writeln!(f, "  {:12} FAILED: {why}", row.name)?;
                continue;
            }
            let cpu = row
                .median(Measured::cpu_us)
                .map_or_else(|| "-".to_owned(), |us| format!("{us:.2}"));
            let ratio = self
                .of("haproxy")
                .and_then(|h| row.ratio(h, Measured::cpu_us));
            let ratio = ratio.map_or_else(|| "-".to_owned(), |[m, a, z]| format!("{m:.2} [{a:.2}-{z:.2}]"));
            let direct = |of: fn(&Measured) -> Option<f64>| {
                let ratio = self.of("direct").and_then(|d| row.ratio(d, of));
                ratio.map_or_else(|| "-".to_owned(), |[m, ..]| format!("{m:.2}"))
            };
            let number = |of: fn(&Measured) -> Option<f64>| row.median(of).unwrap_or_default();
            writeln!(
                f,
                "  {:12} {cpu:>12} {ratio:>22} {:>11.0} {:>9} {:>9.3} {:>9} {:>9.3}",
                row.name,
                number(|m| Some(m.per_second())),
                direct(|m| Some(m.per_second())),
                number(|m| Some(m.latency_ms(0.5))),
                direct(|m| Some(m.latency_ms(0.5))),
                number(|m| Some(m.latency_ms(0.99))),
            )?;
        }
        Ok(())
    }
}

/// All cases, with every round.
pub(crate) fn json(cases: &[Case]) -> String {
    let round = |m: &Measured| {
        json!({"queries": m.queries, "seconds": m.seconds, "cpu_us_per_query": m.cpu_us(), "queries_per_s": m.per_second(),
            "p50_ms": m.latency_ms(0.5), "p99_ms": m.latency_ms(0.99), "p999_ms": m.latency_ms(0.999)})
    };
    let row = |case: &Case, row: &Row| {
        let ratio = |to: &str, of: fn(&Measured) -> Option<f64>| {
            case.of(to)
                .and_then(|to| row.ratio(to, of))
                .map(|[m, ..]| m)
        };
        json!({"target": row.name, "failure": row.failure,
            "cpu_us_per_query": row.median(Measured::cpu_us),
            "queries_per_s": row.median(|m| Some(m.per_second())),
            "p50_ms": row.median(|m| Some(m.latency_ms(0.5))),
            "p99_ms": row.median(|m| Some(m.latency_ms(0.99))),
            "cpu_to_haproxy": ratio("haproxy", Measured::cpu_us),
            "queries_per_s_to_direct": ratio("direct", |m| Some(m.per_second())),
            "rounds": row.rounds.iter().map(round).collect::<Vec<_>>()})
    };
    let case = |case: &Case| {
        json!({"query": case.kind.name(), "connections": case.connections, "seconds": case.seconds, "rate": case.rate,
            "loop": if case.rate.is_some() { "open" } else { "closed" },
            "targets": case.rows.iter().map(|r| row(case, r)).collect::<Vec<_>>()})
    };
    let all: Vec<Value> = cases.iter().map(case).collect();
    format!("{:#}\n", Value::from(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;

    fn measured(queries: u64, cpu_s: f64) -> Measured {
        let mut latency = Histogram::new(3).unwrap();
        latency.record(1_000_000).unwrap();
        Measured { queries, seconds: 1.0, cpu_s: Some(cpu_s), latency }
    }

    #[test]
    fn ratios_are_of_neighbours_in_time() {
        let mut haproxy = Row::new("haproxy");
        haproxy.rounds = vec![measured(100, 1.0), measured(100, 4.0)];
        let mut coregate = Row::new("coregate");
        coregate.rounds = vec![measured(100, 0.5), measured(100, 1.0)];
        let [middle, least, greatest] = coregate.ratio(&haproxy, Measured::cpu_us).unwrap();
        assert_eq!((middle, least, greatest), (0.375, 0.25, 0.5));
        let case =
            Case { kind: Kind::Text, connections: 1, seconds: 1, rate: None, rows: vec![haproxy, coregate] };
        let text = case.to_string();
        assert!(text.contains("closed loop") && text.contains("0.38 [0.25-0.50]"), "{text}");
        let json: Value = serde_json::from_str(&json(&[case])).unwrap();
        assert_eq!(json[0]["targets"][1]["cpu_to_haproxy"], 0.375);
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![1.0, 2.0]), Some(1.5));
        assert_eq!(median(vec![]), None);
    }
}
