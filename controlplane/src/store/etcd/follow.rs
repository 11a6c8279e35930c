//! A copy of what the store holds, kept by a watch. Whether the watch still tells everything is
//! asked every second, so that a cut network is known as well.
use super::Etcd;
use super::gateway::{Failure, Gateway, Lines};
use super::kv::{Entries, Event, events};
use super::layout::Layout;
use super::peers::{Leader, Process, Roster};
use crate::plane::Command;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How often the copy is compared with the store.
const LOOK: Duration = Duration::from_secs(1);
/// Time between two attempts to reach the store.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Deserialize)]
struct LeaderRecord {
    process: String,
    lease: i64,
}

struct Copy {
    entries: Entries,
    /// Up to which it is complete.
    revision: i64,
}

impl Copy {
    /// Does it change what the topology says?
    fn take(&mut self, layout: &Layout, event: Event) -> bool {
        match event {
            Event::Put(key, entry) => {
                let topology = layout.is_topology(&key);
                self.entries.insert(key, entry);
                topology
            }
            Event::Delete(key, _) => {
                self.entries.remove(&key).is_some() && layout.is_topology(&key)
            }
        }
    }

    fn roster(&self, layout: &Layout) -> Roster {
        let prefix = layout.processes();
        let of_processes = self
            .entries
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix));
        let processes: Vec<Process> = of_processes
            .filter_map(|(_, entry)| serde_json::from_str(&entry.value).ok())
            .collect();
        let leader = self.entries.get(&layout.leader()).and_then(|entry| {
            let record: LeaderRecord = serde_json::from_str(&entry.value).ok()?;
            Some(Leader { process: record.process, lease: record.lease, created: entry.created })
        });
        let prefix = layout.requests();
        let of_requests = self
            .entries
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix));
        let requests = of_requests.filter_map(|(key, entry)| {
            let request = serde_json::from_str(&entry.value).ok()?;
            Some((key.strip_prefix(&prefix)?.to_owned(), request))
        });
        Roster { processes, leader, requests: requests.collect(), away: None }
    }
}

/// Until the program ends.
pub(super) async fn run(
    etcd: Arc<Etcd>,
    roster: watch::Sender<Roster>,
    owner: mpsc::Sender<Command>,
) {
    loop {
        let failure = match follow(&etcd, &roster, &owner).await {
            Ok(()) => return,
            Err(failure) => failure,
        };
        let why = failure.why().to_owned();
        roster.send_if_modified(|roster| {
            let changed = roster.away.is_none();
            if changed {
                tracing::warn!(
                    "the topology's store {} cannot be used: {why}; the last state serves",
                    etcd.place()
                );
            }
            roster.away = Some(why);
            changed
        });
        if changed(&owner).await.is_err() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn changed(owner: &mpsc::Sender<Command>) -> Result<(), ()> {
    owner.send(Command::Roster).await.map_err(|_| ())
}

/// As long as the store can be used. `Ok`: nobody listens any more.
async fn follow(
    etcd: &Etcd,
    roster: &watch::Sender<Roster>,
    owner: &mpsc::Sender<Command>,
) -> Result<(), Failure> {
    let prefix = format!("{}/", etcd.layout.root);
    let (entries, revision) = etcd.gateway.range(&prefix).await?;
    let mut copy = Copy { entries, revision };
    let mut lines = etcd
        .gateway
        .stream("/v3/watch", &Gateway::watch_body(&prefix, revision + 1))
        .await?;
    if roster.borrow().away.is_some() {
        tracing::info!("the topology's store {} can be used again", etcd.place());
    }
    let mut topology = true;
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut behind = false;
    loop {
        let now = copy.roster(&etcd.layout);
        let new = roster.send_if_modified(|roster| {
            let changed = *roster != now;
            *roster = now;
            changed
        });
        if new && changed(owner).await.is_err() {
            return Ok(());
        }
        if std::mem::take(&mut topology) {
            match etcd.layout.compose(&copy.entries, copy.revision) {
                Ok(state) => {
                    if owner
                        .send(Command::Topology(Box::new(state)))
                        .await
                        .is_err()
                    {
                        return Ok(());
                    }
                }
                Err(e) => tracing::error!("the topology stays as it was: {e}"),
            }
        }
        tokio::select! {
            line = lines.next() => topology = copy.apply(&etcd.layout, &line?)?,
            _ = look.tick() => {
                let (count, newer) = etcd.gateway.newer(&prefix, copy.revision).await?;
                // An event may be on its way: at the second look it is not.
                let differs = newer || usize::try_from(count).ok() != Some(copy.entries.len());
                if differs && std::mem::replace(&mut behind, differs) && !drained(&mut copy,
                    &etcd.layout, &mut lines, &mut topology).await? {
                    return Err(Failure::Lost("its watch has stopped".to_owned()));
                }
                behind = differs;
            }
        }
    }
}

/// Did the watch tell something that had not been read yet?
async fn drained(
    copy: &mut Copy,
    layout: &Layout,
    lines: &mut Lines,
    topology: &mut bool,
) -> Result<bool, Failure> {
    let mut any = false;
    while let Ok(line) = tokio::time::timeout(Duration::from_millis(50), lines.next()).await {
        *topology |= copy.apply(layout, &line?)?;
        any = true;
    }
    Ok(any)
}

impl Copy {
    fn apply(&mut self, layout: &Layout, line: &serde_json::Value) -> Result<bool, Failure> {
        let (events, revision) = events(line)?;
        let mut topology = false;
        if !events.is_empty() {
            for event in events {
                topology |= self.take(layout, event);
            }
            self.revision = self.revision.max(revision);
        }
        Ok(topology)
    }
}
