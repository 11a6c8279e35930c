//! UPDATE and DELETE whose rows shards cannot choose alone, or whose changes reach beyond one
//! shard: a query finds the rows and locks them, then they are changed by their keys.
mod image;
mod keys;
mod set;

use super::Planner;
use super::names::Place;
use super::text::{Edits, quoted};
use crate::column::Family;
use crate::error::PlanError;
use crate::plan::write::{ByKey, ByVindex, Change, How, KeyPart, Lies, SetPart, Write};
use crate::plan::{Action, Effects, Piece, Plan, StatementClass, verbatim};
use crate::snapshot::{KeyspaceIdx, Table, TableKind};
use crate::sql::ast::*;
use crate::sql::keyword::Kw;
use crate::sql::walk::{Visitor, Walk};
pub(super) use image::insert_image;
use keys::{KeyColumn, key_of};
pub(super) use set::Named;
use smallvec::SmallVec;
use std::sync::Arc;

/// The columns that the query reads.
#[derive(Default)]
struct Columns {
    list: Vec<Vec<Piece>>,
}

impl Columns {
    fn add(&mut self, pieces: Vec<Piece>) -> Result<u16, PlanError> {
        let at = match self.list.iter().position(|known| *known == pieces) {
            Some(at) => at,
            None => self.add_anew(pieces),
        };
        u16::try_from(at).map_err(|_| PlanError::TooLong(usize::from(u16::MAX)))
    }

    /// Behind all others, even if it is there already.
    fn add_anew(&mut self, pieces: Vec<Piece>) -> usize {
        self.list.push(pieces);
        self.list.len() - 1
    }
}

/// A table that the statement changes.
struct Target<'a> {
    name: &'a TableName<'a>,
    keyspace: KeyspaceIdx,
    table: &'a Arc<Table>,
}

/// What all of a statement's targets have in common.
struct Statement<'a> {
    spans: ChangeSpans,
    ctes: &'a [Cte<'a>],
    tables: &'a [TableExpr<'a>],
    /// Every table in it that is no derived one.
    names: Vec<&'a TableName<'a>>,
    /// It names one table and nothing else.
    alone: bool,
    limit: bool,
    order: &'a [Ordered<'a>],
    locks: Edits,
}

fn refused<T>(what: impl Into<String>) -> Result<T, PlanError> {
    Err(PlanError::unsupported(what.into()))
}

/// Finds the queries inside of a statement, to lock what they read.
#[derive(Default)]
pub(super) struct Inner {
    pub(super) ends: Vec<u32>,
}

impl<'a> Visitor<'a> for Inner {
    fn table(&mut self, _: &'a TableName<'a>) {}

    fn query(&mut self, query: &'a Query<'a>) {
        // Of a UNION each part would have to say so.
        if let Body::Select(select) = &query.first
            && !select.from.is_empty()
            && query.rest.is_empty()
            && !query.locking
            && !query.into
        {
            self.ends.push(query.span.end);
        }
    }
}

/// What RETURNING names, without the word.
pub(super) fn behind_returning(span: Span) -> Span {
    Span { start: span.start + 9, end: span.end }
}

impl<'a> Planner<'_, 'a> {
    pub(super) fn update_by_key(
        &mut self,
        update: &'a Update<'a>,
        why: &str,
    ) -> Result<Plan, PlanError> {
        let statement = self.changing(
            (update.spans, update.ctes, update.tables),
            (update.limit, update.order),
            &crate::sql::ast::Statement::Update(self.input.arena.alloc(*update)),
        )?;
        let mut columns = Columns::default();
        let mut changes = Vec::new();
        for (target, set) in self.assigned_targets(&statement, update.set)? {
            let moves = self.assigned_vindexes(&target, &set)?;
            if moves.primary && update.ignore {
                return refused("UPDATE IGNORE of the primary vindex's columns");
            }
            let mut change = self.keyed(&statement, &target, &mut columns)?;
            if change.whole_row && change.joined {
                return refused(format!(
                    "UPDATE of '{}' joined with other tables over several shards, as it has no \
                        primary key; add one",
                    target.table.name
                ));
            }
            let (parts, reads) = self.set_parts(&statement, &target, &set, &mut columns)?;
            if moves.any() {
                change.image = Some(self.image(
                    &statement,
                    &target,
                    (&set, &reads),
                    moves,
                    &change,
                    &mut columns,
                )?);
            }
            let alias = if target.name.alias.is_some() {
                format!(" AS {}", quoted(target.name.exposed()))
            } else {
                String::new()
            };
            let ignore = if update.ignore { "IGNORE " } else { "" };
            change.how = How::Update {
                head: format!("UPDATE {ignore}{}{alias} SET ", change.table),
                set: parts,
                order: self.order_again(&statement)?,
            };
            changes.push(change);
        }
        self.by_key(&statement, columns, changes, (StatementClass::Update, update.ignore), why)
    }

    pub(super) fn delete_by_key(
        &mut self,
        delete: &'a Delete<'a>,
        why: &str,
    ) -> Result<Plan, PlanError> {
        if delete
            .returning
            .iter()
            .any(|item| super::subquery::has_subquery(&item.expr))
        {
            return refused("subqueries in DELETE ... RETURNING over several shards");
        }
        let statement = self.changing(
            (delete.spans, delete.ctes, delete.tables),
            (delete.limit, delete.order),
            &crate::sql::ast::Statement::Delete(self.input.arena.alloc(*delete)),
        )?;
        let mut columns = Columns::default();
        let mut changes = Vec::new();
        let named: Vec<&'a TableName<'a>> = match delete.targets {
            [] => statement.names.clone(),
            targets => targets
                .iter()
                .map(|t| self.deleted_name(&statement, t))
                .collect::<Result<_, _>>()?,
        };
        for name in named {
            let target = self.target(name)?;
            let mut change = self.keyed(&statement, &target, &mut columns)?;
            if super::lookups::owned(target.table).next().is_some() {
                // Else all chosen rows go, as without IGNORE.
                if delete.ignore && self.is_referenced(target.keyspace, target.table) {
                    return refused(format!(
                        "DELETE IGNORE from '{}', which owns a lookup vindex and to which foreign \
                            keys refer: rows may stay",
                        target.table.name
                    ));
                }
                let moves = set::Assigned { lookups: true, primary: false, all: true };
                change.image = Some(self.image(
                    &statement,
                    &target,
                    (&[], &[]),
                    moves,
                    &change,
                    &mut columns,
                )?);
            }
            let ignore = if delete.ignore { "IGNORE " } else { "" };
            let (mut order, mut returning) = (Vec::new(), Vec::new());
            if let Some(span) = self.returning(delete.returning) {
                order = self.order_again(&statement)?;
                returning = self
                    .edits
                    .pieces(self.input.sql, self.tokens, behind_returning(span));
            }
            change.how = How::Delete {
                head: format!("DELETE {ignore}FROM {}", change.table),
                order,
                returning,
            };
            changes.push(change);
        }
        self.by_key(&statement, columns, changes, (StatementClass::Delete, delete.ignore), why)
    }

    /// Where RETURNING stands, up to the statement's end.
    pub(super) fn returning(&self, items: &[SelectItem<'_>]) -> Option<Span> {
        let first = items.first()?.expr.span.start;
        let before = self.tokens.items.iter().rev();
        let word = before
            .skip_while(|item| item.span.start >= first)
            .find(|item| item.kw == Kw::Returning)?;
        let end = u32::try_from(self.input.fingerprint.end).unwrap_or(u32::MAX);
        Some(Span { start: word.span.start, end })
    }

    /// What both kinds of statements need.
    fn changing(
        &mut self,
        (spans, ctes, tables): (ChangeSpans, &'a [Cte<'a>], &'a [TableExpr<'a>]),
        (limit, order): (bool, &'a [Ordered<'a>]),
        whole: &crate::sql::ast::Statement<'a>,
    ) -> Result<Statement<'a>, PlanError> {
        self.splittable()?;
        if self
            .effects
            .intersects(Effects::ASSIGNS_VARIABLES | Effects::PIN)
            || self.tokens.ambiguous
        {
            return refused(
                "assigning user variables, or functions that lock, in a change over several shards",
            );
        }
        let constant = |o: &Ordered<'_>| {
            matches!(o.expr.kind, ExprKind::Literal(_) | ExprKind::Param(_) | ExprKind::Null)
        };
        if order.iter().any(constant) {
            return refused("a constant in ORDER BY of a change over several shards");
        }
        let mut names = Vec::new();
        super::dml::base_tables(tables, &mut names);
        names.retain(|name| {
            name.database.is_some() || !ctes.iter().any(|cte| cte.name == name.name)
        });
        let mut inner = Inner::default();
        Walk::new(&mut inner).statement(whole);
        let mut locks = Edits::default();
        for end in inner.ends {
            locks.insert(end, vec![verbatim(" LOCK IN SHARE MODE")]);
        }
        // Rows of a copy's source are changed where the source has them.
        if let Some((span, source)) = self.source_name() {
            locks.replace(span, vec![verbatim(source)]);
        }
        let alone = matches!(tables, [TableExpr::Table(_)]);
        Ok(Statement { spans, ctes, tables, names, alone, limit, order, locks })
    }

    /// The statement's own text, with names as the client wrote them: it is planned again.
    fn raw(&self, statement: &Statement<'a>, span: Span) -> Vec<Piece> {
        statement.locks.pieces(self.input.sql, self.tokens, span)
    }

    fn target(&self, name: &'a TableName<'a>) -> Result<Target<'a>, PlanError> {
        let Place::Table { keyspace, table: Some(table) } = self.locate(name)? else {
            return refused(format!("changing '{}', whose columns are not known", name.name));
        };
        if table.view.is_some() {
            return refused(format!(
                "changing the view '{}' over several shards; change its table",
                name.name
            ));
        }
        if !self.is_served_whole(keyspace, table) {
            self.sharded_table(keyspace, name.name, Some(table))?;
        }
        Ok(Target { name, keyspace, table })
    }

    /// Which of the tables a DELETE's list means.
    fn deleted_name(
        &self,
        statement: &Statement<'a>,
        target: &TableName<'a>,
    ) -> Result<&'a TableName<'a>, PlanError> {
        let means = |name: &&&TableName<'a>| match target.database {
            None => name.exposed() == target.name,
            Some(database) => {
                name.name == target.name && name.database.is_none_or(|own| own == database)
            }
        };
        let mut found = statement.names.iter().filter(means);
        match (found.next(), found.next()) {
            (Some(name), None) => Ok(name),
            _ => Err(PlanError::UnknownTarget(target.name.to_owned())),
        }
    }

    /// Everything about a target but what is done to its rows.
    fn keyed(
        &self,
        statement: &Statement<'a>,
        target: &Target<'a>,
        columns: &mut Columns,
    ) -> Result<Change, PlanError> {
        let Target { name, keyspace, table } = *target;
        let exposed = quoted(name.exposed());
        let (mut parts, whole_row) = key_of(table, name)?;
        let read = |part: &KeyColumn| vec![verbatim((part.read)(&exposed))];
        let lies = self.lies(target, &mut parts, columns)?;
        let key = parts.iter().map(|part| {
            let place = columns.add(read(part))?;
            let (test, written) = (part.test.clone(), part.written.clone());
            Ok(KeyPart { place, read: part.plain_read.clone(), test, written })
        });
        Ok(Change {
            keyspace,
            tablet_kind: self.input.session.tablet_kind,
            table: quoted(name.name),
            lies,
            key: key.collect::<Result<_, PlanError>>()?,
            whole_row,
            joined: !statement.alone,
            how: How::Delete { head: String::new(), order: Vec::new(), returning: Vec::new() },
            image: None,
        })
    }

    /// Where a target's rows lie. Where rows of several shards may have the same key, it gets more
    /// parts.
    fn lies(
        &self,
        target: &Target<'a>,
        parts: &mut Vec<KeyColumn>,
        columns: &mut Columns,
    ) -> Result<Lies, PlanError> {
        let Target { name, keyspace, table } = *target;
        if table.kind == TableKind::Reference
            && let Some(source) = &table.source
        {
            return refused(format!(
                "writing to reference table '{}', a copy of '{source}'; write to the source",
                table.name
            ));
        }
        if self.is_served_whole(keyspace, table) {
            return Ok(Lies::One);
        }
        if table.kind == TableKind::Reference {
            return Ok(Lies::Copies);
        }
        if let Some(id) = &table.pinned {
            return Ok(Lies::Pinned(id.clone()));
        }
        let primary = table.column_vindexes.first();
        let names = primary.map_or(&[][..], |p| p.columns.as_slice());
        let Some(vindex) = primary.and_then(|p| p.vindex.vindex.clone()) else {
            for column in names {
                parts.extend(keys::columns_of_key(table, column)?);
            }
            return Ok(Lies::Anywhere);
        };
        let exposed = quoted(name.exposed());
        let mut places = SmallVec::new();
        for column in names {
            let (text, _) = keys::vindex_value(table, column, &exposed)?;
            places.push(columns.add(vec![verbatim(text)])?);
        }
        let families = names.iter().map(|c| Family::of_column(table, c)).collect();
        Ok(Lies::Vindex(ByVindex { vindex, families, places }))
    }

    /// The order in which a shard changes its rows, which matters where they get each other's
    /// unique values.
    fn order_again(&self, statement: &Statement<'a>) -> Result<Vec<Piece>, PlanError> {
        let Some(span) = statement.spans.order.filter(|_| statement.alone) else {
            return Ok(Vec::new());
        };
        if statement
            .order
            .iter()
            .any(|o| super::subquery::has_subquery(&o.expr))
        {
            return refused("subqueries in ORDER BY of a change over several shards");
        }
        let mut pieces = vec![verbatim(" ")];
        pieces.extend(self.edits.pieces(self.input.sql, self.tokens, span));
        Ok(pieces)
    }

    fn by_key(
        &mut self,
        statement: &Statement<'a>,
        columns: Columns,
        changes: Vec<Change>,
        (class, ignore): (StatementClass, bool),
        why: &str,
    ) -> Result<Plan, PlanError> {
        let mut query = Vec::new();
        if !statement.ctes.is_empty() {
            let with = self.tokens.items.iter().find(|item| item.kw == Kw::With);
            let start = with.map_or(statement.spans.verb, |item| item.span.start);
            query.extend(self.raw(statement, Span { start, end: statement.spans.verb }));
        }
        let directives = super::directives::read(self.input.sql, self.tokens.directives);
        let allowed = if directives.allow_scatter { "/*vt+ ALLOW_SCATTER=1 */ " } else { "" };
        query.push(verbatim(format!("SELECT {allowed}")));
        for (n, column) in columns.list.into_iter().enumerate() {
            if n > 0 {
                query.push(verbatim(","));
            }
            query.extend(column);
        }
        query.push(verbatim(" FROM "));
        query.extend(self.raw(statement, statement.spans.tables));
        let ChangeSpans { filter, order, limit, .. } = statement.spans;
        for span in [filter, order, limit].into_iter().flatten() {
            query.push(verbatim(" "));
            query.extend(self.raw(statement, span));
        }
        let why = why.to_owned();
        let by_key = ByKey {
            query,
            limited: statement.limit,
            changes,
            ignore,
            joins: !statement.alone,
            why,
        };
        Ok(self.write(Write::ByKey(Box::new(by_key)), class))
    }

    pub(super) fn write(&mut self, write: Write, class: StatementClass) -> Plan {
        Plan {
            action: Action::Write(write),
            class,
            effects: self.effects,
            cacheable: self.cacheable,
            directives: super::directives::read(self.input.sql, self.tokens.directives),
            tables: std::mem::take(&mut self.tables),
            names: Vec::new(),
        }
    }
}

/// Text that goes to a shard as it is.
fn text_part(pieces: Vec<Piece>) -> SetPart {
    SetPart::Text(pieces)
}
