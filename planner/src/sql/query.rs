//! SELECT, VALUES, TABLE, WITH and set operations.
use super::ast::*;
use super::call::window_spec;
use super::expr::expr;
use super::from::{table_name, tables};
use super::input::*;
use super::keyword::Kw;
use super::lex::Tok;
use nom::Parser;
use nom::combinator::opt;
use nom::sequence::preceded;

/// Could a query begin here?
pub(super) fn starts_query(i: In<'_>) -> bool {
    let mut ahead = 0;
    while i.tok_at(ahead) == Tok::Open {
        ahead += 1;
        if ahead > DEPTH_MAX {
            return false;
        }
    }
    match i.kw_at(ahead) {
        Kw::Select | Kw::With => true,
        // `VALUES(a)` is a function, `TABLE` never one.
        Kw::Values => i.kw_at(ahead + 1) == Kw::Row,
        Kw::Table => true,
        _ => false,
    }
}

/// A whole query, with its WITH, ORDER BY and LIMIT.
pub(super) fn query<'a>(i: In<'a>) -> R<'a, &'a Query<'a>> {
    let inner = i.deeper()?;
    let (rest, (ctes, recursive)) = with(inner)?;
    let (mut rest, first) = body(rest)?;
    let mut parts = i.vec();
    while let Some((next, op)) = set_op(rest) {
        let (next, part) = body(next)?;
        parts.push((op, part));
        rest = next;
    }
    let mut found = Query {
        span: Span::default(),
        ctes,
        recursive,
        first,
        rest: parts.into_bump_slice(),
        order: &[],
        limit: false,
        locking: false,
        into: false,
    };
    rest = tail(rest, &mut found)?;
    found.span = i.span_to(&rest);
    Ok((rest.level_of(i), i.alloc(found)))
}

fn set_op(i: In<'_>) -> Option<(In<'_>, SetOp)> {
    if !matches!(i.peek_kw(), Kw::Union | Kw::Except | Kw::Intersect) {
        return None;
    }
    let union = i.peek_kw() == Kw::Union;
    let (rest, all) = eat(i.skip(1), Kw::All);
    let (rest, _) = eat(rest, Kw::Distinct);
    Some((rest, if union && all { SetOp::UnionAll } else { SetOp::Compares }))
}

/// ORDER BY, LIMIT, locking and INTO after a query, in any order that MySQL allows.
fn tail<'a>(mut i: In<'a>, found: &mut Query<'a>) -> Result<In<'a>, nom::Err<Trouble>> {
    loop {
        match i.peek_kw() {
            Kw::Order => {
                let (rest, order) = order_by(i)?;
                found.order = order;
                i = rest;
            }
            Kw::Limit => {
                i = limit(i)?.0;
                found.limit = true;
            }
            Kw::Offset if i.peek() == Tok::Word => {
                // OFFSET n ROWS FETCH FIRST n ROWS ONLY
                i = expr(i.skip(1))?.0;
                i = eat_all(i, &[Kw::Row, Kw::Rows]);
                found.limit = true;
            }
            _ if i.is_word(0, "fetch") => {
                i = eat_all(i.skip(1), &[Kw::First, Kw::Next]);
                if !matches!(i.peek_kw(), Kw::Row | Kw::Rows) {
                    i = expr(i)?.0;
                }
                i = eat_all(i, &[Kw::Row, Kw::Rows, Kw::Only, Kw::With]);
                if i.is_word(0, "ties") {
                    i = i.skip(1);
                }
                found.limit = true;
            }
            Kw::Procedure => {
                i = any_name(i.skip(1))?.0;
                i = skip_parens(i)?.0;
                found.into = true;
            }
            Kw::For | Kw::Lock => {
                if i.peek_kw() == Kw::For && !matches!(i.kw_at(1), Kw::Update | Kw::Share) {
                    return Ok(i);
                }
                i = lock(i)?.0;
                found.locking = true;
            }
            Kw::Into => {
                i = into(i)?.0;
                found.into = true;
            }
            _ => return Ok(i),
        }
    }
}

fn lock<'a>(i: In<'a>) -> R<'a, ()> {
    if i.peek_kw() == Kw::Lock {
        let mut rest = i.skip(1);
        for word in [Kw::In, Kw::Share, Kw::Mode] {
            rest = kw(word)(rest)?.0;
        }
        return Ok((rest, ()));
    }
    let mut rest = i.skip(2);
    if rest.peek_kw() == Kw::Of {
        rest = commas(rest.skip(1), table_name)?.0;
    }
    rest = eat_all(rest, &[Kw::Nowait, Kw::Skip, Kw::Locked]);
    if rest.peek_kw() == Kw::Wait {
        rest = expr(rest.skip(1))?.0;
    }
    Ok((rest, ()))
}

/// `INTO @a, @b`, `INTO OUTFILE 'x' ...`
fn into<'a>(i: In<'a>) -> R<'a, ()> {
    let mut rest = i.skip(1);
    if matches!(rest.peek_kw(), Kw::Outfile | Kw::Dumpfile) {
        rest = rest.skip(2);
        // FIELDS TERMINATED BY ',' ...: words and literals up to the next clause.
        while !matches!(rest.peek_kw(), Kw::From | Kw::For | Kw::Limit | Kw::Where | Kw::Order)
            && rest.peek() != Tok::End
        {
            rest = rest.skip(1);
        }
        return Ok((rest, ()));
    }
    let (rest, _) = commas(rest, |i| match i.peek() {
        Tok::UserVar | Tok::Word | Tok::Quoted => i.any(),
        _ => i.fail(),
    })?;
    Ok((rest, ()))
}

pub(super) fn order_by<'a>(i: In<'a>) -> R<'a, &'a [Expr<'a>]> {
    let (rest, _) = kw(Kw::Order)(i)?;
    let (rest, _) = kw(Kw::By)(rest)?;
    commas(rest, |i| {
        let (rest, found) = expr(i)?;
        Ok((eat_all(rest, &[Kw::Asc, Kw::Desc]), found))
    })
}

pub(super) fn limit<'a>(i: In<'a>) -> R<'a, ()> {
    let (rest, _) = kw(Kw::Limit)(i)?;
    let (mut rest, _) = expr(rest)?;
    if rest.peek() == Tok::Comma || rest.peek_kw() == Kw::Offset {
        rest = expr(rest.skip(1))?.0;
    }
    if rest.peek_kw() == Kw::Rows && rest.is_word(1, "examined") {
        rest = expr(rest.skip(2))?.0;
    }
    Ok((rest, ()))
}

/// `WITH [RECURSIVE] a [(x, y)] AS (...), ...`
pub(super) fn with<'a>(i: In<'a>) -> R<'a, (&'a [Cte<'a>], bool)> {
    if i.peek_kw() != Kw::With {
        return Ok((i, (&[], false)));
    }
    let (rest, recursive) = eat(i.skip(1), Kw::Recursive);
    let (rest, ctes) = commas(rest, |i| {
        let (rest, cte_name) = name(i)?;
        let (rest, columns) = opt(name_list).parse(rest)?;
        let (rest, found) = preceded(kw(Kw::As), |i| parens(i, query)).parse(rest)?;
        Ok((rest, Cte { name: cte_name, columns: columns.unwrap_or_default(), query: found }))
    })?;
    Ok((rest, (ctes, recursive)))
}

/// `(a, b)`; also `()`.
pub(super) fn name_list<'a>(i: In<'a>) -> R<'a, &'a [&'a str]> {
    if i.peek() == Tok::Open && i.tok_at(1) == Tok::Close {
        return Ok((i.skip(2), &[]));
    }
    parens(i, |i| commas(i, column_tail))
}

/// A column's name, of which only the last part counts.
fn column_tail<'a>(i: In<'a>) -> R<'a, &'a str> {
    let (mut rest, mut last) = name(i)?;
    while rest.peek() == Tok::Dot {
        (rest, last) = any_name(rest.skip(1))?;
    }
    Ok((rest, last))
}

fn body<'a>(i: In<'a>) -> R<'a, Body<'a>> {
    match (i.peek(), i.peek_kw()) {
        (Tok::Open, _) => {
            let (rest, found) = parens(i, query)?;
            Ok((rest, Body::Nested(found)))
        }
        (_, Kw::Values) => {
            let (rest, rows) = commas(i.skip(1), |i| expr(i))?;
            Ok((rest, Body::Values(rows)))
        }
        (_, Kw::Table) => {
            let (rest, found) = table_name(i.skip(1))?;
            Ok((rest, Body::Table(i.alloc(found))))
        }
        _ => {
            let (rest, found) = select(i)?;
            Ok((rest, Body::Select(i.alloc(found))))
        }
    }
}

fn select<'a>(i: In<'a>) -> R<'a, Select<'a>> {
    let (mut rest, _) = kw(Kw::Select)(i)?;
    let (mut distinct, mut calc) = (false, false);
    loop {
        match rest.peek_kw() {
            Kw::Distinct | Kw::DistinctRow => distinct = true,
            Kw::SqlCalcFoundRows => calc = true,
            Kw::All
            | Kw::HighPriority
            | Kw::Straight
            | Kw::SqlSmallResult
            | Kw::SqlBigResult
            | Kw::SqlBufferResult
            | Kw::SqlCache
            | Kw::SqlNoCache => {}
            _ => break,
        }
        rest = rest.skip(1);
    }
    let (rest, items) = select_items(rest)?;
    let mut found = Select {
        distinct,
        calc_found_rows: calc,
        items,
        from: &[],
        filter: None,
        group: &[],
        rollup: false,
        having: None,
        windows: &[],
        into: false,
    };
    let mut rest = rest;
    if rest.peek_kw() == Kw::Into {
        rest = into(rest)?.0;
        found.into = true;
    }
    if rest.peek_kw() == Kw::From {
        if rest.kw_at(1) == Kw::Dual {
            rest = rest.skip(2);
        } else {
            (rest, found.from) = tables(rest.skip(1))?;
        }
    }
    (rest, found.filter) = clause(rest, Kw::Where, expr)?;
    if rest.peek_kw() == Kw::Group {
        let (next, _) = kw(Kw::By)(rest.skip(1))?;
        let (next, group) = commas(next, |i| {
            let (rest, found) = expr(i)?;
            Ok((eat_all(rest, &[Kw::Asc, Kw::Desc]), found))
        })?;
        found.group = group;
        rest = next;
        if rest.peek_kw() == Kw::With && rest.kw_at(1) == Kw::Rollup {
            found.rollup = true;
            rest = rest.skip(2);
        }
    }
    (rest, found.having) = clause(rest, Kw::Having, expr)?;
    if rest.peek_kw() == Kw::Window && rest.peek() == Tok::Word {
        let mut all = i.vec();
        let (next, windows) = commas(rest.skip(1), |i| {
            let (rest, _) = name(i)?;
            preceded(kw(Kw::As), |i| parens(i, window_spec)).parse(rest)
        })?;
        windows.iter().for_each(|w| all.extend_from_slice(w));
        found.windows = all.into_bump_slice();
        rest = next;
    }
    Ok((rest, found))
}

/// What is selected, or returned.
pub(super) fn select_items<'a>(i: In<'a>) -> R<'a, &'a [SelectItem<'a>]> {
    commas(i, |i| {
        let (rest, found) = expr(i)?;
        let end = i.span_to(&rest).end;
        let (rest, alias) = alias(rest)?;
        Ok((rest, SelectItem { expr: found, alias, end }))
    })
}

/// `[AS] name` or `[AS] 'name'`.
pub(super) fn alias<'a>(i: In<'a>) -> R<'a, Option<&'a str>> {
    // `OFFSET 2 ROWS` begins a clause; as an alias, no number could follow it.
    if i.peek_kw() == Kw::Offset && (i.tok_at(1).is_literal() || i.tok_at(1) == Tok::Param) {
        return Ok((i, None));
    }
    let (rest, explicit) = eat(i, Kw::As);
    match rest.peek() {
        Tok::Str => {
            let (rest, item) = rest.any()?;
            Ok((rest, Some(rest.name_of(item))))
        }
        Tok::Word | Tok::Quoted if explicit => any_name(rest).map(|(r, n)| (r, Some(n))),
        _ => opt(name).parse(i),
    }
}
