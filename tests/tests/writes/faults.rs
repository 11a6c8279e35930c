//! Changes by key that fail, or are stopped, on their way: they leave nothing, and what came before
//! them in the transaction stays.
use crate::world::{WORLD, contents, entries};
use crate::{Pair, alone};
use coregate_tests::{Connection, wait_until};

/// Steps of every kind, each of which some shard refuses after others have done their part.
const REFUSED: &[&str] = &[
    "update customers set name = if(id = 29, null, 'x') where id in (select customer_id from \
        notes) or id = 29",
    "update notes set id = if(id > 30, 500, id) where customer_id in (select id from customers)",
    "update people set email = if(id > 15, 'one@x', concat(email, 'z')) where id < 25",
    "insert into customers (id, name) select id + if(id = 20, 1, 100), name from customers where \
        id < 30",
    "insert into people (id, email, team) select id + 100, if(id > 20, 'one@x', concat(id, '@n')), \
        name from customers",
];

#[test]
fn a_statement_that_fails_is_undone_alone() {
    let _turn = alone();
    let mut pair = Pair::new();
    for sql in REFUSED {
        for begin in ["begin", "set autocommit = 0"] {
            pair.both(begin);
            pair.both("update orders set note = 'before' order by id, customer_id limit 3");
            pair.both("delete from people where id = 2");
            pair.compare(sql, begin, Connection::query);
            pair.both(
                "update notes set body = 'behind' where customer_id in (select id from \
                customers where level = 1)",
            );
            pair.both("commit");
            pair.both("set autocommit = 1");
            pair.compare_tables(&format!("{begin}: {sql}"));
            pair.refill();
        }
    }
    pair.end();
}

#[test]
fn a_statement_that_is_stopped_leaves_nothing() {
    let _turn = alone();
    let mut pair = Pair::new();
    let mut other = WORLD.sharded();
    let id = pair.sharded.value("select connection_id()").unwrap();
    for sql in [
        "update notes set body = 'new' where customer_id in (select id from customers) order by id \
            limit 35",
        "update customers set id = id + 500",
        "delete p, c from people p join customers c on c.id = p.id",
        "insert into notes (id, customer_id) select id + 500, id from customers",
        "replace into people (id, email) values (1, 'a@x'), (2, 'b@x'), (24, 'c@x')",
    ] {
        let before = (contents(&mut pair.sharded), entries(&mut pair.sharded));
        other.run("begin");
        // The last rows that the statement comes to, or what it inserts.
        for hold in [
            "select * from notes where id > 30 for update",
            "select * from customers where id = 30 for update",
            "select * from people where id = 24 for update",
        ] {
            other.query(hold).rows();
        }
        pair.sharded.send_command(3, sql.as_bytes()).unwrap();
        wait_until("it waits", || {
            let waiting =
                "select count(*) from information_schema.innodb_trx where trx_state = 'LOCK WAIT'";
            ["test:-40", "test:40-80", "test:80-c0", "test:c0-"]
                .iter()
                .any(|target| {
                    let mut shard = WORLD.local.connect_as(
                        coregate_tests::world::USER,
                        coregate_tests::world::PASSWORD,
                        Some(target),
                    );
                    shard.value(waiting).unwrap() != "0"
                })
        });
        WORLD.sharded().run(&format!("kill query {id}"));
        let answer = pair.sharded.answer(false).unwrap();
        assert_eq!(answer.error().code, 1317, "{sql}");
        other.run("rollback");
        let after = (contents(&mut pair.sharded), entries(&mut pair.sharded));
        assert_eq!(before, after, "{sql}");
        assert_eq!(pair.sharded.value("select @@in_transaction").unwrap(), "0");
    }
}
