//! What makes a server primary or replica: MariaDB and MySQL, by GTID. Each statement has a time
//! limit; after it, what the server has made of it is unknown.
use crate::Error;
use crate::backend::{Connector, failed};
use crate::gtid::Position;
use crate::servers::dialect::{Dialect, SemiSyncNames, shown};
use crate::servers::status::{Facts, Thread, read};
use crate::sql::{Conn, Row};
use crate::topology::Account;
use coregate_planner::snapshot::Tablet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a primary may wait for an acknowledgement before it goes on without: longer than any
/// outage, or it would acknowledge what no replica has.
const SEMI_SYNC_TIMEOUT_MS: u64 = 1 << 40;

/// ER_RESTART_SERVER_FAILED: nobody that the server knows of starts it again.
const RESTART_FAILED: u16 = 3707;

/// A server that is to be changed.
pub(crate) struct Server {
    pub(crate) tablet: Arc<Tablet>,
    dialect: Dialect,
    conn: Conn,
    /// For each statement.
    patience: Duration,
}

/// Where a replica finds its primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) account: Account,
}

impl Server {
    pub(crate) async fn connect(
        connector: &Connector,
        tablet: &Arc<Tablet>,
        patience: Duration,
    ) -> Result<Self, Error> {
        let conn = match timeout(patience, connector.connect(tablet)).await {
            Ok(conn) => conn?,
            Err(_) => return Err(late(tablet, "the login", patience)),
        };
        let mut server =
            Self { tablet: Arc::clone(tablet), dialect: Dialect::MariaDb, conn, patience };
        server.dialect = Dialect::of(&server.value("SELECT @@version").await?);
        Ok(server)
    }

    async fn run(&mut self, sql: &str) -> Result<(), Error> {
        self.run_within(sql, self.patience).await
    }

    async fn run_within(&mut self, sql: &str, patience: Duration) -> Result<(), Error> {
        let what = shown(sql);
        match timeout(patience, self.conn.query_drop(sql)).await {
            Ok(done) => done.map_err(|e| failed(&self.tablet, format!("{what}: {e}"))),
            Err(_) => Err(late(&self.tablet, what, patience)),
        }
    }

    async fn value(&mut self, sql: &str) -> Result<String, Error> {
        match timeout(self.patience, self.conn.query_first::<Option<String>>(sql)).await {
            Ok(value) => {
                let value = value.map_err(|e| failed(&self.tablet, format!("{sql}: {e}")))?;
                Ok(value.flatten().unwrap_or_default())
            }
            Err(_) => Err(late(&self.tablet, sql, self.patience)),
        }
    }

    async fn position(&mut self, name: &str) -> Result<Position, Error> {
        let text = self.value(&format!("SELECT @@global.{name}")).await?;
        let position = match self.dialect {
            Dialect::MariaDb => Position::mariadb(&text),
            Dialect::MySql => Position::mysql(&text),
        };
        position.ok_or_else(|| {
            failed(
                &self.tablet,
                format!("{name} is {text:?}, which is no position that is known here"),
            )
        })
    }

    /// What it has applied or committed.
    pub(crate) async fn applied(&mut self) -> Result<Position, Error> {
        self.position(self.dialect.position()).await
    }

    pub(crate) async fn facts(&mut self) -> Result<Facts, Error> {
        match timeout(self.patience, read(&mut self.conn, &self.tablet, None)).await {
            Ok(facts) => facts.map_err(|e| failed(&self.tablet, e)),
            Err(_) => Err(late(&self.tablet, "its status", self.patience)),
        }
    }

    /// No writes of accounts without READ ONLY ADMIN any more. Waits for those that are being
    /// committed.
    pub(crate) async fn set_read_only(&mut self, on: bool) -> Result<(), Error> {
        for sql in self.dialect.read_only(on) {
            self.run(sql).await?;
        }
        Ok(())
    }

    async fn processes(&mut self) -> Result<Vec<Row>, Error> {
        match timeout(self.patience, self.conn.query("SHOW PROCESSLIST")).await {
            Ok(rows) => rows.map_err(|e| failed(&self.tablet, e)),
            Err(_) => Err(late(&self.tablet, "its connections", self.patience)),
        }
    }

    /// Ends all connections but our own and those of replicas: what they have open is rolled back.
    pub(crate) async fn kill_sessions(&mut self) -> Result<usize, Error> {
        let rows = self.processes().await?;
        let own = u64::from(self.conn.id());
        let ids: Vec<u64> = rows
            .iter()
            .filter_map(client)
            .filter(|id| *id != own)
            .collect();
        for id in &ids {
            // One that has ended meanwhile is no mistake.
            let _ = self.run(&format!("KILL {id}")).await;
        }
        Ok(ids.len())
    }

    /// Connections of clients that have a database selected. Those of control planes have none.
    pub(crate) async fn strays(&mut self) -> Result<usize, Error> {
        let own = u64::from(self.conn.id());
        let rows = self.processes().await?;
        let of_clients = rows
            .iter()
            .filter(|row| client(row).is_some_and(|id| id != own));
        Ok(of_clients
            .filter(|row| text(row, 3).is_some_and(|db| !db.is_empty()))
            .count())
    }

    /// Takes no writes any more, whoever is connected. Sessions go first: one that waits for an
    /// acknowledgement that never comes would hold up the change.
    pub(crate) async fn fence(&mut self) -> Result<(), Error> {
        self.kill_sessions().await?;
        self.set_read_only(true).await?;
        self.kill_sessions().await.map(drop)
    }

    /// What it has committed, when nothing is being committed any more.
    pub(crate) async fn last_position(&mut self) -> Result<Position, Error> {
        self.run("FLUSH TABLES WITH READ LOCK").await?;
        let position = self.position(self.dialect.committed()).await;
        self.run("UNLOCK TABLES").await?;
        position
    }

    /// Waits until it has applied all of this.
    pub(crate) async fn wait_for(
        &mut self,
        position: &Position,
        patience: Duration,
    ) -> Result<(), Error> {
        let sql = self
            .dialect
            .wait_for(&position.to_string(), patience.as_secs_f64());
        let wait = self.conn.query_first::<Option<i64>>(sql);
        match timeout(patience + self.patience, wait).await {
            Ok(Ok(Some(Some(0)))) => Ok(()),
            Ok(Ok(_)) | Err(_) => {
                Err(late(&self.tablet, &format!("applying everything up to {position}"), patience))
            }
            Ok(Err(e)) => Err(failed(&self.tablet, e)),
        }
    }

    /// Galera: waits until it has applied all that the cluster had when it was asked.
    pub(crate) async fn causal(&mut self, patience: Duration) -> Result<(), Error> {
        self.run("SET SESSION wsrep_sync_wait=15").await?;
        self.run_within("SELECT 1 FROM information_schema.schemata LIMIT 1", patience)
            .await
    }

    /// Receives nothing more. Gives what it has received.
    pub(crate) async fn stop_receiving(&mut self) -> Result<Position, Error> {
        self.wake_receiver().await?;
        self.run(self.dialect.stop_receiver()).await?;
        let facts = self.facts().await?;
        facts.received().ok_or_else(|| {
            failed(
                &self.tablet,
                "it does not say what it has received: does it replicate by GTIDs?",
            )
        })
    }

    /// MariaDB's receiver does not notice for 2 s that it is to stop while it reads from a primary
    /// that stands still, unless it is killed.
    async fn wake_receiver(&mut self) -> Result<(), Error> {
        if self.dialect != Dialect::MariaDb {
            return Ok(());
        }
        let rows = self.processes().await?;
        let mut receivers = rows
            .iter()
            .filter(|row| text(row, 4).as_deref() == Some("Slave_IO"));
        // Of several, which is whose is not said there.
        if let (Some(one), None) = (receivers.next(), receivers.next())
            && let Some(id) = text(one, 0)
        {
            // One that has ended meanwhile is no mistake.
            let _ = self.run(&format!("KILL {id}")).await;
        }
        Ok(())
    }

    pub(crate) async fn start_applying(&mut self) -> Result<(), Error> {
        self.run(self.dialect.start_applier()).await
    }

    /// Connects to its primary again, as the first sign of whether that one is there.
    pub(crate) async fn reconnect(&mut self) -> Result<(), Error> {
        self.run(self.dialect.stop_receiver()).await?;
        self.run(self.dialect.start_receiver()).await
    }

    /// Connects to its primary again, so that it is known there as one that acknowledges.
    pub(crate) async fn acknowledge_anew(&mut self, acknowledges: bool) -> Result<(), Error> {
        self.set_semi_sync_replica(acknowledges).await?;
        self.reconnect().await
    }

    /// Heartbeats that it has got from its primary, and the time between two of them.
    pub(crate) async fn heartbeats(&mut self) -> Result<(u64, Duration), Error> {
        let beats = match self.dialect {
            Dialect::MariaDb => timeout(self.patience, mariadb_heartbeats(&mut self.conn)).await,
            Dialect::MySql => timeout(self.patience, mysql_heartbeats(&mut self.conn)).await,
        };
        match beats {
            Ok(beats) => beats.map_err(|e| failed(&self.tablet, e)),
            Err(_) => Err(late(&self.tablet, "its heartbeats", self.patience)),
        }
    }

    /// Receives and applies nothing more. Of a primary that has died, a replica of MySQL may have
    /// received half a transaction, whose rest its applier would wait for, a minute long, before it
    /// stops: that one is killed while it rests, which undoes the half.
    async fn stop_replica(&mut self) -> Result<(), Error> {
        if self.dialect == Dialect::MySql {
            let replication = self.facts().await?.replication;
            if replication.is_some_and(|r| r.receiver != Thread::Running && r.applier) {
                self.run(self.dialect.stop_receiver()).await?;
                let rows = self.processes().await?;
                for id in rows.iter().filter_map(resting_applier) {
                    let _ = self.run(&format!("KILL {id}")).await;
                }
            }
        }
        self.run(self.dialect.stop_replica()).await
    }

    /// Forgets its primary and takes writes. `semi_sync`: `None` leaves it as it is.
    pub(crate) async fn promote(&mut self, semi_sync: Option<bool>) -> Result<(), Error> {
        self.stop_replica().await?;
        self.run(self.dialect.forget_primary()).await?;
        if let Some(on) = semi_sync {
            self.set_semi_sync_primary(on).await?;
        }
        self.set_read_only(false).await
    }

    /// `None`: it has no semi-sync.
    async fn semi_sync_names(&mut self) -> Result<Option<SemiSyncNames>, Error> {
        Ok(self.facts().await?.semi_sync.names)
    }

    fn no_semi_sync(&self) -> Error {
        failed(
            &self.tablet,
            "it has no semi-sync: load the plugins rpl_semi_sync_source and rpl_semi_sync_replica \
             (plugin_load_add=semisync_source.so and semisync_replica.so)",
        )
    }

    /// With semi-sync, commits wait until a replica has them, however long that takes.
    pub(crate) async fn set_semi_sync_primary(&mut self, on: bool) -> Result<(), Error> {
        let Some(names) = self.semi_sync_names().await? else {
            return if on { Err(self.no_semi_sync()) } else { Ok(()) };
        };
        let name = names.primary();
        if !on {
            // On a replica it would make the applier wait for acknowledgements that nobody sends.
            return self.run(&format!("SET GLOBAL {name}_enabled=OFF")).await;
        }
        self.run(&format!("SET GLOBAL {name}_timeout={SEMI_SYNC_TIMEOUT_MS}"))
            .await?;
        self.run(&format!("SET GLOBAL {name}_wait_point=AFTER_SYNC"))
            .await?;
        if self.dialect == Dialect::MySql {
            let of_mysql = match names {
                SemiSyncNames::Master => "wait_no_slave",
                SemiSyncNames::Source => "wait_no_replica",
            };
            self.run(&format!("SET GLOBAL {name}_{of_mysql}=ON"))
                .await?;
        }
        self.run(&format!("SET GLOBAL {name}_enabled=ON")).await
    }

    async fn set_semi_sync_replica(&mut self, on: bool) -> Result<(), Error> {
        match self.semi_sync_names().await? {
            Some(names) => {
                self.run(&format!("SET GLOBAL {}_enabled={}", names.replica(), u8::from(on)))
                    .await
            }
            None if on => Err(self.no_semi_sync()),
            None => Ok(()),
        }
    }

    /// Follows another server, from where it is.
    pub(crate) async fn follow(
        &mut self,
        source: &Source,
        semi_sync: Option<bool>,
    ) -> Result<(), Error> {
        let change = self
            .dialect
            .change_source(source)
            .map_err(|why| failed(&self.tablet, why))?;
        if self.facts().await?.is_writable() {
            self.fence().await?;
        }
        self.stop_replica().await?;
        if let Some(on) = semi_sync {
            self.set_semi_sync_primary(false).await?;
            self.set_semi_sync_replica(on).await?;
        }
        if self.dialect == Dialect::MariaDb {
            self.go_on_from_own().await?;
        }
        self.run(&change).await?;
        self.run(self.dialect.start_replica()).await
    }

    /// Follows nobody, and acknowledges nothing to anybody.
    pub(crate) async fn leave(&mut self) -> Result<(), Error> {
        self.stop_replica().await?;
        self.set_semi_sync_replica(false).await
    }

    /// Goes on replicating, and its primary does not wait for it.
    pub(crate) async fn stop_acknowledging(&mut self) -> Result<(), Error> {
        self.set_semi_sync_replica(false).await?;
        let replicates = |r: crate::servers::status::Replication| r.receiver != Thread::Stopped;
        match self.facts().await?.replication.is_some_and(replicates) {
            true => self.reconnect().await,
            false => Ok(()),
        }
    }

    /// MariaDB: leaves out the event at which it has stopped, if its error says so.
    pub(crate) async fn skip_event(&mut self, says: &str) -> Result<(), Error> {
        let replication = self.facts().await?.replication.unwrap_or_default();
        if replication.applier
            || !replication.error.contains(says)
            || self.dialect != Dialect::MariaDb
        {
            return Err(failed(
                &self.tablet,
                "it has stopped for another reason meanwhile, or goes on",
            ));
        }
        self.run(self.dialect.stop_replica()).await?;
        self.run("SET GLOBAL sql_slave_skip_counter=1").await?;
        self.run(self.dialect.start_replica()).await
    }

    /// Rolls back whatever is prepared, without a log: it would keep tables from being dropped.
    async fn roll_back_prepared(&mut self) -> Result<(), Error> {
        self.run("SET SESSION sql_log_bin=0").await?;
        let rows: Vec<(u64, usize, usize, Vec<u8>)> =
            match timeout(self.patience, self.conn.query("XA RECOVER")).await {
                Ok(rows) => rows.map_err(|e| failed(&self.tablet, e))?,
                Err(_) => return Err(late(&self.tablet, "XA RECOVER", self.patience)),
            };
        for (format, length, _, data) in rows {
            let (id, branch) = data.split_at(length.min(data.len()));
            let hex = coregate_planner::keyrange::to_hex;
            self.run(&format!("XA ROLLBACK X'{}',X'{}',{format}", hex(id), hex(branch)))
                .await?;
        }
        Ok(())
    }

    /// MySQL: throws away all data, and copies another server's. Then the server ends, to be
    /// started again by whoever keeps it.
    pub(crate) async fn clone_from(
        &mut self,
        source: &Source,
        patience: Duration,
    ) -> Result<(), Error> {
        let sql = self
            .dialect
            .clone_from(source)
            .map_err(|why| failed(&self.tablet, why))?;
        for statement in &sql.prepare {
            self.run(statement).await?;
        }
        self.roll_back_prepared().await?;
        match timeout(patience, self.conn.query_drop(&sql.copy)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(crate::sql::Error::Server(e))) if e.code != RESTART_FAILED => {
                Err(failed(&self.tablet, format!("{}: {}", shown(&sql.copy), e.message)))
            }
            // It has ended, or says that it ends because nobody would start it again.
            Ok(Err(_)) => Ok(()),
            Err(_) => Err(late(&self.tablet, shown(&sql.copy), patience)),
        }
    }

    /// MariaDB: its logs tell everything since it had no data.
    pub(crate) async fn require_all_logs(&mut self) -> Result<(), Error> {
        let first =
            match timeout(self.patience, self.conn.query_first::<Row>("SHOW BINARY LOGS")).await {
                Ok(row) => row.map_err(|e| failed(&self.tablet, e))?,
                Err(_) => return Err(late(&self.tablet, "SHOW BINARY LOGS", self.patience)),
            };
        match first.and_then(|row| row.text(0)) {
            Some(name) if name.ends_with(".000001") => Ok(()),
            _ => Err(failed(
                &self.tablet,
                "its binary logs do not go back to its beginning: copy it by hand",
            )),
        }
    }

    /// MariaDB: one that was primary has written itself, and goes on from there. MySQL's sets say
    /// so themselves.
    async fn go_on_from_own(&mut self) -> Result<(), Error> {
        let (current, applied) =
            (self.position("gtid_current_pos").await?, self.position("gtid_slave_pos").await?);
        if current != applied {
            self.run(&format!("SET GLOBAL gtid_slave_pos='{current}'"))
                .await?;
        }
        Ok(())
    }
}

/// A column of the process list.
fn text(row: &Row, at: usize) -> Option<String> {
    row.text(at)
}

/// The id of a connection that is a client's, in a row of the process list.
fn client(row: &Row) -> Option<u64> {
    let (user, command) = (text(row, 1).unwrap_or_default(), text(row, 4).unwrap_or_default());
    let own = ["system user", "event_scheduler"].contains(&user.as_str())
        || command.starts_with("Binlog Dump")
        || command.starts_with("Slave_")
        || command == "Daemon";
    if own { None } else { text(row, 0)?.parse().ok() }
}

/// The id of MySQL's applier, where it has applied or given to its workers all that there is.
fn resting_applier(row: &Row) -> Option<u64> {
    let (user, state) = (text(row, 1)?, text(row, 6)?);
    let rests = state.contains("has read all relay log");
    if user == "system user" && rests { text(row, 0)?.parse().ok() } else { None }
}

type Beats = Result<(u64, Duration), crate::sql::Error>;

fn period(seconds: f64) -> Duration {
    if seconds > 0.0 { Duration::from_secs_f64(seconds.min(1e6)) } else { Duration::MAX }
}

async fn mariadb_heartbeats(conn: &mut Conn) -> Beats {
    let sql = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Slave_received_heartbeats', \
        'Slave_heartbeat_period')";
    let (mut count, mut between) = (0, Duration::MAX);
    for (name, value) in conn.query::<(String, String)>(sql).await? {
        match (name.eq_ignore_ascii_case("Slave_received_heartbeats"), value.parse::<f64>()) {
            (true, _) => count = value.parse().unwrap_or_default(),
            (false, Ok(seconds)) => between = period(seconds),
            _ => {}
        }
    }
    Ok((count, between))
}

/// These tables tell it also where performance_schema is OFF; an account that may not read them
/// says nothing of heartbeats.
async fn mysql_heartbeats(conn: &mut Conn) -> Beats {
    let sql = "SELECT s.count_received_heartbeats, CAST(c.heartbeat_interval AS DOUBLE) \
               FROM performance_schema.replication_connection_status s \
               JOIN performance_schema.replication_connection_configuration c USING (channel_name) \
               WHERE channel_name = ''";
    match conn.query_first::<(u64, f64)>(sql).await {
        Ok(found) => {
            Ok(found.map_or((0, Duration::MAX), |(count, seconds)| (count, period(seconds))))
        }
        Err(crate::sql::Error::Server(_)) => Ok((0, Duration::MAX)),
        Err(e) => Err(e),
    }
}

fn late(tablet: &Tablet, what: &str, patience: Duration) -> Error {
    failed(tablet, format!("{what} was not done within {} ms", patience.as_millis()))
}
