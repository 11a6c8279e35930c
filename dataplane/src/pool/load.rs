//! What is asked of each database server, and how long it takes to answer. A core counts for
//! itself; the control plane reads at leisure.
use crate::metrics::Counter;
use coregate_planner::control::{Metric, MetricKind};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Bounds of the histogram: each is twice the one before.
const BUCKETS: usize = 20;
/// The first one, in microseconds.
const FIRST_US: u64 = 64;

/// Of one core and one server.
#[derive(Debug, Default)]
pub(crate) struct Load {
    requests: Counter,
    errors: Counter,
    time_us: Counter,
    /// How many took so long, the last one: longer than all bounds.
    buckets: [Counter; BUCKETS + 1],
}

impl Load {
    #[inline]
    pub(crate) fn record(&self, spent: Duration, failed: bool) {
        let us = u64::try_from(spent.as_micros()).unwrap_or(u64::MAX);
        self.requests.add(1);
        self.errors.add(u64::from(failed));
        self.time_us.add(us);
        // 0 to 64 µs, then up to 128, 256, ...
        let above = us.saturating_sub(1) / FIRST_US;
        let at = usize::try_from(u64::BITS - above.leading_zeros()).unwrap_or(BUCKETS);
        if let Some(bucket) = self.buckets.get(at.min(BUCKETS)) {
            bucket.add(1);
        }
    }
}

/// The servers that a core has had to do with, by their alias.
#[derive(Debug, Default)]
pub(crate) struct Loads(Mutex<BTreeMap<String, Arc<Load>>>);

impl Loads {
    /// A server that comes back under its alias goes on counting.
    pub(crate) fn of(&self, alias: &str) -> Arc<Load> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(alias.to_owned()).or_default())
    }
}

/// Of all cores together.
pub(crate) fn read<'a>(cores: impl Iterator<Item = &'a Loads>, out: &mut Vec<Metric>) {
    let mut sums: BTreeMap<String, [u64; BUCKETS + 4]> = BTreeMap::new();
    for loads in cores {
        for (alias, load) in &*loads.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let sum = sums.entry(alias.clone()).or_insert([0; BUCKETS + 4]);
            let values = load
                .buckets
                .iter()
                .chain([&load.requests, &load.errors, &load.time_us]);
            for (sum, value) in sum.iter_mut().zip(values) {
                *sum += value.get();
            }
        }
    }
    for (alias, sum) in sums {
        let [requests, errors, time_us] = [sum[BUCKETS + 1], sum[BUCKETS + 2], sum[BUCKETS + 3]];
        let label = || vec![("tablet", alias.clone())];
        let mut put = |name, help, kind, labels, value: f64| {
            out.push(Metric { name, help, kind, labels, value })
        };
        let help = "Requests that a database server has answered with an error.";
        put("coregate_tablet_errors_total", help, MetricKind::Counter, label(), errors as f64);
        let help =
            "How long a database server took to answer, from the request to the end of the answer.";
        let mut below = 0;
        for (n, count) in sum.iter().take(BUCKETS).enumerate() {
            below += count;
            let bound = (FIRST_US << n) as f64 / 1e6;
            let labels = vec![("tablet", alias.clone()), ("le", bound.to_string())];
            put(
                "coregate_tablet_request_seconds_bucket",
                help,
                MetricKind::Histogram,
                labels,
                below as f64,
            );
        }
        let labels = vec![("tablet", alias.clone()), ("le", "+Inf".to_owned())];
        put(
            "coregate_tablet_request_seconds_bucket",
            help,
            MetricKind::Histogram,
            labels,
            requests as f64,
        );
        let seconds = time_us as f64 / 1e6;
        put("coregate_tablet_request_seconds_sum", help, MetricKind::Histogram, label(), seconds);
        put(
            "coregate_tablet_request_seconds_count",
            help,
            MetricKind::Histogram,
            label(),
            requests as f64,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_their_time() {
        let (one, two) = (Loads::default(), Loads::default());
        let us = Duration::from_micros;
        one.of("a").record(us(0), false);
        one.of("a").record(us(64), false);
        one.of("a").record(us(65), true);
        two.of("a").record(us(1 << 40), false);
        two.of("b").record(us(128), false);
        let mut out = Vec::new();
        read([&one, &two].into_iter(), &mut out);
        let value = |name: &str, alias: &str, le: Option<&str>| {
            let fits = |m: &&Metric| {
                let has =
                    |k: &str, v: &str| m.labels.iter().any(|(key, value)| *key == k && value == v);
                m.name == name && has("tablet", alias) && le.is_none_or(|le| has("le", le))
            };
            out.iter().find(fits).map(|m| m.value)
        };
        let bucket = "coregate_tablet_request_seconds_bucket";
        assert_eq!(value(bucket, "a", Some("0.000064")), Some(2.0));
        assert_eq!(value(bucket, "a", Some("0.000128")), Some(3.0));
        assert_eq!(value(bucket, "a", Some("33.554432")), Some(3.0));
        assert_eq!(value(bucket, "a", Some("+Inf")), Some(4.0));
        assert_eq!(value(bucket, "b", Some("0.000128")), Some(1.0));
        assert_eq!(value("coregate_tablet_request_seconds_count", "a", None), Some(4.0));
        assert_eq!(value("coregate_tablet_errors_total", "a", None), Some(1.0));
    }
}
