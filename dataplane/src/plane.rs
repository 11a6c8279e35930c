//! Starting the cores, and talking to them from other threads.
use crate::backend_tls::{BackendTlsConfig, BackendTlsFiles};
use crate::config::Config;
use crate::core::{Core, Shared};
use crate::doors;
use crate::error::StartError;
use crate::executor::{self, CoreThread};
use crate::inbox::{self, Inbox};
use crate::listener;
use crate::query_log::QueryLog;
use crate::ring::Features;
use crate::rsa::ServerKey;
use crate::seat::Seats;
use crate::session::Interrupt;
use crate::tls;
use crate::unix_socket::SocketFile;
use coregate_planner::control::{ControlPort, DataPort, Metric, PlanStats, SessionInfo, Users};
use coregate_planner::serving::Serving;
use coregate_planner::snapshot::Snapshot;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// The running data plane. Cheap to clone; it stops with [`DataPlane::stop`] or the process.
#[derive(Clone)]
pub struct DataPlane {
    pub(crate) shared: Arc<Shared>,
    threads: Arc<Mutex<Vec<CoreThread>>>,
    address: SocketAddr,
    /// Taken away at the end of a drain.
    socket_file: Option<SocketFile>,
    /// Copies of the listening sockets, for a process that takes over.
    doors: Arc<Mutex<Vec<OwnedFd>>>,
}

/// Starts the cores. When this returns, clients can connect.
///
/// # Errors
/// io_uring is not to be had, an address is taken, a certificate cannot be read: one sentence, with
/// what to do.
pub fn start(
    config: Config,
    (snapshot, serving): (Arc<Snapshot>, Arc<Serving>),
    users: Arc<Users>,
    control: Arc<dyn ControlPort>,
) -> Result<DataPlane, StartError> {
    let cores = config.cores.max(1);
    let features = features(&config)?;
    tracing::info!("{features}");
    let tls = config.tls.as_ref().map(tls::server_config).transpose()?;
    let backend_tls = match &config.backend_tls {
        Some(tls) => Arc::clone(tls),
        None => Arc::new(BackendTlsConfig::load(&BackendTlsFiles::default())?),
    };
    let inboxes = inboxes(cores)?;
    let (address, listeners) = doors::open(&config, cores)?;
    let doors = if config.hands_over { doors::copies(&listeners)? } else { Vec::new() };
    let socket_file = config.socket.as_ref().and_then(SocketFile::of);
    let cpus = cpus_for(&config, cores);
    let shared = Arc::new(Shared {
        port: address.port(),
        hostname: hostname(),
        inboxes,
        metrics: (0..cores).map(|_| Default::default()).collect(),
        control,
        clients: AtomicUsize::new(0),
        user_sessions: Default::default(),
        seats: Seats::new(cores),
        draining: AtomicBool::new(false),
        handed_over: AtomicBool::new(false),
        departures: Mutex::default(),
        listening: AtomicUsize::new(listeners.iter().map(Vec::len).sum()),
        tls,
        backend_tls,
        rsa: ServerKey::generate(),
        process: process_name(),
        globals: AtomicU32::new(0),
        routines: AtomicU32::new(0),
        ddl: AtomicU32::new(0),
        changes: AtomicU64::new(0),
        sequences: Default::default(),
        query_log: query_log(&config)?,
        loads: (0..cores).map(|_| Arc::default()).collect(),
        features,
        config,
    });
    let ((ready, started), mut threads) = (mpsc::channel(), Vec::new());
    for (id, (listeners, cpu)) in listeners.into_iter().zip(cpus).enumerate() {
        let (shared, world, users, ready) = (
            Arc::clone(&shared),
            (Arc::clone(&snapshot), Arc::clone(&serving)),
            Arc::clone(&users),
            ready.clone(),
        );
        let id = u16::try_from(id).unwrap_or(u16::MAX);
        let thread = CoreThread::start(&format!("core-{id}"), cpu, move || {
            run(id, shared, world, users, listeners, ready)
        })?;
        threads.push(thread);
    }
    for _ in 0..cores {
        started
            .recv()
            .map_err(|_| StartError::Core("it ended before it was ready".into()))??;
    }
    let (threads, doors) = (Arc::new(Mutex::new(threads)), Arc::new(Mutex::new(doors)));
    Ok(DataPlane { shared, threads, address, socket_file, doors })
}

fn inboxes(cores: usize) -> Result<Vec<Inbox>, StartError> {
    let made: Result<_, _> = (0..cores).map(|_| Inbox::new()).collect();
    made.map_err(|e| StartError::Core(format!("no descriptor for a core's inbox: {e}")))
}

fn query_log(config: &Config) -> Result<Option<QueryLog>, StartError> {
    let log = config.query_log.clone().map(QueryLog::open);
    log.transpose().map_err(StartError::Core)
}

/// As the kernel has it; empty where it cannot be read.
fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}

/// When the process started, and its number on this machine.
fn process_name() -> String {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("{:x}-{:x}", since.as_nanos() as u64, std::process::id())
}

/// What the kernel offers, less what the configuration forbids.
fn features(config: &Config) -> Result<Features, StartError> {
    let found = Features::probe()?;
    let mut features = config.kernel.map_or(found, |kernel| found.as_of(kernel));
    features.multishot_recv &= config.multishot;
    Ok(features)
}

/// The life of a core.
async fn run(
    id: u16,
    shared: Arc<Shared>,
    world: (Arc<Snapshot>, Arc<Serving>),
    users: Arc<Users>,
    listeners: Vec<socket2::Socket>,
    ready: mpsc::Sender<Result<(), StartError>>,
) {
    let core = match Core::new(id, shared, world, users) {
        Ok(core) => core,
        Err(e) => {
            let _ = ready.send(Err(e));
            return;
        }
    };
    executor::spawn(inbox::serve(Rc::clone(&core)));
    executor::spawn(Rc::clone(&core).sweep());
    for listener in listeners {
        executor::spawn(listener::serve(Rc::clone(&core), listener));
    }
    let _ = ready.send(Ok(()));
    core.drive().await;
}

/// One CPU for each core, where they are pinned.
fn cpus_for(config: &Config, cores: usize) -> Vec<Option<usize>> {
    let cpus = config.cpus.as_deref().unwrap_or_default();
    (0..cores).map(|i| cpus.get(i).copied()).collect()
}

impl DataPlane {
    /// Where clients connect.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Copies of the listening sockets, for a process that takes over. Empty unless
    /// [`Config::hands_over`] is set.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn doors(&self) -> std::io::Result<Vec<OwnedFd>> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.iter().map(OwnedFd::try_clone).collect()
    }

    /// Accepts no more clients, as another process has the listening sockets and does. Those that
    /// are here stay.
    pub fn hand_over(&self) {
        self.shared.handed_over.store(true, Ordering::Relaxed);
        self.close_doors();
    }

    /// Sockets that nobody accepts on would let clients wait.
    fn close_doors(&self) {
        self.doors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Clients that are connected now, those that were accepted only just, too.
    pub fn clients(&self) -> usize {
        self.shared.seats.total()
    }

    /// Does it still accept clients?
    pub fn is_listening(&self) -> bool {
        self.shared.listening.load(Ordering::Acquire) > 0
    }

    /// Ends all cores at once.
    pub fn stop(&self) {
        for inbox in &self.shared.inboxes {
            inbox.post(|core| core.stopped.set(true));
        }
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            thread.join();
        }
    }

    /// Runs `work` on every core, then `done` once.
    pub(crate) fn on_all<T: Send + 'static>(
        &self,
        work: impl Fn(&Rc<Core>) -> T + Send + Sync + 'static,
        done: impl FnOnce(Vec<T>) + Send + 'static,
    ) {
        let work = Arc::new(work);
        let left = self.shared.inboxes.len();
        let gather = Arc::new(Mutex::new((Vec::new(), left, Some(done))));
        for inbox in &self.shared.inboxes {
            let (work, gather) = (Arc::clone(&work), Arc::clone(&gather));
            inbox.post(move |core| {
                let result = work(core);
                let finished = {
                    let mut gather = gather.lock().unwrap_or_else(PoisonError::into_inner);
                    gather.0.push(result);
                    gather.1 -= 1;
                    if gather.1 == 0 {
                        gather
                            .2
                            .take()
                            .map(|done| (done, std::mem::take(&mut gather.0)))
                    } else {
                        None
                    }
                };
                if let Some((done, results)) = finished {
                    done(results);
                }
            });
        }
    }
}

impl DataPort for DataPlane {
    fn publish(
        &self,
        snapshot: Option<Arc<Snapshot>>,
        serving: Arc<Serving>,
        done: Box<dyn FnOnce() + Send>,
    ) {
        self.on_all(move |core| core.use_world(snapshot.clone(), Arc::clone(&serving)), |_| done());
    }

    fn in_use(&self, alias: String, done: Box<dyn FnOnce(usize) + Send>) {
        self.on_all(move |core| core.pools.in_use(&alias), |counts| done(counts.into_iter().sum()));
    }

    fn cut(&self, alias: String, done: Box<dyn FnOnce() + Send>) {
        self.on_all(move |core| core.pools.cut(&alias), |_| done());
    }

    fn set_users(&self, users: Arc<Users>) {
        self.on_all(move |core| core.use_users(Arc::clone(&users)), |_| {});
    }

    fn set_server_version(&self, version: String) {
        self.on_all(move |core| *core.server_version.borrow_mut() = version.clone(), |_| {});
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut all = Vec::new();
        for (id, metrics) in self.shared.metrics.iter().enumerate() {
            metrics.read(u16::try_from(id).unwrap_or(u16::MAX), &mut all);
        }
        crate::pool::load::read(self.shared.loads.iter().map(|loads| &**loads), &mut all);
        all
    }

    fn plans(&self, done: Box<dyn FnOnce(Vec<PlanStats>) + Send>) {
        self.on_all(plans_of, |plans| done(plans.into_iter().flatten().collect()));
    }

    fn sessions(&self, done: Box<dyn FnOnce(Vec<SessionInfo>) + Send>) {
        self.on_all(sessions_of, |sessions| done(sessions.into_iter().flatten().collect()));
    }

    fn drain(&self, timeout_ms: u64, done: Box<dyn FnOnce() + Send>) {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.close_doors();
        let plane = self.clone();
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        std::thread::spawn(move || {
            plane.close_sessions(false);
            while plane.shared.clients.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
                plane.close_sessions(false);
            }
            plane.close_sessions(true);
            let last = Instant::now() + Duration::from_millis(500);
            while plane.shared.clients.load(Ordering::Relaxed) > 0 && Instant::now() < last {
                std::thread::sleep(Duration::from_millis(5));
            }
            let others = plane.shared.handed_over.load(Ordering::Relaxed);
            if let Some(file) = plane.socket_file.as_ref().filter(|_| !others) {
                file.remove();
            }
            done();
        });
    }
}

impl DataPlane {
    /// Asks sessions to end: those that rest outside a transaction, or all.
    fn close_sessions(&self, all: bool) {
        self.on_all(
            move |core| {
                let handles: Vec<_> = core.sessions.borrow().values().cloned().collect();
                for handle in handles
                    .iter()
                    .filter(|h| all || (h.is_resting() && !h.in_transaction.get()))
                {
                    handle.interrupt(core, Interrupt::Shutdown);
                }
            },
            |_| {},
        );
    }
}

fn sessions_of(core: &Rc<Core>) -> Vec<SessionInfo> {
    let (now, sessions) = (core.ring.now(), core.sessions.borrow());
    let of = |handle: &Rc<crate::session::SessionHandle>| SessionInfo {
        id: handle.id,
        user: handle.user.borrow().clone(),
        host: handle.host.clone(),
        database: handle.database.borrow().as_deref().map(str::to_owned),
        rests: handle.is_resting(),
        in_transaction: handle.in_transaction.get(),
        seconds: now.saturating_duration_since(handle.since.get()).as_secs(),
        statement: (!handle.is_resting()).then(|| normalised(&handle.info.borrow())),
        pinned_by: handle
            .pinned
            .get()
            .then(|| normalised(&handle.pinned_by.borrow())),
    };
    sessions.values().map(of).collect()
}

/// A statement without its values, for those who look on.
fn normalised(text: &[u8]) -> String {
    let mut print = coregate_planner::fingerprint::Fingerprint::new();
    let read = print.read(text, coregate_planner::fingerprint::SqlMode::empty());
    if read.is_ok() && print.cacheable {
        return String::from_utf8_lossy(&print.norm).into_owned();
    }
    // What was cut, or is told apart by its values: only what kind of statement it is.
    let words = String::from_utf8_lossy(text);
    let first: String = words
        .trim_start()
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .collect();
    format!("{first} ...")
}

fn plans_of(core: &Rc<Core>) -> Vec<PlanStats> {
    let describe = |entry: &crate::cache::CachedPlan| PlanStats {
        query: String::from_utf8_lossy(entry.text()).into_owned(),
        class: format!("{:?}", entry.plan.class),
        destination: crate::session::destination_name(&entry.plan),
        tables: entry.plan.tables.clone(),
        workload: entry
            .plan
            .directives
            .workload_name
            .as_deref()
            .map(str::to_owned),
        count: entry.stats.count.get(),
        errors: entry.stats.errors.get(),
        rows: entry.stats.rows.get(),
        time_us: entry.stats.time_us.get(),
        shard_queries: entry.stats.shard_queries.get(),
    };
    core.cache
        .borrow()
        .iter()
        .map(|entry| describe(entry))
        .collect()
}
