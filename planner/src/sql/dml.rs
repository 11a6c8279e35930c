//! INSERT, REPLACE, UPDATE, DELETE and LOAD DATA.
use super::ast::*;
use super::expr::expr;
use super::from::*;
use super::input::*;
use super::keyword::Kw;
use super::lex::Tok;
use super::query::*;
use nom::Parser;
use nom::combinator::opt;

const MODIFIERS: &[Kw] =
    &[Kw::LowPriority, Kw::Delayed, Kw::HighPriority, Kw::Ignore, Kw::Quick, Kw::Concurrent];

/// LOW_PRIORITY and the like; is IGNORE among them?
fn modifiers(mut i: In<'_>) -> (In<'_>, bool) {
    let mut ignore = false;
    while MODIFIERS.contains(&i.peek_kw()) {
        ignore |= i.peek_kw() == Kw::Ignore;
        i = i.skip(1);
    }
    (i, ignore)
}

pub(super) fn insert<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    let replace = i.peek_kw() == Kw::Replace;
    let (rest, ignore) = modifiers(i.skip(1));
    let (rest, _) = eat(rest, Kw::Into);
    let (rest, table) = table_name(rest)?;
    let mut rest = rest;
    if rest.peek_kw() == Kw::Partition {
        rest = name_list(rest.skip(1))?.0;
    }
    let mut columns = None;
    let mut list = Span { start: rest.at(), end: rest.at() };
    if rest.peek() == Tok::Open && !starts_query(rest.skip(1)) {
        let (next, names) = name_list(rest)?;
        columns = Some(names);
        list = rest.span_to(&next);
        rest = next;
    }
    let mut set = false;
    let source;
    match rest.peek_kw() {
        Kw::Values | Kw::Value if rest.tok_at(1) == Tok::Rows => {
            let (next, rows) = rest.skip(1).any()?;
            source = InsertSource::Collapsed(rows.span);
            rest = next;
        }
        Kw::Values | Kw::Value => {
            let (next, rows) = commas(rest.skip(1), row)?;
            source = InsertSource::Rows(rows);
            rest = next;
        }
        Kw::Set => {
            set = true;
            let (next, pairs) = commas(rest.skip(1), assign)?;
            let arena = i.shared.arena;
            columns = Some(arena.alloc_slice_fill_iter(pairs.iter().map(|p| p.column.name)));
            let values = arena.alloc_slice_fill_iter(pairs.iter().map(|p| p.value));
            let span = rest.span_to(&next);
            source = InsertSource::Rows(arena.alloc_slice_copy(&[InsertRow { span, values }]));
            rest = next;
        }
        _ => {
            let (next, found) = query(rest)?;
            source = InsertSource::Query(found);
            rest = next;
        }
    }
    if rest.peek_kw() == Kw::As {
        rest = name(rest.skip(1))?.0;
        rest = opt(name_list).parse(rest)?.0;
    }
    let mut on_duplicate: &[Assign<'a>] = &[];
    if rest.peek_kw() == Kw::On && rest.kw_at(1) == Kw::Duplicate {
        let (next, _) = kw(Kw::Key)(rest.skip(2))?;
        let (next, _) = kw(Kw::Update)(next)?;
        (rest, on_duplicate) = commas(next, assign)?;
    }
    let (rest, returning) = clause(rest, Kw::Returning, select_items)?;
    let found = Insert {
        replace,
        ignore,
        table: i.alloc(table),
        columns,
        list,
        source,
        set,
        on_duplicate,
        returning: returning.unwrap_or_default(),
    };
    Ok((rest, Statement::Insert(i.alloc(found))))
}

fn row<'a>(i: In<'a>) -> R<'a, InsertRow<'a>> {
    let (open, _) = eat(i, Kw::Row);
    if open.peek() == Tok::Open && open.tok_at(1) == Tok::Close {
        let rest = open.skip(2);
        return Ok((rest, InsertRow { span: i.span_to(&rest), values: &[] }));
    }
    let (rest, values) = parens(open, |i| commas(i, expr))?;
    Ok((rest, InsertRow { span: i.span_to(&rest), values }))
}

/// `[[db.]t.]a = value`
fn assign<'a>(i: In<'a>) -> R<'a, Assign<'a>> {
    let mut column = ColumnName { database: None, table: None, name: "", database_span: None };
    let (mut rest, first) = name(i)?;
    column.name = first;
    if rest.peek() == Tok::Dot {
        let (next, second) = any_name(rest.skip(1))?;
        column = ColumnName { table: Some(first), name: second, ..column };
        if next.peek() == Tok::Dot {
            let (last, third) = any_name(next.skip(1))?;
            column.database = Some(first);
            column.table = Some(second);
            column.name = third;
            column.database_span = Some(Span { start: i.at(), end: rest.skip(1).at() });
            rest = last;
        } else {
            rest = next;
        }
    }
    rest = match rest.peek() {
        Tok::Eq | Tok::Assign => rest.skip(1),
        _ => return rest.fail(),
    };
    let (rest, value) = expr(rest)?;
    Ok((rest, Assign { column: i.alloc(column), value }))
}

struct Where<'a> {
    filter: Option<Expr<'a>>,
    order: &'a [Ordered<'a>],
    limit: bool,
}

fn where_order_limit<'a>(i: In<'a>) -> R<'a, Where<'a>> {
    let (rest, filter) = clause(i, Kw::Where, expr)?;
    let (rest, order) =
        if rest.peek_kw() == Kw::Order { order_by(rest)? } else { (rest, &[] as &[Ordered<'a>]) };
    let limited = rest.peek_kw() == Kw::Limit;
    let rest = if limited { limit(rest)?.0 } else { rest };
    Ok((rest, Where { filter, order, limit: limited }))
}

pub(super) fn update<'a>(i: In<'a>, ctes: &'a [Cte<'a>]) -> R<'a, Statement<'a>> {
    let (rest, ignore) = modifiers(i.skip(1));
    let (rest, tables) = tables(rest)?;
    let (rest, _) = kw(Kw::Set)(rest)?;
    let (rest, set) = commas(rest, assign)?;
    let (rest, Where { filter, order, limit }) = where_order_limit(rest)?;
    Ok((rest, Statement::Update(i.alloc(Update { ctes, ignore, tables, set, filter, order, limit }))))
}

pub(super) fn delete<'a>(i: In<'a>, ctes: &'a [Cte<'a>]) -> R<'a, Statement<'a>> {
    let (rest, ignore) = modifiers(i.skip(1));
    let mut targets: &[&TableName<'a>] = &[];
    let from;
    let mut rest = rest;
    if rest.peek_kw() != Kw::From {
        // DELETE a, b FROM ...
        (rest, targets) = commas(rest, target)?;
        let (next, _) = kw(Kw::From)(rest)?;
        (rest, from) = tables(next)?;
    } else {
        let next = rest.skip(1);
        match commas(next, target) {
            Ok((after, names)) if after.peek_kw() == Kw::Using => {
                targets = names;
                (rest, from) = tables(after.skip(1))?;
            }
            _ => (rest, from) = tables(next)?,
        }
    }
    let (rest, Where { filter, order, limit }) = where_order_limit(rest)?;
    let (rest, returning) = clause(rest, Kw::Returning, select_items)?;
    let returning = returning.unwrap_or_default();
    let found = Delete { ctes, ignore, targets, tables: from, filter, order, limit, returning };
    Ok((rest, Statement::Delete(i.alloc(found))))
}

/// `a`, `db.a`, `a.*`
fn target<'a>(i: In<'a>) -> R<'a, &'a TableName<'a>> {
    if i.tok_at(1) == Tok::Dot && i.tok_at(2) == Tok::Star {
        let (_, found) = name(i).map(|(r, n)| (r, TableName::alone(i.span_to(&r), n)))?;
        return Ok((i.skip(3), i.alloc(found)));
    }
    let (mut rest, found) = table_name(i)?;
    if rest.peek() == Tok::Dot && rest.tok_at(1) == Tok::Star {
        rest = rest.skip(2);
    }
    Ok((rest, i.alloc(found)))
}

/// LOAD DATA: the table is all that is asked.
pub(super) fn load<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    let mut rest = i;
    while rest.peek() != Tok::End {
        if rest.peek_kw() == Kw::Into && rest.kw_at(1) == Kw::Table {
            let (_, table) = table_name(rest.skip(2))?;
            return Ok((i.skip(usize::MAX), Statement::LoadData(Some(i.alloc(table)))));
        }
        rest = rest.skip(1);
    }
    Ok((rest, Statement::LoadData(None)))
}
