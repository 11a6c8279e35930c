//! Random queries over four shards, with a total order: the same rows in the same order as one
//! server's, as text and prepared.
//!
//! `ACROSS_SEED` repeats a run, `ACROSS_QUERIES` makes it longer.
use crate::world::WORLD;
use crate::{Outcome, difference, outcome, prepared};

/// xorshift64*: the same seed gives the same queries.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize) % n
    }

    pub(crate) fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Some of them, each once, in any order.
    fn some<'a>(&mut self, all: &[&'a str], most: usize) -> Vec<&'a str> {
        let mut left = all.to_vec();
        let count = 1 + self.below(most.min(all.len()));
        (0..count)
            .map(|_| left.swap_remove(self.below(left.len())))
            .collect()
    }
}

struct Table {
    name: &'static str,
    /// Columns by which rows can be ordered and grouped.
    keys: &'static [&'static str],
    /// Columns whose sums do not depend on the order.
    numbers: &'static [&'static str],
    conditions: &'static [&'static str],
}

const TABLES: &[Table] = &[
    Table {
        name: "customers",
        keys: &["name", "region", "balance", "born"],
        numbers: &["balance", "id"],
        conditions: &[
            "balance > 0",
            "region = 'eu'",
            "name like 'a%'",
            "name = 'ANNA'",
            "born is null",
            "id in (3, 5, 8, 13, 21)",
            "id between 10 and 40",
            "id = 7",
            "region is not null and balance < 100",
            "name in ('zoe', 'a', '')",
            "not (balance <=> null)",
            "id % 3 = 1",
        ],
    },
    Table {
        name: "orders",
        keys: &["customer_id", "amount", "quantity", "state", "placed"],
        numbers: &["amount", "quantity", "id"],
        conditions: &[
            "quantity > 4",
            "state = 'paid'",
            "amount is null",
            "customer_id = 5",
            "customer_id in (1, 2, 3)",
            "placed < '2026-05-01'",
            "state <> 'new'",
            "amount between 2 and 7",
            "id < 100",
            "quantity in (1, 2, 9)",
            "customer_id = 5 and quantity > 3",
        ],
    },
    Table {
        name: "notes",
        keys: &["customer_id", "body", "at", "weight"],
        numbers: &["customer_id", "id"],
        conditions: &[
            "weight > 0",
            "body = 'zoe'",
            "body < 'b'",
            "at is null",
            "customer_id < 20",
            "id in (4, 5, 6)",
            "weight is null or id > 60",
        ],
    },
    Table {
        name: "things",
        keys: &[
            "ti", "bu", "d", "big", "da", "t", "dt", "ts", "y", "c", "vc", "ci", "la", "bin", "en",
            "se", "bt", "db",
        ],
        // Not `big`: sums of more than 65 digits are cut or not, as the plan goes.
        numbers: &["ti", "bu", "d", "y", "id"],
        conditions: &[
            "ti > 0",
            "bu is not null",
            "d < 0",
            "da > '2000-01-01'",
            "ci = 'anna'",
            "c >= 'a'",
            "la = 'ae'",
            "en = 'x'",
            "se = 'a,c'",
            "y > 1950",
            "t < '10:00:00'",
            "id = 99",
            "id in (1, 50, 100)",
            "vc is null",
            "bin = 'a'",
        ],
    },
];

/// What prints or compares like other values.
const KINDS: Table = Table {
    name: "kinds",
    keys: &[
        "np", "uc", "un", "sj", "d65", "d30", "f", "fu", "db", "dp", "en", "se", "bt", "b1", "ts",
        "t3", "mi", "tx", "bl",
    ],
    // Not `d65`, as `big` above.
    numbers: &["d30", "mi", "id"],
    conditions: &[
        "np = 'a'",
        "uc > 'a'",
        "un in ('a', 'ab')",
        "sj <> 'a'",
        "d65 < 1",
        "d30 = 7",
        "f <> 0",
        "db = 0",
        "db < 1",
        "en = ''",
        "en + 0 = 0",
        "se = 'x'",
        "bt > 5",
        "b1",
        "js is not null",
        "json_valid(js)",
        "ts is null",
        "ts = 0",
        "t3 < '00:00:00'",
        "length(tx) > 100",
        "bl = x''",
        "id % 4 = 2",
        "id in (3, 7, 99)",
        "tx like 'a%'",
    ],
};

const AGGREGATES: &[&str] = &[
    "count(*)",
    "count({})",
    "sum({n})",
    "avg({n})",
    "min({})",
    "max({})",
    "count(distinct {any})",
    "count(distinct {any}, {n})",
    "sum(distinct {n})",
    "avg(distinct {n})",
    "max(distinct {})",
];

/// MIN and MAX take one of several equal texts: which, is the server's business.
fn has_one_form(column: &str) -> bool {
    let texts = ["name", "region", "body", "ci", "la", "c", "vc", "np", "uc", "un", "sj", "tx"];
    // Zeros with either sign are equal, and so are floats that print alike.
    // MIN and MAX of numbers with zeros in front have these or not, as the plan goes.
    !texts.contains(&column) && !["f", "fu", "db", "dp", "mi", "y"].contains(&column)
}

fn keys_of_one_form(table: &Table) -> Vec<&'static str> {
    let keys = table.keys.iter().copied();
    keys.filter(|key| has_one_form(key)).collect()
}

struct Queries {
    random: Random,
}

impl Queries {
    fn table(&mut self) -> &'static Table {
        TABLES
            .get(self.random.below(TABLES.len() + 2))
            .unwrap_or(&KINDS)
    }

    fn filter(&mut self, table: &Table) -> String {
        match self.random.below(4) {
            0 => String::new(),
            1 | 2 => format!(" where {}", self.random.one_of(table.conditions)),
            _ => {
                let (a, b) =
                    (self.random.one_of(table.conditions), self.random.one_of(table.conditions));
                format!(" where ({a}) {} ({b})", self.random.one_of(&["and", "or"]))
            }
        }
    }

    fn limit(&mut self) -> String {
        match self.random.below(5) {
            0 => format!(" limit {}", self.random.below(30)),
            1 => format!(" limit {}, {}", self.random.below(20), self.random.below(20)),
            2 => format!(" limit {} offset {}", 1 + self.random.below(9), self.random.below(50)),
            _ => String::new(),
        }
    }

    fn direction(&mut self) -> &'static str {
        if self.random.chance(40) { " desc" } else { "" }
    }

    fn order(&mut self, columns: &[&str]) -> String {
        let items: Vec<_> = columns
            .iter()
            .map(|column| format!("{column}{}", self.direction()))
            .collect();
        format!(" order by {}", items.join(", "))
    }

    fn rows(&mut self) -> String {
        let table = self.table();
        let columns = self.random.some(table.keys, 4);
        let mut order = self.random.some(table.keys, 2);
        order.push("id");
        let list = if self.random.chance(20) {
            "*".to_owned()
        } else {
            format!("id, {}", columns.join(", "))
        };
        format!(
            "select {list} from {}{}{}{}",
            table.name,
            self.filter(table),
            self.order(&order),
            self.limit()
        )
        .replace("select * from things", "select id, ti, bu, dt from things")
        .replace(
            "select * from kinds",
            "select id, js, f, db, en, en + 0, bt, hex(bl), d65 from kinds",
        )
    }

    fn distinct(&mut self) -> String {
        let table = self.table();
        let keys = keys_of_one_form(table);
        let columns = self.random.some(&keys, 3);
        format!(
            "select distinct {} from {}{}{}{}",
            columns.join(", "),
            table.name,
            self.filter(table),
            self.order(&columns),
            self.limit()
        )
    }

    fn aggregates(&mut self, table: &Table) -> String {
        let keys = keys_of_one_form(table);
        let all = self.random.some(AGGREGATES, 3);
        let all: Vec<_> = all
            .into_iter()
            .map(|aggregate| {
                let (number, key) = (self.random.one_of(table.numbers), self.random.one_of(&keys));
                // The order of an ENUM's, a SET's or a BIT's values is not that of MIN.
                let key = if ["en", "se", "bt", "b1", "state"].contains(&key) { "id" } else { key };
                // Which of equal texts counts does not matter.
                let any = self.random.one_of(table.keys);
                aggregate
                    .replace("{n}", number)
                    .replace("{any}", any)
                    .replace("{}", key)
            })
            .collect();
        all.join(", ")
    }

    fn grouped(&mut self) -> String {
        let table = self.table();
        let keys = keys_of_one_form(table);
        let by = self.random.some(&keys, 2);
        let aggregates = self.aggregates(table);
        let having = if self.random.chance(20) { " having count(*) > 1" } else { "" };
        let mut order = self.order(&by);
        if self.random.chance(30) {
            order = format!(" order by count(*){}, {}", self.direction(), by.join(", "));
        }
        format!(
            "select {}, {aggregates} from {}{} group by {}{having}{order}{}",
            by.join(", "),
            table.name,
            self.filter(table),
            by.join(", "),
            self.limit()
        )
    }

    fn whole(&mut self) -> String {
        let table = self.table();
        format!("select {} from {}{}", self.aggregates(table), table.name, self.filter(table))
    }

    fn joined(&mut self) -> String {
        let (a, b) = (self.table(), self.table());
        let on = match (a.name, b.name) {
            ("customers", "orders" | "notes") => "a.id = b.customer_id",
            ("orders" | "notes", "customers") => "a.customer_id = b.id",
            ("orders" | "notes", "orders" | "notes") => {
                "a.customer_id = b.customer_id and b.id < 60"
            }
            _ => "a.id = b.id",
        };
        let kind = self
            .random
            .one_of(&["join", "left join", "right join", "join"]);
        let (x, y) = (self.random.one_of(a.keys), self.random.one_of(b.keys));
        let filter = match self.random.below(3) {
            0 => format!(" where a.id < {}", 10 + self.random.below(60)),
            1 => format!(" where b.{y} is not null and a.id % 2 = 0"),
            _ => String::new(),
        };
        format!(
            "select a.id, b.id, a.{x}, b.{y} from {} a {kind} {} b on {on}{filter} order by \
                a.id{}, b.id{}",
            a.name,
            b.name,
            self.direction(),
            self.limit()
        )
    }

    fn nested(&mut self) -> String {
        let (a, b) = (self.table(), self.table());
        let inner = self.filter(b);
        let number = self.random.one_of(b.numbers);
        match self.random.below(5) {
            0 => format!(
                "select id from {} where id in (select id from {}{inner}) order by id{}",
                a.name,
                b.name,
                self.limit()
            ),
            1 => format!(
                "select id from {} where id not in (select id from {}{inner}) order by id{}",
                a.name,
                b.name,
                self.limit()
            ),
            2 => format!(
                "select a.id, (select count(*) from {} b where b.id = a.id + 1) n from {} a order \
                    by a.id{}",
                b.name,
                a.name,
                self.limit()
            ),
            3 => format!(
                "select id from {} where id > (select avg({number}) % 50 from {}{inner}) order by \
                    id",
                a.name, b.name
            ),
            _ => format!(
                "select id, 1 n from {}{} union {} select id, 2 from {}{inner} order by id, n{}",
                a.name,
                self.filter(a),
                self.random.one_of(&["", "all"]),
                b.name,
                self.limit()
            ),
        }
    }

    fn next(&mut self) -> String {
        match self.random.below(10) {
            0..=2 => self.rows(),
            3 => self.distinct(),
            4 | 5 => self.grouped(),
            6 => self.whole(),
            7 | 8 => self.joined(),
            _ => self.nested(),
        }
    }
}

pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |n| n.parse().unwrap())
}

fn answers_are_the_same(seed: u64, count: u64) {
    let _turn = crate::faults::alone();
    let mut plain = WORLD.server.connect();
    let mut sharded = WORLD.sharded();
    let mut queries = Queries { random: Random::seeded(seed) };
    let (mut wrong, mut refused) = (Vec::new(), Vec::new());
    for n in 0..count {
        let sql = queries.next();
        let answer = if n % 3 == 0 { prepared(&mut sharded, &sql) } else { sharded.query(&sql) };
        let why = format!("{answer:.300?}");
        let ours = outcome(answer, true);
        if matches!(ours, Outcome::Error(1235)) {
            refused.push(format!("{sql}\n        {why}"));
            continue;
        }
        let theirs = if n % 3 == 0 { prepared(&mut plain, &sql) } else { plain.query(&sql) };
        let theirs = outcome(theirs, true);
        let same = match (&theirs, &ours) {
            // Keys of a column depend on the plan that each server takes.
            (Outcome::Rows { rows: a, .. }, Outcome::Rows { rows: b, .. }) => a == b,
            (a, b) => a == b,
        };
        // The same by the other way, where the query has two.
        let forced = sql.replacen("select ", "select /*vt+ FINISH */ ", 1);
        let finished = outcome(sharded.query(&forced), true);
        if n % 3 != 0
            && let (Outcome::Rows { rows: a, .. }, Outcome::Rows { rows: b, .. }) =
                (&ours, &finished)
            && a != b
        {
            wrong.push(format!("{forced}\n        {}", difference(&ours, &finished, "")));
        }
        if !same {
            wrong.push(format!("{sql}\n        {}", difference(&theirs, &ours, &why)));
        }
    }
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} of {count} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let most = count as usize / 20;
    assert!(
        refused.len() <= most,
        "{} of {count} are refused:\n{}",
        refused.len(),
        refused.join("\n")
    );
}

#[test]
fn random_queries_answer_as_one_server() {
    answers_are_the_same(number("ACROSS_SEED", 1), number("ACROSS_QUERIES", 2_000));
}

#[test]
#[ignore = "a minute"]
fn many_random_queries_answer_as_one_server() {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    answers_are_the_same(number("ACROSS_SEED", now.as_secs()), number("ACROSS_QUERIES", 20_000));
}
