//! What an operator sees: exit codes, logs, health, and whose fault an error says that it is.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Coregate, MariaDb, coregate::binary, guard, wait_until, world};
use rcgen::generate_simple_self_signed;
use std::process::Command;

fn file(name: &str, text: &str) -> String {
    let path = guard::dir().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// `[topology]`, `[users]` and one keyspace on a server.
fn topology(name: &str, keyspace: &str) -> String {
    let dir = guard::dir().join(name);
    std::fs::create_dir_all(dir.join("topology")).unwrap();
    std::fs::write(dir.join("topology/ks.json"), keyspace).unwrap();
    format!("[topology]\ndir = {dir:?}\n[users]\nfile = {:?}\n", world::users_file())
}

fn keyspace(port: u16, database: &str, more: &str) -> String {
    format!(
        r#"{{"name": "ks", "database": "{database}", "shards": [{{"name": "0",
            "tablets": [{{"alias": "z-1",
            "type": "primary", "host": "127.0.0.1", "port": {port}, "user": "sb",
            "password": "sb" {more}}}]}}]}}"#
    )
}

#[test]
fn mistakes_in_the_configuration_end_with_2() {
    let server = MariaDb::start("mistakes", &[]);
    let users = file("mistakes-users.json", r#"{"u": {"Password": "p"}}"#);
    let topology = topology("mistakes-topology", &keyspace(server.port, "test", ""));
    let mistyped = guard::dir().join("mistyped");
    let with_users = |dir: &str| format!("[topology]\ndir = {dir:?}\n[users]\nfile = {users:?}\n");
    let odd_users =
        file("odd-users.json", r#"{"u": {"Password": "p", "SourceHosts": "localhost"}}"#);
    for (config, part) in [
        (with_users(mistyped.to_str().unwrap()), "there is no directory"),
        (with_users("/etc/passwd"), "there is no directory"),
        (topology.clone() + "[tls]\ncert = \"/nope\"\nkey = \"/nope\"\n", "/nope"),
        (topology.clone() + "[server]\nlisten = \"192.0.2.1:3307\"\n", "192.0.2.1:3307"),
        (
            topology.clone() + "[server]\nadmin = \"192.0.2.1:3380\"\nadmin_token = \"x\"\n",
            "192.0.2.1:3380",
        ),
        (topology.clone() + "[cores]\ncpus = [90000]\n", "no CPU 90000"),
        (topology.replace(world::users_file().to_str().unwrap(), &odd_users), "SourceHosts"),
    ] {
        let path = file("mistakes.toml", &config);
        let mut args = vec!["serve", "--config", &path, "--cores", "1"];
        if !config.contains("listen") {
            args.extend(["--listen", "127.0.0.1:0"]);
        }
        if !config.contains("admin =") {
            args.extend(["--admin", "127.0.0.1:0"]);
        }
        let args: Vec<&str> = if config.contains("cpus") {
            args.into_iter()
                .filter(|a| !["--cores", "1"].contains(a))
                .collect()
        } else {
            args
        };
        let error = Coregate::try_start("mistakes-proxy", args)
            .map(drop)
            .unwrap_err();
        assert!(error.contains("exit status: 2") && error.contains(part), "{config}: {error}");
    }
    assert!(!mistyped.exists(), "it was made");
    let both = file("both.toml", "[topology]\ndir = \"/x\"\n");
    let error =
        Coregate::try_start("both", ["serve", "--config", &both, "--upstream", &server.url()])
            .map(drop);
    assert!(error.unwrap_err().contains("topology.dir"));
    let neither = Coregate::try_start("neither", ["serve"])
        .map(drop)
        .unwrap_err();
    assert!(neither.contains("exit status: 2") && neither.contains("--upstream"), "{neither}");
}

#[test]
fn the_upstreams_password_need_not_be_in_the_command_line() {
    let server = MariaDb::start("hidden", &[]);
    let bare = format!("mysql://sb@127.0.0.1:{}", server.port);
    let password = file("hidden-password", "sb\n");
    let listen = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--cores", "1"];
    let start = |command: &mut Command| {
        let proxy = Coregate::run("hidden-proxy", command.args(listen)).unwrap();
        assert_eq!(proxy.connect_as("sb", "sb", None).value("select 1"), Some("1".into()));
    };
    start(Command::new(binary()).args([
        "serve",
        "--upstream",
        &bare,
        "--upstream-password-file",
        &password,
    ]));
    start(
        Command::new(binary())
            .args(["serve", "--upstream", &bare])
            .env("COREGATE_UPSTREAM_PASSWORD", "sb"),
    );
    start(
        Command::new(binary())
            .arg("serve")
            .env("COREGATE_UPSTREAM", server.url()),
    );
}

#[test]
fn logs_are_json_to_the_last_line_and_debug_says_more() {
    let server = MariaDb::start("logs", &[]);
    let mut command = Command::new(binary());
    command
        .args([
            "serve",
            "--upstream",
            &server.url(),
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ])
        .args(["--log-format", "json"])
        .env("RUST_LOG", "debug");
    let mut proxy = Coregate::run("logs-proxy", &mut command).unwrap();
    assert!(coregate_tests::Connection::try_login(proxy.mysql, "sb", "wrong", None).is_err());
    wait_until("it says why there is no session", || {
        proxy.process.stderr().contains("login rejected")
    });
    proxy.process.terminate();
    for line in proxy.process.stderr().lines() {
        assert!(line.starts_with("{\"timestamp\"") && line.ends_with('}'), "{line}");
    }
}

#[test]
fn health_tells_what_is_wrong() {
    let mut server = MariaDb::start("sick", &["--max-connections=3"]);
    let config = topology("sick-topology", &keyspace(server.port, "nosuch", ""));
    let proxy = Coregate::configured(
        "sick-proxy",
        &(config
            + "[server]\nserver_version = \"10.11.6-MariaDB\"\n[pool]\nwait_timeout_ms = 200\n"),
    );
    let status = || proxy.admin("/api/tablets");
    wait_until("the database is missed", || status().contains("it has no database nosuch"));
    assert!(status().contains("NOT_SERVING"), "{}", status());
    // Its connections are used up: it is there, and has none left. One is kept for administrators.
    server.kill();
    server.restart();
    let mut all = Vec::new();
    // The control plane takes and gives back some of them meanwhile.
    let mut fill = || {
        let address = ("127.0.0.1", server.port);
        while let Ok(conn) = coregate_tests::Connection::try_login(address, "sb", "sb", None) {
            all.push(conn);
        }
    };
    wait_until("it is said to be full", || {
        fill();
        status().contains("is out of connections")
    });
    wait_until("a client is told whose limit it is", || {
        fill();
        let mut conn = proxy.connect_as(world::USER, world::PASSWORD, Some("ks"));
        let answer = conn.query("select 1 from t");
        let error = answer.error();
        error.code == 1040
            && error
                .message
                .contains("the server z-1 is out of connections")
    });
    drop(all);
    server.kill();
    wait_until("it is down", || status().contains("UNREACHABLE"));
    let log = proxy.process.stderr();
    assert!(
        log.lines()
            .any(|l| l.contains("WARN") && l.contains("state=Unreachable")),
        "{log}"
    );
}

#[test]
fn tls_troubles_are_told_as_what_they_are() {
    let made = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (ca, key) = (
        file("op-ca.pem", &made.cert.pem()),
        file("op-key.pem", &made.signing_key.serialize_pem()),
    );
    let plain = MariaDb::start("no-tls", &["--skip-ssl"]);
    let ca_toml =
        format!("[backend_tls]\nca = {ca:?}\n[server]\nserver_version = \"10.11.6-MariaDB\"\n");
    let config =
        topology("no-tls-topology", &keyspace(plain.port, "test", r#", "tls": "verify_ca""#));
    let proxy = Coregate::configured("no-tls-proxy", &(config + &ca_toml));
    let answer = proxy
        .connect_as(world::USER, world::PASSWORD, Some("ks"))
        .query("select 1 from t");
    let error = answer.error();
    assert!(error.code == 1429 && error.message.contains("the server offers no TLS"), "{error:?}");
    let options = [format!("--ssl-cert={ca}"), format!("--ssl-key={key}")];
    let server = MariaDb::start("wrong-password", &options.each_ref().map(String::as_str));
    let wrong = keyspace(server.port, "test", r#", "tls": "required""#)
        .replace("\"password\": \"sb\"", "\"password\": \"x\"");
    let config = topology("wrong-password-topology", &wrong);
    let proxy = Coregate::configured("wrong-password-proxy", &config);
    wait_until("the password is said to be wrong", || {
        proxy.admin("/api/tablets").contains("Access denied")
    });
    let answer = proxy
        .connect_as(world::USER, world::PASSWORD, Some("ks"))
        .query("select 1 from t");
    assert_eq!(answer.error().code, 1045, "{answer:?}");
}
