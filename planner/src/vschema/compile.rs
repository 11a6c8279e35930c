//! From a keyspace's vschema, and the columns that its server has, to what plans are made with.
//! Checks what Vitess checks.
use super::{Keyspace, Table, TypeName, VSchemaError};
use crate::keyrange::from_hex;
use crate::lookup::LookupDef;
use crate::snapshot::{
    AutoIncrement, Column, ColumnVindex, ForeignKey, Key, Table as CompiledTable, TableKind,
    Trigger, VindexDef,
};
use crate::vindex::{self, ReadFile};
use ahash::AHashMap;
use std::sync::Arc;

/// A table or view as the database server describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerTable {
    /// Without the database, as the server writes it.
    pub name: String,
    /// In table order.
    pub columns: Vec<Column>,
    /// The query of a view.
    pub view: Option<String>,
    /// Its columns, in the key's order; empty: there is none.
    pub primary_key: Vec<String>,
    /// Beside the primary key.
    pub unique_keys: Vec<Key>,
    /// Those that are not unique, by which rows can be found in order.
    pub indexes: Vec<Key>,
    /// Those of this table that refer to others.
    pub foreign_keys: Vec<ForeignKey>,
    /// Those that run for changes of the table.
    pub triggers: Vec<Trigger>,
}

impl ServerTable {
    /// As a table that no vschema names.
    fn table(&self) -> CompiledTable {
        CompiledTable {
            name: self.name.clone(),
            columns: self.columns.clone(),
            columns_complete: true,
            view: self.view.clone(),
            primary_key: self.primary_key.clone(),
            unique_keys: self.unique_keys.clone(),
            indexes: self.indexes.clone(),
            foreign_keys: self.foreign_keys.clone(),
            triggers: self.triggers.clone(),
            ..CompiledTable::default()
        }
    }
}

/// A keyspace's part of a snapshot.
#[derive(Debug, Default)]
pub struct Compiled {
    /// By their names in the vschema.
    pub(crate) vindexes: AHashMap<String, VindexDef>,
    /// By name: those of the vschema, and those that only the server knows.
    pub(crate) tables: AHashMap<String, Arc<CompiledTable>>,
}

/// Compiles the vschema of `keyspace`. `server` holds the tables that its database has, as far as
/// they are known; those that are not in the vschema get an entry too. `read` reads the files that
/// vindexes name.
pub fn compile(
    keyspace: &str,
    vschema: &Keyspace,
    server: &[ServerTable],
    read: ReadFile<'_>,
) -> Result<Compiled, VSchemaError> {
    let mut out = Compiled::default();
    let has_table =
        |name: &str| vschema.tables.contains_key(name) || server.iter().any(|t| t.name == name);
    for (name, def) in &vschema.vindexes {
        let vindex = vindex::create(name, &def.kind, &def.params, read)
            .map_err(|source| VSchemaError::Vindex { keyspace: keyspace.to_owned(), source })?;
        let owner = Some(def.owner.clone()).filter(|owner| !owner.is_empty());
        let lookup = match vindex {
            None => LookupDef::new(name, &def.kind, &def.params)
                .map_err(|source| VSchemaError::Vindex { keyspace: keyspace.to_owned(), source })?
                .map(|lookup| Arc::new(lookup.in_keyspace(keyspace, &has_table))),
            Some(_) => None,
        };
        let def = VindexDef { name: name.clone(), kind: def.kind.clone(), vindex, owner, lookup };
        out.vindexes.insert(name.clone(), def);
    }
    let server: AHashMap<&str, &ServerTable> =
        server.iter().map(|t| (t.name.as_str(), t)).collect();
    for (name, table) in &vschema.tables {
        let compiled =
            compile_table(name, table, vschema.sharded, &out.vindexes, server.get(name.as_str()))
                .map_err(|message| VSchemaError::Table { keyspace: keyspace.to_owned(), message })?;
        out.tables.insert(name.clone(), Arc::new(compiled));
    }
    for (name, table) in server {
        out.tables
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(table.table()));
    }
    Ok(out)
}

/// Rows that nobody misses, in one place, which all processes choose alike.
const VOLATILE: &str = "volatile";

/// What a table's type says.
fn kind_of(name: &str, table: &Table, sharded: bool, pinned: bool) -> Result<TableKind, String> {
    Ok(match table.kind.as_str() {
        "" => TableKind::Normal,
        "reference" => TableKind::Reference,
        "sequence" if sharded && !pinned => {
            return Err(format!(
                "sequence table has to be in an unsharded keyspace or must be pinned: {name}"
            ));
        }
        "sequence" => TableKind::Sequence,
        "log" if !table.column_vindexes.is_empty() || pinned => {
            return Err(format!(
                "log table {name} has a vindex or is pinned: its rows go to the shards in turn"
            ));
        }
        "log" => TableKind::Log,
        VOLATILE if !table.column_vindexes.is_empty() || pinned => {
            return Err(format!(
                "volatile table {name} has a vindex or is pinned: all its rows lie on one shard, \
                    which its name chooses"
            ));
        }
        // A pinned table like others.
        VOLATILE => TableKind::Normal,
        other => {
            let what = "leave type out, or make it sequence, reference, log or volatile";
            return Err(format!("unidentified table type {other} of table {name}: {what}"));
        }
    })
}

fn compile_table(
    name: &str,
    table: &Table,
    sharded: bool,
    vindexes: &AHashMap<String, VindexDef>,
    server: Option<&&ServerTable>,
) -> Result<CompiledTable, String> {
    let pinned = match table.pinned.as_str() {
        "" => None,
        hex => Some(from_hex(hex).ok_or_else(|| {
            format!(
                "could not decode the keyspace id for pin: table {name}: pinned must be \
                hexadecimal, not {hex:?}"
            )
        })?),
    };
    let kind = kind_of(name, table, sharded, pinned.is_some())?;
    let chosen = sharded && table.kind == VOLATILE;
    let pinned = if chosen { Some(vindex::hashed_text(name.as_bytes()).to_vec()) } else { pinned };
    let placed = !matches!(kind, TableKind::Reference | TableKind::Log);
    if sharded && placed && pinned.is_none() && table.column_vindexes.is_empty() {
        return Err(format!("missing primary col vindex for table: {name}"));
    }
    if !table.source.is_empty() && kind != TableKind::Reference {
        return Err(format!("source is only for reference tables: {name}"));
    }
    let mut column_vindexes = Vec::with_capacity(table.column_vindexes.len());
    for (i, def) in table.column_vindexes.iter().enumerate() {
        let compiled = column_vindex(name, def, vindexes)?;
        if i == 0 {
            primary(name, &compiled.vindex)?;
        }
        column_vindexes.push(compiled);
    }
    let known = match server {
        Some(server) => server.table(),
        None => CompiledTable {
            columns: own_columns(name, table)?,
            columns_complete: table.column_list_authoritative,
            ..CompiledTable::default()
        },
    };
    let auto_increment = match &table.auto_increment {
        Some(auto) if auto.column.is_empty() || auto.sequence.is_empty() => {
            return Err(format!(
                "auto_increment of table {name} must name a column and a sequence"
            ));
        }
        auto => auto.as_ref().map(|auto| AutoIncrement {
            column: auto.column.clone(),
            sequence: auto.sequence.clone(),
        }),
    };
    Ok(CompiledTable {
        name: name.to_owned(),
        kind,
        column_vindexes,
        auto_increment,
        pinned,
        in_vschema: true,
        source: Some(table.source.clone()).filter(|source| !source.is_empty()),
        ..known
    })
}

fn column_vindex(
    table: &str,
    def: &super::ColumnVindex,
    vindexes: &AHashMap<String, VindexDef>,
) -> Result<ColumnVindex, String> {
    let name = &def.name;
    let vindex = vindexes
        .get(name)
        .ok_or_else(|| format!("vindex {name} not found for table {table}"))?;
    let columns = match (def.column.as_str(), &def.columns[..]) {
        ("", []) => {
            return Err(format!(
                "must specify at least one column for vindex ({name}) and table ({table})"
            ));
        }
        ("", columns) => columns.iter().map(|c| c.to_lowercase()).collect(),
        (column, []) => vec![column.to_lowercase()],
        _ => {
            let what = "can't use column and columns at the same time";
            return Err(format!("{what} in vindex ({name}) and table ({table})"));
        }
    };
    let mut columns: Vec<String> = columns;
    if let Some(functional) = &vindex.vindex {
        let most = functional.max_columns();
        if most == 1 {
            // As Vitess does.
            columns.truncate(1);
        }
        if columns.len() > most {
            let kind = functional.kind();
            return Err(format!(
                "vindex {name} of table {table} has {} columns, but {kind} takes at most {most}",
                columns.len()
            ));
        }
    }
    Ok(ColumnVindex { columns, vindex: vindex.clone() })
}

/// What the first vindex of a table must be.
fn primary(table: &str, def: &VindexDef) -> Result<(), String> {
    let name = &def.name;
    match &def.vindex {
        Some(vindex) if vindex.is_unique() => Ok(()),
        None if def.kind.ends_with("_unique") && def.owner.as_deref() == Some(table) => {
            Err(format!("primary vindex {name} cannot be owned for table {table}"))
        }
        // As in Vitess. The planner refuses statements that would need the lookup.
        None if def.kind.ends_with("_unique") => Ok(()),
        _ => Err(format!("primary vindex {name} is not Unique for table {table}")),
    }
}

/// The vschema's own list of columns.
fn own_columns(table: &str, def: &Table) -> Result<Vec<Column>, String> {
    let mut columns: Vec<Column> = Vec::with_capacity(def.columns.len());
    for column in &def.columns {
        if columns
            .iter()
            .any(|c| c.name.eq_ignore_ascii_case(&column.name))
        {
            return Err(format!("duplicate column name '{}' for table: {table}", column.name));
        }
        columns.push(Column {
            name: column.name.clone(),
            data_type: match &column.kind {
                TypeName::Name(name) => mysql_type(name).to_owned(),
                TypeName::Number(_) => String::new(),
            },
            collation: Some(column.collation_name.clone()).filter(|c| !c.is_empty()),
            invisible: column.invisible,
            ..Column::default()
        });
    }
    Ok(columns)
}

/// MySQL's name for one of Vitess's types; empty when it is not known.
fn mysql_type(vitess: &str) -> &'static str {
    match vitess.to_ascii_uppercase().as_str() {
        "INT8" | "UINT8" => "tinyint",
        "INT16" | "UINT16" => "smallint",
        "INT24" | "UINT24" => "mediumint",
        "INT32" | "UINT32" => "int",
        "INT64" | "UINT64" => "bigint",
        "FLOAT32" => "float",
        "FLOAT64" => "double",
        "DECIMAL" => "decimal",
        "TIMESTAMP" => "timestamp",
        "DATE" => "date",
        "TIME" => "time",
        "DATETIME" => "datetime",
        "YEAR" => "year",
        "TEXT" => "text",
        "BLOB" => "blob",
        "VARCHAR" => "varchar",
        "VARBINARY" => "varbinary",
        "CHAR" => "char",
        "BINARY" => "binary",
        "BIT" => "bit",
        "ENUM" => "enum",
        "SET" => "set",
        "GEOMETRY" => "geometry",
        "JSON" => "json",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_compile(json: &str, server: &[ServerTable]) -> Result<Compiled, String> {
        let vschema = Keyspace::from_json(json).unwrap();
        compile("ks", &vschema, server, &|_| Err("no files".to_owned())).map_err(|e| e.to_string())
    }

    #[test]
    fn tables_get_vindexes_and_columns() {
        let id = Column { name: "Id".into(), data_type: "bigint".into(), ..Column::default() };
        let server = [
            ServerTable {
                name: "t".into(),
                columns: vec![id],
                primary_key: vec!["Id".into()],
                ..ServerTable::default()
            },
            ServerTable { name: "other".into(), ..ServerTable::default() },
        ];
        let json = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"},
            "l": {"type": "lookup"}},
            "tables": {"t": {"column_vindexes": [{"columns": ["Id", "more"], "name": "hash"},
            {"columns": ["a", "b"], "name": "l"}]},
                       "p": {"pinned": "00", "columns": [{"name": "c", "type": "INT32"}]}}}"#;
        let out = try_compile(json, &server).unwrap();
        let table = &out.tables["t"];
        assert_eq!(table.column_vindexes[0].columns, ["id"]);
        assert!(
            table.column_vindexes[0].vindex.vindex.is_some()
                && table.column_vindexes[1].vindex.vindex.is_none()
        );
        assert!(table.in_vschema && table.columns_complete && table.columns[0].name == "Id");
        assert_eq!(table.primary_key, ["Id"]);
        assert!(!out.tables["other"].in_vschema);
        assert_eq!(out.tables["p"].pinned, Some(vec![0]));
        assert_eq!(out.tables["p"].columns[0].data_type, "int");
    }

    #[test]
    fn a_unique_lookup_may_be_primary() {
        let json = r#"{"sharded": true, "vindexes": {"v": {"type": "consistent_lookup_unique"}},
            "tables": {"t": {"column_vindexes": [{"column": "a", "name": "v"}]}}}"#;
        let out = try_compile(json, &[]).unwrap();
        assert!(out.tables["t"].column_vindexes[0].vindex.vindex.is_none());
    }

    #[test]
    fn what_vitess_refuses_is_refused() {
        let tables = |tables: &str| {
            let vindexes = r#"{"hash": {"type": "hash"}, "l": {"type": "lookup"},
                "u": {"type": "lookup_unique", "owner": "t"}, "v": {"type": "lookup_unique"}}"#;
            format!(r#"{{"sharded": true, "vindexes": {vindexes}, "tables": {tables}}}"#)
        };
        for (json, part) in [
            (tables(r#"{"t": {}}"#), "missing primary col vindex for table: t"),
            (tables(r#"{"t": {"type": "sequence"}}"#), "unsharded keyspace or must be pinned"),
            (tables(r#"{"t": {"type": "x"}}"#), "unidentified table type x"),
            (tables(r#"{"t": {"pinned": "x"}}"#), "could not decode the keyspace id"),
            (
                tables(r#"{"t": {"column_vindexes": [{"column": "a", "name": "x"}]}}"#),
                "vindex x not found",
            ),
            (tables(r#"{"t": {"column_vindexes": [{"name": "hash"}]}}"#), "at least one column"),
            (
                tables(
                    r#"{"t": {"column_vindexes": [{"column": "a", "columns": ["b"],
                        "name": "hash"}]}}"#,
                ),
                "same time",
            ),
            (
                tables(r#"{"t": {"column_vindexes": [{"column": "a", "name": "l"}]}}"#),
                "is not Unique",
            ),
            (
                tables(r#"{"t": {"column_vindexes": [{"column": "a", "name": "u"}]}}"#),
                "cannot be owned",
            ),
            (r#"{"vindexes": {"x": {"type": "y"}}}"#.to_owned(), "vindexType \"y\" not found"),
            (
                r#"{"vindexes": {"x": {"type": "multicol"}}}"#.to_owned(),
                "lacks the param `column_count`",
            ),
            (
                r#"{"vindexes": {"x": {"type": "region_json", "params": {"region_map": "f"}}}}"#
                    .to_owned(),
                "\"f\"",
            ),
        ] {
            let error = try_compile(&json, &[]).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
