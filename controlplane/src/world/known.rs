//! A keyspace, and what its servers say.
use super::loaded::Resolved;
use crate::Error;
use crate::backend::Connector;
use crate::probe::{Answers, Cache};
use crate::schema::Question;
use crate::sql::Conn;
use crate::store::Seen as Origin;
use crate::topology::{KeyspaceRecord, TabletRecord};
use coregate_planner::snapshot::{Tablet, TabletKind};
use coregate_planner::vschema::{KeyspaceSpec, ServerTable};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;

/// How much is known of a keyspace's tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing: no server could be asked since the start.
    #[default]
    Never,
    /// What was so once; a primary has not been heard since.
    Stale,
    Now,
}

#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) record: KeyspaceRecord,
    /// What the record was read from.
    pub(super) text: Origin,
    pub(crate) tablets: BTreeMap<String, Arc<Tablet>>,
    pub(super) tables: Vec<ServerTable>,
    pub(super) seen: Seen,
    /// How the tables' text compares, as far as a server has told.
    pub(super) collations: Answers,
    /// There is more to be told.
    pub(super) unprobed: bool,
}

impl Known {
    /// Resolves the tablets' names; those that have no address now get it later.
    pub(super) async fn of(
        record: KeyspaceRecord,
        text: Origin,
        connector: &Connector,
        resolved: &Resolved,
    ) -> Result<Self, Error> {
        let mut made = JoinSet::new();
        let mut tablets = BTreeMap::new();
        for tablet in record.shards.iter().flat_map(|s| &s.tablets) {
            let known = resolved
                .get(&tablet.alias)
                .filter(|(of, _)| of.is_at(tablet));
            match known {
                Some((_, known)) => drop(tablets.insert(tablet.alias.clone(), Arc::clone(known))),
                None => {
                    let tablet = tablet.clone();
                    made.spawn(async move { tablet.tablet().await });
                }
            }
        }
        while let Some(tablet) = made.join_next().await {
            let tablet = tablet.map_err(|e| Error::Server(e.to_string()))??;
            connector.check(&tablet)?;
            tablets.insert(tablet.alias.clone(), tablet);
        }
        let mut known = Self {
            record,
            text,
            tablets,
            tables: Vec::new(),
            seen: Seen::Never,
            collations: Answers::default(),
            unprobed: false,
        };
        known.retype();
        Ok(known)
    }

    /// Its tables are those of another: the same database on the same shards.
    pub(super) fn has_tables_of(&self, old: &Self) -> bool {
        let names = |of: &Self| -> Vec<String> {
            of.record.shards.iter().map(|s| s.name.clone()).collect()
        };
        self.record.database() == old.record.database() && names(self) == names(old)
    }

    /// Plans depend on the same things.
    pub(super) fn plans_as(&self, old: &Self) -> bool {
        self.has_tables_of(old) && self.record.vschema == old.record.vschema
    }

    /// What the servers have said stays true until they are asked again; `same`: they need not be.
    pub(super) fn remember(&mut self, old: &Self, same: bool) {
        if old.record.database() == self.record.database() && old.seen != Seen::Never {
            self.tables = old.tables.clone();
            self.seen = if same { old.seen } else { Seen::Stale };
            self.collations = old.collations.clone();
            self.unprobed = old.unprobed;
        }
    }

    /// Gives each tablet the type that the record says.
    pub(super) fn retype(&mut self) {
        for record in self.record.shards.iter().flat_map(|s| &s.tablets) {
            let kind = record.kind.serves().unwrap_or(TabletKind::Replica);
            if let Some(tablet) = self.tablets.get_mut(&record.alias)
                && tablet.kind != kind
            {
                *tablet = Arc::new(Tablet { kind, ..Tablet::clone(tablet) });
            }
        }
    }

    pub(crate) fn primaries(&self) -> Vec<Arc<Tablet>> {
        let shards = self.record.shards.iter();
        shards
            .filter_map(|shard| self.primary(&shard.name))
            .collect()
    }

    pub(crate) fn primary(&self, shard: &str) -> Option<Arc<Tablet>> {
        let shard = self.record.shards.iter().find(|s| s.name == shard)?;
        let of = |t: &TabletRecord| {
            let tablet = self.tablets.get(&t.alias)?;
            (tablet.kind == TabletKind::Primary).then(|| Arc::clone(tablet))
        };
        shard.tablets.iter().find_map(of)
    }

    /// Who can tell the tables. Replicas are asked only where nothing is known.
    pub(super) fn question(&self, conn: Option<Conn>, cache: &Arc<Cache>) -> Question {
        let replicas = self
            .tablets
            .values()
            .filter(|t| self.seen == Seen::Never && t.kind != TabletKind::Primary);
        Question {
            keyspace: self.record.name.clone(),
            database: self.record.database().to_owned(),
            primaries: self.primaries(),
            others: replicas.cloned().collect(),
            conn,
            cache: Arc::clone(cache),
        }
    }

    pub(super) fn spec(&self) -> KeyspaceSpec {
        KeyspaceSpec {
            name: self.record.name.clone(),
            database: self.record.database().to_owned(),
            shards: self.record.shards.iter().map(|s| s.name.clone()).collect(),
            vschema: self.record.vschema.clone(),
            tables: self.tables.clone(),
            tables_pending: self.seen == Seen::Never,
        }
    }
}
