//! What the control plane knows: the topology, the vschemas and the servers' tables. Makes snapshots of it.
use crate::backend::{self, Connector};
use crate::topology::{KeyspaceRecord, Upstream};
use crate::{Error, Store};
use ahash::AHashMap;
use coregate_planner::control::SqlError;
use coregate_planner::identity::ShardIds;
use coregate_planner::snapshot::{Snapshot, Tablet, TabletKind};
use coregate_planner::vschema::{self, KeyspaceSpec, ServerTable, ShardSpec, SnapshotBuilder};
use mysql_async::Conn;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) struct World {
    store: Option<Store>,
    pub(crate) keyspaces: BTreeMap<String, Known>,
    pub(crate) rules: vschema::RoutingRules,
    drop_in: Option<Arc<Tablet>>,
    /// What its owner was told about a vschema.
    told: Vec<String>,
    /// Of the last snapshot.
    version: u64,
    /// Of all shards that any snapshot had.
    ids: ShardIds,
    /// One connection a keyspace, for reading its columns.
    conns: AHashMap<String, Conn>,
    connector: Connector,
}

/// A keyspace, and what its servers say.
pub(crate) struct Known {
    pub(crate) record: KeyspaceRecord,
    tablets: BTreeMap<String, Arc<Tablet>>,
    tables: Vec<ServerTable>,
}

impl Known {
    /// The primary of the first shard: tables are the same on all.
    fn schema_source(&self) -> Option<Arc<Tablet>> {
        self.record
            .shards
            .first()
            .and_then(|shard| self.primary(&shard.name))
    }

    pub(crate) fn primary(&self, shard: &str) -> Option<Arc<Tablet>> {
        let shard = self.record.shards.iter().find(|s| s.name == shard)?;
        let of = |alias: &String| {
            self.tablets
                .get(alias)
                .filter(|t| t.kind == TabletKind::Primary)
        };
        shard.tablets.iter().find_map(|t| of(&t.alias)).cloned()
    }
}

/// Reads the files that vindexes name.
fn read_file(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| e.to_string())
}

impl World {
    pub(crate) async fn from_store(store: Store, connector: Connector) -> Result<Self, Error> {
        let records = store.load()?;
        let rules = store.load_rules()?;
        let mut world = Self { rules, ..Self::empty(connector) };
        for record in records {
            world.insert(record).await?;
        }
        world.store = Some(store);
        Ok(world)
    }

    pub(crate) async fn from_upstream(upstream: &Upstream, connector: Connector) -> Result<Self, Error> {
        let tablet = upstream.tablet().await?;
        connector.check(&tablet)?;
        Ok(Self { drop_in: Some(tablet), ..Self::empty(connector) })
    }

    fn empty(connector: Connector) -> Self {
        Self {
            store: None,
            keyspaces: BTreeMap::new(),
            rules: vschema::RoutingRules::default(),
            drop_in: None,
            told: Vec::new(),
            version: 0,
            ids: ShardIds::default(),
            conns: AHashMap::new(),
            connector,
        }
    }

    /// Adds or replaces a keyspace; the tables that were read before are kept.
    async fn insert(&mut self, record: KeyspaceRecord) -> Result<(), Error> {
        let mut tablets = BTreeMap::new();
        for tablet in record.shards.iter().flat_map(|s| &s.tablets) {
            let made = tablet.tablet().await?;
            self.connector.check(&made)?;
            tablets.insert(tablet.alias.clone(), made);
        }
        let tables = self
            .keyspaces
            .remove(&record.name)
            .map_or_else(Vec::new, |old| old.tables);
        self.keyspaces
            .insert(record.name.clone(), Known { record, tablets, tables });
        Ok(())
    }

    /// Reads the topology's files again. On an error nothing has changed.
    pub(crate) async fn reload(&mut self) -> Result<(), Error> {
        let Some(store) = &self.store else { return Ok(()) };
        let records = store.load()?;
        for record in &records {
            vschema::compile(&record.name, &record.vschema, &[], &read_file)?;
        }
        self.rules = store.load_rules()?;
        self.conns.clear();
        self.keyspaces
            .retain(|name, _| records.iter().any(|r| r.name == *name));
        for record in records {
            self.insert(record).await?;
        }
        self.read_all_columns().await;
        Ok(())
    }

    pub(crate) fn tablets(&self) -> Vec<Arc<Tablet>> {
        let of_keyspaces = self.keyspaces.values().flat_map(|k| k.tablets.values());
        of_keyspaces.chain(&self.drop_in).cloned().collect()
    }

    /// The version of the server that clients most likely ask about: the drop-in one, or the first keyspace's primary.
    pub(crate) async fn server_version(&self) -> Result<String, Error> {
        let first = || self.keyspaces.values().find_map(Known::schema_source);
        match self.drop_in.clone().or_else(first) {
            Some(tablet) => backend::version(&tablet).await,
            None => {
                Err(Error::Config("the topology has no keyspace; put a file into DIR/topology".to_owned()))
            }
        }
    }

    /// Reads the columns of all keyspaces; one whose server is down keeps what it had.
    pub(crate) async fn read_all_columns(&mut self) {
        let names: Vec<String> = self.keyspaces.keys().cloned().collect();
        for name in names {
            if let Err(e) = self.read_columns(&name).await {
                tracing::warn!(keyspace = name, "the tables' columns cannot be read: {e}");
            }
        }
    }

    /// Reads the columns of a keyspace's tables from one primary.
    pub(crate) async fn read_columns(&mut self, keyspace: &str) -> Result<(), Error> {
        let Some(known) = self.keyspaces.get_mut(keyspace) else { return Ok(()) };
        let Some(tablet) = known.schema_source() else { return Ok(()) };
        // A kept connection may be dead by now: then once more with a new one.
        if let Some(mut conn) = self.conns.remove(keyspace)
            && let Ok(tables) = backend::columns(&mut conn, known.record.database()).await
        {
            known.tables = tables;
            self.conns.insert(keyspace.to_owned(), conn);
            return Ok(());
        }
        let mut conn = self.connector.connect(&tablet).await?;
        let read = backend::columns(&mut conn, known.record.database()).await;
        known.tables = read.map_err(|e| backend::failed(&tablet, e))?;
        self.conns.insert(keyspace.to_owned(), conn);
        Ok(())
    }

    /// A new snapshot, one version up.
    pub(crate) fn snapshot(&mut self) -> Result<Arc<Snapshot>, Error> {
        let mut builder = SnapshotBuilder::new(self.version + 1).known(self.ids.clone());
        if let Some(tablet) = &self.drop_in {
            builder = builder.drop_in(Arc::clone(tablet));
        }
        for known in self.keyspaces.values() {
            let of = |t: &crate::topology::TabletRecord| known.tablets.get(&t.alias).cloned();
            let shards = known.record.shards.iter().map(|s| ShardSpec {
                name: s.name.clone(),
                tablets: s.tablets.iter().filter_map(of).collect(),
            });
            let spec = KeyspaceSpec {
                name: known.record.name.clone(),
                database: known.record.database().to_owned(),
                shards: shards.collect(),
                vschema: known.record.vschema.clone(),
                tables: known.tables.clone(),
            };
            builder = builder.keyspace(spec, &read_file)?;
        }
        let snapshot = builder.rules(&self.rules)?.build();
        self.version += 1;
        self.ids = snapshot.ids.clone();
        self.advise(&snapshot);
        Ok(Arc::new(snapshot))
    }

    /// Tells the owner of a vschema once what is no mistake and yet may surprise.
    fn advise(&mut self, snapshot: &Snapshot) {
        let advice: Vec<String> = snapshot
            .keyspaces
            .iter()
            .flat_map(vschema::advice)
            .collect();
        for line in advice.iter().filter(|line| !self.told.contains(line)) {
            tracing::warn!("{line}");
        }
        self.told = advice;
    }

    /// Replaces the routing rules, durably.
    pub(crate) fn set_rules(&mut self, rules: vschema::RoutingRules) -> Result<(), Error> {
        if let Some(store) = &self.store {
            store.save_rules(&rules)?;
        }
        self.rules = rules;
        Ok(())
    }

    /// `ALTER VSCHEMA`: durable when it returns.
    pub(crate) fn alter(&mut self, sql: &str, session: Option<&str>) -> Result<(), SqlError> {
        let alter = vschema::parse_alter(sql).map_err(|e| sql_error(1064, "42000", e.to_string()))?;
        let Some(keyspace) = alter.keyspace.as_deref().or(session) else {
            let what =
                "VT09005: no database selected: qualify the name (keyspace.table) or USE a keyspace first";
            return Err(sql_error(1046, "3D000", what.to_owned()));
        };
        let Some(known) = self.keyspaces.get(keyspace) else {
            let what = format!("VT05003: unknown database '{keyspace}' in vschema");
            return Err(sql_error(1049, "42000", what));
        };
        let mut vschema = known.record.vschema.clone();
        vschema::apply(keyspace, &mut vschema, &alter.change).map_err(|e| general(e.to_string()))?;
        self.set_vschema(keyspace, vschema)
            .map_err(|e| general(e.to_string()))
    }

    /// Replaces a keyspace's vschema, durably, if it compiles.
    pub(crate) fn set_vschema(&mut self, keyspace: &str, new: vschema::Keyspace) -> Result<(), Error> {
        let Some(known) = self.keyspaces.get_mut(keyspace) else {
            return Err(Error::Config(format!("there is no keyspace {keyspace}")));
        };
        vschema::compile(keyspace, &new, &known.tables, &read_file)?;
        let mut record = known.record.clone();
        record.vschema = new;
        if let Some(store) = &self.store {
            store.save(&mut record)?;
        }
        known.record = record;
        Ok(())
    }
}

fn sql_error(code: u16, state: &str, message: String) -> SqlError {
    let mut sqlstate = *b"HY000";
    if state.len() == sqlstate.len() {
        sqlstate.copy_from_slice(state.as_bytes());
    }
    SqlError { code, sqlstate, message }
}

/// MySQL's ER_UNKNOWN_ERROR, which Vitess uses where MySQL has no code.
pub(crate) fn general(message: String) -> SqlError {
    sql_error(1105, "HY000", message)
}
