//! What differs where the servers of a local cluster are nodes of Galera clusters, one cluster a
//! shard. The first node to start makes the cluster, the one that has most; the others join it and
//! copy what they lack.
use super::dirs::Dirs;
use super::install::INNODB;
use super::server::{Launch, Server};
use crate::Error;
use crate::backend;
use crate::topology::{KeyspaceRecord, ShardRecord, TabletRecord};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// A server that only reads where it is has done so within this time.
const RECOVER_PATIENCE: Duration = Duration::from_secs(120);

/// A node has its cluster's data within this time.
const JOIN_PATIENCE: Duration = Duration::from_secs(300);

const OPTIONS: &[&str] = &[
    "skip-name-resolve",
    "bind-address=127.0.0.1",
    "performance-schema=OFF",
    "innodb-buffer-pool-size=64M",
    "innodb-log-buffer-size=4M",
    "innodb-flush-log-at-trx-commit=2",
    "innodb-fast-shutdown=1",
    "innodb-io-capacity=2000",
    "innodb-autoinc-lock-mode=2",
    "default-storage-engine=InnoDB",
    "key-buffer-size=4M",
    "aria-pagecache-buffer-size=8M",
    "query-cache-type=0",
    "query-cache-size=0",
    "max-connections=1000",
    "table-open-cache=1000",
    "max-allowed-packet=64M",
    "local-infile=1",
    "character-set-server=utf8mb4",
    "collation-server=utf8mb4_general_ci",
    "binlog-format=ROW",
    "log-warnings=1",
    "wsrep-on=ON",
    "wsrep-sst-method=rsync",
    "wsrep-slave-threads=2",
    // A statement of its own that loses against another node's is tried again.
    "wsrep-retry-autocommit=4",
];

/// Nodes that are silent for 2 s are excluded.
const PROVIDER: &str = "gcache.size=64M;gcache.page_size=16M;\
    evs.keepalive_period=PT0.5S;evs.inactive_check_period=PT0.25S;evs.suspect_timeout=PT2S;\
    evs.inactive_timeout=PT5S;evs.install_timeout=PT5S;pc.recovery=true";

/// Where a node's peers reach it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    group: u16,
    ist: u16,
    sst: u16,
}

/// Of all nodes, by alias: different ones, which nobody else uses.
pub(super) fn give_ports<'t>(
    tablets: impl Iterator<Item = &'t TabletRecord>,
) -> Result<BTreeMap<String, Ports>, Error> {
    let mut held = Vec::new();
    let mut free = || {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0));
        let port = listener.and_then(|l| l.local_addr().map(|a| (l, a.port())));
        let (listener, port) = port.map_err(Error::file("free ports on 127.0.0.1"))?;
        held.push(listener);
        Ok::<_, Error>(port)
    };
    let mut all = BTreeMap::new();
    for tablet in tablets {
        all.insert(tablet.alias.clone(), Ports { group: free()?, ist: free()?, sst: free()? });
    }
    Ok(all)
}

/// What all nodes of the cluster share.
pub(super) struct Group<'g> {
    pub(super) provider: &'g Path,
    pub(super) ports: &'g BTreeMap<String, Ports>,
    pub(super) record: &'g KeyspaceRecord,
    pub(super) shard: &'g ShardRecord,
}

impl Group<'_> {
    /// The option file of a node: its scripts read it, too.
    pub(super) fn option_file(
        &self,
        dirs: &Dirs,
        tablet: &TabletRecord,
        server_id: u32,
    ) -> Result<String, Error> {
        let Some(own) = self.ports.get(&tablet.alias) else {
            return Err(Error::Server(format!("{} has no ports", tablet.alias)));
        };
        let members = self
            .shard
            .tablets
            .iter()
            .filter_map(|t| self.ports.get(&t.alias));
        let members: Vec<String> = members.map(|p| format!("127.0.0.1:{}", p.group)).collect();
        let dir = dirs.tablet(&tablet.alias);
        let mut text = String::from("[mysqld]\n");
        for option in OPTIONS
            .iter()
            .copied()
            .chain(INNODB.iter().map(|o| o.trim_start_matches("--")))
        {
            let _ = writeln!(text, "{option}");
        }
        let provider = format!(
            "gmcast.listen_addr=tcp://127.0.0.1:{};ist.recv_addr=127.0.0.1:{};{PROVIDER}",
            own.group, own.ist
        );
        for (name, value) in [
            ("datadir", dir.join("data").display().to_string()),
            ("tmpdir", dir.join("tmp").display().to_string()),
            ("socket", dirs.socket(&tablet.alias).display().to_string()),
            ("pid-file", dir.join("mariadbd.pid").display().to_string()),
            ("log-error", dir.join("err.log").display().to_string()),
            ("port", tablet.port.to_string()),
            ("server-id", server_id.to_string()),
            ("wsrep-provider", self.provider.display().to_string()),
            ("wsrep-provider-options", provider),
            ("wsrep-cluster-name", format!("{}/{}", self.record.name, self.shard.name)),
            ("wsrep-cluster-address", format!("gcomm://{}", members.join(","))),
            ("wsrep-node-name", tablet.alias.clone()),
            ("wsrep-node-address", format!("127.0.0.1:{}", own.group)),
            ("wsrep-node-incoming-address", format!("127.0.0.1:{}", tablet.port)),
            ("wsrep-sst-receive-address", format!("127.0.0.1:{}", own.sst)),
        ] {
            let _ = writeln!(text, "{name}=\"{value}\"");
        }
        text.push_str("[sst]\nsst-syslog=0\nsst-log-archive=0\nsockopt=\",bind=127.0.0.1\"\n");
        Ok(text)
    }
}

/// What the node that makes a cluster runs before it listens: accounts and the database, which the
/// others copy.
pub(super) fn init_sql(record: &KeyspaceRecord, tablet: &TabletRecord) -> String {
    let TabletRecord { user, password, .. } = tablet;
    let lines = [
        "SET SESSION wsrep_on=OFF".to_owned(),
        "DELETE FROM mysql.global_priv WHERE User=''".to_owned(),
        "FLUSH PRIVILEGES".to_owned(),
        format!("CREATE USER IF NOT EXISTS '{user}'@'localhost' IDENTIFIED BY '{password}'"),
        format!("GRANT ALL PRIVILEGES ON *.* TO '{user}'@'localhost' WITH GRANT OPTION"),
        format!("CREATE DATABASE IF NOT EXISTS `{}`", record.database()),
    ];
    lines.join(";\n") + ";\n"
}

/// How far a node that is down has got in its cluster's history: the cluster's uuid and a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reached {
    uuid: String,
    pub(super) number: i64,
}

impl Reached {
    fn parse(text: &str) -> Option<Self> {
        let (uuid, number) = text.trim().rsplit_once(':')?;
        let number = number.trim().parse().ok()?;
        Some(Self { uuid: uuid.trim().to_owned(), number })
    }

    /// So that it gets only what it lacks.
    pub(super) fn option(&self) -> Option<String> {
        (self.number >= 0).then(|| format!("--wsrep-start-position={}:{}", self.uuid, self.number))
    }
}

/// As the node's own file says, after an end in order; else as the server finds it in its data.
/// `None`: it has none yet.
pub(super) async fn reached(
    program: &Path,
    provider: &Path,
    dir: &Path,
    user: Option<&str>,
) -> Option<Reached> {
    let data = dir.join("data");
    let state = fs::read_to_string(data.join("grastate.dat")).ok()?;
    let field = |name: &str| {
        let line = state
            .lines()
            .find_map(|line| line.trim().strip_prefix(name));
        line.map(str::trim).map(str::to_owned)
    };
    let (uuid, number) = (field("uuid:")?, field("seqno:")?);
    let kept = Reached::parse(&format!("{uuid}:{number}"))?;
    if kept.number >= 0 {
        return Some(kept);
    }
    let path = |name: &str, path: PathBuf| format!("--{name}={}", path.display());
    let mut command = Command::new(program);
    command
        .arg("--no-defaults")
        .arg(path("datadir", data))
        .arg(path("tmpdir", dir.join("tmp")))
        .arg(path("socket", dir.join("recover.sock")))
        .arg(path("pid-file", dir.join("recover.pid")))
        .args([
            "--skip-networking",
            "--innodb-buffer-pool-size=16M",
            "--wsrep-recover",
            "--wsrep-on=ON",
        ])
        .arg(path("wsrep-provider", provider.to_owned()))
        .args(["--binlog-format=ROW", "--disable-log-error"])
        .args(INNODB)
        .args(user.map(|user| format!("--user={user}")))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(RECOVER_PATIENCE, command.output())
        .await
        .ok()?
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    said.lines()
        .filter_map(|line| line.split_once("Recovered position:"))
        .filter_map(|(_, at)| Reached::parse(at))
        .next_back()
}

/// This node may make the cluster anew, whatever it thinks of itself: it has most.
pub(super) fn let_bootstrap(dir: &Path) -> Result<(), Error> {
    let path = dir.join("data/grastate.dat");
    let Ok(state) = fs::read_to_string(&path) else { return Ok(()) };
    let lines: Vec<&str> = state
        .lines()
        .map(
            |line| {
                if line.starts_with("safe_to_bootstrap:") { "safe_to_bootstrap: 1" } else { line }
            },
        )
        .collect();
    fs::write(&path, lines.join("\n") + "\n").map_err(Error::file(&path))
}

/// The members of the last cluster are not waited for when it is made anew.
fn forget_members(dir: &Path) {
    let _ = fs::remove_file(dir.join("data/gvwstate.dat"));
}

/// Starts the nodes of one cluster, and waits until all have everything. One joins after the other:
/// two at once take longer.
pub(super) async fn form(
    launches: Vec<(Launch, &TabletRecord)>,
    started: &mut Vec<(Server, Launch)>,
) -> Result<(), Error> {
    let mut nodes = Vec::new();
    for (launch, tablet) in launches {
        let number = launch.reached().await.map_or(-1, |at| at.number);
        forget_members(launch.dir());
        nodes.push((number, launch, tablet));
    }
    // Of equals, the one that had the writes.
    nodes.sort_by_key(|(number, launch, _)| (-number, !launch.is_primary()));
    for (nth, (_, launch, tablet)) in nodes.into_iter().enumerate() {
        let server = if nth == 0 { launch.bootstrap().await? } else { launch.again().await? };
        let ready = server.wait_ready();
        started.push((server, launch));
        ready.await?;
        wait_synced(tablet).await?;
    }
    Ok(())
}

async fn wait_synced(tablet: &TabletRecord) -> Result<(), Error> {
    let server = tablet.tablet().await?;
    let end = Instant::now() + JOIN_PATIENCE;
    let state = async || {
        let mut conn = backend::connect(&server).await.ok()?;
        let row: Option<(String, String)> = conn
            .query_first("SHOW GLOBAL STATUS LIKE 'wsrep_local_state_comment'")
            .await
            .ok()?;
        Some(row?.1)
    };
    loop {
        let said = state().await;
        match said.as_deref() {
            Some("Synced") => return Ok(()),
            other if Instant::now() >= end => {
                let other = other.unwrap_or("unknown");
                return Err(Error::Server(format!(
                    "{} does not join its cluster: its state is {other}",
                    tablet.alias
                )));
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read() {
        let at = Reached::parse(" 2b7188de-ea7a-11f1-a08f-ee706f8cbabb:4 ").unwrap();
        assert_eq!(
            at.option().unwrap(),
            "--wsrep-start-position=2b7188de-ea7a-11f1-a08f-ee706f8cbabb:4"
        );
        assert_eq!(
            Reached::parse("00000000-0000-0000-0000-000000000000:-1")
                .unwrap()
                .option(),
            None
        );
        assert_eq!(Reached::parse("x"), None);
    }
}
