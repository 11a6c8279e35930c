//! What a session selects, and what a statement's comment says of itself: some of a keyspace's
//! shards, a label, a priority.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::{Connection, Value};
use coregate_tests::{Coregate, wait_until};
use std::sync::LazyLock;

static COREGATE: LazyLock<Coregate> = LazyLock::new(|| {
    Coregate::local("targets", &["--keyspace", "s:4", "--keyspace", "lone", "--cores", "1"])
});

fn connect(target: &str) -> Connection {
    COREGATE.connect_as("app", "app", Some(target))
}

/// A table of its own with a row for each of 200 ids.
fn table(name: &str) {
    let mut conn = connect("s");
    conn.run(&format!("CREATE TABLE {name} (id BIGINT PRIMARY KEY, n INT, name VARCHAR(20))"));
    conn.run(&format!("ALTER VSCHEMA ON s.{name} ADD VINDEX hash(id) USING hash"));
    let rows: Vec<String> = (1..=200)
        .map(|id| format!("({id},{},'n{}')", id % 7, id % 11))
        .collect();
    conn.run(&format!("INSERT INTO {name} VALUES {}", rows.join(",")));
}

fn ids(conn: &mut Connection, sql: &str) -> Vec<u64> {
    let rows = conn.run(sql).rows();
    let number = |row: &Vec<Option<String>>| row[0].as_ref().unwrap().parse().unwrap();
    rows.iter().map(number).collect()
}

/// The ids that lie on these shards, in their order.
fn on(table: &str, shards: &[&str]) -> Vec<u64> {
    let each = shards
        .iter()
        .map(|shard| ids(&mut connect(&format!("s:{shard}")), &format!("SELECT id FROM {table}")));
    let mut all: Vec<u64> = each.flatten().collect();
    all.sort_unstable();
    assert!(!all.is_empty());
    all
}

#[test]
fn a_range_of_shards_shows_what_lies_there() {
    table("seen");
    let middle = on("seen", &["40-80", "80-c0"]);
    let mut conn = connect("s[40-c0]");
    assert_eq!(ids(&mut conn, "SELECT id FROM seen ORDER BY id"), middle);
    let top: Vec<u64> = middle.iter().rev().skip(2).take(5).copied().collect();
    assert_eq!(ids(&mut conn, "SELECT id FROM seen ORDER BY id DESC LIMIT 2, 5"), top);
    let count = middle.len().to_string();
    assert_eq!(conn.value("SELECT COUNT(*) FROM seen"), Some(count.clone()));
    assert_eq!(
        conn.value("SELECT COUNT(DISTINCT a.id) FROM seen a JOIN seen b ON a.id = b.id"),
        Some(count)
    );
    let joined = "SELECT a.id FROM seen a JOIN seen b ON a.id = b.id + 1 ORDER BY a.id";
    let wanted: Vec<u64> = middle
        .iter()
        .copied()
        .filter(|id| middle.contains(&(id - 1)))
        .collect();
    assert_eq!(ids(&mut conn, joined), wanted);
    // A row that lies elsewhere is not there, and one that lies there is, however it is asked for.
    let elsewhere = on("seen", &["-40", "c0-"]);
    for (id, there) in [(middle[0], true), (elsewhere[0], false)] {
        let wanted = if there { vec![id] } else { vec![] };
        assert_eq!(ids(&mut conn, &format!("SELECT id FROM seen WHERE id = {id}")), wanted);
        let statement = conn.prepare("SELECT id FROM seen WHERE id = ?").unwrap();
        let answer = conn.execute(&statement, &[Value::Int(id as i64)]);
        let coregate_tests::Answer::Rows { raw, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(raw.len(), usize::from(there), "{id}");
        conn.run("PREPARE p FROM 'SELECT id FROM seen WHERE id = ?'");
        conn.run(&format!("SET @id = {id}"));
        assert_eq!(ids(&mut conn, "EXECUTE p USING @id"), wanted);
    }
    // The same session with all of them, and with others.
    conn.run("USE `s[-]`");
    assert_eq!(ids(&mut conn, "SELECT id FROM seen").len(), 200);
    conn.run("USE `s[80-]`");
    assert_eq!(ids(&mut conn, "SELECT id FROM seen ORDER BY id"), on("seen", &["80-c0", "c0-"]));
    let error = conn.query("USE `s[30-80]`");
    assert!(
        error
            .error()
            .message
            .contains("does not exactly match shards"),
        "{error:?}"
    );
}

#[test]
fn a_range_of_shards_changes_what_lies_there() {
    table("changed");
    let (there, elsewhere) = (on("changed", &["-40", "40-80"]), on("changed", &["80-c0", "c0-"]));
    let mut conn = connect("s[-80]");
    conn.run("BEGIN");
    let answer = conn.run("UPDATE changed SET n = 100");
    assert!(matches!(answer, coregate_tests::Answer::Ok { affected,
            .. } if affected == there.len() as u64));
    conn.run("COMMIT");
    let mut whole = connect("s");
    assert_eq!(ids(&mut whole, "SELECT id FROM changed WHERE n = 100 ORDER BY id"), there);
    for sql in [
        "INSERT INTO changed VALUES (1000, 1, 'a')",
        "REPLACE INTO changed VALUES (1000, 1, 'a')",
        "INSERT INTO changed SELECT id + 1000, n, name FROM changed",
    ] {
        let error = conn.query(sql);
        let error = error.error();
        assert_eq!(error.code, 1105, "{sql}: {error:?}");
        assert!(
            error
                .message
                .starts_with("VT03023: INSERT not supported when targeting a key range: s[-80]")
        );
    }
    for sql in [
        "CREATE TABLE not_here (id INT)",
        "DROP TABLE changed",
        "TRUNCATE changed",
        "LOCK TABLES changed WRITE",
        "DELETE FROM changed ORDER BY id LIMIT 3",
        "UPDATE changed SET id = id + 1000",
    ] {
        assert_eq!(conn.query(sql).error().code, 1235, "{sql}");
    }
    assert_eq!(ids(&mut whole, "SELECT id FROM changed").len(), 200);
    conn.run("DELETE FROM changed");
    assert_eq!(ids(&mut whole, "SELECT id FROM changed ORDER BY id"), elsewhere);
}

/// The label stands beside a statement's numbers; statements with different ones are counted apart.
#[test]
fn statements_are_counted_under_their_workload_s_name() {
    table("labelled");
    let mut conn = connect("s");
    let counts = |workload: &str| -> u64 {
        let plans: serde_json::Value =
            serde_json::from_str(&COREGATE.admin("/queryz?format=json")).unwrap();
        let of = |p: &&serde_json::Value| {
            let query = p["Query"].as_str().unwrap();
            query.contains("COUNT(*) FROM labelled") && p["Workload"].as_str() == Some(workload)
        };
        let all = plans.as_array().unwrap().iter();
        all.filter(of).map(|p| p["Count"].as_u64().unwrap()).sum()
    };
    // A change of tables by another test empties the cores' plans, and the counts with them.
    let mut n = 0;
    wait_until("all are counted", || {
        n += 1;
        let (nightly, web) = (format!("nightly{n}"), format!("web{n}"));
        for label in [&nightly, &nightly, &web] {
            conn.run(&format!(
                "SELECT /*vt+ WORKLOAD_NAME={label} PRIORITY=80 */ COUNT(*) FROM labelled"
            ));
        }
        (counts(&nightly), counts(&web)) == (2, 1)
    });
    for sql in [
        "SELECT /*vt+ PRIORITY=101 */ 1",
        "INSERT /*vt+ PRIORITY=x */ INTO labelled VALUES (900, 1, 'a')",
    ] {
        let error = conn.query(sql);
        assert!(
            error
                .error()
                .message
                .starts_with("Invalid priority value specified in query"),
            "{error:?}"
        );
    }
    assert!(ids(&mut conn, "SELECT id FROM labelled WHERE id = 900").is_empty());
}

/// Rows can be written as soon as the table is there.
#[test]
fn a_new_table_s_comment_gives_it_its_vindex() {
    let mut conn = connect("s");
    for (table, comment) in
        [("by_type", "vindex=xxhash(id)"), ("by_name", "of the day; vindex=xxhash(id)")]
    {
        let sql = format!(
            "CREATE TABLE {table} (id BIGINT PRIMARY KEY, n INT COMMENT 'vindex=hash(n)') COMMENT \
                = '{comment}'"
        );
        conn.run(&sql);
        let rows: Vec<String> = (1..=40).map(|id| format!("({id},{id})")).collect();
        conn.run(&format!("INSERT INTO {table} VALUES {}", rows.join(",")));
        assert_eq!(ids(&mut conn, &format!("SELECT id FROM {table} WHERE id = 7")), [7]);
        assert!(on(table, &["-40"]).len() < 40);
        let again = sql.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS");
        conn.run(&again);
        let other = again.replace("xxhash(id)", "xxhash(n)");
        assert_eq!(conn.query(&other).error().code, 1235);
    }
    let error = conn.query("CREATE TABLE wrong (id BIGINT) COMMENT 'vindex=nothing(id)'");
    assert!(
        error
            .error()
            .message
            .contains("write it as vindex=type(column)"),
        "{error:?}"
    );
    assert_eq!(conn.query("SELECT * FROM wrong").error().code, 1146);
    // Without one: it is there, and says what it lacks.
    conn.run("CREATE TABLE bare (id BIGINT)");
    let error = conn.query("INSERT INTO bare VALUES (1)");
    let message = &error.error().message;
    assert!(message.contains("ALTER VSCHEMA ON s.bare ADD VINDEX"), "{message}");
    // In a keyspace that is not sharded it is a comment.
    let mut lone = connect("lone");
    lone.run("CREATE TABLE t (id BIGINT) COMMENT 'vindex=hash(id)'");
    lone.run("INSERT INTO t VALUES (1)");
}

/// A range of one shard is a range: a row that is put there must be asked where it belongs.
#[test]
fn a_range_of_one_shard_takes_no_rows() {
    table("ranged");
    let before = on("ranged", &["-40"]);
    let mut conn = connect("s[-40]");
    assert_eq!(ids(&mut conn, "SELECT id FROM ranged ORDER BY id"), before);
    for sql in [
        "INSERT INTO ranged (id, n) VALUES (9001, 1)",
        "INSERT INTO ranged (id, n) VALUES (9001, 1), (9002, 1), (9003, 1), (9004, 1)",
        "REPLACE INTO ranged (id, n) VALUES (1, 1)",
        "INSERT INTO ranged SELECT id + 9000, n, name FROM ranged",
        "INSERT INTO ranged (id, n) VALUES (9001, 1) ON DUPLICATE KEY UPDATE n = 2",
        "EXECUTE IMMEDIATE 'INSERT INTO ranged (id, n) VALUES (9001, 1)'",
    ] {
        assert!(conn.query(sql).is_error(), "{sql}");
        assert!(conn.prepare(sql).is_err(), "prepared: {sql}");
        let named = conn.query(&format!("PREPARE p FROM '{}'", sql.replace('\'', "''")));
        assert!(named.is_error() || conn.query("EXECUTE p").is_error(), "by name: {sql}");
    }
    assert_eq!(
        conn.query("INSERT INTO ranged (id, n) VALUES (9001, 1)")
            .error()
            .message
            .split(':')
            .next(),
        Some("VT03023")
    );
    assert_eq!(on("ranged", &["-40"]), before);
    conn.run("UPDATE ranged SET n = 77 WHERE id > 0");
    conn.run("USE `s:-40`");
    conn.run("INSERT INTO ranged (id, n) VALUES (9001, 1)");
}
