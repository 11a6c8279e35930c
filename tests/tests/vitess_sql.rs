//! Statements that Vitess has and MySQL has not: VEXPLAIN, vindexes as tables, hints about
//! vindexes.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::{Answer, Value};
use coregate_tests::{Connection, Coregate, guard, world};
use std::sync::LazyLock;

const SHARDED: &str = "
create table t (id bigint not null primary key, v int, name varchar(20));
create table u (id bigint not null primary key, t_id bigint, w int);
";

const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"},
    "text": {"type": "xxhash"}},
 "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]},
 "u": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#;

static LOCAL: LazyLock<Coregate> = LazyLock::new(|| {
    let dir = guard::dir().join("vitess-sql");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("test.sql"), SHARDED).unwrap();
    std::fs::write(dir.join("test.json"), VSCHEMA).unwrap();
    let dir = dir.to_str().unwrap();
    let local =
        Coregate::local("cluster", &["--keyspace", "test:2", "--schema", dir, "--vschema", dir]);
    let mut conn = local.connect_as(world::USER, world::PASSWORD, Some("test"));
    conn.run(
        "insert into t values (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c'), (4, 40, 'd'), (5, 50, 'e')",
    );
    conn.run("insert into u values (1, 5, 1), (2, 4, 2), (3, 3, 3)");
    local
});

fn connect() -> Connection {
    LOCAL.connect_as(world::USER, world::PASSWORD, Some("test"))
}

fn rows(answer: &Answer) -> Vec<String> {
    let rows = answer.rows().into_iter();
    rows.map(|row| {
        let cells = row
            .into_iter()
            .map(|cell| cell.unwrap_or_else(|| "NULL".into()));
        cells.collect::<Vec<_>>().join("|")
    })
    .collect()
}

#[test]
fn vindexes_tell_where_values_lie() {
    let mut conn = connect();
    let answer =
        conn.query("select id, hex_keyspace_id, range_end, shard from hash where id in (1, 4)");
    assert_eq!(rows(&answer)[0], "1|166b40b44aba4bd6|\u{fffd}|-80");
    assert_eq!(rows(&answer).len(), 2);
    let statement = conn
        .prepare("select shard, id as value from test.hash where id = ?")
        .unwrap();
    let Answer::Rows { columns, raw, .. } = conn.execute(&statement, &[Value::Int(1)]) else {
        panic!("rows")
    };
    assert_eq!(columns[1].name, "value");
    assert!(raw[0].windows(3).any(|w| w == b"-80"), "{raw:?}");
    assert_eq!(
        rows(&conn.query("select hex_keyspace_id from text where id = 'abc'")),
        ["990977adf52cbc44"]
    );
    assert_eq!(conn.query("select id from hash where id > 1").error().code, 1235);
    assert_eq!(
        conn.query("select nothing from hash where id = 1")
            .error()
            .code,
        1054
    );
}

#[test]
fn vexplain_runs_a_query_and_tells_what_went_where() {
    let mut conn = connect();
    let one = rows(&conn.query("vexplain queries select name from t where id = 1"));
    assert_eq!(one, ["0|test|-80|select name from t where id = 1"]);
    let all = rows(&conn.query("vexplain queries select name from t order by name limit 2"));
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|row| row.starts_with("0|test|")), "{all:?}");
    let joined = "select t.name, u.w from t join u on u.t_id = t.id where t.v > 20";
    let finished = rows(&conn.query(&format!("vexplain queries {joined}")));
    assert_eq!(finished.len(), 5, "{finished:?}");
    let trace = conn.value(&format!("vexplain trace {joined}")).unwrap();
    assert!(trace.contains("\"RowsReturned\": 3") && trace.contains("\"Rows\":"), "{trace}");
    let explained = conn
        .value("vexplain all select name from t where id = 1")
        .unwrap();
    assert!(
        explained.contains("mysql_explain_json") && explained.contains("query_block"),
        "{explained}"
    );
    assert!(
        conn.value("vexplain plan select name from t where id = 1")
            .unwrap()
            .contains("EqualUnique")
    );
    assert!(
        conn.value("explain format=vitess select name from t where id = 1")
            .unwrap()
            .contains("EqualUnique")
    );
    let keys = conn
        .value(
            "vexplain keys select t.name, max(u.w) from t join u on u.t_id = t.id \
        where t.v > 20 and t.id in (1, 2) group by t.name",
        )
        .unwrap();
    let keys: String = keys.split_whitespace().collect();
    assert!(keys.contains("\"filterColumns\":[\"t.idin\",\"t.v>\"]"), "{keys}");
    assert!(
        keys.contains("\"joinColumns\":[\"t.id=\",\"u.t_id=\"]")
            && keys.contains("\"groupingColumns\":[\"t.name\"]"),
        "{keys}"
    );
    // Nothing is changed by asking.
    assert!(conn.query("vexplain queries delete from t").is_error());
    assert_eq!(conn.value("select count(*) from t").unwrap(), "5");
}

#[test]
fn hints_say_which_vindexes_may_be_used() {
    let mut conn = connect();
    assert_eq!(rows(&conn.query("select name from t ignore vindex (hash) where id = 2")), ["b"]);
    assert_eq!(
        rows(&conn.query("vexplain queries select name from t ignore vindex (hash) where id = 2"))
            .len(),
        2
    );
    assert_eq!(
        rows(
            &conn
                .query("vexplain queries select name from t as x use vindex (hash) where x.id = 2")
        )
        .len(),
        1
    );
}

#[test]
fn table_status_adds_up_the_shards() {
    let mut conn = connect();
    let status = rows(&conn.query("show table status"));
    assert_eq!(status.len(), 2, "{status:?}");
    let t = conn.query("show table status like 't'").rows();
    assert_eq!((t.len(), t[0][4].as_deref()), (1, Some("5")));
    let statement = conn
        .prepare("show table status from test like 'u'")
        .unwrap();
    let Answer::Rows { raw, columns, .. } = conn.execute(&statement, &[]) else { panic!("rows") };
    assert_eq!((raw.len(), columns[4].name.as_str()), (1, "Rows"));
}

/// Set as Vitess's clients do, and read again; two of them are limits.
#[test]
fn vitess_variables_are_set_and_read() {
    let mut conn = connect();
    for (name, before, set, after) in [
        ("transaction_mode", "MULTI", "'twopc'", "TWOPC"),
        ("workload", "UNSPECIFIED", "olap", "OLAP"),
        ("ddl_strategy", "direct", "'online'", "online"),
        ("skip_query_plan_cache", "0", "true", "1"),
        ("query_timeout", "0", "300", "300"),
        ("transaction_timeout", "0", "60000", "60000"),
    ] {
        let read = format!("select @@{name}");
        assert_eq!(conn.value(&read).as_deref(), Some(before), "{name}");
        conn.run(&format!("set {name} = {set}"));
        assert_eq!(conn.value(&read).as_deref(), Some(after), "{name}");
        assert_eq!(conn.value(&format!("select @@session.{name}")).as_deref(), Some(after));
    }
    assert_eq!(conn.query("set query_timeout = 'soon'").error().code, 1231);
    assert_eq!(conn.query("select sleep(30) from t").error().code, 3024);
    conn.run("set query_timeout = default");
    assert_eq!(conn.value("select @@query_timeout").as_deref(), Some("0"));
    // A statement that is skipped whole is done.
    conn.run("/*!99999 set @a = 1 */");
    conn.run("/*M!999999 set @a = 1 */;");
}

/// The value of a shard where a row was met, whichever shard answers last.
#[test]
fn last_insert_id_of_an_expression_comes_from_where_rows_are() {
    let mut conn = connect();
    for (sql, wanted) in [
        ("select last_insert_id(22), id from t where v = 10", "22"),
        ("select last_insert_id(23) from t where v = 40 order by id limit 1", "23"),
        ("select v, last_insert_id(24) from t where v = 40 group by v", "24"),
        ("update u set w = last_insert_id(w + 25) where w = 2", "27"),
        ("select last_insert_id(26) from t join u on u.t_id = t.v or u.w = 27", "26"),
    ] {
        conn.run("select last_insert_id(7)");
        let answer = conn.query(sql);
        assert!(!answer.is_error(), "{sql}: {answer:?}");
        assert_eq!(conn.value("select last_insert_id()").as_deref(), Some(wanted), "{sql}");
    }
    conn.run("update u set w = 2 where w = 27");
}

/// Rows that an outer join fills with NULLs lie where the kept rows do, on every shard.
#[test]
fn groups_of_columns_that_an_outer_join_fills_are_merged() {
    let mut conn = connect();
    for (sql, wanted) in [
        (
            "select u.id, count(*) from t left join u on u.id = t.id group by u.id order by 1",
            &["NULL|2", "1|1", "2|1", "3|1"][..],
        ),
        ("select distinct x.id from u x right join t on x.id = t.id and x.w > 5", &["NULL"]),
        (
            "select d.i, count(*) from \
             (select u.id i from t left join u on u.id = t.id and u.w > 9) d \
          group by d.i",
            &["NULL|5"],
        ),
    ] {
        assert_eq!(rows(&conn.query(sql)), wanted, "{sql}");
    }
}

/// A client's XA transaction is one server's: what it writes elsewhere would be lost.
#[test]
fn xa_transactions_of_clients_stay_on_their_shard() {
    let mut conn = connect();
    conn.run("use `test:-80`");
    conn.run("xa start 'own'");
    conn.run("update t set v = v where id = 1");
    conn.run("use `test:80-`");
    assert_eq!(conn.query("update t set v = 1 where id = 4").error().code, 1235);
    conn.run("use `test:-80`");
    conn.run("xa end 'own'");
    conn.run("xa rollback 'own'");
    conn.run("use `test:80-`");
    conn.run("update t set name = 'x' where id = 4");
    drop(conn);
    let mut conn = connect();
    assert_eq!(conn.value("select name from t where id = 4").as_deref(), Some("x"));
    conn.run("update t set name = 'd' where id = 4");
}
