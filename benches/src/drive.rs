//! Puts load on an endpoint. Few threads drive many connections, each on a ring of its own, as the
//! data plane's cores do: a thread for each connection would cost the machine more than the proxy
//! that is measured.
mod client;
mod core;
mod record;
mod wire;

pub(crate) use record::Measured;
#[cfg(test)]
pub(crate) use record::Slice;

use crate::Error;
use crate::endpoint::Endpoint;
use crate::process::{cpu_seconds, resident_kib};
use crate::work::Work;
use record::Recorder;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A target that is silent for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the target's memory is looked at.
const SAMPLE: Duration = Duration::from_millis(100);
/// From here on the load generator may be what limits the load.
const SATURATED: f64 = 0.9;

/// How statements are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// COM_QUERY
    Text,
    /// COM_STMT_EXECUTE
    Prepared,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Prepared => "prepared",
        }
    }
}

/// One round against one target.
#[derive(Clone)]
pub(crate) struct Round {
    pub(crate) endpoint: Endpoint,
    pub(crate) work: Arc<Work>,
    pub(crate) protocol: Protocol,
    pub(crate) connections: u32,
    /// Connections beside them that rest.
    pub(crate) idle: u32,
    /// Plans, pools and caches fill in this time, which is not measured.
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
    /// Transactions a second over all connections; `None`: the next as soon as the answer is there.
    pub(crate) rate: Option<u32>,
    pub(crate) threads: u32,
    /// CPUs for the threads, in turn; empty: any.
    pub(crate) cpus: Vec<usize>,
}

/// What the threads of a round have in common.
struct Shared {
    round: Round,
    /// Connections that have logged in.
    ready: AtomicUsize,
    /// When the load begins.
    start: OnceLock<Instant>,
    failure: Mutex<Option<String>>,
    failed: AtomicBool,
    recorders: Mutex<Vec<Recorder>>,
}

impl Shared {
    fn fail(&self, why: String) {
        self.failed.store(true, Ordering::Relaxed);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(why);
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// When measuring begins, and when it ends.
    fn window(&self, start: Instant) -> (Instant, Instant) {
        let begin = start + self.round.warm_up;
        (begin, begin + self.round.time)
    }
}

/// Runs one round. `progress` is called now and then with the part that is done.
pub(crate) fn run(round: Round, mut progress: impl FnMut(f64)) -> Result<Measured, Error> {
    let (time, endpoint) = (round.time, round.endpoint.clone());
    let count = round.threads.clamp(1, round.connections.max(1));
    let shared = Arc::new(Shared {
        round,
        ready: AtomicUsize::new(0),
        start: OnceLock::new(),
        failure: Mutex::default(),
        failed: AtomicBool::new(false),
        recorders: Mutex::default(),
    });
    let threads = (0..count)
        .map(|index| core::start(Arc::clone(&shared), index, count))
        .collect::<Result<Vec<_>, _>>()?;
    let watched = watch(&shared, &endpoint, &mut progress);
    if let Err(e) = &watched {
        shared.fail(e.to_string());
        // Those that wait for the start see the failure then.
        let _ = shared.start.set(Instant::now());
    }
    for thread in threads {
        thread
            .join()
            .map_err(|e| Error::failed("a thread of the load", e))?;
    }
    let failure = shared
        .failure
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(why) = failure {
        return Err(Error::Failed(why));
    }
    let (cpu_s, own_cpu_s, peak_kib) = watched?;
    let recorders = std::mem::take(
        &mut *shared
            .recorders
            .lock()
            .unwrap_or_else(PoisonError::into_inner),
    );
    let mut measured = Measured::of(recorders, time)?;
    measured.cpu_s = cpu_s;
    measured.peak_kib = peak_kib;
    measured.load_saturated = own_cpu_s / time.as_secs_f64() / f64::from(count) > SATURATED;
    Ok(measured)
}

/// CPU seconds of the target and of ourselves within the window, and the target's greatest memory.
type Watched = (Option<f64>, f64, Option<u64>);

/// Waits for the connections, gives the start, and looks at the target's process while the load
/// runs.
fn watch(
    shared: &Shared,
    endpoint: &Endpoint,
    progress: &mut impl FnMut(f64),
) -> Result<Watched, Error> {
    let wanted = (shared.round.connections + shared.round.idle) as usize;
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let ready = shared.ready.load(Ordering::Relaxed);
        if ready >= wanted || shared.has_failed() {
            break;
        }
        if ready > seen {
            (seen, since) = (ready, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            return Err(Error::failed(
                endpoint,
                format!("{ready} of {wanted} connections have logged in"),
            ));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    // Long enough for all threads to see it.
    let start = Instant::now() + Duration::from_millis(20);
    let _ = shared.start.set(start);
    let (begin, end) = shared.window(start);
    let cpu = || {
        let each = endpoint.pids.iter().map(|pid| cpu_seconds(*pid));
        each.sum::<Result<f64, Error>>()
    };
    let mut peak = 0;
    sleep_until(begin);
    let (before, own) = (cpu()?, cpu_seconds(std::process::id())?);
    while Instant::now() < end && !shared.has_failed() {
        let each = endpoint.pids.iter().map(|pid| resident_kib(*pid));
        peak = peak.max(each.sum::<Result<u64, Error>>()?);
        sleep_until(end.min(Instant::now() + SAMPLE));
        let done = Instant::now()
            .saturating_duration_since(begin)
            .as_secs_f64();
        progress((done / shared.round.time.as_secs_f64()).min(1.0));
    }
    let known = !endpoint.pids.is_empty();
    let own = cpu_seconds(std::process::id())? - own;
    let cpu = cpu()? - before;
    Ok((known.then_some(cpu), own, known.then_some(peak)))
}

fn sleep_until(at: Instant) {
    let left = at.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}
