//! INSERT and REPLACE of several steps: of a query's rows, with values that a server must compute
//! first, and of rows that may change others of a table that owns lookup vindexes.
use super::Planner;
use super::by_key::{Inner, insert_image};
use super::insert::inserted_columns;
use super::lookups;
use super::names::Place;
use super::subquery::has_subquery;
use super::text::Edits;
use crate::column::find;
use crate::error::PlanError;
use crate::lookup::quoted;
use crate::plan::write::{
    EachRow, Evaluated, InsertSelect, NewValue, ReturningNone, UniqueColumn, UniqueKeys, Write,
};
use crate::plan::{InsertRows, Operand, Plan, StatementClass, verbatim};
use crate::snapshot::{Column, ColumnVindex, Table};
use crate::sql::ast::*;
use crate::sql::walk::Walk;
use std::sync::Arc;

/// What a column that takes no NULL gets for one under IGNORE.
fn implicit(column: &Column) -> Option<&'static str> {
    Some(match column.data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "decimal"
        | "numeric" => "0",
        "char" | "varchar" | "binary" | "varbinary" => "''",
        _ => return None,
    })
}

impl<'a> Planner<'_, 'a> {
    /// `error`: why the statement cannot go to the shards as it is; given back where no steps help.
    pub(super) fn insert_in_steps(
        &mut self,
        insert: &'a Insert<'a>,
        error: PlanError,
        class: StatementClass,
    ) -> Result<Plan, PlanError> {
        self.splittable()?;
        if self.tokens.ambiguous {
            return Err(error);
        }
        let write = match insert.source {
            InsertSource::Query(query) => Some(self.insert_select(insert, query, &error)?),
            InsertSource::Rows(rows) => match self.evaluated(insert, rows) {
                Some(write) => Some(write),
                None => self.each_row(insert)?,
            },
            InsertSource::Collapsed(_) => self.each_row(insert)?,
        };
        match write {
            Some(write) => Ok(self.write(write, class)),
            None => Err(error),
        }
    }

    fn insert_select(
        &mut self,
        insert: &'a Insert<'a>,
        query: &'a Query<'a>,
        error: &PlanError,
    ) -> Result<Write, PlanError> {
        let exposed = |table: &str| table == insert.table.name;
        for assign in insert.on_duplicate {
            let named = super::by_key::Named::of(&assign.value);
            if named
                .columns
                .iter()
                .any(|c| c.table.is_some_and(|t| !exposed(t)))
                || has_subquery(&assign.value)
            {
                return Err(PlanError::unsupported(
                    "INSERT ... SELECT ... ON DUPLICATE KEY UPDATE with columns of the query's \
                        tables, over several shards; use VALUES(column)",
                ));
            }
        }
        let mut inner = Inner::default();
        Walk::new(&mut inner).query(query);
        let mut locks = Edits::default();
        for end in inner.ends {
            locks.insert(end, vec![verbatim(" LOCK IN SHARE MODE")]);
        }
        let raw = Edits::default();
        let pieces = |edits: &Edits, span| edits.pieces(self.input.sql, self.tokens, span);
        let InsertSpans { head, source, tail } = insert.spans;
        Ok(Write::InsertSelect(Box::new(InsertSelect {
            query: pieces(&locks, source),
            head: pieces(&raw, head),
            tail: pieces(&raw, tail),
            types: self.inserted_types(insert),
            returning: self.returning_none(insert),
            ignore: insert.ignore,
            why: match error {
                PlanError::Unsupported(why) => why.clone(),
                other => other.to_string(),
            },
        })))
    }

    /// The types of the columns that rows are given for.
    fn inserted_types(&self, insert: &'a Insert<'a>) -> Vec<String> {
        let Ok(Place::Table { table: Some(table), .. }) = self.locate(insert.table) else {
            return Vec::new();
        };
        let names = inserted_columns(table, insert).unwrap_or_default();
        let kind = |name: &String| {
            let column = table
                .columns
                .iter()
                .find(|c| c.name.eq_ignore_ascii_case(name));
            column.map(|c| c.data_type.clone()).unwrap_or_default()
        };
        names.iter().map(kind).collect()
    }

    fn returning_none(&self, insert: &'a Insert<'a>) -> Option<ReturningNone> {
        let span = super::by_key::behind_returning(self.returning(insert.returning)?);
        let Ok(Place::Table { keyspace, .. }) = self.locate(insert.table) else { return None };
        Some(ReturningNone {
            keyspace,
            tablet_kind: self.input.session.tablet_kind,
            table: quoted(insert.table.name),
            items: Edits::default().pieces(self.input.sql, self.tokens, span),
        })
    }

    /// Values that place rows, or are looked up, and that are neither literals nor parameters; and
    /// all that read tables.
    fn evaluated(&self, insert: &'a Insert<'a>, rows: &'a [InsertRow<'a>]) -> Option<Write> {
        let Ok(Place::Table { table: Some(table), .. }) = self.locate(insert.table) else {
            return None;
        };
        let columns = inserted_columns(table, insert).ok()?;
        let needed = |at: usize| {
            let name = columns.get(at);
            table
                .column_vindexes
                .iter()
                .flat_map(|v| &v.columns)
                .any(|c| name.is_some_and(|name| name.eq_ignore_ascii_case(c)))
        };
        // A sequence's column gets a number where the value is 0 or NULL.
        let auto = table
            .auto_increment
            .as_ref()
            .filter(|_| !self.input.session.numbered);
        let numbered = |at: usize| {
            auto.zip(columns.get(at))
                .is_some_and(|(auto, name)| name.eq_ignore_ascii_case(&auto.column))
        };
        let (mut expressions, mut types) = (Vec::new(), Vec::new());
        for row in rows {
            for (at, value) in row.values.iter().enumerate() {
                let known = self.operand(value).is_some()
                    || matches!(value.kind, ExprKind::Default | ExprKind::Null);
                if !known && (needed(at) || numbered(at) || has_subquery(value)) {
                    // A column of the row itself, as in DEFAULT(v): only the INSERT knows it.
                    let columns = super::by_key::Named::of(value).columns;
                    if !columns.is_empty() && !has_subquery(value) {
                        return None;
                    }
                    expressions.push(value.span);
                    let given = self.inserted_types(insert);
                    types.push((given.get(at).cloned().unwrap_or_default(), needed(at)));
                }
            }
        }
        if expressions.is_empty() {
            return None;
        }
        let raw = Edits::default();
        let pieces = |span| raw.pieces(self.input.sql, self.tokens, span);
        let mut at = insert.spans.head.start;
        let mut texts = Vec::new();
        for span in &expressions {
            texts.push(pieces(Span { start: at, end: span.start }));
            at = span.end;
        }
        let end = u32::try_from(self.input.fingerprint.end).unwrap_or(u32::MAX);
        texts.push(pieces(Span { start: at, end }));
        let expressions = expressions.into_iter().map(pieces).collect();
        Some(Write::Evaluated(Box::new(Evaluated { expressions, types, texts })))
    }

    /// `None`: another kind of statement.
    fn each_row(&mut self, insert: &'a Insert<'a>) -> Result<Option<Write>, PlanError> {
        let Place::Table { keyspace, table: Some(table) } = self.locate(insert.table)? else {
            return Ok(None);
        };
        // How many rows a step has changed is not told where it gives rows.
        if !insert.returning.is_empty() {
            return Ok(None);
        }
        let changes = insert.ignore || insert.replace || !insert.on_duplicate.is_empty();
        let owns = lookups::owned(table).next().is_some();
        if !changes || !owns || self.is_served_whole(keyspace, table) {
            return Ok(None);
        }
        let refused = |what: &str| {
            PlanError::unsupported(format!(
                "{what} into '{}', which owns a lookup vindex",
                table.name
            ))
        };
        if insert.ignore && !insert.on_duplicate.is_empty() {
            return Err(refused("INSERT IGNORE ... ON DUPLICATE KEY UPDATE"));
        }
        if insert.on_duplicate.iter().any(|a| has_subquery(&a.value)) {
            return Err(refused("subqueries in ON DUPLICATE KEY UPDATE"));
        }
        let by = table.column_vindexes.first().map(|v| v.columns.as_slice());
        let finds = |column: &str| {
            let mut names = by.unwrap_or_default().iter().chain(&table.primary_key);
            names.any(|c| c.eq_ignore_ascii_case(column))
        };
        let moves = |a: &&Assign<'_>| {
            finds(a.column.name) && !super::dml::keeps_value(a, insert.table, table)
        };
        if let Some(moved) = insert.on_duplicate.iter().find(moves) {
            return Err(PlanError::unsupported(format!(
                "ON DUPLICATE KEY UPDATE of '{}' of '{}', by which its row is found",
                moved.column.name, table.name
            )));
        }
        let columns = inserted_columns(table, insert)?;
        let rows = self.rows_of_steps(table, insert, &columns)?;
        let unique = self.unique_columns(table, insert, &columns)?;
        let full_name =
            format!("{}.{}", quoted(self.keyspace_name(insert.table)?), quoted(&table.name));
        let (key, image) = insert_image(self, table, insert.table)?;
        let InsertSpans { head, tail, .. } = insert.spans;
        let pieces = |span| self.edits.pieces(self.input.sql, self.tokens, span);
        let texts = match insert.source {
            InsertSource::Rows(rows) => Some(rows.iter().map(|row| pieces(row.span)).collect()),
            _ => None,
        };
        let mut head = pieces(head);
        head.push(verbatim(if insert.set { " " } else { " VALUES " }));
        Ok(Some(Write::EachRow(Box::new(EachRow {
            keyspace,
            tablet_kind: self.input.session.tablet_kind,
            table: quoted(&table.name),
            ignore: insert.ignore && !insert.replace,
            replace: insert.replace,
            rows,
            head,
            texts,
            tail: pieces(tail),
            unique,
            full_name,
            key,
            image,
        }))))
    }

    /// Where the rows lie. Their texts stay as they are, but for the columns' names.
    fn rows_of_steps(
        &mut self,
        table: &'a Arc<Table>,
        insert: &'a Insert<'a>,
        columns: &[String],
    ) -> Result<InsertRows, PlanError> {
        let before = self.edits.clone();
        let rows = self.rows(table, insert, columns)?;
        self.edits = before;
        self.name_columns(insert, columns);
        Ok(rows)
    }

    /// The unique keys by which a new row may meet one that is there.
    fn unique_columns(
        &self,
        table: &Table,
        insert: &Insert<'a>,
        columns: &[String],
    ) -> Result<UniqueKeys, PlanError> {
        let mut keys: Vec<&[String]> = vec![&table.primary_key];
        keys.extend(table.unique_keys.iter().map(|key| key.columns.as_slice()));
        let (mut all, mut elsewhere, mut primary) = (Vec::new(), Vec::new(), None);
        for key in keys.into_iter().filter(|key| !key.is_empty()) {
            let Some(found) = self.unique_key(table, insert, columns, key)? else { continue };
            if std::ptr::eq(key, table.primary_key.as_slice()) {
                primary = Some(all.len());
            }
            if unique_lookups(table).any(|v| same_columns(&v.columns, key)) {
                elsewhere.push(all.len());
            }
            all.push(found);
        }
        if all.is_empty() {
            return Err(PlanError::unsupported(format!(
                "such a statement into '{}', which owns a lookup vindex, without a value for one \
                    of its unique keys",
                table.name
            )));
        }
        let mut by_lookup = Vec::new();
        // Servers do not know that a row meets another one by these; REPLACE takes that one away.
        for vindex in unique_lookups(table).filter(|_| insert.replace) {
            let mut keys = table.unique_keys.iter().map(|key| &key.columns);
            if same_columns(&table.primary_key, &vindex.columns)
                || keys.any(|key| same_columns(key, &vindex.columns))
            {
                continue;
            }
            if let Some(found) = self.unique_key(table, insert, columns, &vindex.columns)? {
                by_lookup.push(all.len());
                elsewhere.push(all.len());
                all.push(found);
            }
        }
        Ok(UniqueKeys { keys: all, elsewhere, by_lookup, primary })
    }

    /// Where new rows have the values of a key; `None`: by it they meet nothing, or nothing that
    /// could be known.
    fn unique_key(
        &self,
        table: &Table,
        insert: &Insert<'a>,
        columns: &[String],
        key: &[String],
    ) -> Result<Option<Vec<UniqueColumn>>, PlanError> {
        let mut found = Vec::new();
        for name in key {
            let column = find(table, name);
            let at = columns.iter().position(|c| c.eq_ignore_ascii_case(name));
            let value = match (at, column) {
                (Some(at), _) => self.new_values(table, insert, at, name)?,
                // A NULL meets nothing.
                (None, Some(column)) if column.null_default => return Ok(None),
                // What a server computes is not known; it shows by what the statement has done.
                (None, Some(column)) if column.generated || column.auto_increment => {
                    return Ok(None);
                }
                (None, _) => NewValue::Default,
            };
            let for_null = column
                .filter(|c| insert.ignore && c.nullable == Some(false))
                .and_then(implicit);
            found.push(UniqueColumn {
                name: format!("`{}`", name.replace('`', "``")),
                value,
                for_null,
            });
        }
        Ok(Some(found))
    }

    fn new_values(
        &self,
        table: &Table,
        insert: &Insert<'a>,
        at: usize,
        name: &str,
    ) -> Result<NewValue, PlanError> {
        match insert.source {
            InsertSource::Rows(rows) => {
                let values = rows.iter().map(|row| {
                    let value = row.values.get(at).ok_or(PlanError::ColumnCount(1))?;
                    lookups::null_by_default(value, table, name)
                        .or_else(|| self.operand(value))
                        .ok_or_else(|| PlanError::NotALiteral(name.to_owned()))
                });
                Ok(NewValue::Operands(values.collect::<Result<Vec<Operand>, _>>()?))
            }
            _ => Ok(NewValue::Place(u16::try_from(at).unwrap_or(u16::MAX))),
        }
    }
}

/// The unique lookup vindexes that a table owns, and that queries rely on.
fn unique_lookups(table: &Table) -> impl Iterator<Item = &ColumnVindex> {
    lookups::owned(table).filter(|v| {
        let def = v.vindex.lookup.as_ref();
        def.is_some_and(|d| d.unique && !d.write_only)
    })
}

fn same_columns(one: &[String], other: &[String]) -> bool {
    one.len() == other.len()
        && other
            .iter()
            .all(|c| one.iter().any(|o| o.eq_ignore_ascii_case(c)))
}
