//! Foreign keys of keyspaces that manage theirs: the servers keep them inside of a shard, so that
//! rows which refer to each other must lie together.
use super::Planner;
use super::dml::base_tables;
use super::lookups;
use super::names::Place;
use crate::error::PlanError;
use crate::snapshot::{ForeignKey, Keyspace, ReferentialAction, Table, TableKind};
use crate::sql::ast::{Statement, TableName};

/// Do the rows of a table lie with those that they refer to? Both are placed by the same function
/// of the key's columns, or every shard has a copy of the latter.
fn lie_together(child: &Table, key: &ForeignKey, parent: &Table) -> bool {
    match (&child.kind, &parent.kind) {
        (_, TableKind::Reference) => return true,
        (TableKind::Reference, _) => return false,
        _ => {}
    }
    if let (Some(a), Some(b)) = (&child.pinned, &parent.pinned) {
        return a == b;
    }
    let (Some(own), Some(theirs)) = (child.column_vindexes.first(), parent.column_vindexes.first())
    else {
        return false;
    };
    let referred = |column: &String| {
        let at = key
            .columns
            .iter()
            .position(|c| c.eq_ignore_ascii_case(column))?;
        key.referenced_columns.get(at)
    };
    own.vindex.name == theirs.vindex.name
        && own.vindex.vindex.is_some()
        && own.columns.len() == theirs.columns.len()
        && own
            .columns
            .iter()
            .zip(&theirs.columns)
            .all(|(own, theirs)| referred(own).is_some_and(|c| c.eq_ignore_ascii_case(theirs)))
}

/// Do changes of the rows that are referred to change those that refer?
fn spreads(key: &ForeignKey) -> bool {
    let changes = |action: Option<ReferentialAction>| {
        action.is_some_and(|a| a != ReferentialAction::Restrict)
    };
    changes(key.on_delete) || changes(key.on_update)
}

impl<'a> Planner<'_, 'a> {
    /// Refuses a change of rows whose foreign keys no server can keep.
    pub(super) fn check_foreign_keys(&self, statement: &Statement<'a>) -> Result<(), PlanError> {
        let mut names: Vec<&TableName<'a>> = Vec::new();
        let inserts = match statement {
            Statement::Insert(insert) => {
                names.push(insert.table);
                !insert.replace && insert.on_duplicate.is_empty()
            }
            Statement::LoadData(Some(name)) => {
                names.push(name);
                true
            }
            Statement::Update(update) => {
                base_tables(update.tables, &mut names);
                false
            }
            Statement::Delete(delete) => {
                base_tables(delete.tables, &mut names);
                false
            }
            _ => return Ok(()),
        };
        for name in names {
            let Ok(Place::Table { keyspace, table: Some(table) }) = self.locate(name) else {
                continue;
            };
            let whole = self.is_whole(keyspace);
            match self.keyspace(keyspace) {
                Some(owner) if owner.manages_foreign_keys && !whole => {
                    keys_of(owner, table, inserts)?
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Those of a table, and those that refer to it. `inserts`: its rows only come.
fn keys_of(owner: &Keyspace, table: &Table, inserts: bool) -> Result<(), PlanError> {
    for key in &table.foreign_keys {
        let parent = owner
            .tables
            .get(&key.referenced_table)
            .filter(|_| key.referenced_schema == owner.database);
        if !parent.is_some_and(|parent| lie_together(table, key, parent)) {
            return Err(PlanError::CrossShardKey {
                table: table.name.clone(),
                key: key.name.clone(),
            });
        }
    }
    if inserts {
        return Ok(());
    }
    passed_on(owner, table)
}

/// What servers change because rows of the table change, wherever it ends.
fn passed_on(owner: &Keyspace, table: &Table) -> Result<(), PlanError> {
    let mut reached: Vec<&Table> = vec![table];
    let mut next = 0;
    while let Some(&parent) = reached.get(next) {
        next += 1;
        let referring = owner.tables.values().flat_map(|child| {
            let refers = |key: &&ForeignKey| {
                key.referenced_table == parent.name && key.referenced_schema == owner.database
            };
            child
                .foreign_keys
                .iter()
                .filter(refers)
                .map(move |key| (&**child, key))
        });
        for (child, key) in referring {
            if !lie_together(child, key, parent) {
                return Err(PlanError::CrossShardKey {
                    table: child.name.clone(),
                    key: key.name.clone(),
                });
            }
            if !spreads(key) {
                continue;
            }
            let why = if lookups::owned(child).next().is_some() {
                "whose lookup vindexes the servers do not keep"
            } else if empties_a_place(child, key) {
                "where it empties the columns that say where a row lies"
            } else {
                if !reached.iter().any(|known| std::ptr::eq(*known, child)) {
                    reached.push(child);
                }
                continue;
            };
            return Err(PlanError::unsupported(format!(
                "changing rows of '{}', which foreign key '{}' passes on to '{}', {why}; change \
                    the rows of '{}' first, under ON DELETE and ON UPDATE RESTRICT",
                table.name, key.name, child.name, child.name
            )));
        }
    }
    Ok(())
}

/// Does a key set columns of the primary vindex to NULL or their defaults? The row would lie on a
/// wrong shard.
fn empties_a_place(child: &Table, key: &ForeignKey) -> bool {
    let empties = |action: Option<ReferentialAction>| {
        matches!(action, Some(ReferentialAction::SetNull | ReferentialAction::SetDefault))
    };
    let places = |column: &String| {
        child
            .column_vindexes
            .first()
            .is_some_and(|v| v.columns.iter().any(|c| c.eq_ignore_ascii_case(column)))
    };
    (empties(key.on_delete) || empties(key.on_update)) && key.columns.iter().any(places)
}
