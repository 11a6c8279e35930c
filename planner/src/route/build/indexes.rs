//! Which columns of gathered tables get an index: those compared with others of their kind.
//!
//! Servers answer some comparisons of different types in one way by an index and in another by
//! reading all rows: a BIT with a TIME, text with a zero date. The user's tables may have no index
//! there, so that gathered ones must have none either.
use super::keyed::form;
use super::refs::{Reference, References};
use crate::column::{Family, find};
use crate::snapshot::Column;
use crate::sql::ast::{Body, ColumnName, Expr, ExprKind, Query, SelectItem};

/// The most columns that get an index.
const INDEXES_MAX: usize = 8;

/// Longer text is not indexed, in characters.
const INDEXED_LENGTH_MAX: u32 = 240;

/// A column as a statement names it: its table's name or alias, and its own.
type Name<'a> = (Option<&'a str>, &'a str);

/// A column, and what it is compared with by `=`. `None`: another expression than a column.
pub(super) type Equal<'a> = (Name<'a>, Option<Name<'a>>);

pub(super) fn name<'a>(column: &ColumnName<'a>) -> Name<'a> {
    (column.table, column.name)
}

/// The column that a subquery gives.
pub(super) fn given<'a>(query: &Query<'a>) -> Option<Name<'a>> {
    let Body::Select(select) = &query.first else { return None };
    match select.items {
        [SelectItem { expr: Expr { kind: ExprKind::Column(c), .. }, .. }] => Some(name(c)),
        _ => None,
    }
}

/// Can a temporary table have a key over the column?
pub(super) fn can_index(column: &Column) -> bool {
    match column.data_type.as_str() {
        "char" | "varchar" | "binary" | "varbinary" => {
            column.length.is_some_and(|n| n <= INDEXED_LENGTH_MAX)
        }
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "decimal"
        | "numeric" | "double" | "float" | "real" | "year" | "date" | "time" | "datetime"
        | "timestamp" | "enum" | "set" | "bit" => true,
        _ => false,
    }
}

/// Places of the columns to index, of those of the table with this name or alias.
pub(super) fn indexed(
    exposed: &str,
    columns: &[&Column],
    all: &References<'_, '_, '_>,
) -> Vec<u16> {
    let is_named = |(table, name): &Name<'_>, column: &Column| {
        name.eq_ignore_ascii_case(&column.name) && table.is_none_or(|t| t == exposed)
    };
    let compared = |column: &Column| {
        let mut others = all.equal.iter().filter(|(one, _)| is_named(one, column));
        let mut any = false;
        let alike = others.all(|(_, other)| {
            any = true;
            is_alike(column, other.as_ref(), all)
        });
        // MariaDB rounds what it looks up in an index of DECIMALs to their scale: it finds what
        // does not equal.
        let rounds = matches!(column.data_type.as_str(), "decimal" | "numeric");
        any && alike && can_index(column) && !rounds
    };
    let found = columns.iter().zip(0u16..).filter(|(c, _)| compared(c));
    found.map(|(_, at)| at).take(INDEXES_MAX).collect()
}

/// Are all columns that the name may mean of the column's kind? Of the values of another expression
/// nothing is known: numbers and text are compared with an index as without.
fn is_alike(column: &Column, other: Option<&Name<'_>>, all: &References<'_, '_, '_>) -> bool {
    let whole = matches!(Family::of(column), Family::Integer { .. });
    let plain = whole || matches!(Family::of(column), Family::Text { .. } | Family::Binary(_));
    let Some((table, name)) = other else { return plain };
    let columns_of = |table: &Option<&str>| -> Vec<&Column> {
        let named = |r: &&Reference<'_>| table.is_none_or(|t| t == r.name.exposed());
        let found = all.list.iter().filter(named);
        found.filter_map(|r| find(r.table, name)).collect()
    };
    let mut known = columns_of(table);
    if known.is_empty() {
        // Of a derived table, perhaps.
        known = columns_of(&None);
    }
    let is_same = |other: &&Column| {
        let twin = other.column_type.is_some()
            && (&other.column_type, &other.collation) == (&column.column_type, &column.collation);
        let of_kind = whole || other.data_type == column.data_type;
        twin || of_kind && form(other, column).is_some()
    };
    (plain || !known.is_empty()) && known.iter().all(is_same)
}
