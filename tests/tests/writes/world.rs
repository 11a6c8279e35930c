//! The same tables with the same rows on one server and over four shards and a keyspace of one.
//! Every kind of key by which rows are found again.
use coregate_tests::{Connection, Coregate, MariaDb, world};
use std::sync::LazyLock;

pub(crate) struct World {
    pub(crate) server: MariaDb,
    pub(crate) local: Coregate,
}

const SCHEMA: &str = "
create table customers (id bigint not null primary key, name varchar(40) character set utf8mb4 \
collate utf8mb4_general_ci not null, region char(3) character set latin1, balance decimal(20,4), \
level int not null default 1, changed timestamp not null default '2000-01-01 00:00:00' on update \
current_timestamp) ;
create table orders (id bigint not null, customer_id bigint not null, amount decimal(12,2), \
quantity int unsigned not null, state enum('new','paid','sent'), placed datetime(3), note text, \
primary key (id, customer_id)) ;
create table notes (id bigint not null primary key, customer_id bigint not null, body text \
character set utf8mb4, weight double, f float) ;
create table keyless (a int not null, b varchar(20) character set utf8mb4 collate \
utf8mb4_general_ci, c decimal(6,2)) ;
create table pairs (a int not null, b varchar(20) character set latin1 collate latin1_bin not \
null, v int, w varbinary(20), primary key (a, b)) ;
create table uniques (k int not null, u varchar(10) character set utf8mb4 collate utf8mb4_bin not \
null, v int, unique key (u)) ;
create table people (id bigint not null primary key, email varchar(60) unique, team varchar(20), \
badge bigint unique, j int, note varchar(20), seen timestamp null default null, bits bit(10), kind \
enum('x','y'), data json, up varchar(70) as (upper(email)) stored) ;
create table mails (email varchar(60) not null, n int not null, body varchar(40), primary key \
(email, n)) ;
create table moving (k bigint not null primary key, n bigint not null auto_increment, i inet6, d \
date, key (n)) ;
create table copies (id int not null primary key, u varchar(36) not null default (uuid()), n int, \
at timestamp(6) not null default current_timestamp(6) on update current_timestamp(6)) ;
create table countries (code char(2) not null primary key, name varchar(40)) ;
create table regions (code char(3) not null primary key, name varchar(40), n int) ;
";

/// In a keyspace of one shard.
const PLAIN: &str = "
create table rates (code char(3) not null primary key, rate decimal(8,4), n int) ;
create table regions (code char(3) not null primary key, name varchar(40), n int) ;
create table email_idx (email varchar(60) not null primary key, keyspace_id varbinary(20)) ;
create table team_idx (team varchar(20), id bigint not null, keyspace_id varbinary(20), unique key \
(id, team)) ;
create table badge_idx (badge bigint not null primary key, user_id bigint unsigned) ;
";

const VSCHEMA: &str = r#"{"sharded": true,
 "vindexes": {"hash": {"type": "hash"}, "xxhash": {"type": "xxhash"},
  "email": {"type": "consistent_lookup_unique", "owner": "people",
  "params": {"table": "plain.email_idx", "from": "email", "to": "keyspace_id",
  "ignore_nulls": "true"}},
  "team": {"type": "lookup", "owner": "people", "params": {"table": "plain.team_idx",
  "from": "team,id", "to": "keyspace_id"}},
  "badge": {"type": "lookup_hash_unique", "owner": "people",
  "params": {"table": "plain.badge_idx", "from": "badge", "to": "user_id", "ignore_nulls": "true"}}
 },
 "tables": {
  "customers": {"column_vindexes": [{"column": "id", "name": "hash"}]},
  "orders": {"column_vindexes": [{"column": "customer_id", "name": "hash"}]},
  "notes": {"column_vindexes": [{"column": "id", "name": "hash"}]},
  "keyless": {"column_vindexes": [{"column": "a", "name": "hash"}]},
  "pairs": {"column_vindexes": [{"column": "b", "name": "xxhash"}]},
  "uniques": {"column_vindexes": [{"column": "u", "name": "xxhash"}]},
  "people": {"column_vindexes": [{"column": "id", "name": "hash"}, {"column": "email",
  "name": "email"},
   {"columns": ["team", "id"], "name": "team"}, {"column": "badge", "name": "badge"}]},
  "mails": {"column_vindexes": [{"column": "email", "name": "email"}]},
  "moving": {"column_vindexes": [{"column": "k", "name": "hash"}]},
  "copies": {"type": "reference"},
  "countries": {"type": "reference"},
  "regions": {"type": "reference", "source": "plain.regions"}
 }}"#;

/// Every table whose rows are compared, with its columns (but those that tell the time of a
/// change).
const TABLES: &[&str] = &[
    "select id, name, region, balance, level, changed > '2001-01-01' from customers order by id",
    "select * from orders order by id, customer_id",
    "select * from notes order by id",
    "select * from keyless order by a, b, c, hex(b)",
    "select * from pairs order by a, b",
    "select * from uniques order by k, u",
    "select * from people order by id",
    "select * from mails order by email, n",
    "select * from countries order by code",
    "select * from plain.rates order by code",
];

pub(crate) static WORLD: LazyLock<World> = LazyLock::new(|| {
    let local = Coregate::local_of_two("writes", ("plain", 4), [PLAIN, SCHEMA], VSCHEMA);
    let server = MariaDb::start("plain", &[]);
    let mut plain = server.connect();
    plain.run("create database plain");
    for statement in SCHEMA.lines().filter(|line| !line.trim().is_empty()) {
        plain.run(statement);
    }
    plain.run("use plain");
    for statement in PLAIN.lines().filter(|line| !line.trim().is_empty()) {
        plain.run(statement);
    }
    World { server, local }
});

impl World {
    pub(crate) fn sharded(&self) -> Connection {
        self.local
            .connect_as(world::USER, world::PASSWORD, Some("test"))
    }
}

/// Empties all tables and fills them again.
pub(crate) fn refill(conn: &mut Connection) {
    for table in [
        "customers",
        "orders",
        "notes",
        "keyless",
        "pairs",
        "uniques",
        "people",
        "mails",
        "countries",
        "plain.rates",
    ] {
        conn.run(&format!("delete from {table}"));
    }
    for statement in rows() {
        conn.run(&statement);
    }
}

/// What all tables hold.
pub(crate) fn contents(conn: &mut Connection) -> Vec<Vec<Vec<u8>>> {
    TABLES
        .iter()
        .map(|sql| match conn.query(sql) {
            coregate_tests::Answer::Rows { raw, .. } => raw,
            other => panic!("{sql}: {other:?}"),
        })
        .collect()
}

/// The entries that the lookup tables must have, and have.
pub(crate) fn entries(conn: &mut Connection) -> (Vec<String>, Vec<String>) {
    let mut list = |sql: &str| -> Vec<String> {
        let rows = conn.query(sql).rows();
        let mut rows: Vec<_> = rows.iter().map(|row| format!("{row:?}")).collect();
        rows.sort();
        rows
    };
    let mut wanted = list("select 'email', email from people where email is not null");
    wanted.extend(list("select 'team', team, id from people"));
    wanted.extend(list("select 'badge', badge, id from people where badge is not null"));
    let mut found = list("select 'email', email from plain.email_idx");
    found.extend(list("select 'team', team, id from plain.team_idx"));
    found.extend(list("select 'badge', badge, user_id from plain.badge_idx"));
    (wanted, found)
}

/// For each lookup table, how many of its entries name the place where the row is, by what the
/// row's id says.
pub(crate) fn rows() -> Vec<String> {
    let list = |from: u64, to: u64, row: &dyn Fn(u64) -> String| {
        (from..=to).map(row).collect::<Vec<_>>().join(",")
    };
    let names = ["anna", "Berta", "çesar", "o''hara", "zoë", "日本", "a\\\\b", ""];
    let name = |n: u64| names[(n * 7 % 8) as usize];
    vec![
        format!(
            "insert into customers (id, name, region, balance, level) values {}",
            list(1, 30, &|n| format!(
                "({n}, '{}', {}, {}.{:04}, {})",
                name(n),
                ["'eu'", "'us'", "null"][(n % 3) as usize],
                n * 3 % 11,
                n * 37,
                n % 4
            ))
        ),
        format!(
            "insert into orders values {}",
            list(1, 60, &|n| format!(
                "({n}, {}, {}.50, {}, {}, '2026-01-{:02} 10:00:00.{:03}', {})",
                n * 11 % 33 + 1,
                n * 13 % 17,
                n % 6,
                ["'new'", "'paid'", "'sent'", "null"][(n % 4) as usize],
                n % 28 + 1,
                n * 7,
                if n % 5 == 0 { "null".into() } else { format!("'{}'", name(n + 3)) }
            ))
        ),
        format!(
            "insert into notes values {}",
            list(1, 40, &|n| format!("({n}, {}, '{}', {}.25, {}.1)", n * 5 % 34 + 1, name(n + 1),
                n * 3, n))
        ),
        "insert into keyless values \
            (1,'a',1.5),(1,'A',1.5),(1,'a',1.5),(2,null,2),(2,null,2),(3,'c',null),(4,'d',4),(5,'e',5),(6,'',6)".into(),
        format!(
            "insert into pairs values {}",
            list(1, 20, &|n| format!("({}, '{}{}', {n}, x'{:02x}ff00')", n % 4, ["ä", "b", "C",
                "d'"][(n % 4) as usize].replace('\'', "''"), n / 4, n))
        ),
        "insert into uniques values (1,'a',1),(1,'b',2),(2,'c',3),(3,'d',4),(3,'e',5)".into(),
        format!(
            "insert into people (id, email, team, badge, j, note, seen, bits, kind, data) values \
                {}",
            list(1, 24, &|n| format!(
                "({n}, {}, 'team{}', {}, {}, 'n{n}', '2026-06-{:02} 12:00:00', b'{:b}', '{}', \
                    '{{\"a\": {n}}}')",
                if n % 6 == 0 { "null".into() } else { format!("'p{n:03}@x'") },
                n % 3,
                if n % 5 == 0 { "null".into() } else { (n * 10).to_string() },
                n % 7,
                n,
                n,
                ["x", "y"][(n % 2) as usize]
            ))
        ),
        "insert into mails values ('p001@x', 1, 'a'), ('p001@x', 2, 'b'), ('p002@x', 1, 'c'), \
            ('p009@x', 5, null)".into(),
        "insert into countries values ('de','Germany'),('fr','France'),('jp','日本')".into(),
        "insert into plain.rates values ('eu',1.5,1),('us',2.25,2),('as',3,3)".into(),
    ]
}
