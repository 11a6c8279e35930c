//! Real clients, each against the drop-in, an unsharded keyspace and a sharded one. What is checked
//! stands in the clients' own programs under `clients/`; `install.sh` fetches what they need.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Coregate, MariaDb, cache_dir, root, world};
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

struct World {
    _server: MariaDb,
    drop_in: Coregate,
    local: Coregate,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (server, drop_in) = world::drop_in(&[]);
    World { _server: server, drop_in, local: world::local(&[]) }
});

#[derive(Debug, Clone, Copy)]
enum Target {
    DropIn,
    Unsharded,
    Sharded,
}

impl Target {
    fn coregate(self) -> &'static Coregate {
        match self {
            Self::DropIn => &WORLD.drop_in,
            Self::Unsharded | Self::Sharded => &WORLD.local,
        }
    }

    /// The database to use, and another that there is.
    fn databases(self) -> (&'static str, &'static str) {
        match self {
            Self::DropIn => ("test", "test2"),
            Self::Unsharded => ("plain", "ring"),
            Self::Sharded => ("ring", "plain"),
        }
    }
}

/// A library or program that `install.sh` has put into the cache.
fn installed(what: &str) -> PathBuf {
    let path = cache_dir().join(what);
    assert!(
        path.exists(),
        "{} is missing: run tests/install.sh clients (make test does it)",
        path.display()
    );
    path
}

/// Runs a client's program; it must end well, and say how many checks there were.
fn check(mut command: Command, client: &str, target: Target) {
    let (database, other) = target.databases();
    let address = target.coregate().mysql;
    command
        .current_dir(root().join("tests/clients"))
        .env("E2E_HOST", address.ip().to_string())
        .env("E2E_PORT", address.port().to_string())
        .env("E2E_USER", world::USER)
        .env("E2E_PASSWORD", world::PASSWORD)
        .env("E2E_DATABASE", database)
        .env("E2E_OTHER_DATABASE", other)
        .env("E2E_PREFIX", client)
        // Sequences are refused yet: a check expects that, and fails when it changes.
        .env("E2E_SHA2_USER", world::SHA2_USER)
        .env("E2E_SHA2_PASSWORD", world::SHA2_PASSWORD)
        .env("E2E_NATIVE_USER", world::NATIVE_USER)
        .env("E2E_NATIVE_PASSWORD", world::NATIVE_PASSWORD);
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stdout);
    let complete = said
        .lines()
        .any(|l| l.starts_with("checks ") && l.ends_with(" failed 0"));
    let well = output.status.success() && complete;
    assert!(
        well,
        "{client}, {target:?}: {}\n{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

fn python(program: &str, driver: &str, client: &str, target: Target) {
    let mut command = Command::new(installed("venv/bin/python"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.args([&format!("python/{program}.py"), driver]);
    check(command, client, target);
}

fn node(target: Target) {
    let mut command = Command::new("node");
    command
        .env("NODE_PATH", installed("node/node_modules"))
        .arg("node/checks.js");
    check(command, "node", target);
}

fn go(target: Target) {
    check(Command::new(installed("go-client")), "go", target);
}

fn java(driver: &str, client: &str, target: Target) {
    let classes = installed("java/Checks.class");
    let classes = classes.parent().unwrap().display();
    // A small heap: a large result must not have to be held.
    let mut command = Command::new("java");
    command.args([
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Dfile.encoding=UTF-8",
    ]);
    command.args(["-cp", &format!("{classes}:{classes}/*"), "Checks", driver]);
    check(command, client, target);
}

fn cli(target: Target) {
    let mut command = Command::new("bash");
    command.arg("cli/checks.sh");
    check(command, "cli", target);
}

/// One test for each target.
macro_rules! against_all {
    ($name:ident, $run:expr) => {
        mod $name {
            use super::*;
            #[test]
            fn drop_in() {
                $run(Target::DropIn);
            }
            #[test]
            fn unsharded() {
                $run(Target::Unsharded);
            }
            #[test]
            fn sharded() {
                $run(Target::Sharded);
            }
        }
    };
}

against_all!(mariadb_cli, cli);
against_all!(pymysql, |target| python("dbapi", "pymysql", "pymysql", target));
against_all!(mysqlclient, |target| python("dbapi", "mysqlclient", "mysqlclient", target));
against_all!(mysql_connector_python, |target| python("dbapi", "connector", "connector", target));
against_all!(sqlalchemy_pymysql, |target| python("alchemy", "pymysql", "sapymysql", target));
against_all!(sqlalchemy_mysqlclient, |target| python("alchemy", "mysqldb", "samysqldb", target));
against_all!(node_mysql2, node);
against_all!(go_sql_driver, go);
against_all!(mysql_connector_j, |target| java("mysql", "jmysql", target));
against_all!(mariadb_connector_j, |target| java("mariadb", "jmariadb", target));
