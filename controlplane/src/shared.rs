//! What admin pages and the health check read; the control plane's loop writes it.
use crate::backend::Connector;
use crate::missing::{self, Missing};
use crate::topology::KeyspaceRecord;
use crate::world::World;
use crate::{Health, State};
use coregate_planner::control::DataPort;
use coregate_planner::snapshot::{Snapshot, Tablet};
use coregate_planner::vschema::RoutingRules;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub(crate) struct Shared {
    state: Mutex<SharedState>,
    pub(crate) started: Instant,
    pub(crate) token: Option<String>,
    pub(crate) connector: Connector,
}

#[derive(Default)]
struct SharedState {
    tablets: Vec<Arc<Tablet>>,
    databases: BTreeMap<String, String>,
    health: BTreeMap<String, Health>,
    missing: Missing,
    /// The same in words.
    missing_lines: Vec<String>,
    records: Arc<Vec<KeyspaceRecord>>,
    rules: RoutingRules,
    snapshot: Arc<Snapshot>,
    data: Option<Arc<dyn DataPort>>,
    mysql: Option<SocketAddr>,
    draining: bool,
}

impl Shared {
    pub(crate) fn new(token: Option<String>, connector: Connector) -> Self {
        Self { state: Mutex::default(), started: Instant::now(), token, connector }
    }
    /// The data plane runs, and clients connect to it at `mysql`.
    pub(crate) fn attach(&self, data: Arc<dyn DataPort>, mysql: SocketAddr) {
        let mut state = self.lock();
        state.data = Some(data);
        state.mysql = Some(mysql);
    }
    pub(crate) fn start_draining(&self) {
        self.lock().draining = true;
    }
    fn lock(&self) -> MutexGuard<'_, SharedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn tablets(&self) -> Vec<Arc<Tablet>> {
        self.lock().tablets.clone()
    }
    /// The database that a tablet must have; none of a drop-in's.
    pub(crate) fn database(&self, alias: &str) -> Option<String> {
        self.lock().databases.get(alias).cloned()
    }
    pub(crate) fn missing(&self) -> Missing {
        self.lock().missing.clone()
    }
    pub(crate) fn missing_lines(&self) -> Vec<String> {
        self.lock().missing_lines.clone()
    }
    pub(crate) fn health(&self) -> BTreeMap<String, Health> {
        self.lock().health.clone()
    }
    pub(crate) fn set_health(&self, alias: &str, health: Health) {
        let old = self.lock().health.insert(alias.to_owned(), health.clone());
        if old.as_ref().is_none_or(|old| old.state != health.state) {
            let why = health.message.unwrap_or_default();
            match health.state {
                State::Serving | State::Unknown => {
                    tracing::info!(tablet = alias, state = ?health.state, "{why}")
                }
                _ => tracing::warn!(tablet = alias, state = ?health.state, "{why}"),
            }
        }
    }
    pub(crate) fn records(&self) -> Arc<Vec<KeyspaceRecord>> {
        Arc::clone(&self.lock().records)
    }
    pub(crate) fn rules(&self) -> RoutingRules {
        self.lock().rules.clone()
    }
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.lock().snapshot)
    }
    pub(crate) fn data(&self) -> Option<Arc<dyn DataPort>> {
        self.lock().data.clone()
    }
    pub(crate) fn mysql(&self) -> Option<SocketAddr> {
        self.lock().mysql
    }
    pub(crate) fn draining(&self) -> bool {
        self.lock().draining
    }
    pub(crate) fn take_over(&self, world: &World, snapshot: &Arc<Snapshot>) {
        let mut state = self.lock();
        state.tablets = world.tablets();
        state.databases = world.databases();
        state.missing = world.missing();
        let lines = state.missing.lines(&state.tablets);
        missing::tell(&state.missing_lines, &lines);
        state.missing_lines = lines;
        let known: Vec<String> = state.tablets.iter().map(|t| t.alias.clone()).collect();
        state.health.retain(|alias, _| known.contains(alias));
        for alias in known {
            state.health.entry(alias).or_default();
        }
        state.records = Arc::new(world.keyspaces.values().map(|k| k.record.clone()).collect());
        state.rules = world.rules.clone();
        state.snapshot = Arc::clone(snapshot);
    }
}
