//! The topology's directory: `DIR/topology/KEYSPACE.json` and `DIR/routing_rules.json`, guarded by
//! `DIR/lock`. One process at a time.
use super::{Guard, Key, Record, Seen, State, Task, Topo, Written};
use crate::Error;
use crate::files::{Lock, write_atomically};
use crate::topology::KeyspaceRecord;
use coregate_planner::vschema::RoutingRules;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(crate) struct Files {
    dir: PathBuf,
    _lock: Lock,
}

impl Files {
    /// Opens (and makes) the directory; one process at a time can.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let inner = dir.join("topology");
        std::fs::create_dir_all(&inner).map_err(Error::file(&inner))?;
        Ok(Self { dir: inner, _lock: Lock::take(dir)? })
    }

    /// Opens a directory that must be there: a mistyped one would be an empty topology.
    pub(crate) fn open_existing(dir: &Path) -> Result<Self, Error> {
        let inner = dir.join("topology");
        if !inner.is_dir() {
            return Err(Error::Config(format!(
                "topology.dir = {:?}: there is no directory {}; make it, and put a file \
                    KEYSPACE.json for each keyspace into it",
                dir.display(),
                inner.display()
            )));
        }
        Self::open(dir)
    }
}

impl Files {
    /// How people know the record: a path.
    fn name(&self, key: &Key) -> PathBuf {
        match key {
            Key::Keyspace(name) => self.dir.join(format!("{name}.json")),
            Key::RoutingRules => self.dir.with_file_name("routing_rules.json"),
        }
    }

    fn keyspaces(&self) -> Result<Vec<(KeyspaceRecord, Seen)>, Error> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(Error::file(&self.dir))? {
            let path = entry.map_err(Error::file(&self.dir))?.path();
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            let text = std::fs::read_to_string(&path).map_err(Error::file(&path))?;
            let mut reader = serde_json::Deserializer::from_str(&text);
            let record: KeyspaceRecord =
                serde_path_to_error::deserialize(&mut reader).map_err(|e| {
                    Error::Config(format!("{}: {}: {}", path.display(), e.path(), e.inner()))
                })?;
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            if record.name != stem {
                let path = path.display();
                return Err(Error::Config(format!(
                    "{path}: name must be the file's, not {:?}",
                    record.name
                )));
            }
            found.push((record, Seen::text(&text)));
        }
        Ok(found)
    }

    fn read_all(&self) -> Result<State, Error> {
        let key = Key::RoutingRules;
        let text = self.get(&key)?;
        let wrong = |e| Error::Config(format!("{}: {e}", self.name(&key).display()));
        let rules = text
            .as_deref()
            .map(RoutingRules::from_json)
            .transpose()
            .map_err(wrong)?;
        Ok(State {
            keyspaces: self.keyspaces()?,
            rules: rules.unwrap_or_default(),
            rules_seen: text.as_deref().map(Seen::text),
            ..State::default()
        })
    }

    fn get(&self, key: &Key) -> Result<Option<String>, Error> {
        let path = self.name(key);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::file(path)(e)),
        }
    }

    fn write(&self, record: &Record, seen: Option<&Seen>) -> Result<Written, Error> {
        let key = record.key();
        let text = match record {
            Record::Keyspace(record) => Some(
                serde_json::to_string_pretty(record)
                    .map_err(|e| Error::Config(format!("keyspace {}: {e}", record.name)))?
                    + "\n",
            ),
            Record::RoutingRules(rules) => Some(rules.to_json() + "\n"),
            Record::NoKeyspace(_) => None,
        };
        // Between this look and the write only an editor can come, not another Coregate: the lock
        // keeps it out.
        if self.get(&key)?.as_deref() != seen.and_then(Seen::as_text) {
            return Err(Error::Edited(self.name(&key)));
        }
        let path = self.name(&key);
        match &text {
            Some(text) => write_atomically(&path, text.as_bytes())?,
            None => std::fs::remove_file(&path).map_err(Error::file(&path))?,
        }
        Ok(Written { seen: text.as_deref().map(Seen::text), revision: 0 })
    }
}

impl Topo for Files {
    fn read(&self) -> Task<'_, State> {
        Box::pin(std::future::ready(self.read_all()))
    }

    fn put<'a>(
        &'a self,
        record: &'a Record,
        seen: Option<&'a Seen>,
        _: Option<&'a Guard>,
    ) -> Task<'a, Written> {
        Box::pin(std::future::ready(self.write(record, seen)))
    }
}
