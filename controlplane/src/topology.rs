//! Which keyspaces, shards and servers there are, as kept in files: one JSON file a keyspace.
use crate::Error;
use crate::backend::PATIENCE;
use coregate_planner::keyrange::partition;
use coregate_planner::snapshot::{Address, BackendTls, Tablet, TabletKind};
use coregate_planner::vschema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// One keyspace's file, `DIR/topology/NAME.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyspaceRecord {
    pub name: String,
    /// Grows with every write.
    #[serde(default)]
    pub version: u64,
    /// The database's name on the servers; left out, it is the keyspace's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    pub shards: Vec<ShardRecord>,
    /// Vitess's form.
    #[serde(default)]
    pub vschema: vschema::Keyspace,
    /// `coregate local`: has the first schema been applied to the servers?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub schema_pending: bool,
    /// The account that replicas log in with at their primary; left out, each tablet's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<Account>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    pub user: String,
    #[serde(default)]
    pub password: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardRecord {
    /// `-80`, `80-`, `0`
    pub name: String,
    pub tablets: Vec<TabletRecord>,
    /// Counts the primaries that the shard has had.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub term: u64,
    /// When the present one took over, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_since: Option<String>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// One database server: with a `socket`, or a `host` and `port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TabletRecord {
    /// Unique in the whole topology: `zone1-100`.
    pub alias: String,
    #[serde(rename = "type")]
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Beside a `socket`: where other servers reach it, on this machine; 0: nowhere.
    #[serde(default = "mysql_port")]
    pub port: u16,
    pub user: String,
    #[serde(default)]
    pub password: String,
    #[serde(default)]
    pub tls: Tls,
    /// Of a replica: how many of the sessions it gets, relative to the others; left out, 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

fn mysql_port() -> u16 {
    3306
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[serde(alias = "PRIMARY")]
    Primary,
    #[serde(alias = "REPLICA")]
    Replica,
    #[serde(alias = "RDONLY")]
    Rdonly,
    /// It replicates, and gets no statements.
    #[serde(alias = "SPARE")]
    Spare,
    /// The same, and it is never promoted.
    #[serde(alias = "DRAINED")]
    Drained,
}

impl Kind {
    /// As whom it gets statements.
    pub(crate) fn serves(self) -> Option<TabletKind> {
        match self {
            Self::Primary => Some(TabletKind::Primary),
            Self::Replica => Some(TabletKind::Replica),
            Self::Rdonly => Some(TabletKind::Rdonly),
            Self::Spare | Self::Drained => None,
        }
    }

    /// May it become primary?
    pub(crate) fn is_candidate(self) -> bool {
        matches!(self, Self::Replica | Self::Spare)
    }

    /// As Vitess writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Primary => "PRIMARY",
            Self::Replica => "REPLICA",
            Self::Rdonly => "RDONLY",
            Self::Spare => "SPARE",
            Self::Drained => "DRAINED",
        }
    }
}

/// MySQL's `ssl-mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    Disabled,
    #[default]
    Preferred,
    Required,
    VerifyCa,
    VerifyIdentity,
}

impl From<Tls> for BackendTls {
    fn from(tls: Tls) -> Self {
        match tls {
            Tls::Disabled => Self::Disabled,
            Tls::Preferred => Self::Preferred,
            Tls::Required => Self::Required,
            Tls::VerifyCa => Self::VerifyCa,
            Tls::VerifyIdentity => Self::VerifyIdentity,
        }
    }
}

/// The server of the drop-in mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    pub host: String,
    pub port: u16,
    /// Its Unix-domain socket, which goes before the host.
    pub socket: Option<PathBuf>,
    pub user: String,
    pub password: String,
    pub tls: BackendTls,
}

impl Upstream {
    /// Resolves the host's name and makes a tablet of it.
    pub(crate) async fn tablet(&self) -> Arc<Tablet> {
        Arc::new(Tablet {
            alias: "upstream".to_owned(),
            kind: TabletKind::Primary,
            address: match &self.socket {
                Some(path) => Address::Unix(path.clone()),
                None => address(&self.host, self.port).await,
            },
            server_name: self.host.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            tls: self.tls,
        })
    }
}

/// A name's first address; IPv4 is preferred, as servers listen there more often.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<SocketAddr, Error> {
    let fail = |message: String| Error::Backend { address: format!("{host}:{port}"), message };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let lookup = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((bare, port)));
    let found: Vec<_> = match lookup.await {
        Ok(found) => found.map_err(|e| fail(e.to_string()))?.collect(),
        Err(_) => {
            return Err(fail(format!("the name was not resolved within {} s", PATIENCE.as_secs())));
        }
    };
    let best = found.iter().find(|a| a.is_ipv4()).or_else(|| found.first());
    best.copied()
        .ok_or_else(|| fail("the name has no address".to_owned()))
}

/// The address of a name, or the name for as long as it has none.
async fn address(host: &str, port: u16) -> Address {
    match resolve(host, port).await {
        Ok(address) => Address::Tcp(address),
        Err(e) => {
            tracing::warn!("{e}; it is asked for again");
            Address::Unresolved { host: host.to_owned(), port }
        }
    }
}

impl TabletRecord {
    /// The part of the alias before its last `-`.
    pub(crate) fn cell(&self) -> &str {
        self.alias.rsplit_once('-').map_or("", |(cell, _)| cell)
    }

    /// Is it the same server, reached by the same account? Its type may differ.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        let as_other = Self { kind: other.kind, weight: other.weight, ..self.clone() };
        as_other == *other
    }

    /// Where replicas reach it.
    pub(crate) fn source(&self) -> Option<(String, u16)> {
        let host = match &self.socket {
            Some(_) => "127.0.0.1",
            None => self.host.as_deref()?,
        };
        (self.port > 0).then(|| (host.to_owned(), self.port))
    }

    pub(crate) async fn tablet(&self) -> Result<Arc<Tablet>, Error> {
        let address = match (&self.socket, &self.host) {
            (Some(socket), _) => Address::Unix(socket.clone()),
            (None, Some(host)) => address(host, self.port).await,
            (None, None) => {
                return Err(Error::config(format!(
                    "tablet {}: socket or host is missing",
                    self.alias
                )));
            }
        };
        Ok(Arc::new(Tablet {
            alias: self.alias.clone(),
            kind: self.kind.serves().unwrap_or(TabletKind::Replica),
            address,
            server_name: self.host.clone().unwrap_or_else(|| "localhost".to_owned()),
            user: self.user.clone(),
            password: self.password.clone(),
            tls: self.tls.into(),
        }))
    }
}

/// Names of keyspaces become names of databases and files.
pub fn valid_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$');
    !name.is_empty() && name.len() <= 64 && name.chars().all(good) && !name.starts_with('-')
}

impl KeyspaceRecord {
    /// The database on the servers.
    pub fn database(&self) -> &str {
        self.database.as_deref().unwrap_or(&self.name)
    }

    /// Shards that cover everything once, each with one primary.
    pub fn validate(&self) -> Result<(), Error> {
        let fail =
            |message: String| Err(Error::Config(format!("keyspace {}: {message}", self.name)));
        if !valid_name(&self.name) {
            return fail("a name is 1 to 64 letters, digits, _, - and $".to_owned());
        }
        let names: Vec<&str> = self.shards.iter().map(|s| s.name.as_str()).collect();
        if let Err(e) = partition(&names) {
            return fail(e.to_string());
        }
        for shard in &self.shards {
            let primaries = shard
                .tablets
                .iter()
                .filter(|t| t.kind == Kind::Primary)
                .count();
            if primaries != 1 {
                return fail(format!(
                    "shard {} must have one tablet of type primary, not {primaries}",
                    shard.name
                ));
            }
            if let Some(t) = shard
                .tablets
                .iter()
                .find(|t| t.socket.is_none() && t.host.is_none())
            {
                return fail(format!("tablet {} needs a socket or a host", t.alias));
            }
        }
        Ok(())
    }
}

/// Checks a topology as a whole.
pub fn validate<'r>(keyspaces: impl IntoIterator<Item = &'r KeyspaceRecord>) -> Result<(), Error> {
    let mut aliases = std::collections::BTreeSet::new();
    for keyspace in keyspaces {
        keyspace.validate()?;
        for tablet in keyspace.shards.iter().flat_map(|s| &s.tablets) {
            if !aliases.insert(&tablet.alias) {
                let (alias, name) = (&tablet.alias, &keyspace.name);
                return Err(Error::Config(format!(
                    "keyspace {name}: the alias {alias} is used twice"
                )));
            }
        }
    }
    Ok(())
}
