//! `coregate local`: a whole cluster on one machine. Starts one MariaDB server a tablet, keeps all state under one
//! directory, and leaves nothing running when it ends.
//!
//! `DIR/topology/KEYSPACE.json` says what there is; `DIR/tablets/ALIAS` holds a server's `data`, `sock`, `pid` and `err.log`.
use crate::backend::{self, Connector};
use crate::topology::{KeyspaceRecord, Kind};
use crate::{Error, Store};
use coregate_planner::snapshot::Tablet;
use mysql_async::prelude::Queryable;
use std::path::{Path, PathBuf};
use tokio::task::JoinSet;

mod dirs;
mod example;
mod install;
mod leftovers;
mod plan;
mod replication;
mod server;
pub mod split;

pub use plan::KeyspaceArg;

#[derive(Debug, Clone, Default)]
pub struct LocalConfig {
    pub dir: PathBuf,
    /// Empty: what the directory holds, or the example of the Vitess guides if it is new.
    pub keyspaces: Vec<KeyspaceArg>,
    /// Where `KEYSPACE.sql` files lie.
    pub schema: Option<PathBuf>,
    /// Where `KEYSPACE.json` files lie.
    pub vschema: Option<PathBuf>,
    /// The `mariadbd` to start; found by itself when left out.
    pub mysqld: Option<PathBuf>,
}

/// The servers that this process has started.
#[derive(Default)]
pub(crate) struct Cluster {
    servers: Vec<server::Server>,
    short_dir: Option<PathBuf>,
}

impl Cluster {
    /// Brings everything up. When it fails or is dropped half-way, [`Cluster::stop`] stops what has been started.
    pub(crate) async fn start(&mut self, config: &LocalConfig) -> Result<Store, Error> {
        let binaries = install::Binaries::find(config.mysqld.as_deref()).await?;
        let dirs = dirs::Dirs::make(&config.dir)?;
        let store = Store::open(&dirs.root)?;
        leftovers::stop(&dirs.tablets).await?;
        self.short_dir = dirs.short.clone();
        let mut records = plan::plan(config, &store, &dirs)?;
        for record in &mut records {
            if record.version == 0 {
                store.save(record)?;
            }
        }
        let template = binaries.template(&dirs.root).await?;
        let mut copies = JoinSet::new();
        for tablet in records
            .iter()
            .flat_map(|r| &r.shards)
            .flat_map(|s| &s.tablets)
        {
            copies.spawn(server::make_data(template.clone(), dirs.tablet(&tablet.alias), dirs.owner));
        }
        all(copies).await?;
        let count = records
            .iter()
            .flat_map(|r| &r.shards)
            .map(|s| s.tablets.len())
            .sum();
        let mut ports = server::free_ports(count)?;
        for record in &records {
            for shard in &record.shards {
                let replicated = shard.tablets.len() > 1;
                for tablet in &shard.tablets {
                    let port = ports.pop().filter(|_| replicated);
                    let server = server::Server::launch(&binaries, &dirs, record, tablet, port)?;
                    self.servers.push(server);
                }
            }
        }
        let mut waits = JoinSet::new();
        for server in &self.servers {
            waits.spawn(server.wait_ready());
        }
        all(waits).await?;
        tracing::info!(servers = self.servers.len(), dir = %dirs.root.display(), "database servers are up");
        let mut shards = JoinSet::new();
        for record in &records {
            for shard in &record.shards {
                let source = shard.tablets.iter().find(|t| t.kind == Kind::Primary);
                let port = source.and_then(|s| self.port(&s.alias));
                let sql = schema(config, record)?;
                shards.spawn(set_up(record.clone(), shard.clone(), port, sql));
            }
        }
        all(shards).await?;
        for record in records.iter_mut().filter(|r| r.schema_pending) {
            record.schema_pending = false;
            store.save(record)?;
        }
        Ok(store)
    }

    fn port(&self, alias: &str) -> Option<u16> {
        self.servers
            .iter()
            .find(|s| s.alias == alias)
            .and_then(|s| s.port)
    }

    /// Stops the servers, replicas first, each kind at once.
    pub(crate) async fn stop(&mut self) {
        let servers = std::mem::take(&mut self.servers);
        let (primaries, replicas): (Vec<_>, Vec<_>) = servers.into_iter().partition(|s| s.primary);
        for kind in [replicas, primaries] {
            let mut stops = JoinSet::new();
            for server in kind {
                stops.spawn(server.stop());
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
    shard: crate::topology::ShardRecord,
    port: Option<u16>,
    sql: Option<String>,
) -> Result<(), Error> {
    let mut primary = None;
    for tablet in &shard.tablets {
        if tablet.kind == Kind::Primary {
            primary = Some((tablet.tablet().await?, &tablet.password));
        }
    }
    let Some((primary, password)) = primary else { return Ok(()) };
    if let Some(port) = port {
        for tablet in shard.tablets.iter().filter(|t| t.kind != Kind::Primary) {
            replication::attach(&*tablet.tablet().await?, port, password).await?;
        }
    }
    if !record.schema_pending {
        return Ok(());
    }
    let mut conn = backend::connect(&primary).await?;
    let database = record.database();
    // A start that was cut off may have left a part of the schema.
    let fresh = format!("DROP DATABASE IF EXISTS `{database}`; CREATE DATABASE `{database}`");
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
        if let Err(e) = conn.query_drop(&statement).await {
            let mut short: String = statement.chars().take(120).collect();
            if short.len() < statement.len() {
                short.push_str("...");
            }
            return Err(Error::Config(format!(
                "schema of {database}, shard {shard} ({name}), statement {i}: {e}; the statement is: {short}"
            )));
        }
    }
    Ok(())
}
