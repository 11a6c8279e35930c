//! `coregate ctl` and `coregate topo` as operators use them.
#![allow(clippy::unwrap_used)]
use coregate_tests::replicated::Cluster;
use coregate_tests::{Etcd, guard, wait_until};
use serde_json::Value;
use std::process::{Command, Output, Stdio};

fn coregate(args: &[&str]) -> Output {
    Command::new(coregate_tests::coregate::binary())
        .args(args)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(cluster: &Cluster, args: &[&str]) -> Value {
    let args = [&["--json"], args].concat();
    serde_json::from_str(&cluster.ctl(&args).unwrap()).unwrap()
}

#[test]
fn tablets_are_looked_at_and_ordered_about() {
    let cluster = Cluster::sharded("ctl-tablets");
    assert_eq!(json(&cluster, &["get-cells"])[0]["name"], "zone1");
    assert!(
        cluster
            .ctl(&["GetCellInfoNames"])
            .unwrap()
            .starts_with("name ")
    );
    let of = |kind: &str| -> String {
        let list = json(&cluster, &["get-tablets", "--shard", "-80", "--tablet-type", kind]);
        list[0]["alias"].as_str().unwrap().to_owned()
    };
    let (primary, replica) = (of("primary"), of("replica"));
    assert_eq!(json(&cluster, &["GetTablet", &primary])["shard"], "-80");
    assert_eq!(json(&cluster, &["run-health-check", &replica])["answers"], true);
    let status = json(&cluster, &["get-full-status", &replica]);
    assert_eq!(status["replication_status"]["Slave_IO_Running"], "Yes", "{status}");
    assert!(status["variables"]["server_id"].is_string() && status["primary_status"].is_object());
    for wrong in [
        &["get-tablet", "zone1-9"][..],
        &["set-writable", &replica, "true"],
        &["start-replication", &primary],
        &["stop-replication", &primary],
        &["change-tablet-type", &primary, "replica"],
        &["emergency-reparent-shard", "ks/-80", "--ignore-replicas", "zone1-999"],
        &["emergency-reparent-shard", "ks/-80", "--new-primary", "zone1-999"],
        &["apply-vschema", "ks", "--vschema", r#"{"sharded": false}"#],
        &["apply-vschema", "ks", "--vschema", ""],
        &["apply-routing-rules", "--rules", " "],
        &["get-topology-path", "/global/nothing"],
        &["validate", "nowhere"],
        &["delete-keyspace", "ks"],
    ] {
        assert!(cluster.ctl(wrong).is_err(), "{wrong:?}");
    }
    assert_eq!(of("primary"), primary, "a name that is written wrong moves nothing");
    assert_eq!(json(&cluster, &["get-vschema", "ks"])["sharded"], true);
    output_may_be_closed(&cluster);
    cluster.ctl(&["disable-recoveries"]).unwrap();
    cluster.ctl(&["stop-replication", &replica]).unwrap();
    let running = || {
        json(&cluster, &["get-full-status", &replica])["replication_status"]["Slave_IO_Running"]
            .clone()
    };
    assert_eq!(running(), "No");
    cluster.ctl(&["StartReplication", &replica]).unwrap();
    wait_until("it replicates again", || running() == "Yes");
    cluster.ctl(&["set-writable", &primary, "false"]).unwrap();
    assert_eq!(cluster.on(&primary, "select @@read_only"), "1");
    cluster.ctl(&["SetWritable", &primary, "true"]).unwrap();
    cluster.ctl(&["enable-recoveries"]).unwrap();
    cluster.wait_well();
    assert_eq!(json(&cluster, &["get-processes"])[0]["leader"], true);
    let path = json(&cluster, &["get-topology-path", "/global/keyspaces/ks/shards/-80/Shard"]);
    assert_eq!(path["data"]["primary_alias"], primary.as_str());
    let tablet =
        json(&cluster, &["GetTopologyPath", &format!("/cells/zone1/tablets/{primary}/Tablet")]);
    assert_eq!(tablet["data"]["password"], "...", "passwords are not shown");
    let ranges = json(&cluster, &["generate-shard-ranges", "4"]);
    assert_eq!(ranges, serde_json::json!(["-40", "40-80", "80-c0", "c0-"]));
    let document: Value = serde_json::from_str(&cluster.proxy.admin("/api/openapi.json")).unwrap();
    assert!(document["paths"]["/api/validate"]["get"].is_object());
}

/// `| head` has seen enough: nothing is said, and it is no failure. A full disk is one, in a
/// sentence.
fn output_may_be_closed(cluster: &Cluster) {
    let run = |out: Stdio| {
        let mut command = Command::new(coregate_tests::coregate::binary());
        command.args(["ctl", "--admin", &cluster.proxy.admin.to_string(), "--json", "get-tablets"]);
        command
            .stdout(out)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap()
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let closed = run(writer.into());
    assert!(closed.status.success() && closed.stderr.is_empty(), "{}", text(&closed.stderr));
    let full = run(std::fs::File::create("/dev/full").unwrap().into());
    assert_eq!(full.status.code(), Some(1));
    assert!(text(&full.stderr).contains("cannot be printed"), "{}", text(&full.stderr));
}

#[test]
fn a_schema_is_on_all_shards_or_the_report_says_where() {
    let cluster = Cluster::sharded("ctl-schema");
    cluster.ctl(&["validate"]).unwrap();
    // One shard has it already, in another form: the statement fails there.
    cluster
        .connect("ks:80-")
        .run("create table u (id int primary key)");
    let found = cluster.ctl(&["validate", "ks"]).unwrap_err();
    assert!(found.contains("not all is as it should be"), "{found}");
    let sql = "create table first (id bigint primary key); create table u (id bigint primary key)";
    let apply = ["apply-schema", "ks", "--sql", sql];
    let report = cluster.ctl(&apply).unwrap_err();
    for part in ["-80: 2 of 2 statements", "80-: 1 of 2 statements", "already exists"] {
        assert!(report.contains(part), "{part}: {report}");
    }
    cluster.connect("ks:80-").run("drop table u");
    let done = json(&cluster, &apply);
    assert_eq!((&done["ok"], &done["shards"][1]["done"]), (&Value::Bool(true), &Value::from(2)));
    wait_until("all is well", || cluster.ctl(&["validate"]).is_ok());
    // What has ended well begins anew.
    let report = cluster.ctl(&apply).unwrap_err();
    assert!(report.contains("-80: 0 of 2 statements"), "{report}");
}

#[test]
fn a_topology_moves_from_files_to_etcd_and_back() {
    let etcd = Etcd::start("etcd-topo", 1);
    let dir = guard::dir().join("topo-dir");
    std::fs::create_dir_all(dir.join("topology")).unwrap();
    let record = r#"{"name": "ks", "shards": [{"name": "0", "tablets": [
        {"alias": "z-1", "type": "primary", "host": "127.0.0.1", "user": "u",
        "password": "secret"}]}]}"#;
    std::fs::write(dir.join("topology/ks.json"), record).unwrap();
    let (dir, url) = (dir.to_str().unwrap(), etcd.url("moved"));
    let run = |args: &[&str]| {
        let output = coregate(&[&["topo"], args].concat());
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    assert_eq!(run(&["import", dir, &url, "--dry-run"]), "keyspace ks: would be created\n");
    assert_eq!(run(&["import", dir, &url]), "keyspace ks: created\n");
    assert_eq!(run(&["import", dir, &url]), "keyspace ks: is the same already\n");
    assert!(
        etcd.ctl(&["get", "--print-value-only", "/moved/cells/z/tablets/z-1/Tablet"])
            .contains("secret")
    );
    assert!(
        etcd.ctl(&["get", "--print-value-only", "/moved/global/cells/z/CellInfo"])
            .contains("/moved/cells/z")
    );
    let file = guard::dir().join("copy.yaml");
    let file = file.to_str().unwrap();
    run(&["export", &url, "--output", file]);
    // A name without a directory is in the one where it is run.
    let bare = Command::new(coregate_tests::coregate::binary())
        .args(["topo", "export", &url, "--output", "bare.yaml"])
        .current_dir(guard::dir())
        .output()
        .unwrap();
    assert!(bare.status.success(), "{}", text(&bare.stderr));
    let yaml = std::fs::read_to_string(file).unwrap();
    assert_eq!(std::fs::read_to_string(guard::dir().join("bare.yaml")).unwrap(), yaml);
    let into_file = coregate(&["topo", "import", &url, file]);
    assert_eq!(into_file.status.code(), Some(2), "{}", text(&into_file.stderr));
    assert!(yaml.starts_with("keyspaces:\n"), "{yaml}");
    std::fs::write(file, yaml.replace("name: ks", "name: ks\n  database: other")).unwrap();
    let refused = coregate(&["topo", "import", file, &url]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("--replace"));
    assert_eq!(run(&["import", file, &url, "--replace"]), "keyspace ks: replaced\n");
    let back = guard::dir().join("topo-back");
    let steps: Value =
        serde_json::from_str(&run(&["import", &url, back.to_str().unwrap(), "--json"])).unwrap();
    assert_eq!(steps[0]["done"], "created");
    let record = std::fs::read_to_string(back.join("topology/ks.json")).unwrap();
    assert!(record.contains("\"database\": \"other\"") && record.contains("secret"), "{record}");
    std::fs::write(file, "keyspaces:\n- name: ks\n  shard: []\n").unwrap();
    let wrong = coregate(&["topo", "import", file, &url]);
    assert!(text(&wrong.stderr).contains("shard"), "{}", text(&wrong.stderr));
}

#[test]
fn local_takes_the_variables_of_vttestserver_s_image() {
    // MySQL's is three above it; below those that the system gives to connections.
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    let start = 20_000 + (std::process::id() % 10_000) as u16;
    let port = (start..32_000)
        .find(|port| is_free(*port) && is_free(port + 3))
        .unwrap();
    let mut command = Command::new(coregate_tests::coregate::binary());
    command
        .args(["local", "--cores", "1", "--admin", "127.0.0.1:0", "--dir"])
        .arg(guard::dir().join("vttest"));
    for (name, value) in [
        ("KEYSPACES", "test,unsharded"),
        ("NUM_SHARDS", "2,1"),
        ("PORT", port.to_string().as_str()),
        ("MYSQL_BIND_HOST", "127.0.0.1"),
        ("MYSQL_MAX_CONNECTIONS", "3"),
        ("MYSQL_SERVER_VERSION", "8.0.40-Vitess"),
        ("CHARSET", "latin1"),
        ("FOREIGN_KEY_MODE", "allow"),
    ] {
        command.env(name, value);
    }
    let local = coregate_tests::Coregate::run("vttest", &mut command).unwrap();
    assert_eq!(local.mysql.port(), port + 3);
    let mut conn = local.connect_as("app", "app", Some("unsharded"));
    let one = |conn: &mut coregate_tests::Connection, sql: &str| {
        conn.run(sql).rows()[0][0].clone().unwrap()
    };
    assert_eq!(one(&mut conn, "select @@character_set_database"), "latin1");
    assert_eq!(conn.run("show vitess_shards").rows().len(), 3);
    let vschema: Value = serde_json::from_str(&local.admin("/api/keyspaces/test/vschema")).unwrap();
    assert_eq!(vschema["foreignKeyMode"], "unmanaged");
    let more: Vec<_> = (0..2)
        .map(|_| local.connect_as("app", "app", None))
        .collect();
    let full = coregate_tests::Connection::try_login(local.mysql, "app", "app", None);
    assert!(full.is_err(), "three connections are allowed");
    drop(more);
    let wrong = Command::new(coregate_tests::coregate::binary())
        .arg("local")
        .env("NUM_SHARDS", "2")
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("NUM_SHARDS"), "{}", text(&wrong.stderr));
}
