//! What an error packet does not say: whether a transaction is open, begun or ended by the
//! statement that failed. A plain server is asked the same; what it answers is right.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Answer, Connection, Coregate, MariaDb};
use std::sync::{LazyLock, Mutex};

struct Pair {
    server: MariaDb,
    plain: MariaDb,
    proxy: Coregate,
}

static PAIR: LazyLock<Pair> = LazyLock::new(|| {
    let options = ["--innodb-lock-wait-timeout=1"];
    let (server, plain) = (MariaDb::start("behind", &options), MariaDb::start("plain", &options));
    let proxy = Coregate::drop_in("proxy", &server, &["--cores", "1"]);
    Pair { server, plain, proxy }
});

/// Tests share the servers' tables.
static TURN: Mutex<()> = Mutex::new(());

/// What a client can tell of an answer.
fn seen(answer: std::io::Result<Vec<Answer>>) -> String {
    let Ok(answers) = answer else { return "closed".into() };
    let one = |answer: &Answer| match answer {
        Answer::Ok { affected, .. } => format!("ok {affected}"),
        Answer::Rows { .. } => format!("{:?}", answer.rows()),
        Answer::Error(e) => format!("error {} {}", e.code, e.state),
    };
    answers.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Runs statements on the plain server and through the proxy: `b: ` at the front is another
/// session.
fn same(statements: &[&str]) {
    let _turn = TURN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let run = |connect: &dyn Fn() -> Connection| {
        let mut setup = connect();
        for sql in [
            "drop procedure if exists p",
            "drop table if exists t",
            "create table t (id int primary key, v varchar(50))",
            "insert into t values (1, 'first')",
        ] {
            setup.run(sql);
        }
        let (mut a, mut b) = (connect(), connect());
        let mut answers = Vec::new();
        for sql in statements {
            let (conn, text) = match sql.strip_prefix("b: ") {
                Some(text) => (&mut b, text),
                None => (&mut a, *sql),
            };
            answers.push(seen(conn.try_query(text)));
        }
        answers
    };
    let plain = run(&|| PAIR.plain.connect());
    let proxied = run(&|| PAIR.proxy.connect_as("sb", "sb", Some("test")));
    for ((sql, plain), proxied) in statements.iter().zip(&plain).zip(&proxied) {
        assert_eq!(plain, proxied, "{sql}, of {statements:#?}");
    }
    let open = "select count(*) from information_schema.innodb_trx where trx_mysql_thread_id <> \
        connection_id()";
    coregate_tests::wait_until("no transaction is left", || {
        std::thread::sleep(std::time::Duration::from_millis(150));
        PAIR.server.connect().value(open).as_deref() == Some("0")
    });
}

#[test]
fn an_implicit_transaction_whose_first_statement_fails_keeps_its_locks_to_itself() {
    same(&[
        "set autocommit = 0",
        "insert into t values (1, 'again')",
        "b: update t set v = 'b' where id = 1",
        "commit",
        "b: update t set v = 'b' where id = 1",
        "select * from t",
    ]);
    same(&[
        "set autocommit = 0; insert into t values (1, 'again')",
        "insert into t values (2, 'x')",
        "commit",
        "b: select * from t",
    ]);
}

#[test]
fn routines_that_begin_and_fail_leave_their_transaction_to_the_session() {
    let begins = "create procedure p() begin start transaction; insert into t values (7, 'p'); \
        signal sqlstate '45000'; end";
    same(&[begins, "call p()", "b: select * from t", "commit", "b: select * from t"]);
    same(&[begins, "call p()", "insert into t values (8, 'x')", "rollback", "b: select * from t"]);
    same(&[
        "begin not atomic start transaction; insert into t values (7, 'p'); signal sqlstate \
            '45000'; end",
        "b: select * from t",
        "commit",
        "b: select * from t",
    ]);
    let commits = "create procedure p() begin insert into t values (7, 'p'); commit; signal \
        sqlstate '45000'; end";
    same(&[
        commits,
        "begin",
        "insert into t values (5, 'x')",
        "call p()",
        "rollback",
        "b: select * from t",
    ]);
    same(&[
        "create procedure p() begin set autocommit = 0; insert into t values (7, 'p'); signal \
            sqlstate '45000'; end",
        "call p()",
        "commit",
        "b: select * from t",
    ]);
}

#[test]
fn locks_that_are_waited_for_in_vain_end_what_the_server_ends() {
    same(&[
        "b: begin",
        "b: update t set v = 'b' where id = 1",
        "begin",
        "insert into t values (2, 'x')",
        "update t set v = 'a' where id = 1",
        "commit",
        "b: commit",
        "select * from t",
    ]);
}

#[test]
fn xa_transactions_outlive_a_commit_that_is_refused() {
    same(&[
        "xa start 'q1'",
        "insert into t values (2, 'xa')",
        "commit",
        "rollback",
        "xa end 'q1'",
        "commit",
        "xa prepare 'q1'",
        "xa commit 'q1'",
        "select * from t",
    ]);
}

#[test]
fn completion_type_is_followed() {
    for kind in ["1", "'CHAIN'"] {
        let set = format!("set completion_type = {kind}");
        same(&[
            &set,
            "begin",
            "commit",
            "insert into t values (2, 'x')",
            "rollback",
            "b: select * from t",
        ]);
        same(&[
            &set,
            "begin",
            "insert into t values (3, 'y')",
            "commit",
            "insert into t values (2, 'x')",
            "rollback",
            "b: select * from t",
        ]);
        same(&[
            &set,
            "begin",
            "commit and no chain",
            "insert into t values (2, 'x')",
            "rollback",
            "b: select * from t",
        ]);
        same(&[
            &set,
            "begin",
            "rollback",
            "insert into t values (2, 'x')",
            "rollback",
            "b: select * from t",
        ]);
    }
    same(&["set completion_type = 2", "begin", "commit", "select 1"]);
    same(&[
        "set completion_type = 2",
        "begin",
        "insert into t values (2, 'x')",
        "rollback",
        "select 1",
        "b: select * from t",
    ]);
    same(&["set completion_type = 2", "begin", "commit no release", "select 1"]);
    same(&["begin", "commit release", "select 1"]);
    same(&[
        "start transaction read only",
        "commit and chain",
        "insert into t values (2, 'x')",
        "rollback",
    ]);
}

#[test]
fn set_transaction_is_for_the_next_statement_where_no_transaction_is_begun() {
    same(&[
        "set transaction read only",
        "insert into t values (3, 'x')",
        "insert into t values (4, 'x')",
        "select * from t",
    ]);
    same(&[
        "set transaction read only",
        "select 1",
        "insert into t values (3, 'x')",
        "insert into t values (4, 'x')",
    ]);
    same(&[
        "set transaction read only",
        "select count(*) from t",
        "insert into t values (4, 'x')",
        "b: insert into t values (5, 'x')",
    ]);
    same(&[
        "set transaction read only",
        "select * from nosuch",
        "insert into t values (4, 'x')",
        "b: insert into t values (5, 'x')",
    ]);
    same(&[
        "b: begin",
        "b: insert into t values (2, 'x')",
        "set transaction isolation level read uncommitted",
        "select count(*) from t",
        "select count(*) from t",
        "b: rollback",
    ]);
    same(&[
        "set transaction read only",
        "begin",
        "insert into t values (3, 'x')",
        "commit",
        "insert into t values (4, 'x')",
    ]);
    same(&[
        "set autocommit = 0",
        "set transaction read only",
        "insert into t values (3, 'x')",
        "select count(*) from t",
        "insert into t values (3, 'x')",
        "commit",
        "insert into t values (4, 'x')",
        "commit",
    ]);
}
