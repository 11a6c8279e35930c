//! Writes that servers would do each in its own way: every copy of a reference table needs the same
//! values, and every server's information_schema tells of its own databases only.
use super::dml::{base_tables, may_have};
use super::names::Place;
use super::{Planner, build};
use crate::error::PlanError;
use crate::plan::{Piece, Plan, SessionValue, StatementClass};
use crate::snapshot::{Table, TableKind, Trigger};
use crate::sql::ast::{InsertSource, Statement, TableName};
use crate::sql::keyword::Kw;
use crate::sql::lex::Tok;
use crate::sql::walk::{Visitor, Walk};
use std::sync::Arc;

/// Functions of which each server has its own values.
#[rustfmt::skip]
const RANDOM: &[&str] = &[
    "rand", "uuid", "uuid_short", "uuid_v4", "uuid_v7", "sys_guid", "random_bytes", "sysdate",
        "encrypt",
];

/// Functions and words that tell the time of the statement.
#[rustfmt::skip]
const CLOCKS: &[&str] = &[
    "now", "current_timestamp", "localtime", "localtimestamp", "current_time", "curtime",
        "utc_time", "utc_timestamp",
];

const DATES: &[&str] = &["curdate", "current_date", "utc_date", "unix_timestamp"];

/// What a trigger does beside setting its own row's values.
#[rustfmt::skip]
const CHANGES: &[&str] = &["insert", "update", "delete", "replace", "call", "select"];

/// Would servers that run this text each get values of their own, or change rows of their own?
fn is_apart(body: &str) -> bool {
    body.contains('@') || has_word(body, RANDOM) || has_word(body, CHANGES)
}

fn has_word(text: &str, words: &[&str]) -> bool {
    let mut found = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    found.any(|word| words.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

fn is_verb(kw: Kw) -> bool {
    matches!(kw, Kw::Insert | Kw::Replace | Kw::Update | Kw::Delete)
}

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
    /// Every copy of a reference table shall get the same values: all servers take the statement
    /// for one of the same time, and what would differ all the same is refused.
    pub(super) fn write_alike(&mut self, statement: &Statement<'a>) -> Result<(), PlanError> {
        let Some(table) = self.changed_copy(statement) else { return Ok(()) };
        let name = &table.name;
        if let Some(call) = self.call_apart() {
            return Err(PlanError::unsupported(format!(
                "{}() in a write to reference table '{name}', whose copies would get different \
                    values; SELECT the value first, then write it as a literal",
                call.to_ascii_uppercase()
            )));
        }
        if let Some(column) = self.random_default(table, statement) {
            return Err(PlanError::unsupported(format!(
                "an INSERT into reference table '{name}' without a value for '{column}', whose \
                    random default would differ from copy to copy; SELECT a value first, then \
                    write it as a literal",
            )));
        }
        let event = match statement {
            Statement::Update(_) => "UPDATE",
            Statement::Delete(_) => "DELETE",
            _ => "INSERT",
        };
        let fires = |t: &&Trigger| {
            let replaces = matches!(statement,
                    Statement::Insert(i) if i.replace || !i.on_duplicate.is_empty());
            t.event.eq_ignore_ascii_case(event) || replaces
        };
        if let Some(trigger) = table
            .triggers
            .iter()
            .filter(fires)
            .find(|t| is_apart(&t.body))
        {
            return Err(PlanError::unsupported(format!(
                "a write to reference table '{name}', whose trigger '{}' every copy's server would \
                    run for itself, with values or changes of its own; drop the trigger, or write \
                    what it does",
                trigger.name
            )));
        }
        let columns = table.columns.iter();
        let clocks = columns
            .clone()
            .any(|c| c.on_update || c.computed_default.is_some());
        let (Some(first), Some(verb)) =
            (self.tokens.items.first(), self.tokens.items.iter().find(|i| is_verb(i.kw)))
        else {
            return Ok(());
        };
        let file = matches!(statement, Statement::LoadData(_));
        if !file && (clocks || !table.triggers.is_empty() || self.tells_time()) {
            self.edits
                .insert(first.span.start, vec![Piece::Session(SessionValue::Clock)]);
            self.edits
                .insert(verb.span.end, vec![Piece::Session(SessionValue::ClockHint)]);
        }
        Ok(())
    }

    /// Does a word of it mean the time?
    fn tells_time(&self) -> bool {
        let words = self.tokens.items.iter().filter(|i| i.tok == Tok::Word);
        let text = words.filter_map(|i| {
            self.input
                .sql
                .get(i.span.start as usize..i.span.end as usize)
        });
        let mut text = text.map(<[u8]>::to_ascii_lowercase);
        text.any(|word| {
            CLOCKS
                .iter()
                .chain(DATES)
                .any(|known| known.as_bytes() == word)
        })
    }

    /// A column that an INSERT leaves to a default of which each server has its own value.
    fn random_default(&self, table: &'a Table, statement: &Statement<'a>) -> Option<&'a str> {
        let Statement::Insert(insert) = statement else { return None };
        let given = super::insert::inserted_columns(table, insert).unwrap_or_default();
        let says_default = self.tokens.items.iter().any(|i| i.kw == Kw::Default);
        let left_out =
            |name: &str| says_default || !given.iter().any(|g| g.eq_ignore_ascii_case(name));
        let mut columns = table.columns.iter();
        let found = columns.find(|c| {
            c.computed_default
                .as_deref()
                .is_some_and(|text| has_word(text, RANDOM))
                && left_out(&c.name)
        });
        found.map(|c| c.name.as_str())
    }

    /// The first call whose value two servers do not share.
    fn call_apart(&self) -> Option<&'static str> {
        let items = self.tokens.items;
        let tok = |n: usize| items.get(n).map_or(Tok::End, |i| i.tok);
        items.iter().enumerate().find_map(|(n, item)| {
            let before = n.checked_sub(1).map_or(Tok::End, tok);
            if !matches!(item.tok, Tok::Word | Tok::Quoted)
                || before == Tok::Dot
                || tok(n + 1) != Tok::Open
            {
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
            of(RANDOM)
        })
    }

    /// The reference table that a statement changes, where every shard does so for itself.
    fn changed_copy(&self, statement: &Statement<'a>) -> Option<&'a Arc<Table>> {
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
                let read = matches!(insert.source, InsertSource::Query(_))
                    && insert.on_duplicate.is_empty();
                return copy(insert.table).filter(|_| !read);
            }
            Statement::LoadData(Some(name)) => return copy(name),
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
            .map(|(_, table)| table)
    }

    /// A write that reads information_schema, where one server does not know all that is in it. An
    /// INSERT of a query's rows reads these as a client would; others are refused.
    pub(super) fn reads_system(
        &mut self,
        statement: &Statement<'a>,
        class: StatementClass,
    ) -> Result<Option<Plan>, PlanError> {
        let all = &self.input.snapshot.keyspaces;
        if !build::mentions_system(self)
            || all.len() == 1 && all.iter().all(|k| k.name == k.database)
        {
            return Ok(None);
        }
        let reads = match statement {
            Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => {
                let mut system = System { planner: self, found: false };
                Walk::new(&mut system).statement(statement);
                system.found
            }
            Statement::Ddl(ddl) => {
                ddl.create && self.tokens.items.iter().any(|i| i.kw == Kw::Select)
            }
            _ => false,
        };
        if !reads {
            return Ok(None);
        }
        let refused = PlanError::unsupported(
            "information_schema in a write, as one server knows its own databases only; SELECT the \
                rows first, then write them",
        );
        match statement {
            Statement::Insert(insert) if matches!(insert.source, InsertSource::Query(_)) => {
                self.insert_in_steps(insert, refused, class).map(Some)
            }
            _ => Err(refused),
        }
    }
}
