//! The query log: a line of JSON for each statement that took long, or that chance has picked. Off
//! unless a file is named. Statements stand there without their values, unless these are asked for.
//! A core never waits for the disk: a line too many is counted, and lost.
use crate::metrics::Counter;
use serde_json::{Value, json};
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

/// Lines that wait for the disk, of all cores.
const LOG_LINES_MAX: usize = 4_096;
/// Bytes of a statement in a line.
const STATEMENT_BYTES_MAX: usize = 4_096;

/// What is logged, and where.
#[derive(Debug, Clone)]
pub struct QueryLogConfig {
    pub file: PathBuf,
    /// A statement that takes as long is logged; 0: none for that reason.
    pub slow_ms: u64,
    /// Which share of all statements is logged, whatever they take: 0 to 1.
    pub sample: f64,
    /// With their values, as the client has written them.
    pub values: bool,
    /// Of the file; then it becomes FILE.1, whose predecessor is thrown away.
    pub bytes_max: u64,
}

#[derive(Debug)]
pub(crate) struct QueryLog {
    pub(crate) config: QueryLogConfig,
    lines: SyncSender<Vec<u8>>,
}

/// A core's part of it.
#[derive(Debug, Default)]
pub(crate) struct Sampler(Cell<f64>);

impl Sampler {
    /// Every so manieth statement: the share is met, without chance.
    fn picks(&self, share: f64) -> bool {
        let sum = self.0.get() + share;
        self.0.set(sum.fract());
        sum >= 1.0
    }
}

/// What is told of a statement.
pub(crate) struct Entry<'a> {
    pub(crate) session: u32,
    pub(crate) user: &'a str,
    pub(crate) host: &'a str,
    pub(crate) database: Option<&'a str>,
    /// Without values.
    pub(crate) statement: &'a [u8],
    /// As the client has written it.
    pub(crate) text: &'a [u8],
    pub(crate) class: String,
    pub(crate) destination: String,
    /// What `WORKLOAD_NAME` calls it, and `PRIORITY`.
    pub(crate) workload: Option<&'a str>,
    pub(crate) priority: Option<u8>,
    pub(crate) spent: Duration,
    pub(crate) rows: u64,
    pub(crate) affected: u64,
    pub(crate) shards: usize,
    pub(crate) error: Option<u16>,
}

impl QueryLog {
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(config: QueryLogConfig) -> Result<Self, String> {
        let file = open(&config.file)
            .map_err(|e| format!("query_log.file = {}: {e}", config.file.display()))?;
        let (lines, receiver) = sync_channel(LOG_LINES_MAX);
        let (path, bytes_max) = (config.file.clone(), config.bytes_max);
        std::thread::Builder::new()
            .name("query-log".to_owned())
            .spawn(move || write(&path, file, bytes_max, &receiver))
            .map_err(|e| format!("the thread of the query log: {e}"))?;
        Ok(Self { config, lines })
    }

    /// Is a statement that took so long logged, and why?
    #[inline]
    pub(crate) fn wants(&self, spent: Duration, sampler: &Sampler) -> Option<&'static str> {
        let slow = self.config.slow_ms > 0 && spent.as_millis() >= u128::from(self.config.slow_ms);
        // Counted whether it is slow or not: the share is of all.
        let picked = self.config.sample > 0.0 && sampler.picks(self.config.sample);
        if slow { Some("slow") } else { picked.then_some("sample") }
    }

    #[cold]
    pub(crate) fn put(&self, why: &'static str, entry: &Entry<'_>, dropped: &Counter) {
        let mut line = line(why, entry, self.config.values);
        line.push(b'\n');
        if self.lines.try_send(line).is_err() {
            dropped.add(1);
        }
    }
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text.get(..STATEMENT_BYTES_MAX).unwrap_or(text)).into_owned()
}

fn line(why: &str, entry: &Entry<'_>, values: bool) -> Vec<u8> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut value = json!({
        "time": since.map_or(0.0, |t| (t.as_secs_f64() * 1e3).round() / 1e3),
        "why": why,
        "session": entry.session,
        "user": entry.user,
        "host": entry.host,
        "database": entry.database,
        "statement": shown(entry.statement),
        "class": entry.class,
        "destination": entry.destination,
        "workload": entry.workload,
        "priority": entry.priority,
        "time_us": u64::try_from(entry.spent.as_micros()).unwrap_or(u64::MAX),
        "rows": entry.rows,
        "affected_rows": entry.affected,
        "shards": entry.shards,
        "error": entry.error,
    });
    if values && let Value::Object(map) = &mut value {
        map.insert("text".to_owned(), shown(entry.text).into());
    }
    serde_json::to_vec(&value).unwrap_or_default()
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

fn write(path: &Path, mut file: File, bytes_max: u64, lines: &Receiver<Vec<u8>>) {
    let mut bytes = file.metadata().map_or(0, |m| m.len());
    let mut failed = false;
    for line in lines {
        if bytes >= bytes_max {
            let mut previous = path.as_os_str().to_owned();
            previous.push(".1");
            match std::fs::rename(path, previous).and_then(|()| open(path)) {
                Ok(new) => (file, bytes) = (new, 0),
                Err(e) => tracing::error!("the query log {} is not renewed: {e}", path.display()),
            }
        }
        match file.write_all(&line) {
            Ok(()) => (bytes, failed) = (bytes + line.len() as u64, false),
            // Once, not for each line.
            Err(e) if !std::mem::replace(&mut failed, true) => {
                tracing::error!("the query log {} is not written: {e}", path.display());
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(slow_ms: u64, sample: f64) -> QueryLog {
        let config = QueryLogConfig {
            file: "/dev/null".into(),
            slow_ms,
            sample,
            values: false,
            bytes_max: 1 << 20,
        };
        QueryLog::open(config).expect("a log")
    }

    #[test]
    fn slow_ones_and_a_share_are_picked() {
        let (log, sampler) = (log(50, 0.25), Sampler::default());
        let ms = Duration::from_millis;
        let picked = (0..100)
            .filter(|_| log.wants(ms(1), &sampler) == Some("sample"))
            .count();
        assert_eq!(picked, 25);
        assert_eq!(log.wants(ms(50), &sampler), Some("slow"));
        assert_eq!(self::log(0, 0.0).wants(ms(1 << 20), &sampler), None);
    }

    #[test]
    fn values_are_shown_only_where_they_are_asked_for() {
        let entry = Entry {
            session: 7,
            user: "u",
            host: "h:1",
            database: Some("ks"),
            statement: b"select ?",
            text: b"select 'secret'",
            class: "Select".into(),
            destination: "Local".into(),
            workload: None,
            priority: None,
            spent: Duration::from_micros(1_500),
            rows: 1,
            affected: 0,
            shards: 1,
            error: None,
        };
        let text = |values| String::from_utf8(line("slow", &entry, values)).expect("UTF-8");
        assert!(
            !text(false).contains("secret") && text(false).contains("\"time_us\":1500"),
            "{}",
            text(false)
        );
        assert!(text(true).contains("secret"));
    }
}
