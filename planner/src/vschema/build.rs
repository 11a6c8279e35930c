//! Puts a [`Snapshot`] together: the control plane for the cores, tests for themselves.
use super::{Keyspace as VSchema, ServerTable, VSchemaError, compile};
use crate::collation::Collation;
use crate::identity::ShardIds;
use crate::keyrange::partition;
use crate::snapshot::{Keyspace, KeyspaceIdx, Shard, Snapshot, Tablet};
use crate::vindex::ReadFile;
use std::sync::Arc;

/// One keyspace as it is to be.
#[derive(Debug, Clone, Default)]
pub struct KeyspaceSpec {
    /// What clients call it.
    pub name: String,
    /// The database's name on the servers; empty: the keyspace's.
    pub database: String,
    /// `-80`, `0`
    pub shards: Vec<String>,
    /// Which tables it has, and how their rows lie.
    pub vschema: VSchema,
    /// What the servers have, as far as it is known.
    pub tables: Vec<ServerTable>,
    /// No server could be asked for them yet.
    pub tables_pending: bool,
}

impl KeyspaceSpec {
    /// A keyspace with the shards of these names, without tablets (for tests, `coregate explain`).
    pub fn new<S: AsRef<str>>(name: &str, shards: &[S], vschema: VSchema) -> Self {
        let shards = shards.iter().map(|name| name.as_ref().to_owned()).collect();
        Self { name: name.to_owned(), shards, vschema, ..Self::default() }
    }
}

/// A snapshot that keyspaces are added to.
#[derive(Debug, Default)]
pub struct SnapshotBuilder {
    snapshot: Snapshot,
}

impl SnapshotBuilder {
    /// A snapshot without keyspaces. `version` must be greater than that of any before.
    pub fn new(version: u64) -> Self {
        Self { snapshot: Snapshot { version, ..Snapshot::default() } }
    }

    /// The shards that earlier snapshots had keep their ids.
    pub fn known(mut self, ids: ShardIds) -> Self {
        self.snapshot.ids = ids;
        self
    }

    /// Drop-in mode: databases that are no keyspaces live on this server.
    pub fn drop_in(mut self, tablet: Arc<Tablet>) -> Self {
        self.snapshot.drop_in = Some(tablet);
        self
    }

    /// How the servers compare text.
    pub fn collations(mut self, collations: impl IntoIterator<Item = Arc<Collation>>) -> Self {
        let named = collations
            .into_iter()
            .map(|collation| (collation.name.clone(), collation));
        self.snapshot.collations.extend(named);
        self
    }

    /// Adds a keyspace. A keyspace counts as sharded when its vschema says so or when it has more
    /// than one shard.
    pub fn keyspace(
        mut self,
        spec: KeyspaceSpec,
        read: ReadFile<'_>,
    ) -> Result<Self, VSchemaError> {
        let KeyspaceSpec { name, database, shards, mut vschema, tables, tables_pending } = spec;
        let idx = KeyspaceIdx::try_from(self.snapshot.keyspaces.len()).map_err(|_| {
            VSchemaError::Table {
                keyspace: name.clone(),
                message: "there are too many keyspaces; 65,536 is the most".to_owned(),
            }
        })?;
        vschema.sharded |= shards.len() > 1;
        let names: Vec<&str> = shards.iter().map(String::as_str).collect();
        let ranges = partition(&names)
            .map_err(|source| VSchemaError::Shards { keyspace: name.clone(), source })?;
        let ids = &mut self.snapshot.ids;
        let shards = ranges
            .into_iter()
            .map(|(shard, range)| Shard { id: ids.of(&name, &shard), name: shard, range })
            .collect();
        let compiled = compile(&name, &vschema, &tables, read)?;
        if !vschema.require_explicit_routing {
            for table in compiled.tables.keys() {
                self.snapshot
                    .global_tables
                    .entry(table.clone())
                    .or_default()
                    .push(idx);
            }
        }
        self.snapshot.keyspaces.push(Keyspace {
            database: if database.is_empty() { name.clone() } else { database },
            name,
            sharded: vschema.sharded,
            shards,
            tables: compiled.tables,
            vindexes: compiled.vindexes,
            require_explicit_routing: vschema.require_explicit_routing,
            columns_pending: tables_pending,
            manages_foreign_keys: super::advice::manages_foreign_keys(&vschema),
        });
        Ok(self)
    }

    /// Sets the routing rules; after the keyspaces that they name.
    ///
    /// # Errors
    /// Too many rules.
    pub fn rules(mut self, rules: &super::RoutingRules) -> Result<Self, VSchemaError> {
        self.snapshot.routes =
            super::rules::compile(rules, &self.snapshot.keyspaces).map_err(VSchemaError::Rules)?;
        Ok(self)
    }

    /// The snapshot, with what names without a keyspace mean.
    pub fn build(mut self) -> Snapshot {
        self.name_sources();
        self.snapshot
    }

    /// A name that reference tables share with their source means the source.
    fn name_sources(&mut self) {
        let Snapshot { keyspaces, global_tables, global_copies, .. } = &mut self.snapshot;
        let copies = |name: &str, copy: KeyspaceIdx, source: KeyspaceIdx| {
            let keyspace = |index: KeyspaceIdx| keyspaces.get(usize::from(index));
            let table = keyspace(copy).and_then(|k| k.tables.get(name));
            table
                .and_then(|table| table.source.as_deref()?.split_once('.'))
                .is_some_and(|(of, table)| {
                    table == name && keyspace(source).is_some_and(|k| k.name == of)
                })
        };
        for (name, places) in global_tables
            .iter_mut()
            .filter(|(_, places)| places.len() > 1)
        {
            let is_source = |source: &KeyspaceIdx| {
                let mut others = places.iter().filter(|other| *other != source);
                others.all(|other| copies(name, *other, *source))
            };
            let Some(source) = places.iter().copied().find(is_source) else { continue };
            places.retain(|place| *place != source);
            global_copies.insert(name.clone(), std::mem::replace(places, vec![source]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_a_snapshot() {
        let no_files = |_: &str| Err(String::new());
        let vschema = VSchema::from_json(
            r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
                "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#,
        )
        .unwrap();
        let snapshot = SnapshotBuilder::new(7)
            .keyspace(
                KeyspaceSpec::new(
                    "c",
                    &["0"],
                    VSchema::from_json(r#"{"tables": {"p": {}}}"#).unwrap(),
                ),
                &no_files,
            )
            .unwrap()
            .keyspace(KeyspaceSpec::new("s", &["80-", "-80"], vschema), &no_files)
            .unwrap()
            .build();
        assert_eq!((snapshot.version, snapshot.keyspaces.len()), (7, 2));
        assert!(!snapshot.keyspaces[0].sharded && snapshot.keyspaces[1].sharded);
        assert_eq!(snapshot.keyspaces[1].shards[0].name, "-80");
        assert_eq!(snapshot.keyspaces[1].database, "s");
        assert_eq!(snapshot.global_tables["t"], [1]);
        let bad = KeyspaceSpec::new("s", &["-80"], VSchema::default());
        assert!(SnapshotBuilder::new(1).keyspace(bad, &no_files).is_err());
    }
}
