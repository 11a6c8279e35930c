//! What was done about shards, in a file: `recoveries.jsonl` beside the topology, a line of JSON
//! for each beginning and each end. It outlives the process, and says so where a process has ended
//! in the middle of something.
use crate::Error;
use crate::view::Recovered;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Of the file; then it becomes `recoveries.jsonl.1`, whose predecessor is thrown away.
const AUDIT_BYTES_MAX: u64 = 4 << 20;
/// Lines that wait for the disk.
const AUDIT_LINES_MAX: usize = 256;
/// Moves and repairs that are remembered for `coregate ctl get-recoveries`.
pub(crate) const RECOVERIES_MAX: usize = 256;

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// `begins`, or the end: `done`, `failed`.
    state: String,
    #[serde(default)]
    process: String,
    #[serde(flatten)]
    event: Recovered,
}

/// Writes on a thread of its own: nobody waits for the disk.
#[derive(Debug)]
pub(crate) struct Audit {
    lines: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Audit {
    /// Opens the file, and gives what stands there, the latest last.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<Recovered>), Error> {
        let known = read(path)?;
        let file = open(path)?;
        let (lines, receiver) = sync_channel(AUDIT_LINES_MAX);
        let (path, bytes) = (path.to_owned(), file.metadata().map_or(0, |m| m.len()));
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write(&path, file, bytes, &receiver))
            .map_err(Error::file("the thread of the audit log"))?;
        Ok((Self { lines: Some(lines), thread: Some(thread) }, known))
    }

    pub(crate) fn begins(&self, process: &str, event: &Recovered) {
        self.put("begins", process, event);
    }

    pub(crate) fn ends(&self, process: &str, event: &Recovered) {
        self.put(if event.ok { "done" } else { "failed" }, process, event);
    }

    fn put(&self, state: &str, process: &str, event: &Recovered) {
        let line =
            Line { state: state.to_owned(), process: process.to_owned(), event: event.clone() };
        let Ok(mut text) = serde_json::to_vec(&line) else { return };
        text.push(b'\n');
        if let Some(Err(TrySendError::Full(_))) =
            self.lines.as_ref().map(|lines| lines.try_send(text))
        {
            tracing::error!("a line of the audit log is lost: the disk does not keep up");
        }
    }
}

impl Drop for Audit {
    /// What was said is on the disk.
    fn drop(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn previous(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

fn open(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::file(path))
}

fn write(path: &Path, mut file: File, mut bytes: u64, lines: &Receiver<Vec<u8>>) {
    // What a crash has left half written is a line of its own.
    let mut start: &[u8] = if bytes > 0 { b"\n" } else { b"" };
    for line in lines {
        if bytes >= AUDIT_BYTES_MAX {
            let renewed = std::fs::rename(path, previous(path))
                .map_err(Error::file(path))
                .and_then(|()| open(path));
            match renewed {
                Ok(new) => (file, bytes, start) = (new, 0, b""),
                Err(e) => tracing::error!("the audit log is not renewed: {e}"),
            }
        }
        let written = file
            .write_all(&[start, &line].concat())
            .and_then(|()| file.sync_data());
        match written {
            Ok(()) => {
                bytes += (start.len() + line.len()) as u64;
                start = b"";
            }
            Err(e) => tracing::error!("the audit log {} is not written: {e}", path.display()),
        }
    }
}

fn read(path: &Path) -> Result<Vec<Recovered>, Error> {
    let mut known = Vec::new();
    let mut begun: Vec<Recovered> = Vec::new();
    for path in [previous(path), path.to_owned()] {
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::file(path)(e)),
        };
        let lines = text.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        for line in lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok()) {
            let same =
                |e: &Recovered| e.keyspace == line.event.keyspace && e.shard == line.event.shard;
            // One thing at a time is done about a shard.
            known.extend(
                begun
                    .extract_if(.., |e| same(e) && line.state == "begins")
                    .map(unfinished),
            );
            begun.retain(|e| !same(e));
            if line.state == "begins" { begun.push(line.event) } else { known.push(line.event) }
        }
    }
    known.extend(begun.into_iter().map(unfinished));
    let first = known.len().saturating_sub(RECOVERIES_MAX);
    Ok(known.split_off(first))
}

fn unfinished(event: Recovered) -> Recovered {
    let result = "the process has ended before it was done".to_owned();
    Recovered { ok: false, result, ..event }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(shard: &str, what: &str, ok: bool) -> Recovered {
        Recovered {
            time: "2026-01-01T00:00:00Z".into(),
            began: "2026-01-01T00:00:00Z".into(),
            keyspace: "ks".into(),
            shard: shard.into(),
            what: what.into(),
            ok,
            result: "r".into(),
        }
    }

    fn names(known: &[Recovered]) -> Vec<(&str, bool)> {
        known.iter().map(|e| (e.what.as_str(), e.ok)).collect()
    }

    #[test]
    fn what_was_done_and_what_was_not_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recoveries.jsonl");
        let (audit, known) = Audit::open(&path).unwrap();
        assert!(known.is_empty());
        audit.begins("p", &event("0", "a", false));
        audit.ends("p", &event("0", "a", true));
        audit.begins("p", &event("0", "b", false));
        audit.begins("p", &event("1", "c", false));
        audit.ends("p", &event("1", "c", false));
        drop(audit);
        // The process was killed in the middle of a line.
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"state\": \"do")
            .unwrap();
        let (audit, known) = Audit::open(&path).unwrap();
        assert_eq!(names(&known), [("a", true), ("c", false), ("b", false)]);
        assert!(known[2].result.contains("has ended"), "{known:?}");
        audit.ends("p", &event("2", "d", true));
        drop(audit);
        let (_audit, known) = Audit::open(&path).unwrap();
        assert_eq!(names(&known).last(), Some(&("b", false)), "still not");
        assert_eq!(known.len(), 4);
    }

    #[test]
    fn the_file_has_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recoveries.jsonl");
        let long = "x".repeat(1 << 20);
        for n in 0..12 {
            let (audit, _) = Audit::open(&path).unwrap();
            audit.ends("p", &event("0", &format!("{n}{long}"), true));
        }
        let size = |path: &Path| std::fs::metadata(path).unwrap().len();
        assert!(
            size(&path) <= AUDIT_BYTES_MAX + (2 << 20)
                && size(&previous(&path)) <= AUDIT_BYTES_MAX + (2 << 20)
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        let (_audit, known) = Audit::open(&path).unwrap();
        assert!(known.last().unwrap().what.starts_with("11"));
    }
}
