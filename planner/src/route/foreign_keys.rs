//! Foreign keys of keyspaces that manage theirs: the servers keep them inside of a shard, so that
//! rows which refer to each other must lie together.
use super::Planner;
use super::dml::changed_tables;
use super::lookups;
use super::names::Place;
use crate::error::PlanError;
use crate::snapshot::{ForeignKey, Keyspace, ReferentialAction, Table, TableKind};
use crate::sql::ast::{Assign, Statement};

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

/// What happens to rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    Deleted,
    /// These columns, in lower case, get other values.
    Updated(Vec<String>),
}

impl Event {
    fn updated<'c>(columns: impl Iterator<Item = &'c str>) -> Self {
        Self::Updated(columns.map(str::to_ascii_lowercase).collect())
    }

    /// What it does to the rows that refer by a key, if anything.
    fn passed_by(&self, key: &ForeignKey) -> Option<(ReferentialAction, Self)> {
        let action = match self {
            Self::Deleted => key.on_delete,
            Self::Updated(columns) => {
                let mut referenced = key.referenced_columns.iter();
                key.on_update
                    .filter(|_| referenced.any(|c| columns.contains(&c.to_ascii_lowercase())))
            }
        }?;
        let event = match (action, self) {
            (ReferentialAction::Restrict, _) => return None,
            (ReferentialAction::Cascade, Self::Deleted) => Self::Deleted,
            _ => Self::updated(key.columns.iter().map(String::as_str)),
        };
        Some((action, event))
    }

    fn touches(&self, columns: &[String]) -> bool {
        match self {
            Self::Deleted => true,
            Self::Updated(changed) => columns
                .iter()
                .any(|c| changed.contains(&c.to_ascii_lowercase())),
        }
    }
}

fn assigned(set: &[Assign<'_>]) -> Event {
    Event::updated(set.iter().map(|assign| assign.column.name))
}

impl<'a> Planner<'_, 'a> {
    /// Refuses a change of rows whose foreign keys no server can keep.
    pub(super) fn check_foreign_keys(&self, statement: &Statement<'a>) -> Result<(), PlanError> {
        if self.input.session.foreign_keys_off {
            return Ok(());
        }
        let mut events = Vec::new();
        match statement {
            Statement::Insert(insert) => {
                if insert.replace {
                    events.push(Event::Deleted);
                }
                if !insert.on_duplicate.is_empty() {
                    events.push(assigned(insert.on_duplicate));
                }
            }
            Statement::Update(update) => events.push(assigned(update.set)),
            Statement::Delete(_) => events.push(Event::Deleted),
            _ => {}
        }
        for name in changed_tables(statement) {
            let Ok(Place::Table { keyspace, table: Some(table) }) = self.locate(name) else {
                continue;
            };
            let whole = self.is_whole(keyspace);
            match self.keyspace(keyspace) {
                Some(owner) if owner.manages_foreign_keys && !whole => {
                    keys_of(owner, table, &events)?
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Those of a table, and those that refer to it. Without events, its rows only come.
fn keys_of(owner: &Keyspace, table: &Table, events: &[Event]) -> Result<(), PlanError> {
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
    let mut events: Vec<Event> = events.to_vec();
    let places = table.column_vindexes.first().map(|v| v.columns.as_slice());
    let moves = |event: &Event| *event != Event::Deleted && event.touches(places.unwrap_or(&[]));
    if events.iter().any(moves) {
        // A row that goes to another shard is taken away from its own.
        events.push(Event::Deleted);
    }
    passed_on(owner, table, events)
}

/// What servers change because rows of the table change, wherever it ends.
fn passed_on(owner: &Keyspace, table: &Table, events: Vec<Event>) -> Result<(), PlanError> {
    let mut reached: Vec<(&Table, Event)> = events.into_iter().map(|e| (table, e)).collect();
    let mut next = 0;
    while let Some((parent, event)) = reached.get(next).cloned() {
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
            let Some((action, passed)) = event.passed_by(key) else { continue };
            let why = if lookups::owned(child).any(|v| passed.touches(&v.columns)) {
                "whose lookup vindexes the servers do not keep"
            } else if action != ReferentialAction::Cascade && holds_a_place(child, key) {
                "where it empties the columns that say where a row lies"
            } else {
                let known = |(table, event): &(&Table, Event)| {
                    std::ptr::eq(*table, child) && *event == passed
                };
                if !reached.iter().any(known) {
                    reached.push((child, passed));
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

/// Has a key columns of the primary vindex? With NULL or their defaults there, the row would lie
/// on a wrong shard.
fn holds_a_place(child: &Table, key: &ForeignKey) -> bool {
    key.columns.iter().any(|column| {
        child
            .column_vindexes
            .first()
            .is_some_and(|v| v.columns.iter().any(|c| c.eq_ignore_ascii_case(column)))
    })
}
