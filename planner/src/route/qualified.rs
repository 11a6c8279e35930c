//! Ranges of shards in front of a table's name: ``DELETE FROM `ks[-80]`.t``. The statement is
//! planned as in a session that has selected the range.
use super::{PlanInput, SessionContext};
use crate::error::PlanError;
use crate::sql::ast::{Statement, TableName};
use crate::sql::walk::{Visitor, Walk};
use crate::target::parse_target;

#[derive(Default)]
struct Qualifiers<'a> {
    found: Vec<Option<&'a str>>,
}

impl<'a> Visitor<'a> for Qualifiers<'a> {
    fn table(&mut self, table: &'a TableName<'a>) {
        self.found.push(table.database);
    }
}

/// The keyspace in `ks[range]`.
pub(super) fn ranged(name: &str) -> Option<&str> {
    Some(name.strip_suffix(']')?.split_once('[')?.0)
}

/// The session as the ranges in the statement's names have it; `None`: it names none.
///
/// # Errors
/// Statements that name several ranges, or tables without one, and ranges that
/// [`parse_target`] refuses.
pub(super) fn session<'a>(
    statement: &Statement<'a>,
    input: &PlanInput<'a>,
) -> Result<Option<SessionContext<'a>>, PlanError> {
    let (snapshot, session) = (input.snapshot, input.session);
    let about_rows =
        matches!(statement, Statement::Query(_) | Statement::Update(_) | Statement::Delete(_));
    // Most statements need no walk to tell.
    let may_have = memchr::memchr(b'[', input.sql).is_some();
    if !may_have || !about_rows || snapshot.drop_in.is_some() {
        return Ok(None);
    }
    let mut names = Qualifiers::default();
    Walk::new(&mut names).statement(statement);
    let is_ranged = |name: &Option<&str>| name.is_some_and(|name| ranged(name).is_some());
    let Some(Some(first)) = names.found.iter().copied().find(is_ranged) else {
        return Ok(None);
    };
    if snapshot.keyspaces.iter().any(|k| k.name == first) {
        return Ok(None);
    }
    let target = parse_target(first, snapshot)?;
    if names.found.iter().any(|name| *name != Some(first)) {
        return Err(PlanError::unsupported(format!(
            "'{first}' in front of a table beside tables of other ranges or keyspaces; write it in \
                front of all of them"
        )));
    }
    let shards = target
        .range
        .or_else(|| target.shard.map(|shard| (shard, shard)));
    let several = target
        .keyspace
        .and_then(|k| snapshot.keyspaces.get(usize::from(k)))
        .is_some_and(|k| k.shards.len() > 1);
    Ok(Some(SessionContext {
        keyspace: target.keyspace,
        database: Some(first),
        shard: None,
        shards: shards.filter(|_| several),
        ..*session
    }))
}
