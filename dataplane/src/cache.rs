//! The plan cache of a core: normalised text and what else changes a statement's meaning -> plan.
//!
//! Bounded by entries and bytes, and scan resistant by SIEVE (Zhang et al., NSDI '24): a hit only
//! sets a bit; the hand moves when room is needed and spares what was used since it last came by.
use crate::session::AutoColumn;
use coregate_planner::plan::Plan;
use coregate_planner::snapshot::{KeyspaceIdx, ShardIdx, TabletKind};
use coregate_protocol::walker::Summary;
use hashbrown::HashTable;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// What a plan depends on besides its text and the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlanContext {
    pub(crate) keyspace: Option<KeyspaceIdx>,
    pub(crate) shard: Option<ShardIdx>,
    pub(crate) shards: Option<(ShardIdx, ShardIdx)>,
    pub(crate) tablet_kind: TabletKind,
    pub(crate) sql_mode: u16,
    pub(crate) prepared: bool,
    /// The plan for values that lie on several shards.
    pub(crate) split: bool,
    /// Numbers of sequences are in the text.
    pub(crate) numbered: bool,
    /// Without a selected database, unqualified names mean something else.
    pub(crate) has_database: bool,
    /// Servers keep no foreign keys for the session.
    pub(crate) foreign_keys_off: bool,
}

/// A plan and what happened with it.
pub(crate) struct CachedPlan {
    pub(crate) plan: Plan,
    text: Box<[u8]>,
    context: PlanContext,
    hash: u64,
    visited: Cell<bool>,
    pub(crate) stats: PlanCounters,
    pub(crate) auto: AutoColumn,
}

#[derive(Default)]
pub(crate) struct PlanCounters {
    pub(crate) count: Cell<u64>,
    pub(crate) errors: Cell<u64>,
    pub(crate) rows: Cell<u64>,
    pub(crate) time_us: Cell<u64>,
    pub(crate) shard_queries: Cell<u64>,
}

impl PlanCounters {
    /// Counts one run of a plan, in any protocol: how long it took, how many servers it went to,
    /// what came of it (`None`: an error of this side).
    #[inline]
    pub(crate) fn record(&self, spent: Duration, shards: usize, summary: Option<&Summary>) {
        let add = |cell: &Cell<u64>, n: u64| cell.set(cell.get() + n);
        add(&self.count, 1);
        add(&self.time_us, spent.as_micros() as u64);
        add(&self.shard_queries, shards as u64);
        add(&self.rows, summary.map_or(0, |s| s.rows));
        add(&self.errors, u64::from(summary.is_none_or(|s| s.error.is_some())));
    }
}

impl CachedPlan {
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }
}

pub(crate) struct PlanCache {
    table: HashTable<usize>,
    /// Entries in the order of their arrival, with holes.
    entries: Vec<Option<Rc<CachedPlan>>>,
    free: Vec<usize>,
    hand: usize,
    bytes: usize,
    entries_max: usize,
    bytes_max: usize,
    version: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) evictions: u64,
}

/// Bookkeeping of an entry beside its text, roughly, in bytes.
const OVERHEAD: usize = 512;

impl PlanCache {
    pub(crate) fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self {
            table: HashTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
            entries_max: entries_max.max(1),
            bytes_max,
            version: 0,
            hits: 0,
            misses: 0,
            evictions: 0,
        }
    }

    /// Forgets everything when the snapshot has changed.
    pub(crate) fn use_version(&mut self, version: u64) {
        if self.version != version {
            self.version = version;
            self.table.clear();
            self.entries.clear();
            self.free.clear();
            self.hand = 0;
            self.bytes = 0;
        }
    }

    pub(crate) fn get(
        &mut self,
        hash: u64,
        text: &[u8],
        context: &PlanContext,
    ) -> Option<&Rc<CachedPlan>> {
        let entries = &self.entries;
        let found = self.table.find(hash, |&at| {
            entries[at]
                .as_ref()
                .is_some_and(|e| e.hash == hash && e.context == *context && *e.text == *text)
        });
        let Some(&at) = found else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        let entry = self.entries[at].as_ref()?;
        entry.visited.set(true);
        Some(entry)
    }

    /// Keeps a plan, if it may be kept, and hands it back shared.
    pub(crate) fn insert(
        &mut self,
        hash: u64,
        text: &[u8],
        context: PlanContext,
        plan: Plan,
    ) -> Rc<CachedPlan> {
        let keep = plan.cacheable && text.len() + OVERHEAD <= self.bytes_max / 8;
        let entry = Rc::new(CachedPlan {
            plan,
            text: text.into(),
            context,
            hash,
            visited: Cell::new(false),
            stats: PlanCounters::default(),
            auto: AutoColumn::default(),
        });
        if !keep {
            return entry;
        }
        let size = text.len() + OVERHEAD;
        while self.table.len() >= self.entries_max || self.bytes + size > self.bytes_max {
            if !self.evict() {
                break;
            }
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        self.entries[at] = Some(Rc::clone(&entry));
        self.bytes += size;
        let entries = &self.entries;
        self.table
            .insert_unique(hash, at, |&i| entries[i].as_ref().map_or(0, |e| e.hash));
        entry
    }

    fn evict(&mut self) -> bool {
        // Two rounds suffice: the first clears every bit.
        for _ in 0..2 * self.entries.len() {
            self.hand = if self.hand + 1 < self.entries.len() { self.hand + 1 } else { 0 };
            let Some(entry) = &self.entries[self.hand] else { continue };
            if entry.visited.replace(false) {
                continue;
            }
            let (hash, size) = (entry.hash, entry.text.len() + OVERHEAD);
            let hand = self.hand;
            if let Ok(slot) = self.table.find_entry(hash, |&at| at == hand) {
                slot.remove();
            }
            self.entries[hand] = None;
            self.free.push(hand);
            self.bytes -= size;
            self.evictions += 1;
            return true;
        }
        false
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rc<CachedPlan>> {
        self.entries.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coregate_planner::plan::{Action, Effects, SessionAction, StatementClass};

    const CONTEXT: PlanContext = PlanContext {
        keyspace: None,
        shard: None,
        shards: None,
        tablet_kind: TabletKind::Primary,
        sql_mode: 0,
        prepared: false,
        split: false,
        numbered: false,
        has_database: true,
        foreign_keys_off: false,
    };

    fn plan() -> Plan {
        Plan {
            action: Action::Session(SessionAction::Nothing),
            class: StatementClass::Other,
            effects: Effects::empty(),
            cacheable: true,
            names: Vec::new(),
            tables: Vec::new(),
            directives: Default::default(),
        }
    }

    fn text(i: usize) -> (u64, Vec<u8>) {
        // Few different hashes, so that collisions are met.
        (i as u64 % 7, format!("select {i}").into_bytes())
    }

    #[test]
    fn a_plan_is_found_by_text_and_context_not_by_hash() {
        let mut cache = PlanCache::new(10, 1 << 20);
        cache.insert(1, b"a", CONTEXT, plan());
        assert!(cache.get(1, b"a", &CONTEXT).is_some());
        assert!(cache.get(1, b"b", &CONTEXT).is_none());
        assert!(
            cache
                .get(1, b"a", &PlanContext { sql_mode: 1, ..CONTEXT })
                .is_none()
        );
        cache.use_version(1);
        assert!(cache.get(1, b"a", &CONTEXT).is_none());
    }

    #[test]
    fn it_is_bounded_and_a_scan_does_not_drive_out_what_is_used() {
        let mut cache = PlanCache::new(100, 1 << 20);
        for i in 0..50 {
            let (hash, text) = text(i);
            cache.insert(hash, &text, CONTEXT, plan());
        }
        for i in 50..5_000 {
            for used in 0..50 {
                let (hash, text) = text(used);
                assert!(cache.get(hash, &text, &CONTEXT).is_some(), "{used} was driven out by {i}");
            }
            let (hash, text) = text(i);
            cache.insert(hash, &text, CONTEXT, plan());
            assert!(cache.len() <= 100);
        }
        assert_eq!(cache.iter().count(), cache.len());
    }

    #[test]
    fn it_is_bounded_in_bytes() {
        let mut cache = PlanCache::new(usize::MAX, 64 << 10);
        for i in 0..1_000 {
            let (hash, text) = text(i);
            cache.insert(hash, &text, CONTEXT, plan());
            assert!(cache.bytes() <= 64 << 10);
        }
    }
}
