//! The topology in etcd, for several processes. Every write is a transaction that holds only as
//! long as what it replaces is as it was seen; what a process holds alone (a shard that it moves,
//! the lead) ends with its lease.
use super::{Record, Seen, State, Task, Topo, Written};
use crate::Error;
use crate::topology::KeyspaceRecord;
use gateway::{Failure, Gateway};
use kv::{Entry, If, Op, put};
use layout::Layout;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

mod access;
mod config;
mod follow;
mod gateway;
mod kv;
mod layout;
mod lock;
mod member;
mod peers;
mod requests;

pub use access::EtcdAccess;
pub use config::EtcdConfig;
pub(crate) use lock::{MARK, ShardLock, TABLES};
pub(crate) use peers::{Peers, Process, Roster, uses, wait_for_all};
pub(crate) use requests::{DatabaseAnswer, DatabaseRequest};

/// Operations of one transaction; etcd takes 128.
const OPERATIONS_MAX: usize = 100;
/// How long it is asked whether a write whose answer was lost has happened.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to say that tables were changed.
const TOLD_PAUSE: Duration = Duration::from_millis(100);
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

/// Something that must be as it was for a write to happen: who has lost it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guard {
    key: String,
    created: i64,
}

#[derive(Debug)]
pub(crate) struct Etcd {
    gateway: Gateway,
    url: String,
    layout: Layout,
    /// This process, unlike any other.
    id: String,
    writes: AtomicU64,
    lease: Mutex<Lease>,
}

/// Ours, and until when it lasts for certain.
#[derive(Debug, Clone, Copy, Default)]
struct Lease {
    id: i64,
    until: Option<Instant>,
}

impl Etcd {
    /// # Errors
    /// The files for TLS are not what they should be.
    pub(crate) fn new(config: &EtcdConfig) -> Result<Self, Error> {
        Ok(Self {
            gateway: Gateway::new(config)?,
            url: config.url(),
            layout: Layout { root: config.root.clone() },
            id: peers::own_id(),
            writes: AtomicU64::new(0),
            lease: Mutex::default(),
        })
    }

    fn lease(&self) -> Lease {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lease, if it lasts.
    fn valid_lease(&self) -> Option<i64> {
        let lease = self.lease();
        lease
            .until
            .is_some_and(|until| Instant::now() < until)
            .then_some(lease.id)
    }

    fn error(&self, failure: &Failure) -> Error {
        Error::Store { name: self.place(), why: failure.why().to_owned() }
    }

    /// Where it is, for people.
    pub(crate) fn place(&self) -> String {
        self.url.clone()
    }

    /// A name for a write, unlike any other.
    fn writer(&self) -> String {
        format!("{}/{}", self.id, self.writes.fetch_add(1, Ordering::Relaxed))
    }

    async fn read_all(&self) -> Result<State, Error> {
        let prefix = format!("{}/", self.layout.root);
        let (entries, revision) = self
            .gateway
            .range(&prefix)
            .await
            .map_err(|e| self.error(&e))?;
        self.layout.compose(&entries, revision)
    }

    /// All keys under the root, and their values.
    pub(crate) async fn tree(&self) -> Result<BTreeMap<String, String>, Error> {
        let prefix = format!("{}/", self.layout.root);
        let (entries, _) = self
            .gateway
            .range(&prefix)
            .await
            .map_err(|e| self.error(&e))?;
        let short = |(key, entry): (String, Entry)| {
            Some((key.strip_prefix(&prefix)?.to_owned(), entry.value))
        };
        Ok(entries.into_iter().filter_map(short).collect())
    }

    /// One transaction. `token` is a key that it writes, and the value it had: by it one can tell
    /// whether a write has happened whose answer was lost.
    async fn write(
        &self,
        conditions: &[If],
        ops: &[Op],
        (token, before): (&str, Option<&Entry>),
    ) -> Result<i64, Error> {
        match self.gateway.transact(conditions, ops, &[]).await {
            Ok(outcome) if outcome.held => Ok(outcome.revision),
            Ok(_) => Err(Error::Edited(PathBuf::from(token))),
            Err(failure @ Failure::Refused(_)) => Err(self.error(&failure)),
            Err(Failure::Lost(why)) => {
                let after = ops.iter().find_map(|op| match op {
                    Op::Put { key, value, .. } if key == token => Some(value.as_str()),
                    _ => None,
                });
                self.settle(token, before, after, why).await
            }
        }
    }

    /// Whether a write has happened: either it has, or the key is touched so that it cannot happen
    /// any more.
    async fn settle(
        &self,
        token: &str,
        before: Option<&Entry>,
        after: Option<&str>,
        mut why: String,
    ) -> Result<i64, Error> {
        let end = Instant::now() + SETTLE_PATIENCE;
        let seen = before.map_or(0, |e| e.changed);
        let touch: Vec<Op> = before
            .map(|e| put(token.to_owned(), e.value.clone()))
            .into_iter()
            .collect();
        let unchanged = [If::Changed(token.to_owned(), seen)];
        while Instant::now() < end {
            match self
                .gateway
                .transact(&unchanged, &touch, &[Op::Get(token.to_owned())])
                .await
            {
                Ok(outcome) if outcome.held && before.is_some() => {
                    return Err(Error::Store { name: self.place(), why });
                }
                // Nothing stands in the way of a late write where there was nothing: it is waited
                // for.
                Ok(outcome) if outcome.held => {}
                Ok(outcome) => {
                    let now = outcome.got;
                    return match (now, after) {
                        (Some(entry), Some(after)) if entry.value == after => Ok(entry.changed),
                        (None, None) => Ok(outcome.revision),
                        _ => Err(Error::Edited(PathBuf::from(token))),
                    };
                }
                Err(failure) => failure.why().clone_into(&mut why),
            }
            tokio::time::sleep(SETTLE_PAUSE).await;
        }
        Err(Error::Unknown { name: self.place(), why })
    }

    async fn put_rules(
        &self,
        text: String,
        seen: Option<&Seen>,
        guard: Option<&Guard>,
    ) -> Result<Written, Error> {
        let key = self.layout.rules();
        let before = seen.and_then(|seen| of_seen(seen, &key));
        let mut conditions =
            vec![If::Changed(key.clone(), before.as_ref().map_or(0, |e| e.changed))];
        conditions.extend(guard.map(Guard::condition));
        let ops = [put(key.clone(), text.clone())];
        let revision = self
            .write(&conditions, &ops, (&key, before.as_ref()))
            .await?;
        let mut seen = Seen::default();
        seen.note(&key, revision, &text);
        Ok(Written { seen: Some(seen), revision })
    }

    /// Writes what has changed of a keyspace. Its own key comes last: a keyspace that is half there
    /// is none.
    async fn put_keyspace(
        &self,
        record: &KeyspaceRecord,
        seen: Option<&Seen>,
        guard: Option<&Guard>,
    ) -> Result<Written, Error> {
        let new = self.layout.split(record, &self.writer())?;
        let own = self.layout.keyspace(&record.name);
        let empty = Seen::default();
        let seen = seen.unwrap_or(&empty);
        self.make_cells(record, seen).await?;
        let changed = new
            .iter()
            .filter(|(key, value)| seen.value(key) != Some(value.as_str()));
        let changed = changed.map(|(key, value)| (key, Some(value)));
        let gone = seen
            .keys()
            .filter(|key| !new.contains_key(*key))
            .map(|key| (key, None));
        let mut steps: Vec<(&String, Option<&String>)> = changed.chain(gone).collect();
        steps.sort_by_key(|(key, _)| **key == own);
        let revision = self.in_steps(&steps, (&own, seen), guard).await?;
        let mut now = Seen::default();
        for (key, value) in &new {
            let kept = seen.value(key) == Some(value.as_str());
            now.note(key, if kept { seen.revision(key) } else { revision.of(key) }, value);
        }
        Ok(Written { seen: Some(now), revision: revision.last })
    }

    async fn in_steps(
        &self,
        steps: &[(&String, Option<&String>)],
        (own, seen): (&String, &Seen),
        guard: Option<&Guard>,
    ) -> Result<Revisions, Error> {
        let mut revisions = Revisions::default();
        let before = of_seen(seen, own);
        // A part that was written before its keyspace came into being is of an attempt that was cut
        // off.
        let is_new = before.is_none();
        for chunk in steps.chunks(OPERATIONS_MAX) {
            let keyed = |key: &String| If::Changed(key.clone(), seen.revision(key));
            let mut conditions = vec![keyed(own)];
            conditions.extend(guard.map(Guard::condition));
            if !is_new {
                conditions.extend(
                    chunk
                        .iter()
                        .filter(|(key, _)| *key != own)
                        .map(|(key, _)| keyed(key)),
                );
            }
            let op = |(key, value): &(&String, Option<&String>)| match value {
                Some(value) => put((*key).clone(), (*value).clone()),
                None => Op::Delete((*key).clone()),
            };
            let ops: Vec<Op> = chunk.iter().map(op).collect();
            let has_own = chunk.iter().any(|(key, _)| *key == own);
            let token = if has_own { own } else { chunk.first().map_or(own, |(key, _)| key) };
            let known = of_seen(seen, token);
            revisions.last = self
                .write(&conditions, &ops, (token, known.as_ref()))
                .await?;
            for (key, _) in chunk {
                revisions.by_key.push(((*key).clone(), revisions.last));
            }
        }
        Ok(revisions)
    }

    /// Cells that come into being with their first tablet.
    async fn make_cells(&self, record: &KeyspaceRecord, seen: &Seen) -> Result<(), Error> {
        let tablets = record.shards.iter().flat_map(|s| &s.tablets);
        let new = tablets.filter(|t| {
            let key = format!("{}/tablets/{}/Tablet", self.layout.cell_root(t.cell()), t.alias);
            seen.value(&key).is_none()
        });
        let cells: BTreeSet<&str> = new.map(|t| t.cell()).collect();
        for cell in cells {
            let key = self.layout.cell_info(cell);
            let value = serde_json::json!({"root": self.layout.cell_root(cell)}).to_string();
            let made = self
                .gateway
                .transact(&[If::Created(key.clone(), 0)], &[put(key, value)], &[])
                .await;
            made.map_err(|e| self.error(&e))?;
        }
        Ok(())
    }

    async fn remove(
        &self,
        name: &str,
        seen: Option<&Seen>,
        guard: Option<&Guard>,
    ) -> Result<Written, Error> {
        let own = self.layout.keyspace(name);
        let Some(seen) = seen.filter(|seen| seen.revision(&own) > 0) else {
            return Err(Error::Edited(PathBuf::from(own)));
        };
        let version = self.layout.schema_version(name);
        // Its own key goes first: what is left over of a removal that was cut off is no keyspace.
        let mut conditions = vec![If::Changed(own.clone(), seen.revision(&own))];
        conditions.extend(guard.map(Guard::condition));
        let before = of_seen(seen, &own);
        let ops = [Op::Delete(own.clone()), Op::Delete(version)];
        let mut revision = self
            .write(&conditions, &ops, (&own, before.as_ref()))
            .await?;
        let rest: Vec<Op> = seen
            .keys()
            .filter(|key| **key != own)
            .cloned()
            .map(Op::Delete)
            .collect();
        for chunk in rest.chunks(OPERATIONS_MAX) {
            // A keyspace of this name that somebody makes meanwhile keeps its parts.
            let absent = [If::Created(own.clone(), 0)];
            let done = self
                .gateway
                .transact(&absent, chunk, &[])
                .await
                .map_err(|e| self.error(&e))?;
            revision = revision.max(done.revision);
        }
        Ok(Written { seen: None, revision })
    }

    /// Tells all processes that tables of a keyspace were changed.
    pub(crate) async fn schema_changed(&self, keyspace: &str) -> Result<i64, Error> {
        let ops = [put(self.layout.schema_version(keyspace), self.writer())];
        // It may be said twice, so that a lost answer is no reason not to say it again, to another
        // member.
        let end = Instant::now() + SETTLE_PATIENCE;
        loop {
            match self.unconditional(&ops).await {
                Err(e) if Instant::now() >= end => return Err(e),
                Err(_) => tokio::time::sleep(TOLD_PAUSE).await,
                told => return told,
            }
        }
    }

    /// Whether dead primaries are replaced by themselves, for all processes.
    pub(crate) async fn set_recoveries(&self, disabled: bool) -> Result<i64, Error> {
        let word = if disabled { "disabled" } else { "enabled" };
        self.unconditional(&[put(self.layout.recoveries(), word.to_owned())])
            .await
    }

    async fn unconditional(&self, ops: &[Op]) -> Result<i64, Error> {
        match self.gateway.transact(&[], ops, &[]).await {
            Ok(outcome) => Ok(outcome.revision),
            Err(failure @ Failure::Refused(_)) => Err(self.error(&failure)),
            Err(Failure::Lost(why)) => Err(Error::Unknown { name: self.place(), why }),
        }
    }
}

/// What would be in etcd, had it this topology.
pub(super) fn tree_of(state: &State) -> Result<BTreeMap<String, String>, Error> {
    let layout = Layout { root: String::new() };
    let mut tree = BTreeMap::new();
    for (record, _) in &state.keyspaces {
        tree.extend(layout.split(record, "")?);
    }
    if state.rules_seen.is_some() {
        tree.insert(layout.rules(), state.rules.to_json());
    }
    let short = |(key, value): (String, String)| (key.trim_start_matches('/').to_owned(), value);
    Ok(tree.into_iter().map(short).collect())
}

/// At which revision each key was written.
#[derive(Default)]
struct Revisions {
    by_key: Vec<(String, i64)>,
    last: i64,
}

impl Revisions {
    fn of(&self, key: &str) -> i64 {
        let found = self.by_key.iter().find(|(of, _)| of == key);
        found.map_or(self.last, |(_, revision)| *revision)
    }
}

fn of_seen(seen: &Seen, key: &str) -> Option<Entry> {
    let value = seen.value(key)?.to_owned();
    Some(Entry { value, created: 0, changed: seen.revision(key) })
}

impl Guard {
    fn condition(&self) -> If {
        If::Created(self.key.clone(), self.created)
    }
}

impl Topo for Etcd {
    fn read(&self) -> Task<'_, State> {
        Box::pin(self.read_all())
    }

    fn put<'a>(
        &'a self,
        record: &'a Record,
        seen: Option<&'a Seen>,
        guard: Option<&'a Guard>,
    ) -> Task<'a, Written> {
        Box::pin(async move {
            match record {
                Record::Keyspace(record) => self.put_keyspace(record, seen, guard).await,
                Record::RoutingRules(rules) => self.put_rules(rules.to_json(), seen, guard).await,
                Record::NoKeyspace(name) => self.remove(name, seen, guard).await,
            }
        })
    }
}
