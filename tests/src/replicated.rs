//! A cluster with replicas, whose servers can be taken away while writers record every acknowledged
//! row.
use crate::{Connection, Coregate, guard, wait_until, world};
use rustix::process::Pid;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// MySQL's server: what `COREGATE_TEST_MYSQLD` names, or one that is installed. `None` says on
/// stderr that a test is skipped.
pub fn mysqld() -> Option<PathBuf> {
    let named = std::env::var_os("COREGATE_TEST_MYSQLD").map(PathBuf::from);
    let found = named.or_else(|| {
        let is_mysql = |path: &PathBuf| {
            let said = Command::new(path).arg("--version").output();
            said.is_ok_and(|o| {
                o.status.success() && !String::from_utf8_lossy(&o.stdout).contains("MariaDB")
            })
        };
        ["/usr/sbin/mysqld", "/usr/bin/mysqld", "/usr/local/bin/mysqld"]
            .map(PathBuf::from)
            .into_iter()
            .find(is_mysql)
    });
    if found.is_none() {
        eprintln!(
            "skipped: there is no server of MySQL 8 or 9 here; COREGATE_TEST_MYSQLD=PATH names one"
        );
    }
    found
}

/// `coregate local` with one table `t (id, v)` in the keyspace `ks`.
pub struct Cluster {
    pub proxy: Coregate,
    pub dir: PathBuf,
    /// Tablets.
    pub count: usize,
    /// All nodes take writes; one of them gets them.
    pub galera: bool,
    /// Of the servers' account, where the directory does not hold the topology.
    pub password: Option<String>,
}

impl Cluster {
    /// One shard: a primary and two replicas.
    pub fn start(name: &str) -> Self {
        Self::of(name, "ks:1:2", 3)
    }

    /// Two shards, with a replica each.
    pub fn sharded(name: &str) -> Self {
        Self::of(name, "ks:2:1", 4)
    }

    pub fn of(name: &str, keyspace: &str, count: usize) -> Self {
        Self::with(name, keyspace, count, &[])
    }

    /// The same, of MySQL's servers; `None`: there are none here, and it says so.
    pub fn of_mysql(name: &str, keyspace: &str, count: usize) -> Option<Self> {
        let mysqld = mysqld()?;
        let more = ["--flavor", "mysql", "--mysqld", mysqld.to_str().unwrap()];
        Some(Self::with(name, keyspace, count, &more))
    }

    /// The same, each shard a Galera cluster; `None`: Galera is not installed, and it says so.
    pub fn of_galera(name: &str, keyspace: &str, count: usize) -> Option<Self> {
        let dirs =
            ["/usr/lib/galera", "/usr/lib64/galera-4", "/usr/lib/galera-4", "/usr/lib64/galera"];
        if !dirs
            .iter()
            .any(|dir| PathBuf::from(dir).join("libgalera_smm.so").is_file())
        {
            eprintln!("skipped: Galera is not installed here (apt-get install galera-4 rsync)");
            return None;
        }
        let mut cluster = Self::with(name, keyspace, count, &["--flavor", "galera"]);
        cluster.galera = true;
        Some(cluster)
    }

    /// `more` is further arguments of `coregate local`.
    pub fn with(name: &str, keyspace: &str, count: usize, more: &[&str]) -> Self {
        let schema = guard::dir().join(format!("{name}-schema"));
        std::fs::create_dir_all(&schema).unwrap();
        std::fs::write(
            schema.join("ks.sql"),
            "create table t (id bigint primary key, v varchar(100));",
        )
        .unwrap();
        if keyspace.contains(":2:") {
            let vschema = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
                "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#;
            std::fs::write(schema.join("ks.json"), vschema).unwrap();
        }
        let dir = guard::dir().join(name);
        let schema = schema.to_str().unwrap();
        let args =
            ["--keyspace", keyspace, "--schema", schema, "--vschema", schema, "--cores", "2"];
        let proxy = Coregate::local_in(name, &dir, &[&args[..], more].concat());
        let cluster = Self { proxy, dir, count, galera: false, password: None };
        cluster.wait_well();
        cluster
    }

    /// Coregate itself dies, leaves its servers behind, and is started again on the same directory.
    pub fn crash_and_start(self, name: &str) -> Self {
        let Self { mut proxy, dir, count, galera, password } = self;
        proxy.process.kill();
        let proxy = Coregate::local_in(name, &dir, &["--cores", "2"]);
        Self { proxy, dir, count, galera, password }
    }

    pub fn connect(&self, database: &str) -> Connection {
        self.proxy
            .connect_as(world::USER, world::PASSWORD, Some(database))
    }

    /// `coregate ctl`, with its output.
    pub fn ctl(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(crate::coregate::binary());
        let output = command
            .args(["ctl", "--admin", &self.proxy.admin.to_string()])
            .args(args)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// By type, as SHOW VITESS_TABLETS says.
    pub fn tablets(&self, kind: &str) -> Vec<(String, String)> {
        let rows = self.connect("ks").run("show vitess_tablets").rows();
        let cell = |row: &Vec<Option<String>>, at: usize| row[at].clone().unwrap();
        let of_kind = rows.iter().filter(|row| cell(row, 3) == kind);
        of_kind.map(|row| (cell(row, 5), cell(row, 4))).collect()
    }

    pub fn primary(&self) -> String {
        self.tablets("PRIMARY")[0].0.clone()
    }

    pub fn replicas(&self) -> Vec<String> {
        self.tablets("REPLICA")
            .into_iter()
            .map(|(alias, _)| alias)
            .collect()
    }

    /// All serve, and nothing is being done.
    pub fn wait_well(&self) {
        wait_until("all tablets serve", || {
            let text = self.proxy.admin("/api/tablets");
            let drained = text.contains("\"drained\"") || text.contains("\"DRAINED\"");
            let serving = text.matches("\"SERVING\"").count() == self.count;
            serving && !drained && !text.contains("\"connecting\"")
        });
    }

    pub fn pid(&self, alias: &str) -> Pid {
        let pid =
            std::fs::read_to_string(self.dir.join("tablets").join(alias).join("pid")).unwrap();
        Pid::from_raw(pid.trim().parse().unwrap()).unwrap()
    }

    /// Straight on a server, past the proxy.
    pub fn on(&self, alias: &str, sql: &str) -> String {
        self.try_on(alias, sql)
            .unwrap_or_else(|why| panic!("{alias}: {why}"))
    }

    /// The same, where it may fail.
    pub fn try_on(&self, alias: &str, sql: &str) -> Result<String, String> {
        let password = self.password.clone().unwrap_or_else(|| {
            password(&std::fs::read_to_string(self.dir.join("topology/ks.json")).unwrap())
        });
        let socket = self.dir.join("tablets").join(alias).join("sock");
        let output = Command::new("mariadb")
            .args(["--no-defaults", "-ucoregate", "-N", "-B"])
            .arg(format!("-p{password}"))
            .arg(format!("--socket={}", socket.display()))
            .args(["ks", "-e", sql])
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Servers that take writes, by their own account.
    pub fn writable(&self) -> Vec<String> {
        let all = [vec![self.primary()], self.replicas()].concat();
        all.into_iter()
            .filter(|alias| self.on(alias, "select @@read_only") == "0")
            .collect()
    }

    pub fn writers(&self, count: u64) -> Writers {
        let record = Arc::new(Record::default());
        let spawn = |n: u64| {
            let (record, mysql) = (Arc::clone(&record), self.proxy.mysql);
            std::thread::spawn(move || {
                let connect = || Connection::login(mysql, world::USER, world::PASSWORD, Some("ks"));
                let mut conn = connect();
                let mut id = n;
                while !record.stop.load(Ordering::Relaxed) {
                    id += count;
                    match conn.try_query(&format!("insert into t (id, v) values ({id}, 'w{n}')")) {
                        Ok(answers) if !answers[0].is_error() => {
                            record.acknowledged.lock().unwrap().insert(id);
                        }
                        Ok(answers) => record.fail(answers[0].error().message.clone()),
                        Err(e) => {
                            record.fail(e.to_string());
                            conn = connect();
                        }
                    }
                    record.tried.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let threads = (0..count).map(spawn).collect();
        Writers { record, threads }
    }

    /// Everything acknowledged is there, on every server.
    pub fn check(&self, record: &Record) {
        self.wait_well();
        let acknowledged = record.acknowledged.lock().unwrap();
        let primary = self.primary();
        let ids = |alias: &str| -> BTreeSet<u64> {
            let text = self.on(alias, "select id from t");
            text.lines().map(|id| id.parse().unwrap()).collect()
        };
        let there = ids(&primary);
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        assert!(
            lost.is_empty(),
            "{} of {} acknowledged rows are lost: {lost:?}",
            lost.len(),
            acknowledged.len()
        );
        for replica in self.replicas() {
            wait_until("the replicas have caught up", || ids(&replica) == there);
        }
        if !self.galera {
            assert_eq!(self.writable(), [primary], "one server takes writes");
        }
    }
}

/// The first one of a record.
pub fn password(record: &str) -> String {
    let (_, rest) = record.split_once("\"password\": \"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

#[derive(Default)]
pub struct Record {
    pub stop: AtomicBool,
    pub tried: AtomicU64,
    pub acknowledged: Mutex<BTreeSet<u64>>,
    pub errors: Mutex<Vec<String>>,
}

impl Record {
    pub fn fail(&self, why: String) {
        self.errors.lock().unwrap().push(why);
    }

    pub fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// So many more rows are acknowledged.
    pub fn wait_more(&self, more: usize) {
        let wanted = self.count() + more;
        wait_until("more writes are acknowledged", || self.count() >= wanted);
    }
}

pub struct Writers {
    pub record: Arc<Record>,
    pub threads: Vec<JoinHandle<()>>,
}

impl Writers {
    pub fn stop(self) -> Arc<Record> {
        self.record.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.record
    }
}
