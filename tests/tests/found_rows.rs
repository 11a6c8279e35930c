//! `FOUND_ROWS()` behind SQL_CALC_FOUND_ROWS over several shards is what one server says.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Connection, Coregate, MariaDb, guard, wire::Value, world};

const TABLE: &str = "create table t (id bigint not null primary key, grp int not null, name \
varchar(20))";

fn rows(conn: &mut Connection, sql: &str) -> Vec<String> {
    let rows = conn.query(sql).rows().into_iter();
    let cell = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".into());
    rows.map(|row| row.into_iter().map(cell).collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn it_counts_the_rows_of_all_shards_without_the_limit() {
    let dir = guard::dir().join("found-rows");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("test.sql"), format!("{TABLE};")).unwrap();
    let vschema = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
        "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#;
    std::fs::write(dir.join("test.json"), vschema).unwrap();
    let dir = dir.to_str().unwrap();
    let local =
        Coregate::local("cluster", &["--keyspace", "test:3", "--schema", dir, "--vschema", dir]);
    let server = MariaDb::start("found-rows", &[]);
    let mut alone = server.connect();
    alone.run(TABLE);
    let mut conn = local.connect_as(world::USER, world::PASSWORD, Some("test"));
    let values: Vec<String> = (1..=40)
        .map(|n| format!("({n}, {}, 'name{}')", n % 7, n % 11))
        .collect();
    for conn in [&mut alone, &mut conn] {
        conn.run(&format!("insert into t values {}", values.join(", ")));
    }
    let both = |alone: &mut Connection, conn: &mut Connection, sql: &str| {
        let expected = (rows(alone, sql), rows(alone, "select found_rows()"));
        assert_eq!((rows(conn, sql), rows(conn, "select found_rows()")), expected, "{sql}");
        // It is told as often as it is asked for, and a query of one row changes it.
        let again = (rows(alone, "select found_rows()"), rows(alone, "select found_rows()"));
        let told = (rows(conn, "select found_rows()"), rows(conn, "select found_rows()"));
        assert_eq!(told, again, "{sql}");
    };
    for sql in [
        "select sql_calc_found_rows id from t order by id limit 3",
        "select sql_calc_found_rows id, name from t order by id desc limit 5, 4",
        "select sql_calc_found_rows id from t where id > 12 order by id limit 2 offset 100",
        "select sql_calc_found_rows id from t order by id",
        "select sql_calc_found_rows id from t order by id limit 0",
        "select sql_calc_found_rows grp, count(*) from t group by grp order by grp limit 2",
        "select sql_calc_found_rows distinct name from t order by name limit 4",
        "select sql_calc_found_rows count(*) from t limit 1",
        "select sql_calc_found_rows id from t where id in (1, 2, 3, 4, 5) order by id limit 2",
        "select sql_calc_found_rows id from t where id = 7 limit 1",
        "select sql_calc_found_rows id from t where id < 9 union all select id from t where id > \
            30 order by id limit 3",
        "select sql_calc_found_rows grp from t union select 99 order by 1 limit 2",
        "select sql_calc_found_rows a.id from t a join t b on b.grp = a.id order by a.id, b.id \
            limit 3",
    ] {
        both(&mut alone, &mut conn, sql);
    }
    let sql = "select sql_calc_found_rows id from t where id > ? order by id limit ?";
    for conn in [&mut alone, &mut conn] {
        let statement = conn.prepare(sql).unwrap();
        for (from, found) in [(10, "30"), (35, "5")] {
            let answer = conn.execute(&statement, &[Value::Int(from), Value::Int(2)]);
            let coregate_tests::Answer::Rows { raw, .. } = answer else { panic!("{answer:?}") };
            assert_eq!(raw.len(), 2);
            assert_eq!(rows(conn, "select found_rows()"), [found]);
        }
    }
    // In a transaction, with its own rows.
    for conn in [&mut alone, &mut conn] {
        conn.run("begin");
        conn.run("insert into t values (100, 1, 'x'), (101, 1, 'x'), (102, 1, 'x')");
        rows(conn, "select sql_calc_found_rows id from t order by id limit 1");
        assert_eq!(rows(conn, "select found_rows()"), ["43"]);
        conn.run("rollback");
    }
}
