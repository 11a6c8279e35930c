//! `transaction_mode = TWOPC`: whatever is killed, a transaction is on all of its shards or on
//! none, and what was acknowledged is there.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod holding;
mod killed;
mod moves;
mod snapshot;
mod steps;

use coregate_planner::dtid::{Branch, decider_key};
use coregate_tests::{Answer, Connection, Coregate, MariaDb, guard, wait_until, world};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

const SHARDS: [&str; 3] = ["-55", "55-aa", "aa-"];
/// A transaction writes so many rows, wherever they lie.
const LEGS: u64 = 4;

struct Cluster {
    servers: Vec<Mutex<MariaDb>>,
    config: String,
}

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    // Both are what a server needs to keep what it has acknowledged when its process is killed.
    let options = ["--innodb-flush-log-at-trx-commit=2", "--innodb-lock-wait-timeout=5"];
    let servers: Vec<MariaDb> = SHARDS
        .iter()
        .map(|_| MariaDb::start("shard", &options))
        .collect();
    for server in &servers {
        server
            .connect()
            .run("create table leg (id bigint primary key, tag bigint not null)");
        server
            .connect()
            .run("create table account (id bigint primary key, balance bigint not null)");
        server
            .connect()
            .run("create table piece (place bigint primary key, id bigint not null unique)");
    }
    let dir = guard::dir().join("atomic-topology");
    std::fs::create_dir_all(dir.join("topology")).unwrap();
    let shard = |(name, server): (&&str, &MariaDb)| {
        format!(
            r#"{{"name": "{name}", "tablets": [{{"alias": "t{name}", "type": "primary",
                "host": "127.0.0.1", "port": {},
                "user": "sb", "password": "sb"}}]}}"#,
            server.port
        )
    };
    let shards: Vec<String> = SHARDS.iter().zip(&servers).map(shard).collect();
    let keyspace = format!(
        r#"{{"name": "ks", "database": "test", "shards": [{}], "vschema": {{"sharded": true,
            "vindexes": {{"hash": {{"type": "hash"}}}},
            "tables": {{"leg": {{"column_vindexes": [{{"column": "id", "name": "hash"}}]}},
                "account": {{"column_vindexes": [{{"column": "id", "name": "hash"}}]}},
                "piece": {{"column_vindexes": [{{"column": "place", "name": "hash"}}]}}}}}}}}"#,
        shards.join(",")
    );
    std::fs::write(dir.join("topology/ks.json"), keyspace).unwrap();
    let config = format!(
        "[topology]\ndir = {:?}\n[users]\nfile = {:?}\n[server]\ncores = 2\ntransaction_mode = \
            \"twopc\"\n",
        dir.to_str().unwrap(),
        world::users_file().to_str().unwrap()
    );
    Cluster { servers: servers.into_iter().map(Mutex::new).collect(), config }
});

/// The tests share the servers.
static TURN: Mutex<()> = Mutex::new(());

impl Cluster {
    fn proxy(&self) -> Coregate {
        Coregate::configured("atomic", &self.config)
    }

    /// The configuration of a process with a topology of its own: the same servers, perhaps through
    /// other ports.
    fn elsewhere(&self, name: &str, through: impl Fn(usize, u16) -> u16) -> String {
        let (plain, dir) =
            (guard::dir().join("atomic-topology"), guard::dir().join(format!("{name}-topology")));
        std::fs::create_dir_all(dir.join("topology")).unwrap();
        let mut keyspace = std::fs::read_to_string(plain.join("topology/ks.json")).unwrap();
        for (number, server) in self.servers.iter().enumerate() {
            let port = server.lock().unwrap_or_else(PoisonError::into_inner).port;
            let other = through(number, port);
            keyspace =
                keyspace.replace(&format!(r#""port": {port}"#), &format!(r#""port": {other}"#));
        }
        std::fs::write(dir.join("topology/ks.json"), keyspace).unwrap();
        self.config
            .replace(plain.to_str().unwrap(), dir.to_str().unwrap())
    }

    fn direct(&self, shard: usize) -> Connection {
        let server = self.servers[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        server.connect()
    }

    fn prepared(&self) -> usize {
        let rows = |shard| self.direct(shard).query("xa recover").rows().len();
        (0..SHARDS.len()).map(rows).sum()
    }

    /// How many rows each transaction has left, over all shards.
    fn legs(&self) -> BTreeMap<u64, u64> {
        let mut legs = BTreeMap::new();
        for shard in 0..SHARDS.len() {
            let rows = self
                .direct(shard)
                .query("select tag, count(*) from leg group by tag")
                .rows();
            for row in rows {
                let number = |cell: &Option<String>| cell.as_ref().unwrap().parse::<u64>().unwrap();
                *legs.entry(number(&row[0])).or_default() += number(&row[1]);
            }
        }
        legs
    }

    fn clear(&self) {
        for shard in 0..SHARDS.len() {
            self.direct(shard).run("delete from leg");
        }
    }
}

fn connect(proxy: &Coregate) -> Connection {
    proxy.connect_as(world::USER, world::PASSWORD, Some("ks"))
}

/// Clients that write until they are stopped, and what was acknowledged to them.
struct Load {
    stop: AtomicBool,
    next: AtomicU64,
    acknowledged: Mutex<Vec<u64>>,
}

impl Load {
    fn new() -> Self {
        Self {
            stop: AtomicBool::new(false),
            next: AtomicU64::new(1),
            acknowledged: Mutex::default(),
        }
    }

    /// One client; one that is thrown out comes again.
    fn client(&self, proxy: std::net::SocketAddr) {
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(mut conn) =
                Connection::try_login(proxy, world::USER, world::PASSWORD, Some("ks"))
            else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            while !self.stop.load(Ordering::Relaxed) && self.transaction(&mut conn).is_ok() {
                std::hint::spin_loop();
            }
        }
    }

    fn transaction(&self, conn: &mut Connection) -> std::io::Result<()> {
        let tag = self.next.fetch_add(1, Ordering::Relaxed);
        let mut refused = false;
        let mut run = |conn: &mut Connection, sql: &str| -> std::io::Result<bool> {
            let answers = conn.try_query(sql)?;
            refused |= answers.iter().any(Answer::is_error);
            Ok(!refused)
        };
        run(conn, "begin")?;
        for leg in 0..LEGS {
            let sql = format!("insert into leg (id, tag) values ({}, {tag})", tag * LEGS + leg);
            if !run(conn, &sql)? {
                conn.try_query("rollback")?;
                return Ok(());
            }
        }
        if run(conn, "commit")? {
            self.acknowledged.lock().unwrap().push(tag);
        }
        Ok(())
    }

    fn check(&self, legs: &BTreeMap<u64, u64>) {
        for (tag, count) in legs {
            assert_eq!(*count, LEGS, "transaction {tag} is torn");
        }
        for tag in self.acknowledged.lock().unwrap().iter() {
            assert!(legs.contains_key(tag), "transaction {tag} was acknowledged, and is lost");
        }
    }
}

#[test]
fn nothing_tears_when_the_proxy_is_killed() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    CLUSTER.clear();
    let load = Load::new();
    for round in 0..4 {
        let mut proxy = CLUSTER.proxy();
        load.stop.store(false, Ordering::Relaxed);
        let before = load.acknowledged.lock().unwrap().len();
        std::thread::scope(|scope| {
            let (address, load) = (proxy.mysql, &load);
            for _ in 0..8 {
                scope.spawn(move || load.client(address));
            }
            wait_until("transactions are acknowledged", || {
                load.acknowledged.lock().unwrap().len() > before + 100 + 37 * round
            });
            proxy.process.kill();
            load.stop.store(true, Ordering::Relaxed);
        });
    }
    let proxy = CLUSTER.proxy();
    wait_until("the resolver has finished what was left", || CLUSTER.prepared() == 0);
    load.check(&CLUSTER.legs());
    assert_eq!(proxy.metric("coregate_atomic_unfinished_total"), 0.0);
}

#[test]
fn nothing_tears_when_servers_are_killed() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    CLUSTER.clear();
    let load = Load::new();
    let proxy = CLUSTER.proxy();
    std::thread::scope(|scope| {
        let (address, load) = (proxy.mysql, &load);
        for _ in 0..8 {
            scope.spawn(move || load.client(address));
        }
        for round in 0..6 {
            let before = load.acknowledged.lock().unwrap().len();
            wait_until("transactions are acknowledged", || {
                load.acknowledged.lock().unwrap().len() > before + 60 + 29 * round
            });
            let mut server = CLUSTER.servers[round % SHARDS.len()].lock().unwrap();
            server.kill();
            server.restart();
        }
        load.stop.store(true, Ordering::Relaxed);
    });
    wait_until("the resolver has finished what was left", || CLUSTER.prepared() == 0);
    load.check(&CLUSTER.legs());
}

/// One is prepared and undecided, two are finished.
fn transactions_are_shown(conn: &mut Connection) {
    let waiting = "alive-1,PREPARE,,ks:aa-";
    let mut shown = |sql: &str| {
        let rows = conn.query(sql).rows();
        let cells = |row: Vec<Option<String>>| {
            row.into_iter()
                .map(Option::unwrap_or_default)
                .collect::<Vec<_>>()
        };
        rows.into_iter().map(cells).collect::<Vec<_>>()
    };
    for sql in [
        "show unresolved transactions",
        "show unresolved transactions for ks",
        "show transaction status for 'alive-1'",
        "show transaction status 'alive-1'",
    ] {
        assert_eq!(shown(sql), [waiting.split(',').collect::<Vec<_>>()], "{sql}");
    }
    let over = shown("show transaction status for 'dead-1'");
    assert_eq!(
        (over.len(), over[0][1].as_str(), over[0][3].as_str()),
        (1, "COMMIT", ""),
        "{over:?}"
    );
    assert!(!over[0][2].is_empty(), "{over:?}");
    assert!(shown("show transaction status for 'no-such-1'").is_empty());
    assert!(shown("show transaction status for 'it''s none'").is_empty());
    assert_eq!(
        conn.query("show unresolved transactions for nowhere")
            .error()
            .code,
        1049
    );
}

/// One is prepared, and its owner holds the row of the decision: it cannot be finished now.
fn concluded_by_order(proxy: &Coregate) {
    let ctl = |args: &[&str]| {
        let server = proxy.admin.to_string();
        let output = std::process::Command::new(coregate_tests::coregate::binary())
            .args(["ctl", "--admin", &server, "--json", "distributed-transaction"])
            .args(args)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (done, list) = ctl(&["unresolved-list", "--keyspace", "ks"]);
    assert!(
        done && list.contains("alive-1") && list.contains("PREPARE") && list.contains("ks/aa-"),
        "{list}"
    );
    let (done, info) = ctl(&["get-info", "--dtid", "alive-1"]);
    assert!(done && info.contains(&format!("ks/{}", SHARDS[0])), "{info}");
    let (done, why) = ctl(&["conclude", "--dtid", "alive-1"]);
    assert!(!done && why.contains("1 are left"), "{why}");
    let (done, why) = ctl(&["conclude", "--dtid", "nobody-1"]);
    assert!(!done && why.contains("no prepared transaction"), "{why}");
    let branch = Branch { id: "left-1".into(), number: 1, decider: decider_key("ks", SHARDS[1]) };
    let mut conn = CLUSTER.direct(2);
    for sql in ["xa start", "xa end", "xa prepare"] {
        conn.run(&format!("{sql} {branch}"));
        if sql == "xa start" {
            conn.run("insert into leg (id, tag) values (3000, 3000)");
        }
    }
    drop(conn);
    wait_until("it is concluded, by order or by itself", || {
        let (done, told) = ctl(&["conclude", "--dtid", "left-1"]);
        done || told.contains("no prepared transaction")
    });
}

/// What a dead process has left, made by hand.
#[test]
fn the_resolver_commits_what_was_decided_and_rolls_back_the_rest() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    CLUSTER.clear();
    let proxy = CLUSTER.proxy();
    // Makes the tables for decisions.
    let mut conn = connect(&proxy);
    conn.run("insert into leg (id, tag) values (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0)");
    CLUSTER.clear();
    let leave = |id: &str, number: u32, tag: u64| {
        let branch = Branch { id: id.into(), number, decider: decider_key("ks", SHARDS[0]) };
        let mut conn = CLUSTER.direct(2);
        conn.run(&format!("xa start {branch}"));
        conn.run(&format!("insert into leg (id, tag) values ({tag}, {tag})"));
        conn.run(&format!("xa end {branch}"));
        conn.run(&format!("xa prepare {branch}"));
    };
    let mut decider = CLUSTER.direct(0);
    decider.run("create database if not exists _coregate");
    for ddl in coregate_planner::dtid::TABLE_DDL {
        decider.run(ddl);
    }
    decider.run("insert into _coregate.transaction (id, decision) values ('dead-1', 'commit')");
    leave("dead-1", 1, 1001);
    leave("dead-2", 1, 1002);
    // Its owner lives, and is about to decide: the resolver waits for that.
    decider.run("begin");
    decider.run("insert into _coregate.transaction (id, decision) values ('alive-1', 'commit')");
    leave("alive-1", 1, 1003);
    // Another application's is left alone.
    let mut other = CLUSTER.direct(2);
    for sql in [
        "xa start 'theirs'",
        "insert into leg values (2000, 2000)",
        "xa end 'theirs'",
        "xa prepare 'theirs'",
    ] {
        other.run(sql);
    }
    drop(other);
    wait_until("two are finished", || CLUSTER.prepared() == 2);
    transactions_are_shown(&mut conn);
    assert_eq!(CLUSTER.legs(), BTreeMap::from([(1001, 1)]));
    let decision = |id: &str| {
        CLUSTER
            .direct(0)
            .value(&format!("select decision from _coregate.transaction where id = '{id}'"))
    };
    assert_eq!(decision("dead-2").as_deref(), Some("abort"));
    concluded_by_order(&proxy);
    let late = CLUSTER
        .direct(0)
        .query("insert into _coregate.transaction (id, decision) values ('dead-2', 'commit')");
    assert_eq!(late.error().code, 1062, "its owner cannot commit any more");
    decider.run("commit");
    wait_until("the third is finished, too", || CLUSTER.prepared() == 1);
    assert_eq!(CLUSTER.legs(), BTreeMap::from([(1001, 1), (1003, 1)]));
    CLUSTER.direct(2).run("xa rollback 'theirs'");
}

#[test]
fn only_writes_on_several_shards_are_prepared() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    CLUSTER.clear();
    let proxy = CLUSTER.proxy();
    let mut conn = connect(&proxy);
    let atomic = |conn: &mut Connection| {
        conn.run("do sleep(0.25)");
        proxy.metric("coregate_atomic_commits_total")
    };
    for sql in [
        "begin",
        "insert into leg (id, tag) values (1, 1)",
        "select * from leg",
        "select * from leg where id = 2 for update",
        "commit",
        "begin",
        "select * from leg",
        "insert into leg (id, tag) values (2, 1), (3, 1), (4, 1), (5, 1), (6, 1)",
        "rollback",
    ] {
        conn.run(sql);
    }
    assert_eq!(atomic(&mut conn), 0.0);
    assert_eq!(CLUSTER.legs(), BTreeMap::from([(1, 1)]));
    // An error leaves the transaction open, as on one server, and a savepoint undoes on branches,
    // too.
    conn.run("begin");
    conn.run(
        "insert into leg (id, tag) values (10, 7), (11, 7), (12, 7), (13, 7), (14, 7), (15, 7)",
    );
    assert_eq!(
        conn.query("insert into leg (id, tag) values (15, 7)")
            .error()
            .code,
        1062
    );
    conn.run("savepoint s");
    conn.run(
        "insert into leg (id, tag) values (20, 8), (21, 8), (22, 8), (23, 8), (24, 8), (25, 8)",
    );
    conn.run("rollback to s");
    conn.run("commit");
    assert_eq!(CLUSTER.legs(), BTreeMap::from([(1, 1), (7, 6)]));
    assert_eq!(atomic(&mut conn), 1.0);
    // So is what autocommit=0 begins, whichever statement comes first.
    conn.run("set autocommit = 0");
    for id in 30..40 {
        conn.run(&format!("insert into leg (id, tag) values ({id}, 9)"));
    }
    conn.run("commit");
    conn.run("delete from leg where tag = 9");
    conn.run("commit");
    conn.run("set autocommit = 1");
    assert_eq!(atomic(&mut conn), 3.0);
    // One statement on several shards is a transaction as well.
    conn.run("update leg set tag = tag + 1");
    assert_eq!(atomic(&mut conn), 4.0);
    conn.run("set transaction_mode = 'single'");
    conn.run("begin");
    conn.run("insert into leg (id, tag) values (1000, 9)");
    let refused = (1001..1020)
        .map(|id| conn.query(&format!("insert into leg (id, tag) values ({id}, 9)")))
        .find(Answer::is_error)
        .expect("a row lies on another shard");
    assert!(
        refused
            .error()
            .message
            .contains("multi-db transaction attempted"),
        "{refused:?}"
    );
    conn.run("rollback");
    assert_eq!(conn.query("set transaction_mode = 'both'").error().code, 1231);
    assert_eq!(CLUSTER.prepared(), 0);
}

/// A deadlock ends the whole transaction, on every shard, as on one server.
#[test]
fn a_deadlock_in_a_branch_ends_the_transaction() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    CLUSTER.clear();
    let proxy = CLUSTER.proxy();
    let (mut a, mut b) = (connect(&proxy), connect(&proxy));
    a.run(
        "insert into leg (id, tag) values (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, \
        1), (8, 1)",
    );
    // Two rows of the last shard, which is a branch for whoever begins elsewhere.
    let ids: Vec<String> = CLUSTER
        .direct(2)
        .query("select id from leg order by id limit 2")
        .rows()
        .into_iter()
        .map(|row| row[0].clone().unwrap())
        .collect();
    let first = CLUSTER.direct(0).value("select min(id) from leg").unwrap();
    a.run("begin");
    a.run(&format!("update leg set tag = 2 where id = {first}"));
    a.run(&format!("update leg set tag = 2 where id = {}", ids[0]));
    b.run("begin");
    b.run(&format!("update leg set tag = 3 where id = {}", ids[1]));
    let first_failed = std::thread::scope(|scope| {
        let waits =
            scope.spawn(|| a.query(&format!("update leg set tag = 2 where id = {}", ids[1])));
        wait_until("one waits for the other", || {
            // The server renews that table when nobody has read it for 0.1 s.
            std::thread::sleep(Duration::from_millis(150));
            let waiting =
                "select count(*) from information_schema.innodb_trx where trx_state = 'LOCK WAIT'";
            CLUSTER.direct(2).value(waiting).as_deref() == Some("1")
        });
        let second = b.query(&format!("update leg set tag = 3 where id = {}", ids[0]));
        let first = waits.join().unwrap();
        assert_eq!(
            u8::from(first.is_error()) + u8::from(second.is_error()),
            1,
            "{first:?} {second:?}"
        );
        first.is_error()
    });
    let (victim, other) = if first_failed { (&mut a, &mut b) } else { (&mut b, &mut a) };
    other.run("commit");
    // The victim's session goes on, in no transaction, on every shard.
    victim.run(&format!("update leg set tag = tag where id = {}", ids[0]));
    victim.run("begin");
    victim.run("update leg set tag = tag");
    victim.run("commit");
    let legs = CLUSTER.legs();
    // A has changed three rows or none, B two or none.
    assert!(
        legs == BTreeMap::from([(1, 5), (2, 3)]) || legs == BTreeMap::from([(1, 6), (3, 2)]),
        "{legs:?}"
    );
    assert_eq!(CLUSTER.prepared(), 0);
}
