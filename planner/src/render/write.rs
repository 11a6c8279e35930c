//! Changes of several steps: what is read, and what is done to each table.
use super::pieces;
use crate::plan::write::{ByKey, Change, How, Lies, SetPart, Write};
use crate::snapshot::Snapshot;
use serde_json::{Map, Value, json};

pub(super) fn write(snapshot: &Snapshot, found: &Write, out: &mut Map<String, Value>) {
    match found {
        Write::ByKey(by_key) => by_key_steps(snapshot, by_key, out),
    }
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
        How::Delete { head } => head.clone(),
        How::Update { head, set, order } => {
            let parts = set.iter().map(|part| match part {
                SetPart::Text(text) => pieces(text),
                SetPart::Value(place) => format!("[{place}]"),
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
