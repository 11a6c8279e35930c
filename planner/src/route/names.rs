//! Which keyspace a name means.
use super::Planner;
use super::dml::base_tables;
use crate::column::Family;
use crate::error::PlanError;
use crate::plan::{Effects, Piece};
use crate::snapshot::{Keyspace, KeyspaceIdx, Routed, Snapshot, Table, TableKind, TabletKind};
use crate::sql::ast::{ColumnName, Span, Statement, TableExpr, TableName};
use crate::sql::walk::{Visitor, Walk};
use std::sync::Arc;

/// Where a table is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'s> {
    /// In a schema that every server has.
    System,
    Table {
        keyspace: KeyspaceIdx,
        table: Option<&'s Arc<Table>>,
    },
}

/// Is it a schema that every server has for itself?
pub fn is_system(database: &str) -> bool {
    ["information_schema", "mysql", "performance_schema", "sys"]
        .iter()
        .any(|s| database.eq_ignore_ascii_case(s))
}

/// Collects every name of a statement.
struct Collect<'a> {
    tables: Vec<&'a TableName<'a>>,
    /// Database, table and where the database stands.
    qualifiers: Vec<(&'a str, Option<&'a str>, Span)>,
}

impl<'a> Visitor<'a> for Collect<'a> {
    fn table(&mut self, table: &'a TableName<'a>) {
        self.tables.push(table);
        let qualifier = table.database.zip(table.database_span);
        self.qualifiers
            .extend(qualifier.map(|(database, span)| (database, Some(table.name), span)));
    }

    fn column(&mut self, column: &'a ColumnName<'a>) {
        let qualifier = column.database.zip(column.database_span);
        self.qualifiers
            .extend(qualifier.map(|(database, span)| (database, column.table, span)));
    }
}

impl<'a> Planner<'_, 'a> {
    pub(super) fn keyspace(&self, index: KeyspaceIdx) -> Option<&'a Keyspace> {
        self.input.snapshot.keyspaces.get(usize::from(index))
    }

    pub(super) fn keyspace_named(&self, name: &str) -> Result<KeyspaceIdx, PlanError> {
        let all = self.input.snapshot.keyspaces.iter().zip(0..);
        // Of a range in the statement's names, which the session has as its database then.
        let range = self.input.session.database == Some(name);
        let keyspace = super::qualified::ranged(name).filter(|_| range);
        all.filter(|(k, _)| k.name == name || keyspace == Some(k.name.as_str()))
            .map(|(_, n)| n)
            .next()
            .ok_or_else(|| PlanError::UnknownDatabase(name.to_owned()))
    }

    /// The keyspace of a name, and the table if it is known there.
    pub(super) fn locate(&self, name: &TableName<'_>) -> Result<Place<'a>, PlanError> {
        let session = self.input.session;
        if let Some((span, keyspace, table)) = self.source
            && span == name.span
        {
            return Ok(Place::Table { keyspace, table: Some(table) });
        }
        if let Some(keyspace) = self.routed_elsewhere(name.database, name.name)? {
            let table = self
                .keyspace(keyspace)
                .and_then(|k| k.tables.get(name.name));
            return Ok(Place::Table { keyspace, table });
        }
        let keyspace = match name.database {
            Some(database) if is_system(database) => return Ok(Place::System),
            Some(database) => self.keyspace_named(database)?,
            None if name.name.eq_ignore_ascii_case("dual") => return Ok(Place::System),
            None => match (session.keyspace, session.database) {
                (Some(keyspace), _) => keyspace,
                (None, Some(database)) if is_system(database) => return Ok(Place::System),
                // Dropped since it was selected: no other database's table is meant.
                (None, Some(database)) if self.input.snapshot.drop_in.is_none() => {
                    return Err(PlanError::UnknownDatabase(database.to_owned()));
                }
                (None, _) => self.global(name)?,
            },
        };
        let owner = self.keyspace(keyspace);
        let table = owner.and_then(|k| k.tables.get(name.name));
        // What a sharded keyspace does not have may be the only table of its name elsewhere.
        if table.is_none()
            && self.about_rows
            && name.database.is_none()
            && owner.is_some_and(|k| k.sharded)
            && session.shard.is_none()
            && let Ok(Some(other)) = self.global_place(name)
        {
            let table = self.keyspace(other).and_then(|k| k.tables.get(name.name));
            return Ok(Place::Table { keyspace: other, table });
        }
        Ok(Place::Table { keyspace, table })
    }

    /// The session may have selected a system schema; connections always have their keyspace's
    /// database selected.
    pub(super) fn qualify(&mut self, name: &TableName<'_>) {
        if let Some(quoted) = self.system_database()
            && name.database.is_none()
            && !name.name.eq_ignore_ascii_case("dual")
        {
            let text = vec![Piece::Verbatim(format!("{quoted}.").into_bytes())];
            self.edits.insert(name.span.start, text);
        }
    }

    /// The system schema that the session has selected, in quotes.
    pub(super) fn system_database(&self) -> Option<String> {
        let session = self.input.session;
        let name = session.database.filter(|d| is_system(d))?;
        session
            .keyspace
            .is_none()
            .then(|| format!("`{}`", name.replace('`', "``")))
    }

    /// The keyspace that a routing rule gives for a table. A rule for the tablet type goes before
    /// one for all.
    fn routed_elsewhere(
        &self,
        database: Option<&str>,
        name: &str,
    ) -> Result<Option<KeyspaceIdx>, PlanError> {
        let (routes, session) = (&self.input.snapshot.routes, self.input.session);
        if routes.is_empty() || !self.about_rows || session.shard.is_some() {
            return Ok(None);
        }
        let selected = session
            .keyspace
            .and_then(|k| self.keyspace(k))
            .map(|k| k.name.as_str());
        let qualified = match database.or(selected) {
            Some(keyspace) => format!("{keyspace}.{name}"),
            None => name.to_owned(),
        };
        let kind = match session.tablet_kind {
            TabletKind::Primary => "primary",
            TabletKind::Replica => "replica",
            TabletKind::Rdonly => "rdonly",
        };
        let of_kind = routes.get(&format!("{qualified}@{kind}"));
        match of_kind.or_else(|| routes.get(&qualified)) {
            None => Ok(None),
            Some(Routed::To { keyspace, table }) if table == name => Ok(Some(*keyspace)),
            Some(Routed::To { .. }) => {
                Err(PlanError::unsupported("routing rules that give a table another name"))
            }
            Some(Routed::Disabled) => Err(PlanError::Rule(format!(
                "table {qualified} has been disabled by a routing rule"
            ))),
            Some(Routed::Wrong(why)) => {
                Err(PlanError::Rule(format!("routing rule for {qualified}: {why}")))
            }
        }
    }

    /// Refuses a table whose rows lie by columns of which nobody could tell the types yet: `'05'`
    /// is 5 to a `bigint` only.
    fn columns_known(
        &self,
        index: KeyspaceIdx,
        name: &str,
        table: Option<&'a Arc<Table>>,
    ) -> Result<(), PlanError> {
        let Some(keyspace) = self.keyspace(index) else { return Ok(()) };
        if !keyspace.columns_pending || !keyspace.sharded || self.input.session.shard.is_some() {
            return Ok(());
        }
        let known = |table: &Arc<Table>| {
            let mut columns = table.column_vindexes.iter().flat_map(|v| &v.columns);
            table.pinned.is_some()
                || table.kind == TableKind::Reference
                || columns.all(|c| Family::of_column(table, c) != Family::Unknown)
        };
        if !self.about_rows || table.is_some_and(known) {
            return Ok(());
        }
        Err(PlanError::ColumnsPending { keyspace: keyspace.name.clone(), table: name.to_owned() })
    }

    fn global(&self, name: &TableName<'_>) -> Result<KeyspaceIdx, PlanError> {
        match self.global_place(name)? {
            Some(place) => Ok(place),
            None if self.input.snapshot.keyspaces.len() == 1 => Ok(0),
            None => Err(PlanError::NoDatabase),
        }
    }

    /// Where a name means a table that no keyspace is given for: where the only one is, or the
    /// source of reference tables. Of those, a statement reads the copies that are beside the other
    /// tables that it names.
    fn global_place(&self, name: &TableName<'_>) -> Result<Option<KeyspaceIdx>, PlanError> {
        let Snapshot { global_tables, global_copies, .. } = self.input.snapshot;
        let source = match global_tables.get(name.name).map(Vec::as_slice) {
            Some([only]) => *only,
            Some([_, ..]) => return Err(PlanError::AmbiguousTable(name.name.to_owned())),
            _ => return Ok(None),
        };
        let Some(copies) = global_copies.get(name.name) else { return Ok(Some(source)) };
        if !self.about_rows {
            // DDL says which of them it means.
            return Err(PlanError::AmbiguousTable(name.name.to_owned()));
        }
        let read = !self.changed.contains(&name.span);
        let beside = self.beside.filter(|place| read && copies.contains(place));
        Ok(Some(beside.unwrap_or(source)))
    }

    /// Finds where the tables are that a statement names besides those that have copies. What it
    /// locks or changes is the source.
    fn place_copies(&mut self, statement: &Statement<'a>) {
        let copies = &self.input.snapshot.global_copies;
        let locks = match statement {
            Statement::Query(query) => query.locking,
            // Its rows are read by a query that locks.
            Statement::Insert(_) => true,
            _ => false,
        };
        if copies.is_empty() || locks {
            return;
        }
        let mut changed = Vec::new();
        match statement {
            Statement::Update(update) => base_tables(update.tables, &mut changed),
            Statement::Delete(delete) => base_tables(delete.tables, &mut changed),
            _ => {}
        }
        self.changed = changed.iter().map(|name| name.span).collect();
        let mut collect = Collect { tables: Vec::new(), qualifiers: Vec::new() };
        Walk::new(&mut collect).statement(statement);
        let mut places = collect.tables.iter().filter_map(|name| {
            let shared = name.database.is_none() && copies.contains_key(name.name);
            match self.locate(name) {
                Ok(Place::Table { keyspace, .. }) if !shared => Some(keyspace),
                _ => None,
            }
        });
        self.beside = places.next().filter(|first| places.all(|p| p == *first));
    }

    /// A change of a reference table with a `source` is one of the source, which somebody copies to
    /// the shards.
    pub(super) fn change_the_source(&mut self, statement: &Statement<'a>) {
        self.place_copies(statement);
        let alone = |tables: &'a [TableExpr<'a>]| match tables {
            [TableExpr::Table(name)] => Some(*name),
            _ => None,
        };
        let name = match statement {
            Statement::Insert(insert) => Some(insert.table),
            Statement::Update(update) => alone(update.tables),
            Statement::Delete(delete) => alone(delete.tables),
            Statement::LoadData(table) => *table,
            _ => None,
        };
        let Some(name) = name else { return };
        let Ok(Place::Table { table: Some(table), .. }) = self.locate(name) else { return };
        let Some((keyspace, source)) = table.source.as_deref().and_then(|s| s.split_once('.'))
        else {
            return;
        };
        let Ok(index) = self.keyspace_named(keyspace) else { return };
        let Some(owner) = self.keyspace(index) else { return };
        // Columns may be named by the table's name.
        let Some(found) = owner.tables.get(source).filter(|_| source == name.name) else { return };
        let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
        let full = format!("{}.{}", quoted(&owner.database), quoted(source));
        self.edits
            .replace(name.span, vec![Piece::Verbatim(full.into_bytes())]);
        self.source = Some((name.span, index, found));
    }

    /// Where the copy's name stands, and the source's as a client would write it.
    pub(super) fn source_name(&self) -> Option<(Span, String)> {
        let (span, keyspace, table) = self.source?;
        let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
        let owner = self.keyspace(keyspace)?;
        Some((span, format!("{}.{}", quoted(&owner.name), quoted(&table.name))))
    }

    /// The one keyspace of a statement's tables, `None` if it has none. Qualifiers are renamed to
    /// the database's name.
    pub(super) fn names(
        &mut self,
        statement: &Statement<'a>,
    ) -> Result<Option<KeyspaceIdx>, PlanError> {
        let mut collect = Collect { tables: Vec::new(), qualifiers: Vec::new() };
        Walk::new(&mut collect).statement(statement);
        let mut found: Option<KeyspaceIdx> = None;
        for name in &collect.tables {
            if let Some(hint) = name.vindexes {
                self.edits.replace(hint.span, Vec::new());
            }
            let Place::Table { keyspace, table } = self.locate(name)? else {
                self.qualify(name);
                continue;
            };
            self.columns_known(keyspace, name.name, table)?;
            let reads = matches!(
                statement,
                Statement::Query(_) | Statement::Show(_) | Statement::Explain(_)
            );
            if !reads && table.is_some_and(|t| t.kind == TableKind::Sequence) {
                self.effects |= Effects::SEQUENCE;
            }
            match found {
                Some(other)
                    if other != keyspace
                        && matches!(
                            statement,
                            Statement::Query(_)
                                | Statement::Update(_)
                                | Statement::Delete(_)
                                | Statement::Insert(_)
                        ) =>
                {
                    self.several = true;
                }
                Some(other) if other != keyspace => {
                    return Err(PlanError::unsupported(
                        "tables of different keyspaces in one statement",
                    ));
                }
                _ => found = Some(keyspace),
            }
            let owner = self.keyspace(keyspace).map_or("", |k| k.name.as_str());
            let full = format!("{owner}.{}", name.name);
            if !self.tables.contains(&full) {
                self.tables.push(full);
            }
        }
        for (name, table, span) in collect.qualifiers {
            let elsewhere = match table {
                Some(table) => self.routed_elsewhere(Some(name), table)?,
                None => None,
            };
            let Ok(index) = elsewhere.map_or_else(|| self.keyspace_named(name), Ok) else {
                continue;
            };
            if let Some(keyspace) = self.keyspace(index)
                && keyspace.database != name
            {
                let quoted = format!("`{}`.", keyspace.database.replace('`', "``"));
                self.edits
                    .replace(span, vec![Piece::Verbatim(quoted.into_bytes())]);
            }
        }
        if found.is_none()
            && let Statement::Call(Some(database)) = statement
            && !is_system(database)
        {
            found = Some(self.keyspace_named(database)?);
        }
        self.named = found;
        Ok(found)
    }
}
