//! Dashboards, alert rules and the page name things that there are; what is logged of statements
//! shows no values unless it is to.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::replicated::Cluster;
use coregate_tests::{Coregate, MariaDb, root, wait_until, world};
use std::collections::BTreeSet;

/// Names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.split(|c| !word(c))
        .filter(|w| w.starts_with("coregate_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_metric_that_dashboards_and_alerts_name_is_there() {
    let cluster = Cluster::of("monitoring", "ks:1:1", 2);
    let mut conn = cluster.connect("ks");
    conn.run("insert into t (id, v) values (1, 'a')");
    wait_until("a replica has told its lag", || {
        cluster
            .proxy
            .admin("/metrics")
            .contains("coregate_tablet_lag_seconds{")
    });
    let metrics = cluster.proxy.admin("/metrics");
    let there: BTreeSet<String> = metrics
        .lines()
        .filter(|l| !l.starts_with('#'))
        .flat_map(names)
        .collect();
    for file in [
        "docs/monitoring/grafana.json",
        "docs/monitoring/alerts.yaml",
        "controlplane/src/admin/page.html",
    ] {
        let named = names(&std::fs::read_to_string(root().join(file)).unwrap());
        assert!(!named.is_empty(), "{file}");
        let missing: Vec<_> = named.difference(&there).collect();
        assert!(missing.is_empty(), "{file}: {missing:?}");
    }
    let dashboard = std::fs::read_to_string(root().join("docs/monitoring/grafana.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
    // What a server is asked stands under its shard.
    let of_shard = r#"keyspace="ks",shard="0",type="primary""#;
    let counts = |line: &&str| {
        line.starts_with("coregate_tablet_request_seconds_count{") && line.contains(of_shard)
    };
    assert!(metrics.lines().any(|l| counts(&l)), "{metrics}");
    assert!(metrics.contains("# TYPE coregate_tablet_request_seconds histogram"));
}

#[test]
fn slow_statements_are_logged_without_their_values() {
    let server = MariaDb::start("query-log", &[]);
    let path = coregate_tests::guard::dir().join("query-log.jsonl");
    let start = |name: &str, more: &str| {
        let dir = coregate_tests::guard::dir().join(format!("{name}-topology"));
        std::fs::create_dir_all(dir.join("topology")).unwrap();
        let record = format!(
            r#"{{"name": "ks", "database": "test", "shards": [{{"name": "0",
                "tablets": [{{"alias": "a-1", "type": "primary",
                "host": "127.0.0.1", "port": {}, "user": "sb", "password": "sb"}}]}}],
                "vschema": {{"tables": {{}}}}}}"#,
            server.port
        );
        std::fs::write(dir.join("topology/ks.json"), record).unwrap();
        let config = format!(
            "[topology]\ndir = {:?}\n[users]\nfile = {:?}\n[server]\ncores = 1\n[query_log]\nfile \
                = {:?}\n{more}\n",
            dir.to_str().unwrap(),
            world::users_file().to_str().unwrap(),
            path.to_str().unwrap()
        );
        Coregate::configured(name, &config)
    };
    let lines = || -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        text.lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect()
    };
    let proxy = start("slow-log", "slow_ms = 200");
    let mut conn = proxy.connect_as(world::USER, world::PASSWORD, Some("ks"));
    conn.run("select 'quick'");
    conn.run("select sleep(0.3), 'secret' /* slow */");
    let slow = conn.prepare("select sleep(?), 'hidden'").unwrap();
    conn.execute(&slow, &[coregate_tests::wire::Value::Double(0.3)]);
    wait_until("two lines", || lines().len() == 2);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        !text.contains("secret") && !text.contains("hidden") && !text.contains("quick"),
        "{text}"
    );
    let first = &lines()[0];
    assert_eq!((first["why"].as_str(), first["user"].as_str()), (Some("slow"), Some(world::USER)));
    assert!(first["time_us"].as_u64().unwrap() >= 200_000 && first["rows"] == 1, "{first}");
    drop(proxy);
    // All of them, with their values.
    let proxy = start("all-log", "sample = 1.0\nvalues = true");
    let mut conn = proxy.connect_as(world::USER, world::PASSWORD, Some("ks"));
    conn.run("select 'shown'");
    assert_eq!(conn.query("select nothing from nowhere").error().code, 1146);
    wait_until("both are there", || lines().iter().any(|l| l["error"] == 1146));
    assert!(
        lines()
            .iter()
            .any(|l| l["text"].as_str() == Some("select 'shown'") && l["why"] == "sample")
    );
    assert!(proxy.metric("coregate_query_log_dropped_total") < 1.0);
}
