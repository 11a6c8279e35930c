//! Queries over several shards that are cut off at every stage: nothing stays behind, and a
//! transaction goes on.
use crate::world::WORLD;
use coregate_tests::{Connection, wait_until, world};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A query for each stage that takes long: a shard's part of a merge, a gather, the last server's
/// work.
const SLOW: &[&str] = &[
    "select /*vt+ QUERY_TIMEOUT_MS=200 */ id from customers where sleep(0.2) = 0 order by id",
    "select /*vt+ QUERY_TIMEOUT_MS=200 */ quantity, count(*) from orders where sleep(0.1) = 0 \
        group by quantity",
    "select /*vt+ QUERY_TIMEOUT_MS=200 */ c.id from customers c join notes n on n.customer_id = \
        c.id where sleep(0.2) = 0",
];

/// One test at a time: each looks at what the servers do, and some write rows for a while.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The statement without its time limit.
fn unlimited(sql: &str) -> String {
    sql.replace("/*vt+ QUERY_TIMEOUT_MS=200 */ ", "")
}

/// What the shards' servers run for anyone now, beyond this question.
fn busy(shards: &mut [Connection]) -> usize {
    shards
        .iter_mut()
        .map(|conn| {
            let sql =
                "select count(*) from information_schema.processlist where state = 'User sleep'";
            conn.value(sql).unwrap().parse::<usize>().unwrap()
        })
        .sum()
}

fn shards() -> Vec<Connection> {
    ["test:-40", "test:40-80", "test:80-c0", "test:c0-"]
        .map(|target| {
            WORLD
                .local
                .connect_as(world::USER, world::PASSWORD, Some(target))
        })
        .into()
}

/// Everything works as before, on every connection that the pools may hand out.
fn still_works() {
    let mut conn = WORLD.sharded();
    for _ in 0..20 {
        assert_eq!(conn.value("select count(*) from customers").unwrap(), "60");
        let finished = "select count(*) from customers c join customers d on d.id = c.id + 1";
        assert_eq!(conn.value(finished).unwrap(), "59");
    }
}

#[test]
fn a_time_limit_ends_every_stage_and_leaves_the_transaction() {
    let _turn = alone();
    let mut conn = WORLD.sharded();
    let mut shards = shards();
    for (n, sql) in SLOW.iter().enumerate() {
        let id = 900_000 + n;
        conn.run("begin");
        conn.run(&format!("insert into customers (id, name) values ({id}, 'kept')"));
        assert_eq!(conn.query(sql).error().code, 3024, "{sql}");
        conn.run(&format!("update customers set name = 'kept on' where id = {id}"));
        conn.run("commit");
        let name = conn.value(&format!("select name from customers where id = {id}"));
        assert_eq!(name.unwrap(), "kept on");
        conn.run(&format!("delete from customers where id = {id}"));
        assert_eq!(conn.query(sql).error().code, 3024, "{sql}");
    }
    wait_until("the servers have stopped", || busy(&mut shards) == 0);
    still_works();
}

#[test]
fn kill_query_ends_every_stage() {
    let _turn = alone();
    let mut shards = shards();
    for sql in SLOW {
        let mut conn = WORLD.sharded();
        let id = conn.value("select connection_id()").unwrap();
        let sql = unlimited(sql);
        let running = thread::spawn(move || {
            let answer = conn.query(&sql);
            (conn, answer)
        });
        wait_until("a server runs it", || busy(&mut shards) > 0);
        WORLD.sharded().run(&format!("kill query {id}"));
        let (mut conn, answer) = running.join().unwrap();
        assert_eq!(answer.error().code, 1317);
        assert_eq!(
            conn.value("select count(*) from customers where id < 1000")
                .unwrap(),
            "60"
        );
        wait_until("the servers have stopped", || busy(&mut shards) == 0);
    }
    still_works();
}

#[test]
fn a_client_that_goes_leaves_nothing_running() {
    let _turn = alone();
    let mut shards = shards();
    for sql in SLOW {
        let mut conn = WORLD.sharded();
        conn.send_command(3, unlimited(sql).as_bytes()).unwrap();
        wait_until("a server runs it", || busy(&mut shards) > 0);
        drop(conn);
        wait_until("the servers have stopped", || busy(&mut shards) == 0);
    }
    still_works();
}

#[test]
fn an_error_of_one_shard_is_the_answer_and_nothing_else() {
    let _turn = alone();
    let mut conn = WORLD.sharded();
    // Only the shard with this row fails, and only when it comes to it.
    for sql in [
        "select id, 18446744073709551615 + if(id = 37, 1, 0) x from customers order by id",
        "select max(18446744073709551615 + if(id = 37, 1, 0)) from customers",
        "select c.id, 18446744073709551615 + if(c.id = 37, 1, 0) from customers c join notes n on \
            n.id = c.id + 1",
    ] {
        conn.run("begin");
        conn.run("insert into customers (id, name) values (910000, 'x')");
        assert_eq!(conn.query(sql).error().code, 1690, "{sql}");
        assert_eq!(
            conn.value("select name from customers where id = 910000")
                .unwrap(),
            "x"
        );
        conn.run("rollback");
        assert_eq!(
            conn.query("select id from customers where id = 910000")
                .rows()
                .len(),
            0
        );
    }
    thread::sleep(Duration::from_millis(1));
    still_works();
}

/// Settings of a session that its finisher has to do without.
#[test]
fn a_session_s_settings_do_not_keep_a_query_from_being_finished() {
    let _turn = alone();
    let finished =
        "select count(distinct body) > 5 from notes n join customers c on c.id = n.id + 1";
    for setting in [
        "set session transaction read only",
        "set character_set_connection = ucs2",
        "set default_storage_engine = memory",
        "set sql_mode = 'ANSI,STRICT_ALL_TABLES'",
        "set time_zone = '-03:00'",
        "set autocommit = 0",
        "set character_set_results = null",
    ] {
        let mut conn = WORLD.sharded();
        conn.run(setting);
        assert_eq!(conn.value(finished).unwrap(), "1", "{setting}");
        assert_eq!(conn.value(finished).unwrap(), "1", "{setting}");
        // Nobody else has them.
        let mut other = WORLD.sharded();
        other.run("insert into customers (id, name) values (930000, 'x')");
        assert_eq!(other.value(finished).unwrap(), "1", "after {setting}");
        other.run("delete from customers where id = 930000");
    }
    let mut conn = WORLD.sharded();
    conn.run(
        "prepare s from 'select c.id from customers c join notes n on n.id = c.id + 1 where \
        c.id < ? order by c.id limit ?, ?'",
    );
    conn.run("set @a = 50, @b = 3, @c = 4");
    let rows = conn.query("execute s using @a, @b, @c").rows();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0][0].as_deref(), Some("4"));
}

#[test]
fn few_connections_and_many_clients_get_on() {
    let _turn = alone();
    let threads: Vec<_> = (0..40)
        .map(|n| {
            thread::spawn(move || {
                let mut conn = WORLD.sharded();
                for _ in 0..5 {
                    let in_transaction = n % 4 == 0;
                    if in_transaction {
                        conn.run("begin");
                        conn.run(&format!(
                            "insert into customers (id, name) values ({}, \
                            'x')",
                            920_000 + n
                        ));
                    }
                    let finished = "select count(*) from customers c join customers d on d.id = \
                        c.id + 1 where c.id < 100 and d.id < 100";
                    assert_eq!(conn.value(finished).unwrap(), "59");
                    let ordered = conn.query(
                        "select id from customers where id < 1000 order by \
                        name, id limit 7",
                    );
                    assert_eq!(ordered.rows().len(), 7);
                    if in_transaction {
                        conn.run("rollback");
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
