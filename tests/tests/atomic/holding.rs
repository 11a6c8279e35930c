//! Sessions that hold connections anyway, for locks and the like.
use super::{CLUSTER, SHARDS, TURN, connect};
use std::collections::BTreeMap;
use std::sync::PoisonError;

/// Connections that a session holds for other reasons take part as others do.
#[test]
fn a_session_with_locks_of_its_own_is_atomic_too() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    CLUSTER.clear();
    let proxy = CLUSTER.proxy();
    let mut conn = connect(&proxy);
    let rows = |from: u64| {
        let rows: Vec<String> = (from..from + 12)
            .map(|id| format!("({id}, {from})"))
            .collect();
        format!("insert into leg (id, tag) values {}", rows.join(","))
    };
    let prepared = || {
        let decided = "select count(*) from _coregate.transaction where decision = 'commit'";
        (0..SHARDS.len())
            .map(|shard| CLUSTER.direct(shard).query(decided))
            .filter(|answer| !answer.is_error())
            .map(|answer| answer.value().unwrap().parse::<u64>().unwrap())
            .sum::<u64>()
    };
    let before = prepared();
    conn.run("select get_lock('a', 1)");
    conn.run("select count(*) from leg");
    for (n, end) in [(1, "commit"), (2, "rollback"), (3, "commit")] {
        conn.run("begin");
        conn.run(&rows(n * 100));
        conn.run(end);
        if n == 2 {
            conn.run("select release_lock('a')");
        }
    }
    conn.run("begin");
    conn.run("update leg set tag = tag where id < 103");
    conn.run("commit");
    assert_eq!(CLUSTER.legs(), BTreeMap::from([(100, 12), (300, 12)]));
    assert_eq!(prepared() - before, 3, "each was decided by a row");
    conn.run("set autocommit = 0");
    conn.run("lock tables leg write");
    conn.run("unlock tables");
    assert_eq!(CLUSTER.prepared(), 0);
}
