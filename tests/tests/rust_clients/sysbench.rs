//! sysbench.
use super::WORLD;
use std::process::Command;

/// Three seconds of load each; no error is allowed, and the drop-in's rows must be what sysbench checks.
#[test]
fn sysbench_runs() {
    let server = &WORLD.server;
    let mut direct = server.connect();
    direct.run("create database if not exists sbtest");
    let address = WORLD.drop_in.mysql;
    let sysbench = |load: &str, command: &str, prepared: &str| {
        let mut sysbench = Command::new("sysbench");
        sysbench.args([
            load,
            "--db-driver=mysql",
            "--mysql-db=sbtest",
            "--tables=2",
            "--table-size=2000",
            "--threads=8",
        ]);
        sysbench
            .args([&format!("--mysql-host={}", address.ip()), &format!("--mysql-port={}", address.port())]);
        sysbench.args([
            "--mysql-user=app",
            "--mysql-password=app",
            "--mysql-ssl=off",
            "--time=3",
            "--percentile=99",
        ]);
        sysbench.args([prepared, command]);
        let output = sysbench
            .output()
            .expect("sysbench: apt-get install sysbench (make test does it)");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{load} {prepared}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    };
    sysbench("oltp_read_write", "prepare", "--db-ps-mode=disable");
    for prepared in ["--db-ps-mode=disable", "--db-ps-mode=auto"] {
        for load in ["oltp_point_select", "oltp_read_write"] {
            let said = sysbench(load, "run", prepared);
            let count = |what: &str| {
                let line = said
                    .lines()
                    .find(|l| l.trim_start().starts_with(what))
                    .unwrap_or_else(|| panic!("{said}"));
                line.split_whitespace()
                    .find_map(|w| w.parse::<u64>().ok())
                    .expect("a number")
            };
            assert!(count("transactions:") > 0, "{said}");
            assert_eq!(count("ignored errors:") * u64::from(load == "oltp_point_select"), 0, "{said}");
        }
    }
    sysbench("oltp_read_write", "cleanup", "--db-ps-mode=disable");
}
