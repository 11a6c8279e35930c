//! Answers of several shards become one: rows pass in the buffers that they came in, whatever their
//! size.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::{Connection, Value};
use coregate_tests::{Coregate, wait_until};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

const MIB: usize = 1 << 20;

static COREGATE: LazyLock<Coregate> = LazyLock::new(|| {
    let coregate = Coregate::local("scatter", &["--keyspace", "s:4", "--cores", "1"]);
    let mut conn = connect(&coregate);
    for (table, kind) in [("sizes", "longtext"), ("big", "longtext")] {
        conn.run(&format!("CREATE TABLE {table} (id BIGINT PRIMARY KEY, v {kind})"));
        conn.run(&format!("ALTER VSCHEMA ON s.{table} ADD VINDEX hash(id) USING hash"));
    }
    coregate
});

fn connect(coregate: &Coregate) -> Connection {
    coregate.connect_as("app", "app", Some("s"))
}

fn text(id: usize, len: usize) -> String {
    let letter = char::from(b'a' + u8::try_from(id % 26).unwrap());
    String::from(letter).repeat(len)
}

/// Lengths around those of buffers and of what a length takes, so that headers are cut in every
/// way.
#[test]
fn rows_of_every_size_come_through() {
    let mut conn = connect(&COREGATE);
    let mut want = BTreeMap::new();
    let mut rows = Vec::new();
    for id in 1..=1200usize {
        let len = match id % 6 {
            0 => id % 7,
            1 => 240 + id % 20,
            2 => 8180 + id % 24,
            3 => 30 + id % 400,
            4 => 2000 + id,
            _ => 65_500 + id % 60,
        };
        want.insert(id, text(id, len));
        rows.push(format!("({id}, '{}')", text(id, len)));
        if rows.len() == 40 {
            conn.run(&format!("INSERT INTO sizes VALUES {}", rows.join(",")));
            rows.clear();
        }
    }
    for sql in ["SELECT id, v FROM sizes", "SELECT id, v FROM sizes WHERE id > 0"] {
        let answer = conn.query(sql);
        let rows = answer.rows();
        assert_eq!(rows.len(), want.len());
        for row in &rows {
            let id: usize = row[0].as_deref().unwrap().parse().unwrap();
            assert_eq!(row[1].as_ref(), want.get(&id), "row {id}");
        }
    }
    // No rows at all, rows of some shards, an error in place of rows, and the connection goes on.
    assert_eq!(
        conn.query("SELECT v FROM sizes WHERE v = 'no such'")
            .rows()
            .len(),
        0
    );
    assert_eq!(
        conn.query("SELECT id FROM sizes WHERE id IN (1, 2, 3, 4)")
            .rows()
            .len(),
        4
    );
    assert!(
        conn.query("SELECT id FROM sizes WHERE id < 9 AND v = (SELECT 1 UNION SELECT 2)")
            .is_error()
    );
    // Prepared, and two statements in one packet.
    let statement = conn
        .prepare("SELECT id, v FROM sizes WHERE id > ?")
        .unwrap();
    let answer = conn.execute(&statement, &[Value::Int(0)]);
    let coregate_tests::Answer::Rows { raw, .. } = &answer else { panic!("{answer:?}") };
    assert_eq!(raw.len(), want.len());
    let answers = conn
        .try_query("SELECT id FROM sizes; SELECT id FROM sizes")
        .unwrap();
    assert_eq!(answers.iter().map(|a| a.rows().len()).collect::<Vec<_>>(), [1200, 1200]);
}

/// Rows that are longer than a packet can be, also one that begins like an end, between others; the
/// connection goes on.
#[test]
fn rows_of_several_chunks_come_through() {
    let mut conn = connect(&COREGATE);
    conn.run("INSERT INTO big VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e'), (6, 'f')");
    // 16,777,215 is where a second chunk begins; a length of nine bytes begins with 0xFE.
    for len in [16_777_210, 16_777_211, 17_000_000, 34_000_000] {
        let sql = format!("SELECT repeat(v, if(id % 2, {len}, 3)), id FROM big");
        let rows = conn.query(&sql).rows();
        assert_eq!(rows.len(), 6);
        for row in &rows {
            let id: usize = row[1].as_deref().unwrap().parse().unwrap();
            let want = if id % 2 == 1 { len } else { 3 };
            assert_eq!(row[0].as_ref().map(String::len), Some(want), "row {id}");
        }
    }
    let answers = conn
        .try_query("SELECT repeat(v, 17000000) FROM big WHERE id IN (1, 4); SELECT id FROM big")
        .unwrap();
    assert_eq!(answers.iter().map(|a| a.rows().len()).collect::<Vec<_>>(), [2, 6]);
}

/// A gibibyte for a client that stops reading now and then: no more than a few buffers wait for it.
#[test]
fn memory_stays_flat_for_a_slow_client() {
    let coregate = Coregate::local("scatter-memory", &["--keyspace", "s:2", "--cores", "1"]);
    let mut conn = connect(&coregate);
    conn.run("CREATE TABLE big (id BIGINT PRIMARY KEY, v longtext)");
    conn.run("ALTER VSCHEMA ON s.big ADD VINDEX hash(id) USING hash");
    for id in 1..=64 {
        conn.run(&format!("INSERT INTO big VALUES ({id}, repeat('{}', {MIB}))", text(id, 1)));
    }
    let before = coregate.process.rss_kib();
    conn.send_command(3, b"SELECT repeat(v, 15) FROM big")
        .unwrap();
    let (mut most, mut bytes, mut packets) = (0, 0, 0);
    while bytes < 64 * 15 * MIB {
        let packet = conn.packet().unwrap();
        bytes += if packet.len() > MIB { packet.len() } else { 0 };
        packets += 1;
        if packets % 16 == 0 {
            std::thread::sleep(Duration::from_millis(300));
        }
        most = most.max(coregate.process.rss_kib());
    }
    assert!(most < before + (24 << 10), "{before} KiB before, {most} KiB at most");
    let _end = conn.packet().unwrap();
    wait_until("the client's next statement is answered", || conn.ping());
}

/// Before any row, and between the rows of one shard and those of the next; the connection goes on.
#[test]
fn a_statement_that_takes_too_long_is_told_so() {
    let mut conn = connect(&COREGATE);
    conn.run("CREATE TABLE slow (id BIGINT PRIMARY KEY)");
    conn.run("ALTER VSCHEMA ON s.slow ADD VINDEX hash(id) USING hash");
    conn.run("INSERT INTO slow (id) VALUES (1), (2), (3), (4), (5), (6), (7), (8)");
    for sql in [
        "select /*vt+ QUERY_TIMEOUT_MS=200 */ id, sleep(100) from slow",
        "select /*vt+ QUERY_TIMEOUT_MS=200 */ id, repeat('x', 100000), if(id = 4, sleep(100), 0) \
            from slow",
    ] {
        assert_eq!(conn.query(sql).error().code, 3024, "{sql}");
        assert_eq!(conn.query("select id from slow").rows().len(), 8);
        let prepared = conn.prepare(sql).unwrap();
        assert_eq!(conn.execute(&prepared, &[]).error().code, 3024, "prepared: {sql}");
        assert!(conn.ping());
    }
}

/// DDL that has reached one shard only: the other shards' rows are not put under its columns.
#[test]
fn rows_of_other_columns_are_refused() {
    let mut conn = connect(&COREGATE);
    conn.run("CREATE TABLE unlike (id BIGINT PRIMARY KEY, a INT, b VARCHAR(20), c INT)");
    conn.run("ALTER VSCHEMA ON s.unlike ADD VINDEX hash(id) USING hash");
    let rows: Vec<String> = (1..=40)
        .map(|n| format!("({n}, {n}, 'b{n}', -{n})"))
        .collect();
    conn.run(&format!("INSERT INTO unlike VALUES {}", rows.join(",")));
    let texts = [
        "SELECT * FROM unlike",
        "SELECT * FROM unlike WHERE a > 1 LIMIT 30",
        "SELECT * FROM unlike ORDER BY id",
    ];
    for change in ["MODIFY b VARCHAR(20) FIRST", "MODIFY a INT AFTER c", "ADD d INT", "DROP c"] {
        for shard in ["-40", "c0-"] {
            conn.run(&format!("USE `s:{shard}`"));
            conn.run(&format!("ALTER TABLE unlike {change}"));
            conn.run("USE s");
            let prepared = conn.prepare(texts[0]);
            for text in texts {
                let answer = conn.query(text);
                assert!(
                    answer.is_error() && answer.error().code == 1105,
                    "{change}; {text}: {answer:?}"
                );
            }
            if let Ok(prepared) = prepared {
                assert!(conn.execute(&prepared, &[]).is_error(), "{change}");
            }
            assert_eq!(
                conn.query("SELECT id, a FROM unlike WHERE a > 0")
                    .rows()
                    .len(),
                40,
                "{change}"
            );
            conn.run(&format!("USE `s:{shard}`"));
            conn.run("DROP TABLE unlike");
            conn.run("CREATE TABLE unlike (id BIGINT PRIMARY KEY, a INT, b VARCHAR(20), c INT)");
            conn.run("USE s");
            conn.run("DELETE FROM unlike");
            conn.run(&format!("INSERT INTO unlike VALUES {}", rows.join(",")));
        }
    }
    conn.run("DROP TABLE unlike");
}

/// A request of several chunks is answered from the next sequence id on, by every server and to the
/// client.
#[test]
fn requests_of_several_chunks_are_answered_in_order() {
    let mut conn = connect(&COREGATE);
    conn.run("CREATE TABLE huge (id BIGINT PRIMARY KEY, v LONGTEXT)");
    conn.run("ALTER VSCHEMA ON s.huge ADD VINDEX hash(id) USING hash");
    conn.run("BEGIN");
    for (id, len) in [(1usize, 17 * MIB), (2, 34 * MIB), (3, (1 << 24) - 60)] {
        let huge = text(id, len);
        conn.run(&format!(
            "INSERT INTO huge VALUES ({id}, '{huge}'), ({}, 'a'), ({}, 'b')",
            id + 10,
            id + 20
        ));
        assert_eq!(
            conn.value(&format!("SELECT id FROM huge WHERE v = '{huge}' ORDER BY id")),
            Some(id.to_string())
        );
        let sql = format!("SELECT id FROM huge WHERE v = '{huge}' OR id = ? ORDER BY id");
        let prepared = conn.prepare(&sql).unwrap();
        assert!(!conn.execute(&prepared, &[Value::Int(-1)]).is_error());
        conn.close_statement(&prepared);
        let long = conn.prepare("SELECT id FROM huge WHERE v = ?").unwrap();
        assert!(
            !conn
                .execute(&long, &[Value::Bytes(huge.clone().into_bytes())])
                .is_error()
        );
        // What the session answers by itself.
        assert_eq!(
            conn.query(&format!("SELECT nosuch FROM huge WHERE v = '{huge}'"))
                .error()
                .code,
            1054
        );
        assert_eq!(
            conn.query(&format!("USE `nosuch` /* {huge} */"))
                .error()
                .code,
            1049
        );
        assert!(conn.ping());
    }
    conn.run("COMMIT");
    assert_eq!(conn.value("SELECT COUNT(*) FROM huge").as_deref(), Some("9"));
    conn.run("DROP TABLE huge");
}
