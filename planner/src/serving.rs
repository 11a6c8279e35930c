//! Which server serves what at this moment. Changes with every failover and every replica that
//! falls behind; no plan depends on it, so that a change of it costs no plan. What plans depend on
//! is the [`Snapshot`](crate::snapshot::Snapshot).
use crate::identity::ShardId;
use crate::snapshot::{Tablet, TabletKind};
use ahash::AHashMap;
use std::sync::Arc;

/// The tablets of all shards, as they are to be used.
#[derive(Debug, Clone, Default)]
pub struct Serving {
    /// Grows with every change.
    pub version: u64,
    /// By the shard's id, which lasts beyond snapshots.
    pub shards: AHashMap<ShardId, ShardServing>,
    /// The server of the drop-in mode.
    pub drop_in: Option<Arc<Tablet>>,
}

/// The servers of one shard.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ShardServing {
    /// The keyspace's name.
    pub keyspace: String,
    /// As Vitess writes it: `-80`
    pub shard: String,
    /// The database that connections select.
    pub database: String,
    /// All of the shard's, those that get no statements among them.
    pub tablets: Vec<TabletServing>,
    /// What becomes of statements for the primary.
    pub writes: Writes,
}

/// What becomes of statements for a shard's primary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Writes {
    /// They go there; whether it can be reached shows when it is tried.
    #[default]
    Open,
    /// The same, and where it cannot be reached another server will take its place: statements that
    /// have not begun wait for that.
    Guarded,
    /// Another server is taking its place: they wait, and nothing is sent to the old one any more.
    Moving,
}

/// A server, and what it may be used for at the moment.
#[derive(Debug, Clone, PartialEq)]
pub struct TabletServing {
    /// Its address and account. Its kind is the one that it has now.
    pub tablet: Arc<Tablet>,
    /// As Vitess names its type, also of those that get no statements: `PRIMARY`, `SPARE`.
    pub type_name: &'static str,
    /// As SHOW VITESS_TABLETS says it.
    pub state: TabletState,
    /// A replica may be read from.
    pub readable: bool,
    /// Of the cell that this process is in.
    pub near: bool,
    /// How many of the sessions it gets, relative to the others.
    pub weight: u32,
    /// Since when it has been primary, as `SHOW VITESS_TABLETS` writes it.
    pub primary_since: Option<String>,
}

/// What `SHOW VITESS_TABLETS` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TabletState {
    /// `SERVING`: it answers, and is what the topology takes it for.
    #[default]
    Serving,
    /// `NOT_SERVING`
    NotServing,
}

impl TabletServing {
    /// As a server of which nothing else is known.
    pub fn new(tablet: Arc<Tablet>) -> Self {
        let type_name = match tablet.kind {
            TabletKind::Primary => "PRIMARY",
            TabletKind::Replica => "REPLICA",
            TabletKind::Rdonly => "RDONLY",
        };
        Self {
            tablet,
            type_name,
            state: TabletState::Serving,
            readable: true,
            near: true,
            weight: 1,
            primary_since: None,
        }
    }
}

impl ShardServing {
    /// Where writes go; `None` while the shard has no primary, or it moves.
    pub fn primary(&self) -> Option<&Arc<Tablet>> {
        let primary = |t: &&TabletServing| t.tablet.kind == TabletKind::Primary;
        match self.writes {
            Writes::Moving => None,
            Writes::Open | Writes::Guarded => self.tablets.iter().find(primary).map(|t| &t.tablet),
        }
    }

    /// Those that may be read from: of the own cell, as long as it has any.
    pub fn replicas(&self, kind: TabletKind) -> Vec<&TabletServing> {
        let of = |near: bool| {
            let fits =
                move |t: &&TabletServing| t.tablet.kind == kind && t.readable && t.near == near;
            self.tablets.iter().filter(fits).collect::<Vec<_>>()
        };
        let near = of(true);
        if near.is_empty() { of(false) } else { near }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Address, BackendTls};

    fn tablet(alias: &str, kind: TabletKind) -> TabletServing {
        TabletServing::new(Arc::new(Tablet {
            alias: alias.to_owned(),
            kind,
            address: Address::Unix("/s".into()),
            server_name: "localhost".to_owned(),
            user: String::new(),
            password: String::new(),
            tls: BackendTls::Disabled,
        }))
    }

    #[test]
    fn the_own_cell_comes_first_and_what_lags_not_at_all() {
        let mut shard = ShardServing {
            tablets: vec![
                tablet("a-1", TabletKind::Primary),
                tablet("a-2", TabletKind::Replica),
                TabletServing { near: false, ..tablet("b-1", TabletKind::Replica) },
            ],
            ..ShardServing::default()
        };
        let names = |shard: &ShardServing| {
            let found = shard.replicas(TabletKind::Replica);
            found
                .iter()
                .map(|t| t.tablet.alias.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&shard), ["a-2"]);
        shard.tablets[1].readable = false;
        assert_eq!(names(&shard), ["b-1"]);
        assert!(shard.replicas(TabletKind::Rdonly).is_empty());
        assert_eq!(shard.primary().unwrap().alias, "a-1");
        shard.writes = Writes::Moving;
        assert_eq!(shard.primary(), None);
    }
}
