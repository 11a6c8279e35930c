//! Pools of backend connections: one per core and database server. Waiting is fair (first come, first served) and bounded in
//! number and time; a connection whose answer was not read completely is never used again.
mod backend;
mod connect;
mod routines;
mod spare;
mod tablet;

use crate::error::BackendError;
use crate::ring::Ring;
pub(crate) use backend::{Backend, Exchange};
pub(crate) use connect::{HAS_DATABASE, kill_query};
pub(crate) use routines::refresh as refresh_routines;
pub(crate) use spare::{Spare, give_up as give_up_spare};
pub(crate) use tablet::{PoolLimits, TabletPool};

use coregate_planner::identity::ShardId;
use coregate_planner::snapshot::{Snapshot, Tablet, TabletKind};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// The pools behind one snapshot, found by the shard's id on a query's path.
#[derive(Default)]
pub(crate) struct Pools {
    /// Every pool in use, whatever the snapshot; a tablet keeps its pool when a new snapshot names it again.
    all: RefCell<Vec<Rc<TabletPool>>>,
    /// By [`ShardId`]: ids count up from 0.
    shards: RefCell<Vec<Option<ShardPools>>>,
    drop_in: RefCell<Option<Rc<TabletPool>>>,
}

struct ShardPools {
    primary: Option<Rc<TabletPool>>,
    replicas: Vec<(TabletKind, Rc<TabletPool>)>,
    next: Cell<usize>,
}

/// Where a query goes: a shard, or the drop-in's server. Means the same whatever snapshots come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    DropIn,
    Shard { shard: ShardId, kind: Kind },
}

impl Place {
    /// Why nothing serves it.
    pub(crate) fn missing(self) -> BackendError {
        match self {
            Self::Shard { kind: Kind::Replica | Kind::Rdonly, .. } => BackendError::NoReplica,
            _ => BackendError::NoTablet,
        }
    }
}

/// [`TabletKind`] with an order, so that places can be sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Primary,
    Replica,
    Rdonly,
}

impl From<TabletKind> for Kind {
    fn from(kind: TabletKind) -> Self {
        match kind {
            TabletKind::Primary => Self::Primary,
            TabletKind::Replica => Self::Replica,
            TabletKind::Rdonly => Self::Rdonly,
        }
    }
}

impl Pools {
    /// Follows a new snapshot: pools of servers that are gone are closed when their connections come back.
    pub(crate) fn follow(&self, snapshot: &Snapshot, limits: &PoolLimits, ring: &Ring) {
        let mut kept = Vec::new();
        let mut pool_of = |tablet: &Arc<Tablet>, database: Option<&str>| {
            let same = |pool: &&Rc<TabletPool>| pool.serves(tablet, database);
            let old = self
                .all
                .borrow()
                .iter()
                .find(same)
                .or_else(|| kept.iter().find(same))
                .cloned();
            let pool = old.unwrap_or_else(|| {
                Rc::new(TabletPool::new(Arc::clone(tablet), database, limits.clone(), ring))
            });
            kept.push(Rc::clone(&pool));
            pool
        };
        let mut shards: Vec<Option<ShardPools>> = Vec::new();
        for keyspace in &snapshot.keyspaces {
            for shard in &keyspace.shards {
                let database = Some(keyspace.database.as_str());
                let primary = shard.primary().map(|tablet| pool_of(tablet, database));
                let others = shard
                    .tablets
                    .iter()
                    .filter(|t| t.kind != TabletKind::Primary);
                let replicas = others.map(|t| (t.kind, pool_of(t, database))).collect();
                let at = shard.id.0 as usize;
                if shards.len() <= at {
                    shards.resize_with(at + 1, || None);
                }
                shards[at] = Some(ShardPools { primary, replicas, next: Cell::new(0) });
            }
        }
        let drop_in = snapshot
            .drop_in
            .as_ref()
            .map(|tablet| pool_of(tablet, None));
        for gone in self
            .all
            .borrow()
            .iter()
            .filter(|old| !kept.iter().any(|pool| Rc::ptr_eq(pool, old)))
        {
            gone.retire();
        }
        *self.shards.borrow_mut() = shards;
        *self.drop_in.borrow_mut() = drop_in;
        *self.all.borrow_mut() = kept;
    }

    /// The pool of a place; replicas take turns. `None`: no such tablet now.
    pub(crate) fn get(&self, place: Place) -> Option<Rc<TabletPool>> {
        match place {
            Place::DropIn => self.drop_in.borrow().clone(),
            Place::Shard { shard, kind } => {
                let shards = self.shards.borrow();
                let pools = shards.get(shard.0 as usize)?.as_ref()?;
                match kind {
                    Kind::Primary => pools.primary.clone(),
                    Kind::Replica => pools.next_of(TabletKind::Replica),
                    Kind::Rdonly => pools.next_of(TabletKind::Rdonly),
                }
            }
        }
    }

    pub(crate) fn for_each(&self, see: impl FnMut(&Rc<TabletPool>)) {
        self.all.borrow().iter().for_each(see);
    }
}

impl ShardPools {
    fn next_of(&self, kind: TabletKind) -> Option<Rc<TabletPool>> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        let of_kind = || self.replicas.iter().filter(|(k, _)| *k == kind);
        let count = of_kind().count();
        of_kind()
            .nth(turn.checked_rem(count)?)
            .map(|(_, pool)| Rc::clone(pool))
    }
}
