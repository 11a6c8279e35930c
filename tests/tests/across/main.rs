//! Queries over four shards answer as one server does: values, order, and the definitions of their
//! columns; as text and prepared.
//!
//! The queries stand in files, one in a line: `merged.sql` are put together by the proxy itself,
//! `finished.sql` by one of the servers over gathered rows. A line that begins with `=` has a total
//! order, in which its rows are compared.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::Column;
use coregate_tests::{Answer, Connection};
use world::WORLD;

mod faults;
mod joins;
mod parameters;
mod random;
mod system;
mod world;

/// What two answers must have in common.
#[derive(Debug, PartialEq)]
enum Outcome {
    Rows { columns: Vec<Column>, rows: Vec<Vec<u8>> },
    Error(u16),
}

fn outcome(answer: Answer, ordered: bool) -> Outcome {
    match answer {
        Answer::Rows { mut columns, mut raw, .. } => {
            if !ordered {
                raw.sort();
            }
            // A shard's database has a name of its own.
            columns.iter_mut().for_each(|column| column.schema.clear());
            Outcome::Rows { columns, rows: raw }
        }
        Answer::Error(error) => Outcome::Error(error.code),
        Answer::Ok { .. } => panic!("a query without rows"),
    }
}

/// The rows of an answer, of which only these are compared.
fn rows_of(outcome: &Outcome) -> &[Vec<u8>] {
    match outcome {
        Outcome::Rows { rows, .. } => rows,
        Outcome::Error(code) => panic!("error {code}"),
    }
}

/// PREPARE and EXECUTE.
fn by_name(conn: &mut Connection, sql: &str) -> Answer {
    match conn.query(&format!("prepare s from '{}'", sql.replace('\\', "\\\\").replace('\'', "''")))
    {
        Answer::Error(error) => Answer::Error(error),
        _ => conn.query("execute s"),
    }
}

fn prepared(conn: &mut Connection, sql: &str) -> Answer {
    match conn.prepare(sql) {
        Ok(statement) => {
            let answer = conn.execute(&statement, &[]);
            conn.close_statement(&statement);
            answer
        }
        Err(error) => Answer::Error(error),
    }
}

/// How two answers differ, in words.
fn difference(plain: &Outcome, sharded: &Outcome, why: &str) -> String {
    match (plain, sharded) {
        (Outcome::Rows { columns: a, rows: x }, Outcome::Rows { columns: b, rows: y }) => {
            if a != b && x == y {
                let differing = a.iter().zip(b).filter(|(a, b)| a != b);
                let all: Vec<_> = differing
                    .map(|(a, b)| format!("{a:?}\n        {b:?}"))
                    .collect();
                return format!(
                    "columns ({} and {}):\n        {}",
                    a.len(),
                    b.len(),
                    all.join("\n        ")
                );
            }
            let text = |rows: &[Vec<u8>]| -> Vec<String> {
                rows.iter()
                    .map(|row| String::from_utf8_lossy(row).into_owned())
                    .collect()
            };
            let at = x
                .iter()
                .zip(y)
                .position(|(x, y)| x != y)
                .unwrap_or_else(|| x.len().min(y.len()));
            let from = at.saturating_sub(1);
            let some = |rows: &[Vec<u8>]| {
                text(rows)
                    .into_iter()
                    .skip(from)
                    .take(4)
                    .collect::<Vec<_>>()
            };
            format!(
                "{} and {} rows, from row {at} on:\n        {:?}\n        {:?}",
                x.len(),
                y.len(),
                some(x),
                some(y)
            )
        }
        _ => format!("{plain:.200?}\n        {why}"),
    }
}

/// Of a column definition.
const BINARY_FLAG: u16 = 128;

type Run = fn(&mut Connection, &str) -> Answer;

fn compare_all(queries: &str, metric: &str) {
    compare(queries, metric, |_| {});
}

/// `leave_out`: what of columns may differ.
fn compare(queries: &str, metric: &str, leave_out: fn(&mut Column)) {
    let _turn = faults::alone();
    let mut plain = WORLD.server.connect();
    let mut sharded = WORLD.sharded();
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in queries
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("--"))
    {
        let (ordered, sql) = match line.strip_prefix('=') {
            Some(sql) => (true, sql.trim()),
            None => (false, line),
        };
        let count_of =
            |metric: &str| if metric.is_empty() { 0.0 } else { WORLD.local.metric(metric) };
        let before = count_of(metric);
        let text: Run = Connection::query;
        for (how, run) in
            [("text", text), ("prepared", prepared as Run), ("by name", by_name as Run)]
        {
            count += 1;
            let answer = run(&mut sharded, sql);
            let why = format!("{answer:.300?}");
            let (mut theirs, mut ours) =
                (outcome(run(&mut plain, sql), ordered), outcome(answer, ordered));
            for side in [&mut theirs, &mut ours] {
                if let Outcome::Rows { columns, .. } = side {
                    columns.iter_mut().for_each(leave_out);
                }
            }
            if theirs != ours {
                wrong.push(format!("{how}: {sql}\n        {}", difference(&theirs, &ours, &why)));
            }
        }
        if !sql.contains("no_such") && !metric.is_empty() && count_of(metric) < before + 2.0 {
            wrong.push(format!("{sql}\n        was not run as {metric} counts"));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn merged_queries_answer_as_one_server() {
    compare_all(include_str!("merged.sql"), "coregate_merged_queries_total");
}

#[test]
fn groups_sorted_by_distinct_values_answer_as_one_server() {
    compare(include_str!("sorted_again.sql"), "coregate_merged_queries_total", |column| {
        column.flags &= !BINARY_FLAG;
    });
}

#[test]
fn finished_queries_answer_as_one_server() {
    compare_all(include_str!("finished.sql"), "coregate_finished_queries_total");
}

#[test]
fn queries_over_two_keyspaces_answer_as_one_server() {
    compare_all(include_str!("keyspaces.sql"), "coregate_finished_queries_total");
}

/// The rows are gathered from the view, not from its tables.
#[test]
fn views_over_shards_answer_as_one_server() {
    compare(include_str!("views.sql"), "coregate_finished_queries_total", |column| {
        column.org_table.clear();
        column.org_name.clear();
        column.flags = 0;
    });
}

#[test]
fn information_schema_tells_of_all_keyspaces_as_one_server_does() {
    compare_all(include_str!("system.sql"), "");
}

#[test]
fn a_session_s_row_limit_counts_the_rows_of_all_shards() {
    let _turn = faults::alone();
    let mut plain = WORLD.server.connect();
    let mut sharded = WORLD.sharded();
    for limit in [0, 1, 3, 7] {
        for conn in [&mut plain, &mut sharded] {
            conn.run(&format!("set sql_select_limit = {limit}"));
        }
        for sql in [
            "select id from customers where id < 1000 order by id desc",
            "select id from customers where id < 1000 order by name, id limit 5",
            "select quantity, count(*) c from orders group by quantity order by c desc, quantity",
            "select quantity, count(*) from orders group by quantity order by quantity",
            "select distinct quantity from orders order by quantity desc",
            "select c.id, n.id from customers c join notes n on n.customer_id = c.id order by \
                c.id, n.id",
            "select count(*) from (select id from notes order by id) d",
        ] {
            let (theirs, ours) = (plain.query(sql).rows(), sharded.query(sql).rows());
            assert_eq!(theirs, ours, "{sql} with {limit}");
        }
        let any = sharded.query("select body from notes");
        assert_eq!(any.rows().len(), limit);
    }
}
