//! Puts load on an endpoint: a thread for each connection, as sysbench and most applications do it, each sending one query and
//! waiting for its answer.
use crate::Error;
use crate::args::{Kind, LoadArgs};
use crate::conn::{Connection, packet};
use crate::endpoint::Endpoint;
use crate::process::cpu_seconds;
use crate::table::{SELECT, is_binary_row, is_text_row};
use core_affinity::CoreId;
use coregate_protocol::Capabilities;
use coregate_protocol::command::{encode, execute};
use coregate_protocol::value::Value;
use coregate_protocol::walker::ResponseKind;
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// Plans, pools and caches fill in this time, which is not measured.
const WARM_UP: Duration = Duration::from_millis(500);
/// Longest latency that can be told from longer ones, in nanoseconds.
const LATENCY_MAX_NS: u64 = 60_000_000_000;
const STACK: usize = 128 << 10;

/// One round against one target.
pub(crate) struct Measured {
    pub(crate) queries: u64,
    pub(crate) seconds: f64,
    /// CPU seconds of the target's process, if it is known.
    pub(crate) cpu_s: Option<f64>,
    /// In nanoseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Measured {
    pub(crate) fn per_second(&self) -> f64 {
        self.queries as f64 / self.seconds
    }

    /// CPU of the target's process for one query, in microseconds.
    pub(crate) fn cpu_us(&self) -> Option<f64> {
        self.cpu_s.map(|s| 1e6 * s / self.queries.max(1) as f64)
    }

    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e6
    }
}

/// A connection and the state of its load.
struct Worker {
    conn: Connection,
    kind: Kind,
    rows: u32,
    random: u64,
    statement: u32,
    /// The parameter's type was sent with the first execution.
    bound: bool,
}

/// When a worker sends.
#[derive(Clone, Copy)]
struct Pace {
    /// Time between two queries of one connection; `None`: as soon as the answer is there.
    interval: Option<Duration>,
    first: Instant,
    end: Instant,
}

/// Runs one round.
pub(crate) fn run(endpoint: &Endpoint, args: &LoadArgs, kind: Kind) -> Result<Measured, Error> {
    let mut workers = (0..args.connections)
        .map(|n| Worker::open(endpoint, kind, args.table_size, n))
        .collect::<Result<Vec<_>, _>>()?;
    together(&mut workers, args, WARM_UP)?;
    let cpu = || endpoint.pid.map(cpu_seconds).transpose();
    let (before, start) = (cpu()?, Instant::now());
    let latency = together(&mut workers, args, Duration::from_secs(args.seconds))?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu_s = cpu()?.zip(before).map(|(after, before)| after - before);
    Ok(Measured { queries: latency.len(), seconds, cpu_s, latency })
}

fn together(workers: &mut [Worker], args: &LoadArgs, time: Duration) -> Result<Histogram<u64>, Error> {
    let count = workers.len().max(1) as u32;
    let interval = args
        .rate
        .map(|rate| Duration::from_secs_f64(f64::from(count) / f64::from(rate)));
    // Long enough for all threads to be there.
    let start = Instant::now() + Duration::from_millis(20);
    let end = start + time;
    let mut all = histogram()?;
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (n, worker) in workers.iter_mut().enumerate() {
            // Evenly spread: a rate is not a burst from all connections at once.
            let offset = interval.map_or(Duration::ZERO, |i| i.mul_f64(n as f64 / f64::from(count)));
            let pace = Pace { interval, first: start + offset, end };
            let cpu =
                (!args.load_cpus.is_empty()).then(|| CoreId { id: args.load_cpus[n % args.load_cpus.len()] });
            let body = move || {
                if let Some(cpu) = cpu {
                    core_affinity::set_for_current(cpu);
                }
                worker.run(pace)
            };
            let thread = std::thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, body);
            threads.push(thread.map_err(|e| Error::failed("a thread for a connection", e))?);
        }
        for thread in threads {
            let one = thread
                .join()
                .map_err(|_| Error::Failed("a thread of the load has panicked".to_owned()))??;
            all.add(&one).map_err(|e| Error::failed("latencies", e))?;
        }
        Ok(all)
    })
}

fn histogram() -> Result<Histogram<u64>, Error> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).map_err(|e| Error::failed("latencies", e))
}

impl Worker {
    fn open(endpoint: &Endpoint, kind: Kind, rows: u32, n: u32) -> Result<Self, Error> {
        let mut conn = Connection::open(endpoint, Some(&endpoint.database))?;
        let statement = match kind {
            Kind::Text => 0,
            Kind::Prepared => conn.prepare(&format!("{SELECT}?"))?,
        };
        let random = 0x9e37_79b9_7f4a_7c15 ^ (u64::from(n) + 1) << 17;
        Ok(Self { conn, kind, rows, random, statement, bound: false })
    }

    fn run(&mut self, pace: Pace) -> Result<Histogram<u64>, Error> {
        let mut latency = histogram()?;
        let mut due = pace.first;
        wait_until(due);
        loop {
            let sent = Instant::now();
            if sent >= pace.end || due >= pace.end {
                return Ok(latency);
            }
            self.one()?;
            // With a rate, a query that had to wait for the one before it has waited from when it was due.
            let from = if pace.interval.is_some() { due } else { sent };
            latency.saturating_record(u64::try_from(from.elapsed().as_nanos()).unwrap_or(u64::MAX));
            if let Some(interval) = pace.interval {
                due += interval;
                wait_until(due);
            }
        }
    }

    /// One point select, checked.
    #[inline]
    fn one(&mut self) -> Result<(), Error> {
        let id = self.random_id();
        let (wire, kind) = match self.kind {
            Kind::Text => {
                let sql = format!("{SELECT}{id}");
                (packet(|w| encode::query(w, Capabilities::empty(), sql.as_bytes())), ResponseKind::Query)
            }
            Kind::Prepared => (self.execution(id), ResponseKind::Execute),
        };
        let summary = self.conn.exchange(&wire, kind)?;
        if let Some((code, _)) = summary.error {
            return Err(Error::Failed(format!("error {code}: {}", self.conn.message())));
        }
        let row = self.conn.row(1);
        let right = match self.kind {
            Kind::Text => is_text_row(row, id),
            Kind::Prepared => is_binary_row(row, id),
        };
        if summary.rows != 1 || !right {
            return Err(Error::Failed(format!("the answer to {SELECT}{id} is wrong")));
        }
        Ok(())
    }

    /// As the C clients do it, the parameter's type goes with the first execution only.
    fn execution(&mut self, id: u32) -> Vec<u8> {
        let mut body = Vec::with_capacity(16);
        execute::put_body(&mut body, Capabilities::empty(), &[Value::Int(i64::from(id))]);
        if std::mem::replace(&mut self.bound, true) {
            // NULLs, "types follow", two bytes of type, the value.
            body.splice(1..4, [0]);
        }
        packet(|w| encode::stmt_execute(w, self.statement, 0, &body))
    }

    fn random_id(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % u64::from(self.rows)) as u32 + 1
    }
}

fn wait_until(at: Instant) {
    let left = at.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}
