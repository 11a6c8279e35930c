//! Nothing that a client sends can do harm: no panic, no deep recursion, no key of the cache for
//! two meanings.
#![allow(clippy::unwrap_used)]
mod support;

use coregate_planner::error::PlanError;
use coregate_planner::fingerprint::{Fingerprint, SqlMode, second_statement};
use coregate_planner::fuzz::DEPTH_MAX;
use coregate_planner::route::SessionContext;
use proptest::prelude::*;
use support::*;

/// Plans on a small stack, as a core may have.
fn on_small_stack(sql: String) -> Result<(), PlanError> {
    std::thread::Builder::new()
        .stack_size(if cfg!(debug_assertions) { 2048 } else { 512 } * 1024)
        .spawn(move || plan_sql(&snapshot(), &SessionContext::default(), &sql).map(drop))
        .unwrap()
        .join()
        .unwrap()
}

/// What is read in one way, then in another, at each of many levels ends none the less.
#[test]
fn alternatives_within_alternatives_end() {
    let rows = format!("select {}1{}", "(".repeat(40), ",2)".repeat(40));
    let joins = format!(
        "select * from {}customer{}",
        "(customer a join customer b join ".repeat(30),
        ")".repeat(30)
    );
    let derived = format!(
        "select * from {}select 1{}",
        "((select * from ".repeat(25),
        ") d join x)".repeat(25)
    );
    for sql in [rows, joins, derived] {
        let session = SessionContext::default();
        let _ = plan_sql(&snapshot(), &session, &sql);
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |open: &str, inner: &str, close: &str, n: usize| {
        format!(
            "SELECT name FROM customer WHERE id = 1 AND {}{inner}{}",
            open.repeat(n),
            close.repeat(n)
        )
    };
    for (open, inner, close) in [
        ("(", "1", ")"),
        ("NOT ", "1", ""),
        ("-", "1", ""),
        ("!", "1", ""),
        ("f(", "1", ")"),
        ("CASE WHEN 1 THEN ", "1", " END"),
        ("(SELECT 1 FROM customer c WHERE c.id = 1 AND ", "1", ")"),
        ("EXISTS (SELECT * FROM (SELECT 1 AS a) d WHERE ", "1", ")"),
        ("1 IN (1, a, ", "1", ")"),
        ("1 BETWEEN 1 AND ", "1", ""),
        ("@a := ", "1", ""),
        ("INTERVAL ", "1", " DAY + 1"),
    ] {
        let deep = on_small_stack(nested(open, inner, close, 20_000));
        // A run of prefixes nests nothing.
        let flat = matches!(open, "NOT " | "-" | "!");
        assert!(flat || matches!(deep, Err(PlanError::TooDeep(_))), "{open}: {deep:?}");
        let _ = on_small_stack(nested(open, inner, close, DEPTH_MAX - 5));
        let _ = on_small_stack(nested(open, inner, close, DEPTH_MAX / 3));
    }
    let tables = format!("SELECT 1 FROM {}customer{}", "(".repeat(20_000), ")".repeat(20_000));
    assert!(matches!(on_small_stack(tables), Err(PlanError::TooDeep(_))));
    let queries = format!("{}SELECT 1{}", "(".repeat(20_000), ")".repeat(20_000));
    // Not a query that the grammar knows, so it may be sent on whole.
    let _ = on_small_stack(queries);
    let explains = format!("{}SELECT 1", "EXPLAIN ".repeat(20_000));
    assert!(on_small_stack(explains).is_err());
    // Long is not deep.
    let wide =
        format!("SELECT name FROM customer WHERE id = 1 {}", "AND name + 1 = 2 ".repeat(3_000));
    assert!(on_small_stack(wide).is_ok());
    let union =
        format!("SELECT id FROM customer {}", "UNION ALL SELECT id FROM customer ".repeat(150));
    assert!(on_small_stack(union).is_ok());
}

#[test]
fn what_the_fingerprint_makes_of_texts() {
    for (sql, norm) in [
        ("SELECT  1,\n-- x\n 'a' /* c */ FROM t # end", "SELECT ?, ? FROM t"),
        (
            "SELECT * FROM t WHERE a=-5 AND b IN (1, -2,'x') AND c = ?",
            "SELECT * FROM t WHERE a=? AND b IN (?...) AND c = :p",
        ),
        (
            "SELECT a-5, 5-3 FROM t ORDER BY 1, b DESC, 3 LIMIT 5,6",
            "SELECT a-?, ?-? FROM t ORDER BY 1, b DESC, 3 LIMIT ?,?",
        ),
        (
            "INSERT INTO t VALUES (1,'a'), (-2, NULL) ON DUPLICATE KEY UPDATE a=5",
            "INSERT INTO t VALUES (?,?),... ON DUPLICATE KEY UPDATE a=?",
        ),
        ("INSERT INTO t VALUES (1,NOW()),(2,'b')", "INSERT INTO t VALUES (?,NOW()),(?,?)"),
        (
            "SELECT 1e5, .5, 1., 0x4F, x'4f', b'01', N'a', _utf8'a', _latin1'a', _latin2  0x4f, \
                _binary x'4f', _gbk b'1', _a 'b'",
            "SELECT ?, ?, ?, ?, ?, ?, ?, ?, _latin1'a', _latin2  0x4f, _binary x'4f', _gbk b'1', \
                _a ?",
        ),
        (
            "SELECT a.1b, 1b, `a``b`, @a, @'x y', @@session.sql_mode FROM t1",
            "SELECT a.1b, 1b, `a``b`, @a, @'x y', @@session.sql_mode FROM t1",
        ),
        ("SELECT 'it''s', 'a\\'b', \"q\"", "SELECT ?, ?, ?"),
        (
            "SELECT /*+ MAX_EXECUTION_TIME(5) */ a /*!40001 b */ FROM t",
            "SELECT /*+ MAX_EXECUTION_TIME(5) */ a /*!40001 b */ FROM t",
        ),
        ("SELECT 5--1", "SELECT ?-?"),
        ("SET a = 5", "SET a = 5"),
        ("SELECT 1; SELECT 2", "SELECT ?"),
    ] {
        let mut fingerprint = Fingerprint::new();
        fingerprint.read(sql.as_bytes(), SqlMode::empty()).unwrap();
        assert_eq!(String::from_utf8_lossy(&fingerprint.norm), norm, "{sql}");
    }
    let mut fingerprint = Fingerprint::new();
    let mut read = |sql: &[u8]| {
        fingerprint.read(sql, SqlMode::empty()).unwrap();
        (fingerprint.end, fingerprint.more)
    };
    // Servers cut `;` and white space off; a comment is another, empty statement.
    assert_eq!(read(b"SELECT 1; ;\n"), (8, false));
    assert_eq!(read(b"SELECT 1; -- x\n"), (8, true));
    assert_eq!(read(b"SELECT 1\0"), (8, false));
    assert_eq!(read(b"SELECT 1 \0; "), (9, false));
    assert_eq!(second_statement(b"SELECT 1; -- x\n", 8, SqlMode::empty()), None);
    assert_eq!(second_statement(b"SELECT 1; /* x */ x", 8, SqlMode::empty()), Some(18));
    fingerprint
        .read(b"SELECT 1; SELECT 2", SqlMode::empty())
        .unwrap();
    assert!(fingerprint.more);
    fingerprint
        .read(b"SELECT \"a\" FROM t", SqlMode::ANSI_QUOTES)
        .unwrap();
    assert_eq!(fingerprint.norm, b"SELECT \"a\" FROM t");
    fingerprint
        .read(b"SELECT 'a\\' FROM t", SqlMode::NO_BACKSLASH_ESCAPES)
        .unwrap();
    assert_eq!(fingerprint.norm, b"SELECT ? FROM t");
}

const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "customer",
    "corder",
    "c",
    "o",
    "id",
    "customer_id",
    "=",
    "1",
    "'a'",
    "(",
    ")",
    ",",
    "JOIN",
    "LEFT",
    "ON",
    "AND",
    "OR",
    "NOT",
    "IN",
    "EXISTS",
    "UNION",
    "ALL",
    "ORDER",
    "BY",
    "GROUP",
    "LIMIT",
    "INSERT",
    "INTO",
    "VALUES",
    "UPDATE",
    "SET",
    "DELETE",
    ".",
    "*",
    "-",
    "?",
    "NULL",
    "CASE",
    "WHEN",
    "END",
    "AS",
    "WITH",
    "USING",
    "SHOW",
    "LIKE",
    "EXPLAIN",
    "name",
    "/*!40000",
    "*/",
    "@a",
    ":=",
    "@@x",
    "INTERVAL",
    "OVER",
    "COUNT",
    "BETWEEN",
    "IS",
    "LAST_INSERT_ID",
    "VSCHEMA",
    "TABLE",
    "CREATE",
    "DUPLICATE",
    "KEY",
    "ROW",
    "FOR",
    "DISTINCT",
    ";",
    "BEGIN",
    "_utf8'x'",
    "0x41",
    "1.5",
    "ALTER",
    "DATABASE",
    "USE",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_words_are_planned_or_refused(
        words in prop::collection::vec(prop::sample::select(WORDS), 1..30),
    ) {
        let sql = words.join(" ");
        let snapshot = snapshot();
        for session in [SessionContext::default(), SessionContext { keyspace: Some(0),
            ..Default::default() }, SessionContext { keyspace: Some(1), ..Default::default() }] {
            if let Ok((plan, fingerprint)) = plan_sql(&snapshot, &session, &sql) {
                let _ = places(&snapshot, &plan, &fingerprint, &sql, &[]);
                let _ = coregate_planner::render::plan(&snapshot, &plan);
            }
        }
    }

    #[test]
    fn any_bytes_are_planned_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut fingerprint = Fingerprint::new();
        let _ = fingerprint.read(&bytes, SqlMode::empty());
        let _ = plan_sql(&snapshot(), &SessionContext::default(), &String::from_utf8_lossy(&bytes));
    }

    /// Comments and white space do not matter, literals go where they came from.
    #[test]
    fn normalised_text_is_stable(a in any::<i32>(), s in "[a-z']{0,8}",
        list in prop::collection::vec(any::<i16>(), 1..9)) {
        let s = s.replace('\'', "''");
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        let sql = format!("SELECT x  FROM t /* c */ WHERE a = {a} AND b = '{s}' AND c IN \
            ({})", list.join(" , "));
        let mut one = Fingerprint::new();
        one.read(sql.as_bytes(), SqlMode::empty()).unwrap();
        prop_assert_eq!(String::from_utf8_lossy(&one.norm), "SELECT x FROM t WHERE a = ? AND b = ? \
            AND c IN (?...)");
        prop_assert_eq!(one.items.len(), list.len());
        let again = one.restore(sql.as_bytes(), SqlMode::empty()).unwrap();
        let mut two = Fingerprint::new();
        two.read(&again, SqlMode::empty()).unwrap();
        prop_assert_eq!(&one.norm, &two.norm);
        prop_assert_eq!(one.hash, two.hash);
    }
}
