//! What a server says of itself, in a few statements.
use super::dialect::{Dialect, SemiSyncNames};
use super::galera::Galera;
use crate::gtid::Position;
use crate::sql::{Conn, Error, Row};
use coregate_planner::snapshot::Tablet;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Facts {
    pub(crate) version: String,
    pub(crate) server_id: u32,
    /// MySQL's; MariaDB has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_uuid: Option<String>,
    pub(crate) read_only: bool,
    /// MySQL's: no writes by any account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) super_read_only: Option<bool>,
    /// The keyspace's database, where it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missing_database: Option<String>,
    /// What it has applied, from whomever; `None`: it has no GTIDs.
    #[serde(skip)]
    pub(crate) position: Option<Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replication: Option<Replication>,
    pub(crate) semi_sync: SemiSync,
    /// A replica: when the last heartbeat was written that it has applied, in milliseconds since
    /// 1970.
    #[serde(skip)]
    pub(crate) heartbeat_ms: Option<u64>,
    /// `None`: it is in no cluster of Galera's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) galera: Option<Galera>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct SemiSync {
    /// It waits for a replica before it acknowledges.
    pub(crate) primary_on: bool,
    /// It acknowledges to its primary.
    pub(crate) replica_on: bool,
    /// Replicas that acknowledge to it.
    pub(crate) clients: u32,
    /// Commits that wait for an acknowledgement.
    pub(crate) waiting: u32,
    /// Commits that were acknowledged since its start.
    pub(crate) acknowledged: u64,
    /// `None`: the server has no semi-sync, as MySQL without its plugins.
    #[serde(skip)]
    pub(crate) names: Option<SemiSyncNames>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Thread {
    #[default]
    Stopped,
    Connecting,
    Running,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Replication {
    pub(crate) source_host: String,
    pub(crate) source_port: u16,
    pub(crate) receiver: Thread,
    pub(crate) applier: bool,
    pub(crate) seconds_behind: Option<u64>,
    /// What it has received.
    #[serde(skip)]
    pub(crate) received: Option<Position>,
    /// How far its primary's log was read: it grows with every event.
    #[serde(skip)]
    pub(crate) read_to: u64,
    pub(crate) error_code: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) error: String,
}

impl Facts {
    pub(crate) fn dialect(&self) -> Dialect {
        Dialect::of(&self.version)
    }

    /// Can it be made primary or replica? It has GTIDs, and knows our statements.
    pub(crate) fn is_movable(&self) -> bool {
        self.position.is_some() && self.dialect().knows(&self.version)
    }

    /// Does it take writes of some account that has no business on a replica?
    pub(crate) fn is_writable(&self) -> bool {
        !self.read_only || self.super_read_only == Some(false)
    }

    /// All that it has, applied or only received.
    pub(crate) fn received(&self) -> Option<Position> {
        let mut all = self.position.clone()?;
        if let Some(received) = self.replication.as_ref().and_then(|r| r.received.as_ref()) {
            all.merge(received);
        }
        Some(all)
    }
}

/// Asks a server for all of it. `database`: of the keyspace that it is to have.
pub(crate) async fn read(
    conn: &mut Conn,
    tablet: &Tablet,
    database: Option<&str>,
) -> Result<Facts, Error> {
    let first: Option<(String, u32, bool)> = conn
        .query_first("SELECT @@version, @@server_id, @@global.read_only")
        .await?;
    let (version, server_id, read_only) = first.unwrap_or_default();
    let mut facts = Facts { version, server_id, read_only, ..Facts::default() };
    if let Some(database) = database {
        let sql = "SELECT 1 FROM information_schema.schemata WHERE schema_name = ?";
        let there: Option<u8> = conn.exec_first(sql, (database,)).await?;
        facts.missing_database = there.is_none().then(|| database.to_owned());
    }
    if tablet.alias == "upstream" {
        return Ok(facts);
    }
    let dialect = facts.dialect();
    match dialect {
        Dialect::MariaDb => {
            let position: Option<String> =
                conn.query_first("SELECT @@global.gtid_current_pos").await?;
            facts.position = position.as_deref().and_then(Position::mariadb);
        }
        Dialect::MySql => unless_refused(of_mysql(conn, &mut facts).await)?.unwrap_or_default(),
    }
    // What the account may not see is not there.
    facts.replication = unless_refused(replication(conn, dialect).await)?.flatten();
    if facts.replication.is_some() {
        // Where there is no such table, nobody writes one.
        let sql = "SELECT MAX(written_ms) FROM `_coregate`.`heartbeat`";
        let written = conn.query_first::<Option<u64>>(sql).await;
        facts.heartbeat_ms = unless_refused(written)?.flatten().flatten();
    }
    let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name LIKE 'rpl\\_semi\\_sync\\_%\\_enabled' OR \
        Variable_name IN \
               ('wsrep_on', 'wsrep_desync', 'wsrep_reject_queries', \
               'wsrep_sst_donor_rejects_queries')";
    let variables = conn.query::<(String, String)>(sql).await?;
    facts.semi_sync = unless_refused(semi_sync(conn, &variables).await)?.unwrap_or_default();
    facts.galera = unless_refused(galera(conn, variables).await)?.flatten();
    Ok(facts)
}

/// What MariaDB has not. Versions before 5.7 refuse the question, and cannot be moved.
async fn of_mysql(conn: &mut Conn, facts: &mut Facts) -> Result<(), Error> {
    let sql = "SELECT @@server_uuid, @@global.super_read_only, @@global.gtid_mode, \
        @@global.gtid_executed";
    let found: Option<(String, bool, String, String)> = conn.query_first(sql).await?;
    let Some((uuid, super_read_only, mode, executed)) = found else { return Ok(()) };
    facts.server_uuid = Some(uuid);
    facts.super_read_only = Some(super_read_only);
    if mode == "ON" {
        facts.position = Position::mysql(&executed);
    }
    Ok(())
}

fn unless_refused<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error::Server(_)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The names since MySQL 8.0.22, then the older ones, which MariaDB has.
async fn replication(conn: &mut Conn, dialect: Dialect) -> Result<Option<Replication>, Error> {
    // MySQL 8.4 knows only the first, MariaDB before 10.5 only the second.
    let row: Option<Row> = match conn.query_first("SHOW REPLICA STATUS").await {
        Ok(row) => row,
        Err(Error::Server(_)) => conn.query_first("SHOW SLAVE STATUS").await?,
        Err(e) => return Err(e),
    };
    let Some(row) = row else { return Ok(None) };
    let field = |names: [&str; 2]| {
        let text = |name: &str| row.named(name);
        names.into_iter().find_map(text)
    };
    let own = |name| field([name, name]);
    let receiver = match field(["Replica_IO_Running", "Slave_IO_Running"]).as_deref() {
        Some("Yes") => Thread::Running,
        Some("Connecting" | "Preparing") => Thread::Connecting,
        _ => Thread::Stopped,
    };
    let number = |name| {
        own(name)
            .and_then(|n| n.parse::<u32>().ok())
            .filter(|n| *n > 0)
    };
    let errors = [("Last_IO_Errno", "Last_IO_Error"), ("Last_SQL_Errno", "Last_SQL_Error")];
    let error = errors
        .into_iter()
        .find_map(|(code, text)| Some((number(code)?, own(text).unwrap_or_default())));
    let (error_code, error) = error.unwrap_or_default();
    Ok(Some(Replication {
        source_host: field(["Source_Host", "Master_Host"]).unwrap_or_default(),
        source_port: field(["Source_Port", "Master_Port"])
            .and_then(|p| p.parse().ok())
            .unwrap_or_default(),
        receiver,
        applier: field(["Replica_SQL_Running", "Slave_SQL_Running"]).as_deref() == Some("Yes"),
        seconds_behind: field(["Seconds_Behind_Source", "Seconds_Behind_Master"])
            .and_then(|s| s.parse().ok()),
        read_to: field(["Read_Source_Log_Pos", "Read_Master_Log_Pos"])
            .and_then(|p| p.parse().ok())
            .unwrap_or_default(),
        received: match dialect {
            Dialect::MariaDb => own("Gtid_IO_Pos").as_deref().and_then(Position::mariadb),
            Dialect::MySql => own("Retrieved_Gtid_Set")
                .as_deref()
                .and_then(Position::mysql),
        },
        error_code,
        error,
    }))
}

/// What it says where it is in a cluster.
async fn galera(
    conn: &mut Conn,
    variables: Vec<(String, String)>,
) -> Result<Option<Galera>, Error> {
    let mut said: BTreeMap<String, String> = variables.into_iter().collect();
    if Galera::of(&said).is_none() {
        return Ok(None);
    }
    for (name, value) in conn
        .query::<(String, String)>("SHOW GLOBAL STATUS LIKE 'wsrep\\_%'")
        .await?
    {
        said.insert(name.to_ascii_lowercase(), value);
    }
    Ok(Galera::of(&said))
}

/// By whichever names the server has.
async fn semi_sync(conn: &mut Conn, variables: &[(String, String)]) -> Result<SemiSync, Error> {
    let mut found = SemiSync::default();
    for (name, value) in variables {
        let on = value == "ON" || value == "1";
        let names = match name.as_str() {
            "rpl_semi_sync_master_enabled" | "rpl_semi_sync_slave_enabled" => SemiSyncNames::Master,
            "rpl_semi_sync_source_enabled" | "rpl_semi_sync_replica_enabled" => {
                SemiSyncNames::Source
            }
            _ => continue,
        };
        found.names = Some(names);
        let of_primary = name.starts_with(names.primary());
        *(if of_primary { &mut found.primary_on } else { &mut found.replica_on }) |= on;
    }
    if found.primary_on {
        let sql = "SHOW GLOBAL STATUS LIKE 'Rpl\\_semi\\_sync\\_%'";
        for (name, value) in conn.query::<(String, String)>(sql).await? {
            let name = name.to_ascii_lowercase();
            let of = ["rpl_semi_sync_master_", "rpl_semi_sync_source_"];
            match of.iter().find_map(|start| name.strip_prefix(start)) {
                Some("clients") => found.clients = value.parse().unwrap_or_default(),
                Some("wait_sessions") => found.waiting = value.parse().unwrap_or_default(),
                Some("yes_tx") => found.acknowledged = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
    }
    Ok(found)
}
