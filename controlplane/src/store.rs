//! The topology's directory: `DIR/topology/KEYSPACE.json` and `DIR/routing_rules.json`, guarded by `DIR/lock`.
use crate::Error;
use crate::files::{Lock, write_atomically};
use crate::topology::{self, KeyspaceRecord};
use coregate_planner::vschema::RoutingRules;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    _lock: Lock,
}

impl Store {
    /// Opens (and makes) the directory; one process at a time can.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let inner = dir.join("topology");
        std::fs::create_dir_all(&inner).map_err(Error::file(&inner))?;
        Ok(Self { dir: inner, _lock: Lock::take(dir)? })
    }

    /// Opens a directory that must be there: a mistyped one would be an empty topology.
    pub fn open_existing(dir: &Path) -> Result<Self, Error> {
        let inner = dir.join("topology");
        if !inner.is_dir() {
            return Err(Error::Config(format!(
                "topology.dir = {:?}: there is no directory {}; make it, and put a file KEYSPACE.json for each keyspace into it",
                dir.display(),
                inner.display()
            )));
        }
        Self::open(dir)
    }

    /// All keyspaces, sorted by name, each and all of them checked.
    pub fn load(&self) -> Result<Vec<KeyspaceRecord>, Error> {
        Ok(self.read()?.into_iter().map(|(record, _)| record).collect())
    }

    /// The same, each with the text of its file: who writes it later can tell whether somebody else has.
    pub(crate) fn read(&self) -> Result<Vec<(KeyspaceRecord, String)>, Error> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(Error::file(&self.dir))? {
            let path = entry.map_err(Error::file(&self.dir))?.path();
            if path.extension().is_some_and(|e| e == "json") {
                let text = std::fs::read_to_string(&path).map_err(Error::file(&path))?;
                let record = parse(&path, &text)?;
                if path
                    .file_stem()
                    .is_none_or(|stem| stem != record.name.as_str())
                {
                    return Err(Error::Config(format!(
                        "{}: name must be the file's, not {:?}",
                        path.display(),
                        record.name
                    )));
                }
                found.push((record, text));
            }
        }
        found.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        topology::validate(found.iter().map(|(record, _)| record))?;
        Ok(found)
    }

    /// The routing rules, none if there is no file, and its text.
    pub(crate) fn read_rules(&self) -> Result<(RoutingRules, Option<String>), Error> {
        let path = self.rules();
        let Some(text) = text_of(&path)? else { return Ok((RoutingRules::default(), None)) };
        let rules =
            RoutingRules::from_json(&text).map_err(|e| Error::Config(format!("{}: {e}", path.display())))?;
        Ok((rules, Some(text)))
    }

    /// Writes the routing rules durably, in the place of `seen`. Gives what it has written.
    pub(crate) fn save_rules(&self, rules: &RoutingRules, seen: Option<&str>) -> Result<String, Error> {
        let (path, text) = (self.rules(), rules.to_json() + "\n");
        still(&path, seen)?;
        write_atomically(&path, text.as_bytes())?;
        Ok(text)
    }

    fn rules(&self) -> PathBuf {
        self.dir.with_file_name("routing_rules.json")
    }

    /// Writes a keyspace durably and counts its version up.
    pub fn save(&self, record: &mut KeyspaceRecord) -> Result<(), Error> {
        self.write(record).map(drop)
    }

    /// Writes a keyspace in the place of `seen`, unless the file has changed since. Gives what it has written.
    pub(crate) fn replace(&self, record: &mut KeyspaceRecord, seen: &str) -> Result<String, Error> {
        still(&self.path(record), Some(seen))?;
        self.write(record)
    }

    fn write(&self, record: &mut KeyspaceRecord) -> Result<String, Error> {
        record.validate()?;
        record.version += 1;
        let mut text = serde_json::to_string_pretty(record)
            .map_err(|e| Error::Config(format!("keyspace {}: {e}", record.name)))?;
        text.push('\n');
        write_atomically(&self.path(record), text.as_bytes())?;
        Ok(text)
    }

    fn path(&self, record: &KeyspaceRecord) -> PathBuf {
        self.dir.join(format!("{}.json", record.name))
    }
}

/// A file's text, `None` if there is no such file.
fn text_of(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::file(path)(e)),
    }
}

/// Fails if somebody has edited, made or removed the file since it was read: the edit would be lost.
fn still(path: &Path, seen: Option<&str>) -> Result<(), Error> {
    match text_of(path)?.as_deref() == seen {
        true => Ok(()),
        false => Err(Error::Edited(path.to_owned())),
    }
}

fn parse(path: &Path, text: &str) -> Result<KeyspaceRecord, Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut reader)
        .map_err(|e| Error::Config(format!("{}: {}: {}", path.display(), e.path(), e.inner())))
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
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.load().unwrap().len(), 0);
        let mut record = parse(Path::new("ks.json"), GOOD).unwrap();
        store.save(&mut record).unwrap();
        assert_eq!((store.load().unwrap(), record.version), (vec![record.clone()], 1));
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
