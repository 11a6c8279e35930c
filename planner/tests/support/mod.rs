//! A snapshot made by hand, with a vindex whose ids are easy to read: the value's last byte, twice.
#![allow(dead_code, unreachable_pub)]
use coregate_planner::plan::{Plan, SessionValue};
use coregate_planner::resolve::{Binding, Resolved, Scratch, SessionValues, resolve};
use coregate_planner::route::{PlanInput, SessionContext, plan};
use coregate_planner::snapshot::*;
use coregate_planner::value::Value;
use coregate_planner::vindex::{KeyspaceId, Mapping, Vindex, VindexError};
use coregate_planner::{error::PlanError, fingerprint::Fingerprint};
use std::sync::Arc;

/// Maps n to the one-byte id n % 256; strings by their first byte.
#[derive(Debug)]
pub(crate) struct Byte;

impl Vindex for Byte {
    fn kind(&self) -> &'static str {
        "byte"
    }
    fn cost(&self) -> u8 {
        1
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        Ok(match values {
            [Value::Int(n)] => Mapping::Id(KeyspaceId::from_slice(&[*n as u8])),
            [Value::UInt(n)] => Mapping::Id(KeyspaceId::from_slice(&[*n as u8])),
            [Value::Bytes(b)] => Mapping::Id(KeyspaceId::from_slice(b.get(..1).unwrap_or(b"\0"))),
            [Value::Null] => Mapping::None,
            _ => return Err(VindexError("not a number".into())),
        })
    }
}

/// Two columns: region byte, then id byte; the region alone is a range.
#[derive(Debug)]
pub(crate) struct Region;

impl Vindex for Region {
    fn kind(&self) -> &'static str {
        "region"
    }
    fn cost(&self) -> u8 {
        1
    }
    fn is_unique(&self) -> bool {
        true
    }
    fn max_columns(&self) -> usize {
        2
    }
    fn map(&self, values: &[Value<'_>]) -> Result<Mapping, VindexError> {
        let byte = |v: &Value<'_>| match v {
            Value::Int(n) => Ok(*n as u8),
            _ => Err(VindexError("not a number".into())),
        };
        Ok(match values {
            [region] => {
                let start = byte(region)?;
                let end = start.checked_add(1).map(|b| vec![b]).unwrap_or_default();
                Mapping::Range(KeyRange { start: vec![start], end })
            }
            [region, id] => Mapping::Id(KeyspaceId::from_slice(&[byte(region)?, byte(id)?])),
            _ => return Err(VindexError("one or two columns".into())),
        })
    }
}

fn def(name: &str, vindex: Option<Arc<dyn Vindex>>, owner: Option<&str>) -> VindexDef {
    let kind = vindex.as_ref().map_or("consistent_lookup", |v| v.kind());
    VindexDef { name: name.into(), kind: kind.into(), vindex, owner: owner.map(Into::into) }
}

fn columns(names: &[&str]) -> Vec<Column> {
    names
        .iter()
        .map(|n| Column { name: (*n).into(), data_type: "bigint".into(), ..Column::default() })
        .collect()
}

fn table(name: &str, vindexes: &[(&[&str], &VindexDef)], names: &[&str]) -> (String, Arc<Table>) {
    let column_vindexes = vindexes
        .iter()
        .map(|(c, v)| ColumnVindex { columns: c.iter().map(|c| (*c).into()).collect(), vindex: (*v).clone() })
        .collect();
    let table = Table {
        name: name.into(),
        column_vindexes,
        columns: columns(names),
        columns_complete: !names.is_empty(),
        in_vschema: true,
        ..Table::default()
    };
    (name.into(), Arc::new(table))
}

fn shards(names: &[&str]) -> Vec<Shard> {
    let byte = |text: &str| {
        u8::from_str_radix(text, 16)
            .map(|b| vec![b])
            .unwrap_or_default()
    };
    names
        .iter()
        .map(|name| {
            let (start, end) = name.split_once('-').unwrap_or(("", ""));
            Shard {
                name: (*name).into(),
                range: KeyRange { start: byte(start), end: byte(end) },
                tablets: vec![],
            }
        })
        .collect()
}

/// `commerce` on one shard; `customer` on -40, 40-80, 80-; `legacy`, whose database is called otherwise.
pub(crate) fn snapshot() -> Snapshot {
    let byte = def("byte", Some(Arc::new(Byte)), None);
    let region = def("region", Some(Arc::new(Region)), None);
    let lookup = def("lookup", None, Some("owned"));
    let mut reference = Table {
        name: "country".into(),
        kind: TableKind::Reference,
        columns: columns(&["code", "name"]),
        columns_complete: true,
        in_vschema: true,
        ..Table::default()
    };
    let country = ("country".to_owned(), Arc::new(reference.clone()));
    reference.name = "counter_seq".into();
    let numbered = Table {
        auto_increment: Some(AutoIncrement { column: "id".into(), sequence: "customer_seq".into() }),
        ..(*table("numbered", &[(&["id"], &byte)], &["id", "name"]).1).clone()
    };
    let pinned =
        Table { name: "pinned".into(), pinned: Some(vec![0x50]), in_vschema: true, ..Table::default() };
    let bare = Table { name: "bare".into(), columns: columns(&["id"]), ..Table::default() };
    let customer = Keyspace {
        name: "customer".into(),
        database: "customer".into(),
        sharded: true,
        shards: shards(&["-40", "40-80", "80-"]),
        tables: [
            table("customer", &[(&["id"], &byte)], &["id", "name", "email", "country"]),
            table("corder", &[(&["customer_id"], &byte)], &["id", "customer_id", "total", "sku"]),
            table("open", &[(&["id"], &byte)], &[]),
            table("place", &[(&["region", "id"], &region)], &["region", "id", "name"]),
            table("owned", &[(&["id"], &byte), (&["email"], &lookup)], &["id", "email"]),
            country,
            ("numbered".into(), Arc::new(numbered)),
            ("pinned".into(), Arc::new(pinned)),
            ("bare".into(), Arc::new(bare)),
        ]
        .into_iter()
        .collect(),
        vindexes: [("byte".to_owned(), byte), ("region".to_owned(), region), ("lookup".to_owned(), lookup)]
            .into_iter()
            .collect(),
        require_explicit_routing: false,
    };
    let unsharded = |name: &str, database: &str, tables: &[&str]| Keyspace {
        name: name.into(),
        database: database.into(),
        sharded: false,
        shards: shards(&["0"]),
        tables: tables.iter().map(|t| table(t, &[], &[])).collect(),
        vindexes: Default::default(),
        require_explicit_routing: false,
    };
    let mut global = ahash::AHashMap::new();
    global.insert("customer".to_owned(), vec![1]);
    global.insert("corder".to_owned(), vec![1]);
    global.insert("product".to_owned(), vec![0]);
    global.insert("twice".to_owned(), vec![0, 2]);
    Snapshot {
        version: 1,
        keyspaces: vec![
            unsharded("commerce", "commerce", &["product", "twice"]),
            customer,
            unsharded("legacy", "old-db", &["twice"]),
        ],
        drop_in: None,
        global_tables: global,
    }
}

pub(crate) fn drop_in() -> Snapshot {
    let tablet = Tablet {
        alias: "upstream-1".into(),
        kind: TabletKind::Primary,
        address: Address::Unix("/run/mysqld.sock".into()),
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
    let mut fingerprint = Fingerprint::new();
    fingerprint.read(sql.as_bytes(), session.sql_mode)?;
    let arena = bumpalo::Bump::new();
    let input = PlanInput {
        sql: sql.as_bytes(),
        fingerprint: &fingerprint,
        snapshot,
        session,
        arena: &arena,
        prepared: fingerprint.params > 0,
    };
    let plan = plan(&input)?;
    Ok((plan, fingerprint))
}

/// The shards, by name, and their texts.
pub(crate) fn places(
    snapshot: &Snapshot,
    plan: &Plan,
    fingerprint: &Fingerprint,
    sql: &str,
    params: &[Value<'_>],
) -> Result<Vec<(u16, Option<String>)>, PlanError> {
    let coregate_planner::plan::Action::Route(route) = &plan.action else { return Ok(vec![]) };
    let binding = Binding {
        sql: sql.as_bytes(),
        fingerprint,
        params,
        sql_mode: Default::default(),
        session: &Session,
        prepared: !params.is_empty(),
    };
    let mut out = Resolved::default();
    resolve(route, snapshot, &binding, &mut Scratch::default(), &mut out)?;
    Ok(out
        .shards
        .iter()
        .map(|s| {
            (
                s.shard,
                s.text
                    .as_ref()
                    .map(|t| String::from_utf8_lossy(t).into_owned()),
            )
        })
        .collect())
}
