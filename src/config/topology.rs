//! `[topology]`: where the keyspaces, shards and tablets are kept.
use coregate_controlplane::{Config, EtcdAccess, EtcdConfig, Source};
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Topology {
    pub(crate) store: StoreKind,
    /// `files`: holds `topology/KEYSPACE.json`.
    pub(crate) dir: Option<PathBuf>,
    /// `etcd`: its members, `http://HOST:PORT` or `https://HOST:PORT`.
    pub(crate) endpoints: Vec<String>,
    /// `etcd`: what all keys stand under [default: /coregate]
    pub(crate) root: Option<String>,
    /// Where this process is: replicas of the cell come first. A tablet's cell is its alias without
    /// the number.
    pub(crate) cell: Option<String>,
    /// `etcd` over TLS: the authority that signs its members' certificates.
    pub(crate) ca: Option<PathBuf>,
    /// `etcd` over TLS: our own certificate, where it wants one, and its key.
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// `etcd` with users: who logs in.
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// How long a statement that changes tables of several shards waits for others that do.
    pub(crate) ddl_wait_timeout_ms: u64,
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            store: StoreKind::default(),
            dir: None,
            endpoints: Vec::new(),
            root: None,
            cell: None,
            ca: None,
            cert: None,
            key: None,
            user: None,
            password: None,
            ddl_wait_timeout_ms: Config::DDL_WAIT_MS,
        }
    }
}

/// Without the password.
impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topology")
            .field("store", &self.store)
            .field("dir", &self.dir)
            .field("endpoints", &self.endpoints)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
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
        let access = [&self.ca, &self.cert, &self.key]
            .into_iter()
            .any(Option::is_some);
        let access = access || self.user.is_some() || self.password.is_some();
        match self.store {
            StoreKind::Files if access => {
                Err("topology.ca, cert, key, user and password are etcd's: set topology.store = \
                    \"etcd\" with them"
                    .to_owned())
            }
            StoreKind::Files if !self.endpoints.is_empty() || self.root.is_some() => Err(
                "topology.endpoints and topology.root are etcd's: set topology.store = \"etcd\" \
                    with them"
                    .to_owned(),
            ),
            StoreKind::Etcd if self.dir.is_some() => {
                Err("topology.dir is for topology.store = \"files\": leave it out with \
                    etcd"
                    .to_owned())
            }
            StoreKind::Etcd => self.etcd().map(drop),
            StoreKind::Files => Ok(()),
        }
    }

    fn etcd(&self) -> Result<EtcdConfig, String> {
        let access = EtcdAccess {
            ca: self.ca.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
        };
        EtcdConfig::new(&self.endpoints, self.root.as_deref(), access)
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
        assert!(matches!(
            of("store = \"etcd\"\nendpoints = [\"http://h:1\"]"),
            Ok(Source::Etcd(_))
        ));
        for (text, part) in [
            ("", "topology.dir is missing"),
            ("endpoints = [\"h:1\"]", "set topology.store"),
            ("store = \"etcd\"", "no endpoint"),
            ("store = \"etcd\"\ndir = \"/d\"\nendpoints = [\"h:1\"]", "leave it out"),
            ("store = \"etcd\"\nendpoints = [\"https://h:1\"]", "topology.ca"),
            ("store = \"etcd\"\nendpoints = [\"http://h:1\"]\nca = \"/ca\"", "https://"),
            ("store = \"etcd\"\nendpoints = [\"http://h:1\"]\nuser = \"u\"", "needs a password"),
            ("dir = \"/d\"\nuser = \"u\"", "are etcd's"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
