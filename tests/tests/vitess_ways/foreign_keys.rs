//! Foreign keys within a shard.
use super::{cluster, rows};
use coregate_tests::world;

const TABLES: &str = "
create table f1 (id bigint not null, col varchar(20) collate utf8mb4_bin not null, v int,
    primary key (id), key (col));
create table f2 (id bigint not null, col varchar(20) collate utf8mb4_bin, v int,
    primary key (id), key (col),
    constraint f2_f1 foreign key (col) references f1 (col) on delete restrict on update restrict);
create table f3 (id bigint not null, col varchar(20) collate utf8mb4_bin, primary key (id),
    key (col), constraint f3_f2 foreign key (col) references f2 (col) on delete set null);
create table f4 (id bigint not null, col varchar(20) collate utf8mb4_bin, primary key (id),
    key (col), constraint f4_f1 foreign key (col) references f1 (col) on update set null);
";

const VSCHEMA: &str = r#"{"sharded": true, "foreignKeyMode": "managed",
 "vindexes": {"x": {"type": "xxhash"}}, "tables": {
    "f1": {"column_vindexes": [{"column": "col", "name": "x"}]},
    "f2": {"column_vindexes": [{"column": "col", "name": "x"}]},
    "f3": {"column_vindexes": [{"column": "col", "name": "x"}]},
    "f4": {"column_vindexes": [{"column": "col", "name": "x"}]}}}"#;

#[test]
fn a_change_is_refused_only_where_servers_would_pass_it_on() {
    let cluster = cluster("fks", &[("test", 2, TABLES, VSCHEMA)]);
    let mut client = cluster.connect_as(world::USER, world::PASSWORD, Some("test"));
    for n in 1..=4 {
        client.run(&format!("insert into f1 values ({n}, 'c{n}', 0)"));
        client.run(&format!("insert into f2 values ({n}, 'c{n}', 0)"));
        client.run(&format!("insert into f3 values ({n}, 'c{n}')"));
    }
    let code = |client: &mut coregate_tests::Connection, sql: &str| client.query(sql).error().code;
    // ON DELETE SET NULL would leave rows on shards where nobody looks for them.
    assert_eq!(code(&mut client, "delete from f2"), 1235);
    assert_eq!(code(&mut client, "replace into f2 values (1, 'c1', 1)"), 1235);
    assert_eq!(code(&mut client, "update f2 set col = 'c9' where id = 1"), 1235);
    // Other columns are passed on to nobody; nor is a deletion by ON UPDATE.
    client.run("update f2 set v = 1 where col = 'c1'");
    client.run("insert into f1 values (9, 'c9', 0)");
    client.run("insert into f4 values (9, 'c9')");
    client.run("delete from f1 where col = 'nobody'");
    assert_eq!(code(&mut client, "update f1 set col = 'c8' where col = 'c9'"), 1235);
    // Prepared under one setting, run under the other.
    client.run("prepare p from 'update f2 set v = 2 where col = ''c2'''");
    client.run("set foreign_key_checks = 0");
    let prepared = client.prepare("delete from f2 where col = 'c3'").unwrap();
    client.run("prepare d from 'delete from f2 where col = ''c4'''");
    client.run("execute p");
    client.run("set foreign_key_checks = 1");
    assert_eq!(client.execute(&prepared, &[]).error().code, 1235);
    assert_eq!(code(&mut client, "execute d"), 1235);
    client.run("set @old = @@foreign_key_checks, foreign_key_checks = off");
    client.execute(&prepared, &[]).ok();
    client.run("execute d");
    let left = "select id, col, v from f2 order by id";
    assert_eq!(rows(&client.query(left)), ["1|c1|1", "2|c2|2"]);
    client.run("delete from f2");
    assert_eq!(client.value("select count(col) from f3").as_deref(), Some("4"));
    client.run("set foreign_key_checks = @old");
    assert_eq!(code(&mut client, "delete from f2"), 1235);
    client.run("set session foreign_key_checks = 0");
    client.run("delete from f2");
    client.send_command(0x1f, b"").unwrap();
    assert_eq!(client.packet().unwrap().first(), Some(&0));
    assert_eq!(code(&mut client, "delete from f2"), 1235);
}
