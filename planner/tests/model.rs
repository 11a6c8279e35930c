//! Sharded results are unsharded results: random statements over random rows are planned by the
//! real planner, run in a small model of a server once over all rows and once for each shard that
//! the plan names, and the answers are compared.
#![allow(clippy::unwrap_used)]
mod support;

use coregate_planner::plan::Action;
use coregate_planner::route::SessionContext;
use coregate_planner::target::parse_target;
use proptest::prelude::*;
use std::fmt::Write;
use support::*;

/// A value of a column or of a literal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Val {
    Null,
    Int(i64),
    Text(&'static str),
}

/// The tables: their columns, of which the first is the vindex's.
const TABLES: [(&str, &str, [&str; 2]); 3] = [
    ("customer", "c", ["id", "name"]),
    ("corder", "o", ["customer_id", "sku"]),
    ("named", "n", ["name", "x"]),
];

#[derive(Debug, Clone)]
struct Row {
    values: [Val; 2],
    shard: u16,
}

#[derive(Debug, Clone)]
enum Cond {
    /// Column `.1` of the table at `.0` in the FROM list, and another operand.
    Compare(Operand, &'static str, Operand),
    In(Operand, Vec<Val>, bool),
    IsNull(Operand),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
    /// Table, `EXISTS` or `column IN (SELECT column ...)`, the condition inside, NOT.
    Sub(usize, Option<(Operand, usize)>, Box<Self>, bool),
}

#[derive(Debug, Clone)]
enum Operand {
    Column(usize, usize),
    Literal(Val),
}

/// The rows that names stand for; the tables of subqueries come last.
type Env<'r> = Vec<(usize, Option<&'r Row>)>;

fn number(text: &str) -> f64 {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    text[..digits].parse().unwrap_or(0.0)
}

fn compare(a: &Val, b: &Val) -> Option<std::cmp::Ordering> {
    Some(match (a, b) {
        (Val::Null, _) | (_, Val::Null) => return None,
        (Val::Int(a), Val::Int(b)) => a.cmp(b),
        (Val::Text(a), Val::Text(b)) => a.cmp(b),
        (Val::Int(a), Val::Text(b)) => (*a as f64).total_cmp(&number(b)),
        (Val::Text(a), Val::Int(b)) => number(a).total_cmp(&(*b as f64)),
    })
}

fn value(operand: &Operand, env: &Env<'_>) -> Val {
    match operand {
        Operand::Literal(value) => value.clone(),
        Operand::Column(at, column) => {
            let (_, row) = env[at % env.len()];
            row.map_or(Val::Null, |r| r.values[*column].clone())
        }
    }
}

fn test<'r>(cond: &Cond, env: &Env<'r>, data: &[Vec<&'r Row>; 3]) -> Option<bool> {
    match cond {
        Cond::Compare(a, op, b) => {
            let (a, b) = (value(a, env), value(b, env));
            if *op == "<=>" {
                return Some(compare(&a, &b).map_or(a == b, |o| o.is_eq()));
            }
            let order = compare(&a, &b)?;
            Some(match *op {
                "=" => order.is_eq(),
                "<>" => order.is_ne(),
                _ => order.is_lt(),
            })
        }
        Cond::In(a, list, not) => {
            let a = value(a, env);
            let found = any_of(list.iter().map(|b| compare(&a, b).map(|o| o.is_eq())));
            found.map(|f| f != *not)
        }
        Cond::IsNull(a) => Some(value(a, env) == Val::Null),
        Cond::And(a, b) => any_of([a, b].map(|c| test(c, env, data).map(|t| !t))).map(|t| !t),
        Cond::Or(a, b) => any_of([a, b].map(|c| test(c, env, data))),
        Cond::Not(a) => test(a, env, data).map(|t| !t),
        Cond::Sub(table, column, inner, not) => {
            let found = data[*table].iter().filter_map(|row| {
                let mut env = env.clone();
                env.push((*table, Some(row)));
                (test(inner, &env, data) == Some(true)).then_some(*row)
            });
            let result = match column {
                None => Some(found.count() > 0),
                Some((left, column)) => {
                    let left = value(left, env);
                    any_of(found.map(|row| compare(&left, &row.values[*column]).map(|o| o.is_eq())))
                }
            };
            result.map(|f| f != *not)
        }
    }
}

/// OR of SQL.
fn any_of(all: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut result = Some(false);
    for one in all {
        match one {
            Some(true) => return Some(true),
            None => result = None,
            Some(false) => {}
        }
    }
    result
}

fn literal(value: &Val) -> String {
    match value {
        Val::Null => "NULL".into(),
        Val::Int(n) => n.to_string(),
        Val::Text(t) => format!("'{t}'"),
    }
}

/// `names`: the aliases that the condition's places stand for.
fn sql(cond: &Cond, names: &[(usize, String)], out: &mut String) {
    let operand = |o: &Operand, names: &[(usize, String)]| match o {
        Operand::Literal(v) => literal(v),
        Operand::Column(at, column) => {
            let (table, name) = &names[at % names.len()];
            format!("{name}.{}", TABLES[*table].2[*column])
        }
    };
    match cond {
        Cond::Compare(a, op, b) => {
            write!(out, "{} {op} {}", operand(a, names), operand(b, names)).unwrap()
        }
        Cond::In(a, list, not) => {
            let list: Vec<String> = list.iter().map(literal).collect();
            let not = if *not { "NOT " } else { "" };
            write!(out, "{} {not}IN ({})", operand(a, names), list.join(", ")).unwrap();
        }
        Cond::IsNull(a) => write!(out, "{} IS NULL", operand(a, names)).unwrap(),
        Cond::And(a, b) | Cond::Or(a, b) => {
            out.push('(');
            sql(a, names, out);
            out.push_str(if matches!(cond, Cond::And(..)) { " AND " } else { " OR " });
            sql(b, names, out);
            out.push(')');
        }
        Cond::Not(a) => {
            out.push_str("NOT (");
            sql(a, names, out);
            out.push(')');
        }
        Cond::Sub(table, column, inner, not) => {
            let (name, alias, columns) = TABLES[*table];
            let mut inside = names.to_vec();
            let alias = format!("{alias}{}", names.len());
            inside.push((*table, alias.clone()));
            match column {
                None => {
                    out.push_str(if *not { "NOT EXISTS (SELECT 1" } else { "EXISTS (SELECT 1" })
                }
                Some((left, column)) => {
                    let not = if *not { "NOT " } else { "" };
                    let column = columns[*column];
                    write!(out, "{} {not}IN (SELECT {alias}.{column}", operand(left, names))
                        .unwrap();
                }
            }
            write!(out, " FROM {name} {alias} WHERE ").unwrap();
            sql(inner, &inside, out);
            out.push(')');
        }
    }
}

#[derive(Debug, Clone)]
struct Select {
    tables: Vec<usize>,
    /// For the second table: LEFT JOIN or JOIN, and its condition.
    left: bool,
    on: Cond,
    filter: Cond,
}

impl Select {
    fn sql(&self) -> String {
        let names: Vec<(usize, String)> = self
            .tables
            .iter()
            .enumerate()
            .map(|(n, &t)| (t, format!("{}{n}", TABLES[t].1)))
            .collect();
        let mut out = format!("SELECT * FROM {} {}", TABLES[names[0].0].0, names[0].1);
        if let Some((table, alias)) = names.get(1) {
            let kind = if self.left { "LEFT JOIN" } else { "JOIN" };
            write!(out, " {kind} {} {alias} ON ", TABLES[*table].0).unwrap();
            sql(&self.on, &names, &mut out);
        }
        out.push_str(" WHERE ");
        sql(&self.filter, &names, &mut out);
        out
    }

    fn run(&self, data: &[Vec<&Row>; 3]) -> Vec<Vec<Val>> {
        let mut out = Vec::new();
        let mut emit = |env: &Env<'_>| {
            if test(&self.filter, env, data) == Some(true) {
                let cells = env.iter().flat_map(|(_, row)| match row {
                    Some(row) => row.values.to_vec(),
                    None => vec![Val::Null, Val::Null],
                });
                out.push(cells.collect());
            }
        };
        for &first in &data[self.tables[0]] {
            let mut env: Env<'_> = vec![(self.tables[0], Some(first))];
            let Some(&second) = self.tables.get(1) else {
                emit(&env);
                continue;
            };
            let mut met = false;
            for &row in &data[second] {
                env.push((second, Some(row)));
                if test(&self.on, &env, data) == Some(true) {
                    met = true;
                    emit(&env);
                }
                env.pop();
            }
            if self.left && !met {
                env.push((second, None));
                emit(&env);
            }
        }
        out.sort();
        out
    }
}

const INTS: [i64; 5] = [1, 5, 65, 66, 200];
const TEXTS: [&str; 6] = ["65", "065", "65x", "5", "a", ""];

fn val() -> impl Strategy<Value = Val> {
    prop_oneof![
        6 => prop::sample::select(&INTS[..]).prop_map(Val::Int),
        3 => prop::sample::select(&TEXTS[..]).prop_map(Val::Text),
        1 => Just(Val::Null),
    ]
}

fn column() -> impl Strategy<Value = Operand> {
    // The vindex's columns more often, and names near and far.
    (0usize..4, prop_oneof![3 => Just(0usize), 1 => Just(1)])
        .prop_map(|(t, c)| Operand::Column(t, c))
}

fn cond() -> impl Strategy<Value = Cond> {
    let other = prop_oneof![3 => val().prop_map(Operand::Literal), 2 => column()];
    let op = prop_oneof![8 => Just("="), 1 => Just("<=>"), 1 => Just("<>"), 1 => Just("<")];
    let atom = prop_oneof![
        6 => (column(), op, other).prop_map(|(a, op, b)| Cond::Compare(a, op, b)),
        2 => (column(), prop::collection::vec(val(), 1..4), prop::bool::weighted(0.2))
            .prop_map(|(a, list, not)| Cond::In(a, list, not)),
        1 => column().prop_map(Cond::IsNull),
    ];
    atom.prop_recursive(4, 12, 2, |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        prop_oneof![
            4 => (boxed(), boxed()).prop_map(|(a, b)| Cond::And(a, b)),
            2 => (boxed(), boxed()).prop_map(|(a, b)| Cond::Or(a, b)),
            1 => boxed().prop_map(Cond::Not),
            2 => (0usize..3, prop::option::of((column(), 0usize..2)), boxed(),
                prop::bool::weighted(0.3))
                .prop_map(|(t, column, inner, not)| Cond::Sub(t, column, inner, not)),
        ]
    })
}

fn select() -> impl Strategy<Value = Select> {
    (prop::collection::vec(0usize..3, 1..3), any::<bool>(), cond(), cond())
        .prop_map(|(tables, left, on, filter)| Select { tables, left, on, filter })
}

/// Places a row as an INSERT of it would.
fn shard_of(snapshot: &coregate_planner::snapshot::Snapshot, table: usize, key: &Val) -> u16 {
    let (name, _, columns) = TABLES[table];
    let text = format!("INSERT INTO customer.{name} ({}) VALUES ({})", columns[0], literal(key));
    let session = SessionContext::default();
    let (plan, fingerprint) = plan_sql(snapshot, &session, &text).unwrap();
    places(snapshot, &plan, &fingerprint, &text, &[]).unwrap()[0].0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases * 20))]
    #[test]
    fn sharded_results_are_unsharded_results(
        select in select(),
        picks in prop::collection::vec((0usize..3, 0usize..6, val()), 0..14),
    ) {
        let snapshot = snapshot();
        let mut rows: [Vec<Row>; 3] = Default::default();
        for (table, key, other) in picks {
            // The columns have the types that the snapshot says.
            let (key, other) = match (table, other) {
                (2, Val::Text(_)) => (Val::Text(TEXTS[key]), Val::Null),
                (2, other) => (Val::Text(TEXTS[key]), other),
                (_, Val::Int(_)) => (Val::Int(INTS[key % INTS.len()]), Val::Null),
                (_, other) => (Val::Int(INTS[key % INTS.len()]), other),
            };
            let shard = shard_of(&snapshot, table, &key);
            rows[table].push(Row { values: [key, other], shard });
        }
        let text = select.sql();
        let keyspace = parse_target("customer", &snapshot).unwrap().keyspace;
        let session = SessionContext { keyspace, ..SessionContext::default() };
        // What is refused is not wrong.
        let Ok((plan, fingerprint)) = plan_sql(&snapshot, &session, &text) else { return Ok(()) };
        prop_assert!(matches!(plan.action, Action::Route(_)));
        let Ok(shards) = places(&snapshot, &plan, &fingerprint, &text, &[]) else { return Ok(()) };
        let everything = [0, 1, 2].map(|t| rows[t].iter().collect::<Vec<_>>());
        let wanted = select.run(&everything);
        let mut got = Vec::new();
        for (shard, _) in &shards {
            let here = [0, 1,
                2].map(|t| rows[t].iter().filter(|r| r.shard == *shard).collect::<Vec<_>>());
            got.extend(select.run(&here));
        }
        got.sort();
        prop_assert_eq!(got, wanted, "{} on {:?}", text, shards);
    }
}
