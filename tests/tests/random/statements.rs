//! Random statements on one table `(id, k, v, w)` with the vindex column `k`.
use super::values::Kind;

/// xorshift64*: the same seed gives the same statements.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize) % n
    }

    pub fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

pub struct Statements<'r> {
    pub random: &'r mut Random,
    pub kind: &'static Kind,
    /// Rows are told apart by their ids: no table has a unique key, which no shard could see to.
    pub next_id: u64,
}

impl Statements<'_> {
    /// Often one of the first, which are plain and meet each other.
    fn value(&mut self) -> String {
        let all = if self.random.chance(40) { &self.kind.values[..6] } else { self.kind.values };
        self.random.one_of(all).to_owned()
    }

    /// Of one type: between those of two, the optimizer's plan decides how they compare.
    fn plain_value(&mut self) -> &'static str {
        self.random.one_of(&self.kind.values[..6])
    }

    fn values(&mut self) -> String {
        let n = 1 + self.random.below(4);
        let all: Vec<_> = (0..n).map(|_| self.value()).collect();
        all.join(", ")
    }

    fn comparison(&mut self) -> String {
        let (value, other, list) = (self.value(), self.value(), self.values());
        let (low, high) = (self.plain_value(), self.plain_value());
        let v = self.random.below(5);
        match self.random.below(30) {
            0..=9 => format!("k = {value}"),
            10 => format!("{value} = k"),
            11 | 12 => format!("k in ({list})"),
            13 => format!("k <=> {value}"),
            14 => format!("k {} {value}", self.random.one_of(&["<", ">", "<=", ">=", "<>", "!="])),
            15 => format!("k between {low} and {high}"),
            16 => "k is null".to_owned(),
            17 => "k is not null".to_owned(),
            18 => format!("k not in ({list})"),
            19 => format!("k like {value}"),
            20 => format!("(k, v) = ({value}, {v})"),
            21 => format!("(k, v) in (({value}, {v}), ({other}, {v}))"),
            22 => format!("(v, k) in (({v}, {value}), ({v}, {other}))"),
            23 => format!("not k = {value}"),
            24 => format!("(k = {value}) = 1"),
            25 => format!("k = {value} is true"),
            26 => format!("k + 0 = {value}"),
            27 => format!("w = {value}"),
            28 => format!("k = any (select {value})"),
            _ => format!("id = {}", 1 + self.random.below(60)),
        }
    }

    pub fn condition(&mut self) -> String {
        let first = self.comparison();
        match self.random.below(12) {
            0..=5 => first,
            6 => format!("{first} and v = {}", self.random.below(5)),
            7 => format!("{first} or v = {}", self.random.below(5)),
            8 => format!("{first} and {}", self.comparison()),
            9 => format!("{first} or {}", self.comparison()),
            10 => format!("({first} or {}) and {}", self.comparison(), self.comparison()),
            _ => format!("{first} xor {}", self.comparison()),
        }
    }

    fn filter(&mut self) -> String {
        if self.random.chance(95) { format!(" where {}", self.condition()) } else { String::new() }
    }

    pub fn select(&mut self) -> String {
        let (table, filter) = (self.kind.table, self.filter());
        match self.random.below(20) {
            0..=8 => format!("select * from {table}{filter}"),
            9 => format!("select id, v + 1, upper(w), k is null from {table}{filter}"),
            10 => format!("select * from {table}{filter} order by id"),
            11 => format!("select * from {table}{filter} order by id limit 3"),
            12 => format!("select count(*), sum(v), min(w), max(id) from {table}{filter}"),
            13 => format!("select v, count(*) from {table}{filter} group by v"),
            14 => format!("select k, count(*) from {table}{filter} group by k"),
            15 => format!("select distinct v from {table}{filter}"),
            16 => format!(
                "select a.id, b.id from {table} a join {table} b on a.k = b.k where a.k = {}",
                self.value()
            ),
            17 => format!(
                "select a.id, b.id from {table} a left join {table} b on a.k = b.k and b.v = 1{}",
                self.filter_of("a")
            ),
            18 => format!("select id from {table} where k in (select k from {table}{filter})"),
            _ => format!(
                "select id from {table}{filter} union all select id from {table} where {}",
                self.comparison()
            ),
        }
    }

    fn filter_of(&mut self, alias: &str) -> String {
        if self.random.chance(70) {
            format!(" where {alias}.k = {}", self.value())
        } else {
            String::new()
        }
    }

    fn row(&mut self, order: usize) -> String {
        self.next_id += 1;
        let (id, k, v, w) = (
            self.next_id,
            if self.random.chance(5) { "1.005".to_owned() } else { self.value() },
            self.random.below(5),
            self.random.one_of(&["'x'", "'abc'", "null", "'5'"]),
        );
        match order {
            0 => format!("({id}, {k}, {v}, {w})"),
            1 => format!("({k}, {id}, {w})"),
            _ => format!("({v}, {k}, {id})"),
        }
    }

    fn insert(&mut self) -> String {
        let table = self.kind.table;
        if self.random.chance(10) {
            self.next_id += 1;
            let (id, k) = (self.next_id, self.value());
            return format!("insert into {table} set id = {id}, k = {k}, v = 1");
        }
        let order = self.random.below(3);
        let columns = ["", " (k, id, w)", " (v, k, id)"][order];
        let rows: Vec<_> = (0..1 + self.random.below(4))
            .map(|_| self.row(order))
            .collect();
        let verb = self.random.one_of(&[
            "insert into",
            "insert into",
            "insert into",
            "insert ignore into",
            "replace into",
        ]);
        format!("{verb} {table}{columns} values {}", rows.join(", "))
    }

    pub fn write(&mut self) -> String {
        let (table, filter) = (self.kind.table, self.filter());
        match self.random.below(20) {
            0..=10 => self.insert(),
            11..=13 => format!("update {table} set v = v + 1{filter}"),
            14 => format!(
                "update {table} set w = {}, v = 2{filter}",
                self.random.one_of(&["'y'", "null", "concat(w, 'z')"])
            ),
            15 => format!("update {table} set k = {}{filter}", self.value()),
            16 => format!("update {table} set v = 3{filter} order by id, v limit 1"),
            17 => format!("delete from {table} where {} order by id, v limit 1", self.comparison()),
            _ => format!("delete from {table} where {}", self.condition()),
        }
    }
}
