//! The load harness: every load runs against the server itself and through Coregate, and what it
//! finds can be trusted.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Coregate, MariaDb, coregate::binary, guard, wait_until, world};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn bench(args: &[&str]) -> Output {
    let out = Command::new(binary())
        .arg("bench")
        .args(args)
        .output()
        .unwrap();
    println!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    out
}

fn report(dir: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(dir.join("report.json")).unwrap()).unwrap()
}

fn dir(name: &str) -> PathBuf {
    guard::dir().join(name)
}

/// The server itself, and a drop-in before it.
fn targets(server: &MariaDb, coregate: &Coregate, database: &str) -> [String; 4] {
    [
        "--target".to_owned(),
        format!("direct={}/{database}", server.url()),
        "--target".to_owned(),
        format!(
            "coregate=mysql://sb:sb@{}/{database}?pid={}",
            coregate.mysql,
            coregate.process.id()
        ),
    ]
}

#[test]
fn every_load_runs_and_is_reported() {
    let server = MariaDb::start("bench", &[]);
    let coregate = Coregate::drop_in("bench-proxy", &server, &["--cores", "1"]);
    let targets = targets(&server, &coregate, "bench_all");
    let out = dir("bench-report");
    let loads = "point,skewed,read_only,read_write,update,insert,bulk_insert,large,scatter,join,connect,tpcc";
    let mut args = vec![
        "compare",
        "--load",
        loads,
        "--table-size",
        "2000",
        "--scale",
        "1",
        "--connections",
        "4",
    ];
    args.extend(["--rounds", "1", "--seconds", "1", "--warm-up-ms", "100", "--idle", "20"]);
    args.extend(targets.iter().map(String::as_str));
    args.extend(["--out", out.to_str().unwrap()]);
    assert!(bench(&args).status.success());
    let found = report(&out);
    let cases = found["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 24);
    for case in cases {
        for target in case["targets"].as_array().unwrap() {
            let name = (&case["load"], &case["protocol"], &target["target"]);
            assert!(target["failure"].is_null(), "{name:?}: {target}");
            assert!(
                target["rounds"][0]["transactions"].as_u64().unwrap() > 0,
                "{name:?}: {target}"
            );
            if target["target"] == "coregate" {
                // The system counts CPU in steps of 10 ms: of a second's few large statements that
                // may be none.
                let cpu = target["cpu_us_per_query"].as_f64().unwrap();
                assert!(cpu > 0.0 || case["load"] != "point", "{name:?}: {target}");
                assert!(target["peak_kib"].as_f64().unwrap() > 1000.0, "{name:?}: {target}");
                assert!(
                    target["queries_per_s_ratio"]["median"].as_f64().unwrap() > 0.0,
                    "{name:?}"
                );
            }
        }
    }
    let version = found["machine"]["target direct"].as_str().unwrap();
    assert!(
        version.contains("MariaDB") && found["machine"]["kernel"].is_string(),
        "{}",
        found["machine"]
    );
    assert!(
        out.join("report.html").exists()
            && out
                .join("hgrm/read_write-prepared-4-coregate.hgrm")
                .exists()
    );
    // The same run again, from its own file; the passwords must be put back.
    let run = std::fs::read_to_string(out.join("run.toml")).unwrap();
    assert!(!run.contains("sb:sb"), "{run}");
    let again = dir("bench-again.toml");
    std::fs::write(&again, run.replace(":***@", ":sb@")).unwrap();
    let json = dir("bench-again.json");
    let args = [
        "compare",
        "--config",
        again.to_str().unwrap(),
        "--load",
        "point",
        "--json",
        json.to_str().unwrap(),
    ];
    assert!(bench(&args).status.success());
    let found: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(found["cases"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&found["cases"][0]["connections"], &found["cases"][0]["idle"]),
        (&4.into(), &20.into())
    );
}

#[test]
fn a_users_statements_are_weighted_checked_and_bound() {
    let server = MariaDb::start("bench-own", &[]);
    let coregate = Coregate::drop_in("bench-own-proxy", &server, &["--cores", "1"]);
    let mut conn = server.connect();
    for sql in [
        "CREATE DATABASE own",
        "CREATE TABLE own.t (id BIGINT PRIMARY KEY, kind VARCHAR(10), twin BIGINT)",
        "CREATE TABLE own.seen (kind INT)",
    ] {
        conn.query(sql).ok();
    }
    let load = dir("own.toml");
    let text = "title = \"my own\"\nsetup = [\"TRUNCATE TABLE t\"]\n\
        [[transaction]]\nweight = 3\nstatements = [\"INSERT INTO t VALUES (${id=seq}, 'three', \
        ${id})\"]\n\
        [[transaction]]\nstatements = [\"BEGIN\", \"INSERT INTO t VALUES (${id=seq}, 'one', \
        ${id+0})\", \
        { sql = \"SELECT id FROM t WHERE id=${id}\", rows = 1 }, \"COMMIT\"]\n";
    std::fs::write(&load, text).unwrap();
    let targets = targets(&server, &coregate, "own");
    let run = |load: &Path, protocol: &str| {
        let mut args = vec!["compare", "--load", load.to_str().unwrap(), "--protocol", protocol];
        args.extend(["--connections", "3", "--rounds", "1", "--seconds", "1", "--warm-up-ms", "0"]);
        args.extend(targets[2..].iter().map(String::as_str));
        bench(&args)
    };
    for protocol in ["text", "prepared"] {
        assert!(run(&load, protocol).status.success());
        let count = |conn: &mut coregate_tests::Connection, condition: &str| -> f64 {
            let sql = format!("SELECT COUNT(*) FROM own.t WHERE {condition}");
            conn.value(&sql).unwrap().parse().unwrap()
        };
        let (three, one) = (count(&mut conn, "kind = 'three'"), count(&mut conn, "kind = 'one'"));
        assert!(one > 0.0 && (2.0..4.5).contains(&(three / one)), "{protocol}: {three} : {one}");
        assert_eq!(
            count(&mut conn, "id <> twin"),
            0.0,
            "{protocol}: a value with a name is another later"
        );
    }
    // An answer that is not what the file says is no figure, it is a failure.
    let wrong = dir("wrong.toml");
    std::fs::write(&wrong, "[[transaction]]\nstatements = [{ sql = \"SELECT 1\", rows = 2 }]\n")
        .unwrap();
    let out = run(&wrong, "text");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(
        !out.status.success() && said.contains("the answer to SELECT 1 is wrong (1 rows)"),
        "{said}"
    );
    let out =
        bench(&["compare", "--load", "no-such.toml", targets[2].as_str(), targets[3].as_str()]);
    assert_eq!(out.status.code(), Some(2));
}

#[test]
fn with_a_rate_waiting_to_send_is_part_of_the_latency() {
    let server = MariaDb::start("bench-rate", &[]);
    let url = format!("direct={}/test", server.url());
    let load = dir("slow.toml");
    std::fs::write(&load, "[[transaction]]\nstatements = [\"SELECT SLEEP(0.05)\"]\n").unwrap();
    let run = |rate: &str| -> Value {
        let json = dir(&format!("rate-{rate}.json"));
        let mut args = vec![
            "compare",
            "--target",
            &url,
            "--load",
            load.to_str().unwrap(),
            "--protocol",
            "text",
        ];
        args.extend(["--connections", "2", "--rounds", "1", "--seconds", "2", "--warm-up-ms", "0"]);
        args.extend(["--rate", rate, "--json", json.to_str().unwrap()]);
        assert!(bench(&args).status.success());
        let found: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
        found["cases"][0]["targets"][0]["rounds"][0].clone()
    };
    // Two connections answer 40 a second at most: of 400 a second most are due and never sent.
    let round = run("400");
    let (sent, unsent) =
        (round["transactions"].as_u64().unwrap(), round["unsent"].as_u64().unwrap());
    assert!(sent <= 84 && unsent > 600 && sent + unsent <= 802, "{round}");
    // Half of all waited for a second or so; without the wait it would be 50 ms.
    assert!(round["p50_ms"].as_f64().unwrap() > 500.0, "{round}");
    let round = run("10");
    assert!(round["transactions"].as_u64().unwrap() <= 20, "more than was asked for: {round}");
}

/// Processes whose command line names the directory.
fn processes_of(dir: &Path) -> usize {
    let name = dir.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(name))
        .count()
}

#[test]
fn a_comparison_that_is_killed_leaves_nothing_behind() {
    let tmp = dir("bench-tmp");
    std::fs::create_dir_all(&tmp).unwrap();
    let mut bench = Command::new(binary())
        .args(["bench", "compare", "--seconds", "600", "--table-size", "200", "--no-haproxy"])
        .env("TMPDIR", &tmp)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_until("its server runs", || processes_of(&tmp) >= 2);
    bench.kill().unwrap();
    bench.wait().unwrap();
    wait_until("its processes are gone", || processes_of(&tmp) == 0);
    wait_until("its files are gone", || std::fs::read_dir(&tmp).unwrap().next().is_none());
}

#[test]
fn it_logs_in_as_mysql_s_accounts_and_through_sockets() {
    let server = MariaDb::start("bench-login", &[]);
    let socket = dir("bench-login.sock");
    let users = world::users_file();
    let args =
        ["--cores", "1", "--users", users.to_str().unwrap(), "--socket", socket.to_str().unwrap()];
    let coregate = Coregate::drop_in("bench-login-proxy", &server, &args);
    let load = dir("one.toml");
    std::fs::write(&load, "[[transaction]]\nstatements = [{ sql = \"SELECT 1\", rows = 1 }]\n")
        .unwrap();
    // caching_sha2_password without TLS: the password is encrypted with the server's key; through
    // the socket it goes as it is.
    for url in [
        format!("mysql://{}:sha2%20secret@{}/test", world::SHA2_USER, coregate.mysql),
        format!(
            "mysql://{}:sha2%20secret@localhost/test?socket={}",
            world::SHA2_USER,
            socket.display()
        ),
        format!("mysql://sb:sb@localhost/test?socket={}", server.socket().display()),
    ] {
        let mut args = vec!["point", "--target", &url, "--load", load.to_str().unwrap()];
        args.extend(["--connections", "2", "--seconds", "1", "--warm-up-ms", "0"]);
        let out = bench(&args);
        assert!(out.status.success(), "{url}: {}", String::from_utf8_lossy(&out.stderr));
    }
}
