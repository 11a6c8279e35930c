//! What the owner of a vschema should know, although it is no mistake.
use crate::column::{Family, find};
use crate::snapshot::Keyspace;

/// Vindexes that map the bytes of a text.
const BYTEWISE: [&str; 6] = ["binary", "binary_md5", "cfc", "multicol", "region_json", "xxhash"];

/// Is `foreignKeyMode` `managed`?
pub(super) fn manages_foreign_keys(vschema: &super::Keyspace) -> bool {
    ["foreignKeyMode", "foreign_key_mode"]
        .iter()
        .find_map(|name| vschema.rest.get(*name)?.as_str())
        .is_some_and(|mode| mode == "managed")
}

/// What a vschema asks for, and does not get.
pub fn ignored(keyspace: &str, vschema: &super::Keyspace) -> Option<String> {
    manages_foreign_keys(vschema).then(|| {
        format!(
            "keyspace {keyspace}: foreignKeyMode is \"managed\": the servers keep foreign keys \
                within a shard; changes of tables \
             whose keys reach beyond one are refused (VT12002)"
        )
    })
}

/// Columns of text whose collation finds more strings equal than the vindex that places their rows.
/// Sorted.
pub fn advice(keyspace: &Keyspace) -> Vec<String> {
    let mut out = Vec::new();
    for table in keyspace.tables.values() {
        for column_vindex in &table.column_vindexes {
            let kind = column_vindex.vindex.kind.as_str();
            if !BYTEWISE.contains(&kind) {
                continue;
            }
            for name in &column_vindex.columns {
                let Some(column) = find(table, name) else { continue };
                let collation = column.collation.as_deref().unwrap_or_default();
                let exact =
                    collation.is_empty() || collation.ends_with("_bin") || collation == "binary";
                if matches!(Family::of(column), Family::Text { .. }) && !exact {
                    out.push(format!(
                        "{}.{}: column '{name}' compares by {collation}, and its vindex '{}' \
                            ({kind}) maps bytes: strings \
                         that differ in case, accents or spaces at the end are equal to the server \
                         and lie on different \
                         shards. Use unicode_loose_xxhash for the vindex, or a _bin collation for \
                         the column",
                        keyspace.name, table.name, column_vindex.vindex.name,
                    ));
                }
            }
        }
    }
    out.sort();
    out
}

#[cfg(test)]
mod tests {
    use crate::snapshot::Column;
    use crate::vschema::{Keyspace, KeyspaceSpec, ServerTable, SnapshotBuilder};

    #[test]
    fn collations_that_a_vindex_does_not_follow_are_named() {
        let json = r#"{"sharded": true, "vindexes": {"x": {"type": "xxhash"},
            "l": {"type": "unicode_loose_xxhash"}},
            "tables": {"a": {"column_vindexes": [{"column": "k", "name": "x"}]},
                       "b": {"column_vindexes": [{"column": "k", "name": "l"}]},
                       "c": {"column_vindexes": [{"column": "k", "name": "x"}]},
                       "d": {"column_vindexes": [{"column": "k", "name": "x"}]}}}"#;
        let table = |name: &str, data_type: &str, collation: Option<&str>| ServerTable {
            name: name.into(),
            columns: vec![Column {
                name: "k".into(),
                data_type: data_type.into(),
                collation: collation.map(str::to_owned),
                ..Column::default()
            }],
            ..ServerTable::default()
        };
        let spec = KeyspaceSpec {
            tables: vec![
                table("a", "varchar", Some("utf8mb4_general_ci")),
                table("b", "varchar", Some("utf8mb4_general_ci")),
                table("c", "varchar", Some("utf8mb4_bin")),
                table("d", "bigint", None),
            ],
            ..KeyspaceSpec::new("ks", &["-"], Keyspace::from_json(json).unwrap())
        };
        let snapshot = SnapshotBuilder::new(1)
            .keyspace(spec, &|_| Err(String::new()))
            .unwrap()
            .build();
        let advice = super::advice(&snapshot.keyspaces[0]);
        assert_eq!(advice.len(), 1, "{advice:?}");
        assert!(advice[0].starts_with("ks.a: column 'k'"), "{advice:?}");
    }

    #[test]
    fn foreign_keys_that_nobody_manages_are_named() {
        for (json, told) in [
            (r#"{"foreignKeyMode": "managed"}"#, true),
            (r#"{"foreign_key_mode": "managed"}"#, true),
            (r#"{"foreignKeyMode": "unmanaged"}"#, false),
            ("{}", false),
        ] {
            let vschema = Keyspace::from_json(json).unwrap();
            assert_eq!(crate::vschema::ignored("ks", &vschema).is_some(), told, "{json}");
        }
    }
}
