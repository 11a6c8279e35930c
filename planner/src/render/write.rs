//! Changes of several steps: what is read, and what is done to each table.
use super::pieces;
use crate::plan::write::{ByKey, Change, EachRow, How, Lies, SetPart, Write};
use crate::snapshot::Snapshot;
use serde_json::{Map, Value, json};

pub(super) fn write(snapshot: &Snapshot, found: &Write, out: &mut Map<String, Value>) {
    match found {
        Write::ByKey(by_key) => by_key_steps(snapshot, by_key, out),
        Write::InsertSelect(found) => {
            out.insert("OperatorType".into(), json!("InsertSelect"));
            out.insert("Variant".into(), json!("InsertSelect"));
            out.insert("Why".into(), json!(found.why));
            out.insert("Query".into(), json!(pieces(&found.query)));
            let insert = format!("{} VALUES [rows] {}", pieces(&found.head), pieces(&found.tail));
            out.insert("Insert".into(), json!(insert));
        }
        Write::Evaluated(found) => {
            out.insert("OperatorType".into(), json!("Evaluate"));
            out.insert("Variant".into(), json!("Evaluate"));
            let expressions: Vec<_> = found.expressions.iter().map(|e| pieces(e)).collect();
            out.insert("Expressions".into(), json!(expressions));
            let texts: Vec<_> = found.texts.iter().map(|t| pieces(t)).collect();
            out.insert("Query".into(), json!(texts.join("[value]")));
        }
        Write::EachRow(found) => each_row(found, out),
    }
}

fn each_row(found: &EachRow, out: &mut Map<String, Value>) {
    out.insert("OperatorType".into(), json!("EachRow"));
    out.insert("Variant".into(), json!("EachRow"));
    let names: Vec<_> = found
        .image
        .lookups
        .iter()
        .map(|l| l.def.name.as_str())
        .collect();
    out.insert("LookupVindexes".into(), json!(names));
    let keys = found.unique.keys.iter().map(|key| {
        let names: Vec<_> = key.iter().map(|column| column.name.as_str()).collect();
        names.join(", ")
    });
    out.insert("UniqueKeys".into(), json!(keys.collect::<Vec<_>>()));
    out.insert(
        "Query".into(),
        json!(format!("{}[row] {}", pieces(&found.head), pieces(&found.tail))),
    );
}

fn by_key_steps(snapshot: &Snapshot, found: &ByKey, out: &mut Map<String, Value>) {
    out.insert("OperatorType".into(), json!("ByKey"));
    out.insert("Variant".into(), json!("ByKey"));
    out.insert("Why".into(), json!(found.why));
    out.insert("Query".into(), json!(format!("{} FOR UPDATE", pieces(&found.query))));
    let changes = found
        .changes
        .iter()
        .map(|change| self::change(snapshot, change));
    out.insert("Changes".into(), json!(changes.collect::<Vec<_>>()));
}

fn change(snapshot: &Snapshot, found: &Change) -> Value {
    let keyspace = snapshot.keyspaces.get(usize::from(found.keyspace));
    let lies = match &found.lies {
        Lies::One => "one shard".into(),
        Lies::Copies => "copies on all shards".into(),
        Lies::Pinned(_) => "pinned".into(),
        Lies::Vindex(by) => format!("{}({:?})", by.vindex.kind(), by.places),
        Lies::Anywhere => "all shards".into(),
    };
    let key: Vec<_> = found
        .key
        .iter()
        .map(|part| format!("{} = {}", part.test, part.place))
        .collect();
    let text = match &found.how {
        How::Delete { head, order, returning } if returning.is_empty() => {
            format!("{head}{}", pieces(order))
        }
        How::Delete { head, order, returning } => {
            format!("{head}{} RETURNING{}", pieces(order), pieces(returning))
        }
        How::Update { head, set, order } => {
            let parts = set.iter().map(|part| match part {
                SetPart::Text(text) => pieces(text),
                SetPart::Value(read) => format!("[{}]", read.place),
            });
            format!("{head}{}{}", parts.collect::<String>(), pieces(order))
        }
    };
    let mut out = Map::new();
    out.insert("Keyspace".into(), json!(keyspace.map(|k| k.name.as_str())));
    out.insert("Lies".into(), json!(lies));
    out.insert("Key".into(), json!(key));
    out.insert("Statement".into(), json!(text));
    if let Some(image) = &found.image {
        let names: Vec<_> = image.lookups.iter().map(|l| l.def.name.as_str()).collect();
        out.insert("LookupVindexes".into(), json!(names));
        out.insert("Moves".into(), json!(image.moves.is_some()));
    }
    Value::Object(out)
}
