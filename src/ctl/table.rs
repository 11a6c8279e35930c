//! Lists of things, as tables for people.
use serde_json::Value;

/// A row for each thing of a list, a column for each of its fields that are named.
pub(super) fn print(list: &Value, columns: &[&str]) -> String {
    let cell = |row: &Value, column: &str| match row.get(column) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.replace('\n', " "),
        Some(Value::Array(list)) => {
            let word = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
            list.iter().map(word).collect::<Vec<_>>().join(",")
        }
        Some(other) => other.to_string(),
    };
    let head: Vec<String> = columns.iter().map(|&c| c.to_owned()).collect();
    let rows = list.as_array().into_iter().flatten();
    let rows = rows.map(|row| columns.iter().map(|column| cell(row, column)).collect());
    let all: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| {
            all.iter()
                .filter_map(|row| row.get(at))
                .map(|c| c.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_stand_under_each_other() {
        let list = json!([{"id": "a", "n": 1, "l": ["x", "y"]}, {"id": "long one", "n": null}]);
        assert_eq!(
            print(&list, &["id", "n", "l"]),
            "id        n  l\na         1  x,y\nlong one  -  -"
        );
    }
}
