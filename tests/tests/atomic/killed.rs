//! Sessions that are killed while they prepare.
use super::*;

/// KILL between PREPARE and the decision: branches go with the session, not with a later round of
/// the resolver.
#[test]
fn a_session_that_is_killed_while_it_prepares_leaves_nothing() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    CLUSTER.clear();
    let proxy = CLUSTER.proxy();
    let mut conn = connect(&proxy);
    for sql in [
        "begin",
        "insert into leg (id, tag) values (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0)",
        "commit",
    ] {
        conn.run(sql);
    }
    CLUSTER.clear();
    // Nobody can decide anything.
    let mut locks: Vec<Connection> = (0..SHARDS.len()).map(|n| CLUSTER.direct(n)).collect();
    for lock in &mut locks {
        lock.run("create database if not exists _coregate");
        for ddl in coregate_planner::dtid::TABLE_DDL {
            lock.run(ddl);
        }
        lock.run("lock tables _coregate.transaction write");
    }
    let id = conn.value("select connection_id()").unwrap();
    conn.run("begin");
    conn.run(
        "insert into leg (id, tag) values (11, 1), (12, 1), (13, 1), (14, 1), (15, 1), (16, 1)",
    );
    conn.send_command(3, b"commit").unwrap();
    wait_until("the others are prepared", || CLUSTER.prepared() > 0);
    connect(&proxy).run(&format!("kill {id}"));
    for lock in &mut locks {
        lock.run("unlock tables");
    }
    wait_until("nothing is left", || CLUSTER.prepared() == 0);
    wait_until("it was done by the session's word", || {
        proxy.process.stderr().contains("given up by its session")
    });
    assert!(CLUSTER.legs().is_empty());
}
