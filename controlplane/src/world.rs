//! What the control plane knows: the topology, the vschemas and the servers' tables. Makes
//! snapshots of it.
use crate::backend::Connector;
use crate::missing::Missing;
use crate::probe::{self, Answers, Cache, Wanted};
use crate::schema::Reading;
use crate::sql::Conn;
use crate::store::{State, Store};
use crate::topology::Upstream;
use crate::{Error, schema};
use ahash::AHashMap;
use coregate_planner::control::SqlError;
use coregate_planner::identity::ShardIds;
use coregate_planner::snapshot::{Address, Snapshot, Tablet, TabletKind};
use coregate_planner::vschema::{self, SnapshotBuilder};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinSet;

mod edit;
mod known;
mod loaded;
mod serving;

pub(crate) use edit::{Change, Planned};
pub(crate) use known::Known;
use known::Seen;
pub(crate) use loaded::Loaded;

pub(crate) struct World {
    store: Option<Arc<Store>>,
    pub(crate) keyspaces: BTreeMap<String, Known>,
    pub(crate) rules: vschema::RoutingRules,
    /// What they were read from.
    rules_seen: Option<crate::store::Seen>,
    /// By keyspace: changes when its tables do, where several processes use the store.
    schemas: BTreeMap<String, i64>,
    /// Of the store, when it was as we know it.
    pub(crate) revision: i64,
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
    /// Counts what was changed through us, by whatever way.
    edits: u64,
}

/// Reads the files that vindexes name.
fn read_file(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| e.to_string())
}

impl World {
    pub(crate) async fn from_store(store: Store, connector: Connector) -> Result<Self, Error> {
        let mut world = Self::empty(connector);
        let state = store.read().await?;
        let loaded = Loaded::of(state, &world.connector, &BTreeMap::new()).await?;
        world.take(loaded);
        world.store = Some(Arc::new(store));
        Ok(world)
    }

    pub(crate) async fn from_upstream(
        upstream: &Upstream,
        connector: Connector,
    ) -> Result<Self, Error> {
        let tablet = upstream.tablet().await;
        connector.check(&tablet)?;
        Ok(Self { drop_in: Some(tablet), ..Self::empty(connector) })
    }

    fn empty(connector: Connector) -> Self {
        Self {
            store: None,
            keyspaces: BTreeMap::new(),
            rules: vschema::RoutingRules::default(),
            rules_seen: None,
            schemas: BTreeMap::new(),
            revision: 0,
            drop_in: None,
            told: Vec::new(),
            version: 0,
            ids: ShardIds::default(),
            version_missing: false,
            conns: AHashMap::new(),
            cache: Arc::default(),
            connector,
            edits: 0,
        }
    }

    pub(crate) fn store(&self) -> Option<&Arc<Store>> {
        self.store.as_ref()
    }

    /// Starts reading the topology again: the task gives what [`World::reloaded`] takes. `None`:
    /// there is none to read.
    pub(crate) fn reload(
        &self,
    ) -> Option<(u64, impl Future<Output = Result<Loaded, Error>> + use<>)> {
        let (store, connector) = (Arc::clone(self.store.as_ref()?), self.connector.clone());
        Some((self.edits, async move {
            Loaded::of(store.read().await?, &connector, &BTreeMap::new()).await
        }))
    }

    /// The same, of what the store has told by itself.
    pub(crate) fn load(
        &self,
        state: State,
    ) -> (u64, impl Future<Output = Result<Loaded, Error>> + use<>) {
        let (connector, resolved) = (self.connector.clone(), self.addresses());
        (self.edits, async move { Loaded::of(state, &connector, &resolved).await })
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
            let wanted =
                Wanted::of(known.record.database(), &known.tables, Arc::clone(&self.cache));
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

    /// The version of the server that clients most likely ask about: the drop-in one, or the first
    /// keyspace's primary; where that is down, of any other.
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

    /// Starts reading the columns of a keyspace's tables: the task gives what
    /// [`World::take_columns`] takes.
    pub(crate) fn read_columns(
        &mut self,
        keyspace: &str,
    ) -> Option<impl Future<Output = Result<Reading, Error>> + use<>> {
        let known = self.keyspaces.get(keyspace)?;
        let question = known.question(self.conns.remove(keyspace), &self.cache);
        Some(schema::read(self.connector.clone(), question))
    }

    pub(crate) fn take_columns(
        &mut self,
        keyspace: &str,
        reading: Result<Reading, Error>,
    ) -> Result<bool, Error> {
        let Some(known) = self.keyspaces.get_mut(keyspace) else { return Ok(false) };
        match reading {
            Ok(Reading { tables, conn, certain, collations }) => {
                let before = (known.seen, known.unprobed);
                let mut changed = known.tables != tables;
                known.tables = tables;
                known.unprobed = collations.is_none();
                if let Some(answers) = collations {
                    answers.remember(&mut self.cache);
                    changed |= known.collations != answers;
                    known.collations = answers;
                }
                known.seen = if certain { Seen::Now } else { Seen::Stale };
                changed |= before != (known.seen, known.unprobed);
                if let Some(conn) = conn {
                    self.conns.insert(keyspace.to_owned(), conn);
                }
                Ok(changed)
            }
            Err(e) => {
                if known.seen == Seen::Now {
                    known.seen = Seen::Stale;
                }
                Err(e)
            }
        }
    }

    /// Does it matter that a server of this keyspace answers?
    pub(crate) fn wants_columns(&self, keyspace: &str) -> bool {
        let known = self.keyspaces.get(keyspace);
        known.is_some_and(|known| known.seen != Seen::Now)
    }

    /// As soon as a server tells how it compares text, if it did not when its tables were read.
    pub(crate) fn take_collations(&mut self, keyspace: &str, answers: Answers) -> bool {
        answers.remember(&mut self.cache);
        match self.keyspaces.get_mut(keyspace) {
            Some(known) if known.unprobed => {
                known.unprobed = false;
                std::mem::replace(&mut known.collations, answers) != known.collations
            }
            _ => false,
        }
    }

    /// A name has got an address. Did anybody wait for it?
    pub(crate) fn resolved(&mut self, host: &str, port: u16, address: SocketAddr) -> bool {
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

/// As `SHOW VITESS_TABLETS` writes times.
pub(crate) fn now_utc() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    utc(since.map_or(0, |t| t.as_secs()))
}

/// Days since 1970 to a date, by the algorithm of Howard Hinnant's `civil_from_days`.
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * day_of_year + 2) / 153;
    let (day, month) =
        (day_of_year - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests;
