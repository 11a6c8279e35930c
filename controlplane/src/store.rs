//! Where the topology is kept. Every write names what it replaces, and is refused where that is no longer there: an edit of
//! somebody else's is never lost.
use crate::Error;
use crate::topology::{self, KeyspaceRecord};
use coregate_planner::vschema::RoutingRules;
use std::fmt::Debug;
use std::path::PathBuf;

mod files;

pub(crate) use files::Files;

/// What a record is kept under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Keyspace(String),
    RoutingRules,
}

/// A store of texts. Its calls return within the time that a write to a disk takes, or with an error.
pub(crate) trait Topo: Debug + Send + Sync {
    /// All keyspaces' texts, by their keys' names.
    fn keyspaces(&self) -> Result<Vec<(String, String)>, Error>;
    /// `None`: there is no such record.
    fn get(&self, key: &Key) -> Result<Option<String>, Error>;
    /// Replaces a record, durably, if it still is what was `seen`.
    ///
    /// # Errors
    /// [`Error::Edited`]: it is not; nothing has been written.
    fn put(&self, key: &Key, text: &str, seen: Option<&str>) -> Result<(), Error>;
    /// How people know the record: a path.
    fn name(&self, key: &Key) -> PathBuf;
}

/// The records of a store.
#[derive(Debug)]
pub struct Store {
    topo: Box<dyn Topo>,
}

impl Store {
    pub(crate) fn new(topo: impl Topo + 'static) -> Self {
        Self { topo: Box::new(topo) }
    }

    /// All keyspaces, sorted by name, each and all of them checked.
    pub fn load(&self) -> Result<Vec<KeyspaceRecord>, Error> {
        Ok(self.read()?.into_iter().map(|(record, _)| record).collect())
    }

    /// The same, each with its text: who writes it later can tell whether somebody else has.
    pub(crate) fn read(&self) -> Result<Vec<(KeyspaceRecord, String)>, Error> {
        let mut found = Vec::new();
        for (name, text) in self.topo.keyspaces()? {
            let path = self.topo.name(&Key::Keyspace(name.clone()));
            let mut reader = serde_json::Deserializer::from_str(&text);
            let record: KeyspaceRecord = serde_path_to_error::deserialize(&mut reader)
                .map_err(|e| Error::Config(format!("{}: {}: {}", path.display(), e.path(), e.inner())))?;
            if record.name != name {
                let path = path.display();
                return Err(Error::Config(format!("{path}: name must be the file's, not {:?}", record.name)));
            }
            found.push((record, text));
        }
        found.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        topology::validate(found.iter().map(|(record, _)| record))?;
        Ok(found)
    }

    /// The routing rules, none if there are none, and their text.
    pub(crate) fn read_rules(&self) -> Result<(RoutingRules, Option<String>), Error> {
        let key = Key::RoutingRules;
        let Some(text) = self.topo.get(&key)? else { return Ok((RoutingRules::default(), None)) };
        let wrong = |e| Error::Config(format!("{}: {e}", self.topo.name(&key).display()));
        let rules = RoutingRules::from_json(&text).map_err(wrong)?;
        Ok((rules, Some(text)))
    }

    /// Writes the routing rules in the place of `seen`. Gives what it has written.
    pub(crate) fn save_rules(&self, rules: &RoutingRules, seen: Option<&str>) -> Result<String, Error> {
        let text = rules.to_json() + "\n";
        self.topo.put(&Key::RoutingRules, &text, seen)?;
        Ok(text)
    }

    /// Writes a keyspace in the place of `seen` and counts its version up. Gives what it has written.
    pub(crate) fn save(&self, record: &mut KeyspaceRecord, seen: Option<&str>) -> Result<String, Error> {
        record.validate()?;
        let mut next = record.clone();
        next.version += 1;
        let mut text = serde_json::to_string_pretty(&next)
            .map_err(|e| Error::Config(format!("keyspace {}: {e}", record.name)))?;
        text.push('\n');
        self.topo
            .put(&Key::Keyspace(record.name.clone()), &text, seen)?;
        *record = next;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"name": "ks", "shards": [
        {"name": "-80", "tablets": [{"alias": "z-1", "type": "primary", "socket": "/s", "user": "u"}]},
        {"name": "80-", "tablets": [{"alias": "z-2", "type": "primary", "host": "h", "user": "u"}]}],
        "vschema": {"sharded": true}}"#;

    #[test]
    fn keyspaces_survive_and_mistakes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(Files::open(dir.path()).unwrap());
        assert_eq!(store.load().unwrap().len(), 0);
        let mut record: KeyspaceRecord = serde_json::from_str(GOOD).unwrap();
        let text = store.save(&mut record, None).unwrap();
        assert_eq!((store.load().unwrap(), record.version), (vec![record.clone()], 1));
        let mut other = record.clone();
        assert!(matches!(store.save(&mut other, None), Err(Error::Edited(_))), "it is there by now");
        store.save(&mut record, Some(&text)).unwrap();
        assert!(matches!(store.save(&mut other, Some(&text)), Err(Error::Edited(_))), "another came first");
        assert_eq!((other.version, record.version), (1, 2));
        let rules =
            RoutingRules::from_json(r#"{"rules": [{"from_table": "t", "to_tables": ["ks.t"]}]}"#).unwrap();
        assert_eq!(store.read_rules().unwrap(), (RoutingRules::default(), None));
        let text = store.save_rules(&rules, None).unwrap();
        assert_eq!(store.read_rules().unwrap(), (rules.clone(), Some(text.clone())));
        assert!(matches!(store.save_rules(&rules, None), Err(Error::Edited(_))), "there is one by now");
        store.save_rules(&rules, Some(&text)).unwrap();
        let file = dir.path().join("topology/ks.json");
        for (from, to, part) in [
            ("\"user\": \"u\"", "\"usr\": \"u\"", "shards[0].tablets[0].usr"),
            ("\"-80\"", "\"-40\"", "nothing covers 40-80"),
            ("z-2", "z-1", "alias z-1 is used twice"),
            ("\"primary\", \"socket\"", "\"replica\", \"socket\"", "one tablet of type primary, not 0"),
            ("\"host\": \"h\", ", "", "needs a socket or a host"),
            ("\"ks\"", "\"kz\"", "must be the file's"),
        ] {
            std::fs::write(&file, GOOD.replacen(from, to, 1)).unwrap();
            let error = store.load().unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
