//! What the control plane knows: the topology, the vschemas and the servers' tables. Makes snapshots of it.
use crate::backend::Connector;
use crate::missing::{Found, Missing};
use crate::probe::{self, Answers, Cache, Wanted};
use crate::schema::{Question, Reading};
use crate::topology::{KeyspaceRecord, Upstream};
use crate::{Error, Store, schema};
use ahash::AHashMap;
use coregate_planner::control::SqlError;
use coregate_planner::identity::ShardIds;
use coregate_planner::snapshot::{Address, Snapshot, Tablet, TabletKind};
use coregate_planner::vschema::{self, KeyspaceSpec, ServerTable, ShardSpec, SnapshotBuilder};
use mysql_async::Conn;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinSet;

mod loaded;

use loaded::Loaded;

pub(crate) struct World {
    store: Option<Store>,
    pub(crate) keyspaces: BTreeMap<String, Known>,
    pub(crate) rules: vschema::RoutingRules,
    /// The text of their file.
    rules_text: Option<String>,
    drop_in: Option<Arc<Tablet>>,
    /// What its owner was told about a vschema.
    told: Vec<String>,
    /// Of the last snapshot.
    version: u64,
    /// Of all shards that any snapshot had.
    ids: ShardIds,
    /// No server has said yet what it is, and nobody has configured it.
    pub(crate) version_missing: bool,
    /// One connection a keyspace, for reading its columns.
    conns: AHashMap<String, Conn>,
    /// What servers have told of collations.
    cache: Arc<Cache>,
    connector: Connector,
}

/// How much is known of a keyspace's tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Seen {
    /// Nothing: no server could be asked since the start.
    #[default]
    Never,
    /// What was so once; a primary has not been heard since.
    Stale,
    Now,
}

/// A keyspace, and what its servers say.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) record: KeyspaceRecord,
    /// The text of its file, as far as we know it.
    text: String,
    tablets: BTreeMap<String, Arc<Tablet>>,
    tables: Vec<ServerTable>,
    seen: Seen,
    /// How the tables' text compares, as far as a server has told.
    collations: Answers,
    /// There is more to be told.
    unprobed: bool,
}

impl Known {
    /// Resolves the tablets' names; those that have no address now get it later.
    async fn of(record: KeyspaceRecord, text: String, connector: &Connector) -> Result<Self, Error> {
        let mut made = JoinSet::new();
        for tablet in record.shards.iter().flat_map(|s| &s.tablets) {
            let tablet = tablet.clone();
            made.spawn(async move { tablet.tablet().await });
        }
        let mut tablets = BTreeMap::new();
        while let Some(tablet) = made.join_next().await {
            let tablet = tablet.map_err(|e| Error::Server(e.to_string()))??;
            connector.check(&tablet)?;
            tablets.insert(tablet.alias.clone(), tablet);
        }
        Ok(Self {
            record,
            text,
            tablets,
            tables: Vec::new(),
            seen: Seen::Never,
            collations: Answers::default(),
            unprobed: false,
        })
    }

    /// What the servers have said stays true until they are asked again.
    fn remember(&mut self, old: &Self) {
        if old.record.database() == self.record.database() && old.seen != Seen::Never {
            self.tables = old.tables.clone();
            self.seen = Seen::Stale;
            self.collations = old.collations.clone();
            self.unprobed = old.unprobed;
        }
    }

    fn primaries(&self) -> Vec<Arc<Tablet>> {
        let shards = self.record.shards.iter();
        shards
            .filter_map(|shard| self.primary(&shard.name))
            .collect()
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

    /// Who can tell the tables. Replicas are asked only where nothing is known.
    fn question(&self, conn: Option<Conn>, cache: &Arc<Cache>) -> Question {
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

    fn spec(&self) -> KeyspaceSpec {
        let of = |t: &crate::topology::TabletRecord| self.tablets.get(&t.alias).cloned();
        let shards = self
            .record
            .shards
            .iter()
            .map(|s| ShardSpec { name: s.name.clone(), tablets: s.tablets.iter().filter_map(of).collect() });
        KeyspaceSpec {
            name: self.record.name.clone(),
            database: self.record.database().to_owned(),
            shards: shards.collect(),
            vschema: self.record.vschema.clone(),
            tables: self.tables.clone(),
            tables_pending: self.seen == Seen::Never,
        }
    }
}

/// Reads the files that vindexes name.
fn read_file(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| e.to_string())
}

impl World {
    pub(crate) async fn from_store(store: Store, connector: Connector) -> Result<Self, Error> {
        let mut world = Self::empty(connector);
        let loaded = Loaded::read(&store, &world.connector).await?;
        world.take(loaded);
        world.store = Some(store);
        Ok(world)
    }

    pub(crate) async fn from_upstream(upstream: &Upstream, connector: Connector) -> Result<Self, Error> {
        let tablet = upstream.tablet().await;
        connector.check(&tablet)?;
        Ok(Self { drop_in: Some(tablet), ..Self::empty(connector) })
    }

    fn empty(connector: Connector) -> Self {
        Self {
            store: None,
            keyspaces: BTreeMap::new(),
            rules: vschema::RoutingRules::default(),
            rules_text: None,
            drop_in: None,
            told: Vec::new(),
            version: 0,
            ids: ShardIds::default(),
            version_missing: false,
            conns: AHashMap::new(),
            cache: Arc::default(),
            connector,
        }
    }

    fn take(&mut self, loaded: Loaded) {
        self.keyspaces = loaded.keyspaces;
        self.rules = loaded.rules;
        self.rules_text = loaded.rules_text;
    }

    /// Reads the topology's files again, all of them or none: on an error nothing has changed, here or later.
    pub(crate) async fn reload(&mut self) -> Result<(), Error> {
        let Some(store) = &self.store else { return Ok(()) };
        let mut loaded = Loaded::read(store, &self.connector).await?;
        for (name, known) in &mut loaded.keyspaces {
            if let Some(old) = self.keyspaces.get(name) {
                known.remember(old);
            }
        }
        self.compile(&loaded.keyspaces, &loaded.rules)?;
        self.take(loaded);
        self.conns.clear();
        self.read_all_columns().await;
        Ok(())
    }

    pub(crate) fn tablets(&self) -> Vec<Arc<Tablet>> {
        let of_keyspaces = self.keyspaces.values().flat_map(|k| k.tablets.values());
        of_keyspaces.chain(&self.drop_in).cloned().collect()
    }

    /// The database that each tablet must have.
    pub(crate) fn databases(&self) -> BTreeMap<String, String> {
        let pairs = self.keyspaces.values().flat_map(|k| {
            let database = k.record.database();
            k.tablets
                .keys()
                .map(move |alias| (alias.clone(), database.to_owned()))
        });
        pairs.collect()
    }

    pub(crate) fn missing(&self) -> Missing {
        let tables = self
            .keyspaces
            .iter()
            .filter(|(_, known)| known.seen != Seen::Now);
        let servers = |known: &Known| {
            let question = known.question(None, &self.cache);
            [question.primaries, question.others].concat()
        };
        let unprobed = self.keyspaces.values().filter(|known| known.unprobed);
        let wanted = |known: &Known| {
            let wanted = Wanted::of(known.record.database(), &known.tables, Arc::clone(&self.cache));
            (known.record.name.clone(), known.primaries(), wanted)
        };
        Missing {
            tables: tables
                .map(|(name, known)| (name.clone(), servers(known)))
                .collect(),
            collations: unprobed.map(wanted).collect(),
            version: self.version_missing,
        }
    }

    /// The version of the server that clients most likely ask about: the drop-in one, or the first keyspace's primary;
    /// where that is down, of any other.
    pub(crate) async fn server_version(&self) -> Result<String, Error> {
        let mut servers: Vec<_> = self.drop_in.iter().cloned().collect();
        servers.extend(self.keyspaces.values().flat_map(Known::primaries));
        if servers.is_empty() {
            return Err(Error::Config(
                "the topology has no keyspace; put a file into DIR/topology".to_owned(),
            ));
        }
        let replicas = self.tablets().into_iter();
        servers.extend(replicas.filter(|t| t.kind != TabletKind::Primary));
        schema::version(&servers).await
    }

    /// Is there a server whose absence leaves nothing to serve?
    pub(crate) fn is_drop_in(&self) -> bool {
        self.drop_in.is_some()
    }

    /// Reads the columns of all keyspaces at once; one whose servers are down keeps what it had.
    pub(crate) async fn read_all_columns(&mut self) {
        let mut reads = JoinSet::new();
        for (name, known) in &self.keyspaces {
            let question = known.question(self.conns.remove(name), &self.cache);
            let (name, connector) = (name.clone(), self.connector.clone());
            reads.spawn(async move { (name, schema::read(connector, question).await) });
        }
        while let Some(read) = reads.join_next().await {
            let Ok((name, reading)) = read else { continue };
            if let Err(e) = self.take_columns(&name, reading) {
                tracing::warn!(keyspace = name, "the tables' columns cannot be read: {e}");
            }
        }
    }

    /// Reads the columns of a keyspace's tables.
    pub(crate) async fn read_columns(&mut self, keyspace: &str) -> Result<(), Error> {
        let Some(known) = self.keyspaces.get(keyspace) else { return Ok(()) };
        let question = known.question(self.conns.remove(keyspace), &self.cache);
        let reading = schema::read(self.connector.clone(), question).await;
        self.take_columns(keyspace, reading)
    }

    fn take_columns(&mut self, keyspace: &str, reading: Result<Reading, Error>) -> Result<(), Error> {
        let Some(known) = self.keyspaces.get_mut(keyspace) else { return Ok(()) };
        match reading {
            Ok(Reading { tables, conn, certain, collations }) => {
                known.tables = tables;
                known.unprobed = collations.is_none();
                if let Some(answers) = collations {
                    answers.remember(&mut self.cache);
                    known.collations = answers;
                }
                known.seen = if certain { Seen::Now } else { Seen::Stale };
                if let Some(conn) = conn {
                    self.conns.insert(keyspace.to_owned(), conn);
                }
                Ok(())
            }
            Err(e) => {
                if known.seen == Seen::Now {
                    known.seen = Seen::Stale;
                }
                Err(e)
            }
        }
    }

    /// Takes over what was sought. Has anything changed for the cores?
    pub(crate) async fn found(&mut self, found: Found) -> bool {
        match found {
            Found::Address { host, port, address } => self.resolved(&host, port, address),
            Found::Server { keyspace } => {
                let wanted = self
                    .keyspaces
                    .get(&keyspace)
                    .is_some_and(|known| known.seen != Seen::Now);
                wanted && self.read_columns(&keyspace).await.is_ok()
            }
            Found::Collations { keyspace, answers } => self.take_collations(&keyspace, answers),
            Found::Version(_) => false,
        }
    }

    /// As soon as a server tells how it compares text, if it did not when its tables were read.
    fn take_collations(&mut self, keyspace: &str, answers: Answers) -> bool {
        answers.remember(&mut self.cache);
        match self.keyspaces.get_mut(keyspace) {
            Some(known) if known.unprobed => {
                known.unprobed = false;
                std::mem::replace(&mut known.collations, answers) != known.collations
            }
            _ => false,
        }
    }

    fn resolved(&mut self, host: &str, port: u16, address: SocketAddr) -> bool {
        let name = Address::Unresolved { host: host.to_owned(), port };
        let of_keyspaces = self
            .keyspaces
            .values_mut()
            .flat_map(|k| k.tablets.values_mut());
        let mut any = false;
        for tablet in of_keyspaces
            .chain(&mut self.drop_in)
            .filter(|t| t.address == name)
        {
            *tablet = Arc::new(Tablet { address: Address::Tcp(address), ..Tablet::clone(tablet) });
            any = true;
        }
        any
    }

    /// A new snapshot, one version up.
    pub(crate) fn snapshot(&mut self) -> Result<Arc<Snapshot>, Error> {
        let snapshot = self.compile(&self.keyspaces, &self.rules)?;
        self.version += 1;
        self.ids = snapshot.ids.clone();
        self.advise(&snapshot);
        Ok(Arc::new(snapshot))
    }

    /// What the next snapshot would be with these keyspaces and rules.
    fn compile(
        &self,
        keyspaces: &BTreeMap<String, Known>,
        rules: &vschema::RoutingRules,
    ) -> Result<Snapshot, Error> {
        let mut builder = SnapshotBuilder::new(self.version + 1).known(self.ids.clone());
        if let Some(tablet) = &self.drop_in {
            builder = builder.drop_in(Arc::clone(tablet));
        }
        for known in keyspaces.values() {
            builder = builder.keyspace(known.spec(), &read_file)?;
        }
        let collations = probe::in_use(keyspaces.values().map(|known| &known.collations));
        Ok(builder.collations(collations).rules(rules)?.build())
    }

    /// Tells the owner of a vschema once what is no mistake and yet may surprise.
    fn advise(&mut self, snapshot: &Snapshot) {
        let mut advice: Vec<String> = snapshot
            .keyspaces
            .iter()
            .flat_map(vschema::advice)
            .collect();
        let names = snapshot.keyspaces.iter().map(|k| k.name.as_str());
        advice.extend(vschema::unknown_targets(&self.rules, names));
        let vschemas = self
            .keyspaces
            .iter()
            .filter_map(|(name, known)| vschema::ignored(name, &known.record.vschema));
        advice.extend(vschemas);
        for line in advice.iter().filter(|line| !self.told.contains(line)) {
            tracing::warn!("{line}");
        }
        self.told = advice;
    }

    /// Replaces the routing rules, durably. What they name must be there: a mistyped keyspace would show only when used.
    pub(crate) fn set_rules(&mut self, rules: vschema::RoutingRules) -> Result<(), Error> {
        if let Some(wrong) = vschema::unknown_targets(&rules, self.keyspaces.keys().map(String::as_str)) {
            return Err(Error::Config(wrong));
        }
        self.compile(&self.keyspaces, &rules)?;
        if let Some(store) = &self.store {
            self.rules_text = Some(store.save_rules(&rules, self.rules_text.as_deref())?);
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

    /// Replaces a keyspace's vschema, durably, if the whole compiles with it.
    pub(crate) fn set_vschema(&mut self, keyspace: &str, new: vschema::Keyspace) -> Result<(), Error> {
        let Some(known) = self.keyspaces.get_mut(keyspace) else {
            return Err(Error::Config(format!("there is no keyspace {keyspace}")));
        };
        let old = known.record.clone();
        known.record.vschema = new;
        let saved = self
            .compile(&self.keyspaces, &self.rules)
            .map(drop)
            .and_then(|()| self.save(keyspace));
        if saved.is_err()
            && let Some(known) = self.keyspaces.get_mut(keyspace)
        {
            known.record = old;
        }
        saved
    }

    fn save(&mut self, keyspace: &str) -> Result<(), Error> {
        if let (Some(store), Some(known)) = (&self.store, self.keyspaces.get_mut(keyspace)) {
            known.text = store.replace(&mut known.record, &known.text)?;
        }
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

#[cfg(test)]
mod tests;
