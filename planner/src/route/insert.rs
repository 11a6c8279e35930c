//! INSERT and REPLACE: every row goes to the shard that its primary vindex names.
use super::Planner;
use super::block::{Blocks, Position};
use super::classes::Node;
use super::lookups;
use super::names::Place;
use crate::column::{Family, find};
use crate::error::PlanError;
use crate::lookup::quoted;
use crate::plan::{
    Combine, Destination, InsertRows, Operand, Piece, Plan, RowSource, StatementClass,
};
use crate::snapshot::{ColumnVindex, KeyspaceIdx, Table, TableKind};
use crate::sql::ast::{Body, ExprKind, Insert, InsertRow, InsertSource, Query, Span};
use crate::vindex::{Looked, Vindex};
use smallvec::SmallVec;
use std::sync::Arc;

/// Columns that place the row and are not given must have a default, or a number of the server's
/// own.
fn needs_value(
    table: &Table,
    columns: &[String],
    positions: &[Option<usize>],
) -> Result<(), PlanError> {
    let missing = columns
        .iter()
        .zip(positions)
        .filter(|(_, position)| position.is_none());
    for (name, _) in missing {
        let Some(column) = find(table, name) else { continue };
        let sequence = table.auto_increment.as_ref();
        let given = sequence.is_some_and(|s| s.column.eq_ignore_ascii_case(name))
            || column.has_default
            || column.generated
            || column.auto_increment;
        if column.nullable == Some(false) && !given && !is_auto_increment(table, name) {
            return Err(PlanError::NoDefault(column.name.clone()));
        }
    }
    Ok(())
}

/// Which of a key's columns hold no NULL, a bit for each.
pub(super) fn not_null(table: &Table, columns: &[String]) -> u8 {
    let bits = columns.iter().take(8).enumerate();
    bits.fold(0, |bits, (n, name)| bits | u8::from(is_not_null(table, name)) << n)
}

/// Is the column of this node known to have NULLs?
fn may_be_null(blocks: &Blocks<'_, '_, '_>, node: Node) -> bool {
    let Some((instance, column)) = blocks.classes.column_of(node) else { return false };
    let mut uses = blocks.uses.iter();
    let of = uses.find(|u| u.instance == instance);
    of.and_then(|u| find(&u.table, column))
        .is_some_and(|c| c.nullable == Some(true))
}

fn is_not_null(table: &Table, column: &str) -> bool {
    find(table, column).is_some_and(|c| c.nullable == Some(false))
}

/// What places the rows of a table: the function of its primary vindex, or another table's lookup
/// table.
fn placing(table: &Table) -> Result<(&ColumnVindex, Arc<dyn Vindex>), PlanError> {
    let refused = || {
        PlanError::unsupported(format!("the primary vindex of '{}' cannot be used yet", table.name))
    };
    let primary = table.column_vindexes.first().ok_or_else(refused)?;
    match (&primary.vindex.vindex, &primary.vindex.lookup) {
        (Some(vindex), _) => Ok((primary, vindex.clone())),
        (None, Some(def))
            if def.unique
                && def.from.len() == primary.columns.len()
                && !lookups::is_kept(table, primary) =>
        {
            Ok((primary, Arc::new(Looked(def.clone()))))
        }
        _ => Err(refused()),
    }
}

/// The columns that an INSERT gives values, in their order, in lower case.
pub(super) fn inserted_columns(
    table: &Table,
    insert: &Insert<'_>,
) -> Result<Vec<String>, PlanError> {
    Ok(match insert.columns {
        Some(columns) if !columns.is_empty() => {
            columns.iter().map(|c| c.to_ascii_lowercase()).collect()
        }
        _ if table.columns_complete => table
            .columns
            .iter()
            .filter(|c| !c.invisible)
            .map(|c| c.name.to_ascii_lowercase())
            .collect(),
        _ => {
            return Err(PlanError::unsupported(format!(
                "INSERT into '{}' without a column list, as its columns are not known; write the \
                    list",
                table.name
            )));
        }
    })
}

impl<'a> Planner<'_, 'a> {
    /// An INSERT that goes to the shards as it is, up to its rows, or else one of several steps.
    pub(super) fn insert(
        &mut self,
        keyspace: KeyspaceIdx,
        insert: &'a Insert<'a>,
        class: StatementClass,
    ) -> Result<Plan, PlanError> {
        let before = (self.edits.clone(), self.tables.clone());
        match self.insert_in_place(keyspace, insert, class) {
            Err(error @ (PlanError::Unsupported(_) | PlanError::NotALiteral(_))) => {
                (self.edits, self.tables) = before;
                self.insert_in_steps(insert, error, class)
            }
            planned => planned,
        }
    }

    fn insert_in_place(
        &mut self,
        keyspace: KeyspaceIdx,
        insert: &'a Insert<'a>,
        class: StatementClass,
    ) -> Result<Plan, PlanError> {
        let Place::Table { table, .. } = self.locate(insert.table)? else {
            return Ok(self.route(keyspace, Destination::Any, Combine::Sum, class));
        };
        let table = self.sharded_table(keyspace, insert.table.name, table)?;
        if table.kind == TableKind::Reference {
            return self.insert_copies(keyspace, table, insert, class);
        }
        if table.kind == TableKind::Log {
            return self.insert_log(keyspace, table, insert, class);
        }
        if let Some(id) = &table.pinned {
            if let Some(plan) = self.generated(keyspace, table, insert, class)? {
                return Ok(plan);
            }
            let to = Destination::KeyspaceId(id.clone());
            self.no_subqueries(keyspace, insert)?;
            return Ok(self.route(keyspace, to, Combine::Sum, class));
        }
        if let Some(plan) = self.generated(keyspace, table, insert, class)? {
            return Ok(plan);
        }
        self.check_assigned(insert.table, table, insert.on_duplicate, false)?;
        let columns = inserted_columns(table, insert)?;
        self.name_columns(insert, &columns);
        if let InsertSource::Query(query) = insert.source {
            return self.insert_query(keyspace, table, insert, query, &columns, class);
        }
        self.no_subqueries(keyspace, insert)?;
        let mut rows = self.rows(table, insert, &columns)?;
        let maintain = self.inserted_entries(table, insert, &columns)?;
        rows.keeps_ids = maintain.is_some();
        rows.keeps_places = !insert.returning.is_empty();
        let plan = self.route(keyspace, Destination::Rows(rows), Combine::Sum, class);
        Ok(lookups::with(plan, maintain))
    }

    /// Gives an INSERT without a column list the list by which its rows are placed: its servers may
    /// have another order of columns by now, and a row must lie where its key says.
    pub(super) fn name_columns(&mut self, insert: &Insert<'_>, columns: &[String]) {
        let listed = insert.columns.is_some_and(|columns| !columns.is_empty());
        let empty = match insert.source {
            InsertSource::Rows(rows) => rows.iter().any(|row| row.values.is_empty()),
            InsertSource::Collapsed(_) | InsertSource::Query(_) => false,
        };
        if listed || empty {
            return;
        }
        let names: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
        let list = format!("({}) ", names.join(","));
        match insert.list {
            // `t ()`
            list_span if list_span.start < list_span.end => {
                self.edits
                    .replace(list_span, vec![Piece::Verbatim(list.trim_end().as_bytes().to_vec())]);
            }
            list_span => self
                .edits
                .insert(list_span.start, vec![Piece::Verbatim(format!(" {list}").into_bytes())]),
        }
    }

    /// INSERT ... SELECT, where each row that is read gives a row on the same shard: the column
    /// that places the new row is the column that placed the old one, by the same vindex.
    fn insert_query(
        &mut self,
        keyspace: KeyspaceIdx,
        table: &'a Arc<Table>,
        insert: &'a Insert<'a>,
        query: &'a Query<'a>,
        columns: &[String],
        class: StatementClass,
    ) -> Result<Plan, PlanError> {
        if let Some(auto) = &table.auto_increment {
            return Err(PlanError::no_sequence(&auto.column));
        }
        lookups::refuse_owner(table, "INSERT ... SELECT")?;
        let refused =
            || PlanError::unsupported("INSERT ... SELECT whose rows may move to other shards");
        let primary = table.column_vindexes.first().ok_or_else(refused)?;
        let others = table.column_vindexes.iter().skip(1);
        if others
            .clone()
            .any(|v| v.columns.iter().any(|c| columns.contains(c)))
        {
            return Err(refused());
        }
        let mut blocks = Blocks::new(self, keyspace);
        let block = blocks.query(query, &Vec::new(), Position::Rows)?;
        // `*` may stand for columns that are not known here.
        let stars = match &query.first {
            Body::Select(s) => s.items.iter().any(|i| match i.expr.kind {
                ExprKind::Star(_) => true,
                ExprKind::Column(c) => c.name == "*",
                _ => false,
            }),
            _ => true,
        };
        if stars || block.columns.len() != columns.len() {
            return Err(refused());
        }
        let nodes: Option<Vec<_>> = primary
            .columns
            .iter()
            .map(|c| {
                let at = columns.iter().position(|name| name == c)?;
                let node = block.columns.get(at)?.1?;
                let family = Family::of_column(table, c);
                let null = is_not_null(table, c) && may_be_null(&blocks, node);
                // What does not fit a server may change, and it would not lie where it is sought.
                let fits =
                    blocks.classes.is_alike(node, family) && blocks.classes.fits(node, family);
                (fits && !null).then(|| blocks.classes.class_of(node))
            })
            .collect();
        let nodes = nodes.ok_or_else(refused)?;
        let from = block.instances.iter().any(|&instance| {
            blocks
                .keys(instance)
                .iter()
                .any(|(name, key)| *name == primary.vindex.name && *key == nodes)
        });
        if !from {
            return Err(refused());
        }
        let mut all = Vec::new();
        for assign in insert.on_duplicate {
            blocks.subqueries(&assign.value, &Vec::new(), &[], &mut all)?;
        }
        if !all.is_empty() || !insert.returning.is_empty() {
            return Err(refused());
        }
        let destination = blocks.destination()?;
        Ok(self.placed(keyspace, destination, Combine::Sum, class))
    }

    /// Rows that may lie anywhere stay together: a statement's go to one shard.
    fn insert_log(
        &mut self,
        keyspace: KeyspaceIdx,
        table: &'a Arc<Table>,
        insert: &'a Insert<'a>,
        class: StatementClass,
    ) -> Result<Plan, PlanError> {
        if insert.replace || !insert.on_duplicate.is_empty() {
            return Err(PlanError::unsupported(format!(
                "REPLACE or ON DUPLICATE KEY UPDATE into log table '{}', whose rows lie on any \
                    shard; give the table a vindex",
                table.name
            )));
        }
        if let Some(plan) = self.generated(keyspace, table, insert, class)? {
            return Ok(plan);
        }
        self.no_subqueries(keyspace, insert)?;
        Ok(self.route(keyspace, Destination::Turn, Combine::Sum, class))
    }

    /// Every shard has the whole table.
    fn insert_copies(
        &mut self,
        keyspace: KeyspaceIdx,
        table: &Table,
        insert: &'a Insert<'a>,
        class: StatementClass,
    ) -> Result<Plan, PlanError> {
        if let Some(source) = &table.source {
            return Err(PlanError::unsupported(format!(
                "writing to reference table '{}', a copy of '{source}'; write to the source",
                table.name
            )));
        }
        self.no_subqueries(keyspace, insert)?;
        Ok(self.route(keyspace, Destination::Scatter, Combine::First, class))
    }

    /// Subqueries may read what every shard has; anything else would read one shard's part.
    fn no_subqueries(
        &self,
        keyspace: KeyspaceIdx,
        insert: &'a Insert<'a>,
    ) -> Result<(), PlanError> {
        let mut blocks = Blocks::new(self, keyspace);
        let mut all = Vec::new();
        let none = Vec::new();
        match insert.source {
            InsertSource::Query(query) => {
                blocks.query(query, &none, Position::Rows)?;
                return Err(PlanError::unsupported("INSERT ... SELECT into a sharded table"));
            }
            InsertSource::Rows(rows) => {
                for value in rows.iter().flat_map(|r| r.values) {
                    blocks.subqueries(value, &none, &[], &mut all)?;
                }
            }
            InsertSource::Collapsed(_) => {}
        }
        for assign in insert.on_duplicate {
            blocks.subqueries(&assign.value, &none, &[], &mut all)?;
        }
        if all.is_empty() {
            Ok(())
        } else {
            Err(PlanError::unsupported("subqueries on sharded tables in INSERT"))
        }
    }

    pub(super) fn rows(
        &mut self,
        table: &Arc<Table>,
        insert: &'a Insert<'a>,
        columns: &[String],
    ) -> Result<InsertRows, PlanError> {
        let (primary, vindex) = placing(table)?;
        let position = |name: &String| columns.iter().position(|c| c == name);
        let positions: Vec<Option<usize>> = primary.columns.iter().map(position).collect();
        needs_value(table, &primary.columns, &positions)?;
        self.check_other_vindexes(table, columns, &positions)?;
        let names = primary.columns.iter().cloned().collect();
        let source = match insert.source {
            InsertSource::Collapsed(span) => {
                let width = self.input.fingerprint.rows.width;
                if width != columns.len() {
                    return Err(PlanError::ColumnCount(1));
                }
                self.edits.split(span, vec![Piece::CollapsedRows]);
                let short = |n: usize| {
                    u16::try_from(n).map_err(|_| PlanError::TooLong(usize::from(u16::MAX)))
                };
                let positions: Result<SmallVec<[u16; 1]>, PlanError> = positions
                    .iter()
                    .map(|p| p.map_or(Ok(u16::MAX), short))
                    .collect();
                RowSource::Collapsed { positions: positions?, width: short(width)? }
            }
            InsertSource::Rows(rows) => {
                let mut all = Vec::with_capacity(rows.len());
                for (row, n) in rows.iter().zip(1..) {
                    all.push(self.row(row, n, columns, &positions, table)?);
                }
                self.split_rows(rows)?;
                RowSource::Operands(all)
            }
            InsertSource::Query(_) => {
                return Err(PlanError::unsupported("INSERT ... SELECT into a sharded table"));
            }
        };
        let families = primary
            .columns
            .iter()
            .map(|c| Family::of_column(table, c))
            .collect();
        let numbered = primary
            .columns
            .iter()
            .position(|c| is_auto_increment(table, c));
        Ok(InsertRows {
            not_null: not_null(table, &primary.columns),
            ignore: insert.ignore,
            vindex,
            columns: names,
            families,
            numbered,
            source,
            keeps_ids: false,
            keeps_places: false,
        })
    }

    /// A second functional vindex must agree with the first, which is certain only if it is over
    /// the same columns.
    fn check_other_vindexes(
        &self,
        table: &Table,
        columns: &[String],
        positions: &[Option<usize>],
    ) -> Result<(), PlanError> {
        for other in table
            .column_vindexes
            .iter()
            .skip(1)
            .filter(|v| v.vindex.vindex.is_some())
        {
            let same = other
                .columns
                .iter()
                .map(|n| columns.iter().position(|c| c == n))
                .eq(positions.iter().copied());
            let given = other.columns.iter().any(|n| columns.contains(n));
            if given && !same {
                return Err(PlanError::unsupported(format!(
                    "INSERT into '{}', which has a second functional vindex '{}'",
                    table.name, other.vindex.name
                )));
            }
        }
        Ok(())
    }

    fn row(
        &self,
        row: &InsertRow<'_>,
        number: u64,
        columns: &[String],
        positions: &[Option<usize>],
        table: &Table,
    ) -> Result<SmallVec<[Operand; 1]>, PlanError> {
        if row.values.len() != columns.len() {
            return Err(PlanError::ColumnCount(number));
        }
        positions
            .iter()
            .map(|position| {
                let Some(n) = *position else { return Ok(Operand::Null) };
                let value = row.values.get(n).ok_or(PlanError::ColumnCount(number))?;
                let name = columns.get(n).map_or("?", String::as_str);
                match value.kind {
                    ExprKind::Default if is_auto_increment(table, name) => Ok(Operand::Null),
                    _ => self
                        .operand(value)
                        .ok_or_else(|| PlanError::NotALiteral(name.to_owned())),
                }
            })
            .collect()
    }

    /// The text of each row, so that every shard gets its own.
    fn split_rows(&mut self, rows: &[InsertRow<'_>]) -> Result<(), PlanError> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        if rows.len() < 2 {
            return Ok(());
        }
        let changed = !self.edits.is_empty();
        let mut pieces = Vec::with_capacity(rows.len());
        for (n, row) in rows.iter().enumerate() {
            let row_number =
                u16::try_from(n).map_err(|_| PlanError::TooLong(usize::from(u16::MAX)))?;
            let inner = self.edits.pieces(self.input.sql, self.tokens, row.span);
            pieces.push(Piece::Row { row: row_number, pieces: inner });
        }
        let span = Span { start: first.span.start, end: last.span.end };
        if changed {
            self.edits.replace(span, pieces);
        } else {
            self.edits.split(span, pieces);
        }
        Ok(())
    }
}

fn is_auto_increment(table: &Table, column: &str) -> bool {
    table
        .columns
        .iter()
        .any(|c| c.auto_increment && c.name.eq_ignore_ascii_case(column))
}
