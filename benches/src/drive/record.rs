//! What was measured.
use crate::Error;
use hdrhistogram::Histogram;
use std::time::Duration;

/// Longest latency that can be told from longer ones, in nanoseconds.
const LATENCY_MAX_NS: u64 = 600_000_000_000;
/// Parts of a round, for latency over time.
const SLICES: u32 = 20;
/// No part is shorter.
const SLICE_MIN: Duration = Duration::from_millis(100);

fn histogram(digits: u8) -> Result<Histogram<u64>, Error> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, digits).map_err(|e| Error::failed("latencies", e))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Of one thread.
pub(super) struct Recorder {
    /// `None`: an empty one in the place of another.
    latency: Option<Histogram<u64>>,
    slices: Vec<Histogram<u64>>,
    slice: Duration,
    queries: u64,
    bytes: u64,
    pub(super) retries: u64,
    unsent: u64,
}

impl Recorder {
    pub(super) fn new(time: Duration) -> Result<Self, Error> {
        let slice = (time / SLICES).max(SLICE_MIN);
        let count = time.as_nanos().div_ceil(slice.as_nanos()).max(1);
        let slices = (0..count)
            .map(|_| histogram(2))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { latency: Some(histogram(3)?), slices, slice, ..Self::empty() })
    }

    pub(super) fn empty() -> Self {
        let (latency, slices, slice) = (None, Vec::new(), SLICE_MIN);
        Self { latency, slices, slice, queries: 0, bytes: 0, retries: 0, unsent: 0 }
    }

    /// A transaction that ended so long after the window's begin.
    pub(super) fn record(&mut self, at: Duration, took: Duration, queries: u64, bytes: u64) {
        let took = nanoseconds(took);
        if let Some(latency) = &mut self.latency {
            latency.saturating_record(took);
        }
        let index = at.as_nanos() / self.slice.as_nanos();
        if let Some(slice) = usize::try_from(index)
            .ok()
            .and_then(|i| self.slices.get_mut(i))
        {
            slice.saturating_record(took);
        }
        self.queries += queries;
        self.bytes += bytes;
    }

    /// One that was due and not sent by the end.
    pub(super) fn record_unsent(&mut self, waited: Duration) {
        if let Some(latency) = &mut self.latency {
            latency.saturating_record(nanoseconds(waited));
        }
        self.unsent += 1;
    }
}

/// A part of a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice {
    /// Its length.
    pub(crate) seconds: f64,
    pub(crate) transactions: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// One round against one target.
pub(crate) struct Measured {
    pub(crate) queries: u64,
    pub(crate) transactions: u64,
    /// Given up because of deadlocks and the like, and tried again.
    pub(crate) retries: u64,
    /// Were due and could not be sent: the rate was more than the target took.
    pub(crate) unsent: u64,
    /// Of answers.
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// CPU seconds of the target's processes, if they are known.
    pub(crate) cpu_s: Option<f64>,
    /// Their greatest resident memory.
    pub(crate) peak_kib: Option<u64>,
    /// The load generator had no CPU to spare: the target may be able to do more.
    pub(crate) load_saturated: bool,
    /// Of transactions, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) slices: Vec<Slice>,
}

impl Measured {
    pub(super) fn of(recorders: Vec<Recorder>, time: Duration) -> Result<Self, Error> {
        let mut all = Recorder::new(time)?;
        let mut latency = histogram(3)?;
        let add = |to: &mut Histogram<u64>, from: &Histogram<u64>| {
            to.add(from).map_err(|e| Error::failed("latencies", e))
        };
        for recorder in &recorders {
            if let Some(own) = &recorder.latency {
                add(&mut latency, own)?;
            }
            for (to, from) in all.slices.iter_mut().zip(&recorder.slices) {
                add(to, from)?;
            }
            all.queries += recorder.queries;
            all.bytes += recorder.bytes;
            all.retries += recorder.retries;
            all.unsent += recorder.unsent;
        }
        let seconds = all.slice.as_secs_f64();
        let slices = all.slices.iter().map(|slice| Slice {
            seconds,
            transactions: slice.len(),
            p50_ms: slice.value_at_quantile(0.5) as f64 / 1e6,
            p99_ms: slice.value_at_quantile(0.99) as f64 / 1e6,
        });
        Ok(Self {
            queries: all.queries,
            transactions: latency.len() - all.unsent,
            retries: all.retries,
            unsent: all.unsent,
            bytes: all.bytes,
            seconds: time.as_secs_f64(),
            cpu_s: None,
            peak_kib: None,
            load_saturated: false,
            slices: slices.collect(),
            latency,
        })
    }

    pub(crate) fn queries_per_s(&self) -> f64 {
        self.queries as f64 / self.seconds
    }

    pub(crate) fn transactions_per_s(&self) -> f64 {
        self.transactions as f64 / self.seconds
    }

    /// Bytes of answers, in MB a second.
    pub(crate) fn mb_per_s(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.seconds
    }

    /// CPU of the target for one query, in microseconds.
    pub(crate) fn cpu_us(&self) -> Option<f64> {
        self.cpu_s.map(|s| 1e6 * s / self.queries.max(1) as f64)
    }

    /// CPU of the target for one MB of answers, in microseconds.
    pub(crate) fn cpu_us_per_mb(&self) -> Option<f64> {
        self.cpu_s
            .filter(|_| self.bytes > 0)
            .map(|s| 1e12 * s / self.bytes as f64)
    }

    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_added_up_and_what_was_not_sent_counts() {
        let time = Duration::from_secs(2);
        let (mut a, mut b) = (Recorder::new(time).unwrap(), Recorder::new(time).unwrap());
        a.record(Duration::from_millis(50), Duration::from_millis(1), 3, 100);
        b.record(Duration::from_millis(1_950), Duration::from_millis(2), 4, 200);
        b.record_unsent(Duration::from_secs(1));
        let all = Measured::of(vec![a, b], time).unwrap();
        assert_eq!((all.queries, all.transactions, all.unsent, all.bytes), (7, 2, 1, 300));
        assert!((all.latency_ms(1.0) - 1_000.0).abs() < 2.0, "{}", all.latency_ms(1.0));
        let filled: Vec<usize> = (0..all.slices.len())
            .filter(|i| all.slices[*i].transactions > 0)
            .collect();
        assert_eq!((all.slices.len(), filled), (20, vec![0, 19]));
    }
}
