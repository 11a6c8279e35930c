//! By what a row of a table is found again: its primary key, a unique key, or all its columns.
use super::{quoted, refused};
use crate::column::{Family, find};
use crate::error::PlanError;
use crate::lookup::Written;
use crate::snapshot::{Column, Table};
use crate::sql::ast::TableName;

/// A part of a key.
pub(super) struct KeyColumn {
    /// How it is read, behind the table's name.
    pub(super) read: Box<dyn Fn(&str) -> String>,
    /// How it is read where there is one table.
    pub(super) plain_read: String,
    /// What the value that was read is compared with.
    pub(super) test: String,
    pub(super) written: Written,
}

impl KeyColumn {
    fn new(name: &str, form: impl Fn(&str) -> String + 'static, written: Written) -> Self {
        let name = quoted(name);
        let test = form(&name);
        let plain_read = test.clone();
        Self {
            read: Box::new(move |table| form(&format!("{table}.{name}"))),
            plain_read,
            test,
            written,
        }
    }

    /// The value is compared with the column itself, so that an index helps.
    fn plain(name: &str, form: impl Fn(&str) -> String + 'static, written: Written) -> Self {
        Self { test: quoted(name), ..Self::new(name, form, written) }
    }
}

/// The character set of a text column.
pub(super) fn charset(column: &Column) -> Option<String> {
    let charset = column.charset.clone().or_else(|| {
        let collation = column.collation.as_deref()?;
        collation.split('_').next().map(str::to_owned)
    })?;
    charset
        .bytes()
        .all(|b| b.is_ascii_alphanumeric())
        .then_some(charset)
}

fn as_bytes(name: &str) -> String {
    format!("CAST({name} AS BINARY)")
}

/// How a column of a key is read and compared. Text is compared by the column's collation, in which
/// the key has it once.
fn key_column(column: &Column) -> Option<Vec<KeyColumn>> {
    let name = column.name.as_str();
    let same = |name: &str| name.to_owned();
    Some(match column.data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "decimal"
        | "numeric" | "year" | "double" | "real" => {
            vec![KeyColumn::plain(name, same, Written::Number)]
        }
        "float" => vec![KeyColumn::new(name, |n| format!("{n}+0e0"), Written::Number)],
        "enum" | "set" | "bit" => vec![KeyColumn::new(name, |n| format!("{n}+0"), Written::Number)],
        "date" | "datetime" | "time" | "uuid" | "inet4" | "inet6" => {
            vec![KeyColumn::plain(name, same, Written::Quoted)]
        }
        // An hour of every year has its text twice.
        "timestamp" => vec![
            KeyColumn::plain(name, same, Written::Quoted),
            KeyColumn::new(name, |n| format!("UNIX_TIMESTAMP({n})"), Written::Number),
        ],
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            vec![KeyColumn::plain(name, as_bytes, Written::Bytes)]
        }
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
            vec![KeyColumn::plain(name, as_bytes, Written::Text(charset(column)?))]
        }
        _ => return None,
    })
}

fn unknown<T>(table: &Table, column: &str) -> Result<T, PlanError> {
    refused(format!(
        "changing rows of '{}' by its column '{column}', whose type does not name them",
        table.name
    ))
}

/// The parts of a key that one column gives.
pub(super) fn columns_of_key(table: &Table, column: &str) -> Result<Vec<KeyColumn>, PlanError> {
    match find(table, column).and_then(key_column) {
        Some(parts) => Ok(parts),
        None => unknown(table, column),
    }
}

/// A column of the primary vindex, as its value goes into the vindex.
pub(super) fn vindex_value(
    table: &Table,
    column: &str,
    exposed: &str,
) -> Result<(String, Written), PlanError> {
    // A decimal, a double or a time lies where its text as it was written says, which the stored
    // value does not tell any more.
    let told = |c: &&Column| Family::of(c).has_one_form();
    let known = find(table, column).filter(told);
    let read = known.and_then(|c| super::super::lookups::read_as(c, exposed));
    match read {
        Some(read) => Ok(read),
        None => unknown(table, column),
    }
}

/// The key by which the rows of a table are changed; `true`: all its columns.
pub(super) fn key_of(
    table: &Table,
    name: &TableName<'_>,
) -> Result<(Vec<KeyColumn>, bool), PlanError> {
    let all = |columns: &[String]| -> Result<Vec<KeyColumn>, PlanError> {
        let mut parts = Vec::new();
        for column in columns {
            parts.extend(columns_of_key(table, column)?);
        }
        Ok(parts)
    };
    if !table.primary_key.is_empty() {
        return Ok((all(&table.primary_key)?, false));
    }
    let holds_no_null =
        |name: &String| find(table, name).is_some_and(|c| c.nullable == Some(false));
    let unique = table
        .unique_keys
        .iter()
        .find(|key| key.whole && key.columns.iter().all(holds_no_null));
    if let Some(unique) = unique {
        return Ok((all(&unique.columns)?, false));
    }
    if !table.columns_complete || table.columns.is_empty() {
        return refused(format!(
            "changing rows of '{}' over several shards, of which no primary or unique key is \
                known; add one",
            name.name
        ));
    }
    let mut parts = Vec::new();
    for column in table.columns.iter().filter(|c| !c.generated) {
        parts.push(match column.data_type.as_str() {
            // Other texts may be equal to it.
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "binary"
            | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
                KeyColumn::new(&column.name, as_bytes, Written::Bytes)
            }
            _ => {
                parts.extend(columns_of_key(table, &column.name)?);
                continue;
            }
        });
    }
    Ok((parts, true))
}
