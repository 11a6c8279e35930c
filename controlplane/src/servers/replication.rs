//! The statements that make a server primary or replica: MariaDB, by GTID. Each has a time limit; after it, what the server has made
//! of the statement is unknown.
use crate::Error;
use crate::backend::{Connector, failed};
use crate::gtid::Position;
use crate::servers::status::{Facts, read};
use crate::topology::Account;
use coregate_planner::snapshot::Tablet;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a primary may wait for an acknowledgement before it goes on without: longer than any outage, or it would acknowledge
/// what no replica has.
const SEMI_SYNC_TIMEOUT_MS: u64 = 1 << 40;

/// A server that is to be changed.
pub(crate) struct Server {
    pub(crate) tablet: Arc<Tablet>,
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

/// Text in quotes, whatever the SQL mode: these statements take no parameters.
fn quoted(text: &str) -> Result<String, String> {
    match text
        .chars()
        .any(|c| c.is_control() || matches!(c, '\'' | '\\'))
    {
        true => {
            Err("names and passwords of replication cannot have quotes, backslashes or control characters"
                .to_owned())
        }
        false => Ok(format!("'{text}'")),
    }
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
        Ok(Self { tablet: Arc::clone(tablet), conn, patience })
    }

    async fn run(&mut self, sql: &str) -> Result<(), Error> {
        self.run_within(sql, self.patience).await
    }

    async fn run_within(&mut self, sql: &str, patience: Duration) -> Result<(), Error> {
        let what = sql.split_once(" MASTER_").map_or(sql, |(what, _)| what);
        match timeout(patience, self.conn.query_drop(sql)).await {
            Ok(done) => done.map_err(|e| failed(&self.tablet, format!("{what}: {e}"))),
            Err(_) => Err(late(&self.tablet, what, patience)),
        }
    }

    async fn value(&mut self, sql: &str) -> Result<String, Error> {
        match timeout(self.patience, self.conn.query_first::<Option<String>, _>(sql)).await {
            Ok(value) => {
                let value = value.map_err(|e| failed(&self.tablet, format!("{sql}: {e}")))?;
                Ok(value.flatten().unwrap_or_default())
            }
            Err(_) => Err(late(&self.tablet, sql, self.patience)),
        }
    }

    async fn position(&mut self, name: &str) -> Result<Position, Error> {
        let text = self.value(&format!("SELECT @@global.{name}")).await?;
        Position::parse(&text).ok_or_else(|| {
            failed(&self.tablet, format!("{name} is {text:?}, which is no position of MariaDB's"))
        })
    }

    pub(crate) async fn facts(&mut self) -> Result<Facts, Error> {
        match timeout(self.patience, read(&mut self.conn, &self.tablet, None)).await {
            Ok(facts) => facts.map_err(|e| failed(&self.tablet, e)),
            Err(_) => Err(late(&self.tablet, "its status", self.patience)),
        }
    }

    /// No writes of accounts without READ ONLY ADMIN any more. Waits for those that are being committed.
    pub(crate) async fn set_read_only(&mut self, on: bool) -> Result<(), Error> {
        self.run(if on { "SET GLOBAL read_only=ON" } else { "SET GLOBAL read_only=OFF" })
            .await
    }

    /// Ends all connections but our own and those of replicas: what they have open is rolled back.
    pub(crate) async fn kill_sessions(&mut self) -> Result<usize, Error> {
        let sql = "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() \
                   AND command NOT IN ('Binlog Dump', 'Slave_IO', 'Slave_SQL', 'Slave_worker', 'Daemon') \
                   AND user NOT IN ('system user', 'event_scheduler')";
        let ids = match timeout(self.patience, self.conn.query::<u64, _>(sql)).await {
            Ok(ids) => ids.map_err(|e| failed(&self.tablet, e))?,
            Err(_) => return Err(late(&self.tablet, "its connections", self.patience)),
        };
        for id in &ids {
            // One that has ended meanwhile is no mistake.
            let _ = self.run(&format!("KILL {id}")).await;
        }
        Ok(ids.len())
    }

    /// What it has committed, when nothing is being committed any more.
    pub(crate) async fn last_position(&mut self) -> Result<Position, Error> {
        self.run("FLUSH TABLES WITH READ LOCK").await?;
        let position = self.position("gtid_binlog_pos").await;
        self.run("UNLOCK TABLES").await?;
        position
    }

    /// Waits until it has applied all of this.
    pub(crate) async fn wait_for(&mut self, position: &Position, patience: Duration) -> Result<(), Error> {
        let seconds = patience.as_secs_f64();
        let sql = format!("SELECT MASTER_GTID_WAIT('{position}', {seconds:.3})");
        let wait = self.conn.query_first::<Option<i64>, _>(sql);
        match timeout(patience + self.patience, wait).await {
            Ok(Ok(Some(Some(0)))) => Ok(()),
            Ok(Ok(_)) | Err(_) => {
                Err(late(&self.tablet, &format!("applying everything up to {position}"), patience))
            }
            Ok(Err(e)) => Err(failed(&self.tablet, e)),
        }
    }

    /// Receives nothing more. Gives what it has received.
    pub(crate) async fn stop_receiving(&mut self) -> Result<Position, Error> {
        self.run("STOP SLAVE IO_THREAD").await?;
        let facts = self.facts().await?;
        facts.received().ok_or_else(|| {
            failed(&self.tablet, "it does not say what it has received: is it MariaDB with GTIDs?")
        })
    }

    pub(crate) async fn start_applying(&mut self) -> Result<(), Error> {
        self.run("START SLAVE SQL_THREAD").await
    }

    /// Connects to its primary again, as the first sign of whether that one is there.
    pub(crate) async fn reconnect(&mut self) -> Result<(), Error> {
        self.run("STOP SLAVE IO_THREAD").await?;
        self.run("START SLAVE IO_THREAD").await
    }

    /// Heartbeats that it has got from its primary, and the time between two of them.
    pub(crate) async fn heartbeats(&mut self) -> Result<(u64, Duration), Error> {
        let sql = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Slave_received_heartbeats', 'Slave_heartbeat_period')";
        let rows = match timeout(self.patience, self.conn.query::<(String, String), _>(sql)).await {
            Ok(rows) => rows.map_err(|e| failed(&self.tablet, e))?,
            Err(_) => return Err(late(&self.tablet, "its heartbeats", self.patience)),
        };
        let (mut count, mut period) = (0, Duration::MAX);
        for (name, value) in rows {
            match (name.eq_ignore_ascii_case("Slave_received_heartbeats"), value.parse::<f64>()) {
                (true, _) => count = value.parse().unwrap_or_default(),
                (false, Ok(seconds)) if seconds > 0.0 => period = Duration::from_secs_f64(seconds.min(1e6)),
                _ => {}
            }
        }
        Ok((count, period))
    }

    /// Forgets its primary and takes writes. `semi_sync`: `None` leaves it as it is.
    pub(crate) async fn promote(&mut self, semi_sync: Option<bool>) -> Result<(), Error> {
        self.run("STOP SLAVE").await?;
        self.run("RESET SLAVE ALL").await?;
        if let Some(on) = semi_sync {
            self.set_semi_sync_primary(on).await?;
        }
        self.set_read_only(false).await
    }

    /// With semi-sync, commits wait until a replica has them, however long that takes.
    pub(crate) async fn set_semi_sync_primary(&mut self, on: bool) -> Result<(), Error> {
        if on {
            self.run(&format!("SET GLOBAL rpl_semi_sync_master_timeout={SEMI_SYNC_TIMEOUT_MS}"))
                .await?;
            self.run("SET GLOBAL rpl_semi_sync_master_wait_point=AFTER_SYNC")
                .await?;
            return self.run("SET GLOBAL rpl_semi_sync_master_enabled=ON").await;
        }
        // On a replica it would make the applier wait for acknowledgements that nobody sends.
        self.run("SET GLOBAL rpl_semi_sync_master_enabled=OFF")
            .await
    }

    /// Follows another server, from where it is.
    pub(crate) async fn follow(&mut self, source: &Source, semi_sync: Option<bool>) -> Result<(), Error> {
        let text = |text: &str| quoted(text).map_err(|why| failed(&self.tablet, why));
        let (host, user) = (text(&source.host)?, text(&source.account.user)?);
        let password = text(&source.account.password)?;
        let change = format!(
            "CHANGE MASTER TO MASTER_HOST={host}, MASTER_PORT={}, MASTER_USER={user}, MASTER_PASSWORD={password}, \
             MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=1",
            source.port
        );
        self.set_read_only(true).await?;
        self.run("STOP SLAVE").await?;
        if let Some(on) = semi_sync {
            self.set_semi_sync_primary(false).await?;
            self.run(&format!("SET GLOBAL rpl_semi_sync_slave_enabled={}", u8::from(on)))
                .await?;
        }
        // One that was primary has written itself: it goes on from there.
        let (current, applied) =
            (self.position("gtid_current_pos").await?, self.position("gtid_slave_pos").await?);
        if current != applied {
            self.run(&format!("SET GLOBAL gtid_slave_pos='{current}'"))
                .await?;
        }
        self.run(&change).await?;
        self.run("START SLAVE").await
    }
}

fn late(tablet: &Tablet, what: &str, patience: Duration) -> Error {
    failed(tablet, format!("{what} was not done within {} ms", patience.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_escapes_is_refused() {
        assert_eq!(quoted("repl-1%").unwrap(), "'repl-1%'");
        for wrong in ["a'b", "a\\", "a\nb"] {
            assert!(quoted(wrong).is_err(), "{wrong}");
        }
    }
}
