//! Random joins and subqueries over columns of all types: tables are asked for each other's values,
//! and the answer is that of one server.
//!
//! `ACROSS_SEED` repeats a run, `ACROSS_QUERIES` makes it longer.
use crate::random::{Random, number};
use crate::world::WORLD;
use crate::{Outcome, by_name, difference, outcome, prepared};

/// Columns that can be compared with each other, by table; those of one group mostly compare as
/// their types do.
const GROUPS: &[&[(&str, &str)]] = &[
    &[
        ("customers", "id"),
        ("orders", "id"),
        ("orders", "customer_id"),
        ("orders", "quantity"),
        ("notes", "id"),
        ("notes", "customer_id"),
        ("things", "id"),
        ("things", "ti"),
        ("things", "bu"),
        ("kinds", "id"),
        ("kinds", "mi"),
        ("hidden", "a"),
        ("hidden", "id"),
        ("lone.marks", "id"),
        ("lone.marks", "customer_id"),
    ],
    &[("customers", "balance"), ("things", "d"), ("kinds", "d65"), ("orders", "amount")],
    &[("customers", "born"), ("things", "da"), ("things", "dt"), ("orders", "placed")],
    &[("customers", "name"), ("things", "ci"), ("kinds", "tx"), ("kinds", "np")],
    &[("customers", "region"), ("things", "la"), ("kinds", "sj"), ("lone.rates", "region")],
    &[("notes", "body"), ("kinds", "uc"), ("kinds", "un"), ("things", "vc"), ("things", "c")],
    &[("things", "bin"), ("kinds", "bl")],
    &[
        ("things", "f"),
        ("things", "db"),
        ("notes", "weight"),
        ("things", "y"),
        ("things", "bt"),
        ("kinds", "db"),
        ("kinds", "bt"),
        ("orders", "quantity"),
    ],
    &[("things", "en"), ("things", "se"), ("kinds", "en"), ("orders", "state")],
    &[("things", "ts"), ("notes", "at"), ("kinds", "ts"), ("lone.marks", "at")],
];

type Pair = ((&'static str, &'static str), (&'static str, &'static str));

struct Joins {
    random: Random,
}

/// `lone.rates` has no number.
fn id_of(table: &str) -> &'static str {
    if table == "lone.rates" { "rate" } else { "id" }
}

impl Joins {
    fn pair(&mut self) -> Pair {
        // Numbers most often, as elsewhere.
        let group = match self.random.below(3) {
            0 => GROUPS[0],
            _ => GROUPS[self.random.below(GROUPS.len())],
        };
        // Types of one column are alike for certain.
        let one = group[self.random.below(group.len())];
        let two = if self.random.chance(35) { one } else { group[self.random.below(group.len())] };
        (one, two)
    }

    /// A column that can be compared with this table's.
    fn beside(&mut self, table: &str) -> Pair {
        for _ in 0..200 {
            let (one, two) = self.pair();
            if one.0 == table {
                return (one, two);
            }
            if two.0 == table {
                return (two, one);
            }
        }
        (GROUPS[0][0], GROUPS[0][2])
    }

    fn condition(&mut self, alias: &str, table: &str) -> String {
        let id = format!("{alias}.{}", id_of(table));
        let n = 1 + self.random.below(60);
        match self.random.below(7) {
            0 => format!("{id} = {n}"),
            1 => format!("{id} in ({n}, {}, {})", n + 3, n * 2),
            2 => format!("{id} < {n}"),
            3 => format!("{id} % 5 = {}", n % 5),
            4 => format!("{id} in ({n}, {n} + 1)"),
            5 => {
                let ((_, column), _) = self.beside(table);
                let column = if table == "customers" { "name" } else { column };
                let column = match self.random.below(2) {
                    0 if table == "orders" => "customer_id",
                    _ => column,
                };
                let has = GROUPS
                    .iter()
                    .any(|g| g.contains(&(known(table), known_column(table, column))));
                if has {
                    format!("{alias}.{column} is {}null", if n % 2 == 0 { "not " } else { "" })
                } else {
                    format!("{id} > {n}")
                }
            }
            _ => format!("{id} between {n} and {}", n + 7),
        }
    }

    /// Two to four tables, one after another.
    fn chain(&mut self) -> String {
        let count = 2 + self.random.below(3);
        let ((table, _), _) = self.pair();
        let mut tables = vec![table];
        let mut from = format!("{table} t0");
        let mut filters = Vec::new();
        let plain = self.random.chance(25);
        for n in 1..count {
            let to = self.random.below(n);
            let ((_, column), (other, its)) = self.beside(tables[to]);
            let column = if GROUPS.iter().any(|g| g.contains(&(tables[to], column))) {
                column
            } else {
                id_of(tables[to])
            };
            let mut on = format!("t{to}.{column} = t{n}.{its}");
            if self.random.chance(15) {
                on = format!("t{n}.{its} = t{to}.{column}");
            }
            if self.random.chance(20) {
                on = format!("{on} and {}", self.condition(&format!("t{n}"), other));
            }
            tables.push(other);
            if plain {
                from = format!("{from}, {other} t{n}");
                filters.push(on);
            } else {
                let kind = self.random.one_of(&[
                    "join",
                    "join",
                    "left join",
                    "right join",
                    "straight_join",
                ]);
                let named = column == its && to == 0 && n == 1 && self.random.chance(30);
                from = if named {
                    format!("{from} {} {other} t{n} using ({its})", kind.replace("straight_", ""))
                } else {
                    format!("{from} {kind} {other} t{n} on {on}")
                };
            }
        }
        for _ in 0..1 + self.random.below(2) {
            let at = self.random.below(count);
            let condition = self.condition(&format!("t{at}"), tables[at]);
            filters.push(condition);
        }
        if self.random.chance(20) {
            let at = self.random.below(count);
            let subquery = self.subquery(&format!("t{at}"), tables[at]);
            filters.push(subquery);
        }
        let ids: Vec<_> = (0..count)
            .map(|n| format!("t{n}.{}", id_of(tables[n])))
            .collect();
        let filter = filters.join(" and ");
        if self.random.chance(25) {
            let sums: Vec<_> = ids
                .iter()
                .map(|id| format!("count({id}), sum({id})"))
                .collect();
            return format!("select count(*), {} from {from} where {filter}", sums.join(", "));
        }
        let order: Vec<_> = (1..=count).map(|n| n.to_string()).collect();
        format!(
            "select {} from {from} where {filter} order by {} limit 3000",
            ids.join(", "),
            order.join(", ")
        )
    }

    /// A condition on a table that reads another one.
    fn subquery(&mut self, alias: &str, table: &str) -> String {
        let ((_, column), (other, its)) = self.beside(table);
        let column =
            if GROUPS.iter().any(|g| g.contains(&(table, column))) { column } else { id_of(table) };
        let inner = match self.random.below(3) {
            0 => String::new(),
            _ => format!(" and {}", self.condition("s", other)),
        };
        let not = if self.random.chance(35) { "not " } else { "" };
        let equal = format!("s.{its} = {alias}.{column}");
        let ids = (id_of(table), id_of(other));
        match self.random.below(9) {
            0 | 1 => {
                let what = self
                    .random
                    .one_of(&["1", "*", "s.id", "count(*)", "max(s.id)"]);
                let what = what.replace("s.id", &format!("s.{}", ids.1));
                format!("{not}exists (select {what} from {other} s where {equal}{inner})")
            }
            2 | 3 => {
                format!(
                    "{alias}.{column} {not}in (select s.{its} from {other} s where 1 = 1{inner})"
                )
            }
            4 => format!(
                "{alias}.{column} {not}in (select s.{its} from {other} s where s.{} > \
                    {alias}.{}{inner})",
                ids.1, ids.0
            ),
            5 => format!(
                "{alias}.{column} = (select s.{its} from {other} s where s.{} = {})",
                ids.1,
                1 + self.random.below(60)
            ),
            6 => format!(
                "(select count(*) from {other} s where {equal}{inner}) {} {}",
                self.random.one_of(&["=", ">", "<>"]),
                self.random.below(3)
            ),
            7 => format!(
                "{alias}.{column} in (select s.{its} from {other} s where 1 = 1{inner} group by \
                    s.{its} having count(*) > 1)"
            ),
            _ => format!(
                "({alias}.{} < 9 or {not}exists (select 1 from {other} s where {equal}{inner}))",
                ids.0
            ),
        }
    }

    fn nested(&mut self) -> String {
        let ((table, _), _) = self.pair();
        let condition = self.subquery("a", table);
        let own = if self.random.chance(70) {
            format!(" and {}", self.condition("a", table))
        } else {
            String::new()
        };
        let id = id_of(table);
        let ((_, column), (other, its)) = self.beside(table);
        let column = if GROUPS.iter().any(|g| g.contains(&(table, column))) { column } else { id };
        let shown = match self.random.below(4) {
            0 => format!(", (select count(*) from {other} b where b.{its} = a.{column})"),
            1 => format!(
                ", (select max(b.{}) from {other} b where b.{its} = a.{column} and {})",
                id_of(other),
                self.condition("b", other)
            ),
            _ => String::new(),
        };
        format!("select a.{id}{shown} from {table} a where {condition}{own} order by 1")
    }

    /// Derived tables and WITH.
    fn derived(&mut self) -> String {
        let ((table, _), _) = self.pair();
        let ((_, column), (other, its)) = self.beside(table);
        let column =
            if GROUPS.iter().any(|g| g.contains(&(table, column))) { column } else { id_of(table) };
        let (id, their) = (id_of(table), id_of(other));
        let inner = match self.random.below(2) {
            0 => String::new(),
            _ => format!(" where {}", self.condition("s", other)),
        };
        let body = match self.random.below(6) {
            0 | 1 => format!(
                "select s.{its} k, count(*) c, sum(s.{their}) m from {other} s{inner} group by \
                    s.{its}"
            ),
            2 => format!("select s.{its} k, s.{their} c, 1 m from {other} s{inner}"),
            3 => format!(
                "select s.{its} k, s.{their} c, 2 m from {other} s{inner} order by s.{their} \
                    limit 20"
            ),
            4 => format!("select distinct s.{its} k, s.{their} c, 3 m from {other} s{inner}"),
            _ => format!(
                "select s.{its} k, row_number() over (order by s.{their}) c, 4 m from {other} \
                    s{inner}"
            ),
        };
        let kind = self
            .random
            .one_of(&["join", "join", "left join", "right join"]);
        let filter = match self.random.below(4) {
            0 => "1 = 1".to_owned(),
            1 => format!("d.c < {}", 1 + self.random.below(50)),
            _ => self.condition("a", table),
        };
        let select = format!("select a.{id}, d.c, d.m from {table} a {kind}");
        match self.random.below(3) {
            0 => format!(
                "with d as ({body}) {select} d on d.k = a.{column} where {filter} order by 1, 2, \
                    3 limit 2000"
            ),
            1 if self.random.chance(40) => format!(
                "with d as ({body}) {select} d on d.k = a.{column} where {filter} and \
                    (select count(*) from d) > 3 order by 1, 2, 3 limit 2000"
            ),
            _ => format!(
                "{select} ({body}) d on a.{column} = d.k where {filter} order by 1, 2, 3 limit \
                    2000"
            ),
        }
    }

    fn next(&mut self) -> String {
        match self.random.below(10) {
            0..=4 => self.chain(),
            5..=7 => self.nested(),
            _ => self.derived(),
        }
    }
}

/// The same text, of a life as long as the groups'.
fn known(table: &str) -> &'static str {
    let all = GROUPS.iter().flat_map(|g| g.iter());
    all.map(|(t, _)| *t).find(|t| *t == table).unwrap_or("")
}

fn known_column(table: &str, column: &str) -> &'static str {
    let mut all = GROUPS.iter().flat_map(|g| g.iter());
    all.find(|(t, c)| *t == table && *c == column)
        .map_or("", |(_, c)| c)
}

fn answers_are_the_same(seed: u64, count: u64) {
    let _turn = crate::faults::alone();
    let mut plain = WORLD.server.connect();
    let mut sharded = WORLD.sharded();
    // The cache takes values that its collation holds equal for the same, whatever compares them.
    for conn in [&mut plain, &mut sharded] {
        conn.run("set optimizer_switch = 'subquery_cache=off'");
    }
    let mut joins = Joins { random: Random::seeded(seed) };
    let (mut wrong, mut refused, mut rows) = (Vec::new(), Vec::new(), 0);
    let before = WORLD.local.metric("coregate_keyed_gathers_total");
    for n in 0..count {
        let sql = joins.next();
        let run = match n % 4 {
            0 => prepared,
            1 => by_name,
            _ => |conn: &mut coregate_tests::Connection, sql: &str| conn.query(sql),
        };
        let answer = run(&mut sharded, &sql);
        let why = format!("{answer:.300?}");
        let ours = outcome(answer, true);
        if matches!(ours, Outcome::Error(1235)) {
            refused.push(format!("{sql}\n        {why}"));
            continue;
        }
        let theirs = outcome(run(&mut plain, &sql), true);
        let same = match (&theirs, &ours) {
            (Outcome::Rows { rows: a, .. }, Outcome::Rows { rows: b, .. }) => {
                rows += a.len();
                a == b
            }
            (a, b) => a == b,
        };
        if !same {
            wrong.push(format!("{sql}\n        {}", difference(&theirs, &ours, &why)));
        }
    }
    let keyed = WORLD.local.metric("coregate_keyed_gathers_total") - before;
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} of {count} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let most = count as usize / 20;
    assert!(refused.len() <= most, "{} are refused:\n{}", refused.len(), refused.join("\n"));
    assert!(keyed > count as f64 / 4.0, "{keyed} of {count} were asked for values");
    assert!(rows as u64 > count, "{count} queries have {rows} rows");
}

#[test]
fn random_joins_answer_as_one_server() {
    answers_are_the_same(number("ACROSS_SEED", 1), number("ACROSS_QUERIES", 1_500));
}

#[test]
#[ignore = "minutes"]
fn many_random_joins_answer_as_one_server() {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    answers_are_the_same(number("ACROSS_SEED", now.as_secs()), number("ACROSS_QUERIES", 20_000));
}
