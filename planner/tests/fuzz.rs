//! Throws mutations of statements at the lexer, the parser, the fingerprint and the planner. `cargo
//! test` runs each target for a second, or for `FUZZ_SECONDS`; `cargo bolero test -p
//! coregate-planner NAME` searches by coverage.
#![allow(clippy::unwrap_used)]
mod support;

use bolero::generator::bolero_generator::{Driver, ValueGenerator};
use coregate_planner::fingerprint::{Fingerprint, SqlMode};
use coregate_planner::fuzz::{Lexer, Parsed, parse_alone};
use coregate_planner::plan::Action;
use coregate_planner::route::SessionContext;
use coregate_planner::snapshot::Snapshot;
use coregate_planner::sql::Tok;
use coregate_planner::target::parse_target;
use std::sync::LazyLock;
use std::time::Duration;
use support::*;

/// Statements to begin with: those of the grammar's test and of the golden plans.
static STATEMENTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let grammar = include_str!("grammar/statements.sql").lines();
    let plans = [
        include_str!("plans/finish.txt"),
        include_str!("plans/join.txt"),
        include_str!("plans/merge.txt"),
        include_str!("plans/other.txt"),
        include_str!("plans/select.txt"),
        include_str!("plans/write.txt"),
    ];
    let of_plans = plans
        .into_iter()
        .flat_map(str::lines)
        .filter(|line| !line.starts_with("=>") && !line.starts_with("   "));
    grammar
        .chain(of_plans)
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
});

/// What means something in SQL.
const PIECES: &[&str] = &[
    "'",
    "\"",
    "`",
    "\\",
    "(",
    ")",
    ",",
    ";",
    "/*",
    "*/",
    "/*!50000 ",
    "/*M! ",
    "/*vt+ X=1 */",
    "-- ",
    "#",
    "\n",
    "?",
    ":=",
    "@",
    "@@",
    ".",
    "-",
    "0x41",
    "x'41'",
    "b'1'",
    "_latin1 'a'",
    "N'a'",
    "1e5",
    "1.5",
    ".5",
    "18446744073709551616",
    "NULL",
    " IN (1, 2)",
    " AND id = 1",
    " OR 1",
    " UNION ALL ",
    " SELECT ",
    " FROM customer",
    " WHERE ",
    "((((",
    "))))",
    " NOT ",
    " CASE ",
    " EXISTS (",
    " GROUP BY id",
    " ORDER BY id",
    " LIMIT 1",
    "\0",
    "\u{e9}",
    "VALUES (1, 'a'), (2, 'b')",
];

#[derive(Debug)]
struct Statements;

impl ValueGenerator for Statements {
    type Output = Vec<u8>;

    fn generate<D: Driver>(&self, driver: &mut D) -> Option<Vec<u8>> {
        let known = &*STATEMENTS;
        let pick = |driver: &mut D| known.get((0..known.len()).generate(driver)?);
        let mut text = pick(driver)?.clone().into_bytes();
        for _ in 0..(0u8..8).generate(driver)? {
            let at = (0..=text.len()).generate(driver)?;
            match (0u8..8).generate(driver)? {
                0 if at < text.len() => text[at] = (0u8..=255).generate(driver)?,
                1 if at < text.len() => text[at] ^= 1 << (0u8..8).generate(driver)?,
                2 => text.truncate(at),
                3 => {
                    let end = (at..=text.len().min(at + 20)).generate(driver)?;
                    text.drain(at..end);
                }
                4 => {
                    let other = pick(driver)?.as_bytes();
                    let from = (0..=other.len()).generate(driver)?;
                    let end = (from..=other.len().min(from + 40)).generate(driver)?;
                    text.splice(at..at, other[from..end].iter().copied());
                }
                5 => {
                    let end = (at..=text.len().min(at + 30)).generate(driver)?;
                    let again = text[at..end].repeat((1usize..40).generate(driver)?);
                    text.splice(at..at, again);
                }
                _ => {
                    let piece = PIECES.get((0..PIECES.len()).generate(driver)?)?;
                    text.splice(at..at, piece.bytes());
                }
            }
        }
        Some(text)
    }
}

fn seconds() -> Duration {
    let given = std::env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok());
    Duration::from_secs_f64(given.unwrap_or(1.0))
}

const MODES: [SqlMode; 4] = [
    SqlMode::empty(),
    SqlMode::ANSI_QUOTES,
    SqlMode::NO_BACKSLASH_ESCAPES,
    SqlMode::PIPES_AS_CONCAT.union(SqlMode::HIGH_NOT_PRECEDENCE),
];

/// Tokens follow one another and lie in the text.
#[test]
fn lexer() {
    bolero::check!()
        .with_generator(Statements)
        .with_test_time(seconds())
        .for_each(|sql: &Vec<u8>| {
            for mode in MODES {
                let mut lexer = Lexer::new(sql, mode);
                let mut end = 0;
                while let Ok(token) = lexer.next_token() {
                    assert!(
                        token.start >= end && token.end >= token.start,
                        "{token:?} after {end}"
                    );
                    assert!(token.end as usize <= sql.len(), "{token:?}");
                    if token.tok == Tok::End {
                        break;
                    }
                    assert!(token.end > token.start, "{token:?}");
                    end = token.end;
                }
            }
        });
}

/// Literals lie in the text one after another; the same statement with its literals put in again
/// has the same key.
#[test]
fn fingerprint() {
    bolero::check!()
        .with_generator(Statements)
        .with_test_time(seconds())
        .for_each(|sql: &Vec<u8>| {
            for mode in MODES {
                let mut one = Fingerprint::new();
                if one.read(sql, mode).is_err() {
                    continue;
                }
                assert!(one.end <= sql.len());
                let rows: Vec<_> = (0..one.rows.spans.len())
                    .flat_map(|row| one.rows.literals(sql, mode, row))
                    .collect();
                assert_eq!(rows.len(), one.rows.spans.len() * one.rows.width);
                for all in [&one.literals, &one.items, &rows] {
                    let mut end = 0;
                    for literal in all {
                        assert!(
                            literal.span.start >= end && literal.span.end > literal.span.start,
                            "{literal:?}"
                        );
                        end = literal.span.end;
                    }
                    assert!(end as usize <= one.end);
                }
                for list in &one.lists {
                    assert!(list.start <= list.end && list.end as usize <= one.items.len());
                }
                let mut two = Fingerprint::new();
                two.read(&sql[..one.end], mode).unwrap();
                assert_eq!(one.norm, two.norm);
                if one.cacheable
                    && let Ok(again) = one.restore(sql, mode)
                    // At the end of a text and before a blank these begin a comment, before a
                    // comment they are signs.
                    && !again.ends_with(b"--")
                    && !again.windows(3).any(|w| w == b"-- ")
                {
                    two.read(&again, mode).unwrap();
                    assert_eq!(
                        String::from_utf8_lossy(&one.norm),
                        String::from_utf8_lossy(&two.norm),
                        "{} restored as {}",
                        sql.escape_ascii(),
                        again.escape_ascii()
                    );
                }
            }
        });
}

/// A statement is planned or refused, and what is planned goes to shards that there are, with a
/// text that can be read.
fn plans(snapshot: &Snapshot, session: &SessionContext<'_>, sql: &str) {
    let Ok((plan, fingerprint)) = plan_split(snapshot, session, sql) else { return };
    let _ = coregate_planner::render::plan(snapshot, &plan);
    let params = values(&fingerprint);
    if let Action::Tree(_) = &plan.action {
        let Ok(found) = texts(snapshot, &plan, &fingerprint, sql, &params) else { return };
        for (place, text) in found.iter().filter(|_| params.is_empty()) {
            is_query(sql, place, text.as_deref().unwrap_or_default());
        }
        return;
    }
    let Action::Route(_) = &plan.action else { return };
    let Ok(shards) = places(snapshot, &plan, &fingerprint, sql, &params) else { return };
    assert!(!shards.is_empty());
    for pair in shards.windows(2) {
        assert!(pair[0].0 < pair[1].0, "{shards:?}");
    }
    for (shard, text) in shards {
        assert!(shard < 3);
        if let Some(text) = text {
            let mut read = Fingerprint::new();
            assert!(read.read(text.as_bytes(), session.sql_mode).is_ok(), "{text}");
        }
    }
}

/// What is put together of a statement's parts is a query again.
fn is_query(sql: &str, place: &str, text: &str) {
    // What the session puts in is not written as a literal here.
    if place == "limit"
        || text.contains('<') && !sql.contains('<')
        || text.contains("<ConnectionId>")
    {
        return;
    }
    let end = text.trim_end().trim_end_matches(';').len();
    let parsed = parse_alone(&text[..end]);
    assert!(parsed == Ok(Parsed::Query), "{sql}\n{place}: {text}\n{parsed:?}");
}

#[test]
fn planner() {
    static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(snapshot);
    bolero::check!()
        .with_generator(Statements)
        .with_test_time(seconds())
        .for_each(|sql: &Vec<u8>| {
            let sql = String::from_utf8_lossy(sql);
            for target in ["", "commerce", "customer", "customer@replica", "legacy"] {
                let mut session = SessionContext::default();
                if !target.is_empty() {
                    let found = parse_target(target, &SNAPSHOT).unwrap();
                    session.keyspace = found.keyspace;
                    session.tablet_kind = found.tablet_kind.unwrap_or_default();
                }
                plans(&SNAPSHOT, &session, &sql);
            }
        });
}

#[test]
fn vschema_statements() {
    bolero::check!()
        .with_generator(Statements)
        .with_test_time(seconds())
        .for_each(|sql: &Vec<u8>| {
            let sql = String::from_utf8_lossy(sql);
            let _ = coregate_planner::vschema::parse_alter(&sql);
            let _ = coregate_planner::vschema::parse_alter(&format!("ALTER VSCHEMA {sql}"));
        });
}
