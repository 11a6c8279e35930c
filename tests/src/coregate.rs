//! The program under test.
use crate::{Connection, MariaDb, PATIENCE, Process, guard, target_dir};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// `COREGATE_BIN`, or the newest of what has been built.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("COREGATE_BIN") {
        let path = crate::root().join(path);
        assert!(path.is_file(), "COREGATE_BIN: there is no {}", path.display());
        return path;
    }
    let built =
        ["fast", "release", "debug"].map(|profile| target_dir().join(profile).join("coregate"));
    let changed = |path: &PathBuf| path.metadata().and_then(|m| m.modified()).ok();
    let newest = built
        .into_iter()
        .filter(|p| p.is_file())
        .max_by_key(changed);
    newest.expect(
        "coregate is not built: cargo build --profile fast (make test does it), or set \
            COREGATE_BIN",
    )
}

#[derive(Debug)]
pub struct Coregate {
    pub mysql: SocketAddr,
    pub admin: SocketAddr,
    pub process: Process,
}

impl Coregate {
    /// `coregate ARGS`, on ports that it chooses itself, until it says that it is ready.
    pub fn start<S: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = S>) -> Self {
        Self::try_start(name, args).unwrap_or_else(|why| panic!("{why}"))
    }

    /// # Errors
    /// It has ended instead; what it said on stderr.
    pub fn try_start<S: AsRef<OsStr>>(
        name: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Self, String> {
        Self::run(name, Command::new(binary()).args(args))
    }

    /// The same, with a command of the test's own.
    ///
    /// # Errors
    /// It has ended instead; what it said on stderr.
    pub fn run(name: &str, command: &mut Command) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut process = Process::start(&name, command.current_dir(guard::dir()));
        let start = Instant::now();
        loop {
            let out = std::fs::read_to_string(&process.out).unwrap_or_default();
            if let Some(line) = out.lines().find(|l| l.starts_with("READY ")) {
                let address = |key: &str| {
                    let word = line.split(' ').find_map(|w| w.strip_prefix(key));
                    word.and_then(|a| a.parse().ok())
                        .unwrap_or_else(|| panic!("no {key} in {line:?}"))
                };
                return Ok(Self { mysql: address("mysql="), admin: address("admin="), process });
            }
            if let Some(status) = process.ended() {
                return Err(format!("{name} has ended with {status}: {}", process.stderr()));
            }
            assert!(start.elapsed() < PATIENCE, "{name} is not ready");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Before one server. `more` is further arguments.
    pub fn drop_in(name: &str, server: &MariaDb, more: &[&str]) -> Self {
        let url = server.url();
        let args =
            ["serve", "--upstream", &url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        Self::start(name, args.iter().chain(more))
    }

    /// Before one server, with nothing of io_uring that came after a version of Linux.
    pub fn drop_in_as_of(kernel: &str, server: &MariaDb) -> Self {
        let mut command = Command::new(binary());
        command
            .env("COREGATE_KERNEL", kernel)
            .args(["serve", "--upstream", &server.url()])
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        Self::run(&format!("linux-{kernel}"), &mut command).unwrap_or_else(|why| panic!("{why}"))
    }

    /// With a configuration file, of which `config` is the text.
    pub fn configured(name: &str, config: &str) -> Self {
        let path = guard::dir().join(format!("{name}.toml"));
        std::fs::write(&path, config).expect("a configuration file");
        let config = format!("--config={}", path.display());
        Self::start(name, ["serve", &config, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
    }

    /// A whole cluster, in a directory of the run.
    pub fn local(name: &str, more: &[&str]) -> Self {
        Self::local_in(name, &guard::dir().join(name), more)
    }

    /// A whole cluster of two keyspaces: one on a server, and `test` over shards. `schemas`: the
    /// CREATE TABLE statements of both; `vschema`: that of `test`. The files lie in a directory of
    /// this name.
    pub fn local_of_two(
        files: &str,
        (plain, shards): (&str, usize),
        schemas: [&str; 2],
        vschema: &str,
    ) -> Self {
        let dir = guard::dir().join(files);
        std::fs::create_dir_all(&dir).expect("a directory");
        let [plain_sql, test_sql] = schemas;
        let texts = [
            (format!("{plain}.sql"), plain_sql),
            ("test.sql".to_owned(), test_sql),
            ("test.json".to_owned(), vschema),
        ];
        for (name, text) in texts {
            std::fs::write(dir.join(name), text).expect("a file");
        }
        let dir = dir.to_str().expect("a path in UTF-8");
        let test = format!("test:{shards}");
        let more = ["--keyspace", plain, "--keyspace", &test, "--schema", dir, "--vschema", dir];
        Self::local("cluster", &more)
    }

    pub fn local_in(name: &str, dir: &Path, more: &[&str]) -> Self {
        let dir = dir.to_str().expect("a path in UTF-8");
        let args = ["local", "--dir", dir, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        Self::start(name, args.iter().chain(more))
    }

    pub fn connect_as(&self, user: &str, password: &str, database: Option<&str>) -> Connection {
        Connection::login(self.mysql, user, password, database)
    }

    /// The body of an answer of the admin API.
    pub fn admin(&self, path: &str) -> String {
        let mut socket = TcpStream::connect(self.admin).expect("the admin API");
        let host = self.admin;
        write!(socket, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").expect("a request");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a header");
        assert!(head.contains(" 200 "), "{path}: {head}");
        body.to_owned()
    }

    /// Sum of a metric over its labels; fails if there is none of the name.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.admin("/metrics");
        let of_name = |line: &&str| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        let mut values = text.lines().filter(of_name).peekable();
        assert!(values.peek().is_some(), "no metric {name} in:\n{text}");
        values
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}
