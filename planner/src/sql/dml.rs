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
    let before = rest;
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
    let behind = rest;
    let (rest, on_duplicate) = on_duplicate(rest)?;
    let (rest, returning) = clause(rest, Kw::Returning, select_items)?;
    let (head, source_span) = (i.span_to(&before), before.span_to(&behind));
    let found = Insert {
        spans: InsertSpans { head, source: source_span, tail: behind.span_to(&rest) },
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

/// `AS new (a, b) ON DUPLICATE KEY UPDATE ...`
fn on_duplicate<'a>(mut rest: In<'a>) -> R<'a, &'a [Assign<'a>]> {
    if rest.peek_kw() == Kw::As {
        rest = name(rest.skip(1))?.0;
        rest = opt(name_list).parse(rest)?.0;
    }
    if rest.peek_kw() == Kw::On && rest.kw_at(1) == Kw::Duplicate {
        let (next, _) = kw(Kw::Key)(rest.skip(2))?;
        let (next, _) = kw(Kw::Update)(next)?;
        return commas(next, assign);
    }
    Ok((rest, &[]))
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
    Ok((rest, Assign { span: i.span_to(&rest), column: i.alloc(column), value }))
}

struct Where<'a> {
    filter: Option<Expr<'a>>,
    order: &'a [Ordered<'a>],
    limit: bool,
    spans: ChangeSpans,
}

/// `verb`: where the statement itself begins; `tables`: what stands before these clauses.
fn where_order_limit<'a>(i: In<'a>, verb: In<'a>, tables: Span) -> R<'a, Where<'a>> {
    let span = |from: &In<'a>, to: &In<'a>, is: bool| is.then(|| from.span_to(to));
    let (after, filter) = clause(i, Kw::Where, expr)?;
    let mut spans = ChangeSpans { verb: verb.at(), tables, ..ChangeSpans::default() };
    spans.filter = span(&i, &after, filter.is_some());
    let ordered = after.peek_kw() == Kw::Order;
    let (behind, order) = if ordered { order_by(after)? } else { (after, &[] as &[Ordered<'a>]) };
    spans.order = span(&after, &behind, ordered);
    let limited = behind.peek_kw() == Kw::Limit;
    let rest = if limited { limit(behind)?.0 } else { behind };
    spans.limit = span(&behind, &rest, limited);
    Ok((rest, Where { filter, order, limit: limited, spans }))
}

pub(super) fn update<'a>(i: In<'a>, ctes: &'a [Cte<'a>]) -> R<'a, Statement<'a>> {
    let (rest, ignore) = modifiers(i.skip(1));
    let (after, tables) = tables(rest)?;
    let span = rest.span_to(&after);
    let (rest, _) = kw(Kw::Set)(after)?;
    let (rest, set) = commas(rest, assign)?;
    let (rest, Where { filter, order, limit, spans }) = where_order_limit(rest, i, span)?;
    let found = Update { spans, ctes, ignore, tables, set, filter, order, limit };
    Ok((rest, Statement::Update(i.alloc(found))))
}

pub(super) fn delete<'a>(i: In<'a>, ctes: &'a [Cte<'a>]) -> R<'a, Statement<'a>> {
    let (rest, ignore) = modifiers(i.skip(1));
    let mut targets: &[&TableName<'a>] = &[];
    let before;
    if rest.peek_kw() != Kw::From {
        // DELETE a, b FROM ...
        let (next, names) = commas(rest, target)?;
        targets = names;
        before = kw(Kw::From)(next)?.0;
    } else {
        let next = rest.skip(1);
        before = match commas(next, target) {
            Ok((after, names)) if after.peek_kw() == Kw::Using => {
                targets = names;
                after.skip(1)
            }
            _ => next,
        };
    }
    let (rest, from) = tables(before)?;
    let span = before.span_to(&rest);
    let (rest, Where { filter, order, limit, spans }) = where_order_limit(rest, i, span)?;
    let (rest, returning) = clause(rest, Kw::Returning, select_items)?;
    let returning = returning.unwrap_or_default();
    let found =
        Delete { spans, ctes, ignore, targets, tables: from, filter, order, limit, returning };
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
