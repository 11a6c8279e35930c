//! A keyspace's vschema in Vitess's JSON (<https://vitess.io/docs/reference/features/vschema/>):
//! which tables it has, and which columns decide where a row lies. Read as it stands in a Vitess
//! cluster: names in snake or camel case, unknown fields kept and written back, `null` as if left
//! out.
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

mod advice;
mod build;
mod compile;
mod ddl;
mod rules;

pub use advice::{advice, ignored};
pub use build::{KeyspaceSpec, SnapshotBuilder};
pub use compile::{Compiled, ServerTable, compile};
pub use ddl::{AlterVschema, DdlError, apply, parse_alter};
pub use rules::unknown_targets;

/// A vschema that cannot be used. Every message names the key or the table at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VSchemaError {
    /// The text is no JSON, or a key has a value of another type.
    #[error("the vschema is not valid: {path}: {message}")]
    Json {
        /// The key: `tables.t.column_vindexes[0].column`.
        path: String,
        /// What the reader of JSON says.
        message: String,
    },
    /// A vindex's definition cannot be used.
    #[error("keyspace {keyspace}: {source}")]
    Vindex {
        /// The keyspace's name.
        keyspace: String,
        /// The vindex at fault, and why.
        source: crate::vindex::CreateError,
    },
    /// The keyspace's shards do not cover all ids once.
    #[error("keyspace {keyspace}: {source}")]
    Shards {
        /// The keyspace's name.
        keyspace: String,
        /// The shard at fault, and why.
        source: crate::keyrange::KeyRangeError,
    },
    /// A table's definition cannot be used.
    #[error("keyspace {keyspace}: {message}")]
    Table {
        /// The keyspace's name.
        keyspace: String,
        /// The table at fault, and why.
        message: String,
    },
    /// The rule at fault, and why.
    #[error("routing rules: {0}")]
    Rules(String),
}

/// Fields that are not ours, in their order.
pub(crate) type Rest = serde_json::Map<String, serde_json::Value>;

fn no<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// `null` is the default, as in protobuf's JSON.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// A keyspace's vschema, as the JSON has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Keyspace {
    /// Rows are spread: tables need vindexes.
    #[serde(default, deserialize_with = "nullable")]
    pub sharded: bool,
    /// By their names, to which tables refer.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub vindexes: BTreeMap<String, Vindex>,
    /// By their names.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, Table>,
    /// Tables are found with the keyspace's name before theirs only.
    #[serde(
        default,
        alias = "requireExplicitRouting",
        deserialize_with = "nullable",
        skip_serializing_if = "no"
    )]
    pub require_explicit_routing: bool,
    /// The keys that are not read here, `foreignKeyMode` among them.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A vindex's definition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Vindex {
    /// Vitess's name of the type: `hash`.
    #[serde(rename = "type", default, deserialize_with = "nullable")]
    pub(crate) kind: String,
    /// What the type is told; which there are depends on it.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// The table whose changes keep a lookup vindex's table right; empty: none.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "no")]
    pub(crate) owner: String,
    /// The keys that are not read here.
    #[serde(flatten)]
    pub(crate) rest: Rest,
}

/// A table's definition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Empty, `sequence` or `reference`.
    #[serde(rename = "type", default, deserialize_with = "nullable", skip_serializing_if = "no")]
    pub kind: String,
    /// The first is the primary vindex.
    #[serde(
        default,
        alias = "columnVindexes",
        deserialize_with = "nullable",
        skip_serializing_if = "no"
    )]
    pub column_vindexes: Vec<ColumnVindex>,
    /// The column that gets its numbers from a sequence.
    #[serde(
        default,
        alias = "autoIncrement",
        deserialize_with = "nullable",
        skip_serializing_if = "no"
    )]
    pub(crate) auto_increment: Option<AutoIncrement>,
    /// Those that are listed; all, in table order, with `column_list_authoritative`.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "no")]
    pub columns: Vec<Column>,
    /// Keyspace id in hexadecimal digits.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "no")]
    pub(crate) pinned: String,
    /// `columns` has all columns.
    #[serde(
        default,
        alias = "columnListAuthoritative",
        deserialize_with = "nullable",
        skip_serializing_if = "no"
    )]
    pub(crate) column_list_authoritative: bool,
    /// Reference tables: `keyspace.table` or `table` that this one is a copy of.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "no")]
    pub(crate) source: String,
    /// The keys that are not read here.
    #[serde(flatten)]
    pub(crate) rest: Rest,
}

/// A vindex over columns of a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnVindex {
    /// One column; or `columns`, never both.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "no")]
    pub(crate) column: String,
    /// The name of a vindex of the keyspace.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) name: String,
    /// The vindex's columns, in its order.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "no")]
    pub columns: Vec<String>,
    /// The keys that are not read here.
    #[serde(flatten)]
    pub(crate) rest: Rest,
}

/// A column that gets its numbers from a sequence.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AutoIncrement {
    /// The column's name.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) column: String,
    /// `table` or `keyspace.table`.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) sequence: String,
    /// The keys that are not read here.
    #[serde(flatten)]
    pub(crate) rest: Rest,
}

/// A column, for keyspaces whose servers are not asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// As the server writes it.
    #[serde(default, deserialize_with = "nullable")]
    pub name: String,
    /// Vitess's name of a type (`INT64`, `VARCHAR`).
    #[serde(rename = "type", default, deserialize_with = "nullable", skip_serializing_if = "no")]
    pub(crate) kind: TypeName,
    /// MySQL's name of the collation; empty: not told.
    #[serde(
        default,
        alias = "collationName",
        deserialize_with = "nullable",
        skip_serializing_if = "no"
    )]
    pub(crate) collation_name: String,
    /// `SELECT *` leaves it out.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "no")]
    pub invisible: bool,
    /// The keys that are not read here.
    #[serde(flatten)]
    pub(crate) rest: Rest,
}

/// An enum of protobuf: its name, or a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum TypeName {
    Name(String),
    Number(i64),
}

impl Default for TypeName {
    fn default() -> Self {
        Self::Name(String::new())
    }
}

/// Vitess's routing rules: `{"rules": [{"from_table": "t", "to_tables": ["ks.t"]}]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutingRules {
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) rules: Vec<RoutingRule>,
}

/// What a table's name means.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoutingRule {
    /// `table`, `keyspace.table`, each with `@replica` or `@rdonly` perhaps.
    #[serde(default, alias = "fromTable", deserialize_with = "nullable")]
    pub(crate) from_table: String,
    /// `keyspace.table`: one at most; none: the name must not be used.
    #[serde(default, alias = "toTables", deserialize_with = "nullable")]
    pub(crate) to_tables: Vec<String>,
}

/// Reads JSON; an error names the key.
fn read<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, VSchemaError> {
    let error = |path: String, message: String| VSchemaError::Json { path, message };
    let mut reader = serde_json::Deserializer::from_str(json);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|e| error(e.path().to_string(), e.inner().to_string()))?;
    reader
        .end()
        .map_err(|e| error(".".to_owned(), e.to_string()))?;
    Ok(value)
}

impl Keyspace {
    /// Reads a keyspace's vschema. Text of blanks only is an empty one.
    ///
    /// # Errors
    /// [`VSchemaError::Json`], which names the key at fault.
    pub fn from_json(json: &str) -> Result<Self, VSchemaError> {
        if json.trim().is_empty() { Ok(Self::default()) } else { read(json) }
    }
}

impl RoutingRules {
    /// Reads rules. Text of blanks only is none.
    ///
    /// # Errors
    /// [`VSchemaError::Json`], which names the key at fault.
    pub fn from_json(json: &str) -> Result<Self, VSchemaError> {
        if json.trim().is_empty() { Ok(Self::default()) } else { read(json) }
    }

    /// Vitess's form, indented by two.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_vitess_json() {
        let json = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"},
            "l": {"type": "lookup", "params": {"table": "t_idx", "from": "a,b"}, "owner": "t"}},
            "tables": {"t": {"columnVindexes": [{"column": "id", "name": "hash"}],
                "autoIncrement": {"column": "id", "sequence": "seq"},
                "columns": [{"name": "id", "type": "INT64", "nullable": false}, {"name": "b",
                "type": 6165}],
                "columnListAuthoritative": true, "owner": null},
              "seq": {"type": "sequence"}, "r": {"type": "reference", "source": "ks.r"}},
            "foreignKeyMode": "managed", "requireExplicitRouting": true}"#;
        let ks = Keyspace::from_json(json).unwrap();
        assert!(
            ks.sharded && ks.require_explicit_routing && ks.tables["t"].column_list_authoritative
        );
        assert_eq!(ks.vindexes["l"].params["from"], "a,b");
        assert_eq!(ks.tables["t"].auto_increment.as_ref().unwrap().sequence, "seq");
        assert_eq!(ks.rest["foreignKeyMode"], "managed");
        let written = serde_json::to_string(&ks).unwrap();
        assert_eq!(Keyspace::from_json(&written).unwrap(), ks);
        assert!(written.contains("\"column_vindexes\""));
        assert_eq!(Keyspace::from_json(" \n").unwrap(), Keyspace::default());
    }

    #[test]
    fn errors_name_the_key() {
        let error =
            Keyspace::from_json(r#"{"tables": {"t": {"column_vindexes": [{"column": 1}]}}}"#)
                .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("tables.t.column_vindexes[0].column"),
            "{error}"
        );
        assert!(Keyspace::from_json("{} x").is_err());
    }

    #[test]
    fn reads_routing_rules() {
        let rules =
            RoutingRules::from_json(r#"{"rules": [{"fromTable": "t", "to_tables": ["ks.t"]}]}"#)
                .unwrap();
        assert_eq!(rules.rules[0].to_tables, ["ks.t"]);
    }
}
