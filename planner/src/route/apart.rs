//! Writes that servers would do each in its own way: every copy of a reference table needs the same values, and every server's
//! information_schema tells of its own databases only.
use super::dml::{base_tables, may_have};
use super::names::Place;
use super::{Planner, build};
use crate::error::PlanError;
use crate::plan::{Plan, StatementClass};
use crate::snapshot::{Table, TableKind};
use crate::sql::ast::{InsertSource, Statement, TableName};
use crate::sql::keyword::Kw;
use crate::sql::lex::Tok;
use crate::sql::walk::{Visitor, Walk};

/// Functions of which each server has its own values.
#[rustfmt::skip]
const RANDOM: &[&str] = &[
    "rand", "uuid", "uuid_short", "uuid_v4", "uuid_v7", "sys_guid", "random_bytes", "sysdate", "encrypt",
];

/// Functions that tell the time, with fractions of a second if they are asked for them.
#[rustfmt::skip]
const CLOCKS: &[&str] = &[
    "now", "current_timestamp", "localtime", "localtimestamp", "current_time", "curtime", "utc_time", "utc_timestamp",
];

/// Looks for a table of information_schema.
struct System<'v, 'p, 'a> {
    planner: &'v Planner<'p, 'a>,
    found: bool,
}

impl<'a> Visitor<'a> for System<'_, '_, 'a> {
    fn table(&mut self, table: &'a TableName<'a>) {
        self.found |= self.planner.is_information_schema(table);
    }
}

impl<'a> Planner<'_, 'a> {
    /// Refuses what would differ from copy to copy of a reference table.
    pub(super) fn refuse_apart(&self, statement: &Statement<'a>) -> Result<(), PlanError> {
        let Some(call) = self.call_apart() else { return Ok(()) };
        match self.changed_copy(statement) {
            Some(table) => Err(PlanError::unsupported(format!(
                "{}() in a write to reference table '{table}', whose copies would get different values; SELECT the value first, then write it as a literal",
                call.to_ascii_uppercase()
            ))),
            None => Ok(()),
        }
    }

    /// The first call whose value two servers do not share.
    fn call_apart(&self) -> Option<&'static str> {
        let items = self.tokens.items;
        let tok = |n: usize| items.get(n).map_or(Tok::End, |i| i.tok);
        items.iter().enumerate().find_map(|(n, item)| {
            let before = n.checked_sub(1).map_or(Tok::End, tok);
            if !matches!(item.tok, Tok::Word | Tok::Quoted) || before == Tok::Dot || tok(n + 1) != Tok::Open {
                return None;
            }
            let span = item.span.start as usize..item.span.end as usize;
            let name = self.input.sql.get(span)?;
            let name = name.strip_prefix(b"`").unwrap_or(name);
            let name = name.strip_suffix(b"`").unwrap_or(name);
            let of = |list: &[&'static str]| {
                let mut list = list.iter().copied();
                list.find(|known| name.eq_ignore_ascii_case(known.as_bytes()))
            };
            // Literals are not told apart here: the plan serves NOW(0) and NOW(6).
            of(RANDOM).or_else(|| of(CLOCKS).filter(|_| tok(n + 2) != Tok::Close))
        })
    }

    /// The reference table that a statement changes, where every shard does so for itself.
    fn changed_copy(&self, statement: &Statement<'a>) -> Option<&'a str> {
        let copy = |name: &TableName<'_>| match self.locate(name) {
            Ok(Place::Table { keyspace, table: Some(table) }) => {
                let copies = table.kind == TableKind::Reference && !self.is_whole(keyspace);
                copies.then_some(table)
            }
            _ => None,
        };
        let mut names = Vec::new();
        let changed: &dyn Fn(&TableName<'_>, &Table) -> bool = match statement {
            Statement::Insert(insert) => {
                // The rows of a query are read once.
                let read = matches!(insert.source, InsertSource::Query(_)) && insert.on_duplicate.is_empty();
                return copy(insert.table)
                    .filter(|_| !read)
                    .map(|t| t.name.as_str());
            }
            Statement::LoadData(Some(name)) => return copy(name).map(|t| t.name.as_str()),
            Statement::Update(update) => {
                base_tables(update.tables, &mut names);
                &|name, table| {
                    update.set.iter().any(|assign| match assign.column.table {
                        Some(qualifier) => qualifier == name.exposed() || qualifier == name.name,
                        None => may_have(table, assign.column.name),
                    })
                }
            }
            Statement::Delete(delete) => {
                base_tables(delete.tables, &mut names);
                &|name, _| {
                    let mut targets = delete.targets.iter();
                    delete.targets.is_empty()
                        || targets.any(|t| t.name == name.exposed() || t.name == name.name)
                }
            }
            _ => return None,
        };
        let mut copies = names
            .into_iter()
            .filter_map(|name| Some((name, copy(name)?)));
        copies
            .find(|(name, table)| changed(name, table))
            .map(|(_, table)| table.name.as_str())
    }

    /// A write that reads information_schema, where one server does not know all that is in it. An INSERT of a query's rows reads these
    /// as a client would; others are refused.
    pub(super) fn reads_system(
        &mut self,
        statement: &Statement<'a>,
        class: StatementClass,
    ) -> Result<Option<Plan>, PlanError> {
        let all = &self.input.snapshot.keyspaces;
        if !build::mentions_system(self) || all.len() == 1 && all.iter().all(|k| k.name == k.database) {
            return Ok(None);
        }
        let reads = match statement {
            Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => {
                let mut system = System { planner: self, found: false };
                Walk::new(&mut system).statement(statement);
                system.found
            }
            Statement::Ddl(ddl) => ddl.create && self.tokens.items.iter().any(|i| i.kw == Kw::Select),
            _ => false,
        };
        if !reads {
            return Ok(None);
        }
        let refused = PlanError::unsupported(
            "information_schema in a write, as one server knows its own databases only; SELECT the rows first, then write them",
        );
        match statement {
            Statement::Insert(insert) if matches!(insert.source, InsertSource::Query(_)) => {
                self.insert_in_steps(insert, refused, class).map(Some)
            }
            _ => Err(refused),
        }
    }
}
