//! What admin pages and tasks read of the state. Its owner publishes it; nobody else writes.
use crate::Health;
use crate::backend::Connector;
use crate::backfill::Progress;
use crate::missing::Missing;
use crate::store::{Roster, Store};
use crate::topology::KeyspaceRecord;
use coregate_planner::control::DataPort;
use coregate_planner::serving::Serving;
use coregate_planner::snapshot::{Snapshot, Tablet};
use coregate_planner::vschema::RoutingRules;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

#[derive(Default)]
pub(crate) struct View {
    pub(crate) tablets: Vec<Arc<Tablet>>,
    pub(crate) health: BTreeMap<String, Health>,
    pub(crate) missing: Missing,
    /// The same in words.
    pub(crate) missing_lines: Vec<String>,
    pub(crate) records: Arc<Vec<KeyspaceRecord>>,
    pub(crate) rules: RoutingRules,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) serving: Arc<Serving>,
    pub(crate) data: Option<Arc<dyn DataPort>>,
    pub(crate) mysql: Option<SocketAddr>,
    pub(crate) draining: bool,
    /// What was done about shards, the latest last.
    pub(crate) recoveries: Vec<Recovered>,
    /// Since the start: those that were done, and those that failed.
    pub(crate) recovered: [u64; 2],
    pub(crate) recoveries_disabled: bool,
    /// What is wrong with shards now.
    pub(crate) problems: Vec<Problem>,
    /// The processes on the same store; `None`: this one is alone on its topology.
    pub(crate) roster: Option<watch::Receiver<Roster>>,
    /// `None`: a drop-in.
    pub(crate) store: Option<Arc<Store>>,
    /// The name of this one among them.
    pub(crate) process: String,
    pub(crate) leads: bool,
}

/// A move or a repair that has ended.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Recovered {
    /// When it ended.
    pub(crate) time: String,
    #[serde(default)]
    pub(crate) began: String,
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    pub(crate) what: String,
    pub(crate) ok: bool,
    pub(crate) result: String,
}

/// What an analysis has found, until it finds something else.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Problem {
    pub(crate) since: String,
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    pub(crate) analysis: String,
    /// What is done about it; empty: it is only reported.
    pub(crate) recovery: String,
}

/// How far the statements of an `apply-schema` are.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct SchemaProgress {
    #[serde(skip)]
    pub(crate) sql: String,
    pub(crate) running: bool,
    pub(crate) shards: Vec<ShardProgress>,
}

#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct ShardProgress {
    pub(crate) shard: String,
    pub(crate) tablet: String,
    pub(crate) statements: usize,
    pub(crate) done: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// The owner's side.
pub(crate) struct Views(watch::Sender<View>);

impl Views {
    pub(crate) fn new() -> (Self, watch::Receiver<View>) {
        let (sender, receiver) = watch::channel(View::default());
        (Self(sender), receiver)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut View)) {
        self.0.send_modify(change);
    }
}

/// The readers' side.
pub(crate) struct Shared {
    view: watch::Receiver<View>,
    pub(crate) started: Instant,
    pub(crate) token: Option<String>,
    pub(crate) connector: Connector,
    /// By keyspace, of the last `apply-schema`.
    schemas: Mutex<BTreeMap<String, SchemaProgress>>,
    /// By keyspace and name, of what was done last with a lookup vindex.
    backfills: Mutex<BTreeMap<(String, String), Progress>>,
}

impl Shared {
    pub(crate) fn new(
        view: watch::Receiver<View>,
        token: Option<String>,
        connector: Connector,
    ) -> Self {
        Self {
            view,
            started: Instant::now(),
            token,
            connector,
            schemas: Mutex::default(),
            backfills: Mutex::default(),
        }
    }
    fn backfills(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Progress>> {
        self.backfills
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn backfill(&self, keyspace: &str, vindex: &str) -> Option<Progress> {
        let place = (keyspace.to_owned(), vindex.to_owned());
        self.backfills().get(&place).cloned()
    }
    pub(crate) fn set_backfill(&self, keyspace: &str, vindex: &str, progress: Progress) {
        let place = (keyspace.to_owned(), vindex.to_owned());
        self.backfills().insert(place, progress);
    }
    /// `false`: something is being done already.
    pub(crate) fn begin_backfill(&self, keyspace: &str, vindex: &str, progress: Progress) -> bool {
        let place = (keyspace.to_owned(), vindex.to_owned());
        let mut all = self.backfills();
        if all.get(&place).is_some_and(|p| p.running) {
            return false;
        }
        all.insert(place, progress);
        true
    }
    pub(crate) fn schema_progress(&self, keyspace: &str) -> Option<SchemaProgress> {
        let all = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(keyspace).cloned()
    }
    pub(crate) fn set_schema_progress(&self, keyspace: &str, progress: SchemaProgress) {
        let mut all = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(keyspace.to_owned(), progress);
    }
    pub(crate) fn tablets(&self) -> Vec<Arc<Tablet>> {
        self.view.borrow().tablets.clone()
    }
    pub(crate) fn missing(&self) -> Missing {
        self.view.borrow().missing.clone()
    }
    pub(crate) fn missing_lines(&self) -> Vec<String> {
        self.view.borrow().missing_lines.clone()
    }
    pub(crate) fn health(&self) -> BTreeMap<String, Health> {
        self.view.borrow().health.clone()
    }
    pub(crate) fn records(&self) -> Arc<Vec<KeyspaceRecord>> {
        Arc::clone(&self.view.borrow().records)
    }
    pub(crate) fn rules(&self) -> RoutingRules {
        self.view.borrow().rules.clone()
    }
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.view.borrow().snapshot)
    }
    pub(crate) fn serving(&self) -> Arc<Serving> {
        Arc::clone(&self.view.borrow().serving)
    }
    pub(crate) fn data(&self) -> Option<Arc<dyn DataPort>> {
        self.view.borrow().data.clone()
    }
    pub(crate) fn mysql(&self) -> Option<SocketAddr> {
        self.view.borrow().mysql
    }
    pub(crate) fn draining(&self) -> bool {
        self.view.borrow().draining
    }
    pub(crate) fn recoveries(&self) -> Vec<Recovered> {
        self.view.borrow().recoveries.clone()
    }
    pub(crate) fn recovered(&self) -> [u64; 2] {
        self.view.borrow().recovered
    }
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.view.borrow().problems.clone()
    }
    /// `None`: this process is alone on its topology.
    pub(crate) fn roster(&self) -> Option<Roster> {
        let view = self.view.borrow();
        view.roster.as_ref().map(|roster| roster.borrow().clone())
    }
    /// `None`: a drop-in has none.
    pub(crate) fn store(&self) -> Option<Arc<Store>> {
        self.view.borrow().store.clone()
    }
    pub(crate) fn process(&self) -> String {
        self.view.borrow().process.clone()
    }
    /// Does this process act for all?
    pub(crate) fn leads(&self) -> bool {
        self.view.borrow().leads
    }
    pub(crate) fn recoveries_disabled(&self) -> bool {
        self.view.borrow().recoveries_disabled
    }
}
