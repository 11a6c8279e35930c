//! One table's rows for the server that finishes: which columns, in what form, and from which
//! shards.
use super::super::Planner;
use super::super::block::{Blocks, Position};
use super::super::names::Place;
use super::super::places::{Placed, Places};
use super::super::subquery::EMPTY;
use super::super::text::{Edits, quoted};
use super::indexes::{can_index, indexed};
use super::refs::{Reference, References};
use super::shape::ALL_ROWS;
use crate::column::Family;
use crate::error::PlanError;
use crate::plan::tree::{Gather, GatherColumn, Leaf, Load};
use crate::plan::{Destination, Piece, Text, verbatim};
use crate::snapshot::{Column, ColumnKey, TableKind};
use crate::sql::ast::{
    Body, Expr, ExprKind, Query, Select, SelectItem, Span, TableExpr, TableName,
};
use ahash::AHashSet;

/// Longer keys have no place in a temporary table, in characters of all columns together.
const KEY_LENGTH_MAX: u32 = 700;

impl<'a> Planner<'_, 'a> {
    /// What is gathered for a reference, and from where. `words`: every word of the statement, in
    /// lower case.
    pub(super) fn gather(
        &self,
        at: usize,
        reference: &Reference<'a>,
        all: &References<'_, '_, 'a>,
        words: &AHashSet<String>,
        edits: &Edits,
    ) -> Result<(Leaf, Gather), PlanError> {
        let Reference { name, table, .. } = reference;
        let owner = self.keyspace(reference.keyspace);
        if !table.columns_complete || table.columns.is_empty() {
            return Err(PlanError::unsupported(format!(
                "table '{}', whose columns are not all known, in a statement that several shards \
                    must answer together",
                name.name
            )));
        }
        let (placed, view) = self.gathered_from(reference)?;
        let primary = self.primary_key(reference, &placed);
        let wanted = |column: &&Column| {
            reference.all_columns && !column.invisible
                || words.contains(&column.name.to_lowercase())
                || all.groups && primary.iter().any(|p| p.eq_ignore_ascii_case(&column.name))
        };
        let mut columns: Vec<&Column> = table.columns.iter().filter(wanted).collect();
        if columns.is_empty() {
            let key = table.primary_key.first();
            let first = key.and_then(|k| crate::column::find(table, k));
            columns.extend(first.or_else(|| table.columns.first()));
        }
        let exposed = quoted(name.exposed());
        let mut gather = Gather {
            table: format!("_coregate_g{at}"),
            keyspace: owner.map(|k| k.name.clone()).unwrap_or_default(),
            org_table: name.name.to_owned(),
            planned: view.is_some(),
            ..Gather::default()
        };
        let mut list = Vec::new();
        for column in &columns {
            let (expr, load) = transported(column, &format!("{exposed}.{}", quoted(&column.name)))
                .ok_or_else(|| unknown_type(name, column))?;
            list.push(expr);
            gather.columns.push(GatherColumn {
                name: column.name.clone(),
                definition: definition(column).ok_or_else(|| unknown_type(name, column))?,
                load,
                flags: flags(column),
            });
        }
        gather.indexed = indexed(name.exposed(), &columns, all);
        let places = primary.iter().map(|p| {
            let at = columns.iter().position(|c| c.name.eq_ignore_ascii_case(p));
            at.and_then(|at| u16::try_from(at).ok())
        });
        gather.filtered = !reference.conditions.is_empty();
        let lock = reference.lock.as_ref().map_or(0, |lock| lock.text.len());
        gather.tail = ALL_ROWS.len() + lock;
        gather.primary = places.collect::<Option<Vec<u16>>>().unwrap_or_default();
        let from = match view {
            Some(query) => format!("({query})"),
            None => quoted(name.name),
        };
        let text = self.gather_text(reference, (&list.join(", "), &from), &placed, edits);
        Ok((Leaf { route: self.leaf(reference.keyspace, placed, Text::Pieces(text)) }, gather))
    }

    /// SELECT ... FROM the table WHERE its conditions.
    fn gather_text(
        &self,
        reference: &Reference<'a>,
        (list, from): (&str, &str),
        placed: &Placed,
        edits: &Edits,
    ) -> Vec<Piece> {
        let mut edits = edits.clone();
        if let Some((span, pieces)) = self.divided(placed) {
            edits.replace(span, pieces);
        }
        let pieces = |span: Span| edits.pieces(self.input.sql, self.tokens, span);
        let name = reference.name;
        let mut text = vec![verbatim(format!("SELECT {list} FROM {from}"))];
        for span in [name.partition, name.system_time].into_iter().flatten() {
            text.push(verbatim(" "));
            text.extend(pieces(span));
        }
        text.push(verbatim(format!(" AS {}", quoted(name.exposed()))));
        for (n, condition) in reference.conditions.iter().enumerate() {
            text.push(verbatim(if n == 0 { " WHERE (" } else { " AND (" }));
            match condition.replacement() {
                None => text.extend(pieces(condition.expr.span)),
                Some((span, column)) => {
                    let mut edits = edits.clone();
                    edits.replace_all(span, vec![verbatim(&column)]);
                    text.extend(edits.pieces(self.input.sql, self.tokens, condition.expr.span));
                }
            }
            text.push(verbatim(")"));
        }
        // All rows, whatever `sql_select_limit` says: the statement itself heeds it.
        text.push(verbatim(ALL_ROWS));
        if let Some(lock) = &reference.lock {
            text.push(verbatim(&lock.text));
        }
        text
    }

    /// The query of a view whose rows several shards must find together. It is read as the client's
    /// own text would be.
    fn query_of_view(&self, reference: &Reference<'a>) -> Result<&'a str, PlanError> {
        let text = reference.table.view.as_deref().unwrap_or_default();
        let is_plain = text.is_ascii() && !text.contains('\\');
        let same_names = self
            .keyspace(reference.keyspace)
            .is_some_and(|k| k.database == k.name);
        if is_plain && same_names && reference.lock.is_none() {
            return Ok(text);
        }
        Err(PlanError::unsupported(format!(
            "the view '{}', whose rows several shards must find together; write its query in its \
                place",
            reference.name.name
        )))
    }

    /// The shards that have its rows: as for a query of its own with the same conditions. With the
    /// query of a view that must be planned for itself.
    fn gathered_from(
        &self,
        reference: &Reference<'a>,
    ) -> Result<(Placed, Option<&'a str>), PlanError> {
        let placed = |to| Ok((Placed { to, one_table: true }, None));
        if self.is_whole(reference.keyspace) {
            return placed(Destination::Unsharded);
        }
        let arena = self.input.arena;
        let name: &'a TableName<'a> =
            arena.alloc(TableName { alias: Some(reference.name.exposed()), ..*reference.name });
        let filter = match reference.conditions.as_slice() {
            [] => None,
            [one] => Some(*one.expr),
            more => {
                let all = arena.alloc_slice_fill_iter(more.iter().map(|c| *c.expr));
                Some(Expr { span: Span::default(), kind: ExprKind::And(all) })
            }
        };
        let one = Expr { span: Span::default(), kind: ExprKind::Bool };
        let items = arena.alloc_slice_copy(&[SelectItem { expr: one, alias: None, end: 0 }]);
        let from = arena.alloc_slice_copy(&[TableExpr::Table(name)]);
        let select = arena.alloc(Select { items, from, filter, ..Select::default() });
        let query: &'a Query<'a> = arena.alloc(Query { first: Body::Select(select), ..EMPTY });
        debug_assert!(matches!(self.locate(name), Ok(Place::Table { .. })));
        let mut blocks = Blocks::new(self, reference.keyspace);
        blocks.query(query, &Vec::new(), Position::Rows)?;
        // The rows of a view are those of its query, which each shard must find alone.
        if reference.table.view.is_some() && !blocks.broken.needs.is_empty() {
            let query = self.query_of_view(reference)?;
            return Ok((Placed { to: Destination::Any, one_table: true }, Some(query)));
        }
        placed(match blocks.places().locking(reference.lock.is_some()) {
            Places::Any => Destination::Any,
            Places::Pinned(id) => Destination::KeyspaceId(id),
            Places::One(to) => Destination::Equal { to, alone: None },
            Places::Many(to) => to,
            Places::Together(_) | Places::PinnedAndOthers | Places::All => {
                self.everywhere(reference.keyspace)
            }
        })
    }

    /// The primary key, where no two of the gathered rows can have the same.
    fn primary_key(&self, reference: &Reference<'a>, placed: &Placed) -> &'a [String] {
        let table = reference.table;
        let one_server = matches!(
            placed.to,
            Destination::Unsharded | Destination::Any | Destination::KeyspaceId(_)
        );
        let key = &table.primary_key;
        // Equal values lie on one shard only where they have the same bytes.
        let by_shard = || {
            table.column_vindexes.first().is_some_and(|v| {
                v.columns.iter().all(|c| {
                    let family = Family::of_column(table, c);
                    let bytes = family.has_one_form()
                        && !matches!(family, Family::Text { .. } | Family::Unknown);
                    bytes && key.iter().any(|k| k.eq_ignore_ascii_case(c))
                })
            })
        };
        let columns: Option<Vec<&Column>> =
            key.iter().map(|k| crate::column::find(table, k)).collect();
        let columns = columns.unwrap_or_default();
        let can_be = |c: &&Column| can_index(c) && c.nullable == Some(false) && !c.invisible;
        let length: u32 = columns.iter().filter_map(|c| c.length).sum();
        let fits = columns.iter().all(can_be) && length <= KEY_LENGTH_MAX;
        let sure = one_server || table.kind == TableKind::Reference || by_shard();
        if fits && sure { key } else { &[] }
    }
}

fn unknown_type(name: &TableName<'_>, column: &Column) -> PlanError {
    PlanError::unsupported(format!(
        "column '{}' of '{}', whose type is not known exactly, in a statement that several shards \
            must answer together",
        column.name, name.name
    ))
}

/// How a column's values are selected, and loaded again.
pub(in crate::route) fn transported(column: &Column, name: &str) -> Option<(String, Load)> {
    let binary = || format!("CAST({name} AS BINARY)");
    Some(match column.data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "decimal"
        | "numeric" | "double" | "real" | "year" => (name.to_owned(), Load::Number),
        "float" => (format!("{name}+0e0"), Load::Number),
        "enum" | "set" | "bit" => (format!("{name}+0"), Load::Number),
        "date" | "time" | "datetime" | "uuid" | "inet4" | "inet6" => {
            (name.to_owned(), Load::Quoted)
        }
        "timestamp" => (format!("UNIX_TIMESTAMP({name})"), Load::Timestamp),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "binary"
        | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => (binary(), Load::Hex),
        "json" => (binary(), Load::HexText),
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geometrycollection" | "geomcollection" => (binary(), Load::Hex),
        _ => return None,
    })
}

/// What follows a column's name in CREATE TABLE.
fn definition(column: &Column) -> Option<String> {
    let mut out = column.column_type.clone()?;
    let is_text = matches!(
        column.data_type.as_str(),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set"
    );
    if is_text {
        let collation = column.collation.as_deref()?;
        let of_collation = collation.split('_').next().unwrap_or_default();
        let charset = column.charset.as_deref().unwrap_or(of_collation);
        out.push_str(&format!(" CHARACTER SET {charset} COLLATE {collation}"));
    }
    let not_null = column.nullable == Some(false) && !column.invisible;
    out.push_str(if not_null { " NOT NULL" } else { " NULL" });
    if column.invisible {
        out.push_str(" INVISIBLE");
    }
    Some(out)
}

/// Those of a column definition packet that say something about keys and defaults.
fn flags(column: &Column) -> u16 {
    const PART_OF_KEY: u16 = 1 << 14;
    let key = match column.key {
        ColumnKey::None => 0,
        ColumnKey::Primary => 1 << 1 | PART_OF_KEY,
        ColumnKey::Unique => 1 << 2 | PART_OF_KEY,
        ColumnKey::Multiple => 1 << 3 | PART_OF_KEY,
    };
    let flag = |is: bool, bit: u16| if is { bit } else { 0 };
    let must_be_given =
        column.nullable == Some(false) && !column.has_default && !column.auto_increment;
    key | flag(column.auto_increment, 1 << 9) | flag(must_be_given, 1 << 12)
}
