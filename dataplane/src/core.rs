//! A core and everything that belongs to it alone. Nothing here is shared with another core except
//! through [`Shared`], which no query touches.
use crate::backend_accounts::BackendAccounts;
use crate::backend_tls::BackendTlsConfig;
use crate::buffer::Buffer;
use crate::cache::PlanCache;
use crate::config::Config;
use crate::consolidator::Consolidator;
use crate::error::StartError;
use crate::hot_rows::HotRows;
use crate::inbox::Inbox;
use crate::metrics::CoreMetrics;
use crate::pool::load::Loads;
use crate::pool::{PoolLimits, Pools};
use crate::query_log::{QueryLog, Sampler};
use crate::ring::{Features, Ring, RingConfig};
use crate::rsa::ServerKey;
use crate::seat::Seats;
use crate::sequences::{CoreSequences, Sequences};
use crate::session::{Arrivals, DefaultMode, Departure, UserSessions};
use crate::session::{Runners, Scratch, SessionHandle};
use crate::settings::SettingsTable;
use crate::shares::Shares;
use crate::timer::Timers;
use ahash::AHashMap;
use coregate_planner::control::{ControlPort, Users};
use coregate_planner::serving::Serving;
use coregate_planner::snapshot::Snapshot;
use coregate_protocol::Capabilities;
use coregate_protocol::charset::{Collation, Flavor};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Longest sleep of a core without anything to do.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Ids of sessions are from about this number to its double.
const SESSION_IDS: u32 = 1 << 30;
/// How often deadlines of sessions and resting connections are looked at.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// Capabilities that every backend connection asks for.
pub(crate) const DIALECT: Capabilities = Capabilities::DRIVER.union(Capabilities::CONNECT_ATTRS);

/// Capabilities in which a client and the backend connection that serves it must agree: they shape
/// answers or meanings.
pub(crate) const FLAVOURS: Capabilities = Capabilities::DEPRECATE_EOF
    .union(Capabilities::SESSION_TRACK)
    .union(Capabilities::MARIADB_EXTENDED_METADATA)
    .union(Capabilities::MARIADB_STMT_BULK_OPERATIONS)
    .union(Capabilities::FOUND_ROWS)
    .union(Capabilities::IGNORE_SPACE)
    .union(Capabilities::LOCAL_FILES);

/// What the threads have in common.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// Where clients connect to, as they may ask: of the first address, and this machine's name.
    pub(crate) port: u16,
    pub(crate) hostname: String,
    pub(crate) features: Features,
    pub(crate) inboxes: Vec<Inbox>,
    pub(crate) metrics: Vec<CoreMetrics>,
    pub(crate) control: Arc<dyn ControlPort>,
    /// Clients of all cores; touched when one comes or goes.
    pub(crate) clients: AtomicUsize,
    pub(crate) user_sessions: UserSessions,
    /// The same, by core.
    pub(crate) seats: Seats,
    pub(crate) draining: AtomicBool,
    /// Another process accepts clients; ours stay until they leave.
    pub(crate) handed_over: AtomicBool,
    /// Where sessions go that another process takes over; `None`: none does.
    pub(crate) departures: Mutex<Option<mpsc::Sender<Departure>>>,
    /// Listening sockets that this process accepts on.
    pub(crate) listening: AtomicUsize,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) backend_tls: Arc<BackendTlsConfig>,
    pub(crate) rsa: ServerKey,
    /// What no other process has as its name: when it started, and its number on this machine.
    pub(crate) process: String,
    /// Counts the SET GLOBALs: connections that are older have other defaults than a new session
    /// expects.
    pub(crate) globals: AtomicU32,
    /// Counts the statements that may have changed a routine, a trigger or a view.
    pub(crate) routines: AtomicU32,
    /// Counts the statements that may have changed a table.
    pub(crate) ddl: AtomicU32,
    /// Numbers the statements that change tables.
    pub(crate) changes: AtomicU64,
    pub(crate) sequences: Sequences,
    /// `None`: statements are not logged.
    pub(crate) query_log: Option<QueryLog>,
    /// One for each core.
    pub(crate) loads: Vec<Arc<Loads>>,
}

impl Shared {
    pub(crate) fn inbox(&self, core: u16) -> &Inbox {
        &self.inboxes[usize::from(core)]
    }
}

pub(crate) struct Core {
    pub(crate) id: u16,
    pub(crate) ring: Ring,
    pub(crate) timers: Timers,
    pub(crate) shared: Arc<Shared>,
    pub(crate) snapshot: RefCell<Arc<Snapshot>>,
    pub(crate) serving: RefCell<Arc<Serving>>,
    pub(crate) buffer: Buffer,
    pub(crate) sampler: Sampler,
    pub(crate) hot_rows: HotRows,
    pub(crate) shares: Shares,
    pub(crate) consolidator: Consolidator,
    pub(crate) arrivals: Arrivals,
    pub(crate) backend_accounts: BackendAccounts,
    pub(crate) users: RefCell<Arc<Users>>,
    /// What clients are told.
    pub(crate) server_version: RefCell<String>,
    /// SHA256(SHA256(password)) by the salted hash that the password was seen to fit, for the fast
    /// path of caching_sha2_password.
    pub(crate) sha2_cache: RefCell<AHashMap<Vec<u8>, [u8; 32]>>,
    pub(crate) pools: Pools,
    pub(crate) cache: RefCell<PlanCache>,
    pub(crate) scratch: RefCell<Scratch>,
    pub(crate) runners: Runners,
    pub(crate) sequences: CoreSequences,
    pub(crate) settings: SettingsTable,
    pub(crate) default_mode: DefaultMode,
    pub(crate) sessions: RefCell<AHashMap<u32, Rc<SessionHandle>>>,
    next_session: Cell<u32>,
    next_transaction: Cell<u64>,
    pub(crate) stopped: Cell<bool>,
    pub(crate) started: Instant,
    /// The time by the machine's clock, and when in the loop it was read.
    pub(crate) wall: Cell<Option<(Instant, Duration)>>,
}

/// Where ids of sessions begin: behind those of the process before, whose sessions keep theirs.
fn first_turn(shared: &Shared) -> u32 {
    if shared.config.inherited.is_empty() {
        return 0;
    }
    std::time::UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| (since.as_millis() as u32).wrapping_mul(0x9E37_79B1))
}

impl Core {
    #[inline]
    pub(crate) fn routine_changes(&self) -> u32 {
        self.shared.routines.load(Ordering::Relaxed)
    }

    /// Are the servers MariaDB's, as the greeting says?
    pub(crate) fn is_mariadb(&self) -> bool {
        self.shared.config.server_version.contains("MariaDB")
    }

    pub(crate) fn new(
        id: u16,
        shared: Arc<Shared>,
        (snapshot, serving): (Arc<Snapshot>, Arc<Serving>),
        users: Arc<Users>,
    ) -> Result<Rc<Self>, StartError> {
        let config = &shared.config;
        let ring = Ring::new(RingConfig {
            coalesce_us: config.coalesce_us,
            buffers_small_max: config.buffers_small_max,
            buffers_large_max: config.buffers_large_max,
            features: shared.features,
        })?;
        let cache = PlanCache::new(config.plan_cache_entries, config.plan_cache_bytes);
        let core = Rc::new(Self {
            id,
            ring,
            timers: Timers::default(),
            snapshot: RefCell::new(Arc::clone(&snapshot)),
            serving: RefCell::new(Arc::clone(&serving)),
            buffer: Buffer::default(),
            users: RefCell::new(users),
            sampler: Sampler::default(),
            hot_rows: HotRows::default(),
            shares: Shares::default(),
            consolidator: Consolidator::default(),
            arrivals: Arrivals::default(),
            backend_accounts: BackendAccounts::default(),
            server_version: RefCell::new(config.server_version.clone()),
            sha2_cache: RefCell::default(),
            pools: Pools::default(),
            cache: RefCell::new(cache),
            scratch: RefCell::default(),
            runners: Runners::default(),
            sequences: CoreSequences::default(),
            settings: SettingsTable::default(),
            default_mode: DefaultMode::default(),
            sessions: RefCell::default(),
            next_session: Cell::new(first_turn(&shared)),
            next_transaction: Cell::new(0),
            stopped: Cell::new(false),
            started: Instant::now(),
            wall: Cell::new(None),
            shared,
        });
        core.use_world(Some(snapshot), serving);
        Ok(core)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn metrics(&self) -> &CoreMetrics {
        &self.shared.metrics[usize::from(self.id)]
    }

    /// From the next statement on, everyone on this core sees the new state. Plans are forgotten
    /// with a new snapshot only.
    pub(crate) fn use_world(&self, snapshot: Option<Arc<Snapshot>>, serving: Arc<Serving>) {
        let config = self.config();
        let limits = PoolLimits {
            size: config.pool_size_per_core.max(1),
            waiters_max: config.pool_waiters_max,
            wait_timeout: Duration::from_millis(config.pool_wait_timeout_ms),
            idle_max: Duration::from_secs(config.pool_idle_s),
            lifetime_max: Duration::from_secs(config.pool_lifetime_s),
            statements_max: config.backend_statements_max.max(1),
            loads: Arc::clone(&self.shared.loads[usize::from(self.id)]),
        };
        if let Some(snapshot) = snapshot {
            self.cache.borrow_mut().use_version(snapshot.version);
            *self.snapshot.borrow_mut() = snapshot;
        }
        self.pools.follow(&serving, &limits, &self.ring);
        *self.serving.borrow_mut() = Arc::clone(&serving);
        self.buffer.follow(&serving, self.ring.now());
        self.ring.mark_runnable();
    }

    pub(crate) fn use_users(&self, users: Arc<Users>) {
        self.sha2_cache.borrow_mut().clear();
        *self.users.borrow_mut() = users;
    }

    /// A connection id that no other session of this process has.
    pub(crate) fn new_session_id(&self) -> u32 {
        let cores = self.shared.inboxes.len() as u32;
        loop {
            let turn = self.next_session.get();
            self.next_session.set(turn.wrapping_add(1));
            // Above 2^30, where no server's own ids are: an id out of a server's list
            // (information_schema.PROCESSLIST of a drop-in) names no session here, and KILL of it
            // stops nobody.
            let turn = turn % (SESSION_IDS / cores) + SESSION_IDS / cores;
            let id = turn
                .wrapping_mul(cores)
                .wrapping_add(u32::from(self.id))
                .wrapping_add(1);
            if id != 0 && !self.sessions.borrow().contains_key(&id) {
                return id;
            }
        }
    }

    /// A name that no transaction of any process had, see `coregate_planner::dtid`.
    pub(crate) fn new_transaction_id(&self) -> String {
        let turn = self.next_transaction.get();
        self.next_transaction.set(turn + 1);
        format!("{}-{:x}-{turn:x}", self.shared.process, self.id)
    }

    /// The core's loop: one turn of the ring, then every task that it woke.
    pub(crate) async fn drive(self: Rc<Self>) {
        while !self.stopped.get() {
            let limit = self.timers.until_next(self.ring.now(), SLEEP_MAX);
            self.ring.turn(limit);
            if self.timers.fire(self.ring.now()) {
                self.ring.mark_runnable();
            }
            crate::executor::yield_now().await;
        }
    }

    /// Looks at deadlines now and then.
    pub(crate) async fn sweep(self: Rc<Self>) {
        crate::exec::held::limit(self.config().query_memory_per_core_max);
        let mut round = 0u64;
        while !self.stopped.get() {
            self.sleep(SWEEP_EVERY).await;
            round += 1;
            let now = self.ring.now();
            for handle in self.sessions.borrow().values() {
                handle.check_deadline(&self, now);
            }
            if round.is_multiple_of(10) {
                self.pools.for_each(|pool| {
                    pool.sweep(now);
                    crate::pool::refresh_routines(&self, pool);
                });
                self.publish_gauges();
            }
        }
    }

    pub(crate) fn publish_gauges(&self) {
        let metrics = self.metrics();
        let ring = self.ring.stats();
        metrics.turns.set(ring.turns.get());
        metrics.sleeps.set(ring.sleeps.get());
        metrics.coalesced.set(ring.coalesced_sleeps.get());
        metrics.completions.set(ring.completions.get());
        metrics.buffers_exhausted.set(ring.buffers_exhausted.get());
        metrics.buffers_spilled.set(ring.buffers_spilled.get());
        metrics.blocked_sends.set(ring.blocked_sends.get());
        let cache = self.cache.borrow();
        metrics.plan_hits.set(cache.hits);
        metrics.plan_misses.set(cache.misses);
        metrics.plan_evictions.set(cache.evictions);
        metrics.plans.set(cache.len() as u64);
        metrics.plan_bytes.set(cache.bytes() as u64);
        metrics.buffers_free.set(self.ring.buffers_free() as u64);
        let config = self.config();
        metrics.plans_max.set(config.plan_cache_entries as u64);
        metrics.plan_bytes_max.set(config.plan_cache_bytes as u64);
        metrics.query_memory_max.set(config.query_memory_max as u64);
        metrics.query_memory.set(crate::exec::held::held() as u64);
        metrics
            .query_memory_per_core_max
            .set(config.query_memory_per_core_max as u64);
        metrics.statements_max.set(config.statements_max as u64);
        metrics
            .backend_statements_max
            .set(config.backend_statements_max as u64);
        let mut sums = [0u64; 9];
        self.pools.for_each(|pool| {
            let stats = &pool.stats;
            let values = [
                pool.open() as u64,
                pool.resting() as u64,
                stats.connected.get(),
                stats.connect_errors.get(),
                stats.discarded.get(),
                stats.resets.get(),
                stats.waited.get(),
                stats.wait_us.get(),
                stats.wait_timeouts.get() + stats.queue_full.get(),
            ];
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        });
        let mut waiting = 0;
        self.pools.for_each(|pool| waiting += pool.waiting() as u64);
        let gauges = [
            &metrics.backends,
            &metrics.backends_idle,
            &metrics.backend_connects,
            &metrics.backend_connect_errors,
            &metrics.backend_discards,
            &metrics.backend_resets,
            &metrics.pool_waits,
            &metrics.pool_wait_us,
            &metrics.pool_timeouts,
        ];
        for (gauge, sum) in gauges.into_iter().zip(sums) {
            gauge.set(sum);
        }
        metrics.pool_waiting.set(waiting);
    }
}

/// The assignment that gives a connection the character set of a handshake.
pub(crate) fn names_of(collation: u16) -> Option<String> {
    let found = Collation::by_id(collation)?;
    let charset = found.charset();
    // MySQL's default collations are unknown to MariaDB, and the other way round is no default: a
    // name that both take.
    if charset.default_collation(Flavor::MySql) == Some(collation) {
        return Some(format!("NAMES {}", charset.name()));
    }
    Some(format!("NAMES {} COLLATE {}", charset.name(), found.name(Flavor::MariaDb)))
}
