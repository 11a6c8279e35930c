//! One server of a local cluster.
use super::dirs::{Dirs, Owner, give};
use super::flavor::Flavor;
use super::install::{Binaries, INNODB};
use super::leftovers::STOP_PATIENCE;
use super::{galera, mysql};
use crate::Error;
use crate::topology::{KeyspaceRecord, Kind, ShardRecord, TabletRecord};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::sync::watch;

/// How long a server may take to answer: recovery after a crash is in it.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// Fast rather than crash-proof against power loss; a killed server loses nothing
/// (`flush-log-at-trx-commit=2`).
const OPTIONS: &[&str] = &[
    "--skip-name-resolve",
    "--performance-schema=OFF",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-buffer-size=4M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-fast-shutdown=1",
    "--innodb-io-capacity=2000",
    "--key-buffer-size=4M",
    "--aria-pagecache-buffer-size=8M",
    "--query-cache-type=0",
    "--query-cache-size=0",
    "--max-connections=1000",
    "--table-open-cache=1000",
    "--max-allowed-packet=64M",
    "--local-infile=1",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
    "--log-bin=bin",
    "--binlog-format=ROW",
    "--sync-binlog=0",
    "--max-binlog-size=256M",
    "--log-slave-updates=ON",
    "--relay-log=relay",
    "--slave-net-timeout=5",
    "--skip-slave-start",
    "--gtid-strict-mode=ON",
    "--log-warnings=1",
];

/// Of servers that replicate. They start read-only: the control plane knows who is primary. A
/// server that was primary when it was killed may have transactions that no replica has
/// acknowledged; as it starts as a replica with semi-sync, it takes them back.
const REPLICATED: [&str; 5] = [
    "--bind-address=127.0.0.1",
    "--read-only=ON",
    "--rpl-semi-sync-slave-enabled=ON",
    "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
    "--init-rpl-role=SLAVE",
];

pub(super) struct Server {
    alias: String,
    dir: PathBuf,
    socket: PathBuf,
    pid: Option<Pid>,
    /// True when the process has ended and has been waited for.
    gone: watch::Receiver<bool>,
}

/// Copies the template, unless the data is there.
pub(super) async fn make_data(
    template: PathBuf,
    dir: PathBuf,
    owner: Option<Owner>,
) -> Result<(), Error> {
    let data = dir.join("data");
    for made in [&dir, &dir.join("tmp")] {
        fs::create_dir_all(made).map_err(Error::file(made))?;
        fs::set_permissions(made, fs::Permissions::from_mode(0o755)).map_err(Error::file(made))?;
    }
    if !data.is_dir() {
        let copy = dir.join("data.new");
        let _ = fs::remove_dir_all(&copy);
        let mut cp = Command::new("cp");
        cp.args(["-a", "--reflink=auto", "--sparse=always"])
            .arg(&template)
            .arg(&copy)
            .kill_on_drop(true);
        let status = cp.status().await.map_err(Error::file("cp"))?;
        if !status.success() {
            return Err(Error::Server(format!(
                "{} cannot be copied to {}",
                template.display(),
                copy.display()
            )));
        }
        fs::rename(&copy, &data).map_err(Error::file(&data))?;
    }
    give(&dir, owner)
}

/// What a server runs before it listens: accounts and the database, without a trace in the binlog,
/// so that servers of a shard begin with the same (empty) history.
fn init_sql(record: &KeyspaceRecord, tablet: &TabletRecord, replicated: bool) -> String {
    let TabletRecord { user, password, .. } = tablet;
    let mut lines = vec![
        "SET SESSION sql_log_bin=0".to_owned(),
        "DELETE FROM mysql.global_priv WHERE User=''".to_owned(),
        "FLUSH PRIVILEGES".to_owned(),
        format!("CREATE USER IF NOT EXISTS '{user}'@'localhost' IDENTIFIED BY '{password}'"),
        format!("GRANT ALL PRIVILEGES ON *.* TO '{user}'@'localhost' WITH GRANT OPTION"),
        format!("CREATE DATABASE IF NOT EXISTS `{}`", record.database()),
    ];
    if replicated {
        let repl = super::REPLICATION_USER;
        lines.push(format!(
            "CREATE USER IF NOT EXISTS '{repl}'@'127.0.0.1' IDENTIFIED BY '{password}'"
        ));
        lines.push(format!("GRANT REPLICATION SLAVE ON *.* TO '{repl}'@'127.0.0.1'"));
    }
    lines.join(";\n") + ";\n"
}

/// Ports for the servers of replicated shards, all different: those of the last time, as long as
/// nobody else listens there.
pub(super) fn give_ports(records: &mut [KeyspaceRecord], flavor: Flavor) -> Result<(), Error> {
    let bind = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port));
    let mut held = Vec::new();
    for shard in records.iter_mut().flat_map(|r| &mut r.shards) {
        let replicated = shard.tablets.len() > 1 || flavor == Flavor::Galera;
        for tablet in &mut shard.tablets {
            if !replicated {
                tablet.port = 0;
                continue;
            }
            let listener = bind(tablet.port).or_else(|_| bind(0));
            let listener = listener.map_err(Error::file("free ports on 127.0.0.1"))?;
            let address = listener
                .local_addr()
                .map_err(Error::file("free ports on 127.0.0.1"))?;
            tablet.port = address.port();
            held.push(listener);
        }
    }
    Ok(())
}

/// How a server is started, the first time and again.
pub(super) struct Launch {
    alias: String,
    primary: bool,
    program: PathBuf,
    arguments: Vec<OsString>,
    dir: PathBuf,
    socket: PathBuf,
    /// Only where its data is new.
    first: OsString,
    /// Galera's library.
    galera: Option<PathBuf>,
    user: Option<&'static str>,
}

fn path(name: &str, path: &Path) -> OsString {
    OsString::from(format!("--{name}={}", path.display()))
}

/// A file that only the server may read.
fn private_file(path: &Path, text: &str, owner: Option<Owner>) -> Result<PathBuf, Error> {
    fs::write(path, text).map_err(Error::file(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(Error::file(path))?;
    give(path, owner)?;
    Ok(path.to_owned())
}

fn plain_arguments(
    flavor: Flavor,
    dir: &Path,
    socket: &Path,
    replicated: bool,
    number: u32,
    port: u16,
) -> Vec<OsString> {
    let mut arguments = vec![
        "--no-defaults".into(),
        path("datadir", &dir.join("data")),
        path("tmpdir", &dir.join("tmp")),
        path("socket", socket),
        path("pid-file", &dir.join("mariadbd.pid")),
        path("log-error", &dir.join("err.log")),
    ];
    let (options, of_replicated): (Vec<&str>, &[&str]) = match flavor {
        Flavor::MySql => (mysql::OPTIONS.to_vec(), mysql::REPLICATED),
        Flavor::MariaDb | Flavor::Galera => {
            (OPTIONS.iter().chain(&INNODB).copied().collect(), &REPLICATED)
        }
    };
    arguments.extend(options.into_iter().map(OsString::from));
    arguments.push(format!("--server-id={number}").into());
    if replicated {
        arguments.extend(of_replicated.iter().map(OsString::from));
        arguments.push(format!("--port={port}").into());
    } else {
        arguments.push("--skip-networking".into());
    }
    arguments
}

impl Launch {
    pub(super) fn alias(&self) -> &str {
        &self.alias
    }
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
    pub(super) fn is_primary(&self) -> bool {
        self.primary
    }

    pub(super) fn prepare(
        binaries: &Binaries,
        dirs: &Dirs,
        (record, shard): (&KeyspaceRecord, &ShardRecord),
        tablet: &TabletRecord,
        ports: &BTreeMap<String, galera::Ports>,
    ) -> Result<Self, Error> {
        let replicated = shard.tablets.len() > 1;
        let dir = dirs.tablet(&tablet.alias);
        let socket = dirs.socket(&tablet.alias);
        let sql = match binaries.flavor {
            Flavor::MariaDb => init_sql(record, tablet, replicated),
            Flavor::MySql => mysql::init_sql(record, tablet, replicated),
            Flavor::Galera => galera::init_sql(record, tablet),
        };
        let init = private_file(&dir.join("init.sql"), &sql, dirs.owner)?;
        let number = tablet
            .alias
            .rsplit_once('-')
            .and_then(|(_, n)| n.parse::<u32>().ok())
            .unwrap_or(1);
        let mut arguments = match &binaries.provider {
            Some(provider) => {
                let text = galera::Group { provider, ports, record, shard }
                    .option_file(dirs, tablet, number)?;
                let file = private_file(&dir.join("my.cnf"), &text, dirs.owner)?;
                // The directory also here, by which a server that was left is known.
                vec![path("defaults-file", &file), path("datadir", &dir.join("data"))]
            }
            None => {
                plain_arguments(binaries.flavor, &dir, &socket, replicated, number, tablet.port)
            }
        };
        let first = path("init-file", &init);
        // Of Galera's nodes, only the one that makes the cluster.
        if binaries.provider.is_none() {
            arguments.push(first.clone());
        }
        if let Some(owner) = dirs.owner {
            arguments.push(format!("--user={}", owner.name).into());
        }
        Ok(Self {
            alias: tablet.alias.clone(),
            primary: tablet.kind == Kind::Primary,
            program: binaries.server.clone(),
            arguments,
            dir,
            socket,
            first,
            galera: binaries.provider.clone(),
            user: dirs.owner.map(|owner| owner.name),
        })
    }

    /// Galera: how far it has got.
    pub(super) async fn reached(&self) -> Option<galera::Reached> {
        galera::reached(&self.program, self.galera.as_deref()?, &self.dir, self.user).await
    }

    /// Galera: makes a cluster of which this is the first node.
    pub(super) async fn bootstrap(&self) -> Result<Server, Error> {
        galera::let_bootstrap(&self.dir)?;
        let mut more = vec![OsString::from("--wsrep-new-cluster"), self.first.clone()];
        more.extend(self.position().await);
        self.start(&more)
    }

    async fn position(&self) -> Option<OsString> {
        self.reached().await?.option().map(OsString::from)
    }

    /// Starts it as it was started before; a node of Galera joins its cluster.
    pub(super) async fn again(&self) -> Result<Server, Error> {
        let position: Vec<OsString> = self.position().await.into_iter().collect();
        self.start(&position)
    }

    /// Starts the process in a group of its own, so that a terminal's Ctrl-C reaches only us.
    fn start(&self, more: &[OsString]) -> Result<Server, Error> {
        let (dir, socket) = (self.dir.clone(), self.socket.clone());
        let log = dir.join("out.log");
        let out = File::create(&log).map_err(Error::file(&log))?;
        let err = out.try_clone().map_err(Error::file(&log))?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .args(more)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0);
        let _ = fs::remove_file(&socket);
        let mut child = command.spawn().map_err(Error::file(&self.program))?;
        let pid = child.id();
        if let Some(pid) = pid {
            let file = dir.join("pid");
            fs::write(&file, format!("{pid}\n")).map_err(Error::file(&file))?;
        }
        let (tell, gone) = watch::channel(false);
        let alias = self.alias.clone();
        tokio::spawn(async move {
            let status = child.wait().await;
            let _ = tell.send(true);
            match status {
                Ok(status) if status.success() => {}
                Ok(status) => tracing::error!(tablet = alias, "the server has ended: {status}"),
                Err(e) => tracing::error!(tablet = alias, "the server cannot be waited for: {e}"),
            }
        });
        let pid = pid
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        Ok(Server { alias: self.alias.clone(), dir, socket, pid, gone })
    }
}

impl Server {
    /// Waits until the process has ended.
    pub(super) async fn ended(&mut self) {
        let _ = self.gone.wait_for(|gone| *gone).await;
    }

    /// Ends it at once.
    pub(super) async fn kill(&mut self) {
        if let Some(pid) = self.pid.filter(|_| !*self.gone.borrow()) {
            // With the scripts by which a node of Galera gives or gets its data.
            let _ = kill_process_group(pid, Signal::KILL);
            self.ended().await;
        }
    }

    /// Waits until the server listens on its socket.
    pub(super) fn wait_ready(&self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let (socket, gone, log) =
            (self.socket.clone(), self.gone.clone(), self.dir.join("err.log"));
        let alias = self.alias.clone();
        async move {
            let end = Instant::now() + START_PATIENCE;
            while Instant::now() < end {
                if tokio::net::UnixStream::connect(&socket).await.is_ok() {
                    return Ok(());
                }
                if *gone.borrow() {
                    return Err(Error::Server(format!(
                        "the server of {alias} has ended: {}",
                        last_lines(&log)
                    )));
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(Error::Server(format!(
                "the server of {alias} does not answer: {}",
                last_lines(&log)
            )))
        }
    }

    /// Asks the server to stop, and waits for it; kills it when it takes too long.
    pub(super) async fn stop(mut self) {
        if let Some(pid) = self.pid {
            for (signal, patience) in [(Signal::TERM, STOP_PATIENCE), (Signal::KILL, STOP_PATIENCE)]
            {
                if *self.gone.borrow() {
                    break;
                }
                let _ = kill_process(pid, signal);
                if tokio::time::timeout(patience, self.gone.wait_for(|gone| *gone))
                    .await
                    .is_err()
                {
                    tracing::error!(
                        tablet = self.alias,
                        "the server does not stop within {patience:?}"
                    );
                }
            }
        }
        for name in ["pid", "mariadbd.pid"] {
            let _ = fs::remove_file(self.dir.join(name));
        }
    }
}

/// The end of a server's log, in one line.
fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let errors: Vec<&str> = text.lines().filter(|l| l.contains("[ERROR]")).collect();
    let lines: Vec<&str> = if errors.is_empty() { text.lines().collect() } else { errors };
    let tail = lines[lines.len().saturating_sub(3)..].join(" | ");
    format!("{}: {tail}", log.display())
}
