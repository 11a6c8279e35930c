//! What a process knows of the others, and what it tells them.
use super::requests::DatabaseRequest;
use super::{Etcd, follow, member};
use crate::plane::Command;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How long the other processes may take to use a change before they are named in a warning.
pub(crate) const USE_PATIENCE: Duration = Duration::from_secs(10);

/// What a process says of itself, under its lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Process {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) mysql: String,
    pub(crate) admin: String,
    pub(crate) cores: usize,
    pub(crate) cell: Option<String>,
    /// In UTC.
    pub(crate) started: String,
    /// The revision of the store that all its cores use.
    pub(crate) revision: i64,
    /// It has servers for CREATE DATABASE.
    pub(crate) makes_databases: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) process: String,
    pub(super) lease: i64,
    /// The revision at which it took the lead.
    pub(super) created: i64,
}

/// Who is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Roster {
    pub(crate) processes: Vec<Process>,
    pub(crate) leader: Option<Leader>,
    /// By id.
    pub(crate) requests: BTreeMap<String, DatabaseRequest>,
    /// Why the store cannot be used at the moment.
    pub(crate) away: Option<String>,
}

/// A process's part in a topology that several processes use.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) etcd: Arc<Etcd>,
    roster: watch::Receiver<Roster>,
    about: watch::Sender<Process>,
    tasks: Vec<JoinHandle<()>>,
}

/// `HOST-PID-NUMBER`, unlike that of any process before.
pub(super) fn own_id() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = since.map_or(0, |t| t.as_nanos() % 0x1_0000_0000);
    format!("{}-{}-{nanos:08x}", host(), std::process::id())
}

fn host() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    name.chars()
        .map(|c| if fine(c) { c } else { '-' })
        .collect()
}

impl Peers {
    /// Registers the process, follows the store from `revision` on, and takes the lead where nobody
    /// has it.
    pub(crate) fn start(
        etcd: &Arc<Etcd>,
        cell: Option<String>,
        revision: i64,
        owner: mpsc::Sender<Command>,
    ) -> Self {
        let (tell, roster) = watch::channel(Roster::default());
        let process = Process {
            id: etcd.id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: host(),
            pid: std::process::id(),
            cell,
            started: crate::world::now_utc(),
            revision,
            ..Process::default()
        };
        let (about, told) = watch::channel(process);
        let tasks = vec![
            tokio::spawn(follow::run(Arc::clone(etcd), tell, owner)),
            tokio::spawn(member::run(Arc::clone(etcd), told, roster.clone())),
        ];
        Self { etcd: Arc::clone(etcd), roster, about, tasks }
    }

    pub(crate) fn id(&self) -> &str {
        &self.etcd.id
    }

    pub(crate) fn roster(&self) -> Roster {
        self.roster.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Roster> {
        self.roster.clone()
    }

    /// For as long as this is so, no other process leads.
    pub(crate) fn leads(&self) -> bool {
        let lease = self.etcd.valid_lease();
        let roster = self.roster.borrow();
        let leader = roster.leader.as_ref();
        leader.is_some_and(|l| l.process == self.etcd.id && Some(l.lease) == lease)
    }

    /// Changes what the process says of itself.
    pub(crate) fn say(&self, change: impl FnOnce(&mut Process)) {
        say(&self.about, change);
    }

    /// What the process says of itself, for those who change it later.
    pub(crate) fn about(&self) -> watch::Sender<Process> {
        self.about.clone()
    }

    /// Ends the tasks and gives up the lease, so that others need not wait for its end.
    pub(crate) async fn leave(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        if let Some(lease) = self.etcd.valid_lease() {
            let _ = self.etcd.gateway.revoke(lease).await;
        }
    }
}

fn say(about: &watch::Sender<Process>, change: impl FnOnce(&mut Process)) {
    about.send_if_modified(|process| {
        let before = process.clone();
        change(process);
        *process != before
    });
}

/// Every core of this process uses the store's state of this revision.
pub(crate) fn uses(about: &watch::Sender<Process>, revision: i64) {
    say(about, |process| process.revision = process.revision.max(revision));
}

/// Waits until every other live process uses a revision.
///
/// # Errors
/// Those that do not, by name.
pub(crate) async fn wait_for_all(
    roster: watch::Receiver<Roster>,
    own: String,
    revision: i64,
) -> Result<(), Vec<String>> {
    wait_within(USE_PATIENCE, roster, own, revision).await
}

async fn wait_within(
    patience: Duration,
    mut roster: watch::Receiver<Roster>,
    own: String,
    revision: i64,
) -> Result<(), Vec<String>> {
    let late = |roster: &Roster| -> Vec<String> {
        let others = roster
            .processes
            .iter()
            .filter(|p| p.id != own && p.revision < revision);
        others.map(|p| format!("{} ({})", p.id, p.admin)).collect()
    };
    let all = roster.wait_for(|roster| late(roster).is_empty());
    if let Ok(Ok(_)) = tokio::time::timeout(patience, all).await {
        return Ok(());
    }
    let late = late(&roster.borrow());
    if late.is_empty() { Ok(()) } else { Err(late) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_are_late_are_named() {
        let of = |id: &str, revision| Process { id: id.to_owned(), revision, ..Process::default() };
        let (tell, roster) =
            watch::channel(Roster { processes: vec![of("a", 1), of("b", 5)], ..Roster::default() });
        assert_eq!(wait_for_all(roster.clone(), "a".to_owned(), 5).await, Ok(()));
        let soon = Duration::from_millis(10);
        let late = wait_within(soon, roster.clone(), "b".to_owned(), 5)
            .await
            .unwrap_err();
        assert_eq!(late, ["a ()"]);
        let waits = tokio::spawn(wait_for_all(roster, "b".to_owned(), 5));
        tokio::task::yield_now().await;
        // One that ends is waited for no more.
        tell.send_modify(|roster| drop(roster.processes.remove(0)));
        assert_eq!(waits.await.unwrap(), Ok(()));
    }
}
