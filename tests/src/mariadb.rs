//! MariaDB servers of a test's own. A data directory is made once and kept in the cache; each
//! server starts on a copy.
use crate::{Connection, Process, cache_dir, free_port, guard, wait_until};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counted up when what [`INIT`] says changes.
const TEMPLATE: u32 = 2;

/// User and password with all rights.
pub const USER: &str = "sb";
pub const PASSWORD: &str = "sb";
/// The database that there is at the start.
pub const DATABASE: &str = "test";

const OPTIONS: &[&str] = &[
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--performance-schema=OFF",
    "--innodb-buffer-pool-size=128M",
    "--innodb-log-buffer-size=4M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-fast-shutdown=1",
    "--innodb-lock-wait-timeout=10",
    "--innodb-io-capacity=2000",
    "--key-buffer-size=4M",
    "--aria-pagecache-buffer-size=8M",
    "--query-cache-type=0",
    "--query-cache-size=0",
    "--max-connections=600",
    "--table-open-cache=1000",
    "--max-allowed-packet=64M",
    "--local-infile=1",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
    "--log-bin=bin",
    "--binlog-format=ROW",
    "--sync-binlog=0",
    "--max-binlog-size=256M",
    "--log-warnings=1",
];
const INNODB: &[&str] =
    &["--innodb-log-file-size=16M", "--innodb-undo-tablespaces=0", "--innodb-doublewrite=0"];

const INIT: &str = "SET SESSION sql_log_bin=0;
DELETE FROM mysql.global_priv WHERE User='';
FLUSH PRIVILEGES;
CREATE OR REPLACE USER 'sb'@'%' IDENTIFIED BY 'sb';
GRANT ALL PRIVILEGES ON *.* TO 'sb'@'%' WITH GRANT OPTION;
CREATE DATABASE IF NOT EXISTS test CHARACTER SET utf8mb4;
CREATE DATABASE IF NOT EXISTS test2 CHARACTER SET utf8mb4;
SHUTDOWN;
";

fn program(names: &[&str]) -> PathBuf {
    let dirs = ["/usr/sbin", "/usr/bin", "/usr/libexec", "/usr/local/sbin", "/usr/local/bin"];
    let mut found = dirs
        .iter()
        .flat_map(|dir| names.iter().map(move |name| Path::new(dir).join(name)));
    found.find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("{} is missing: apt-get install mariadb-server (make test does it)", names[0])
    })
}

/// As root, the server runs by its own user.
fn as_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn user_option() -> Option<&'static str> {
    as_root().then_some("--user=mysql")
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}

fn own(path: &Path) {
    if as_root() {
        run(Command::new("chown").args(["-R", "mysql:mysql"]).arg(path));
    }
}

/// The data directory to copy; made if there is none for this version.
fn template() -> PathBuf {
    let server = program(&["mariadbd", "mysqld"]);
    let version = Command::new(&server)
        .arg("--version")
        .output()
        .expect("its version")
        .stdout;
    let version = String::from_utf8_lossy(&version);
    let version = version
        .split_whitespace()
        .find(|w| w.contains("-MariaDB"))
        .expect("a MariaDB server");
    let cache = cache_dir();
    let ready = cache.join(format!("mariadb-{TEMPLATE}-{}", version.replace('/', "_")));
    let lock = fs::File::create(cache.join("mariadb.lock")).expect("a lock");
    lock.lock().expect("the lock");
    if ready.is_dir() {
        return ready;
    }
    let work = guard::dir().join("template");
    fs::create_dir_all(&work).expect("a directory");
    own(&work);
    let data = work.join("data");
    let mut install = Command::new(program(&["mariadb-install-db", "mysql_install_db"]));
    install
        .arg("--no-defaults")
        .args(user_option())
        .arg(format!("--datadir={}", data.display()));
    install.args([
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--skip-name-resolve",
    ]);
    run(install
        .args(INNODB)
        .arg("--innodb-flush-log-at-trx-commit=0"));
    let init = work.join("init.sql");
    fs::write(&init, INIT).expect("the accounts' file");
    own(&work);
    let mut server = Command::new(server);
    server
        .arg("--no-defaults")
        .args(user_option())
        .arg(format!("--datadir={}", data.display()));
    server
        .arg("--skip-networking")
        .arg(format!("--socket={}", work.join("s").display()));
    server
        .arg(format!("--init-file={}", init.display()))
        .args(INNODB);
    run(server.arg("--innodb-flush-log-at-trx-commit=0"));
    let copy = cache.join("mariadb.new");
    let _ = fs::remove_dir_all(&copy);
    run(Command::new("cp")
        .args(["-a", "--sparse=always"])
        .arg(&data)
        .arg(&copy));
    fs::rename(&copy, &ready).expect("the template");
    fs::remove_dir_all(&work).expect("the work directory");
    ready
}

#[derive(Debug)]
pub struct MariaDb {
    pub port: u16,
    pub process: Process,
    name: String,
    dir: PathBuf,
    options: Vec<String>,
}

impl MariaDb {
    pub fn start(name: &str, options: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = guard::dir().join(&name);
        fs::create_dir_all(dir.join("tmp")).expect("a directory");
        run(Command::new("cp")
            .args(["-a", "--sparse=always"])
            .arg(template())
            .arg(dir.join("data")));
        own(&dir);
        let options: Vec<String> = options.iter().map(|&o| o.to_owned()).collect();
        // Between choosing a port and binding it, another may have taken it.
        for _ in 0..5 {
            let port = free_port();
            let mut process = Self::launch(&name, &dir, port, &options);
            if Self::wait_ready(&mut process, port) {
                return Self { port, process, name, dir, options };
            }
        }
        panic!("{name} does not start");
    }

    fn launch(name: &str, dir: &Path, port: u16, options: &[String]) -> Process {
        let mut command = Command::new(program(&["mariadbd", "mysqld"]));
        command.arg("--no-defaults").args(user_option());
        command.arg(format!("--datadir={}", dir.join("data").display()));
        command.arg(format!("--tmpdir={}", dir.join("tmp").display()));
        command.arg(format!("--socket={}", dir.join("s").display()));
        command.arg(format!("--pid-file={}", dir.join("pid").display()));
        command
            .arg(format!("--port={port}"))
            .arg(format!("--server-id={port}"));
        command.args(OPTIONS).args(INNODB).args(options);
        Process::start(name, &mut command)
    }

    /// False if it has ended instead.
    fn wait_ready(process: &mut Process, port: u16) -> bool {
        let mut up = false;
        wait_until("the database server answers", || {
            up = process.ended().is_none();
            !up || Connection::try_login(("127.0.0.1", port), USER, PASSWORD, None).is_ok()
        });
        up
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, on the same port and data.
    pub fn restart(&mut self) {
        assert!(self.process.ended().is_some(), "it is still running");
        self.process = Self::launch(&self.name, &self.dir, self.port, &self.options);
        assert!(
            Self::wait_ready(&mut self.process, self.port),
            "{} does not start again",
            self.name
        );
    }

    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }

    pub fn url(&self) -> String {
        format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{}", self.port)
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("s")
    }

    /// A direct connection, past the proxy.
    pub fn connect(&self) -> Connection {
        Connection::login(("127.0.0.1", self.port), USER, PASSWORD, Some(DATABASE))
    }
}
