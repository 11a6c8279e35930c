//! A snapshot for tests, with a vindex whose ids are easy to read: n lies at n * 2^56, so that its
//! id begins with the byte n.
#![allow(dead_code, unreachable_pub)]
use coregate_planner::collation::{AsciiWeights, Collation};
use coregate_planner::plan::tree::{Form, KeyForm, Tree};
use coregate_planner::plan::{Action, Plan, SessionValue};
use coregate_planner::resolve::{
    Binding, KeyValues, Parts, Resolved, Scratch, SessionValues, ask_by_keys, resolve, resolve_tree,
};
use coregate_planner::route::{PlanInput, SessionContext, plan};
use coregate_planner::snapshot::*;
use coregate_planner::value::Value;
use coregate_planner::vschema::{
    Keyspace, KeyspaceSpec, RoutingRules, ServerTable, SnapshotBuilder,
};
use coregate_planner::{error::PlanError, fingerprint::Fingerprint};
use std::sync::Arc;

const CUSTOMER: &str = r#"{
    "sharded": true,
    "vindexes": {
        "byte": {"type": "numeric_static_map", "params": {"json_path": "bytes"}},
        "region": {"type": "region_experimental", "params": {"region_bytes": "1"}},
        "text": {"type": "xxhash"},
        "lookup": {"type": "consistent_lookup", "params": {"table": "l", "from": "email",
        "to": "id"}, "owner": "owned"}
    },
    "tables": {
        "customer": {"column_vindexes": [{"column": "id", "name": "byte"}]},
        "corder": {"column_vindexes": [{"column": "customer_id", "name": "byte"}]},
        "open": {"column_vindexes": [{"column": "id", "name": "byte"}]},
        "place": {"column_vindexes": [{"columns": ["region", "id"], "name": "region"}]},
        "named": {"column_vindexes": [{"column": "name", "name": "text"}]},
        "owned": {"column_vindexes": [{"column": "id", "name": "byte"}, {"column": "email",
        "name": "lookup"}]},
        "country": {"type": "reference"},
        "events": {"type": "log"},
        "scratch": {"type": "volatile"},
        "numbered": {
            "column_vindexes": [{"column": "id", "name": "byte"}],
            "auto_increment": {"column": "id", "sequence": "customer_seq"}
        },
        "wide": {"column_vindexes": [{"column": "id", "name": "byte"}]},
        "line": {"column_vindexes": [{"column": "wide_id", "name": "byte"}]},
        "pinned": {"pinned": "50"}
    }
}"#;

const RULES: &str = r#"{"rules": [
    {"from_table": "moved", "to_tables": ["legacy.moved"]},
    {"from_table": "customer.moved", "to_tables": ["legacy.moved"]},
    {"from_table": "commerce.back", "to_tables": ["customer.customer"]},
    {"from_table": "commerce.customer", "to_tables": ["customer.customer"]},
    {"from_table": "customer.product@replica", "to_tables": ["commerce.product"]},
    {"from_table": "customer.off", "to_tables": []},
    {"from_table": "customer.many", "to_tables": ["customer.corder", "commerce.corder"]},
    {"from_table": "customer.twofold", "to_tables": ["customer.corder"]},
    {"from_table": "customer.twofold", "to_tables": ["commerce.corder"]},
    {"from_table": "customer.nowhere", "to_tables": ["gone.t"]},
    {"from_table": "customer.bad", "to_tables": ["t"]}
]}"#;

fn read(name: &str) -> Result<String, String> {
    assert_eq!(name, "bytes");
    let map: std::collections::BTreeMap<String, u64> =
        (0..=255u64).map(|n| (n.to_string(), n << 56)).collect();
    serde_json::to_string(&map).map_err(|e| e.to_string())
}

/// A table as a server has it; a column is an integer unless its name ends in `'`: then it is text.
/// Or its type follows in full, and what else there is to say: `"price decimal(10,2) NOT NULL"`,
/// `"id int PRI"`, `"email varchar(64) UNI COLLATE utf8mb4_bin"`.
pub(crate) fn table(name: &str, columns: &[&str]) -> ServerTable {
    let mut table = ServerTable { name: name.into(), ..ServerTable::default() };
    for text in columns {
        let column = match (text.split_once(' '), text.strip_suffix('\'')) {
            (Some((name, rest)), _) => exact_column(name, rest),
            (None, Some(name)) => {
                Column { name: name.into(), data_type: "varchar".into(), ..Column::default() }
            }
            (None, None) => Column { nullable: None, ..Column::of_type(text, "bigint") },
        };
        match column.key {
            ColumnKey::Primary => table.primary_key.push(column.name.clone()),
            ColumnKey::Unique => table.unique_keys.push(key(&column.name, &[&column.name])),
            ColumnKey::Multiple => table.indexes.push(key(&column.name, &[&column.name])),
            ColumnKey::None => {}
        }
        table.columns.push(column);
    }
    table
}

pub(crate) fn key(name: &str, columns: &[&str]) -> Key {
    Key { name: name.into(), columns: columns.iter().map(|c| c.to_string()).collect(), whole: true }
}

fn exact_column(name: &str, rest: &str) -> Column {
    let end = ["PRI", "UNI", "MUL", "NOT NULL", "COLLATE", "DEFAULT", "GENERATED", "INVISIBLE"]
        .iter()
        .filter_map(|word| rest.find(word))
        .min()
        .unwrap_or(rest.len());
    let (column_type, more) = rest.split_at(end);
    let mut column = Column::of_type(name, column_type);
    let mut words = more.split(' ');
    while let Some(word) = words.next() {
        match word {
            "PRI" => column.key = ColumnKey::Primary,
            "UNI" => column.key = ColumnKey::Unique,
            "MUL" => column.key = ColumnKey::Multiple,
            "DEFAULT" => column.has_default = true,
            "GENERATED" => column.generated = true,
            "INVISIBLE" => column.invisible = true,
            "COLLATE" => {
                column.collation = words.next().map(str::to_owned);
                column.charset = column
                    .collation
                    .as_ref()
                    .and_then(|c| c.split('_').next())
                    .map(str::to_owned);
            }
            _ => {}
        }
    }
    column.nullable = Some(!more.contains("NOT NULL") && column.key != ColumnKey::Primary);
    column.null_default = column.nullable == Some(true) && !column.has_default && !column.generated;
    column.has_default |= column.null_default;
    column
}

fn view(name: &str, columns: &[&str], query: &str) -> ServerTable {
    ServerTable { view: Some(query.into()), ..table(name, columns) }
}

/// A column of every kind.
const WIDE: [&str; 20] = [
    "id bigint PRI",
    "n int",
    "price decimal(10,2) NOT NULL",
    "d double",
    "f float",
    "name varchar(40) COLLATE utf8mb4_general_ci",
    "tag varchar(20) COLLATE latin1_swedish_ci",
    "code varchar(10) COLLATE utf8mb4_0900_bin",
    "pad varchar(10) COLLATE utf8mb4_bin",
    "odd varchar(10) COLLATE utf8mb4_czech_ci",
    "kind enum('a','b') COLLATE utf8mb4_general_ci",
    "flags set('x','y') COLLATE utf8mb4_general_ci",
    "b bit(4)",
    "at timestamp",
    "day date",
    "moment datetime(6)",
    "body text COLLATE utf8mb4_general_ci",
    "raw varbinary(20)",
    "js json",
    "hidden int INVISIBLE",
];

fn collations() -> Vec<Arc<Collation>> {
    let weights: Vec<[u8; 1]> = (0..128u8).map(|c| [c.to_ascii_uppercase()]).collect();
    let ascii = AsciiWeights::new(weights.iter().map(|w| w.as_slice())).map(Box::new);
    let made = |name: &str, binary, space: &[u8], ascii: &Option<Box<AsciiWeights>>| {
        Arc::new(Collation {
            name: name.into(),
            binary,
            space: space.to_vec(),
            ascii: ascii.clone(),
        })
    };
    vec![
        made("utf8mb4_general_ci", false, b" ", &ascii),
        made("latin1_swedish_ci", false, b" ", &ascii),
        made("utf8mb4_0900_bin", true, b"", &None),
        made("utf8mb4_bin", true, b" ", &None),
    ]
}

/// `commerce` on one shard; `customer` on -40, 40-80, 80-; `legacy`, whose database is called
/// otherwise.
pub(crate) fn snapshot() -> Snapshot {
    let vschema = |json: &str| Keyspace::from_json(json).unwrap();
    let customer = KeyspaceSpec {
        tables: vec![
            table("customer", &["id", "name'", "email'", "country'"]),
            table("corder", &["id", "customer_id", "total", "sku'"]),
            table("place", &["region", "id", "name'"]),
            table("named", &["name'", "x"]),
            table("owned", &["id", "email varchar(64) NOT NULL"]),
            table("country", &["code varchar(2) COLLATE utf8mb4_general_ci", "name'"]),
            table("numbered", &["id", "name'"]),
            table("bare", &["id"]),
            table("wide", &WIDE),
            table(
                "line",
                &[
                    "wide_id bigint NOT NULL",
                    "no int NOT NULL",
                    "item varchar(40) COLLATE utf8mb4_general_ci",
                    "price decimal(10,2)",
                ],
            ),
            view(
                "seen",
                &["id bigint", "n varchar(20) COLLATE utf8mb4_general_ci"],
                "select `customer`.`customer`.`id` AS `id`,`customer`.`customer`.`name` AS `n` \
                    from `customer`.`customer` where `customer`.`customer`.`name` > 'a'",
            ),
            view("counted", &["c"], "select count(0) AS `c` from `customer`.`customer`"),
        ],
        ..KeyspaceSpec::new("customer", &["-40", "40-80", "80-"], vschema(CUSTOMER))
    };
    let commerce = vschema(
        r#"{"tables": {"product": {}, "twice": {}, "customer_seq": {"type": "sequence"}}}"#,
    );
    let commerce = KeyspaceSpec {
        tables: vec![table(
            "typed",
            &["a int NOT NULL", "b varchar(20) COLLATE utf8mb4_general_ci"],
        )],
        ..KeyspaceSpec::new("commerce", &["0"], commerce)
    };
    let legacy = KeyspaceSpec {
        database: "old-db".into(),
        ..KeyspaceSpec::new("legacy", &["0"], vschema(r#"{"tables": {"twice": {}}}"#))
    };
    let builder = SnapshotBuilder::new(1)
        .keyspace(commerce, &read)
        .and_then(|b| b.keyspace(customer, &read))
        .and_then(|b| b.keyspace(legacy, &read));
    let rules = RoutingRules::from_json(RULES).unwrap();
    builder
        .unwrap()
        .rules(&rules)
        .unwrap()
        .collations(collations())
        .build()
}

pub(crate) fn drop_in() -> Snapshot {
    let tablet = Tablet {
        alias: "upstream-1".into(),
        kind: TabletKind::Primary,
        address: Address::Unix("/run/mysqld.sock".into()),
        server_name: "localhost".into(),
        user: "app".into(),
        password: String::new(),
        tls: BackendTls::Disabled,
    };
    Snapshot { drop_in: Some(Arc::new(tablet)), ..Snapshot::default() }
}

pub(crate) struct Session;

impl SessionValues for Session {
    fn write(&self, which: SessionValue, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("<{which:?}>").as_bytes());
    }
    fn write_param(&self, n: u16, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("<param {n}>").as_bytes());
    }
}

pub(crate) fn plan_sql(
    snapshot: &Snapshot,
    session: &SessionContext<'_>,
    sql: &str,
) -> Result<(Plan, Fingerprint), PlanError> {
    plan_with(snapshot, session, sql, false)
}

fn plan_with(
    snapshot: &Snapshot,
    session: &SessionContext<'_>,
    sql: &str,
    split: bool,
) -> Result<(Plan, Fingerprint), PlanError> {
    let mut fingerprint = Fingerprint::new();
    fingerprint.read(sql.as_bytes(), session.sql_mode)?;
    let arena = bumpalo::Bump::new();
    let input = PlanInput {
        sql: sql.as_bytes(),
        fingerprint: &fingerprint,
        snapshot,
        serving: None,
        session,
        arena: &arena,
        prepared: fingerprint.params > 0,
        split,
    };
    let plan = plan(&input)?;
    Ok((plan, fingerprint))
}

/// As a session does: planned again where the values lie on several shards.
pub(crate) fn plan_split(
    snapshot: &Snapshot,
    session: &SessionContext<'_>,
    sql: &str,
) -> Result<(Plan, Fingerprint), PlanError> {
    let (plan, fingerprint) = plan_sql(snapshot, session, sql)?;
    match texts(snapshot, &plan, &fingerprint, sql, &values(&fingerprint)) {
        Err(PlanError::Several) => plan_with(snapshot, session, sql, true),
        _ => Ok((plan, fingerprint)),
    }
}

/// Parameters: n * 0x40.
pub(crate) fn values(fingerprint: &Fingerprint) -> Vec<Value<'static>> {
    (0..fingerprint.params)
        .map(|n| Value::Int(i64::from(n) * 0x40))
        .collect()
}

/// Restricts the leaves that are asked for values of others: as if those had had these.
fn ask_for_samples(tree: &Tree, parts: &mut Parts) {
    let Form::Finish(finish) = &tree.form else { return };
    let ranges = std::mem::take(&mut parts.ranges);
    let leaves = finish.gathers.iter().zip(&mut parts.leaves);
    for ((gather, leaf), ranges) in leaves.zip(ranges) {
        let values = gather.keys.iter().map(|key| {
            let samples: [&str; 2] = match key.form {
                KeyForm::Integer { .. } => ["1", "65"],
                KeyForm::Decimal => ["1.00", "-2.50"],
                KeyForm::Date => ["2026-01-31", "2026-02-01"],
                KeyForm::Moment => ["2026-01-31 00:00:00.000000", "2026-02-01 01:02:03.500000"],
                KeyForm::Text { .. } | KeyForm::Bytes => ["a", "it's"],
            };
            let values = samples.map(|value| value.as_bytes().to_vec()).to_vec();
            KeyValues { values: Some(values), ids: None }
        });
        ask_by_keys(gather, &ranges, &values.collect::<Vec<_>>(), leaf);
    }
}

/// Where a plan's parts go, and their texts: `shard 0` for one, `leaf 1 shard 0` and `finish` for
/// several.
pub(crate) fn texts(
    snapshot: &Snapshot,
    plan: &Plan,
    fingerprint: &Fingerprint,
    sql: &str,
    params: &[Value<'_>],
) -> Result<Vec<(String, Option<String>)>, PlanError> {
    let binding = Binding {
        sql: sql.as_bytes(),
        fingerprint,
        params,
        sql_mode: Default::default(),
        charsets: Default::default(),
        session: &Session,
        prepared: !params.is_empty(),
    };
    let text = |text: &Option<Vec<u8>>| {
        text.as_ref()
            .map(|t| String::from_utf8_lossy(t).into_owned())
    };
    let mut out = Vec::new();
    let scratch = &mut Scratch::default();
    match &plan.action {
        Action::Route(route) => {
            let mut found = Resolved::default();
            resolve(route, snapshot, &binding, scratch, &mut found)?;
            let shards = found.shards.iter();
            out.extend(shards.map(|s| (format!("shard {}", s.shard), text(&s.text))));
        }
        Action::Tree(tree) => {
            let mut parts = resolve_tree(tree, snapshot, &binding, scratch)?;
            ask_for_samples(tree, &mut parts);
            for (n, leaf) in parts.leaves.iter().enumerate() {
                let shards = leaf.shards.iter();
                out.extend(shards.map(|s| (format!("leaf {n} shard {}", s.shard), text(&s.text))));
            }
            if !parts.finish.is_empty() {
                out.push((
                    "finish".into(),
                    Some(String::from_utf8_lossy(&parts.finish).into_owned()),
                ));
            }
            if parts.skip != 0 || parts.take != u64::MAX {
                out.push((
                    "limit".into(),
                    Some(format!("skip {} take {}", parts.skip, parts.take)),
                ));
            }
        }
        _ => {}
    }
    Ok(out)
}

/// The shards of a route, and their texts; nothing for other plans.
pub(crate) fn places(
    snapshot: &Snapshot,
    plan: &Plan,
    fingerprint: &Fingerprint,
    sql: &str,
    params: &[Value<'_>],
) -> Result<Vec<(u16, Option<String>)>, PlanError> {
    let found = texts(snapshot, plan, fingerprint, sql, params)?;
    let shard = |place: &str| place.strip_prefix("shard ").and_then(|n| n.parse().ok());
    Ok(found
        .into_iter()
        .filter_map(|(place, text)| Some((shard(&place)?, text)))
        .collect())
}
