//! Statements of several steps over shards, with a fault between the steps: a server is killed or
//! frozen there, or the connection is cut. Each is done as a whole or not at all, its lookup tables
//! too, and nothing is held afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::tap::{Side, Taps};
use coregate_tests::{Answer, Connection, Coregate, MariaDb, guard, wait_until, world};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

const SHARDS: [&str; 3] = ["-55", "55-aa", "aa-"];

const SCHEMA: [&str; 3] = [
    "create table item (id bigint primary key, grp int, n int, email varchar(40) unique)",
    "create table other (id bigint primary key, item_id bigint, n int, key (item_id))",
    "create table email_idx (email varchar(40) primary key, keyspace_id varbinary(20))",
];

const VSCHEMA: &str = r#"{"sharded": true,
  "vindexes": {"hash": {"type": "hash"}, "xxhash": {"type": "xxhash"},
   "email": {"type": "consistent_lookup_unique", "owner": "item",
    "params": {"table": "ks.email_idx", "from": "email", "to": "keyspace_id"}}},
  "tables": {
   "item": {"column_vindexes": [{"column": "id", "name": "hash"}, {"column": "email",
   "name": "email"}]},
   "other": {"column_vindexes": [{"column": "id", "name": "hash"}]},
   "email_idx": {"column_vindexes": [{"column": "email", "name": "xxhash"}]}}}"#;

/// Statements, and words of their steps as servers see them.
const WRITES: &[(&str, &[&str])] = &[
    (
        "update item set n = n + 100 order by id limit 7",
        &["FOR UPDATE", "UPDATE `item` SET", "XA END", "COMMIT AND"],
    ),
    (
        "insert into item (id, grp, n, email) values (101, 9, 1, 'a@n'), (102, 9, 2, 'b@n'), (103, \
            9, 3, 'c@n'), (104, 9, 4, 'd@n')",
        &["INSERT INTO `test`", " into item", "XA END", "COMMIT AND"],
    ),
    (
        "update item set email = concat(email, 'x')",
        &["FOR UPDATE", "UPDATE `item` SET", "DELETE FROM `test`", "INSERT INTO `test`"],
    ),
    (
        "delete from item where grp = 1",
        &["FOR UPDATE", "DELETE FROM `test`", " from item where grp"],
    ),
    (
        "update item set id = id + 500 where grp = 2",
        &["UPDATE `item` SET", "DELETE FROM `item`", "INSERT INTO `item`"],
    ),
    (
        "insert into other select id + 1000, id, n from item",
        &["id + 1000, id", " into other", "XA END"],
    ),
    (
        "replace into item (id, grp, n, email) values (201, 8, 1, 'p001@x')",
        &[" into item", "DELETE FROM `test`"],
    ),
];

const READS: &[(&str, &[&str])] = &[
    ("select id from item order by n, id", &["from item order"]),
    ("select grp, count(*), max(email) from item group by grp order by grp", &["grp, count"]),
    (
        "select i.id, o.id from item i join other o on o.item_id = i.id + 1 order by i.id, o.id",
        &[
            "SELECT `i`",
            "SELECT `o`",
            "CREATE TEMPORARY",
            "INSERT INTO `_coregate",
            "i.id, o.id from",
            "DROP TEMPORARY",
        ],
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Freeze,
    Cut,
}

/// Says what there was, where a test fails.
struct Show<'l>(&'l std::cell::RefCell<Vec<String>>);

impl Drop for Show<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}", self.0.borrow());
        }
    }
}

struct Cluster {
    servers: Vec<Mutex<MariaDb>>,
    taps: Arc<Taps>,
    proxy: Coregate,
}

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    // Both are what a server needs to keep what it has acknowledged when its process is killed.
    let options = ["--innodb-flush-log-at-trx-commit=2", "--innodb-lock-wait-timeout=5"];
    let servers: Vec<MariaDb> = SHARDS
        .iter()
        .map(|_| MariaDb::start("shard", &options))
        .collect();
    let taps: Arc<Taps> = Arc::default();
    let dir = guard::dir().join("torn-topology");
    std::fs::create_dir_all(dir.join("topology")).unwrap();
    let shards: Vec<String> = SHARDS
        .iter()
        .zip(&servers)
        .enumerate()
        .map(|(number, (name, server))| {
            SCHEMA
                .iter()
                .for_each(|sql| drop(server.connect().run(sql)));
            let port = taps.before(number, SocketAddr::from(([127, 0, 0, 1], server.port)));
            format!(
                r#"{{"name": "{name}", "tablets": [{{"alias": "t{name}", "type": "primary",
                    "host": "127.0.0.1", "port": {port},
                    "user": "sb", "password": "sb"}}]}}"#
            )
        })
        .collect();
    let keyspace = format!(
        r#"{{"name": "ks", "database": "test", "shards": [{}], "vschema": {VSCHEMA}}}"#,
        shards.join(",")
    );
    std::fs::write(dir.join("topology/ks.json"), keyspace).unwrap();
    let config = format!(
        "[topology]\ndir = {:?}\n[users]\nfile = {:?}\n[server]\ncores = 1\ntransaction_mode = \
            \"twopc\"\n",
        dir.to_str().unwrap(),
        world::users_file().to_str().unwrap()
    );
    let proxy = Coregate::configured("torn", &config);
    Cluster { servers: servers.into_iter().map(Mutex::new).collect(), taps, proxy }
});

/// The tests share the servers.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all tables hold, and the entries that there must be.
#[derive(Debug, PartialEq, Clone)]
struct Contents {
    items: Vec<Vec<Option<String>>>,
    others: Vec<Vec<Option<String>>>,
    entries: Vec<Vec<Option<String>>>,
}

impl Cluster {
    fn connect(&self) -> Connection {
        self.proxy
            .connect_as(world::USER, world::PASSWORD, Some("ks"))
    }

    fn direct(&self, shard: usize) -> Connection {
        self.servers[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .connect()
    }

    fn refill(&self) {
        for shard in 0..SHARDS.len() {
            let mut server = self.direct(shard);
            for table in ["item", "other", "email_idx"] {
                server.run(&format!("delete from {table}"));
            }
        }
        let mut conn = self.connect();
        let items = (1..=12).map(|n| format!("({n}, {}, {}, 'p{n:03}@x')", n % 3, n * 7 % 11));
        let items: Vec<String> = items.collect();
        conn.run(&format!("insert into item values {}", items.join(",")));
        let others: Vec<String> = (1..=12)
            .map(|n| format!("({n}, {}, {n})", n * 5 % 13))
            .collect();
        conn.run(&format!("insert into other values {}", others.join(",")));
    }

    /// Of all servers, each asked itself.
    fn contents(&self) -> Contents {
        let all = |sql: &str| {
            let mut rows: Vec<_> = (0..SHARDS.len())
                .flat_map(|shard| self.direct(shard).query(sql).rows())
                .collect();
            rows.sort();
            rows
        };
        Contents {
            items: all("select id, grp, n, email from item"),
            others: all("select id, item_id, n from other"),
            entries: all("select email from email_idx"),
        }
    }

    /// Transactions that servers still have, and branches of such.
    fn held(&self) -> Vec<String> {
        // InnoDB fills innodb_trx again only where nobody has read it for a tenth of a second.
        std::thread::sleep(std::time::Duration::from_millis(150));
        let of = |shard| {
            let mut server = self.direct(shard);
            let mut rows = server
                .query(
                    "select trx_id, trx_state, trx_mysql_thread_id, trx_rows_locked, \
                    trx_rows_modified from information_schema.innodb_trx where trx_mysql_thread_id \
                    <> 0 or trx_rows_locked + trx_rows_modified > 0",
                )
                .rows();
            rows.extend(server.query("xa recover").rows());
            rows.into_iter()
                .map(move |row| format!("shard {shard}: {row:?}"))
        };
        (0..SHARDS.len()).flat_map(of).collect()
    }

    /// Runs a statement up to a step, where the fault strikes. Its answer, if there was one.
    fn strike(&self, sql: &'static str, word: &str, side: Side, fault: Fault) -> Option<Answer> {
        // A frozen server is given up, as others wait for it.
        let (verb, rest) = sql.split_once(' ').unwrap();
        let sql = format!("{verb} /*vt+ QUERY_TIMEOUT_MS=1500 */ {rest}");
        let mut conn = self.connect();
        self.taps.want(word, side);
        let client =
            std::thread::spawn(move || conn.try_query(&sql).ok().and_then(|mut all| all.pop()));
        let shard = self.taps.wait_held();
        let mut server = self.servers[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match fault {
            Fault::Cut => self.taps.drop_held(),
            Fault::Kill => {
                server.kill();
                self.taps.drop_held();
                server.restart();
            }
            Fault::Freeze => server.pause(),
        }
        let answer = client.join().unwrap();
        if fault == Fault::Freeze {
            server.resume();
            self.taps.drop_held();
        }
        drop(server);
        wait_until("the proxy answers", || {
            let conn =
                Connection::try_login(self.proxy.mysql, world::USER, world::PASSWORD, Some("ks"));
            conn.is_ok_and(|mut conn| !conn.query("select count(*) from item").is_error())
        });
        let what = format!("{fault:?} {side:?} {word} of {verb} {rest}: nothing is held");
        let last = std::cell::RefCell::new(Vec::new());
        let show = Show(&last);
        wait_until(&what, || {
            *last.borrow_mut() = self.held();
            last.borrow().is_empty()
        });
        drop(show);
        answer
    }
}

/// Two of the six ways for each step, in turn.
fn strikes() -> [(Side, Fault); 2] {
    static TURN: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let all = [
        (Side::Before, Fault::Kill),
        (Side::After, Fault::Kill),
        (Side::Before, Fault::Freeze),
        (Side::After, Fault::Cut),
        (Side::After, Fault::Freeze),
        (Side::Before, Fault::Cut),
    ];
    let at = TURN.fetch_add(2, std::sync::atomic::Ordering::Relaxed);
    // Five and six have no common factor: no step keeps its ways.
    [all[at % 6], all[(at + 1 + at / 6) % 6]]
}

/// What a statement leaves where nothing fails.
fn whole(sql: &str) -> Contents {
    CLUSTER.refill();
    CLUSTER.connect().run(sql);
    CLUSTER.contents()
}

#[test]
#[ignore = "takes four minutes; `make test-all` runs it"]
fn writes_are_whole_or_not_at_all() {
    let _turn = alone();
    let mut wrong = Vec::new();
    for (sql, words) in WRITES {
        let after = whole(sql);
        CLUSTER.refill();
        let before = CLUSTER.contents();
        assert_ne!(before, after, "{sql}");
        for word in *words {
            for (side, fault) in strikes() {
                let answer = CLUSTER.strike(sql, word, side, fault);
                let is = CLUSTER.contents();
                let acknowledged = answer.as_ref().is_some_and(|a| !a.is_error());
                if is != after && (acknowledged || is != before) {
                    wrong.push(format!("{fault:?} {side:?} {word} of {sql}: {answer:?}, {is:?}"));
                }
                if is != before {
                    CLUSTER.refill();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} are torn:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn reads_fail_or_tell_the_truth() {
    let _turn = alone();
    CLUSTER.refill();
    for (sql, words) in READS {
        let truth = CLUSTER.connect().query(sql).rows();
        for word in *words {
            for (side, fault) in strikes() {
                let answer = CLUSTER.strike(sql, word, side, fault);
                if let Some(answer @ Answer::Rows { .. }) = answer {
                    assert_eq!(answer.rows(), truth, "{fault:?} {side:?} {word} of {sql}");
                }
                assert_eq!(
                    CLUSTER.connect().query(sql).rows(),
                    truth,
                    "behind {fault:?} {side:?} {word} of {sql}"
                );
            }
        }
    }
}
