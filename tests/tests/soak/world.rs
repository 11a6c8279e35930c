//! Three processes on an etcd of three members, before three servers that a `coregate local` has
//! left behind.
use coregate_tests::etcd::Gate;
use coregate_tests::replicated::{self, Cluster};
use coregate_tests::{Connection, Coregate, Etcd, Process, wait_until, world as common};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const SERVERS: [&str; 3] = ["zone1-100", "zone1-101", "zone1-102"];
pub const PROCESSES: usize = 3;
/// A primary that was frozen takes writes when it goes on, until it is made a replica; nobody
/// writes to it.
const RETURNS: Duration = Duration::from_secs(10);

/// A replica has everything within this time, also one that begins without data.
const CATCHES_UP: Duration = Duration::from_secs(300);

pub struct World {
    pub etcd: Mutex<Etcd>,
    /// Its own process is dead.
    local: Arc<Cluster>,
    /// Of the first process's ways to etcd.
    gates: Vec<Gate>,
    config: [String; PROCESSES],
    name: String,
    processes: Mutex<[Option<Coregate>; PROCESSES]>,
    /// Where clients connect.
    addresses: Arc<Mutex<[Option<SocketAddr>; PROCESSES]>>,
    /// Servers that were started again, and how.
    servers: Mutex<BTreeMap<&'static str, Process>>,
    /// Servers that are dead or frozen; and when others have come back.
    away: Arc<Mutex<Away>>,
}

#[derive(Default)]
struct Away {
    now: BTreeSet<&'static str>,
    returned: BTreeMap<&'static str, Instant>,
}

fn config(name: &str, endpoints: &str) -> String {
    let users = common::users_file();
    format!(
        "[server]\ncores = 1\n[topology]\nstore = \"etcd\"\nendpoints = {endpoints}\nroot = \
            \"/{name}\"\n\
         [users]\nfile = {users:?}\n[failover]\nenabled = true\ndurability = \
         \"semi_sync\"\n[buffer]\nmin_gap_ms = 0\n"
    )
}

impl World {
    pub fn start(name: &str) -> Self {
        let etcd = Etcd::start(&format!("etcd-{name}"), 3);
        let topo = format!("--topo={}", etcd.url(name));
        let mut local = Cluster::with(name, "ks:1:2", 3, &[&topo]);
        let key = format!("/{name}/cells/zone1/tablets/zone1-100/Tablet");
        local.password =
            Some(replicated::password(&etcd.ctl(&["get", "--print-value-only", &key])));
        local.proxy.process.kill();
        let gates: Vec<Gate> = (0..3).map(|n| Gate::before(etcd.port(n))).collect();
        let gated: Vec<String> = gates
            .iter()
            .map(|g| format!("\"http://127.0.0.1:{}\"", g.port))
            .collect();
        let gated = format!("[{}]", gated.join(", "));
        let direct = etcd.endpoints();
        let config = [&gated, &direct, &direct].map(|endpoints| config(name, endpoints));
        let world = Self {
            etcd: Mutex::new(etcd),
            local: Arc::new(local),
            gates,
            config,
            name: name.to_owned(),
            processes: Mutex::default(),
            addresses: Arc::default(),
            servers: Mutex::default(),
            away: Arc::default(),
        };
        (0..PROCESSES).for_each(|n| world.start_process(n));
        world.wait_well();
        world
    }

    pub fn addresses(&self) -> Arc<Mutex<[Option<SocketAddr>; PROCESSES]>> {
        Arc::clone(&self.addresses)
    }

    pub fn start_process(&self, n: usize) {
        let process = Coregate::configured(&format!("{}-{n}", self.name), &self.config[n]);
        self.addresses.lock().unwrap()[n] = Some(process.mysql);
        self.processes.lock().unwrap()[n] = Some(process);
    }

    pub fn kill_process(&self, n: usize) {
        self.addresses.lock().unwrap()[n] = None;
        if let Some(mut process) = self.processes.lock().unwrap()[n].take() {
            process.process.kill();
        }
    }

    /// What a process says; `None`: it does not live.
    fn ask(&self, n: usize, path: &str) -> Option<String> {
        let processes = self.processes.lock().unwrap();
        processes[n].as_ref().map(|process| process.admin(path))
    }

    /// The one that leads, by what the others say.
    pub fn leader(&self) -> Option<usize> {
        let admins: Vec<Option<String>> = {
            let processes = self.processes.lock().unwrap();
            processes
                .iter()
                .map(|p| p.as_ref().map(|p| p.admin.to_string()))
                .collect()
        };
        let list = (0..PROCESSES).find_map(|n| self.ask(n, "/api/processes"))?;
        let list: Vec<serde_json::Value> = serde_json::from_str(&list).ok()?;
        let leads = list.iter().find(|process| process["leader"] == true)?["admin"]
            .as_str()?
            .to_owned();
        admins
            .iter()
            .position(|admin| admin.as_deref() == Some(&leads))
    }

    pub fn primary(&self) -> Option<&'static str> {
        let text = (1..PROCESSES).find_map(|n| self.ask(n, "/api/tablets"))?;
        let list: Vec<serde_json::Value> = serde_json::from_str(&text).ok()?;
        let primary = list.iter().find(|tablet| {
            tablet["type"]
                .as_str()
                .is_some_and(|kind| kind.eq_ignore_ascii_case("primary"))
        })?;
        let alias = primary["alias"].as_str()?;
        SERVERS.into_iter().find(|server| *server == alias)
    }

    /// `ctl` by a process.
    pub fn ctl(&self, n: usize, args: &[&str]) -> Result<(), String> {
        let admin = self.processes.lock().unwrap()[n]
            .as_ref()
            .map(|p| p.admin.to_string());
        let admin = admin.ok_or("it does not live")?;
        let mut command = Command::new(coregate_tests::coregate::binary());
        let output = command
            .args(["ctl", "--admin", &admin])
            .args(args)
            .output()
            .unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// All serve as all processes see it, one leads, and nothing is being done.
    pub fn wait_well(&self) {
        wait_until("all is well again", || self.is_well());
    }

    pub fn is_well(&self) -> bool {
        let sees = |n: usize| {
            let (Some(tablets), Some(processes)) =
                (self.ask(n, "/api/tablets"), self.ask(n, "/api/processes"))
            else {
                return false;
            };
            tablets.matches("\"SERVING\"").count() == SERVERS.len()
                && !tablets.contains("\"connecting\"")
                // One that has died counts until its lease ends: moves wait for it.
                && processes.matches("\"id\"").count() == PROCESSES
                && processes.matches("\"leader\":true").count() == 1
        };
        (0..PROCESSES).all(sees)
    }

    pub fn tablets(&self) -> String {
        (0..PROCESSES)
            .find_map(|n| self.ask(n, "/api/tablets"))
            .unwrap_or_default()
    }

    fn pid(&self, server: &str) -> Pid {
        let servers = self.servers.lock().unwrap();
        servers.get(server).map_or_else(
            || self.local.pid(server),
            |process| Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap(),
        )
    }

    fn goes(&self, server: &'static str) {
        self.away.lock().unwrap().now.insert(server);
    }

    fn returns(&self, server: &'static str) {
        let mut away = self.away.lock().unwrap();
        away.now.remove(server);
        away.returned.insert(server, Instant::now());
    }

    /// Gives how it was started.
    pub fn kill_server(&self, server: &'static str) -> Vec<String> {
        let pid = self.pid(server);
        let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap();
        let words = line.split(|b| *b == 0).filter(|word| !word.is_empty());
        let words = words
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        self.goes(server);
        kill_process(pid, Signal::KILL).unwrap();
        self.servers.lock().unwrap().remove(server);
        wait_until("it is dead", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
                .unwrap_or_default();
            stat.rsplit_once(") ")
                .is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
        });
        words
    }

    pub fn start_server(&self, server: &'static str, words: &[String]) {
        let process = Process::start(
            &format!("{}-{server}", self.name),
            Command::new(&words[0]).args(&words[1..]),
        );
        self.servers.lock().unwrap().insert(server, process);
        wait_until("the server is up", || self.local.try_on(server, "select 1").is_ok());
        self.returns(server);
    }

    /// A server that was drained because it has what its primary has not.
    pub fn drained(&self) -> Option<&'static str> {
        let list: Vec<serde_json::Value> = serde_json::from_str(&self.tablets()).ok()?;
        let is_drained = |tablet: &&serde_json::Value| {
            tablet["type"]
                .as_str()
                .is_some_and(|kind| kind.eq_ignore_ascii_case("drained"))
        };
        let alias = list.iter().find(is_drained)?["alias"].as_str()?;
        SERVERS.into_iter().find(|server| *server == alias)
    }

    /// What an operator does with it: it begins without data, and replays its primary's logs.
    pub fn make_anew(&self, server: &'static str) -> Result<(), String> {
        let how = self.kill_server(server);
        let dir = self.local.dir.join("tablets").join(server);
        let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
            || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"),
            PathBuf::from,
        );
        let is_template = |path: &PathBuf| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            name.starts_with("template-") && !name.contains("mysql") && path.join("mysql").is_dir()
        };
        let entries = std::fs::read_dir(cache.join("coregate")).map_err(|e| e.to_string())?;
        let template = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(is_template)
            .ok_or("there is no template")?;
        std::fs::remove_dir_all(dir.join("data")).map_err(|e| e.to_string())?;
        for (program, args) in [
            ("cp", vec!["-a".into(), template, dir.join("data")]),
            (
                "chown",
                vec![
                    "-R".into(),
                    PathBuf::from(format!("--reference={}", dir.join("tmp").display())),
                    dir.join("data"),
                ],
            ),
        ] {
            let done = Command::new(program)
                .args(args)
                .status()
                .map_err(|e| e.to_string())?;
            if !done.success() {
                return Err(format!("{program} has failed"));
            }
        }
        self.start_server(server, &how);
        (0..PROCESSES)
            .map(|n| self.ctl(n, &["change-tablet-type", server, "replica"]))
            .find(Result::is_ok)
            .unwrap_or_else(|| Err("nobody makes it a replica".to_owned()))
    }

    pub fn freeze(&self, server: &'static str) {
        self.goes(server);
        kill_process(self.pid(server), Signal::STOP).unwrap();
    }

    pub fn thaw(&self, server: &'static str) {
        kill_process(self.pid(server), Signal::CONT).unwrap();
        self.returns(server);
    }

    pub fn cut(&self, cut: bool) {
        self.gates.iter().for_each(|gate| gate.set_open(!cut));
    }

    /// Acknowledged rows that are not on every server.
    pub fn lost(&self, acknowledged: &BTreeSet<u64>) -> Vec<String> {
        let ids = |server: &str| -> BTreeSet<u64> {
            let text = self
                .local
                .try_on(server, "select id from t")
                .unwrap_or_default();
            text.lines().filter_map(|id| id.parse().ok()).collect()
        };
        let missing = |server: &str| -> Option<String> {
            let there = ids(server);
            let lost: Vec<_> = acknowledged.difference(&there).take(5).collect();
            (!lost.is_empty()).then(|| format!("acknowledged, and not on {server}: {lost:?}, ..."))
        };
        // The primary has all of it now; one that was made anew replays its logs for a while.
        let mut found: Vec<String> = self.primary().and_then(missing).into_iter().collect();
        let end = Instant::now() + CATCHES_UP;
        for server in SERVERS {
            let mut lacks = missing(server);
            while lacks.is_some() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(500));
                lacks = missing(server);
            }
            found.extend(lacks);
        }
        found
    }

    /// Looks again and again which servers take writes.
    pub fn watch_writable(&self) -> Watch {
        let (local, away, stop) =
            (Arc::clone(&self.local), Arc::clone(&self.away), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut broken = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                if let Some(two) = two_writable(&local, &away) {
                    broken.push(two);
                }
                std::thread::sleep(Duration::from_millis(300));
            }
            broken
        });
        Watch { stop, thread }
    }
}

/// One after another, twice: who is writable before and after another was writable, was so with it.
fn two_writable(local: &Cluster, away: &Mutex<Away>) -> Option<String> {
    let look = || -> Vec<&'static str> {
        let is_there = |server: &&'static str| {
            let away = away.lock().unwrap();
            let back = away.returned.get(*server);
            !away.now.contains(*server) && back.is_none_or(|at| at.elapsed() > RETURNS)
        };
        let writable = |server: &&'static str| {
            local.try_on(server, "select @@read_only").as_deref() == Ok("0")
        };
        SERVERS
            .into_iter()
            .filter(is_there)
            .filter(writable)
            .collect()
    };
    let first = look();
    if first.len() < 2 {
        return None;
    }
    let second = look();
    let both: Vec<_> = first
        .into_iter()
        .filter(|server| second.contains(server))
        .collect();
    (both.len() > 1).then(|| format!("{} take writes at the same time", both.join(" and ")))
}

pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Watch {
    pub fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// A session of any process that takes it, from this one on.
pub fn connect(
    addresses: &Mutex<[Option<SocketAddr>; PROCESSES]>,
    from: usize,
) -> Option<Connection> {
    let all = *addresses.lock().unwrap();
    (0..PROCESSES).find_map(|n| {
        let address = all[(from + n) % PROCESSES]?;
        Connection::try_login(address, common::USER, common::PASSWORD, Some("ks")).ok()
    })
}
