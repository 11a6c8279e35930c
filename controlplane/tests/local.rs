//! A local cluster on real MariaDB servers: start, restart, crash, end; and what the admin API says
//! meanwhile.
#![allow(clippy::unwrap_used)]
use coregate_controlplane::local::LocalConfig;
use coregate_controlplane::{Config, ControlPlane, Error, Source, users};
use coregate_planner::control::{
    ControlPort, ControlRequest, DataPort, Metric, PlanStats, SqlError, Users,
};
use coregate_planner::serving::{Serving, TabletServing};
use coregate_planner::snapshot::{Address, Snapshot, TabletKind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Signals are the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    let found = [
        "/usr/sbin/mariadbd",
        "/usr/libexec/mariadbd",
        "/usr/local/bin/mariadbd",
        "/usr/sbin/mysqld",
    ];
    assert!(
        found.iter().any(|p| Path::new(p).exists()),
        "these tests need MariaDB's server: apt-get install mariadb-server (or make test, which \
            does it)"
    );
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A data plane without cores.
#[derive(Default)]
struct Cores {
    snapshots: Mutex<Vec<Arc<Snapshot>>>,
    users: Mutex<Option<Arc<Users>>>,
}

impl DataPort for Cores {
    fn publish(
        &self,
        snapshot: Option<Arc<Snapshot>>,
        _: Arc<Serving>,
        done: Box<dyn FnOnce() + Send>,
    ) {
        self.snapshots.lock().unwrap().extend(snapshot);
        done();
    }
    fn in_use(&self, _: String, done: Box<dyn FnOnce(usize) + Send>) {
        done(0);
    }
    fn cut(&self, _: String, done: Box<dyn FnOnce() + Send>) {
        done();
    }
    fn set_users(&self, users: Arc<Users>) {
        *self.users.lock().unwrap() = Some(users);
    }
    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }
    fn plans(&self, done: Box<dyn FnOnce(Vec<PlanStats>) + Send>) {
        done(Vec::new());
    }
    fn drain(&self, _: u64, done: Box<dyn FnOnce() + Send>) {
        done();
    }
}

fn config(dir: &Path, keyspaces: &[&str]) -> Config {
    let keyspaces = keyspaces.iter().map(|k| k.parse().unwrap()).collect();
    let local = LocalConfig {
        dir: dir.join("data"),
        keyspaces,
        schema: Some(dir.to_owned()),
        vschema: Some(dir.to_owned()),
        ..LocalConfig::default()
    };
    Config::new(Source::Local(local), users::local(), "127.0.0.1:0".parse().unwrap())
}

fn ask(port: &dyn ControlPort, request: ControlRequest) -> Result<(), SqlError> {
    let (tell, told) = mpsc::channel();
    port.request(request, Box::new(move |result| tell.send(result).unwrap()));
    told.recv_timeout(Duration::from_secs(20))
        .unwrap()
        .map(drop)
}

fn alter(port: &dyn ControlPort, sql: &str) -> Result<(), SqlError> {
    ask(port, ControlRequest::AlterVschema { sql: sql.to_owned(), keyspace: Some("ks".to_owned()) })
}

fn stop(plane: ControlPlane) {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)
        .unwrap();
    plane.join().unwrap();
}

/// Pids of servers whose command line has the directory in it.
fn servers(dir: &Path) -> Vec<u32> {
    let needle = format!("--datadir={}", dir.display());
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|e| e.unwrap().file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&needle)
    })
    .collect()
}

fn tempdir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

#[test]
fn a_cluster_starts_changes_restarts_and_ends() {
    let _alone = alone();
    let dir = tempdir();
    std::fs::write(
        dir.path().join("ks.sql"),
        "create table t(Id bigint primary key, v varchar(9)); -- ;\n",
    )
    .unwrap();
    let plane = ControlPlane::start(config(dir.path(), &["ks:2:1"])).unwrap();
    let snapshot = plane.snapshot();
    let keyspace = &snapshot.keyspaces[0];
    assert!(
        keyspace.sharded && plane.server_version().contains("MariaDB"),
        "{}",
        plane.server_version()
    );
    let shards: Vec<_> = keyspace.shards.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(shards, ["-80", "80-"]);
    for shard in plane.serving().shards.values() {
        let kinds: Vec<_> = shard.tablets.iter().map(|t| t.tablet.kind).collect();
        assert_eq!(kinds, [TabletKind::Primary, TabletKind::Replica]);
        let there =
            |t: &TabletServing| matches!(&t.tablet.address, Address::Unix(path) if path.exists());
        assert!(shard.tablets.iter().all(there));
    }
    let table = &keyspace.tables["t"];
    assert!(
        !table.in_vschema
            && table.columns[0].name == "Id"
            && table.columns[1].data_type == "varchar"
    );
    assert_eq!(servers(dir.path()).len(), 4);
    assert!(matches!(ControlPlane::start(config(dir.path(), &[])), Err(Error::Locked(_))));

    let cores = Arc::new(Cores::default());
    let admin = plane
        .attach(cores.clone(), "127.0.0.1:3307".parse().unwrap())
        .unwrap();
    let port = plane.port();
    alter(&*port, "alter vschema on t add vindex hash(id) using hash").unwrap();
    let error = alter(&*port, "alter vschema on t add vindex hash(id) using hash").unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (1105, "vindex hash already defined on table t")
    );
    assert_eq!(
        alter(&*port, "alter vschema on nope.t add vindex h(id) using hash")
            .unwrap_err()
            .code,
        1049
    );
    assert_eq!(alter(&*port, "alter vschema on").unwrap_err().code, 1064);
    assert_eq!(
        alter(&*port, "alter vschema create vindex x using nothing")
            .unwrap_err()
            .code,
        1105
    );
    ask(&*port, ControlRequest::SchemaChanged { keyspace: "ks".to_owned() }).unwrap();
    {
        let seen = cores.snapshots.lock().unwrap();
        assert_eq!(seen.len(), 2, "one for the ALTER, one for the schema");
        assert!(seen[0].version > snapshot.version && seen[1].keyspaces[0].tables["t"].in_vschema);
    }
    let get = |path: &str| {
        ureq::get(format!("http://{admin}{path}"))
            .call()
            .unwrap()
            .body_mut()
            .read_to_string()
            .unwrap()
    };
    assert_eq!(get("/readyz"), "ok\n");
    assert!(get("/api/keyspaces/ks/vschema").contains("column_vindexes"));
    assert!(
        get("/api/keyspaces/ks/shards/-80").contains("zone1-100")
            && get("/metrics").contains("coregate_uptime_seconds")
    );
    let end = Instant::now() + Duration::from_secs(10);
    while get("/api/tablets").matches("\"SERVING\"").count() < 4 {
        assert!(Instant::now() < end, "{}", get("/api/tablets"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let post = |path: &str, body: &str| ureq::post(format!("http://{admin}{path}")).send(body);
    post("/api/keyspaces/ks/schema", "create table u(a int)").unwrap();
    assert!(get("/api/keyspaces/ks/schema").contains("\"name\":\"u\""));
    assert!(
        post("/api/keyspaces/ks/schema", "nonsense").is_err()
            && post("/api/keyspaces/no/schema", "").is_err()
    );
    stop(plane);
    assert!(servers(dir.path()).is_empty());

    // The second time there is nothing to make: what was changed is still there, the schema is not
    // applied again.
    let plane = ControlPlane::start(config(dir.path(), &[])).unwrap();
    let table = Arc::clone(&plane.snapshot().keyspaces[0].tables["t"]);
    assert_eq!(table.column_vindexes[0].columns, ["id"]);
    stop(plane);
    let other = ControlPlane::start(config(dir.path(), &["ks:4"]));
    assert!(
        matches!(&other, Err(e @ Error::Config(m)) if e.is_usage() && m.contains("-80,80-")),
        "a keyspace keeps its shards"
    );
    assert!(servers(dir.path()).is_empty());
}

#[test]
fn servers_left_by_a_killed_process_are_cleaned_up() {
    let _alone = alone();
    let dir = tempdir();
    // Long enough that sockets need a short link.
    let victim = dir.path().join("a-directory-with-a-long-name-".repeat(4));
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "starts_and_is_killed"])
        .env("COREGATE_TEST_DIR", &victim)
        .stdout(std::process::Stdio::null())
        .spawn();
    let mut child = child.unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while !victim.join("ready").exists() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let left = servers(&victim);
    assert_eq!(left.len(), 1, "its server outlives it");
    // A pid file that names a stranger (us) does no harm.
    let stranger = victim.join("data/tablets/zone1-900");
    std::fs::create_dir_all(&stranger).unwrap();
    std::fs::write(stranger.join("pid"), format!("{}\n", std::process::id())).unwrap();
    let plane = ControlPlane::start(config(&victim, &["ks"])).unwrap();
    let now = servers(&victim);
    assert!(now.len() == 1 && now != left, "{left:?} {now:?}");
    stop(plane);
    assert!(servers(dir.path()).is_empty());
}

/// Run by the test above in a process of its own, which it kills.
#[test]
#[ignore = "a part of servers_left_by_a_killed_process_are_cleaned_up"]
fn starts_and_is_killed() {
    let dir = std::env::var_os("COREGATE_TEST_DIR")
        .map(std::path::PathBuf::from)
        .unwrap();
    std::fs::create_dir_all(&dir).unwrap();
    let _plane = ControlPlane::start(config(&dir, &["ks"])).unwrap();
    std::fs::write(dir.join("ready"), "").unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn bad_schemas_and_addresses_are_refused_and_leave_nothing() {
    let _alone = alone();
    let dir = tempdir();
    std::fs::write(dir.path().join("ks.sql"), "create table t(a int); create nonsense;").unwrap();
    let error = ControlPlane::start(config(dir.path(), &["ks"]))
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("shard 0")
            && error.contains("statement 2")
            && error.contains("create nonsense"),
        "{error}"
    );
    assert!(servers(dir.path()).is_empty());
    // Mended, it starts: the half of the schema that was applied is no hindrance.
    std::fs::write(dir.path().join("ks.sql"), "create table t(a int);").unwrap();
    let started = Instant::now();
    let plane = ControlPlane::start(config(dir.path(), &["ks"])).unwrap();
    eprintln!("one server from its data: {:?}", started.elapsed());
    assert!(plane.snapshot().keyspaces[0].tables.contains_key("t"));
    stop(plane);

    let json = |text: &str| {
        let dir = tempdir();
        std::fs::write(dir.path().join("ks.json"), text).unwrap();
        ControlPlane::start(config(dir.path(), &["ks"]))
            .err()
            .unwrap()
    };
    let error = json(r#"{"tables": {"t": {"column_vindexes": [{"column": "a", "name": "x"}]}}}"#);
    assert!(error.is_usage() && error.to_string().contains("vindex x not found"), "{error}");
    let mut open = config(dir.path(), &[]);
    open.admin = "0.0.0.0:0".parse().unwrap();
    assert!(
        ControlPlane::start(open)
            .err()
            .unwrap()
            .to_string()
            .contains("admin_token")
    );
}

#[test]
fn a_drop_in_takes_the_server_s_version_and_users_are_read_again() {
    use std::io::Write;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let greeting = b"\x0a5.5.5-10.11.6-MariaDB\0";
            let mut packet = vec![u8::try_from(greeting.len()).unwrap(), 0, 0, 0];
            packet.extend(greeting);
            let _ = stream.unwrap().write_all(&packet);
        }
    });
    let (dir, host) = (tempdir(), "localhost".to_owned());
    let file = dir.path().join("users.json");
    std::fs::write(&file, r#"{"a": {"Password": "x"}}"#).unwrap();
    let upstream = coregate_controlplane::Upstream {
        host,
        port,
        socket: None,
        user: "u".to_owned(),
        password: "p".to_owned(),
        tls: coregate_planner::snapshot::BackendTls::Disabled,
    };
    let any = "127.0.0.1:0".parse().unwrap();
    let mut config = Config::new(Source::DropIn(upstream), users::single("fixed", "p"), any);
    config.users_file = Some(file.clone());
    config.admin_token = Some("secret".to_owned());
    let plane = ControlPlane::start(config).unwrap();
    assert_eq!(plane.server_version(), "5.5.5-10.11.6-MariaDB");
    assert!(plane.snapshot().drop_in.is_some() && plane.snapshot().keyspaces.is_empty());
    assert!(plane.users().by_name.contains_key("a") && plane.users().by_name.contains_key("fixed"));
    let cores = Arc::new(Cores::default());
    let admin = plane
        .attach(cores.clone(), "127.0.0.1:3307".parse().unwrap())
        .unwrap();
    let get = |path: &str, token: &str| {
        ureq::get(format!("http://{admin}{path}"))
            .header("Authorization", format!("Bearer {token}"))
            .call()
            .is_ok()
    };
    assert!(get("/healthz", "") && get("/api/ping", "secret"));
    assert!(!get("/api/ping", "wrong") && !get("/metrics", ""));
    let alter = alter(&*plane.port(), "alter vschema add table t").unwrap_err();
    assert_eq!(alter.code, 1049);

    let hang_up = || {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP)
            .unwrap()
    };
    std::fs::write(&file, r#"{"a": {"Password": 1}}"#).unwrap();
    hang_up();
    std::thread::sleep(Duration::from_millis(100));
    assert!(cores.users.lock().unwrap().is_none(), "a mistake leaves the users as they are");
    std::fs::write(&file, r#"{"b": {"Password": "x"}}"#).unwrap();
    hang_up();
    let end = Instant::now() + Duration::from_secs(5);
    while !cores
        .users
        .lock()
        .unwrap()
        .as_ref()
        .is_some_and(|u| u.by_name.contains_key("b"))
    {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(10));
    }
    stop(plane);
}
