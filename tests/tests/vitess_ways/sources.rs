//! Reference tables with a source, by their name alone where no keyspace is selected.
use super::{cluster, rows};
use coregate_tests::wire::Value;
use coregate_tests::{Connection, world};

const SOURCE: &str = "
create table zip (id bigint not null primary key, code int not null);
create table detail (id bigint not null primary key, zip_id bigint not null, note varchar(20));
insert into zip values (1, 47107), (2, 82845);
insert into detail values (1, 1, 'source'), (2, 2, 'source');
";

const COPIES: &str = "
create table failure (id bigint not null primary key, detail_id bigint, reason varchar(20));
create table detail (id bigint not null primary key, zip_id bigint not null, note varchar(20));
insert into detail values (1, 1, 'copy'), (2, 2, 'copy');
";

const SHARDED: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}}, "tables": {
    "failure": {"column_vindexes": [{"column": "id", "name": "hash"}]},
    "detail": {"type": "reference", "source": "uks.detail"}}}"#;

#[test]
fn a_name_alone_means_the_source_and_beside_other_tables_their_copies() {
    let unsharded = r#"{"tables": {"zip": {}, "detail": {}}}"#;
    let cluster = cluster("sources", &[("uks", 1, SOURCE, unsharded), ("sks", 2, COPIES, SHARDED)]);
    let mut client = cluster.connect_as(world::USER, world::PASSWORD, None);
    client.run("insert into failure values (1, 1, 'x'), (2, 2, 'x'), (3, 3, 'x'), (4, 1, 'x')");
    // Changes are the source's, as text, prepared and by name.
    client.run("insert into detail values (3, 1, 'source')");
    let insert = client
        .prepare("insert into detail values (?, 2, 'source')")
        .unwrap();
    client.execute(&insert, &[Value::Int(4)]).ok();
    client.run("prepare p from 'insert into detail values (?, 2, ''source'')'");
    client.run("set @id = 5");
    client.run("execute p using @id");
    client.run("replace into detail select id + 5, zip_id, note from detail where id = 1");
    client.run("insert into detail values (1, 1, 'new') on duplicate key update note = 'on dup'");
    client.run("update detail set note = 'updated' where id = 2");
    client.run("delete from detail where id = 4");
    let source = "select id, note from uks.detail order by id";
    let after = ["1|on dup", "2|updated", "3|source", "5|source", "6|source"];
    assert_eq!(rows(&client.query(source)), after);
    assert_eq!(rows(&client.query("select id, note from detail order by id")), after);
    assert_eq!(rows(&client.query("select id, note from sks.detail")), ["1|copy", "2|copy"]);
    reads_are_of_what_is_beside(&mut client);
    changes_read_the_source(&mut client);
    // DDL says where.
    assert_eq!(client.query("drop table detail").error().code, 1105);
    // A keyspace that is selected has the first word.
    client.run("use sks");
    assert_eq!(
        client
            .value("select note from detail where id = 1")
            .as_deref(),
        Some("copy")
    );
    client.run("update detail set note = 'by sks' where id = 1");
    let by_sks = client.value("select note from uks.detail where id = 1");
    assert_eq!(by_sks.as_deref(), Some("by sks"));
}

fn reads_are_of_what_is_beside(client: &mut Connection) {
    let beside = [
        (
            "select d.note, f.id from failure f join detail d on d.id = f.detail_id order by f.id",
            &["copy|1", "copy|2", "copy|4"][..],
        ),
        (
            "select (select note from detail d where id = f.detail_id) from failure f where id = 4",
            &["copy"],
        ),
        (
            "with d as (select * from detail) select note, count(*) from d, failure f \
            where d.id = f.detail_id group by note",
            &["copy|3"],
        ),
        (
            "select d.note, z.code from zip z join detail d on z.id = d.zip_id where d.id = 2",
            &["updated|82845"],
        ),
        (
            "select a.note, b.note from detail a, detail b where a.id = 1 and b.id = 3",
            &["on dup|source"],
        ),
    ];
    for (sql, expected) in beside {
        assert_eq!(rows(&client.query(sql)), expected, "{sql}");
    }
}

fn changes_read_the_source(client: &mut Connection) {
    let source = "select id, note from uks.detail order by id";
    // What is read for a change lies beside what is changed.
    client.run("update failure set reason = 'y' where detail_id in (select id from detail)");
    client.run("insert into failure select id + 10, id, note from detail where note = 'on dup'");
    let changed = "select id, reason from failure order by id";
    assert_eq!(rows(&client.query(changed)), ["1|y", "2|y", "3|x", "4|y", "11|on dup"]);
    // Changed tables are sources in a join, too.
    client.run(
        "update failure f join detail d on d.id = f.detail_id set d.note = 'joined' \
            where f.id = 3",
    );
    client.run("delete from detail where zip_id in (select id from failure where id = 2)");
    assert_eq!(rows(&client.query(source)), ["1|on dup", "3|joined", "6|source"]);
    let both = "select note from detail d join failure f on f.detail_id = d.id where f.id = 1";
    assert_eq!(rows(&client.query(&format!("{both} for update"))), ["on dup"]);
    assert_eq!(rows(&client.query(both)), ["copy"]);
}
