//! Tables that are altered past this process: straight on the servers, as by another process that
//! could not tell.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::replicated::Cluster;
use coregate_tests::wait_until;

#[test]
fn rows_lie_where_they_are_sought_whatever_the_order_of_the_columns_is_now() {
    let cluster = Cluster::sharded("behind");
    let mut conn = cluster.connect("ks");
    let prepared = conn.prepare("insert into t values (?, ?)").unwrap();
    conn.run("insert into t values (1, 'before')");
    for (primary, _) in cluster.tablets("PRIMARY") {
        cluster.on(&primary, "alter table t modify v varchar(100) first, add column n int");
    }
    // What is not known here yet cannot put a row on the wrong shard.
    for id in 2..20u64 {
        match id % 3 {
            0 => conn.run(&format!("insert into t values ({id}, 'x{id}')")),
            1 => conn.run(&format!("replace into t values ({id}, 'x{id}'), ({}, 'y')", id + 100)),
            _ => {
                let values = [
                    coregate_tests::wire::Value::Int(i64::try_from(id).unwrap()),
                    coregate_tests::wire::Value::Bytes(format!("x{id}").into_bytes()),
                ];
                let answer = conn.execute(&prepared, &values);
                assert!(!answer.is_error(), "{answer:?}");
                answer
            }
        };
        assert_eq!(conn.value(&format!("select v from t where id = {id}")), Some(format!("x{id}")));
    }
    // It is noticed all the same.
    wait_until("the new order is known", || {
        let schema = cluster.proxy.admin("/api/keyspaces/ks/schema");
        schema.find("\"v\"") < schema.find("\"id\"") && schema.contains("\"n\"")
    });
    conn.run("insert into t values ('new', 50, 7)");
    assert_eq!(conn.value("select concat(v, n) from t where id = 50"), Some("new7".into()));
    assert_eq!(conn.value("select count(*) from t where id in (1, 2, 3, 50)"), Some("4".into()));
    // What only definitions may do on all shards, rows may not.
    let refused =
        cluster.ctl(&["apply-schema", "ks", "--sql", "insert into t (id, v) values (60, 'twice')"]);
    assert!(refused.unwrap_err().contains("definitions only"));
    let refused = cluster.ctl(&["apply-schema", "ks", "--sql", "drop database ks"]);
    assert!(refused.unwrap_err().contains("not database"));
    assert_eq!(conn.value("select count(*) from t where id = 60"), Some("0".into()));
    let refused = cluster.ctl(&["get-tablets", "--keyspace", "nope"]);
    assert!(refused.unwrap_err().contains("there is no keyspace nope"));
}
