//! A plan as JSON: what `VEXPLAIN PLAN`, `coregate explain` and the golden files show.
mod keys;
mod write;

use crate::plan::maintain::Maintain;
use crate::plan::tree::{Aggregate, Form, Function, Key, TextKey, Tree};
use crate::plan::{
    Action, Combine, Destination, Effects, EqualTo, InRows, LocalRows, Operand, Piece, Plan, Route,
    RowSource, StatementClass, Target, Text,
};
use crate::snapshot::Snapshot;
use serde_json::{Map, Value, json};

/// The plan, complete, with names instead of indexes.
pub fn plan(snapshot: &Snapshot, plan: &Plan) -> Value {
    let mut out = Map::new();
    out.insert("Class".into(), json!(format!("{:?}", plan.class)));
    match &plan.action {
        Action::Route(found) => route(snapshot, found, &mut out),
        Action::Session(action) => {
            out.insert("OperatorType".into(), json!("Session"));
            out.insert("Action".into(), json!(format!("{action:?}")));
        }
        Action::Rows(LocalRows { columns, rows }) => {
            out.insert("OperatorType".into(), json!("Rows"));
            out.insert("Columns".into(), json!(columns));
            out.insert("Rows".into(), json!(rows));
        }
        Action::Tree(found) => tree(snapshot, found, &mut out),
        Action::Write(found) => write::write(snapshot, found, &mut out),
        Action::AlterVschema { keyspace } => {
            out.insert("OperatorType".into(), json!("AlterVSchema"));
            let name = keyspace
                .and_then(|k| snapshot.keyspaces.get(usize::from(k)))
                .map(|k| k.name.clone());
            out.insert("Keyspace".into(), json!(name));
        }
    }
    // What a statement leaves behind; these leave nothing.
    let leaves_nothing = Effects::NO_TABLES
        | Effects::ADMIN
        | Effects::PLAIN_ROWS
        | Effects::ROWS_ONLY
        | Effects::READS;
    let shown = plan.effects - leaves_nothing;
    if !shown.is_empty() {
        let names: Vec<_> = shown.iter_names().map(|(name, _)| name).collect();
        out.insert("Effects".into(), json!(names));
    }
    if !plan.tables.is_empty() {
        out.insert("TablesUsed".into(), json!(plan.tables));
    }
    Value::Object(out)
}

/// One row with the plan, as `VEXPLAIN PLAN` answers.
pub(crate) fn explain(snapshot: &Snapshot, found: &Plan) -> Plan {
    let text = serde_json::to_string_pretty(&plan(snapshot, found)).unwrap_or_default();
    Plan {
        action: Action::Rows(LocalRows {
            columns: vec!["JSON".into()],
            rows: vec![vec![Some(text)]],
        }),
        class: StatementClass::Explain,
        effects: Effects::empty(),
        cacheable: false,
        tables: Vec::new(),
        names: Vec::new(),
        directives: Default::default(),
    }
}

/// The steps, the last one first, over the queries that the shards answer.
fn tree(snapshot: &Snapshot, found: &Tree, out: &mut Map<String, Value>) {
    let leaves = found.leaves.iter().enumerate().map(|(at, leaf)| {
        let mut out = Map::new();
        route(snapshot, &leaf.route, &mut out);
        if let Form::Finish(finish) = &found.form {
            keys::show(finish, at, &mut out);
        }
        Value::Object(out)
    });
    let leaves: Vec<Value> = leaves.collect();
    match &found.form {
        Form::Merge(merge) => {
            out.insert("OperatorType".into(), json!("Merge"));
            out.insert("Why".into(), json!(merge.why));
            out.insert("Columns".into(), json!(merge.shown));
            for (name, keys) in [("OrderBy", &merge.order), ("SortAgain", &merge.sort)] {
                if !keys.is_empty() {
                    out.insert(name.into(), json!(keys.iter().map(key).collect::<Vec<_>>()));
                }
            }
            if let Some(group) = &merge.group {
                let aggregates: Vec<_> = group.aggregates.iter().map(aggregate).collect();
                out.insert("GroupBy".into(), json!(format!("{} keys", group.keys)));
                out.insert("Aggregates".into(), json!(aggregates));
                if group.distinct > 0 {
                    out.insert("DistinctBy".into(), json!(format!("{} keys", group.distinct)));
                }
            }
            if let Some(limit) = &merge.limit {
                let skip = limit.skip.as_ref().map(operand);
                out.insert("Limit".into(), json!({ "Skip": skip, "Take": operand(&limit.take) }));
            }
        }
        Form::Finish(finish) => {
            out.insert("OperatorType".into(), json!("Finish"));
            out.insert("Why".into(), json!(finish.why));
            out.insert("Query".into(), json!(pieces(&finish.text)));
            let gathers = finish.gathers.iter().map(|gather| {
                let columns: Vec<_> = gather
                    .columns
                    .iter()
                    .map(|c| {
                        format!(
                            "{} \
                    {}",
                            c.name, c.definition
                        )
                    })
                    .collect();
                let mut out = json!({ "Table": gather.table, "Of": format!("{}.{}",
                    gather.keyspace, gather.org_table), "Columns": columns });
                for (name, places) in
                    [("Indexes", &gather.indexed), ("PrimaryKey", &gather.primary)]
                {
                    if !places.is_empty() {
                        out[name] = json!(places);
                    }
                }
                if !gather.keys.is_empty() {
                    out["Keys"] = json!(keys::keys(finish, gather));
                }
                if gather.planned {
                    out["PlannedForItself"] = json!(true);
                }
                if let Some(system) = &gather.system {
                    out["Rows"] = json!(format!("{:?}", system.rows));
                }
                out
            });
            out.insert("Gathers".into(), json!(gathers.collect::<Vec<_>>()));
        }
    }
    out.insert("Inputs".into(), json!(leaves));
}

fn key(key: &Key) -> String {
    let text = match &key.text {
        None => String::new(),
        Some(TextKey::Bytes) => " bytes".into(),
        Some(TextKey::Weight { column, ascii, collation }) => {
            let ascii = if *ascii { " or ASCII" } else { "" };
            format!(" by {} weight {column}{ascii}", collation.name)
        }
    };
    format!("{}{text}{}", key.column, if key.descending { " DESC" } else { "" })
}

fn aggregate(found: &Aggregate) -> String {
    let name = match &found.function {
        Function::Count => "COUNT".into(),
        Function::Sum => "SUM".into(),
        Function::Avg { sum, count } => format!("AVG of {sum} / {count}"),
        Function::Least { .. } => "MIN".into(),
        Function::Greatest { .. } => "MAX".into(),
        other => format!("{other:?}").to_uppercase(),
    };
    let distinct = if found.distinct { " DISTINCT" } else { "" };
    format!("{}: {name}{distinct}", found.column)
}

fn route(snapshot: &Snapshot, found: &Route, out: &mut Map<String, Value>) {
    out.insert("OperatorType".into(), json!("Route"));
    if let Some(generate) = &found.generate {
        let name = generate
            .sequence
            .as_ref()
            .map_or_else(Clone::clone, |s| s.name.clone());
        out.insert("Sequence".into(), json!(name));
        out.insert("Generates".into(), json!(generate.column));
    }
    if let Some(sql) = &found.vindex {
        out.insert("Then".into(), json!(sql));
    }
    if let Some(maintain) = &found.maintain {
        let names: Vec<&str> = match &**maintain {
            Maintain::Insert(all) => all.iter().map(|e| e.def.name.as_str()).collect(),
            Maintain::Change(change) => {
                change.lookups.iter().map(|e| e.def.name.as_str()).collect()
            }
        };
        out.insert("LookupVindexes".into(), json!(names));
    }
    out.insert("Variant".into(), json!(variant(&found.to)));
    if let Target::Keyspace { keyspace, shards } = &found.to {
        let keyspace = snapshot.keyspaces.get(usize::from(*keyspace));
        out.insert("Keyspace".into(), json!(keyspace.map(|k| k.name.as_str())));
        if let Destination::Shard(n) = shards {
            let shard = keyspace.and_then(|k| k.shards.get(usize::from(*n)));
            out.insert("Shard".into(), json!(shard.map(|s| s.name.as_str())));
        }
        values(shards, out);
    }
    if found.combine != Combine::Concat {
        out.insert("Combine".into(), json!(format!("{:?}", found.combine)));
    }
    match &found.text {
        Text::AsIs => {}
        Text::Pieces(list) => drop(out.insert("Query".into(), json!(pieces(list)))),
        Text::Split(list) => drop(out.insert("QueryIfSplit".into(), json!(pieces(list)))),
    }
}

/// The name of a destination, as Vitess has it where it has one.
pub fn variant(target: &Target) -> &'static str {
    match target {
        Target::DropIn => "DropIn",
        Target::Keyspace { shards, .. } => match shards {
            Destination::Unsharded => "Unsharded",
            Destination::Any => "Reference",
            Destination::Shard(_) => "ByDestination",
            Destination::Equal { .. } => "EqualUnique",
            Destination::Together(_) => "Together",
            Destination::In { .. } => "IN",
            Destination::Lookup(to) if to.many => "IN",
            Destination::Lookup(to) if to.vindex.unique => "EqualUnique",
            Destination::Lookup(_) => "Equal",
            Destination::KeyspaceId(_) => "Pinned",
            Destination::Rows(_) => "Sharded",
            Destination::Scatter => "Scatter",
            Destination::Range(..) => "ByRange",
            Destination::Nowhere => "None",
            Destination::Turn => "Turn",
        },
    }
}

fn values(shards: &Destination, out: &mut Map<String, Value>) {
    let row = |r: &[Operand]| r.iter().map(operand).collect::<Vec<_>>().join(", ");
    match shards {
        Destination::Equal { to: EqualTo { vindex, values, .. }, .. } => {
            out.insert("Vindex".into(), json!(vindex.kind()));
            out.insert("Values".into(), json!(row(values)));
        }
        Destination::Together(all) => {
            let all: Vec<_> = all
                .iter()
                .map(|e| format!("{}({})", e.vindex.kind(), row(&e.values)))
                .collect();
            out.insert("Values".into(), json!(all));
        }
        Destination::In { vindex, rows, .. } => {
            out.insert("Vindex".into(), json!(vindex.kind()));
            let text = match rows {
                InRows::List(n) => json!(format!("::L{n}")),
                InRows::Operands(rows) => json!(rows.iter().map(|r| row(r)).collect::<Vec<_>>()),
            };
            out.insert("Values".into(), text);
        }
        Destination::Rows(rows) => {
            out.insert("Vindex".into(), json!(rows.vindex.kind()));
            out.insert("Columns".into(), json!(rows.columns.to_vec()));
            let text = match &rows.source {
                RowSource::Collapsed { positions, width } => {
                    json!(format!("columns {positions:?} of rows of {width}"))
                }
                RowSource::Operands(all) => json!(all.iter().map(|r| row(r)).collect::<Vec<_>>()),
            };
            out.insert("Values".into(), text);
        }
        Destination::Lookup(to) => {
            out.insert("Vindex".into(), json!(to.vindex.name));
            out.insert("Lookup".into(), json!(pieces(&to.query)));
        }
        Destination::KeyspaceId(id) => {
            out.insert(
                "KeyspaceId".into(),
                json!(id.iter().map(|b| format!("{b:02x}")).collect::<String>()),
            );
        }
        _ => {}
    }
}

fn operand(operand: &Operand) -> String {
    match operand {
        Operand::Null => "NULL".into(),
        Operand::Literal(n) => format!(":l{n}"),
        Operand::Param(n) => format!(":p{n}"),
        Operand::InsertId => ":LastInsertId".into(),
        Operand::Const(text) => String::from_utf8_lossy(text).into_owned(),
    }
}

fn pieces(list: &[Piece]) -> String {
    let mut out = String::new();
    let mut any_row = false;
    for piece in list {
        match piece {
            Piece::Verbatim(text) => out.push_str(&String::from_utf8_lossy(text)),
            Piece::Literal(n) => out.push_str(&format!(":l{n}")),
            Piece::List { list, split: false } => out.push_str(&format!("::L{list}")),
            Piece::List { list, split: true } => out.push_str(&format!("::L{list}[shard]")),
            Piece::CollapsedRows => out.push_str("::rows[shard]"),
            Piece::Row { row, pieces: inner } => {
                if std::mem::replace(&mut any_row, true) {
                    out.push(',');
                }
                out.push_str(&format!("[row {row}: {}]", pieces(inner)));
            }
            Piece::Param(n) => out.push_str(&format!(":p{n}")),
            Piece::LimitSum { skip: None, take } => out.push_str(&operand(take)),
            Piece::LimitSum { skip: Some(skip), take } => {
                out.push_str(&format!("{} + {}", operand(skip), operand(take)));
            }
            Piece::Session(value) => out.push_str(&format!(":{value:?}")),
        }
    }
    out
}
