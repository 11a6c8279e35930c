//! `coregate local`: a whole cluster on one machine. Starts one database server a tablet, keeps all
//! state under one directory, and leaves nothing running when it ends.
//!
//! `DIR/topology/KEYSPACE.json` says what there is; `DIR/tablets/ALIAS` holds a server's `data`,
//! `sock`, `pid` and `err.log`.
use crate::Error;
use crate::backend::{self, Connector};
use crate::servers::replication::{Server as Remote, Source};
use crate::store::{Etcd, EtcdConfig, Files, Seen, Store};
use crate::topology::{KeyspaceRecord, Kind, ShardRecord};
use coregate_planner::snapshot::Tablet;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::JoinSet;

mod dirs;
mod example;
mod flavor;
mod galera;
mod install;
mod keeper;
mod kept_topo;
mod leftovers;
mod maker;
mod mysql;
mod plan;
mod server;
pub mod split;

pub use flavor::Flavor;
pub(crate) use keeper::Fence;
pub(crate) use maker::{Maker, Refusal};
pub use plan::KeyspaceArg;

/// The account that replicas log in with.
const REPLICATION_USER: &str = "repl";
/// How often servers are started on other ports, where theirs are taken.
const PORT_TRIES: u32 = 5;
/// For each statement that sets replication up.
const SET_UP_PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

#[derive(Debug, Clone, Default)]
pub struct LocalConfig {
    pub dir: PathBuf,
    /// Empty: what the directory holds, or the example of the Vitess guides if it is new.
    pub keyspaces: Vec<KeyspaceArg>,
    /// Where `KEYSPACE.sql` files lie.
    pub schema: Option<PathBuf>,
    /// Where `KEYSPACE.json` files lie.
    pub vschema: Option<PathBuf>,
    /// `None`: what the directory holds, MariaDB's servers if it is new.
    pub flavor: Option<Flavor>,
    /// The server's program; found by itself when left out.
    pub mysqld: Option<PathBuf>,
    /// Of new keyspaces' databases; `None`: the server's own.
    pub charset: Option<String>,
    /// Of new keyspaces without a vschema of their own: `allow` or `disallow`, as vttestserver
    /// takes it.
    pub foreign_key_mode: Option<String>,
    /// Where the topology is kept, if not in the directory.
    pub etcd: Option<EtcdConfig>,
}

/// The servers that this process has started.
#[derive(Default)]
pub(crate) struct Cluster {
    keepers: Fence,
    /// Those that have no keeper yet.
    starting: Vec<(server::Server, server::Launch)>,
    short_dir: Option<PathBuf>,
    /// The directory's lock, where its store does not hold it.
    files: Option<Files>,
    maker: Option<Arc<Maker>>,
}

impl Cluster {
    /// Brings everything up. When it fails or is dropped half-way, [`Cluster::stop`] stops what has
    /// been started.
    pub(crate) async fn start(&mut self, config: &LocalConfig) -> Result<Store, Error> {
        let flavor = Flavor::of(&config.dir, config.flavor)?;
        kept_topo::check(&config.dir, config.etcd.is_some())?;
        let binaries = install::Binaries::find(config.mysqld.as_deref(), flavor).await?;
        let dirs = dirs::Dirs::make(&config.dir)?;
        let files = Files::open(&dirs.root)?;
        let store = match &config.etcd {
            None => Store::new(files),
            Some(etcd) => {
                // The directory is ours all the same.
                self.files = Some(files);
                Store::shared(Arc::new(Etcd::new(etcd)?))
            }
        };
        flavor.keep(&dirs.root)?;
        kept_topo::keep(&dirs.root, config.etcd.as_ref().map(EtcdConfig::url))?;
        leftovers::stop(&dirs.tablets).await?;
        self.short_dir = dirs.short.clone();
        let mut records = plan::plan(config, &store, &dirs).await?;
        let template = binaries.template(&dirs.root).await?;
        self.keepers.settle(&dirs, &template);
        let mut copies = JoinSet::new();
        for tablet in records
            .iter()
            .flat_map(|r| &r.shards)
            .flat_map(|s| &s.tablets)
        {
            copies.spawn(server::make_data(
                template.clone(),
                dirs.tablet(&tablet.alias),
                dirs.owner,
            ));
        }
        all(copies).await?;
        let texts = self
            .bring_up(&binaries, &dirs, &store, &mut records)
            .await?;
        tracing::info!(servers = self.starting.len(), dir = %dirs.root.display(), "database \
            servers are up");
        self.keep();
        let mut shards = JoinSet::new();
        for record in &records {
            for shard in &record.shards {
                let sql = schema(config, record)?;
                shards.spawn(set_up(
                    record.clone(),
                    shard.clone(),
                    flavor,
                    sql,
                    config.charset.clone(),
                ));
            }
        }
        all(shards).await?;
        for record in records.iter_mut().filter(|r| r.schema_pending) {
            record.schema_pending = false;
            store.save(record, texts.get(&record.name)).await?;
        }
        self.maker = Some(Arc::new(Maker::new(config, binaries, dirs, template, self.fence())));
        Ok(store)
    }

    /// Starts all servers, on ports of their own that the store knows. Gives the records' texts.
    async fn bring_up(
        &mut self,
        binaries: &install::Binaries,
        dirs: &dirs::Dirs,
        store: &Store,
        records: &mut [KeyspaceRecord],
    ) -> Result<BTreeMap<String, Seen>, Error> {
        let mut texts: BTreeMap<String, Seen> = store
            .read()
            .await?
            .keyspaces
            .into_iter()
            .map(|(record, text)| (record.name, text))
            .collect();
        // Between choosing a port and binding it, another may have taken it.
        for left in (0..PORT_TRIES).rev() {
            server::give_ports(records, binaries.flavor)?;
            for record in records.iter_mut() {
                let written = store.save(record, texts.get(&record.name)).await?;
                texts.insert(record.name.clone(), written.seen.unwrap_or_default());
            }
            match self.launch(binaries, dirs, records).await {
                Ok(()) => return Ok(texts),
                Err(e) if left > 0 && e.to_string().contains("Address already in use") => {
                    tracing::warn!("the servers are started again on other ports: {e}");
                    self.stop_starting().await;
                    let tablets = records
                        .iter_mut()
                        .flat_map(|r| &mut r.shards)
                        .flat_map(|s| &mut s.tablets);
                    tablets.for_each(|tablet| tablet.port = 0);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(texts)
    }

    /// Starts all servers, and waits until they listen.
    async fn launch(
        &mut self,
        binaries: &install::Binaries,
        dirs: &dirs::Dirs,
        records: &[KeyspaceRecord],
    ) -> Result<(), Error> {
        let tablets = || {
            records
                .iter()
                .flat_map(|r| &r.shards)
                .flat_map(|s| &s.tablets)
        };
        let ports = match binaries.flavor {
            Flavor::Galera => galera::give_ports(tablets())?,
            Flavor::MariaDb | Flavor::MySql => BTreeMap::new(),
        };
        for record in records {
            for shard in &record.shards {
                let mut launches = Vec::new();
                for tablet in &shard.tablets {
                    let place = (record, shard);
                    launches.push((
                        server::Launch::prepare(binaries, dirs, place, tablet, &ports)?,
                        tablet,
                    ));
                }
                if binaries.flavor == Flavor::Galera {
                    galera::form(launches, &mut self.starting).await?;
                    continue;
                }
                for (launch, _) in launches {
                    self.starting.push((launch.again().await?, launch));
                }
            }
        }
        let mut waits = JoinSet::new();
        for (server, _) in &self.starting {
            waits.spawn(server.wait_ready());
        }
        all(waits).await
    }

    async fn stop_starting(&mut self) {
        for (server, _) in self.starting.drain(..) {
            server.stop().await;
        }
    }

    /// From now on, servers that end are started again.
    fn keep(&mut self) {
        for (server, launch) in self.starting.drain(..) {
            self.keepers.keep(server, launch);
        }
    }

    /// Stops servers for certain.
    pub(crate) fn fence(&self) -> Fence {
        self.keepers.clone()
    }

    /// Makes further keyspaces. `None`: nothing was started.
    pub(crate) fn maker(&self) -> Option<Arc<Maker>> {
        self.maker.clone()
    }

    /// Stops the servers, replicas first, each kind at once.
    pub(crate) async fn stop(&mut self) {
        self.stop_starting().await;
        if let Some(maker) = self.maker.take() {
            maker.close().await;
        }
        let keepers = self.keepers.give_up_all();
        let (primaries, replicas): (Vec<_>, Vec<_>) =
            keepers.into_values().partition(|k| k.primary);
        for kind in [replicas, primaries] {
            let mut stops = JoinSet::new();
            for keeper in kind {
                stops.spawn(keeper.stop());
            }
            stops.join_all().await;
        }
        if let Some(link) = self.short_dir.take() {
            let _ = std::fs::remove_file(link);
        }
    }
}

/// Waits for all; the first error counts.
async fn all(mut tasks: JoinSet<Result<(), Error>>) -> Result<(), Error> {
    while let Some(done) = tasks.join_next().await {
        done.map_err(|e| Error::Server(e.to_string()))??;
    }
    Ok(())
}

/// Replication, then the first schema, on one shard.
async fn set_up(
    record: KeyspaceRecord,
    shard: ShardRecord,
    flavor: Flavor,
    sql: Option<String>,
    charset: Option<String>,
) -> Result<(), Error> {
    let Some(first) = shard.tablets.iter().find(|t| t.kind == Kind::Primary) else { return Ok(()) };
    let primary = first.tablet().await?;
    if shard.tablets.len() > 1 && flavor != Flavor::Galera {
        replicate(&record, &shard, &primary).await?;
    }
    if !record.schema_pending {
        return Ok(());
    }
    let mut conn = backend::connect(&primary).await?;
    let database = record.database();
    let charset = charset.map_or_else(String::new, |name| format!(" CHARACTER SET {name}"));
    // A start that was cut off may have left a part of the schema.
    let fresh =
        format!("DROP DATABASE IF EXISTS `{database}`; CREATE DATABASE `{database}`{charset}");
    for statement in fresh.split("; ") {
        conn.query_drop(statement)
            .await
            .map_err(|e| backend::failed(&primary, e))?;
    }
    match sql {
        Some(sql) => apply_sql(&Connector::default(), &primary, database, &shard.name, &sql).await,
        None => Ok(()),
    }
}

/// All follow the primary, which then takes writes: with semi-sync, because a server may be killed
/// at any time. A replica that cannot follow does not hold up the start: it is repaired, or
/// drained, when its health is known.
async fn replicate(
    record: &KeyspaceRecord,
    shard: &ShardRecord,
    primary: &Arc<Tablet>,
) -> Result<(), Error> {
    let source = shard
        .tablets
        .iter()
        .find(|t| t.kind == Kind::Primary)
        .and_then(|t| t.source());
    let (Some((host, port)), Some(account)) = (source, record.replication.clone()) else {
        return Err(Error::Server(format!("{} has no port for its replicas", primary.alias)));
    };
    let source = Source { host, port, account };
    for tablet in shard
        .tablets
        .iter()
        .filter(|t| !matches!(t.kind, Kind::Primary | Kind::Drained))
    {
        let replica = tablet.tablet().await?;
        let mut server = Remote::connect(&Connector::default(), &replica, SET_UP_PATIENCE).await?;
        if let Err(e) = server
            .follow(&source, Some(tablet.kind.is_candidate()))
            .await
        {
            tracing::warn!("{} does not follow yet: {e}", tablet.alias);
        }
    }
    let mut server = Remote::connect(&Connector::default(), primary, SET_UP_PATIENCE).await?;
    let acknowledged = shard.tablets.iter().any(|t| t.kind.is_candidate());
    server.promote(Some(acknowledged)).await
}

/// The first schema of a keyspace that has none yet.
fn schema(config: &LocalConfig, record: &KeyspaceRecord) -> Result<Option<String>, Error> {
    if !record.schema_pending {
        return Ok(None);
    }
    match read(config.schema.as_deref(), &record.name, "sql")? {
        Some(sql) => Ok(Some(sql)),
        None if config.keyspaces.is_empty() => Ok(example::schema(&record.name).map(str::to_owned)),
        None => Ok(None),
    }
}

/// Reads `DIR/NAME.EXTENSION` if it is there.
fn read(dir: Option<&Path>, name: &str, extension: &str) -> Result<Option<String>, Error> {
    let Some(dir) = dir else { return Ok(None) };
    if !dir.is_dir() {
        return Err(Error::config(format!(
            "{} is not a directory; give one that holds KEYSPACE.{extension} files",
            dir.display()
        )));
    }
    let path = dir.join(format!("{name}.{extension}"));
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::File { path, source: e }),
    }
}

/// How long one statement of a schema may take: it may rebuild a large table.
const STATEMENT_PATIENCE: std::time::Duration = std::time::Duration::from_secs(86_400);

/// Runs a file of statements in a database of one server; stops at the first that fails.
pub(crate) async fn apply_sql(
    connector: &Connector,
    primary: &Tablet,
    database: &str,
    shard: &str,
    sql: &str,
) -> Result<(), Error> {
    let mut conn = connector.connect(primary).await?;
    let name = backend::name(primary);
    let mut run = vec![format!("USE `{database}`")];
    run.extend(split::statements(sql));
    for (i, statement) in run.into_iter().enumerate() {
        let ran = tokio::time::timeout(STATEMENT_PATIENCE, conn.query_drop(&statement)).await;
        let why = match ran {
            Ok(Ok(())) => continue,
            Ok(Err(e)) => e.to_string(),
            Err(_) => {
                format!(
                    "it has not ended within {} s, and may still run",
                    STATEMENT_PATIENCE.as_secs()
                )
            }
        };
        {
            let mut short: String = statement.chars().take(120).collect();
            if short.len() < statement.len() {
                short.push_str("...");
            }
            return Err(Error::Config(format!(
                "schema of {database}, shard {shard} ({name}), statement {i}: {why}; the statement \
                    is: {short}"
            )));
        }
    }
    Ok(())
}
