//! TPC-C's consistency conditions 1 to 4 (clause 3.3.2) over two shards, behind a run in which a
//! server is killed: New-Order, Payment and Delivery, each by the rows that it has read.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Answer, Connection, Coregate, MariaDb, guard, world};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WAREHOUSES: u64 = 4;
const DISTRICTS: u64 = 3;
const CUSTOMERS: u64 = 5;
const ITEMS: u64 = 20;
const CLIENTS: u64 = 6;

const TABLES: [&str; 8] = [
    "warehouse (w_id int not null primary key, w_ytd decimal(12,2) not null)",
    "district (d_w_id int not null, d_id int not null, d_ytd decimal(12,2) not null, d_next_o_id \
     bigint not null, primary key (d_w_id, d_id))",
    "customer (c_w_id int not null, c_d_id int not null, c_id int not null, c_balance \
     decimal(12,2) not null, primary key (c_w_id, c_d_id, c_id))",
    "history (h_c_id int, h_c_d_id int, h_c_w_id int not null, h_d_id int, h_w_id int, h_amount \
     decimal(6,2))",
    "orders (o_w_id int not null, o_d_id int not null, o_id bigint not null, o_c_id int, \
     o_carrier_id int, o_ol_cnt int not null, primary key (o_w_id, o_d_id, o_id))",
    "new_orders (no_w_id int not null, no_d_id int not null, no_o_id bigint not null, primary key \
     (no_w_id, no_d_id, no_o_id))",
    "order_line (ol_w_id int not null, ol_d_id int not null, ol_o_id bigint not null, ol_number \
     int not null, ol_i_id int, ol_supply_w_id int, ol_amount decimal(6,2), primary key (ol_w_id, \
     ol_d_id, ol_o_id, ol_number))",
    "stock (s_w_id int not null, s_i_id int not null, s_quantity int not null, s_order_cnt int \
     not null, primary key (s_w_id, s_i_id))",
];

/// The columns that say a row's warehouse.
const BY: [&str; 8] =
    ["w_id", "d_w_id", "c_w_id", "h_c_w_id", "o_w_id", "no_w_id", "ol_w_id", "s_w_id"];

struct Cluster {
    servers: [Mutex<MariaDb>; 2],
    proxy: Coregate,
}

impl Cluster {
    fn start(mode: &str) -> Self {
        // What a server needs to keep what it has acknowledged when its process is killed.
        let options = ["--innodb-flush-log-at-trx-commit=2", "--innodb-lock-wait-timeout=5"];
        let servers = ["left", "right"].map(|name| MariaDb::start(name, &options));
        let name = |table: &str| table.split(' ').next().unwrap_or_default().to_owned();
        for server in &servers {
            let mut conn = server.connect();
            TABLES
                .iter()
                .for_each(|table| drop(conn.run(&format!("create table {table}"))));
        }
        let tables: Vec<String> = TABLES
            .iter()
            .zip(BY)
            .map(|(table, by)| {
                let table = name(table);
                format!(
                    r#""{table}": {{"column_vindexes": [{{"column": "{by}", "name": "hash"}}]}}"#
                )
            })
            .collect();
        let shards: Vec<String> = ["-80", "80-"]
            .iter()
            .zip(&servers)
            .map(|(shard, server)| {
                format!(
                    r#"{{"name": "{shard}", "tablets": [{{"alias": "t{shard}", "type": "primary",
                    "host": "127.0.0.1", "port": {}, "user": "sb", "password": "sb"}}]}}"#,
                    server.port
                )
            })
            .collect();
        let keyspace = format!(
            r#"{{"name": "tpcc", "database": "test", "shards": [{}], "vschema": {{"sharded": true,
            "vindexes": {{"hash": {{"type": "hash"}}}}, "tables": {{{}}}}}}}"#,
            shards.join(","),
            tables.join(",")
        );
        let dir = guard::dir().join(format!("tpcc-{mode}-topology"));
        std::fs::create_dir_all(dir.join("topology")).unwrap();
        std::fs::write(dir.join("topology/tpcc.json"), keyspace).unwrap();
        let config = format!(
            "[topology]\ndir = {:?}\n[users]\nfile = {:?}\n[server]\ncores = \
             2\ntransaction_mode = \"{mode}\"\n",
            dir.to_str().unwrap(),
            world::users_file().to_str().unwrap()
        );
        let proxy = Coregate::configured(&format!("tpcc-{mode}"), &config);
        let cluster = Self { servers: servers.map(Mutex::new), proxy };
        cluster.fill();
        cluster
    }

    fn connect(&self) -> Connection {
        self.proxy
            .connect_as(world::USER, world::PASSWORD, Some("tpcc"))
    }

    fn fill(&self) {
        let mut conn = self.connect();
        for w in 1..=WAREHOUSES {
            // As clause 4.3.3 has it, with fewer rows: the warehouse's money is its districts'.
            conn.run(&format!("insert into warehouse values ({w}, {})", DISTRICTS * 30_000));
            for d in 1..=DISTRICTS {
                conn.run(&format!("insert into district values ({w}, {d}, 30000, 4)"));
                for c in 1..=CUSTOMERS {
                    conn.run(&format!("insert into customer values ({w}, {d}, {c}, -10)"));
                }
                for o in 1..=3 {
                    conn.run(&format!("insert into orders values ({w}, {d}, {o}, 1, null, 1)"));
                    conn.run(&format!("insert into new_orders values ({w}, {d}, {o})"));
                    conn.run(&format!(
                        "insert into order_line values ({w}, {d}, {o}, 1, 1, {w}, 5)"
                    ));
                }
            }
            for i in 1..=ITEMS {
                conn.run(&format!("insert into stock values ({w}, {i}, 50, 0)"));
            }
        }
    }

    /// Ends a server as a crash does, and starts it again on its data.
    fn crash(&self, at: usize) {
        let mut server = self.servers[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        server.kill();
        server.restart();
    }

    fn prepared(&self) -> usize {
        let server = |at: usize| {
            self.servers[at]
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .connect()
        };
        (0..2)
            .map(|at| server(at).query("xa recover").rows().len())
            .sum()
    }
}

/// Numbers that look like chance, the same with every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides + 1
    }
}

struct Client<'c> {
    conn: Connection,
    dice: &'c mut Dice,
    /// Customers and stock of other warehouses take part.
    remote: bool,
}

/// Why a transaction ends early: the connection is lost, or the server has refused it.
enum End {
    Lost,
    Refused,
}

impl Client<'_> {
    fn run(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, End> {
        let answers = self.conn.try_query(sql).map_err(|_| End::Lost)?;
        match answers.into_iter().next() {
            Some(Answer::Error(_)) | None => Err(End::Refused),
            Some(rows @ Answer::Rows { .. }) => Ok(rows.rows()),
            Some(_) => Ok(Vec::new()),
        }
    }

    fn number(&mut self, sql: &str) -> Result<Option<u64>, End> {
        let rows = self.run(sql)?;
        let cell = rows
            .first()
            .and_then(|row| row.first())
            .and_then(Option::as_ref);
        Ok(cell.map(|cell| cell.parse().unwrap()))
    }

    fn other(&mut self, own: u64) -> u64 {
        if self.remote { self.dice.roll(WAREHOUSES) } else { own }
    }

    fn new_order(&mut self) -> Result<(), End> {
        let (w, d) = (self.dice.roll(WAREHOUSES), self.dice.roll(DISTRICTS));
        let (c, lines) = (self.dice.roll(CUSTOMERS), self.dice.roll(5));
        let of = format!("where d_w_id = {w} and d_id = {d}");
        self.run("begin")?;
        let next = self.number(&format!("select d_next_o_id from district {of} for update"))?;
        let o = next.ok_or(End::Refused)?;
        self.run(&format!("update district set d_next_o_id = {o} + 1 {of}"))?;
        self.run(&format!("insert into orders values ({w}, {d}, {o}, {c}, null, {lines})"))?;
        self.run(&format!("insert into new_orders values ({w}, {d}, {o})"))?;
        for line in 1..=lines {
            let (i, from) = (self.dice.roll(ITEMS), self.other(w));
            self.run(&format!(
                "update stock set s_quantity = if(s_quantity > 15, s_quantity - 5, s_quantity + \
                 86), s_order_cnt = s_order_cnt + 1 where s_w_id = {from} and s_i_id = {i}"
            ))?;
            let line = format!("({w}, {d}, {o}, {line}, {i}, {from}, {})", i * 3);
            self.run(&format!("insert into order_line values {line}"))?;
        }
        self.run("commit").map(drop)
    }

    fn payment(&mut self) -> Result<(), End> {
        let (w, d) = (self.dice.roll(WAREHOUSES), self.dice.roll(DISTRICTS));
        let (a, of) = (self.dice.roll(500), self.other(w));
        let c = self.dice.roll(CUSTOMERS);
        self.run("begin")?;
        self.run(&format!("update warehouse set w_ytd = w_ytd + {a} where w_id = {w}"))?;
        self.run(&format!(
            "update district set d_ytd = d_ytd + {a} where d_w_id = {w} and d_id = {d}"
        ))?;
        self.run(&format!(
            "update customer set c_balance = c_balance - {a} where c_w_id = {of} and c_d_id = {d} \
             and c_id = {c}"
        ))?;
        self.run(&format!("insert into history values ({c}, {d}, {of}, {d}, {w}, {a})"))?;
        self.run("commit").map(drop)
    }

    fn delivery(&mut self) -> Result<(), End> {
        let (w, d) = (self.dice.roll(WAREHOUSES), self.dice.roll(DISTRICTS));
        let of = format!("no_w_id = {w} and no_d_id = {d}");
        self.run("begin")?;
        let oldest = self.number(&format!(
            "select no_o_id from new_orders where {of} order by no_o_id limit 1 for update"
        ))?;
        if let Some(o) = oldest {
            self.run(&format!("delete from new_orders where {of} and no_o_id = {o}"))?;
            self.run(&format!(
                "update orders set o_carrier_id = 1 where o_w_id = {w} and o_d_id = {d} and o_id = \
                 {o}"
            ))?;
        }
        self.run("commit").map(drop)
    }

    fn transaction(&mut self) -> Result<(), End> {
        match self.dice.roll(10) {
            1..=5 => self.new_order(),
            6..=9 => self.payment(),
            _ => self.delivery(),
        }
    }
}

fn client(cluster: &Cluster, seed: u64, remote: bool, (stop, done): (&AtomicBool, &AtomicU64)) {
    let mut dice = Dice(seed);
    while !stop.load(Ordering::Relaxed) {
        let address = cluster.proxy.mysql;
        let Ok(conn) = Connection::try_login(address, world::USER, world::PASSWORD, Some("tpcc"))
        else {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        let mut client = Client { conn, dice: &mut dice, remote };
        while !stop.load(Ordering::Relaxed) {
            match client.transaction() {
                Ok(()) => drop(done.fetch_add(1, Ordering::Relaxed)),
                Err(End::Lost) => break,
                Err(End::Refused) if client.run("rollback").is_err() => break,
                Err(End::Refused) => {}
            }
        }
    }
}

/// Rows that break a condition, each of which is a query that finds none.
fn broken(conn: &mut Connection) -> Vec<String> {
    let conditions = [
        // 1: a warehouse has what its districts have.
        "select w_id, w_ytd, s from warehouse join (select d_w_id, sum(d_ytd) s from district \
         group by d_w_id) d on d_w_id = w_id where w_ytd <> s",
        // 2: the next order is one behind the last, which is the last new order, if there is one.
        "select d_w_id, d_id, d_next_o_id, o, n from district left join (select o_w_id, o_d_id, \
         max(o_id) o from orders group by o_w_id, o_d_id) x on o_w_id = d_w_id and o_d_id = d_id \
         left join (select no_w_id, no_d_id, max(no_o_id) n from new_orders group by no_w_id, \
         no_d_id) y on no_w_id = d_w_id and no_d_id = d_id where o is null or d_next_o_id - 1 <> o \
         or n <> o",
        // 3: new orders have no gaps.
        "select no_w_id, no_d_id, min(no_o_id), max(no_o_id), count(*) from new_orders group by \
         no_w_id, no_d_id having max(no_o_id) - min(no_o_id) + 1 <> count(*)",
        // 4: there are as many lines as the orders say.
        "select o_w_id, o_d_id, s, n from (select o_w_id, o_d_id, sum(o_ol_cnt) s from orders \
         group by o_w_id, o_d_id) x left join (select ol_w_id, ol_d_id, count(*) n from order_line \
         group by ol_w_id, ol_d_id) y on ol_w_id = o_w_id and ol_d_id = o_d_id where n is null or \
         s <> n",
        // And money that a customer has paid is in the history of the same transaction, which the
        // first ones do not see where the customer is another warehouse's.
        "select w_id, w_ytd, paid from warehouse left join (select h_w_id, sum(h_amount) paid from \
         history group by h_w_id) h on h_w_id = w_id where w_ytd - 90000 <> coalesce(paid, 0)",
    ];
    let rows = |(at, sql): (usize, &&str)| {
        let found = conn.query(sql).rows();
        found
            .into_iter()
            .map(|row| format!("condition {}: {row:?}", at + 1))
            .collect::<Vec<_>>()
    };
    conditions.iter().enumerate().flat_map(rows).collect()
}

fn holds_while_servers_die(mode: &str, remote: bool) {
    let cluster = Cluster::start(mode);
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (cluster, told) = (&cluster, (&stop, &done));
        for n in 0..CLIENTS {
            scope.spawn(move || client(cluster, n + 1, remote, told));
        }
        let progress = |count: u64| {
            let wanted = done.load(Ordering::Relaxed) + count;
            let end = Instant::now() + Duration::from_secs(60);
            while done.load(Ordering::Relaxed) < wanted && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            let enough = done.load(Ordering::Relaxed) >= wanted;
            // Clients end with the test, also where it fails.
            stop.fetch_or(!enough, Ordering::Relaxed);
            assert!(enough, "only {} transactions", done.load(Ordering::Relaxed));
        };
        for round in 0..4 {
            progress(150);
            cluster.crash(round % 2);
        }
        progress(150);
        stop.store(true, Ordering::Relaxed);
    });
    let end = Instant::now() + Duration::from_secs(60);
    while cluster.prepared() > 0 {
        assert!(Instant::now() < end, "branches are left");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut conn = cluster.connect();
    assert_eq!(broken(&mut conn), [""; 0]);
    let lines = conn.value("select count(*) from order_line").unwrap();
    assert!(lines.parse::<u64>().unwrap() > 500, "{lines}");
    // The conditions are there to be broken.
    conn.run(
        "update district set d_ytd = d_ytd + 1, d_next_o_id = d_next_o_id + 1 where d_w_id = 1",
    );
    conn.run("delete from order_line where ol_w_id = 2 and ol_number = 1 limit 1");
    let found = broken(&mut conn);
    for condition in ["condition 1", "condition 2", "condition 4"] {
        assert!(found.iter().any(|row| row.starts_with(condition)), "{condition}: {found:?}");
    }
}

#[test]
fn its_conditions_hold_under_twopc_across_warehouses() {
    holds_while_servers_die("twopc", true);
}

#[test]
fn its_conditions_hold_under_multi_within_warehouses() {
    holds_while_servers_die("multi", false);
}
