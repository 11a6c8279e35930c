//! Lookup vindexes without a UNIQUE key of the table, and those that another table owns.
use super::{cluster, rows};
use coregate_tests::wire::Value;
use coregate_tests::world;

const TABLES: &str = "
create table music (user_id bigint not null, id bigint not null, genre varchar(20),
    primary key (user_id, id));
create table music_vdx (id bigint not null primary key, keyspace_id varbinary(20) not null);
create table u1 (id bigint not null primary key, sharding_key bigint not null);
create table u1_vdx (id bigint not null primary key, keyspace_id varbinary(20) not null);
create table u2 (id bigint not null primary key, t1_id bigint, sharding_key bigint not null,
    v int);
create table u2_vdx (id bigint not null primary key, keyspace_id varbinary(20) not null);
";

const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"},
    "music_idx": {"type": "consistent_lookup_unique", "owner": "music", "params": {
        "table": "music_vdx", "from": "id", "to": "keyspace_id"}},
    "u1_idx": {"type": "consistent_lookup_unique", "owner": "u1", "params": {
        "table": "u1_vdx", "from": "id", "to": "keyspace_id"}},
    "u2_idx": {"type": "consistent_lookup_unique", "owner": "u2", "params": {
        "table": "u2_vdx", "from": "id", "to": "keyspace_id"}}},
 "tables": {
    "music": {"column_vindexes": [{"column": "user_id", "name": "hash"},
        {"column": "id", "name": "music_idx"}]},
    "music_vdx": {"column_vindexes": [{"column": "id", "name": "hash"}]},
    "u1": {"column_vindexes": [{"column": "sharding_key", "name": "hash"},
        {"column": "id", "name": "u1_idx"}]},
    "u1_vdx": {"column_vindexes": [{"column": "id", "name": "hash"}]},
    "u2": {"column_vindexes": [{"column": "sharding_key", "name": "hash"},
        {"column": "t1_id", "name": "u1_idx"}, {"column": "id", "name": "u2_idx"}]},
    "u2_vdx": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#;

#[test]
fn a_unique_lookup_is_a_key_for_replace() {
    let cluster = cluster("replaced", &[("test", 2, TABLES, VSCHEMA)]);
    let mut client = cluster.connect_as(world::USER, world::PASSWORD, Some("test"));
    for user in 1..=6 {
        client.run(&format!("insert into music values ({user}, {}, 'old')", 100 + user));
    }
    // Of another shard, of the same shard, of the same place; several at once; prepared.
    for user in [1, 2, 3, 4, 5, 6] {
        client.run(&format!("replace into music values ({user}, 101, 'new {user}')"));
        let found = "select user_id, genre from music where id = 101";
        assert_eq!(rows(&client.query(found)), [format!("{user}|new {user}")]);
        let all = "select count(*) from music where id + 0 = 101";
        assert_eq!(client.value(all).as_deref(), Some("1"));
    }
    client.run("replace into music values (1, 102, 'a'), (1, 103, 'b'), (9, 104, 'c')");
    let replace = client
        .prepare("replace into music values (?, ?, 'p')")
        .unwrap();
    client
        .execute(&replace, &[Value::Int(2), Value::Int(105)])
        .ok();
    client.run("replace into music values (6, 106, 'itself')");
    assert_eq!(
        rows(&client.query("select id, user_id, genre from music order by id")),
        ["101|6|new 6", "102|1|a", "103|1|b", "104|9|c", "105|2|p", "106|6|itself"]
    );
    let entries = "select count(*) from music_vdx";
    assert_eq!(client.value(entries).as_deref(), Some("6"));
    // One server changes nothing, either, where it knows of no key.
    let changed = "insert into music values (7, 101, 'x') on duplicate key update genre = 'y'";
    assert_eq!(client.query(changed).error().code, 1062);
    // Undone with its transaction.
    client.run("begin");
    client.run("replace into music values (8, 101, 'undone')");
    client.run("rollback");
    assert_eq!(
        client
            .value("select user_id from music where id = 101")
            .as_deref(),
        Some("6")
    );
}

#[test]
fn a_column_of_another_tables_lookup_changes_where_the_entry_fits() {
    let cluster = cluster("others", &[("test", 2, TABLES, VSCHEMA)]);
    let mut client = cluster.connect_as(world::USER, world::PASSWORD, Some("test"));
    client.run("insert into u1 values (1, 1), (2, 1), (3, 5)");
    client.run("insert into u2 values (1, 1, 1, 0), (2, null, 1, 0), (3, 3, 5, 0)");
    client.run("update u2 set t1_id = 2 where id = 2");
    client.run("update u2 set t1_id = null where id = 1");
    let refused = [
        "update u2 set t1_id = 3 where id = 1",
        "update u2 set t1_id = 77 where id = 1",
        "update u2 set t1_id = 1, v = 5",
        "update u2 set sharding_key = 5 where id = 2",
    ];
    for sql in refused {
        let answer = client.query(sql);
        let error = answer.error();
        assert_eq!(error.code, 1105, "{sql}");
        assert!(error.message.contains("[t1_id] do not map"), "{}", error.message);
    }
    let all = "select id, t1_id, sharding_key, v from u2 order by id";
    assert_eq!(rows(&client.query(all)), ["1|NULL|1|0", "2|2|1|0", "3|3|5|0"]);
    let update = client
        .prepare("update u2 set t1_id = ?, v = v + 1 where sharding_key = 1")
        .unwrap();
    client.execute(&update, &[Value::Int(1)]).ok();
    client.run("prepare p from 'update u2 set t1_id = t1_id + ? where id = 2'");
    client.run("set @more = 1");
    client.run("execute p using @more");
    client.run("begin");
    assert_eq!(
        client
            .query("update u2 set t1_id = 3 where id = 2")
            .error()
            .code,
        1105
    );
    client.run("update u2 set v = 9 where id = 3");
    client.run("commit");
    assert_eq!(rows(&client.query(all)), ["1|1|1|1", "2|2|1|1", "3|3|5|9"]);
    assert_eq!(client.value("select id from u2 where t1_id = 2").as_deref(), Some("2"));
    // With values for both, the row moves.
    client.run("update u2 set sharding_key = 5, t1_id = 3 where id = 2");
    assert_eq!(rows(&client.query("select id from u2 where t1_id = 3 order by 1")), ["2", "3"]);
}
