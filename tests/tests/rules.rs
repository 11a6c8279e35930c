//! What a vschema's owner and a statement's author may ask for: routing rules, limits of one
//! statement, no scatters.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Coregate, coregate, guard, world};
use std::process::Command;

const TABLES: &str = "create table t (id bigint not null primary key, v varchar(20));";
const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
    "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#;

fn cluster(name: &str) -> Coregate {
    let dir = guard::dir().join(format!("{name}-schema"));
    std::fs::create_dir_all(&dir).unwrap();
    for keyspace in ["plain", "ring"] {
        std::fs::write(dir.join(format!("{keyspace}.sql")), TABLES).unwrap();
    }
    std::fs::write(dir.join("ring.json"), VSCHEMA).unwrap();
    let dir = dir.to_str().unwrap();
    Coregate::local(
        name,
        &["--keyspace", "plain", "--keyspace", "ring:2", "--schema", dir, "--vschema", dir],
    )
}

fn ctl(cluster: &Coregate, args: &[&str]) -> String {
    let admin = cluster.admin.to_string();
    let output = Command::new(coregate::binary())
        .args(["ctl", "--admin", &admin])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn routing_rules_say_where_a_table_is() {
    let cluster = cluster("routed");
    let mut client = cluster.connect_as(world::USER, world::PASSWORD, Some("plain"));
    client.run("insert into plain.t values (1, 'plain')");
    client.run("insert into ring.t values (1, 'ring'), (2, 'ring'), (3, 'ring')");
    assert_eq!(client.value("select v from t where id = 1").as_deref(), Some("plain"));
    let rules = r#"{"rules": [{"from_table": "plain.t", "to_tables": ["ring.t"]},
        {"from_table": "t", "to_tables": []}]}"#;
    let shown = ctl(&cluster, &["apply-routing-rules", "--rules", rules]);
    assert!(shown.contains("ring.t"), "{shown}");
    assert_eq!(client.value("select v from t where id = 1").as_deref(), Some("ring"));
    assert_eq!(
        client
            .value("select plain.t.v from plain.t where plain.t.id = 2")
            .as_deref(),
        Some("ring")
    );
    client.run("update t set v = 'changed' where id = 3");
    let mut nowhere = cluster.connect_as(world::USER, world::PASSWORD, None);
    assert_eq!(
        nowhere
            .value("select v from ring.t where id = 3")
            .as_deref(),
        Some("changed")
    );
    let disabled = nowhere.query("select v from t where id = 3");
    assert!(disabled.error().message.contains("disabled"), "{disabled:?}");
    // A prepared statement is planned anew.
    let prepared = client.prepare("select v from t where id = ?").unwrap();
    ctl(&cluster, &["ApplyRoutingRules", "--rules", r#"{"rules": []}"#]);
    assert_eq!(client.value("select v from t where id = 1").as_deref(), Some("plain"));
    assert!(
        !client
            .execute(&prepared, &[coregate_tests::wire::Value::Int(1)])
            .is_error()
    );
    assert!(!ctl(&cluster, &["get-routing-rules"]).contains("ring"));
}

#[test]
fn a_statement_may_have_a_limit_of_its_own() {
    let cluster = cluster("limited");
    let mut client = cluster.connect_as(world::USER, world::PASSWORD, Some("ring"));
    client.run("insert into t values (1, 'a')");
    let sql = "select /*vt+ QUERY_TIMEOUT_MS=50 */ sleep(100) from t where id = 1";
    assert_eq!(client.query(sql).error().code, 3024);
    let prepared = client.prepare(sql).unwrap();
    assert_eq!(client.execute(&prepared, &[]).error().code, 3024);
    // Only that statement.
    assert_eq!(
        client
            .value("select /*vt+ QUERY_TIMEOUT_MS=0 */ sleep(0.2) from t where id = 1")
            .as_deref(),
        Some("0")
    );
    assert_eq!(
        client
            .value("select sleep(0.2) from t where id = 1")
            .as_deref(),
        Some("0")
    );
}
