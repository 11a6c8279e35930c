//! Where USE has chosen replicas, nothing may write: the servers' account may be one whose writes a
//! replica takes.
#![allow(clippy::unwrap_used)]
mod support;

use coregate_planner::PlanError;
use coregate_planner::route::SessionContext;
use coregate_planner::snapshot::TabletKind;
use coregate_planner::target::parse_target;
use support::*;

#[test]
fn replicas_are_for_reads_only() {
    let snapshot = snapshot();
    for (target, table) in [("commerce@replica", "product"), ("customer@rdonly", "customer")] {
        let parsed = parse_target(target, &snapshot).unwrap();
        let kind = parsed.tablet_kind.unwrap();
        assert_ne!(kind, TabletKind::Primary);
        let session = SessionContext {
            keyspace: parsed.keyspace,
            tablet_kind: kind,
            ..SessionContext::default()
        };
        let plan =
            |sql: &str| plan_sql(&snapshot, &session, &sql.replace("TABLE_", table)).map(drop);
        for sql in ["select 1", "select * from TABLE_", "set @a = 1"] {
            assert_eq!(plan(sql), Ok(()), "{sql}");
        }
        for sql in [
            "insert into TABLE_ (id) values (1)",
            "replace into TABLE_ (id) values (1)",
            "update TABLE_ set name = 1",
            "delete from TABLE_",
            "create table u (id int)",
            "truncate table TABLE_",
            "call p()",
            "optimize table TABLE_",
        ] {
            let refused = plan(sql).unwrap_err();
            assert!(matches!(refused, PlanError::ReadOnlyTablet(_)), "{sql}: {refused}");
            assert_eq!(refused.code().0, 1290);
        }
    }
}
