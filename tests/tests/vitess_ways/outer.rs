//! Groups by a vindex column of the side of an outer join that has NULLs.
use super::{cluster, rows};
use coregate_tests::wire::{Answer, Value};
use coregate_tests::world;

const TABLES: &str = "
create table user (id bigint not null primary key, a int);
create table meta (user_id bigint not null primary key, email varchar(20), col int);
create table taken (id bigint not null primary key, n int);
";

const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}}, "tables": {
    "user": {"column_vindexes": [{"column": "id", "name": "hash"}]},
    "meta": {"column_vindexes": [{"column": "user_id", "name": "hash"}]},
    "taken": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#;

const JOIN: &str = "user u left join meta m on u.id = m.user_id and m.col > 100";

fn cases() -> Vec<(String, Vec<&'static str>)> {
    let join = JOIN;
    vec![
        (
            format!("select m.user_id, count(*) from {join} group by m.user_id order by 1"),
            vec!["NULL|13", "1|1", "3|1"],
        ),
        (format!("select distinct m.user_id from {join} order by 1"), vec!["NULL", "1", "3"]),
        (
            "select m.user_id, count(distinct u.a), max(u.id) from meta m right join user u \
            on u.id = m.user_id and m.col > 1000 group by m.user_id"
                .into(),
            vec!["NULL|4|15"],
        ),
        (
            format!(
                "select m.user_id, m.email, count(*) from {join} group by m.user_id, m.email \
            having count(*) > 1"
            ),
            vec!["NULL|NULL|13"],
        ),
        (
            format!(
                "select * from (select m.user_id x, count(*) c from {join} group by m.user_id) d \
            where c > 1"
            ),
            vec!["NULL|13"],
        ),
        (
            format!(
                "select x, count(*) from (select m.user_id x from {join}) d group by x \
            order by 1 limit 1"
            ),
            vec!["NULL|13"],
        ),
        (
            "select d.user_id, count(*) from user u left join (select user_id from meta \
            where col > 1000) d on d.user_id = u.id group by d.user_id"
                .into(),
            vec!["NULL|15"],
        ),
        (
            "select b.user_id, count(*) from user u left join (meta a join meta b on a.user_id = \
            b.user_id and b.col > 1000) on a.user_id = u.id group by b.user_id"
                .into(),
            vec!["NULL|15"],
        ),
        // The kept side's groups stay on their shards.
        (
            format!(
                "select u.id, count(m.user_id) from {join} where u.id < 3 group by u.id, m.user_id \
            order by 1"
            ),
            vec!["1|1", "2|0"],
        ),
    ]
}

#[test]
fn rows_of_nulls_are_one_group_over_all_shards() {
    let cluster = cluster("outer", &[("test", 4, TABLES, VSCHEMA)]);
    let mut client = cluster.connect_as(world::USER, world::PASSWORD, Some("test"));
    for id in 1..=15 {
        client.run(&format!("insert into user values ({id}, {})", id % 4));
    }
    client.run("insert into meta values (1, 'x', 200), (2, 'y', 5), (3, 'z', 300)");
    for (sql, expected) in &cases() {
        assert_eq!(rows(&client.query(sql)), *expected, "{sql}");
        let prepared = client.prepare(sql).unwrap();
        for _ in 0..2 {
            let answer = client.execute(&prepared, &[] as &[Value]);
            let Answer::Rows { raw, .. } = answer else { panic!("{sql}: {answer:?}") };
            assert_eq!(raw.len(), expected.len(), "{sql}");
        }
    }
    let join = JOIN;
    client.run(&format!(
        "insert into taken select ifnull(m.user_id, 100), count(*) from {join} group by m.user_id"
    ));
    assert_eq!(rows(&client.query("select n from taken where id = 100")), ["13"]);
}
