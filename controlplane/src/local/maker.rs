//! Keyspaces that SQL clients make and drop while a local cluster runs: each has one shard, on
//! servers of its own.
use super::dirs::Dirs;
use super::install::Binaries;
use super::plan::{MAX_SERVERS, RESERVED, new_record, next_number};
use super::{Cluster, Fence, KeyspaceArg, LocalConfig, PORT_TRIES, all, server, set_up};
use crate::Error;
use crate::backend::{self, failed};
use crate::sql;
use crate::store::{Store, Written};
use crate::topology::{KeyspaceRecord, Kind, valid_name};
use coregate_planner::control::SqlError;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// A start of servers that is on its way is waited for so long when all is to end.
const CLOSE_PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no such keyspace.
pub(crate) enum Refusal {
    /// What the client is told.
    Sql(SqlError),
    Other(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

fn refuse(code: u16, sqlstate: [u8; 5], message: String) -> Refusal {
    Refusal::Sql(SqlError { code, sqlstate, message })
}

pub(crate) struct Maker {
    config: LocalConfig,
    binaries: Binaries,
    dirs: Dirs,
    template: PathBuf,
    keepers: Fence,
    /// The number of the last server's alias, none of which is used twice. `None`: all is to end.
    /// One keyspace is made at a time.
    last: Mutex<Option<usize>>,
}

impl Maker {
    pub(super) fn new(
        config: &LocalConfig,
        binaries: Binaries,
        dirs: Dirs,
        template: PathBuf,
        keepers: Fence,
    ) -> Self {
        let config = config.clone();
        Self { config, binaries, dirs, template, keepers, last: Mutex::new(Some(0)) }
    }

    /// No further servers.
    pub(super) async fn close(&self) {
        if let Ok(mut last) = tokio::time::timeout(CLOSE_PATIENCE, self.last.lock()).await {
            *last = None;
        }
    }

    /// Are all servers of the keyspace kept by this process?
    pub(crate) fn owns(&self, record: &KeyspaceRecord) -> bool {
        let mut tablets = record.shards.iter().flat_map(|s| &s.tablets);
        tablets.all(|tablet| self.keepers.owns(&tablet.alias))
    }

    /// Starts servers for a database, runs the client's `CREATE DATABASE` there, and writes the
    /// keyspace. `known`: those that there are.
    pub(crate) async fn make(
        &self,
        store: &Store,
        known: &[KeyspaceRecord],
        name: &str,
        create: &str,
    ) -> Result<Written, Refusal> {
        if RESERVED.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Err(refuse(
                1007,
                *b"HY000",
                format!("Can't create database '{name}'; database exists"),
            ));
        }
        if !valid_name(name) {
            return Err(refuse(1102, *b"42000", format!("Incorrect database name '{name}'")));
        }
        let mut last = self.last.lock().await;
        let Some(number) = &mut *last else {
            return Err(refuse(1053, *b"08S01", "Server shutdown in progress".to_owned()));
        };
        let replicas = replicas(known);
        let servers = known
            .iter()
            .flat_map(|r| &r.shards)
            .map(|s| s.tablets.len());
        if servers.sum::<usize>() + replicas >= MAX_SERVERS {
            let message =
                format!("there would be more than {MAX_SERVERS} servers: drop a database first");
            return Err(refuse(1105, *b"HY000", message));
        }
        let mut next = next_number(known, &self.dirs).max(*number);
        let arg = KeyspaceArg { name: name.to_owned(), shards: vec!["0".to_owned()], replicas };
        // Files that were given are those of the keyspaces that were asked for at the start.
        let config = LocalConfig {
            keyspaces: vec![arg.clone()],
            schema: None,
            vschema: None,
            ..self.config.clone()
        };
        let mut record = new_record(&config, &self.dirs, &arg, &mut next)?;
        *number = next;
        let made = self.bring_up(&mut record, create).await;
        let written = match made {
            Ok(()) => store.save(&mut record, None).await.map_err(|e| match e {
                Error::Edited(_) => refuse(
                    1007,
                    *b"HY000",
                    format!("Can't create database '{name}'; database exists"),
                ),
                // It may be there.
                other => Refusal::Other(other),
            }),
            Err(refusal) => Err(refusal),
        };
        if !matches!(written, Ok(_) | Err(Refusal::Other(Error::Unknown { .. }))) {
            self.unmake(&record).await;
        }
        written
    }

    async fn bring_up(&self, record: &mut KeyspaceRecord, create: &str) -> Result<(), Refusal> {
        let mut copies = JoinSet::new();
        for tablet in record.shards.iter().flat_map(|s| &s.tablets) {
            let dir = self.dirs.tablet(&tablet.alias);
            copies.spawn(server::make_data(self.template.clone(), dir, self.dirs.owner));
        }
        all(copies).await?;
        let mut cluster = Cluster { keepers: self.keepers.clone(), ..Cluster::default() };
        for left in (0..PORT_TRIES).rev() {
            server::give_ports(std::slice::from_mut(record), self.binaries.flavor)?;
            match cluster
                .launch(&self.binaries, &self.dirs, std::slice::from_ref(record))
                .await
            {
                Ok(()) => break,
                Err(e) => {
                    cluster.stop_starting().await;
                    if left == 0 || !e.to_string().contains("Address already in use") {
                        return Err(e.into());
                    }
                }
            }
        }
        cluster.keep();
        for shard in record.shards.clone() {
            set_up(record.clone(), shard, self.binaries.flavor, None, self.config.charset.clone())
                .await?;
        }
        self.create(record, create).await?;
        record.schema_pending = false;
        Ok(())
    }

    /// The client's own statement makes the database, with what else it says.
    async fn create(&self, record: &KeyspaceRecord, create: &str) -> Result<(), Refusal> {
        let primaries = record.shards.iter().flat_map(|s| &s.tablets);
        let Some(primary) = primaries.into_iter().find(|t| t.kind == Kind::Primary) else {
            return Err(Error::Gone.into());
        };
        let tablet = primary.tablet().await?;
        let mut conn = backend::connect(&tablet).await?;
        let database = record.database();
        conn.query_drop(format!("DROP DATABASE `{database}`"))
            .await
            .map_err(|e| failed(&tablet, e))?;
        let statement = self.with_charset(create);
        match conn.query_drop(&statement).await {
            Ok(()) => {}
            Err(sql::Error::Server(e)) => return Err(refuse(e.code, e.sqlstate, e.message)),
            Err(e) => return Err(failed(&tablet, e).into()),
        }
        let sql = "SELECT 1 FROM information_schema.schemata WHERE schema_name = ?";
        match conn.exec_first::<u8>(sql, (database,)).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => {
                Err(failed(&tablet, format!("it has made another database than {database}")).into())
            }
            Err(e) => Err(failed(&tablet, e).into()),
        }
    }

    /// `coregate local --charset` is for databases that say nothing themselves.
    fn with_charset(&self, create: &str) -> String {
        let statement = create.trim().trim_end_matches(';');
        let upper = statement.to_ascii_uppercase();
        match &self.config.charset {
            Some(charset)
                if !["CHARACTER", "CHARSET", "COLLATE"]
                    .iter()
                    .any(|w| upper.contains(w)) =>
            {
                format!("{statement}\n CHARACTER SET {charset}")
            }
            _ => statement.to_owned(),
        }
    }

    /// Ends the servers of a keyspace that is in the topology no more, and removes what they had.
    pub(crate) async fn unmake(&self, record: &KeyspaceRecord) {
        let mut ends = JoinSet::new();
        for tablet in record.shards.iter().flat_map(|s| &s.tablets) {
            let (keeper, dir) =
                (self.keepers.give_up(&tablet.alias), self.dirs.tablet(&tablet.alias));
            ends.spawn(async move {
                if let Some(keeper) = keeper {
                    keeper.kill().await;
                }
                let removed = tokio::fs::remove_dir_all(&dir).await;
                if let Err(e) = removed.or_else(|e| match e.kind() {
                    std::io::ErrorKind::NotFound => Ok(()),
                    _ => Err(e),
                }) {
                    tracing::warn!(dir = %dir.display(), "a dropped database's files are left: \
                        {e}");
                }
            });
        }
        ends.join_all().await;
    }
}

/// As many as every other shard has.
fn replicas(known: &[KeyspaceRecord]) -> usize {
    let shards = known.iter().flat_map(|r| &r.shards);
    shards
        .map(|s| s.tablets.len().saturating_sub(1))
        .min()
        .unwrap_or(0)
}
