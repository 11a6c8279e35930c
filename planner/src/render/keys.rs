//! Tables that are asked for the values of others.
use crate::plan::tree::{Finish, Gather, GatherKey, KeyPlace};
use serde_json::{Map, Value, json};

/// The column whose values a key has.
fn values(finish: &Finish, key: &GatherKey) -> String {
    let from = finish.gathers.get(usize::from(key.from));
    let column = from.and_then(|from| from.columns.get(usize::from(key.value)));
    let table = from.map_or("", |from| from.table.as_str());
    format!("{table}.{}", column.map_or("", |column| column.name.as_str()))
}

pub(super) fn keys(finish: &Finish, gather: &Gather) -> Vec<Value> {
    let keys = gather.keys.iter().map(|key| {
        let mut out = json!({ "Column": key.column, "In": values(finish, key) });
        match &key.place {
            None => {}
            Some(KeyPlace::Vindex { vindex, .. }) => out["Vindex"] = json!(vindex.kind()),
            Some(KeyPlace::Lookup { vindex, .. }) => out["Vindex"] = json!(vindex.name),
        }
        out
    });
    keys.collect()
}

/// A leaf's query as it is asked where there are not too many values.
pub(super) fn show(finish: &Finish, at: usize, out: &mut Map<String, Value>) {
    let Some(gather) = finish
        .gathers
        .get(at)
        .filter(|gather| !gather.keys.is_empty())
    else {
        return;
    };
    let Some(Value::String(query)) = out.get_mut("Query") else { return };
    let at = query.len().saturating_sub(gather.tail);
    let tail = query.split_off(at);
    for (n, key) in gather.keys.iter().enumerate() {
        query.push_str(if n == 0 && !gather.filtered { " WHERE " } else { " AND " });
        query.push_str(&format!("({} IN ::{})", key.column, values(finish, key)));
    }
    query.push_str(&tail);
}
