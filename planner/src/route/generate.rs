//! INSERTs into tables whose `auto_increment` is a sequence, and `SELECT NEXT VALUE FOR` one.
use super::Planner;
use super::names::Place;
use super::text::Edits;
use crate::error::PlanError;
use crate::lookup::quoted;
use crate::plan::generate::{Generate, GenerateRow, GenerateRows, GenerateValue, Sequence};
use crate::plan::{
    Action, Combine, Destination, Piece, Plan, SessionAction, StatementClass, verbatim,
};
use crate::snapshot::{Keyspace, KeyspaceIdx, Table, TableKind};
use crate::sql::ast::{ExprKind, Insert, InsertRow, InsertSource, Span, TableName};

/// How many numbers one statement can take.
const NEXT_MAX: u64 = 1 << 40;

impl<'a> Planner<'_, 'a> {
    /// A plan that takes numbers from the table's sequence first; `None` where it has none, or the
    /// text has its numbers already.
    pub(super) fn generated(
        &mut self,
        keyspace: KeyspaceIdx,
        table: &Table,
        insert: &'a Insert<'a>,
        class: StatementClass,
    ) -> Result<Option<Plan>, PlanError> {
        let Some(auto) = table
            .auto_increment
            .as_ref()
            .filter(|_| !self.input.session.numbered)
        else {
            return Ok(None);
        };
        let listed = insert.columns.filter(|columns| !columns.is_empty());
        let empty = matches!(insert.source,
            InsertSource::Rows(rows) if rows.iter().all(|r| r.values.is_empty()));
        let place = |mut names: &mut dyn Iterator<Item = &str>| {
            let at = (&mut names).position(|name| name.eq_ignore_ascii_case(&auto.column));
            at.map(|at| u16::try_from(at).map_err(|_| PlanError::TooLong(usize::from(u16::MAX))))
                .transpose()
        };
        let position = match listed {
            Some(columns) => place(&mut columns.iter().copied())?,
            None if empty => None,
            None if table.columns_complete => {
                let visible = table.columns.iter().filter(|c| !c.invisible);
                let at = place(&mut visible.map(|c| c.name.as_str()))?;
                if at.is_none() {
                    return Ok(None);
                }
                at
            }
            None => {
                return Err(PlanError::unsupported(format!(
                    "INSERT into '{}' without a column list, as its columns are not known; write \
                        the list",
                    table.name
                )));
            }
        };
        let rows = match insert.source {
            InsertSource::Query(_) if position.is_some() => return Ok(None),
            InsertSource::Query(_) => return Err(PlanError::no_sequence(&auto.column)),
            InsertSource::Collapsed(span) => (GenerateRows::Collapsed(position), span),
            InsertSource::Rows(rows) => {
                self.generated_rows(insert, rows, position, &auto.column)?
            }
        };
        let (rows, span) = rows;
        let sequence = self.sequence(keyspace, &auto.sequence);
        let sequence = sequence.ok_or_else(|| auto.sequence.clone());
        let head = self.generated_head(insert, span, &auto.column, position.is_none());
        let end = u32::try_from(self.input.fingerprint.end).unwrap_or(u32::MAX);
        let tail = self.own(Span { start: span.end, end });
        let generate = Generate { sequence, column: auto.column.clone(), head, rows, tail };
        let to = if self.is_whole(keyspace) { Destination::Unsharded } else { Destination::Any };
        let mut plan = self.route(keyspace, to, Combine::Sum, class);
        if let Action::Route(route) = &mut plan.action {
            route.generate = Some(Box::new(generate));
        }
        Ok(Some(plan))
    }

    /// `SELECT NEXT VALUE FOR` a sequence of the vschema; servers may have others of their own.
    pub(super) fn next_values(
        &mut self,
        name: &TableName<'a>,
        count: Option<Span>,
        param: bool,
    ) -> Result<Plan, PlanError> {
        let found = match self.locate(name) {
            Ok(Place::Table { keyspace, .. }) => self
                .keyspace(keyspace)
                .and_then(|k| sequence_of(k, name.name)),
            _ => None,
        };
        let Some(sequence) = found else {
            return self.not_understood(PlanError::unsupported(format!(
                "NEXT VALUE of '{}', which the vschema does not have as a sequence",
                name.name
            )));
        };
        let text = count.map(|span| self.input.sql.get(span.start as usize..span.end as usize));
        let count = match text {
            None => Some(1),
            Some(text) => text.and_then(|t| std::str::from_utf8(t).ok()?.parse().ok()),
        };
        let count = count
            .filter(|n| (1..=NEXT_MAX).contains(n))
            .ok_or(PlanError::NotACount)?;
        // A parameter's value comes with the text that is made of it.
        let action = SessionAction::NextValues { sequence, count: if param { 0 } else { count } };
        Ok(super::session_plan(action, StatementClass::Select))
    }

    /// The statement's own text: what it becomes is planned anew.
    fn own(&self, span: Span) -> Vec<Piece> {
        Edits::default().pieces(self.input.sql, self.tokens, span)
    }

    /// The text before the rows; `adds`: with the column in its list.
    fn generated_head(
        &self,
        insert: &Insert<'_>,
        rows: Span,
        column: &str,
        adds: bool,
    ) -> Vec<Piece> {
        if !adds || insert.set {
            return self.own(Span { start: 0, end: rows.start });
        }
        let (list, column) = (insert.list, quoted(column));
        let (before, text) = match insert.columns {
            Some([_, ..]) => (list.end.saturating_sub(1), format!(",{column}")),
            _ if list.start < list.end => (list.end.saturating_sub(1), column),
            _ => (list.start, format!(" ({column}) ")),
        };
        let mut head = self.own(Span { start: 0, end: before });
        head.push(verbatim(&text));
        head.extend(self.own(Span { start: before, end: rows.start }));
        head
    }

    /// # Errors
    /// An expression for the column, which must be computed first.
    fn generated_rows(
        &self,
        insert: &Insert<'_>,
        rows: &'a [InsertRow<'a>],
        position: Option<u16>,
        column: &str,
    ) -> Result<(GenerateRows, Span), PlanError> {
        let start = rows.first().map_or(0, |r| r.span.start);
        let end = rows.last().map_or(0, |r| r.span.end);
        let made = rows.iter().map(|row| {
            let value = position.and_then(|at| row.values.get(usize::from(at)));
            let Some(value) = value else {
                // Behind the last value, before the parenthesis.
                let close = if insert.set { row.span.end } else { row.span.end.saturating_sub(1) };
                let mut before = self.own(Span { start: row.span.start, end: close });
                if insert.set {
                    before.push(verbatim(format!(",{}=", quoted(column))));
                } else if !row.values.is_empty() {
                    before.push(verbatim(","));
                }
                let after = self.own(Span { start: close, end: row.span.end });
                return Ok(GenerateRow { before, value: GenerateValue::Number, after });
            };
            let text = self.own(value.span);
            let given = match (value.kind, self.operand(value)) {
                (ExprKind::Null | ExprKind::Default, _) => GenerateValue::Number,
                (_, Some(operand)) => GenerateValue::Operand(operand, text),
                (_, None) => {
                    return Err(PlanError::unsupported(format!(
                        "an expression for '{column}', whose numbers come from a sequence"
                    )));
                }
            };
            Ok(GenerateRow {
                before: self.own(Span { start: row.span.start, end: value.span.start }),
                value: given,
                after: self.own(Span { start: value.span.end, end: row.span.end }),
            })
        });
        Ok((GenerateRows::Rows(made.collect::<Result<_, PlanError>>()?), Span { start, end }))
    }

    /// For a table of a keyspace that is not sharded, too.
    pub(super) fn generated_in_whole(
        &mut self,
        keyspace: KeyspaceIdx,
        insert: &'a Insert<'a>,
        class: StatementClass,
    ) -> Result<Option<Plan>, PlanError> {
        match self.locate(insert.table)? {
            Place::Table { table: Some(table), .. } => {
                match self.generated(keyspace, table, insert, class) {
                    Err(error @ PlanError::Unsupported(_)) => {
                        self.insert_in_steps(insert, error, class).map(Some)
                    }
                    generated => generated,
                }
            }
            _ => Ok(None),
        }
    }

    /// The sequence that a vschema names: in the keyspace that it says, else in the table's own,
    /// else in the only one that has it.
    pub(super) fn sequence(&self, own: KeyspaceIdx, name: &str) -> Option<Sequence> {
        let is_sequence = |keyspace: &Keyspace, table: &str| {
            keyspace
                .tables
                .get(table)
                .is_some_and(|t| t.kind == TableKind::Sequence)
        };
        let all = &self.input.snapshot.keyspaces;
        let (keyspace, table) = match name.split_once('.') {
            Some((keyspace, table)) => (all.iter().find(|k| k.name == keyspace), table),
            None => {
                let own = self.keyspace(own).filter(|k| is_sequence(k, name));
                let mut others = all.iter().filter(|k| is_sequence(k, name));
                let other = others.next().filter(|_| others.next().is_none());
                (own.or(other), name)
            }
        };
        sequence_of(keyspace?, table)
    }
}

/// A sequence of a keyspace, where its table lies on one shard.
pub(super) fn sequence_of(keyspace: &Keyspace, name: &str) -> Option<Sequence> {
    let table = keyspace
        .tables
        .get(name)
        .filter(|t| t.kind == TableKind::Sequence)?;
    let shard = match &table.pinned {
        Some(id) => keyspace.shard_for(id)?,
        None => 0,
    };
    Some(Sequence {
        name: format!("{}.{name}", keyspace.name),
        table: format!("{}.{}", quoted(&keyspace.database), quoted(name)),
        shard: keyspace.shards.get(usize::from(shard))?.id,
    })
}
