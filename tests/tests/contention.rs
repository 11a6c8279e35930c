//! What keeps clients from taking connections from each other: hot-row protection, and the share of
//! connections that one user's transactions may hold.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::Value;
use coregate_tests::{Answer, Connection, Coregate, MariaDb, guard, wait_until, world};
use std::sync::{LazyLock, Mutex, PoisonError};

static SERVER: LazyLock<MariaDb> = LazyLock::new(|| {
    let server = MariaDb::start("contention", &["--innodb-lock-wait-timeout=50"]);
    let mut conn = server.connect();
    conn.run("create table account (id bigint primary key, n bigint not null)");
    conn.run("create table gate (id int primary key)");
    conn.run("insert into gate values (7)");
    conn.run("insert into account values (1, 0), (2, 0), (3, 0), (4, 0)");
    server
});

/// A process of one core before the server, with more in its configuration.
fn proxy(name: &str, server: &str, more: &str) -> Coregate {
    let dir = guard::dir().join(format!("{name}-topology"));
    std::fs::create_dir_all(dir.join("topology")).unwrap();
    let keyspace = format!(
        r#"{{"name": "ks", "database": "test", "shards": [{{"name": "0", "tablets": [{{
            "alias": "t0", "type": "primary", "host": "127.0.0.1", "port": {},
            "user": "sb", "password": "sb"}}]}}], "vschema": {{"sharded": false,
            "tables": {{"account": {{}}, "gate": {{}}}}}}}}"#,
        SERVER.port
    );
    std::fs::write(dir.join("topology/ks.json"), keyspace).unwrap();
    let config = format!(
        "[topology]\ndir = {:?}\n[users]\nfile = {:?}\n[server]\ncores = 1\n{server}\n{more}",
        guard::dir()
            .join(format!("{name}-topology"))
            .to_str()
            .unwrap(),
        world::users_file().to_str().unwrap()
    );
    Coregate::configured(name, &config)
}

fn connect(proxy: &Coregate) -> Connection {
    proxy.connect_as(world::USER, world::PASSWORD, Some("ks"))
}

const ONE_AT_A_TIME: &str = "[hot_row_protection]\nmode = \"enable\"\nmax_concurrency = 1\n\
    max_queue_size = 3\nwait_timeout_ms = 30000\n";

#[test]
fn changes_of_one_row_wait_without_connections() {
    let proxy = proxy("hot", "", ONE_AT_A_TIME);
    let mut holder = connect(&proxy);
    holder.run("begin");
    holder.run("update account set n = n + 1 where id = 1");
    let busy = || proxy.metric("coregate_backend_connections");
    let connections = busy();
    std::thread::scope(|scope| {
        let text = scope.spawn(|| {
            connect(&proxy)
                .query("UPDATE `account` SET n = n + 10 WHERE ID = 1")
                .ok()
                .clone()
        });
        let prepared = scope.spawn(|| {
            let mut conn = connect(&proxy);
            let statement = conn
                .prepare("update account set n = n + ? where id = ?")
                .unwrap();
            conn.execute(&statement, &[Value::Int(100), Value::Int(1)])
                .ok()
                .clone()
        });
        wait_until("two wait", || proxy.metric("coregate_hot_row_waiting") == 2.0);
        // They hold no connection; other rows, and reads, are nobody's business.
        let mut conn = connect(&proxy);
        conn.run("update account set n = n + 1 where id = 2");
        assert_eq!(conn.value("select n from account where id = 1").as_deref(), Some("0"));
        assert!(busy() <= connections + 2.0);
        // Three are about the row: the next is refused, also by name and as DELETE.
        for sql in ["update account set n = 0 where id = 1", "delete from account where id = 1"] {
            let Answer::Error(error) = conn.query(sql) else { panic!("{sql} was not refused") };
            assert_eq!(error.code, 1203, "{error:?}");
            assert!(
                error
                    .message
                    .contains("too many queued transactions (3 >= 3)"),
                "{error:?}"
            );
        }
        // A transaction that has locks does not wait here.
        conn.run("begin");
        conn.run("update account set n = n + 1 where id = 3");
        conn.run("set innodb_lock_wait_timeout = 1");
        assert_eq!(
            conn.query("update account set n = 0 where id = 1")
                .error()
                .code,
            1205
        );
        conn.run("rollback");
        holder.run("commit");
        text.join().unwrap();
        prepared.join().unwrap();
    });
    assert_eq!(
        holder
            .value("select n from account where id = 1")
            .as_deref(),
        Some("111")
    );
    assert_eq!(proxy.metric("coregate_hot_row_waits_total"), 2.0);
    assert_eq!(proxy.metric("coregate_hot_row_refused_total"), 2.0);
}

#[test]
fn whoever_is_gone_leaves_the_row_to_the_next() {
    let proxy = proxy("gone", "", ONE_AT_A_TIME);
    let mut holder = connect(&proxy);
    holder.run("begin");
    holder.run("update account set n = n + 1 where id = 4");
    std::thread::scope(|scope| {
        let mut waits = connect(&proxy);
        let id = waits.id;
        let killed = scope.spawn(move || waits.query("update account set n = 0 where id = 4"));
        wait_until("one waits", || proxy.metric("coregate_hot_row_waiting") == 1.0);
        connect(&proxy).run(&format!("kill query {id}"));
        assert_eq!(killed.join().unwrap().error().code, 1317);
    });
    assert_eq!(proxy.metric("coregate_hot_row_waiting"), 0.0);
    drop(holder);
    connect(&proxy).run("update account set n = 0 where id = 4");
}

#[test]
fn a_dry_run_counts_only() {
    let proxy = proxy("dry", "", &ONE_AT_A_TIME.replace("enable", "dryRun"));
    let mut holder = connect(&proxy);
    holder.run("begin");
    holder.run("update account set n = n + 0 where id = 2");
    let mut conn = connect(&proxy);
    conn.run("set innodb_lock_wait_timeout = 1");
    assert_eq!(
        conn.query("update account set n = 0 where id = 2")
            .error()
            .code,
        1205
    );
    assert_eq!(proxy.metric("coregate_hot_row_waits_dry_run_total"), 1.0);
    assert_eq!(proxy.metric("coregate_hot_row_waits_total"), 0.0);
    holder.run("rollback");
}

#[test]
fn a_user_has_a_share_of_the_connections() {
    let pool = "[pool]\nsize_per_core = 8\n";
    let proxy = proxy("shares", "transaction_limit_per_user = 0.25", pool);
    let mut open: Vec<Connection> = (0..2).map(|_| connect(&proxy)).collect();
    open[0].run("begin");
    open[0].run("select n from account where id = 1");
    open[1].run("set autocommit = 0");
    open[1].run("select n from account where id = 1");
    let mut third = connect(&proxy);
    // Statements that are no transaction go on.
    third.run("update account set n = n + 0 where id = 3");
    for begin in ["begin", "set autocommit = 0", "start transaction read only"] {
        third.run(begin);
        let Answer::Error(error) = third.query("select n from account where id = 1") else {
            panic!("{begin}: a third transaction was let in")
        };
        assert_eq!(error.code, 1203);
        assert!(
            error
                .message
                .contains("server.transaction_limit_per_user = 0.25"),
            "{error:?}"
        );
        third.run("rollback");
        third.run("set autocommit = 1");
    }
    open[0].run("commit");
    third.run("begin");
    third.run("select n from account where id = 1");
    third.run("commit");
    open.pop();
    for _ in 0..5 {
        let mut two: Vec<Connection> = (0..2).map(|_| connect(&proxy)).collect();
        for conn in &mut two {
            conn.run("begin");
            wait_until("a closed session's part is free", || {
                !conn.query("select n from account where id = 1").is_error()
            });
        }
    }
    assert!(proxy.metric("coregate_transaction_limit_refused_total") >= 3.0);
}

/// Statements that wait for the gate on the server.
fn at_the_gate() -> usize {
    let sql = "select count(*) from information_schema.processlist where state like \
        'Waiting for table metadata lock%'";
    SERVER.connect().value(sql).unwrap().parse().unwrap()
}

/// Two tests close the gate.
static GATE: Mutex<()> = Mutex::new(());

#[test]
fn equal_reads_get_one_answer() {
    let _turn = GATE.lock().unwrap_or_else(PoisonError::into_inner);
    const READ: &str = "select a.n, g.id from gate g join account a where a.id = 5";
    let proxy = proxy("same", "", "[consolidator]\nmode = \"enable\"\n");
    SERVER.connect().run("replace into account values (5, 1)");
    let mut keeper = SERVER.connect();
    keeper.run("lock tables gate write");
    std::thread::scope(|scope| {
        let (proxy, rows) = (&proxy, |answer: Answer| answer.rows());
        let mut readers = Vec::new();
        let mut ask = |prepare: bool, before: &'static str, sql: &'static str| {
            let mut conn = connect(proxy);
            conn.run(before);
            readers.push(scope.spawn(move || match prepare {
                false => rows(conn.query(sql)),
                true => {
                    let statement = conn.prepare(sql).unwrap();
                    assert!(!conn.execute(&statement, &[]).is_error());
                    vec![vec![Some("1".into()), Some("7".into())]]
                }
            }));
        };
        let waiting = |many: f64| {
            wait_until("they wait for one", || {
                proxy.metric("coregate_consolidation_waiting") == many
            });
        };
        ask(false, "show warnings", READ);
        wait_until("one is there", || at_the_gate() == 1);
        (0..6).for_each(|_| ask(false, "show warnings", READ));
        waiting(6.0);
        assert_eq!(at_the_gate(), 1);
        // Other settings, what is no plain read, and whoever has written since, go by themselves.
        ask(false, "set names latin1", READ);
        ask(false, "begin", READ);
        ask(
            false,
            "show warnings",
            "select a.n, g.id + sleep(0) from gate g join account a where a.id = 5",
        );
        ask(false, "update account set n = n + 0 where id = 5", READ);
        // `IS NULL` may mean another row in each of these.
        (0..2).for_each(|_| ask(false, "set sql_auto_is_null = 1", READ));
        wait_until("seven are there", || at_the_gate() == 7);
        waiting(6.0);
        // One that is killed leaves alone.
        let mut leaves = connect(proxy);
        let id = leaves.id;
        let killed = scope.spawn(move || leaves.query(READ));
        waiting(7.0);
        connect(proxy).run(&format!("kill query {id}"));
        assert_eq!(killed.join().unwrap().error().code, 1317);
        waiting(6.0);
        keeper.run("unlock tables");
        for reader in readers {
            assert_eq!(reader.join().unwrap(), [[Some("1".to_owned()), Some("7".to_owned())]]);
        }
    });
    assert_eq!(proxy.metric("coregate_consolidations_total"), 6.0);
    assert_eq!(proxy.metric("coregate_consolidation_waiting"), 0.0);
}

#[test]
fn an_answer_that_is_not_for_others_is_asked_for() {
    let _turn = GATE.lock().unwrap_or_else(PoisonError::into_inner);
    let more = "[consolidator]\nmode = \"enable\"\nquery_size = 1024\n";
    let proxy = proxy("large", "", more);
    let read = "select repeat(n, 2000), g.id from gate g join account a where a.id = 6";
    SERVER.connect().run("replace into account values (6, 1)");
    let mut keeper = SERVER.connect();
    keeper.run("lock tables gate write");
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| connect(&proxy).query(read).rows()[0][0].clone()))
            .collect();
        wait_until("they wait for one", || proxy.metric("coregate_consolidation_waiting") == 3.0);
        keeper.run("unlock tables");
        for reader in readers {
            assert_eq!(reader.join().unwrap(), Some("1".repeat(2000)));
        }
    });
    assert_eq!(proxy.metric("coregate_consolidations_total"), 0.0);
}
