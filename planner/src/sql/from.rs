//! What stands in FROM: tables, joins, derived tables.
use super::ast::*;
use super::expr::expr;
use super::input::*;
use super::keyword::Kw;
use super::lex::Tok;
use super::query::{alias, name_list, query, starts_table};
use nom::Parser;
use nom::combinator::opt;
use nom::sequence::preceded;

/// A comma list of table expressions.
pub(super) fn tables<'a>(i: In<'a>) -> R<'a, &'a [TableExpr<'a>]> {
    commas(i, joined)
}

fn joined<'a>(i: In<'a>) -> R<'a, TableExpr<'a>> {
    let inner = i.deeper()?;
    let (mut rest, mut left) = factor(inner)?;
    for joins in 0.. {
        if joins > DEPTH_MAX {
            return Err(nom::Err::Failure(Trouble { at: rest.at(), deep: true }));
        }
        let Some((next, kind, natural)) = join_words(rest) else { break };
        let (next, right) = factor(next)?;
        let mut join =
            Join { span: Span::default(), kind, natural, left, right, on: None, using: &[] };
        // `a JOIN b JOIN c ON x ON y`: the inner join first.
        let (next, right) = pending(next, right)?;
        join.right = right;
        rest = next;
        match rest.peek_kw() {
            Kw::On => {
                let (next, on) = expr(rest.skip(1))?;
                join.on = Some(on);
                rest = next;
            }
            Kw::Using => (rest, join.using) = name_list(rest.skip(1))?,
            _ => {}
        }
        join.span = i.span_to(&rest);
        left = TableExpr::Join(i.alloc(join));
    }
    Ok((rest.level_of(i), left))
}

/// A right side that is itself a join whose ON comes before ours: told by two ON in a row.
fn pending<'a>(i: In<'a>, right: TableExpr<'a>) -> R<'a, TableExpr<'a>> {
    let Some((next, kind, natural)) = join_words(i) else { return Ok((i, right)) };
    let attempt = || -> R<'a, TableExpr<'a>> {
        let next = next.deeper()?;
        let (rest, far) = factor(next)?;
        let (rest, far) = pending(rest, far)?;
        let (rest, on) = preceded(kw(Kw::On), expr).parse(rest)?;
        // Only ours if another ON follows for the outer join.
        if !matches!(rest.peek_kw(), Kw::On | Kw::Using) {
            return rest.fail();
        }
        // From its right side on; where the left one begins is not known here.
        let span = i.span_to(&rest);
        let join = Join { span, kind, natural, left: right, right: far, on: Some(on), using: &[] };
        Ok((rest.level_of(i), TableExpr::Join(i.alloc(join))))
    };
    match attempt() {
        Ok(found) => Ok(found),
        Err(nom::Err::Failure(trouble)) => Err(nom::Err::Failure(trouble)),
        Err(_) => Ok((i, right)),
    }
}

fn join_words(i: In<'_>) -> Option<(In<'_>, JoinKind, bool)> {
    let (rest, natural) = eat(i, Kw::Natural);
    let (rest, kind) = match rest.peek_kw() {
        Kw::Straight => return Some((rest.skip(1), JoinKind::Inner, natural)),
        Kw::Inner | Kw::Cross => (rest.skip(1), JoinKind::Inner),
        Kw::Left => (eat(rest.skip(1), Kw::Outer).0, JoinKind::Left),
        Kw::Right => (eat(rest.skip(1), Kw::Outer).0, JoinKind::Right),
        _ => (rest, JoinKind::Inner),
    };
    (rest.peek_kw() == Kw::Join).then(|| (rest.skip(1), kind, natural))
}

fn factor<'a>(i: In<'a>) -> R<'a, TableExpr<'a>> {
    let (start, lateral) = eat(i, Kw::Lateral);
    if start.peek() == Tok::Open {
        if starts_table(start.skip(1)) {
            // `(SELECT ...) d`; but `((SELECT ...) d JOIN t)` is a list.
            let attempt = parens(start, query).and_then(|(rest, found)| {
                let (rest, alias) = alias(rest)?;
                let (rest, columns) = opt(name_list).parse(rest)?;
                let derived =
                    Derived { query: found, alias, columns: columns.unwrap_or_default(), lateral };
                Ok((rest, TableExpr::Derived(i.alloc(derived))))
            });
            if attempt.is_ok()
                || start.tok_at(1) != Tok::Open
                || matches!(attempt, Err(nom::Err::Failure(_)))
            {
                return attempt;
            }
        }
        let (rest, list) = parens(start, tables)?;
        return Ok((rest, if let [only] = list { *only } else { TableExpr::List(list) }));
    }
    if start.peek_kw() == Kw::JsonTable && start.tok_at(1) == Tok::Open {
        let (rest, _) = skip_parens(start.skip(1))?;
        let inner = start.skip(2);
        let (_, source) = expr(inner)?;
        let (rest, alias) = alias(rest)?;
        return Ok((
            rest,
            TableExpr::Function { args: i.shared.arena.alloc_slice_copy(&[source]), alias },
        ));
    }
    if start.peek() == Tok::OpenBrace {
        // { OJ a LEFT OUTER JOIN b ON ... }
        let (rest, found) = joined(any_name(start.skip(1))?.0)?;
        let (rest, _) = tok(Tok::CloseBrace)(rest)?;
        return Ok((rest, found));
    }
    named_table(start)
}

/// A table's name with everything that may follow it.
fn named_table<'a>(i: In<'a>) -> R<'a, TableExpr<'a>> {
    let (rest, mut found) = table_name(i)?;
    let mut rest = rest;
    let span = |from: In<'a>, to: &In<'a>| (from.at() != to.at()).then(|| from.span_to(to));
    let start = rest;
    if rest.peek_kw() == Kw::Partition {
        rest = name_list(rest.skip(1))?.0;
    }
    found.partition = span(start, &rest);
    let start = rest;
    if rest.peek_kw() == Kw::For && rest.is_word(1, "system_time") {
        // FOR SYSTEM_TIME AS OF x | BETWEEN x AND y | FROM x TO y | ALL
        rest = system_time(rest.skip(2))?.0;
    }
    found.system_time = span(start, &rest);
    let start = rest;
    (rest, found.alias) = alias(rest)?;
    found.alias_span = span(start, &rest);
    let start = rest;
    while matches!(rest.peek_kw(), Kw::Use | Kw::Force | Kw::Ignore)
        && matches!(rest.kw_at(1), Kw::Index | Kw::Key)
    {
        rest = rest.skip(2);
        while rest.peek() != Tok::Open {
            rest = rest.any()?.0;
        }
        rest = skip_parens(rest)?.0;
    }
    found.hints = span(start, &rest);
    if matches!(rest.peek_kw(), Kw::Use | Kw::Ignore) && rest.is_word(1, "vindex") {
        let (next, names) = name_list(rest.skip(2))?;
        let ignore = rest.peek_kw() == Kw::Ignore;
        found.vindexes = Some(VindexHint { ignore, names, span: rest.span_to(&next) });
        rest = next;
    }
    found.full_span = i.span_to(&rest);
    Ok((rest, TableExpr::Table(i.alloc(found))))
}

fn system_time<'a>(i: In<'a>) -> R<'a, ()> {
    let rest = match i.peek_kw() {
        Kw::All => i.skip(1),
        Kw::As => expr(i.skip(2))?.0,
        Kw::Between => {
            let (rest, _) = expr(i.skip(1))?;
            rest
        }
        _ => {
            let (rest, _) = expr(i.skip(1))?;
            expr(rest.skip(1))?.0
        }
    };
    Ok((rest, ()))
}

/// `[database.]table`, without alias.
pub(super) fn table_name<'a>(i: In<'a>) -> R<'a, TableName<'a>> {
    let (rest, first) = name(i)?;
    if rest.peek() != Tok::Dot {
        let span = i.span_to(&rest);
        return Ok((rest, TableName::alone(span, first)));
    }
    let (last, second) = any_name(rest.skip(1))?;
    let found = TableName {
        database: Some(first),
        database_span: Some(Span { start: i.at(), end: rest.skip(1).at() }),
        ..TableName::alone(i.span_to(&last), second)
    };
    Ok((last, found))
}
