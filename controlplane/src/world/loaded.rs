//! The topology, read as a whole.
use super::{Known, World};
use crate::Error;
use crate::backend::Connector;
use crate::store::{Lock, Seen, State};
use crate::topology::TabletRecord;
use coregate_planner::snapshot::Tablet;
use coregate_planner::vschema;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the store says, before it is taken over.
pub(crate) struct Loaded {
    pub(super) keyspaces: BTreeMap<String, Known>,
    pub(super) rules: vschema::RoutingRules,
    pub(super) rules_seen: Option<Seen>,
    pub(super) schemas: BTreeMap<String, i64>,
    pub(crate) revision: i64,
    pub(crate) locks: BTreeMap<(String, String), Lock>,
    pub(crate) recoveries_disabled: bool,
}

/// Tablets whose addresses are known already, by their records.
pub(super) type Resolved = BTreeMap<String, (TabletRecord, Arc<Tablet>)>;

/// What is different from before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// What plans depend on.
    pub(crate) catalog: bool,
    /// Anything about keyspaces, shards and tablets.
    pub(crate) records: bool,
    /// Keyspaces whose tables are to be read again.
    pub(crate) tables: Vec<String>,
}

impl Loaded {
    /// Resolves the tablets' names, except for those that have their addresses.
    pub(super) async fn of(
        state: State,
        connector: &Connector,
        resolved: &Resolved,
    ) -> Result<Self, Error> {
        let mut keyspaces = BTreeMap::new();
        for (record, seen) in state.keyspaces {
            let name = record.name.clone();
            keyspaces.insert(name, Known::of(record, seen, connector, resolved).await?);
        }
        Ok(Self {
            keyspaces,
            rules: state.rules,
            rules_seen: state.rules_seen,
            schemas: state.schemas,
            revision: state.revision,
            locks: state.locks,
            recoveries_disabled: state.recoveries_disabled,
        })
    }
}

impl World {
    pub(super) fn addresses(&self) -> Resolved {
        let mut all = Resolved::new();
        for known in self.keyspaces.values() {
            for record in known.record.shards.iter().flat_map(|s| &s.tablets) {
                if let Some(tablet) = known.tablets.get(&record.alias) {
                    all.insert(record.alias.clone(), (record.clone(), Arc::clone(tablet)));
                }
            }
        }
        all
    }

    /// Takes the topology over that was read when there were so many `edits`: all of it or none; on
    /// an error nothing has changed, here or later. `None`: it was changed through us meanwhile, or
    /// later news is known, and it must be read again.
    pub(crate) fn reloaded(
        &mut self,
        edits: u64,
        mut loaded: Loaded,
    ) -> Result<Option<Taken>, Error> {
        let is_late = match loaded.revision {
            0 => edits != self.edits,
            revision => revision < self.revision,
        };
        if is_late {
            return Ok(None);
        }
        let mut taken = Taken { catalog: self.rules != loaded.rules, ..Taken::default() };
        for (name, known) in &mut loaded.keyspaces {
            let old = self.keyspaces.get(name);
            let same_schema = self.schemas.get(name) == loaded.schemas.get(name);
            let same_tables = old.is_some_and(|old| known.has_tables_of(old)) && same_schema;
            if let Some(old) = old {
                known.remember(old, same_tables);
            }
            taken.catalog |= old.is_none_or(|old| !known.plans_as(old));
            taken.records |= old.is_none_or(|old| old.record != known.record);
            if !same_tables {
                taken.tables.push(name.clone());
            }
        }
        let gone = self
            .keyspaces
            .keys()
            .any(|name| !loaded.keyspaces.contains_key(name));
        taken.catalog |= gone;
        taken.records |= gone;
        self.compile(&loaded.keyspaces, &loaded.rules)?;
        let same_place = |name: &str| {
            let (old, new) = (self.keyspaces.get(name), loaded.keyspaces.get(name));
            old.zip(new)
                .is_some_and(|(old, new)| old.record.shards == new.record.shards)
        };
        let moved: Vec<String> = self
            .conns
            .keys()
            .filter(|name| !same_place(name))
            .cloned()
            .collect();
        for name in moved {
            self.conns.remove(&name);
        }
        self.take(loaded);
        Ok(Some(taken))
    }

    pub(super) fn take(&mut self, loaded: Loaded) {
        self.keyspaces = loaded.keyspaces;
        self.rules = loaded.rules;
        self.rules_seen = loaded.rules_seen;
        self.schemas = loaded.schemas;
        self.revision = loaded.revision;
    }

    /// Its tables were changed through us, and are being read: no need to read them again when the
    /// store says so.
    pub(crate) fn note_schema(&mut self, keyspace: &str, revision: i64) {
        let known = self.schemas.entry(keyspace.to_owned()).or_default();
        *known = revision.max(*known);
    }
}
