//! Where the topology is kept. Every write names what it replaces, and is refused where that is no
//! longer there: an edit of somebody else's is never lost.
use crate::Error;
use crate::topology::{self, KeyspaceRecord};
use coregate_planner::vschema::RoutingRules;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

mod etcd;
mod files;
mod seen;

pub(crate) use etcd::{DatabaseAnswer, DatabaseRequest};
pub(crate) use etcd::{
    Etcd, Guard, MARK, Peers, Process, Roster, ShardLock, TABLES, uses, wait_for_all,
};
pub use etcd::{EtcdAccess, EtcdConfig};
pub(crate) use files::Files;
pub(crate) use seen::Seen;

/// What a record is kept under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Keyspace(String),
    RoutingRules,
}

/// What is to be written.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    Keyspace(Box<KeyspaceRecord>),
    RoutingRules(RoutingRules),
    /// The keyspace is to be there no more.
    NoKeyspace(String),
}

impl Record {
    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Keyspace(record) => Key::Keyspace(record.name.clone()),
            Self::NoKeyspace(name) => Key::Keyspace(name.clone()),
            Self::RoutingRules(_) => Key::RoutingRules,
        }
    }
}

/// What has been written, as who writes next must know it, and when: see [`State::revision`].
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) seen: Option<Seen>,
    pub(crate) revision: i64,
}

/// A shard that a process moves or repairs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) process: String,
    pub(crate) what: String,
    /// Statements for its primary wait.
    pub(crate) holds: bool,
    /// The revision at which it was taken.
    pub(crate) taken: i64,
}

/// Everything that a store holds, as of one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) keyspaces: Vec<(KeyspaceRecord, Seen)>,
    pub(crate) rules: RoutingRules,
    /// `None`: there are none.
    pub(crate) rules_seen: Option<Seen>,
    /// Grows with every change of a store that several processes use; else 0.
    pub(crate) revision: i64,
    /// By keyspace: changes when the definitions of its tables do.
    pub(crate) schemas: BTreeMap<String, i64>,
    /// By keyspace and shard.
    pub(crate) locks: BTreeMap<(String, String), Lock>,
    pub(crate) cells: Vec<String>,
    pub(crate) recoveries_disabled: bool,
}

pub(crate) type Task<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A store. Its calls return within the time that a write to a disk takes, or within time limits of
/// their own.
pub(crate) trait Topo: Debug + Send + Sync {
    fn read(&self) -> Task<'_, State>;
    /// Writes a record, durably, if what it replaces still is what was `seen`, and the guard holds.
    ///
    /// # Errors
    /// [`Error::Edited`]: it is not; nothing has been written. [`Error::Unknown`]: that could not
    /// be found out.
    fn put<'a>(
        &'a self,
        record: &'a Record,
        seen: Option<&'a Seen>,
        guard: Option<&'a Guard>,
    ) -> Task<'a, Written>;
}

/// The records of a store.
#[derive(Debug)]
pub struct Store {
    topo: Arc<dyn Topo>,
    shared: Option<Arc<Etcd>>,
}

impl Store {
    pub(crate) fn new(topo: impl Topo + 'static) -> Self {
        Self { topo: Arc::new(topo), shared: None }
    }

    /// One that several processes use.
    pub(crate) fn shared(etcd: Arc<Etcd>) -> Self {
        Self { topo: Arc::<Etcd>::clone(&etcd), shared: Some(etcd) }
    }

    pub(crate) fn etcd(&self) -> Option<&Arc<Etcd>> {
        self.shared.as_ref()
    }

    /// All keyspaces, sorted by name, each and all of them checked.
    pub async fn load(&self) -> Result<Vec<KeyspaceRecord>, Error> {
        Ok(self
            .read()
            .await?
            .keyspaces
            .into_iter()
            .map(|(record, _)| record)
            .collect())
    }

    /// Everything, each record with what it was made of: who writes it later can tell whether
    /// somebody else has.
    pub(crate) async fn read(&self) -> Result<State, Error> {
        let mut state = self.topo.read().await?;
        state
            .keyspaces
            .sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        topology::validate(state.keyspaces.iter().map(|(record, _)| record))?;
        Ok(state)
    }

    pub(crate) async fn put(
        &self,
        record: &Record,
        seen: Option<&Seen>,
        guard: Option<&Guard>,
    ) -> Result<Written, Error> {
        self.topo.put(record, seen, guard).await
    }

    /// All of it as paths and values, as etcd has them; files are shown in the same form.
    pub(crate) async fn tree(&self) -> Result<BTreeMap<String, String>, Error> {
        match &self.shared {
            Some(etcd) => etcd.tree().await,
            None => etcd::tree_of(&self.read().await?),
        }
    }

    /// Writes a keyspace in the place of `seen` and counts its version up.
    pub(crate) async fn save(
        &self,
        record: &mut KeyspaceRecord,
        seen: Option<&Seen>,
    ) -> Result<Written, Error> {
        let next = Record::Keyspace(Box::new(next(record)?));
        let written = self.put(&next, seen, None).await?;
        if let Record::Keyspace(next) = next {
            *record = *next;
        }
        Ok(written)
    }
}

/// The record as it is written: checked, and one version up.
pub(crate) fn next(record: &KeyspaceRecord) -> Result<KeyspaceRecord, Error> {
    record.validate()?;
    let mut next = record.clone();
    next.version += 1;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"name": "ks", "shards": [
        {"name": "-80", "tablets": [{"alias": "z-1", "type": "primary", "socket": "/s",
        "user": "u"}]},
        {"name": "80-",
         "tablets": [{"alias": "z-2", "type": "primary", "host": "h", "user": "u"}]}],
        "vschema": {"sharded": true}}"#;

    #[tokio::test]
    async fn keyspaces_survive_and_mistakes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(Files::open(dir.path()).unwrap());
        assert_eq!(store.load().await.unwrap().len(), 0);
        let mut record: KeyspaceRecord = serde_json::from_str(GOOD).unwrap();
        let seen = store.save(&mut record, None).await.unwrap().seen;
        assert_eq!((store.load().await.unwrap(), record.version), (vec![record.clone()], 1));
        let mut other = record.clone();
        assert!(
            matches!(store.save(&mut other, None).await, Err(Error::Edited(_))),
            "it is there by now"
        );
        store.save(&mut record, seen.as_ref()).await.unwrap();
        let late = store.save(&mut other, seen.as_ref()).await;
        assert!(matches!(late, Err(Error::Edited(_))), "another came first");
        assert_eq!((other.version, record.version), (1, 2));
        let file = dir.path().join("topology/ks.json");
        for (from, to, part) in [
            ("\"user\": \"u\"", "\"usr\": \"u\"", "shards[0].tablets[0].usr"),
            ("\"-80\"", "\"-40\"", "nothing covers 40-80"),
            ("z-2", "z-1", "alias z-1 is used twice"),
            (
                "\"primary\", \"socket\"",
                "\"replica\", \"socket\"",
                "one tablet of type primary, not 0",
            ),
            ("\"host\": \"h\", ", "", "needs a socket or a host"),
            ("\"ks\"", "\"kz\"", "must be the file's"),
        ] {
            std::fs::write(&file, GOOD.replacen(from, to, 1)).unwrap();
            let error = store.load().await.unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[tokio::test]
    async fn rules_are_replaced_only_as_they_were_seen_and_a_keyspace_goes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(Files::open(dir.path()).unwrap());
        let rules =
            RoutingRules::from_json(r#"{"rules": [{"from_table": "t", "to_tables": ["ks.t"]}]}"#)
                .unwrap();
        let put = Record::RoutingRules(rules.clone());
        assert_eq!(store.read().await.unwrap().rules_seen, None);
        let seen = store.put(&put, None, None).await.unwrap().seen;
        let state = store.read().await.unwrap();
        assert_eq!((state.rules, state.rules_seen), (rules, seen.clone()));
        assert!(
            matches!(store.put(&put, None, None).await, Err(Error::Edited(_))),
            "there is one by now"
        );
        store.put(&put, seen.as_ref(), None).await.unwrap();
        let mut record: KeyspaceRecord = serde_json::from_str(GOOD).unwrap();
        let seen = store.save(&mut record, None).await.unwrap().seen;
        let gone = Record::NoKeyspace("ks".to_owned());
        assert!(store.put(&gone, None, None).await.is_err(), "it is there");
        store.put(&gone, seen.as_ref(), None).await.unwrap();
        assert_eq!(store.load().await.unwrap(), []);
    }
}
