//! Which keys hold what. Everything stands under one root; what belongs to a cell stands under the
//! cell's own.
//!
//! ```text
//! ROOT/global/cells/CELL/CellInfo                     {"root": "ROOT/cells/CELL"}
//! ROOT/global/keyspaces/KS/Keyspace                   version, database, the replicas' account
//! ROOT/global/keyspaces/KS/VSchema                    Vitess's JSON
//! ROOT/global/keyspaces/KS/SchemaVersion              rewritten when tables were changed
//! ROOT/global/keyspaces/KS/shards/SHARD/Shard         range, primary, term, serving
//! ROOT/global/RoutingRules                            Vitess's JSON
//! ROOT/global/Recoveries                              "disabled", by an operator's order
//! ROOT/global/leader, processes/ID, locks/KS/SHARD    with a lease: they end with their process
//! ROOT/global/locks/KS/ddl-ID                         the same: a process changes tables
//! ROOT/global/requests/ID, answers/ID                 CREATE and DROP DATABASE for who makes servers, with leases
//! ROOT/cells/CELL/tablets/ALIAS/Tablet                address, type, account
//! ```
use super::kv::{Entries, Entry};
use crate::Error;
use crate::store::{Lock, Seen, State};
use crate::topology::{self, Account, KeyspaceRecord, Kind, ShardRecord, TabletRecord};
use coregate_planner::keyrange::to_hex;
use coregate_planner::snapshot::KeyRange;
use coregate_planner::vschema::{self, RoutingRules};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

type ShardName = (String, String);
/// A tablet with its key and what it was read from.
type Found<'e> = (&'e String, &'e Entry, TabletRecord);

/// Paths under a root.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Without a slash at its end.
    pub(super) root: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keyspace {
    version: u64,
    /// Who has written it, so that a writer knows its own write again.
    #[serde(default)]
    writer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    schema_pending: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replication: Option<Account>,
}

#[derive(Serialize, Deserialize)]
struct Shard {
    key_range: BTreeMap<String, String>,
    primary_alias: Option<String>,
    #[serde(default)]
    term: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    primary_since: Option<String>,
    #[serde(default)]
    is_primary_serving: bool,
}

#[derive(Serialize, Deserialize)]
struct Tablet {
    keyspace: String,
    shard: String,
    #[serde(flatten)]
    record: TabletRecord,
}

/// What a shard's lock says.
#[derive(Serialize, Deserialize)]
pub(super) struct LockRecord {
    pub(super) process: String,
    pub(super) what: String,
    /// Statements for the primary wait.
    pub(super) holds: bool,
}

impl Layout {
    pub(super) fn global(&self, rest: &str) -> String {
        format!("{}/global/{rest}", self.root)
    }
    pub(super) fn rules(&self) -> String {
        self.global("RoutingRules")
    }
    pub(super) fn keyspace(&self, name: &str) -> String {
        self.global(&format!("keyspaces/{name}/Keyspace"))
    }
    pub(super) fn schema_version(&self, name: &str) -> String {
        self.global(&format!("keyspaces/{name}/SchemaVersion"))
    }
    pub(super) fn cell_info(&self, cell: &str) -> String {
        self.global(&format!("cells/{cell}/CellInfo"))
    }
    pub(super) fn cell_root(&self, cell: &str) -> String {
        format!("{}/cells/{cell}", self.root)
    }
    pub(super) fn leader(&self) -> String {
        self.global("leader")
    }
    pub(super) fn recoveries(&self) -> String {
        self.global("Recoveries")
    }
    pub(super) fn processes(&self) -> String {
        self.global("processes/")
    }
    /// What processes ask of each other, and the answers.
    pub(super) fn requests(&self) -> String {
        self.global("requests/")
    }
    pub(super) fn request(&self, id: &str) -> String {
        self.global(&format!("requests/{id}"))
    }
    pub(super) fn answer(&self, id: &str) -> String {
        self.global(&format!("answers/{id}"))
    }
    pub(super) fn lock(&self, keyspace: &str, shard: &str) -> String {
        self.global(&format!("locks/{keyspace}/{shard}"))
    }

    /// Does a key say something about the topology, rather than about processes?
    pub(super) fn is_topology(&self, key: &str) -> bool {
        let others = [self.processes(), self.requests(), self.answer("")];
        key != self.leader() && !others.iter().any(|prefix| key.starts_with(prefix))
    }

    /// A keyspace's keys and their values.
    pub(super) fn split(
        &self,
        record: &KeyspaceRecord,
        writer: &str,
    ) -> Result<BTreeMap<String, String>, Error> {
        let mut keys = BTreeMap::new();
        let keyspace = Keyspace {
            version: record.version,
            writer: writer.to_owned(),
            database: record.database.clone(),
            schema_pending: record.schema_pending,
            replication: record.replication.clone(),
        };
        keys.insert(self.keyspace(&record.name), json(&keyspace)?);
        keys.insert(
            self.global(&format!("keyspaces/{}/VSchema", record.name)),
            json(&record.vschema)?,
        );
        for shard in &record.shards {
            let range = KeyRange::of_shard(&shard.name).unwrap_or_default();
            let primary = shard.tablets.iter().find(|t| t.kind == Kind::Primary);
            let of = Shard {
                key_range: [
                    ("start".to_owned(), to_hex(&range.start)),
                    ("end".to_owned(), to_hex(&range.end)),
                ]
                .into(),
                primary_alias: primary.map(|t| t.alias.clone()),
                term: shard.term,
                primary_since: shard.primary_since.clone(),
                is_primary_serving: true,
            };
            keys.insert(
                self.global(&format!("keyspaces/{}/shards/{}/Shard", record.name, shard.name)),
                json(&of)?,
            );
            for tablet in &shard.tablets {
                let key =
                    format!("{}/tablets/{}/Tablet", self.cell_root(tablet.cell()), tablet.alias);
                let of = Tablet {
                    keyspace: record.name.clone(),
                    shard: shard.name.clone(),
                    record: tablet.clone(),
                };
                keys.insert(key, json(&of)?);
            }
        }
        Ok(keys)
    }

    /// By shard, wherever their cells are.
    fn tablets<'e>(
        &self,
        entries: &'e Entries,
    ) -> Result<BTreeMap<ShardName, Vec<Found<'e>>>, Error> {
        let mut all: BTreeMap<ShardName, Vec<Found<'e>>> = BTreeMap::new();
        let cells = self.cell_root("");
        for (key, entry) in entries
            .range(cells.clone()..)
            .take_while(|(key, _)| key.starts_with(&cells))
        {
            let Some((_, "Tablet")) = key.rsplit_once('/') else { continue };
            let Tablet { keyspace, shard, record } = read(key, &entry.value)?;
            all.entry((keyspace, shard))
                .or_default()
                .push((key, entry, record));
        }
        Ok(all)
    }

    /// All that the keys say.
    pub(super) fn compose(&self, entries: &Entries, revision: i64) -> Result<State, Error> {
        let mut found: BTreeMap<String, (KeyspaceRecord, Seen)> = BTreeMap::new();
        let mut state = State { revision, ..State::default() };
        let mut tablets = self.tablets(entries)?;
        for (key, entry) in entries {
            let Some(path) = key.strip_prefix(&self.root) else { continue };
            let parts: Vec<&str> = path.split('/').skip(1).collect();
            match *parts.as_slice() {
                ["global", "keyspaces", name, "Keyspace"] => {
                    let of: Keyspace = read(key, &entry.value)?;
                    let (record, seen) =
                        found.entry(name.to_owned()).or_insert_with(|| empty(name));
                    record.version = of.version;
                    record.database = of.database;
                    record.schema_pending = of.schema_pending;
                    record.replication = of.replication;
                    seen.note(key, entry.changed, &entry.value);
                }
                ["global", "keyspaces", name, "VSchema"] => {
                    let (record, seen) =
                        found.entry(name.to_owned()).or_insert_with(|| empty(name));
                    record.vschema = vschema::Keyspace::from_json(&entry.value)
                        .map_err(|e| Error::Config(format!("{key}: {e}")))?;
                    seen.note(key, entry.changed, &entry.value);
                }
                ["global", "keyspaces", name, "SchemaVersion"] => {
                    state.schemas.insert(name.to_owned(), entry.changed);
                }
                ["global", "RoutingRules"] => {
                    state.rules = RoutingRules::from_json(&entry.value)
                        .map_err(|e| Error::Config(format!("{key}: {e}")))?;
                    let mut seen = Seen::default();
                    seen.note(key, entry.changed, &entry.value);
                    state.rules_seen = Some(seen);
                }
                ["global", "Recoveries"] => {
                    state.recoveries_disabled = entry.value.trim() == "disabled"
                }
                ["global", "locks", keyspace, shard] => {
                    let lock: LockRecord = read(key, &entry.value)?;
                    let lock = Lock {
                        process: lock.process,
                        what: lock.what,
                        holds: lock.holds,
                        taken: entry.created,
                    };
                    state
                        .locks
                        .insert((keyspace.to_owned(), shard.to_owned()), lock);
                }
                ["global", "cells", cell, "CellInfo"] => state.cells.push(cell.to_owned()),
                ["global", "keyspaces", name, "shards", shard, "Shard"] => {
                    let of: Shard = read(key, &entry.value)?;
                    let (record, seen) =
                        found.entry(name.to_owned()).or_insert_with(|| empty(name));
                    let tablets = tablets
                        .remove(&(name.to_owned(), shard.to_owned()))
                        .unwrap_or_default();
                    record.shards.push(ShardRecord {
                        name: shard.to_owned(),
                        tablets: with_primary(tablets, of.primary_alias.as_deref(), seen),
                        term: of.term,
                        primary_since: of.primary_since,
                    });
                    seen.note(key, entry.changed, &entry.value);
                }
                _ => {}
            }
        }
        // Without its own key, a keyspace is only half written, or half removed.
        let whole = |(record, _): &(KeyspaceRecord, Seen)| {
            entries.contains_key(&self.keyspace(&record.name))
        };
        state.keyspaces = found.into_values().filter(whole).collect();
        topology::validate(state.keyspaces.iter().map(|(record, _)| record))?;
        Ok(state)
    }
}

/// The shard's record says who is primary.
fn with_primary(
    found: Vec<Found<'_>>,
    primary: Option<&str>,
    seen: &mut Seen,
) -> Vec<TabletRecord> {
    let of = |(key, entry, mut record): Found<'_>| {
        record.kind = match (primary, record.kind) {
            (Some(alias), _) if alias == record.alias => Kind::Primary,
            (Some(_), Kind::Primary) => Kind::Replica,
            (_, kind) => kind,
        };
        seen.note(key, entry.changed, &entry.value);
        record
    };
    found.into_iter().map(of).collect()
}

fn empty(name: &str) -> (KeyspaceRecord, Seen) {
    let record = KeyspaceRecord {
        name: name.to_owned(),
        version: 0,
        database: None,
        shards: Vec::new(),
        vschema: vschema::Keyspace::default(),
        schema_pending: false,
        replication: None,
    };
    (record, Seen::default())
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string_pretty(value).map_err(|e| Error::Config(e.to_string()))
}

fn read<T: DeserializeOwned>(key: &str, value: &str) -> Result<T, Error> {
    let mut reader = serde_json::Deserializer::from_str(value);
    serde_path_to_error::deserialize(&mut reader)
        .map_err(|e| Error::Config(format!("{key}: {}: {}", e.path(), e.inner())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"name": "ks", "version": 3, "database": "d", "shards": [
        {"name": "-80", "tablets": [{"alias": "a-1", "type": "primary", "host": "h", "port": 1,
        "user": "u"},
            {"alias": "b-2", "type": "rdonly", "host": "h", "port": 2, "user": "u", "weight": 3}],
            "term": 4},
        {"name": "80-", "tablets": [{"alias": "b-3", "type": "primary", "socket": "/s",
        "user": "u"}]}],
        "vschema": {"sharded": true, "vindexes": {"hash": {"type": "hash"}}},
        "replication": {"user": "r"}}"#;

    fn entries(keys: BTreeMap<String, String>) -> Entries {
        keys.into_iter()
            .map(|(key, value)| (key, Entry { value, created: 1, changed: 7 }))
            .collect()
    }

    #[test]
    fn records_come_back_as_they_went() {
        let layout = Layout { root: "/r".to_owned() };
        let record: KeyspaceRecord = serde_json::from_str(RECORD).unwrap();
        let keys = layout.split(&record, "w").unwrap();
        let mut names: Vec<&str> = keys.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "/r/cells/a/tablets/a-1/Tablet",
                "/r/cells/b/tablets/b-2/Tablet",
                "/r/cells/b/tablets/b-3/Tablet",
                "/r/global/keyspaces/ks/Keyspace",
                "/r/global/keyspaces/ks/VSchema",
                "/r/global/keyspaces/ks/shards/-80/Shard",
                "/r/global/keyspaces/ks/shards/80-/Shard",
            ]
        );
        let state = layout.compose(&entries(keys.clone()), 9).unwrap();
        assert_eq!((state.revision, state.keyspaces.len()), (9, 1));
        assert_eq!(state.keyspaces[0].0, record);
        assert_eq!(state.keyspaces[0].1.len(), 7);
    }

    #[test]
    fn the_shard_says_who_is_primary_and_half_a_keyspace_is_none() {
        let layout = Layout { root: "/r".to_owned() };
        let record: KeyspaceRecord = serde_json::from_str(RECORD).unwrap();
        let mut keys = layout.split(&record, "w").unwrap();
        let shard = keys
            .get_mut("/r/global/keyspaces/ks/shards/-80/Shard")
            .unwrap();
        *shard = shard.replace("a-1", "b-2");
        let state = layout.compose(&entries(keys.clone()), 9).unwrap();
        let kinds: Vec<Kind> = state.keyspaces[0].0.shards[0]
            .tablets
            .iter()
            .map(|t| t.kind)
            .collect();
        assert_eq!(kinds, [Kind::Replica, Kind::Primary]);
        keys.remove("/r/global/keyspaces/ks/Keyspace");
        assert!(
            layout
                .compose(&entries(keys), 9)
                .unwrap()
                .keyspaces
                .is_empty()
        );
    }

    #[test]
    fn mistakes_name_the_key() {
        let layout = Layout { root: "/r".to_owned() };
        let wrong =
            BTreeMap::from([("/r/global/keyspaces/ks/Keyspace".to_owned(), "{".to_owned())]);
        let error = layout.compose(&entries(wrong), 1).unwrap_err().to_string();
        assert!(error.contains("/r/global/keyspaces/ks/Keyspace"), "{error}");
    }
}
