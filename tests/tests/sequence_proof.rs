//! No number of a sequence comes twice, whatever is killed: a process that holds a part of a block,
//! the server that has the sequence.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::replicated::{self, Cluster};
use coregate_tests::{Answer, Connection, Coregate, Etcd, MariaDb, guard, wait_until, world};
use rustix::process::{Signal, kill_process};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const CLIENTS: usize = 8;

const SEQUENCE: [&str; 2] = [
    "create table many_seq (id bigint not null primary key, next_id bigint, cache bigint) comment \
     'vitess_sequence'",
    "insert into many_seq values (0, 1, 50)",
];

const NUMBERS: &str = "create table numbers (id bigint not null primary key, client int)";

const PLAIN_VSCHEMA: &str = r#"{"tables": {"many_seq": {"type": "sequence"}}}"#;

const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}}, "tables": {
 "numbers": {"column_vindexes": [{"column": "id", "name": "hash"}],
 "auto_increment": {"column": "id", "sequence": "many_seq"}}}}"#;

/// Numbers that one statement was given: the first, and how many.
type Range = (u64, u64);

/// Clients of two processes, each of which takes so many numbers.
struct Run<'r> {
    processes: &'r [Mutex<Option<Coregate>>; 2],
    database: &'r str,
    wanted: u64,
    /// The most that one statement asks for.
    block: u64,
    taken: AtomicU64,
    failed: AtomicBool,
}

impl Run<'_> {
    /// Takes numbers until it has enough; those that were acknowledged.
    fn client(&self, number: usize) -> Vec<Range> {
        let mut all = Vec::new();
        let mut has = 0;
        let mut conn: Option<Connection> = None;
        let end = Instant::now() + Duration::from_secs(600);
        while has < self.wanted && !self.failed.load(Ordering::Relaxed) {
            assert!(Instant::now() < end, "too slow: {has}");
            let Some(open) = &mut conn else {
                conn = self.connect(number % 2);
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            let (sql, count) = self.statement(number, all.len() as u64);
            let answer = open
                .try_query(&sql)
                .ok()
                .and_then(|answers| answers.into_iter().next());
            let first = match answer {
                Some(Answer::Ok { insert_id, .. }) => insert_id,
                Some(rows @ Answer::Rows { .. }) => rows.value().unwrap().parse().unwrap(),
                other => {
                    // A row with the number is there already.
                    let twice = matches!(&other, Some(Answer::Error(error)) if error.code == 1062);
                    self.failed.fetch_or(twice, Ordering::Relaxed);
                    assert!(!twice, "{other:?}");
                    conn = None;
                    continue;
                }
            };
            all.push((first, count));
            has += count;
            self.taken.fetch_add(count, Ordering::Relaxed);
        }
        all
    }

    fn statement(&self, number: usize, nth: u64) -> (String, u64) {
        // Of all sizes, also beyond what a core holds.
        let many = 2 + (nth * 7_919 + number as u64 * 104_729) % (self.block - 1);
        match nth % 5 {
            0 => (format!("insert into numbers (client) values ({number})"), 1),
            1 => (
                format!("insert into numbers (client) values ({number}), ({number}), ({number})"),
                3,
            ),
            2 => ("select next value for many_seq".to_owned(), 1),
            _ => (format!("select next {many} values from many_seq"), many),
        }
    }

    fn connect(&self, process: usize) -> Option<Connection> {
        let process = self.processes[process].lock().unwrap();
        let address: SocketAddr = process.as_ref()?.mysql;
        drop(process);
        std::net::TcpStream::connect(address).ok()?;
        Connection::try_login(address, world::USER, world::PASSWORD, Some(self.database)).ok()
    }

    /// Runs the clients; `trouble` is made each time that a fifth of the numbers is taken.
    fn run(&self, mut trouble: impl FnMut(u64)) {
        let mut all: Vec<Range> = Vec::new();
        let total = self.wanted * CLIENTS as u64;
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|n| scope.spawn(move || self.client(n)))
                .collect();
            for round in 1..=4 {
                let enough = || {
                    self.taken.load(Ordering::Relaxed) >= total / 5 * round
                        || self.failed.load(Ordering::Relaxed)
                };
                while !enough() && !clients.iter().all(|client| client.is_finished()) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                trouble(round);
            }
            for client in clients {
                all.extend(client.join().unwrap());
            }
        });
        all.sort_unstable();
        for pair in all.windows(2) {
            let [(first, count), (next, _)] = pair else { continue };
            assert!(first + count <= *next, "{next} came twice: of {count} from {first} on");
        }
        let taken: u64 = all.iter().map(|(_, count)| count).sum();
        assert!(taken >= total, "{taken} of {total}");
    }
}

/// Two servers: the first has the sequence, and a shard; the second another shard. Both keep what
/// they have acknowledged when their process is killed.
fn servers() -> [MariaDb; 2] {
    let options = ["--innodb-flush-log-at-trx-commit=2"];
    let servers = [MariaDb::start("seq-left", &options), MariaDb::start("seq-right", &options)];
    let mut first = servers[0].connect();
    first.run("create database plain");
    first.run("use plain");
    SEQUENCE.iter().for_each(|sql| drop(first.run(sql)));
    servers
        .iter()
        .for_each(|server| drop(server.connect().run(NUMBERS)));
    servers
}

fn process(name: &str, servers: &[MariaDb; 2]) -> Coregate {
    let dir = guard::dir().join(format!("{name}-topology"));
    let dir = dir.join("topology");
    std::fs::create_dir_all(&dir).unwrap();
    let tablet = |alias: &str, at: usize| {
        let port = servers[at].port;
        format!(
            r#"{{"alias": "{alias}", "type": "primary", "host": "127.0.0.1", "port": {port},
                "user": "sb", "password": "sb"}}"#
        )
    };
    let plain = format!(
        r#"{{"name": "plain", "database": "plain", "shards": [{{"name": "0", "tablets": [{}]}}],
            "vschema": {PLAIN_VSCHEMA}}}"#,
        tablet("plain-0", 0)
    );
    let sharded = format!(
        r#"{{"name": "test", "database": "test", "shards": [{{"name": "-80", "tablets": [{}]}},
            {{"name": "80-", "tablets": [{}]}}],
            "vschema": {VSCHEMA}}}"#,
        tablet("test-0", 0),
        tablet("test-1", 1)
    );
    std::fs::write(dir.join("plain.json"), plain).unwrap();
    std::fs::write(dir.join("test.json"), sharded).unwrap();
    let text = format!(
        "[topology]\ndir = {:?}\n[users]\nfile = {:?}\n[server]\ncores = 2\n",
        dir.parent().and_then(|dir| dir.to_str()).unwrap(),
        world::users_file().to_str().unwrap()
    );
    Coregate::configured(name, &text)
}

fn kill(process: &Mutex<Option<Coregate>>) {
    let killed = process.lock().unwrap().take();
    if let Some(mut killed) = killed {
        killed.process.kill();
    }
}

#[test]
fn no_number_comes_twice_though_a_process_and_the_sequences_server_are_killed() {
    let mut servers = servers();
    let processes = ["seq-one", "seq-two"].map(|name| Mutex::new(Some(process(name, &servers))));
    let run = Run {
        processes: &processes,
        database: "test",
        wanted: 50_000,
        block: 500,
        taken: AtomicU64::default(),
        failed: AtomicBool::default(),
    };
    run.run(|round| {
        kill(&processes[1]);
        if round % 2 == 0 {
            servers[0].kill();
            servers[0].restart();
        }
        *processes[1].lock().unwrap() = Some(process("seq-two", &servers));
    });
}

/// `coregate serve` on the topology that is in etcd.
fn beside(name: &str, etcd: &Etcd, root: &str) -> Coregate {
    let users = world::users_file();
    Coregate::configured(
        name,
        &format!(
            "[server]\ncores = 2\n[topology]\nstore = \"etcd\"\nendpoints = {}\nroot = \
             \"/{root}\"\n[users]\nfile = {users:?}\n[failover]\nenabled = true\ndurability = \
             \"semi_sync\"\n",
            etcd.endpoints()
        ),
    )
}

fn primary(process: &Mutex<Option<Coregate>>) -> String {
    let process = process.lock().unwrap();
    let process = process.as_ref().unwrap();
    let mut conn = process.connect_as(world::USER, world::PASSWORD, Some("ks"));
    let mut rows = conn.run("show vitess_tablets").rows();
    rows.retain(|row| row[3].as_deref() == Some("PRIMARY"));
    rows.first()
        .and_then(|row| row[5].clone())
        .unwrap_or_default()
}

/// Ten million of them, with a failover of the sequence's server in the middle.
#[test]
#[ignore = "takes minutes; make test-all runs it"]
fn ten_million_numbers_come_once() {
    let etcd = Etcd::start("etcd-numbers", 1);
    let topo = format!("--topo={}", etcd.url("numbers"));
    let mut local = Cluster::with("numbers", "ks:1:2", 3, &[&topo]);
    let mut conn = local.connect("ks");
    SEQUENCE.iter().for_each(|sql| drop(conn.run(sql)));
    conn.run(NUMBERS);
    conn.run("alter vschema add sequence ks.many_seq");
    conn.run("alter vschema add table ks.numbers");
    conn.run("alter vschema on ks.numbers add auto_increment id using many_seq");
    let key = "/numbers/cells/zone1/tablets/zone1-100/Tablet";
    local.password = Some(replicated::password(&etcd.ctl(&["get", "--print-value-only", key])));
    // Its servers stay.
    local.proxy.process.kill();
    let names = ["numbers-one", "numbers-two"];
    let processes = names.map(|name| Mutex::new(Some(beside(name, &etcd, "numbers"))));
    let run = Run {
        processes: &processes,
        database: "ks",
        wanted: 1_250_000,
        block: 4_000,
        taken: AtomicU64::default(),
        failed: AtomicBool::default(),
    };
    run.run(|round| {
        if round == 2 {
            let old = primary(&processes[0]);
            kill_process(local.pid(&old), Signal::KILL).unwrap();
            wait_until("another server is primary", || {
                let new = primary(&processes[0]);
                !new.is_empty() && new != old
            });
        }
        kill(&processes[1]);
        *processes[1].lock().unwrap() = Some(beside(names[1], &etcd, "numbers"));
    });
}
