//! The heartbeat: the leader writes a row to each primary, again and again. Replicas show by it how
//! old their data are, and a primary that answers shows by it whether writes end there at all.
//!
//! Our account may write to a server that is read-only. So the statement itself looks whether it
//! is: behind `read_only=ON` nothing is written, and what was begun before ends before the last
//! position of a planned move is taken.
use crate::Error;
use crate::backend::{Connector, failed};
use crate::plane::Command;
use crate::sql::{Conn, Error as Refusal};
use coregate_planner::snapshot::Tablet;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

const ER_BAD_DB_ERROR: u16 = 1049;
const ER_NO_SUCH_TABLE: u16 = 1146;
/// ER_DISK_FULL, ER_RECORD_FILE_FULL, ER_ERROR_ON_WRITE, MySQL's ER_DISK_FULL_NOWAIT, and EE_WRITE.
const DISK_FULL: [u16; 5] = [1021, 1114, 1026, 3675, 3];
/// So often is a write that does not end looked at.
const LOOK: Duration = Duration::from_millis(500);

const TABLE: &str = "CREATE TABLE IF NOT EXISTS `_coregate`.`heartbeat` (`keyspace` VARBINARY(256) \
    NOT NULL, \
    `shard` VARBINARY(256) NOT NULL, `writer` VARBINARY(256) NOT NULL, `written_ms` BIGINT \
    UNSIGNED NOT NULL, \
    PRIMARY KEY (`keyspace`, `shard`)) ENGINE=InnoDB";
const BEAT: &str = "INSERT INTO `_coregate`.`heartbeat` (`keyspace`, `shard`, `writer`, \
    `written_ms`) \
    SELECT ?, ?, ?, ? FROM DUAL WHERE @@global.read_only = 0 \
    ON DUPLICATE KEY UPDATE `writer` = VALUES(`writer`), `written_ms` = VALUES(`written_ms`)";

/// What has become of the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Beat {
    Written,
    /// The server answers others, and neither ends this write nor writes anything else, for so
    /// long.
    Stalled {
        ms: u64,
        state: String,
    },
    /// No space is left on its disk.
    DiskFull(String),
}

/// Whose heart it is.
#[derive(Debug, Clone)]
pub(crate) struct Heart {
    pub(crate) keyspace: String,
    pub(crate) shard: String,
    pub(crate) tablet: Arc<Tablet>,
}

/// The tasks that write.
#[derive(Default)]
pub(crate) struct Beats(BTreeMap<String, (Heart, AbortHandle)>);

impl Beats {
    /// One for each of these; those that run already go on, others end.
    pub(crate) fn follow(
        &mut self,
        hearts: Vec<Heart>,
        (interval, writer): (Duration, &str),
        connector: &Connector,
        owner: &mpsc::Sender<Command>,
    ) {
        let same = |a: &Heart, b: &Heart| {
            Arc::ptr_eq(&a.tablet, &b.tablet) && a.keyspace == b.keyspace && a.shard == b.shard
        };
        self.0.retain(|_, (heart, task)| {
            let stays = hearts.iter().any(|h| same(h, heart));
            if !stays {
                task.abort();
            }
            stays
        });
        for heart in hearts {
            let alias = heart.tablet.alias.clone();
            if self.0.contains_key(&alias) {
                continue;
            }
            let writing = Writing {
                heart: heart.clone(),
                writer: writer.to_owned(),
                connector: connector.clone(),
                owner: owner.clone(),
            };
            let task = tokio::spawn(writing.run(interval)).abort_handle();
            self.0.insert(alias, (heart, task));
        }
    }
}

struct Writing {
    heart: Heart,
    writer: String,
    connector: Connector,
    owner: mpsc::Sender<Command>,
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX))
}

impl Writing {
    async fn run(self, interval: Duration) {
        let mut conn = None;
        loop {
            // One after another: what a server does not end is not sent to it again.
            let ended = match conn.take() {
                Some(conn) => self.beat(conn).await,
                None => match self.connect().await {
                    Ok(conn) => self.beat(conn).await,
                    // Whether it is there is the check's business.
                    Err(_) => None,
                },
            };
            conn = ended;
            sleep(interval).await;
        }
    }

    async fn connect(&self) -> Result<Conn, Error> {
        let mut conn = self.connector.connect(&self.heart.tablet).await?;
        // The condition is the primary's, not its replicas'. Who may not set it logs by rows
        // anyway, or has no use of this.
        let rows = conn.query_drop("SET SESSION binlog_format = 'ROW'").await;
        // One that waits for a row, as behind a heartbeat that never ends, gives up by itself.
        let wait = conn
            .query_drop("SET SESSION innodb_lock_wait_timeout = 1")
            .await;
        match rows.and(wait) {
            Ok(()) | Err(Refusal::Server(_)) => Ok(conn),
            Err(e) => Err(failed(&self.heart.tablet, e)),
        }
    }

    /// Writes once. `None`: the connection is of no use any more.
    async fn beat(&self, mut conn: Conn) -> Option<Conn> {
        let id = conn.id();
        let began = Instant::now();
        let written = {
            let write = self.write(&mut conn);
            tokio::pin!(write);
            let mut looking = Looking::new(began);
            loop {
                tokio::select! {
                    written = &mut write => break written,
                    () = sleep(LOOK) => if let Some(beat) = self.look(&mut looking, id).await {
                        self.tell(beat).await;
                    },
                }
            }
        };
        match written {
            Ok(()) => self.tell(Beat::Written).await,
            Err(Refusal::Server(e))
                if DISK_FULL.contains(&e.code) || e.message.contains("No space left") =>
            {
                self.tell(Beat::DiskFull(e.message)).await;
            }
            // Rights that are missing, a lock: nothing is known by it.
            Err(Refusal::Server(e)) => {
                tracing::debug!(tablet = self.heart.tablet.alias, "no heartbeat: {}", e.message);
            }
            Err(_) => return None,
        }
        Some(conn)
    }

    async fn write(&self, conn: &mut Conn) -> Result<(), Refusal> {
        let row = || (&self.heart.keyspace, &self.heart.shard, &self.writer, now_ms());
        match conn.exec_drop(BEAT, row()).await {
            Err(Refusal::Server(e)) if [ER_BAD_DB_ERROR, ER_NO_SUCH_TABLE].contains(&e.code) => {
                let read_only: Option<bool> = conn.query_first("SELECT @@global.read_only").await?;
                if read_only != Some(false) {
                    return Ok(());
                }
                conn.query_drop("CREATE DATABASE IF NOT EXISTS `_coregate`")
                    .await?;
                conn.query_drop(TABLE).await?;
                conn.exec_drop(BEAT, row()).await
            }
            done => done,
        }
    }

    async fn tell(&self, beat: Beat) {
        let alias = self.heart.tablet.alias.clone();
        let _ = self.owner.send(Command::Beat { alias, beat }).await;
    }

    /// A write does not end. Is it the disk?
    async fn look(&self, looking: &mut Looking, id: u32) -> Option<Beat> {
        let asked = async {
            let mut conn = match looking.conn.take() {
                Some(conn) => conn,
                None => self.connector.connect(&self.heart.tablet).await.ok()?,
            };
            let state =
                "SELECT COALESCE(state, '') FROM information_schema.processlist WHERE id = ?";
            let state: Option<String> = conn.exec_first(state, (id,)).await.ok()?;
            let rows = conn.query::<(String, String)>(COUNTERS).await.ok()?;
            looking.conn = Some(conn);
            Some((state?, rows))
        };
        // Who does not answer at all is not asked about its disk.
        let (state, rows) = timeout(LOOK, asked).await.ok().flatten()?;
        looking.see(&state, &rows, Instant::now())
    }
}

/// What grows with anything that is written, and who waits for something else than the disk.
const COUNTERS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Innodb_data_written', \
    'Innodb_os_log_written', \
    'Binlog_bytes_written', 'Innodb_data_fsyncs', 'Rpl_semi_sync_master_wait_sessions', \
    'Rpl_semi_sync_source_wait_sessions')";

struct Looking {
    conn: Option<Conn>,
    counters: Vec<(String, String)>,
    /// Since when nothing was written.
    still: Instant,
}

impl Looking {
    fn new(began: Instant) -> Self {
        Self { conn: None, counters: Vec::new(), still: began }
    }

    fn see(&mut self, state: &str, rows: &[(String, String)], now: Instant) -> Option<Beat> {
        let waits =
            |(name, value): &&(String, String)| name.ends_with("wait_sessions") && value != "0";
        let lower = state.to_ascii_lowercase();
        let elsewhere = rows.iter().any(|row| waits(&row))
            || ["lock", "flush", "semi-sync", "semisync", "ack "]
                .iter()
                .any(|word| lower.contains(word));
        if elsewhere || (!self.counters.is_empty() && self.counters != rows) {
            self.still = now;
        }
        self.counters = rows.to_vec();
        let ms = now.saturating_duration_since(self.still).as_millis();
        let ms = u64::try_from(ms).unwrap_or(u64::MAX);
        Some(Beat::Stalled { ms, state: state.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_disk_that_stands_still_counts() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let rows = |written: &str, waiting: &str| {
            let row = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            vec![
                row("Innodb_data_written", written),
                row("Rpl_semi_sync_master_wait_sessions", waiting),
            ]
        };
        let ms = |looking: &mut Looking, state: &str, rows: &[(String, String)], s| match looking
            .see(state, rows, at(s))
        {
            Some(Beat::Stalled { ms, .. }) => ms,
            other => panic!("{other:?}"),
        };
        let mut looking = Looking::new(start);
        assert_eq!(ms(&mut looking, "Commit", &rows("5", "0"), 1), 1_000);
        assert_eq!(ms(&mut looking, "Commit", &rows("5", "0"), 9), 9_000);
        assert_eq!(
            ms(&mut looking, "Commit", &rows("6", "0"), 10),
            0,
            "a large transaction is being written"
        );
        assert_eq!(ms(&mut looking, "Commit", &rows("6", "0"), 14), 4_000);
        for state in [
            "Waiting for backup lock",
            "Waiting for table flush",
            "Waiting for semi-sync ACK from replica",
        ] {
            assert_eq!(ms(&mut looking, state, &rows("6", "0"), 20), 0, "{state}");
        }
        assert_eq!(
            ms(&mut looking, "Commit", &rows("6", "2"), 30),
            0,
            "another waits for its acknowledgement"
        );
    }
}
