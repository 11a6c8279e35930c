//! Pools of backend connections: one per core and database server. Waiting is fair (first come,
//! first served) and bounded in number and time; a connection whose answer was not read completely
//! is never used again.
mod backend;
mod connect;
pub(crate) mod load;
mod retire;
mod routines;
mod shards;
mod spare;
mod tablet;

use crate::error::BackendError;
use crate::ring::Ring;
pub(crate) use backend::{Backend, Exchange};
pub(crate) use connect::{HAS_DATABASE, kill_query};
pub(crate) use routines::refresh as refresh_routines;
pub(crate) use shards::Chosen;
pub(crate) use spare::{Spare, give_up as give_up_spare};
pub(crate) use tablet::{PoolLimits, TabletPool};

use coregate_planner::identity::ShardId;
use coregate_planner::serving::{Serving, ShardServing, Writes};
use coregate_planner::snapshot::{Tablet, TabletKind};
use shards::{Replica, ShardPools};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// The pools of what serves at the moment, found by the shard's id on a query's path.
#[derive(Default)]
pub(crate) struct Pools {
    /// Every pool in use; a tablet keeps its pool as long as it is named.
    all: RefCell<Vec<Rc<TabletPool>>>,
    /// Those whose connections have not all come back yet.
    retired: RefCell<Vec<Rc<TabletPool>>>,
    /// By [`ShardId`]: ids count up from 0.
    shards: RefCell<Vec<Option<ShardPools>>>,
    drop_in: RefCell<Option<Rc<TabletPool>>>,
}

/// Where a query goes: a shard, or the drop-in's server. Means the same whatever snapshots come and
/// go.
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
    /// Follows what serves: pools of servers that are gone, and of primaries that are being
    /// replaced, are closed when their connections come back.
    pub(crate) fn follow(&self, serving: &Serving, limits: &PoolLimits, ring: &Ring) {
        let mut kept: Vec<Rc<TabletPool>> = Vec::new();
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
        for (id, shard) in &serving.shards {
            let at = id.0 as usize;
            if shards.len() <= at {
                shards.resize_with(at + 1, || None);
            }
            shards[at] = Some(pools_of(shard, |tablet| pool_of(tablet, Some(&shard.database))));
        }
        let drop_in = serving.drop_in.as_ref().map(|tablet| pool_of(tablet, None));
        let mut retired = self.retired.borrow_mut();
        for gone in self
            .all
            .borrow()
            .iter()
            .filter(|old| !kept.iter().any(|pool| Rc::ptr_eq(pool, old)))
        {
            gone.retire();
            if !retired.iter().any(|pool| Rc::ptr_eq(pool, gone)) {
                retired.push(Rc::clone(gone));
            }
        }
        retired.retain(|pool| pool.in_use() > 0);
        *self.shards.borrow_mut() = shards;
        *self.drop_in.borrow_mut() = drop_in;
        *self.all.borrow_mut() = kept;
    }

    /// The pool of a place that is no replica's. `None`: no such tablet now.
    #[inline]
    pub(crate) fn get(&self, place: Place) -> Option<Rc<TabletPool>> {
        match place {
            Place::DropIn => self.drop_in.borrow().clone(),
            Place::Shard { shard, .. } => {
                let shards = self.shards.borrow();
                shards.get(shard.0 as usize)?.as_ref()?.primary.clone()
            }
        }
    }

    /// The pool of a replica; `chosen` holds those that the session reads from.
    pub(crate) fn replica(
        &self,
        shard: ShardId,
        kind: TabletKind,
        core: u16,
        chosen: &mut Chosen,
    ) -> Option<Rc<TabletPool>> {
        let shards = self.shards.borrow();
        shards
            .get(shard.0 as usize)?
            .as_ref()?
            .replica(shard, kind, core, chosen)
    }

    /// What becomes of statements for this place's primary.
    pub(crate) fn writes(&self, place: Place) -> Writes {
        let Place::Shard { shard, kind: Kind::Primary } = place else { return Writes::Open };
        let shards = self.shards.borrow();
        let found = shards.get(shard.0 as usize).and_then(Option::as_ref);
        found.map_or(Writes::Open, |pools| pools.writes)
    }

    pub(crate) fn for_each(&self, see: impl FnMut(&Rc<TabletPool>)) {
        self.all.borrow().iter().for_each(see);
    }

    fn of_tablet(&self, alias: &str, mut see: impl FnMut(&Rc<TabletPool>)) {
        let (all, retired) = (self.all.borrow(), self.retired.borrow());
        all.iter()
            .chain(retired.iter())
            .filter(|pool| pool.tablet.alias == alias)
            .for_each(&mut see);
    }

    /// How many connections to a tablet are in use.
    pub(crate) fn in_use(&self, alias: &str) -> usize {
        let mut count = 0;
        self.of_tablet(alias, |pool| count += pool.in_use());
        count
    }

    pub(crate) fn cut(&self, alias: &str) {
        self.of_tablet(alias, |pool| pool.cut());
    }
}

/// A primary that is being replaced gets no pool, so that nothing more is sent there.
fn pools_of(
    shard: &ShardServing,
    mut pool_of: impl FnMut(&Arc<Tablet>) -> Rc<TabletPool>,
) -> ShardPools {
    let primary = shard.primary().map(&mut pool_of);
    if let Some(primary) = &primary {
        primary.guarded.set(shard.writes == Writes::Guarded);
    }
    let mut replicas = Vec::new();
    for kind in [TabletKind::Replica, TabletKind::Rdonly] {
        let offered = shard.replicas(kind);
        for tablet in shard.tablets.iter().filter(|t| t.tablet.kind == kind) {
            // Those that may not be read from now keep their connections.
            let pool = pool_of(&tablet.tablet);
            let weight =
                if offered.iter().any(|t| std::ptr::eq(*t, tablet)) { tablet.weight } else { 0 };
            replicas.push(Replica { kind, weight, pool });
        }
    }
    ShardPools { primary, writes: shard.writes, replicas }
}
