//! MariaDB's own tests (package `mariadb-test`) through the drop-in: those of its suite `main` that
//! need one ordinary server and nothing else, with the results that MariaDB's developers wrote
//! down. `make test-all` runs it, or
//!
//!     tests/install.sh suite && cargo test --profile fast -p coregate-tests --test mariadb_suite -- --ignored
//!
//! `MTR_TESTS="alias union"` runs only these; `MTR_OPTIONS` are further ones of `mariadb-test`,
//! `--cursor-protocol` say.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Connection, Coregate, MariaDb, guard, mariadb};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

const SUITE: &str = "/usr/share/mysql/mysql-test";

/// What a test said if it did not pass. Each begins with an empty database `test`.
fn run(name: &str, address: SocketAddr, options: &[&str]) -> Result<(), String> {
    let mut conn = Connection::login(address, mariadb::USER, mariadb::PASSWORD, None);
    conn.run("drop database if exists test");
    conn.run("create database test character set latin1");
    // Files of the tests lie there too, by names of their own.
    let work = guard::dir().join("suite");
    std::fs::create_dir_all(work.join("tmp")).unwrap();
    let mut test = Command::new("mariadb-test");
    test.current_dir(SUITE)
        .env("MYSQL_TEST_DIR", SUITE)
        .env("MYSQLTEST_VARDIR", &work)
        .env("MYSQL_TMP_DIR", work.join("tmp"))
        .env("MASTER_MYPORT", address.port().to_string())
        .env("USE_RUNNING_SERVER", "1")
        .envs([("TZ", "GMT-3"), ("LC_ALL", "C")])
        .args(["--no-defaults", "--protocol=tcp", "--database=test", "--silent"])
        .arg(format!("--host={}", address.ip()))
        .arg(format!("--port={}", address.port()))
        .args([&format!("--user={}", mariadb::USER), &format!("--password={}", mariadb::PASSWORD)])
        .arg(format!("--basedir={SUITE}/"))
        .arg(format!("--tmpdir={}", work.join("tmp").display()))
        .arg(format!("--logdir={}", work.display()))
        .arg(format!("--test-file={SUITE}/main/{name}.test"))
        .arg(format!("--result-file={SUITE}/main/{name}.result"))
        .args(options);
    let output = test
        .output()
        .expect("mariadb-test: tests/install.sh suite (make test-all does it)");
    let _ = std::fs::remove_file(format!("{SUITE}/main/{name}.reject"));
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{name}: {}\n{}", output.status, String::from_utf8_lossy(&said)))
}

fn passes(options: &[&str]) {
    assert!(
        Path::new(SUITE).is_dir(),
        "{SUITE} is missing: tests/install.sh suite (make test-all does it)"
    );
    let server = MariaDb::start("server", &[]);
    let proxy = Coregate::drop_in("proxy", &server, &[]);
    let only = std::env::var("MTR_TESTS").unwrap_or_default();
    let more = std::env::var("MTR_OPTIONS").unwrap_or_default();
    let all = if only.is_empty() { include_str!("mariadb_suite.list") } else { &only };
    let options: Vec<&str> = options
        .iter()
        .copied()
        .chain(more.split_whitespace())
        .collect();
    let failed: Vec<String> = all
        .split_whitespace()
        .filter_map(|name| run(name, proxy.mysql, &options).err())
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {} failed:\n{}",
        failed.len(),
        all.split_whitespace().count(),
        failed.join("\n")
    );
}

#[test]
#[ignore = "a minute; needs the package mariadb-test"]
fn as_text() {
    passes(&[]);
}

#[test]
#[ignore = "two minutes; needs the package mariadb-test"]
fn prepared() {
    passes(&["--ps-protocol"]);
}
