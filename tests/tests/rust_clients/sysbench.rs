//! sysbench: text and prepared loads, through the drop-in and on a sharded keyspace.
use super::WORLD;
use coregate_tests::Coregate;
use std::process::Command;

const TEXT: &str = "--db-ps-mode=disable";
const PREPARED: &str = "--db-ps-mode=auto";

/// What sysbench says. It fails at the first error that it is not told to ignore.
fn sysbench(target: (&Coregate, &str), load: &str, more: &[&str], command: &str) -> String {
    let address = target.0.mysql;
    let mut sysbench = Command::new("sysbench");
    sysbench
        .args([
            load,
            "--db-driver=mysql",
            "--tables=2",
            "--table-size=2000",
            "--threads=8",
            "--time=3",
        ])
        .args([
            &format!("--mysql-host={}", address.ip()),
            &format!("--mysql-port={}", address.port()),
        ])
        .args(["--mysql-user=app", "--mysql-password=app", "--mysql-ssl=off"])
        .arg(format!("--mysql-db={}", target.1))
        .args(more)
        .arg(command);
    let output = sysbench
        .output()
        .expect("sysbench: apt-get install sysbench (make test does it)");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{load} {more:?} {command}: {said}{why}");
    said
}

/// The first number of a line of the report.
fn count(said: &str, what: &str) -> u64 {
    said.lines()
        .find(|l| l.trim_start().starts_with(what))
        .and_then(|line| line.split_whitespace().find_map(|w| w.parse().ok()))
        .unwrap_or_else(|| panic!("no {what} in {said}"))
}

/// Three seconds of load each; no error is allowed.
#[test]
fn runs_through_the_drop_in() {
    WORLD
        .server
        .connect()
        .run("create database if not exists sbtest");
    let target = (&WORLD.drop_in, "sbtest");
    sysbench(target, "oltp_read_write", &[TEXT], "prepare");
    for mode in [TEXT, PREPARED] {
        for load in ["oltp_point_select", "oltp_read_write"] {
            let said = sysbench(target, load, &[mode], "run");
            assert!(count(&said, "transactions:") > 0, "{said}");
            assert_eq!(
                count(&said, "ignored errors:") * u64::from(load == "oltp_point_select"),
                0,
                "{said}"
            );
        }
    }
    sysbench(target, "oltp_read_write", &[TEXT], "cleanup");
}

/// Its tables by `hash(id)`. Deadlocks excepted, no error is allowed; a circle over two shards only
/// ends by a timeout.
#[test]
fn runs_on_a_sharded_keyspace() {
    const NONE: &str = "--mysql-ignore-errors=none";
    const LOCKS: &str = "--mysql-ignore-errors=1213,1205";
    let target = (&WORLD.local, "ring");
    // Ids are the load's own: sequences are refused yet.
    let all = ["--auto-inc=off", "--rand-type=uniform"];
    sysbench(target, "oltp_read_write", &[&all[..], &[TEXT]].concat(), "prepare");
    // Of both tables, on each shard.
    let rows = || {
        ["ring:-80", "ring:80-"].map(|shard| {
            let mut conn = WORLD.local.connect_as("app", "app", Some(shard));
            let sql = "select (select count(*) from sbtest1) + (select count(*) from sbtest2)";
            conn.value(sql).unwrap().parse::<u64>().unwrap()
        })
    };
    let before = rows();
    assert_eq!(before.iter().sum::<u64>(), 4000);
    assert!(before.iter().all(|n| (1800..2200).contains(n)), "{before:?}");
    for mode in [TEXT, PREPARED] {
        for (load, errors) in [
            ("oltp_point_select", NONE),
            ("oltp_read_only", NONE),
            ("oltp_update_index", LOCKS),
            ("oltp_update_non_index", LOCKS),
            ("oltp_write_only", LOCKS),
        ] {
            let more = [&all[..], &[mode, errors, "--range-selects=off"]].concat();
            let said = sysbench(target, load, &more, "run");
            assert!(count(&said, "transactions:") > 0, "{said}");
        }
    }
    // A transaction puts back the row that it deletes.
    assert_eq!(rows(), before);
    for mode in [TEXT, PREPARED] {
        let said = sysbench(target, "oltp_delete", &[&all[..], &[mode, LOCKS]].concat(), "run");
        assert!(count(&said, "transactions:") > 0, "{said}");
    }
    // Its ids are random, and differ from each other within one run only: it runs once, on empty
    // tables. It sends text.
    let mut conn = WORLD.local.connect_as("app", "app", Some("ring"));
    for table in ["sbtest1", "sbtest2"] {
        conn.run(&format!("truncate {table}"));
    }
    let said = sysbench(target, "oltp_insert", &[&all[..], &[TEXT, LOCKS]].concat(), "run");
    assert_eq!(count(&said, "transactions:"), rows().iter().sum::<u64>(), "{said}");
    sysbench(target, "oltp_read_write", &[&all[..], &[TEXT]].concat(), "cleanup");
    assert!(conn.run("show tables like 'sbtest%'").rows().is_empty());
}
