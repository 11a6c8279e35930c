//! Ranges of shards in front of a table's name, and what any shard can answer.
use super::{cluster, rows};
use coregate_tests::wire::Value;
use coregate_tests::world;

const TABLES: &str = "create table t (id bigint not null primary key, v int);";

const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
    "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#;

#[test]
fn a_name_may_have_a_range_in_front() {
    let other = ("other", 1, "create table t (id bigint, v int);", r#"{"tables": {"t": {}}}"#);
    let cluster = cluster("ranged", &[("test", 4, TABLES, VSCHEMA), other]);
    let mut client = cluster.connect_as(world::USER, world::PASSWORD, Some("other"));
    for id in 1..=20 {
        client.run(&format!("insert into test.t values ({id}, 0)"));
    }
    client.run("insert into t values (1, 7)");
    client.run("update `test[-]`.t set v = 1");
    assert_eq!(
        client
            .value("select count(*) from test.t where v = 1")
            .as_deref(),
        Some("20")
    );
    let lower = client.value("select count(*) from `test[-80]`.t").unwrap();
    let lower: u32 = lower.parse().unwrap();
    assert!(lower > 0 && lower < 20, "{lower}");
    client.run("update `test[-80]`.t set `test[-80]`.t.v = 2 where v = 1");
    let twos = client
        .value("select count(*) from test.t where v = 2")
        .unwrap();
    assert_eq!(twos, lower.to_string());
    let delete = client
        .prepare("delete from `test[-40]`.t where v = ?")
        .unwrap();
    client.execute(&delete, &[Value::Int(2)]).ok();
    assert_eq!(
        client
            .value("select count(*) from `test[-40]`.t")
            .as_deref(),
        Some("0")
    );
    assert_ne!(
        client
            .value("select count(*) from `test[40-80]`.t")
            .as_deref(),
        Some("0")
    );
    client.run("delete from `test[-]`.t where id > 0 order by id limit 1");
    client.run("delete from `test[-]`.t");
    assert_eq!(client.value("select count(*) from test.t").as_deref(), Some("0"));
    assert_eq!(rows(&client.query("select * from t")), ["1|7"]);
    let code = |client: &mut coregate_tests::Connection, sql: &str| client.query(sql).error().code;
    assert_eq!(code(&mut client, "update `test[-80]`.t a, test.t b set a.v = 1"), 1235);
    assert_eq!(code(&mut client, "update `nothing[-]`.t set v = 1"), 1049);
    assert_eq!(code(&mut client, "insert into `test[-]`.t values (1, 1)"), 1049);
    assert_eq!(code(&mut client, "update `test[-30]`.t set v = 1"), 1235);
}

#[test]
fn help_is_any_shards() {
    let cluster = cluster("helped", &[("test", 2, TABLES, VSCHEMA)]);
    let mut client = cluster.connect_as(world::USER, world::PASSWORD, Some("test"));
    for sql in ["help 'select'", "HELP 'nothing at all'"] {
        client.query(sql).rows();
    }
}

#[test]
fn what_is_not_there_says_what_is() {
    let cluster = cluster("absent", &[("test", 2, TABLES, VSCHEMA)]);
    let mut client = cluster.connect_as(world::USER, world::PASSWORD, Some("test"));
    for sql in ["show vitess_migrations", "show global gtid_executed from test"] {
        let answer = client.query(sql);
        assert_eq!(answer.error().code, 1235, "{sql}");
    }
}
