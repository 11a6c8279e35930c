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
    starts(i, false)
}

/// The same where no expression can stand, so that `VALUES (1), (2)` is a query.
pub(super) fn starts_table(i: In<'_>) -> bool {
    starts(i, true)
}

fn starts(i: In<'_>, values: bool) -> bool {
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
        Kw::Values => i.kw_at(ahead + 1) == Kw::Row || values && i.tok_at(ahead + 1) == Tok::Open,
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
        order_span: None,
        limit: None,
        locking: false,
        locks: &[],
        into: false,
        into_span: None,
    };
    rest = tail(rest, &mut found)?;
    found.span = i.span_to(&rest);
    Ok((rest.level_of(i), i.alloc(found)))
}

fn set_op(i: In<'_>) -> Option<(In<'_>, SetOp)> {
    if !matches!(i.peek_kw(), Kw::Union | Kw::Except | Kw::Intersect) {
        return None;
    }
    let kind = match i.peek_kw() {
        Kw::Union => SetKind::Union,
        Kw::Except => SetKind::Except,
        _ => SetKind::Intersect,
    };
    let (rest, all) = eat(i.skip(1), Kw::All);
    let (rest, _) = eat(rest, Kw::Distinct);
    Some((rest, SetOp { kind, all }))
}

/// ORDER BY, LIMIT, locking and INTO after a query, in any order that MySQL allows.
fn tail<'a>(mut i: In<'a>, found: &mut Query<'a>) -> Result<In<'a>, nom::Err<Trouble>> {
    let mut locks = i.vec();
    loop {
        let start = i;
        match i.peek_kw() {
            Kw::Order => {
                (i, found.order) = order_by(i)?;
                found.order_span = Some(start.span_to(&i));
            }
            Kw::Limit => {
                let (rest, limit) = limit(i)?;
                found.limit = Some(limit);
                i = rest;
            }
            Kw::Offset if i.peek() == Tok::Word => i = offset_fetch(i, found)?,
            _ if i.is_word(0, "fetch") => i = offset_fetch(i, found)?,
            Kw::Procedure => {
                i = any_name(i.skip(1))?.0;
                i = skip_parens(i)?.0;
                found.into = true;
                found.into_span = Some(start.span_to(&i));
            }
            Kw::For | Kw::Lock
                if i.peek_kw() == Kw::Lock || matches!(i.kw_at(1), Kw::Update | Kw::Share) =>
            {
                i = lock(i)?.0;
                found.locking = true;
                locks.push(start.span_to(&i));
            }
            Kw::Into => {
                i = into(i)?.0;
                found.into = true;
                found.into_span = Some(start.span_to(&i));
            }
            _ => {
                found.locks = locks.into_bump_slice();
                return Ok(i);
            }
        }
    }
}

/// `[OFFSET n ROWS] [FETCH FIRST n ROWS ONLY | WITH TIES]`; one half may come alone.
fn offset_fetch<'a>(i: In<'a>, found: &mut Query<'a>) -> Result<In<'a>, nom::Err<Trouble>> {
    // `LIMIT 1 OFFSET 2` was read before: what comes here twice is no plain limit.
    let plain = found.limit.is_none();
    let mut limit = Limit { span: Span::default(), skip: None, take: None, plain };
    let mut rest = i;
    if rest.peek_kw() == Kw::Offset {
        let (next, skip) = expr(rest.skip(1))?;
        limit.skip = Some(skip);
        rest = eat_all(next, &[Kw::Row, Kw::Rows]);
    }
    if rest.is_word(0, "fetch") {
        rest = eat_all(rest.skip(1), &[Kw::First, Kw::Next]);
        if !matches!(rest.peek_kw(), Kw::Row | Kw::Rows) {
            let (next, take) = expr(rest)?;
            limit.take = Some(take);
            rest = next;
        }
        rest = eat_all(rest, &[Kw::Row, Kw::Rows, Kw::Only]);
        if rest.peek_kw() == Kw::With {
            limit.plain = false;
            rest = rest.skip(1);
            rest = if rest.is_word(0, "ties") { rest.skip(1) } else { rest };
        }
    }
    limit.plain &= limit.take.is_some();
    limit.span = i.span_to(&rest);
    found.limit = Some(limit);
    Ok(rest)
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

pub(super) fn order_by<'a>(i: In<'a>) -> R<'a, &'a [Ordered<'a>]> {
    let (rest, _) = kw(Kw::Order)(i)?;
    let (rest, _) = kw(Kw::By)(rest)?;
    commas(rest, ordered)
}

/// An expression with its direction.
fn ordered<'a>(i: In<'a>) -> R<'a, Ordered<'a>> {
    let (after, found) = expr(i)?;
    let rest = eat_all(after, &[Kw::Asc, Kw::Desc]);
    let descending = after.peek_kw() == Kw::Desc;
    Ok((rest, Ordered { expr: found, descending }))
}

pub(super) fn limit<'a>(i: In<'a>) -> R<'a, Limit<'a>> {
    let (rest, _) = kw(Kw::Limit)(i)?;
    let (mut rest, first) = expr(rest)?;
    let mut found = Limit { span: Span::default(), skip: None, take: Some(first), plain: true };
    if rest.peek() == Tok::Comma || rest.peek_kw() == Kw::Offset {
        let swapped = rest.peek() == Tok::Comma;
        let (next, second) = expr(rest.skip(1))?;
        (found.skip, found.take) =
            if swapped { (Some(first), Some(second)) } else { (Some(second), Some(first)) };
        rest = next;
    }
    if rest.peek_kw() == Kw::Rows && rest.is_word(1, "examined") {
        found.plain = false;
        rest = expr(rest.skip(2))?.0;
    }
    found.span = i.span_to(&rest);
    Ok((rest, found))
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
    let (mut distinct_span, mut calc) = (None, false);
    loop {
        match rest.peek_kw() {
            Kw::Distinct | Kw::DistinctRow => distinct_span = Some(rest.span_to(&rest.skip(1))),
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
        span: Span::default(),
        distinct: distinct_span.is_some(),
        distinct_span,
        calc_found_rows: calc,
        items,
        items_end: i.span_to(&rest).end,
        from_span: None,
        from: &[],
        filter_span: None,
        filter: None,
        group_span: None,
        group: &[],
        rollup: false,
        having_span: None,
        having: None,
        windows: &[],
        windows_span: None,
        into: false,
        into_span: None,
    };
    let rest = clauses(rest, &mut found)?;
    found.span = i.span_to(&rest);
    Ok((rest, found))
}

/// What follows the list of items.
fn clauses<'a>(i: In<'a>, found: &mut Select<'a>) -> Result<In<'a>, nom::Err<Trouble>> {
    let mut rest = i;
    if rest.peek_kw() == Kw::Into {
        rest = into(rest)?.0;
        found.into = true;
    }
    let span = |from: In<'a>, to: &In<'a>| (from.at() != to.at()).then(|| from.span_to(to));
    found.into_span = span(i, &rest);
    let start = rest;
    if rest.peek_kw() == Kw::From {
        if rest.kw_at(1) == Kw::Dual {
            rest = rest.skip(2);
        } else {
            (rest, found.from) = tables(rest.skip(1))?;
        }
    }
    found.from_span = span(start, &rest);
    let start = rest;
    (rest, found.filter) = clause(rest, Kw::Where, expr)?;
    found.filter_span = span(start, &rest);
    let start = rest;
    if rest.peek_kw() == Kw::Group {
        let (next, _) = kw(Kw::By)(rest.skip(1))?;
        (rest, found.group) = commas(next, ordered)?;
        if rest.peek_kw() == Kw::With && rest.kw_at(1) == Kw::Rollup {
            found.rollup = true;
            rest = rest.skip(2);
        }
    }
    found.group_span = span(start, &rest);
    let start = rest;
    (rest, found.having) = clause(rest, Kw::Having, expr)?;
    found.having_span = span(start, &rest);
    let start = rest;
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
    found.windows_span = span(start, &rest);
    Ok(rest)
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
    if i.is_word(0, "fetch") && matches!(i.kw_at(1), Kw::First | Kw::Next) {
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
