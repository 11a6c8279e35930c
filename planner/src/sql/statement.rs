//! The first words of a statement decide which grammar reads it.
use super::ast::*;
use super::dml;
use super::expr::expr;
use super::from::table_name;
use super::input::*;
use super::keyword::Kw;
use super::lex::{SqlMode, Tok};
use super::query::{query, starts_table, with};
use crate::error::PlanError;
use crate::fingerprint::Fingerprint;
use crate::plan::{AccessMode, KillTarget, VexplainKind};
use bumpalo::Bump;
use nom::Parser;
use nom::combinator::opt;

/// Parses a whole statement.
///
/// # Errors
/// [`PlanError::Syntax`] where the grammar of a statement that it knows is violated,
/// [`PlanError::TooDeep`].
pub fn parse<'a>(shared: &'a Shared<'a>, tokens: &Tokens<'a>) -> Result<Statement<'a>, PlanError> {
    let input = In::new(tokens.items, shared);
    shared
        .steps
        .set(STEPS_PER_TOKEN_MAX.saturating_mul(tokens.items.len() + 10));
    match parse_statement(input) {
        Ok((rest, found)) if rest.peek() == Tok::End => Ok(found),
        Ok((rest, _)) => Err(PlanError::syntax(shared.sql, rest.at() as usize)),
        Err(nom::Err::Error(trouble) | nom::Err::Failure(trouble)) if trouble.deep => {
            Err(PlanError::TooDeep(DEPTH_MAX))
        }
        Err(nom::Err::Error(trouble) | nom::Err::Failure(trouble)) => {
            Err(PlanError::syntax(shared.sql, trouble.at as usize))
        }
        Err(nom::Err::Incomplete(_)) => Err(PlanError::syntax(shared.sql, shared.end as usize)),
    }
}

/// Parses a text of its own, whose literals no fingerprint has lifted: a view's query.
///
/// # Errors
/// As [`parse`].
pub fn parse_alone<'a>(text: &'a str, arena: &'a Bump) -> Result<Statement<'a>, PlanError> {
    let sql = text.as_bytes();
    let mode = SqlMode::default();
    let fingerprint = Fingerprint { end: sql.len(), ..Fingerprint::default() };
    let tokens = arena.alloc(tokens(sql, &fingerprint, mode, arena)?);
    let shared =
        arena.alloc(Shared { sql, arena, mode, end: tokens.end, steps: Default::default() });
    parse(shared, tokens)
}

fn end<'a>(i: In<'a>) -> In<'a> {
    i.skip(usize::MAX)
}

fn unknown<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    Ok((end(i), Statement::Unknown))
}

fn select<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    if i.kw_at(1) == Kw::Next
        && let Ok((rest, found)) = next_values(i)
        && rest.peek() == Tok::End
    {
        return Ok((rest, found));
    }
    query(i).map(|(r, q)| (r, Statement::Query(q)))
}

/// Vitess's, and MariaDB's for sequences of its own.
fn next_values<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    let rest = i.skip(2);
    let (rest, count, param) = match rest.peek() {
        _ if rest.peek_kw() == Kw::Value => (rest.skip(1), None, false),
        Tok::Param if rest.kw_at(1) == Kw::Values => (rest.skip(2), None, true),
        tok if tok.is_number() && rest.kw_at(1) == Kw::Values => {
            let (rest, number) = rest.any()?;
            (rest.skip(1), Some(number.span), false)
        }
        _ => return i.fail(),
    };
    if !matches!(rest.peek_kw(), Kw::For | Kw::From) {
        return i.fail();
    }
    let (rest, table) = table_name(rest.skip(1))?;
    Ok((rest, Statement::NextValues { table: i.alloc(table), count, param }))
}

/// One statement, of any kind.
fn parse_statement<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    if i.peek() == Tok::Open && starts_table(i) {
        return query(i).map(|(r, q)| (r, Statement::Query(q)));
    }
    if i.peek() == Tok::End {
        return Ok((i, Statement::Nothing));
    }
    match i.peek_kw() {
        Kw::Select | Kw::Values | Kw::Table => select(i),
        Kw::With => {
            let (rest, (ctes, _)) = with(i)?;
            match rest.peek_kw() {
                Kw::Update => dml::update(rest, ctes),
                Kw::Delete => dml::delete(rest, ctes),
                _ => query(i).map(|(r, q)| (r, Statement::Query(q))),
            }
        }
        Kw::Insert | Kw::Replace => dml::insert(i),
        Kw::Update => dml::update(i, &[]),
        Kw::Delete => dml::delete(i, &[]),
        Kw::Begin if i.tok_at(1) == Tok::Word && i.kw_at(1) != Kw::Work => unknown(i),
        Kw::Begin => {
            Ok((eat(i.skip(1), Kw::Work).0, Statement::Begin { access: None, consistent: false }))
        }
        Kw::Start if i.kw_at(1) == Kw::Transaction => start(i.skip(2)),
        Kw::Commit => end_of_transaction(i)
            .map(|(r, (chain, release))| (r, Statement::Commit { chain, release })),
        Kw::Rollback => rollback(i),
        Kw::Savepoint => any_name(i.skip(1)).map(|(r, n)| (r, Statement::Savepoint(n))),
        Kw::Release if i.kw_at(1) == Kw::Savepoint => {
            any_name(i.skip(2)).map(|(r, n)| (r, Statement::ReleaseSavepoint(n)))
        }
        Kw::Set => super::set::set(i.skip(1)),
        Kw::Show => super::show::show(i.skip(1)),
        Kw::Use => use_target(i.skip(1)),
        Kw::Kill => kill(i.skip(1)),
        Kw::Prepare => prepare(i.skip(1)),
        Kw::Execute => execute(i.skip(1)),
        Kw::Deallocate => any_name(i.skip(2)).map(|(r, n)| (r, Statement::Deallocate(n))),
        Kw::Drop if i.kw_at(1) == Kw::Prepare => {
            any_name(i.skip(2)).map(|(r, n)| (r, Statement::Deallocate(n)))
        }
        Kw::Explain | Kw::Describe | Kw::Desc | Kw::Vexplain => explain(i),
        Kw::Lock if matches!(i.kw_at(1), Kw::Tables | Kw::Table) => {
            let (rest, names) = commas(i.skip(2), |i| {
                let (rest, found) = table_name(i)?;
                let mut rest = rest;
                while rest.peek() != Tok::Comma && rest.peek() != Tok::End {
                    rest = rest.skip(1);
                }
                Ok((rest, i.alloc(found)))
            })?;
            Ok((rest, Statement::LockTables(names)))
        }
        Kw::Unlock if matches!(i.kw_at(1), Kw::Tables | Kw::Table) => {
            Ok((i.skip(2), Statement::UnlockTables))
        }
        Kw::Alter if i.kw_at(1) == Kw::Vschema => Ok((end(i), Statement::AlterVschema)),
        Kw::Create | Kw::Alter | Kw::Drop | Kw::Truncate | Kw::Rename => super::ddl::ddl(i),
        Kw::Analyze if !matches!(i.kw_at(1), Kw::Table | Kw::Local | Kw::None) => explain(i),
        Kw::Analyze | Kw::Optimize | Kw::Check | Kw::Repair | Kw::Checksum => super::ddl::admin(i),
        Kw::Flush => super::ddl::flush(i),
        Kw::Call => {
            let (_, name) = opt(table_name).parse(i.skip(1))?;
            Ok((end(i), Statement::Call(name.and_then(|n| n.database))))
        }
        Kw::Do => commas(i.skip(1), expr).map(|(r, list)| (r, Statement::Do(list))),
        Kw::Load => dml::load(i),
        _ => unknown(i),
    }
}

fn start<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    let (mut access, mut consistent, mut rest) = (None, false, i);
    loop {
        match (rest.peek_kw(), rest.kw_at(1)) {
            (Kw::Read, Kw::Only) => access = Some(AccessMode::ReadOnly),
            (Kw::Read, Kw::Write) => access = Some(AccessMode::ReadWrite),
            (Kw::With, Kw::Consistent) => {
                consistent = true;
                rest = rest.skip(1);
            }
            _ => return Ok((rest, Statement::Begin { access, consistent })),
        }
        rest = rest.skip(2);
        rest = eat_tok(rest, Tok::Comma).0;
    }
}

/// `[WORK] [AND [NO] CHAIN] [[NO] RELEASE]`
fn end_of_transaction<'a>(i: In<'a>) -> R<'a, (Option<bool>, Option<bool>)> {
    let (mut rest, _) = eat(i.skip(1), Kw::Work);
    let mut chain = None;
    if rest.peek_kw() == Kw::And {
        let (next, no) = eat(rest.skip(1), Kw::No);
        rest = kw(Kw::Chain)(next)?.0;
        chain = Some(!no);
    }
    let (next, no) = eat(rest, Kw::No);
    let (next, release) = eat(next, Kw::Release);
    Ok((if release { next } else { rest }, (chain, release.then_some(!no))))
}

fn rollback<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    let (rest, _) = eat(i.skip(1), Kw::Work);
    if rest.peek_kw() == Kw::To {
        let (rest, _) = eat(rest.skip(1), Kw::Savepoint);
        return any_name(rest).map(|(r, n)| (r, Statement::RollbackTo(n)));
    }
    end_of_transaction(i).map(|(r, (chain, release))| (r, Statement::Rollback { chain, release }))
}

/// `USE name`; the name may be a target string, with or without quotes.
fn use_target<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    if matches!(i.peek(), Tok::Quoted | Tok::Str) && i.tok_at(1) == Tok::End {
        let (rest, item) = i.any()?;
        return Ok((rest, Statement::Use(rest.name_of(item))));
    }
    let rest = end(i);
    let text = i.text(i.span_to(&rest));
    if text.is_empty() {
        return i.fail();
    }
    // Bytes of other character sets stand in it, too: the server must not select by itself what it
    // then keeps.
    let text: &'a str = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(_) => i.shared.arena.alloc_str(&crate::raw::to_text(text)),
    };
    Ok((rest, Statement::Use(text)))
}

fn kill<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    // MariaDB: KILL HARD | SOFT
    let mut rest = i;
    while rest.is_word(0, "hard") || rest.is_word(0, "soft") {
        rest = rest.skip(1);
    }
    let query_only = rest.peek_kw() == Kw::Query;
    let rest = eat_all(rest, &[Kw::Query, Kw::Connection]);
    let end = rest.skip(usize::MAX);
    let more = |ahead: usize| rest.tok_at(ahead) != Tok::End;
    let kill = |rest: In<'a>, whom| {
        Ok((end, Statement::Kill { query_only, whom, text: rest.span_to(&end) }))
    };
    if query_only && rest.is_word(0, "id") && more(1) {
        return kill(rest.skip(1), KillTarget::QueryId);
    }
    if rest.is_word(0, "user") && more(1) && rest.tok_at(1) != Tok::Open {
        return kill(rest.skip(1), KillTarget::User);
    }
    let (after, item) = rest.any()?;
    let number = std::str::from_utf8(rest.text(item.span))
        .ok()
        .and_then(|t| t.parse().ok());
    let ends = |i: In<'a>| i.peek() == Tok::End;
    let whom = match number {
        Some(id) if ends(after) => KillTarget::Session(id),
        None if rest.is_word(0, "connection_id")
            && after.peek() == Tok::Open
            && ends(after.skip(2)) =>
        {
            KillTarget::Own
        }
        _ => KillTarget::Expression,
    };
    kill(rest, whom)
}

fn prepare<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    let (rest, name) = any_name(i)?;
    let (rest, _) = kw(Kw::From)(rest)?;
    let (rest, (text, variable)) = text_or_variable(rest)?;
    Ok((rest, Statement::Prepare { name, text, variable }))
}

fn text_or_variable<'a>(i: In<'a>) -> R<'a, (Option<Span>, Option<&'a str>)> {
    let (after, item) = i.any()?;
    match item.tok {
        Tok::Str => Ok((after, (Some(item.span), None))),
        Tok::UserVar => Ok((after, (None, Some(after.name_of(item))))),
        _ => i.fail(),
    }
}

/// `USING @a, @b`, or nothing.
fn using<'a>(i: In<'a>) -> R<'a, &'a [&'a str]> {
    if i.peek_kw() != Kw::Using {
        return Ok((i, &[]));
    }
    commas(i.skip(1), |i| {
        let (rest, item) = tok(Tok::UserVar)(i)?;
        Ok((rest, rest.name_of(item)))
    })
}

/// MariaDB takes any expressions for the text and the values.
fn execute_immediate<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    let (rest, (text, variable)) = text_or_variable(i)?;
    let (rest, using) = using(rest)?;
    if rest.peek() != Tok::End {
        return rest.fail();
    }
    Ok((rest, Statement::ExecuteImmediate { text, variable, using }))
}

fn execute<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    if i.is_word(0, "immediate") && i.tok_at(1) != Tok::End && i.kw_at(1) != Kw::Using {
        return execute_immediate(i.skip(1)).or_else(|_| unknown(i));
    }
    if i.peek_kw() == Kw::None || i.tok_at(1) == Tok::End || i.kw_at(1) == Kw::Using {
        let (rest, name) = any_name(i)?;
        let (rest, using) = using(rest)?;
        return Ok((rest, Statement::Execute { name, using }));
    }
    unknown(i)
}

fn explain<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    let vexplain = i.peek_kw() == Kw::Vexplain;
    let mut found = Explain {
        inner: None,
        plan: false,
        trace: None,
        keys: false,
        start: 0,
        analyze: false,
        table: None,
    };
    found.analyze = i.peek_kw() == Kw::Analyze;
    let mut rest = i.skip(1);
    loop {
        match rest.peek_kw() {
            Kw::Plan if vexplain => found.plan = true,
            Kw::Queries if vexplain => found.trace = Some(VexplainKind::Queries),
            Kw::All if vexplain => found.trace = Some(VexplainKind::All),
            Kw::Trace if vexplain => found.trace = Some(VexplainKind::Trace),
            Kw::Keys if vexplain => found.keys = true,
            Kw::Format if rest.tok_at(1) == Tok::Eq => {
                found.plan |= rest.kw_at(2) == Kw::Vitess;
                rest = rest.skip(2);
            }
            Kw::Analyze => found.analyze = true,
            Kw::Extended => {}
            Kw::Partition => {}
            _ if rest.is_word(0, "partitions") => {}
            _ => break,
        }
        rest = rest.skip(1);
    }
    if vexplain && found.trace.is_none() && !found.keys {
        found.plan = true;
    }
    found.start = rest.at();
    match rest.peek_kw() {
        Kw::Select
        | Kw::Insert
        | Kw::Replace
        | Kw::Update
        | Kw::Delete
        | Kw::With
        | Kw::Table
        | Kw::Values => {
            let (rest, inner) = parse_statement(rest.deeper()?)?;
            found.inner = Some(i.alloc(inner));
            Ok((rest, Statement::Explain(i.alloc(found))))
        }
        Kw::For => Ok((end(rest), Statement::Explain(i.alloc(found)))),
        _ if rest.peek() == Tok::Open => {
            let (rest, inner) = query(rest)?;
            found.inner = Some(i.alloc(Statement::Query(inner)));
            Ok((rest, Statement::Explain(i.alloc(found))))
        }
        _ => {
            let (rest, table) = table_name(rest)?;
            found.table = Some(i.alloc(table));
            // A column's name or a pattern may follow.
            Ok((end(rest), Statement::Explain(i.alloc(found))))
        }
    }
}
