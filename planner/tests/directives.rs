//! What comments ask for, and what the cluster's owner forbids.
#![allow(clippy::unwrap_used)]
mod support;

use coregate_planner::PlanError;
use coregate_planner::route::SessionContext;
use coregate_planner::target::parse_target;
use support::*;

#[test]
fn scatters_are_refused_unless_the_statement_allows_them() {
    let snapshot = snapshot();
    let keyspace = parse_target("customer", &snapshot).unwrap().keyspace;
    let session = SessionContext { keyspace, no_scatter: true, ..SessionContext::default() };
    let plan = |sql: &str| plan_sql(&snapshot, &session, sql).map(|(plan, _)| plan);
    for sql in [
        "SELECT * FROM customer",
        "SELECT * FROM customer WHERE name = 'a' FOR UPDATE",
        "UPDATE customer SET name = 'a'",
        "DELETE FROM customer WHERE id > 5",
        "SELECT /*vt+ ALLOW_SCATTER=0 */ * FROM customer",
        "SELECT /* ALLOW_SCATTER */ * FROM customer",
    ] {
        assert_eq!(plan(sql).unwrap_err(), PlanError::NoScatter, "{sql}");
    }
    for sql in [
        "SELECT /*vt+ ALLOW_SCATTER */ * FROM customer",
        "DELETE /*vt+ ALLOW_SCATTER=1 QUERY_TIMEOUT_MS=5 */ FROM customer WHERE id > 5",
        "SELECT * FROM customer WHERE id = 5",
        "SELECT * FROM customer WHERE id IN (5, 66)",
        "INSERT INTO customer (id) VALUES (1), (200)",
        "ALTER TABLE customer ADD COLUMN y int",
        "SELECT * FROM country",
    ] {
        plan(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

#[test]
fn a_plan_has_the_directives_of_its_statement() {
    let snapshot = snapshot();
    let session = SessionContext::default();
    let plan = |sql: &str| plan_sql(&snapshot, &session, sql).unwrap();
    let (one, first) = plan("SELECT /*vt+ QUERY_TIMEOUT_MS=10 */ * FROM customer WHERE id = 5");
    let (two, second) = plan("SELECT /*vt+ QUERY_TIMEOUT_MS=20 */ * FROM customer WHERE id = 5");
    assert_eq!(
        (one.directives.query_timeout_ms, two.directives.query_timeout_ms),
        (Some(10), Some(20))
    );
    // Plans are kept under this text.
    assert_ne!(first.norm, second.norm);
}
