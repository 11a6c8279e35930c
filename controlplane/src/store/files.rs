//! The topology's directory: `DIR/topology/KEYSPACE.json` and `DIR/routing_rules.json`, guarded by `DIR/lock`. One process at a time.
use super::{Key, Topo};
use crate::Error;
use crate::files::{Lock, write_atomically};
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
                "topology.dir = {:?}: there is no directory {}; make it, and put a file KEYSPACE.json for each keyspace into it",
                dir.display(),
                inner.display()
            )));
        }
        Self::open(dir)
    }
}

impl Topo for Files {
    fn keyspaces(&self) -> Result<Vec<(String, String)>, Error> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(Error::file(&self.dir))? {
            let path = entry.map_err(Error::file(&self.dir))?.path();
            if path.extension().is_some_and(|e| e == "json") {
                let text = std::fs::read_to_string(&path).map_err(Error::file(&path))?;
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                found.push((stem.into_owned(), text));
            }
        }
        Ok(found)
    }

    fn get(&self, key: &Key) -> Result<Option<String>, Error> {
        let path = self.name(key);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::file(path)(e)),
        }
    }

    fn put(&self, key: &Key, text: &str, seen: Option<&str>) -> Result<(), Error> {
        // Between this look and the write only an editor can come, not another Coregate: the lock keeps it out.
        match self.get(key)?.as_deref() == seen {
            true => write_atomically(&self.name(key), text.as_bytes()),
            false => Err(Error::Edited(self.name(key))),
        }
    }

    fn name(&self, key: &Key) -> PathBuf {
        match key {
            Key::Keyspace(name) => self.dir.join(format!("{name}.json")),
            Key::RoutingRules => self.dir.with_file_name("routing_rules.json"),
        }
    }
}
