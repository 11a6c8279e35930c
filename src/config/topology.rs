//! `[topology]`: where the keyspaces, shards and tablets are kept.
use coregate_controlplane::{EtcdConfig, Source};
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Topology {
    pub(crate) store: StoreKind,
    /// `files`: holds `topology/KEYSPACE.json`.
    pub(crate) dir: Option<PathBuf>,
    /// `etcd`: its members, `http://HOST:PORT`.
    pub(crate) endpoints: Vec<String>,
    /// `etcd`: what all keys stand under [default: /coregate]
    pub(crate) root: Option<String>,
    /// Where this process is: replicas of the cell come first. A tablet's cell is its alias without the number.
    pub(crate) cell: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    /// One process.
    #[default]
    Files,
    /// Several processes.
    Etcd,
}

impl Topology {
    /// What types alone do not say.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.store {
            StoreKind::Files if !self.endpoints.is_empty() || self.root.is_some() => Err(
                "topology.endpoints and topology.root are etcd's: set topology.store = \"etcd\" with them"
                    .to_owned(),
            ),
            StoreKind::Etcd if self.dir.is_some() => {
                Err("topology.dir is for topology.store = \"files\": leave it out with etcd".to_owned())
            }
            StoreKind::Etcd => self.etcd().map(drop),
            StoreKind::Files => Ok(()),
        }
    }

    fn etcd(&self) -> Result<EtcdConfig, String> {
        EtcdConfig::new(&self.endpoints, self.root.as_deref())
            .map_err(|why| format!("topology.endpoints: {why}"))
    }

    /// Does it name a topology at all?
    pub(crate) fn is_given(&self) -> bool {
        self.dir.is_some() || self.store == StoreKind::Etcd
    }

    pub(crate) fn source(&self) -> Result<Source, String> {
        match (self.store, &self.dir) {
            (StoreKind::Etcd, _) => Ok(Source::Etcd(self.etcd()?)),
            (StoreKind::Files, Some(dir)) => Ok(Source::Topology(dir.clone())),
            (StoreKind::Files, None) => {
                Err("topology.dir is missing: name the directory that holds topology/KEYSPACE.json"
                    .to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_what_it_needs_and_nothing_else() {
        let of = |text: &str| {
            let topology: Topology = toml::from_str(text).unwrap();
            topology.check().and_then(|()| topology.source())
        };
        assert!(matches!(of("dir = \"/d\""), Ok(Source::Topology(_))));
        assert!(matches!(of("store = \"etcd\"\nendpoints = [\"http://h:1\"]"), Ok(Source::Etcd(_))));
        for (text, part) in [
            ("", "topology.dir is missing"),
            ("endpoints = [\"h:1\"]", "set topology.store"),
            ("store = \"etcd\"", "no endpoint"),
            ("store = \"etcd\"\ndir = \"/d\"\nendpoints = [\"h:1\"]", "leave it out"),
            ("store = \"etcd\"\nendpoints = [\"https://h:1\"]", "TLS"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
