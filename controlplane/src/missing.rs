//! What a start could not find out: names without an address, columns of tables, the servers'
//! version. It is asked for again and again, beside the control plane's loop, which hears of what
//! was found.
use crate::plane::Command;
use crate::probe::{Answers, Wanted};
use crate::view::Shared;
use crate::{schema, topology};
use coregate_planner::snapshot::{Address, Tablet};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Time between two attempts.
const RETRY: Duration = Duration::from_secs(2);

/// What is still to be found out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Missing {
    /// Keyspaces whose tables no primary has told, and who could.
    pub(crate) tables: Vec<(String, Vec<Arc<Tablet>>)>,
    /// Keyspaces whose servers have not told how they compare text, and who could.
    pub(crate) collations: Vec<(String, Vec<Arc<Tablet>>, Wanted)>,
    /// No server could be asked what it is.
    pub(crate) version: bool,
}

impl Missing {
    /// One line each, for people.
    pub(crate) fn lines(&self, tablets: &[Arc<Tablet>]) -> Vec<String> {
        let names = tablets.iter().filter_map(|tablet| match &tablet.address {
            Address::Unresolved { host, .. } => {
                Some(format!("tablet {}: the name {host} has no address", tablet.alias))
            }
            _ => None,
        });
        let tables = self.tables.iter().map(|(keyspace, servers)| {
            let servers: Vec<&str> = servers.iter().map(|t| t.alias.as_str()).collect();
            format!("keyspace {keyspace}: the columns of its tables, from {}", servers.join(", "))
        });
        let collations = self.collations.iter().map(|(keyspace, ..)| {
            format!(
                "keyspace {keyspace}: how its servers compare text; till then, less is sorted here"
            )
        });
        let version = self
            .version
            .then(|| "the servers' version: none could be asked".to_owned());
        names
            .chain(tables)
            .chain(collations)
            .chain(version)
            .collect()
    }
}

/// What has been found.
pub(crate) enum Found {
    Address {
        host: String,
        port: u16,
        address: SocketAddr,
    },
    /// A server of the keyspace answers.
    Server {
        keyspace: String,
    },
    Collations {
        keyspace: String,
        answers: Answers,
    },
    Version(String),
}

/// Asks for what is missing until the program ends.
pub(crate) async fn seek(shared: Arc<Shared>, commands: mpsc::Sender<Command>) {
    loop {
        tokio::time::sleep(RETRY).await;
        let (missing, tablets) = (shared.missing(), shared.tablets());
        let mut asked: JoinSet<Option<Found>> = JoinSet::new();
        let names: BTreeSet<(String, u16)> = tablets
            .iter()
            .filter_map(|tablet| match &tablet.address {
                Address::Unresolved { host, port } => Some((host.clone(), *port)),
                _ => None,
            })
            .collect();
        for (host, port) in names {
            asked.spawn(async move {
                let address = topology::resolve(&host, port).await.ok()?;
                Some(Found::Address { host, port, address })
            });
        }
        for (keyspace, servers) in missing.tables {
            for tablet in servers {
                let (keyspace, connector) = (keyspace.clone(), shared.connector.clone());
                asked.spawn(async move {
                    connector.connect(&tablet).await.ok()?;
                    Some(Found::Server { keyspace })
                });
            }
        }
        for (keyspace, servers, wanted) in missing.collations {
            let connector = shared.connector.clone();
            asked.spawn(async move {
                let mut conn = connector.connect(servers.first()?).await.ok()?;
                let answers = schema::collations(&mut conn, wanted).await?;
                Some(Found::Collations { keyspace, answers })
            });
        }
        if missing.version {
            asked.spawn(async move { schema::version(&tablets).await.ok().map(Found::Version) });
        }
        while let Some(found) = asked.join_next().await {
            if let Ok(Some(found)) = found
                && commands.send(Command::Found(found)).await.is_err()
            {
                return;
            }
        }
    }
}

/// Says in the log what is missing, once for each change.
pub(crate) fn tell(before: &[String], now: &[String]) {
    for line in now.iter().filter(|line| !before.contains(line)) {
        tracing::warn!("missing, and sought again every {} s: {line}", RETRY.as_secs());
    }
    for line in before.iter().filter(|line| !now.contains(line)) {
        tracing::info!("no longer missing: {line}");
    }
}
