//! The same tables with the same rows on one server and over four shards: every kind of value that
//! sorts, groups and compares in a way of its own.
use coregate_tests::{Connection, Coregate, MariaDb, guard, world};
use std::fmt::Write;
use std::sync::LazyLock;

pub(crate) struct World {
    pub(crate) server: MariaDb,
    pub(crate) local: Coregate,
}

/// `customers`, and `orders` that lie with their customer; `things` of all types, by id; `notes` of
/// the customers by a key of their own, so that a join with them crosses shards.
const SCHEMA: &str = "
create table customers (id bigint not null primary key, name varchar(40) character set utf8mb4 \
collate utf8mb4_general_ci not null, region char(3) character set latin1 collate \
latin1_swedish_ci, balance decimal(20,4), born date) ;
create table orders (id bigint not null primary key, customer_id bigint not null, amount \
decimal(12,2), quantity int unsigned not null, state enum('new','paid','sent'), placed \
datetime(3), key (customer_id)) ;
create table notes (id bigint not null primary key, customer_id bigint not null, body text \
character set utf8mb4 collate utf8mb4_unicode_ci, weight double, at timestamp(2) null default \
null, key (customer_id)) ;
create table things (id int not null primary key, ti tinyint, bu bigint unsigned, d \
decimal(30,10), big decimal(65,0), f float, db double, da date, t time(6), dt datetime(6), ts \
timestamp(6) null default null, y year, c char(10) character set utf8mb4 collate utf8mb4_bin, vc \
varchar(30) character set utf8mb4 collate utf8mb4_nopad_bin, ci varchar(30) character set utf8mb4 \
collate utf8mb4_general_ci, la varchar(30) character set latin1 collate latin1_german2_ci, bin \
varbinary(30), bt bit(10), en enum('z','y','x'), se set('a','b','c')) ;
create table kinds (id int not null primary key, np varchar(20) character set utf8mb4 collate \
utf8mb4_general_nopad_ci, uc varchar(20) character set utf8mb4 collate utf8mb4_unicode_520_ci, un \
varchar(20) character set utf8mb4 collate utf8mb4_unicode_nopad_ci, sj varchar(20) character set \
latin1 collate latin1_bin, d65 decimal(65,30), d30 decimal(38,0) unsigned, f float, fu float(9,3), \
db double, dp double(12,4), en enum('c','b','a'), se set('x','y','z'), bt bit(17), b1 bit(1), js \
json, tx text character set utf8mb4 collate utf8mb4_general_ci, bl blob, ts timestamp null default \
null, t3 time(3), mi mediumint unsigned zerofill) ;
create table hidden (id bigint not null primary key, a int, secret int invisible default 7, t \
varchar(20)) ;
create table countries (code char(2) not null primary key, name varchar(40)) ;
create view totals as select quantity, count(*) as n, sum(amount) as amount from orders group by \
quantity ;
create view last_notes as select id, customer_id, body from notes order by id desc limit 10 ;
create view grand as select sum(n) as n, max(amount) as most from totals ;
create view per_region as select c.region, count(n.id) as n from customers c left join notes n on \
n.customer_id = c.id where c.region is not null group by c.region ;
";

/// In a keyspace of its own, of one server.
const LONE: &str = "
create table rates (region char(3) character set latin1 collate latin1_swedish_ci not null primary \
key, rate decimal(8,4) not null, note varchar(30) character set utf8mb4 collate \
utf8mb4_unicode_ci) ;
create table marks (id bigint not null auto_increment primary key, customer_id bigint not null, \
mark enum('good','bad') not null, at timestamp(3) null default null, f float, unique key \
(customer_id)) ;
";

const VSCHEMA: &str = r#"{"sharded": true,
 "vindexes": {"hash": {"type": "hash"}, "xxhash": {"type": "xxhash"}},
 "tables": {
  "customers": {"column_vindexes": [{"column": "id", "name": "hash"}]},
  "orders": {"column_vindexes": [{"column": "customer_id", "name": "hash"}]},
  "notes": {"column_vindexes": [{"column": "id", "name": "hash"}]},
  "things": {"column_vindexes": [{"column": "id", "name": "xxhash"}]},
  "kinds": {"column_vindexes": [{"column": "id", "name": "hash"}]},
  "hidden": {"column_vindexes": [{"column": "id", "name": "hash"}]},
  "countries": {"type": "reference"}
 }}"#;

pub(crate) static WORLD: LazyLock<World> = LazyLock::new(|| {
    let dir = guard::dir().join("across");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("test.json"), VSCHEMA).unwrap();
    std::fs::write(dir.join("test.sql"), SCHEMA).unwrap();
    let dir = dir.to_str().unwrap();
    std::fs::write(guard::dir().join("across/lone.sql"), LONE).unwrap();
    let keyspaces =
        ["--keyspace", "lone", "--keyspace", "test:4", "--schema", dir, "--vschema", dir];
    let local = Coregate::local("cluster", &keyspaces);
    let server = MariaDb::start("plain", &[]);
    let mut plain = server.connect();
    plain.run("create database lone");
    let tables = |schema: &'static str| schema.lines().filter(|line| !line.trim().is_empty());
    for statement in tables(SCHEMA) {
        plain.run(statement);
    }
    plain.run("use lone");
    for statement in tables(LONE) {
        plain.run(statement);
    }
    plain.run("use test");
    let world = World { server, local };
    let mut sharded = world.sharded();
    for conn in [&mut plain, &mut sharded] {
        conn.run("set names utf8mb4");
        conn.run("set sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'");
        for statement in rows() {
            conn.run(&statement);
        }
    }
    world
});

impl World {
    pub(crate) fn sharded(&self) -> Connection {
        self.local
            .connect_as(world::USER, world::PASSWORD, Some("test"))
    }
}

/// A small generator: the rows are the same in every run.
struct Mix(u64);

impl Mix {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

const NAMES: &[&str] = &[
    "anna", "Anna", "ANNA ", "Ånna", "berta", "Bérta", "BERTA", "çesar", "cesar", "zoe", "Zoë", "",
    " ", "a b", "a\\tb", "a", "ab", "Ω", "straße", "strasse", "10", "9", "日本",
];

fn rows() -> Vec<String> {
    let mut mix = Mix(7);
    let mut all = Vec::new();
    let mut insert = |table: &str, rows: Vec<String>| {
        for rows in rows.chunks(50) {
            all.push(format!("insert into {table} values {}", rows.join(",")));
        }
    };
    let customers = (1..=60).map(|id| {
        let region = mix.pick(&["'eu'", "'EU'", "'us'", "'as '", "null"]);
        let balance = mix.pick(&[
            "0",
            "-0.0001",
            "12.5",
            "99999.9999",
            "-7",
            "null",
            "1000000000000000.0001",
        ]);
        let born =
            mix.pick(&["'1970-01-01'", "'2000-02-29'", "null", "'0000-00-00'", "'1999-12-31'"]);
        format!("({id},'{}',{region},{balance},{born})", mix.pick(NAMES))
    });
    let customers = customers.collect();
    insert("customers", customers);
    let orders = (1..=300).map(|id| {
        let amount = match mix.below(12) {
            0 => "null".to_owned(),
            n => format!("{}.{:02}", n * 7 % 13, mix.below(100)),
        };
        let state = mix.pick(&["'new'", "'paid'", "'sent'", "null"]);
        let placed = format!(
            "'2026-0{}-1{} 10:00:00.{:03}'",
            1 + mix.below(9),
            mix.below(9),
            mix.below(1000)
        );
        format!("({id},{},{amount},{},{state},{placed})", 1 + mix.below(65), mix.below(10))
    });
    let orders = orders.collect();
    insert("orders", orders);
    let notes = (1..=120).map(|id| {
        let weight = mix.pick(&["1.5", "-2", "null", "1e10", "0.25"]);
        let at = mix.pick(&["'2026-10-25 02:30:00.5'", "null", "'2026-01-01 00:00:00'"]);
        format!("({id},{},'{}',{weight},{at})", 1 + mix.below(65), mix.pick(NAMES))
    });
    let notes = notes.collect();
    insert("notes", notes);
    let things: Vec<String> = (1..=150).map(|id| thing(id, &mut mix)).collect();
    insert("things", things);
    let kinds: Vec<String> = (1..=140).map(|id| kind(id, &mut mix)).collect();
    insert("kinds", kinds);
    let rates =
        ["('eu',1.1000,'Euro')", "('us',1.0000,null)", "('as',0.0071,'')", "('xx',3,'ähm')"];
    insert("lone.rates", rates.map(String::from).to_vec());
    let marks = (1..=40).map(|id| {
        let mark = mix.pick(&["'good'", "'bad'"]);
        let at = mix.pick(&["'2026-10-25 02:30:00.125'", "null", "'2026-01-01 00:00:00'"]);
        format!("({id},{},{mark},{at},{})", id * 3, mix.pick(&["1.5", "null", "0.1"]))
    });
    let marks = marks.collect();
    insert("lone.marks", marks);
    insert(
        "hidden",
        (1..=20)
            .map(|id| format!("({id},{},'t{}')", id % 7, id % 3))
            .collect(),
    );
    insert("countries", vec!["('de','Germany')".into(), "('fr','France')".into()]);
    all.push("update hidden set secret = id * 10 where id > 5".into());
    all
}

/// Values that print like others, compare like others, or are none of their type's own.
fn kind(id: u64, mix: &mut Mix) -> String {
    // Without 'a\\0': beside 'a' of a NOPAD collation, servers sort it by an index or not, as the
    // plan goes.
    let texts: &[&str] = &[
        "'a'", "'a '", "'A'", "'ä'", "'ab'", "''", "' '", "'ß'", "'ss'", "'\\t'", "'a\\t'", "null",
    ];
    let choices: &[&[&str]] = &[
        texts,
        texts,
        texts,
        &["'a'", "'A'", "'a '", "''", "'ä'", "null"],
        &[
            "99999999999999999999999999999999999.999999999999999999999999999999",
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "0.000000000000000000000000000001",
            "-0.0",
            "1",
            "1.5",
            "null",
        ],
        &["0", "99999999999999999999999999999999999999", "7", "null"],
        &["0.1", "-0e0", "0", "3.4028234e38", "16777217", "1e-40", "-2.5", "null"],
        &["0.001", "0.0015", "999999.999", "-0e0", "null"],
        &["-0e0", "0", "0.1", "1e308", "-1e308", "4.9e-324", "3", "null"],
        &["0.00005", "-0e0", "12345678.1234", "null"],
        &["'b'", "'a'", "''", "'nothing'", "0", "3", "null"],
        &["''", "'x'", "'z,x'", "'x,y,z'", "6", "null"],
        &["0", "1", "131071", "b'10101'", "null"],
        &["b'0'", "b'1'", "null"],
        &["'{\"a\": 1}'", "'[1, 2.50, \"ä\"]'", "'null'", "'\"x\"'", "null"],
        // By how many of the first 256 characters or more servers sort depends on the plan.
        &["'a'", "'A '", "repeat('ä', 150)", "concat(repeat('a', 200), 'b')", "''", "null"],
        &["x'00'", "x'ff'", "x''", "repeat(x'61', 1200)", "null"],
        &["from_unixtime(1792886400)", "from_unixtime(1792890000)", "'0000-00-00'", "null"],
        &["'-00:00:00.001'", "'00:00:00'", "'838:59:59.999'", "'99:00:00'", "null"],
        &["0", "7", "16777215", "null"],
    ];
    let mut row = format!("({id}");
    for choice in choices {
        let _ = write!(row, ",{}", mix.pick(choice));
    }
    row.push(')');
    row
}

fn thing(id: u64, mix: &mut Mix) -> String {
    let mut row = format!("({id}");
    let choices: &[&[&str]] = &[
        &["0", "-5", "127", "-128", "null"],
        &["0", "18446744073709551615", "9223372036854775808", "7", "null"],
        &["0", "-0.0000000001", "12345678901234567890.0123456789", "-3", "null"],
        &["99999999999999999999999999999999999999999999999999999999999999999", "-1", "0", "null"],
        &["0.5", "-2.25", "1024", "null"],
        &["0.1", "-1e-20", "1e20", "3", "null"],
        &["'2026-11-27'", "'0000-00-00'", "'1000-01-01'", "'9999-12-31'", "null"],
        &["'-838:59:59'", "'00:00:00.000001'", "'100:00:00'", "'99:59:59'", "'-00:00:01'", "null"],
        &["'2026-11-27 01:02:03.000004'", "'0000-00-00'", "'1000-01-01'", "null"],
        &["'2026-10-25 00:30:00'", "'2026-11-27 01:02:03.000004'", "null"],
        &["1901", "2155", "0", "null"],
    ];
    for choice in choices {
        let _ = write!(row, ",{}", mix.pick(choice));
    }
    for _ in 0..3 {
        match mix.below(8) {
            0 => row.push_str(",null"),
            _ => {
                let _ = write!(row, ",'{}'", mix.pick(NAMES));
            }
        }
    }
    let latin = mix.pick(&["'ä'", "'ae'", "'a'", "'Ä'", "'ß'", "'ss'", "'z '", "null"]);
    let bytes = mix.pick(&["x'00'", "x'ff00'", "'a'", "'a '", "''", "null"]);
    let bits = mix.pick(&["b'0'", "b'1111111111'", "b'101'", "null"]);
    let one = mix.pick(&["'z'", "'y'", "'x'", "null"]);
    let set = mix.pick(&["''", "'a'", "'a,c'", "'b'", "null"]);
    let _ = write!(row, ",{latin},{bytes},{bits},{one},{set})");
    row
}
