//! Expressions. Logic and comparisons are read level by level, as their precedence decides what a
//! condition means; all arithmetic is one flat [`ExprKind::Other`], because the planner only asks
//! which columns it reads.
use super::ast::*;
use super::call::call;
use super::input::*;
use super::keyword::Kw;
use super::lex::{SqlMode, Tok};
use super::query::{query, starts_query};
use bumpalo::collections::Vec as BumpVec;

pub(super) fn one<'a>(i: In<'a>, rest: In<'a>, kind: ExprKind<'a>) -> R<'a, Expr<'a>> {
    Ok((rest, Expr { span: i.span_to(&rest), kind }))
}

/// A whole expression.
pub(super) fn expr<'a>(i: In<'a>) -> R<'a, Expr<'a>> {
    let inner = i.deeper()?;
    let (rest, found) = logic(inner)?;
    if rest.peek() == Tok::Assign {
        let (rest, value) = expr(rest.skip(1).level_of(inner))?;
        let children = rest.shared.arena.alloc_slice_copy(&[found, value]);
        return one(i, rest.level_of(i), ExprKind::Other(children));
    }
    Ok((rest.level_of(i), found))
}

/// OR, XOR and AND, which bind in this order, the last the tightest. One loop instead of a function
/// per level: the stack is for nesting.
fn logic<'a>(i: In<'a>) -> R<'a, Expr<'a>> {
    let mut open: [Option<BumpVec<'a, Expr<'a>>>; 3] = [None, None, None];
    let mut rest = i;
    loop {
        let (next, mut operand) = negation(rest)?;
        rest = next;
        let operator = operator_level(rest);
        // Whatever binds tighter than the operator that follows is complete.
        let complete = operator.map_or(0, |level| level + 1);
        for level in (complete..3).rev() {
            if let Some(mut all) = open.get_mut(level).and_then(Option::take) {
                let start = all.first().map_or(operand.span.start, |e| e.span.start);
                let span = Span { start, end: operand.span.end };
                all.push(operand);
                let all = all.into_bump_slice();
                let kind = match level {
                    0 => ExprKind::Or(all),
                    1 => ExprKind::Other(all),
                    _ => ExprKind::And(all),
                };
                operand = Expr { span, kind };
            }
        }
        let Some(level) = operator else { return Ok((rest, operand)) };
        if let Some(group) = open.get_mut(level) {
            group.get_or_insert_with(|| rest.vec()).push(operand);
        }
        rest = rest.skip(1);
    }
}

/// 0 for OR, 1 for XOR, 2 for AND.
fn operator_level(i: In<'_>) -> Option<usize> {
    match (i.peek(), i.peek_kw()) {
        (Tok::PipePipe, _) if !i.shared.mode.contains(SqlMode::PIPES_AS_CONCAT) => Some(0),
        (_, Kw::Or) => Some(0),
        (_, Kw::Xor) => Some(1),
        (_, Kw::And) | (Tok::AndAnd, _) => Some(2),
        _ => None,
    }
}

/// Any number of NOT is one: what matters is that the condition inside proves nothing.
fn negation<'a>(i: In<'a>) -> R<'a, Expr<'a>> {
    if i.peek_kw() != Kw::Not || i.shared.mode.contains(SqlMode::HIGH_NOT_PRECEDENCE) {
        return comparison(i);
    }
    let (rest, inner) = comparison(eat_all(i, &[Kw::Not]))?;
    one(i, rest, ExprKind::Not(i.alloc(inner)))
}

/// `a = b`, `a IS NULL`, `a > ALL (SELECT ...)`; left to right.
fn comparison<'a>(i: In<'a>) -> R<'a, Expr<'a>> {
    let (mut rest, mut left) = predicate(i)?;
    for steps in 0.. {
        if steps > DEPTH_MAX {
            rest.deeper()?;
            return rest.fail();
        }
        let op = match rest.peek() {
            Tok::Eq => CompareOp::Eq,
            Tok::NullSafeEq => CompareOp::NullSafeEq,
            Tok::Ne | Tok::Lt | Tok::Le | Tok::Gt | Tok::Ge => CompareOp::Other,
            Tok::Word if rest.peek_kw() == Kw::Is => {
                let (next, _) = eat(rest.skip(1), Kw::Not);
                // NULL, TRUE, FALSE, UNKNOWN
                let (next, _) = any_name(next)?;
                left = Expr {
                    span: i.span_to(&next),
                    kind: ExprKind::Other(i.shared.arena.alloc_slice_copy(&[left])),
                };
                rest = next;
                continue;
            }
            _ => return Ok((rest, left)),
        };
        let next = rest.skip(1);
        let (next, right, op) = if matches!(next.peek_kw(), Kw::All | Kw::Any | Kw::Some)
            && next.tok_at(1) == Tok::Open
        {
            let (next, right) = predicate(next.skip(1))?;
            (next, right, CompareOp::Other)
        } else {
            let (next, right) = predicate(next)?;
            (next, right, op)
        };
        let sides = i.alloc([left, right]);
        left = Expr { span: i.span_to(&next), kind: ExprKind::Compare { op, sides } };
        rest = next;
    }
    rest.fail()
}

/// IN, BETWEEN, LIKE, REGEXP, MEMBER OF, SOUNDS LIKE.
fn predicate<'a>(i: In<'a>) -> R<'a, Expr<'a>> {
    let (rest, left) = operation(i)?;
    if rest.peek() != Tok::Word {
        return Ok((rest, left));
    }
    let (after, not) = eat(rest, Kw::Not);
    match after.peek_kw() {
        Kw::In => in_predicate(i, after.skip(1), left, not),
        Kw::Between => {
            let (next, low) = operation(after.skip(1))?;
            let (next, _) = kw(Kw::And)(next)?;
            let (next, high) = predicate(next.deeper()?)?;
            one(
                i,
                next.level_of(i),
                ExprKind::Other(i.shared.arena.alloc_slice_copy(&[left, low, high])),
            )
        }
        Kw::Like | Kw::Regexp | Kw::Rlike => {
            let (next, pattern) = operation(after.skip(1))?;
            let next = if next.peek_kw() == Kw::Escape { operation(next.skip(1))?.0 } else { next };
            one(i, next, ExprKind::Other(i.shared.arena.alloc_slice_copy(&[left, pattern])))
        }
        Kw::Member if !not => {
            let (next, _) = eat(after.skip(1), Kw::Of);
            let (next, list) = operation(next)?;
            one(i, next, ExprKind::Other(i.shared.arena.alloc_slice_copy(&[left, list])))
        }
        Kw::Sounds if !not && after.kw_at(1) == Kw::Like => {
            let (next, right) = operation(after.skip(2))?;
            one(i, next, ExprKind::Other(i.shared.arena.alloc_slice_copy(&[left, right])))
        }
        _ => Ok((rest, left)),
    }
}

#[inline(never)]
fn in_predicate<'a>(i: In<'a>, rest: In<'a>, left: Expr<'a>, not: bool) -> R<'a, Expr<'a>> {
    let left = i.alloc(left);
    if rest.peek() == Tok::List {
        let (rest, item) = rest.any()?;
        return one(i, rest, ExprKind::InCollapsed { left, not, list: item.number });
    }
    if starts_query(rest.skip(1)) {
        match parens(rest, query) {
            // `IN ((SELECT 1), 2)`: a list.
            Err(_) if rest.tok_at(1) == Tok::Open => {}
            found => {
                let (rest, query) = found?;
                return one(i, rest, ExprKind::InQuery { left, not, query });
            }
        }
    }
    let (rest, list) = parens(rest, |i| commas(i, expr))?;
    one(i, rest, ExprKind::InList { left, not, list })
}

/// Arithmetic, bits, string concatenation and JSON paths, in one flat list.
pub(super) fn operation<'a>(i: In<'a>) -> R<'a, Expr<'a>> {
    let (mut rest, first) = unary(i)?;
    if !is_operator(rest) {
        return Ok((rest, first));
    }
    let mut all = rest.vec();
    all.push(first);
    while is_operator(rest) {
        let (next, operand) = if rest.peek_kw() == Kw::Collate {
            let (next, _) = any_name(rest.skip(1))?;
            rest = next;
            continue;
        } else {
            unary(rest.skip(1))?
        };
        all.push(operand);
        rest = next;
    }
    let all = all.into_bump_slice();
    one(i, rest, ExprKind::Other(all))
}

fn is_operator(i: In<'_>) -> bool {
    match i.peek() {
        Tok::Plus
        | Tok::Minus
        | Tok::Star
        | Tok::Slash
        | Tok::Percent
        | Tok::Amp
        | Tok::Pipe
        | Tok::Caret
        | Tok::ShiftLeft
        | Tok::ShiftRight
        | Tok::Arrow
        | Tok::ArrowText => true,
        Tok::PipePipe => i.shared.mode.contains(SqlMode::PIPES_AS_CONCAT),
        Tok::Word => matches!(i.peek_kw(), Kw::Div | Kw::Mod | Kw::Collate),
        _ => false,
    }
}

fn unary<'a>(i: In<'a>) -> R<'a, Expr<'a>> {
    let mut inner = i;
    while is_prefix(inner) {
        inner = inner.skip(1);
    }
    let (rest, found) = primary(inner)?;
    if inner.at() == i.at() {
        return Ok((rest, found));
    }
    one(i, rest, ExprKind::Other(i.shared.arena.alloc_slice_copy(&[found])))
}

fn is_prefix(i: In<'_>) -> bool {
    match i.peek() {
        Tok::Minus | Tok::Plus | Tok::Tilde | Tok::Bang => true,
        Tok::Word => match i.peek_kw() {
            Kw::Binary => true,
            Kw::Not => i.shared.mode.contains(SqlMode::HIGH_NOT_PRECEDENCE),
            _ => false,
        },
        _ => false,
    }
}

fn primary<'a>(i: In<'a>) -> R<'a, Expr<'a>> {
    match i.peek() {
        t if t.is_literal() => {
            let (rest, item) = i.any()?;
            // 'a' 'b' is one string.
            if item.tok == Tok::Str && rest.peek() == Tok::Str {
                let mut rest = rest;
                while rest.peek() == Tok::Str {
                    rest = rest.skip(1);
                }
                return one(i, rest, ExprKind::Other(&[]));
            }
            let lifted = (item.number != u16::MAX).then_some(item.number);
            one(i, rest, ExprKind::Literal(lifted))
        }
        Tok::Foreign => one(i, i.skip(1), ExprKind::Other(&[])),
        Tok::Param => {
            let (rest, item) = i.any()?;
            one(i, rest, ExprKind::Param(item.number))
        }
        Tok::UserVar => one(i, i.skip(1), ExprKind::Variable),
        Tok::AtAt => {
            let (mut rest, _) = any_name(i.skip(1))?;
            while rest.peek() == Tok::Dot {
                rest = any_name(rest.skip(1))?.0;
            }
            one(i, rest, ExprKind::Variable)
        }
        Tok::Open => parenthesised(i),
        Tok::OpenBrace => {
            // {d '2020-01-01'}
            let (rest, _) = any_name(i.skip(1))?;
            let (rest, inner) = expr(rest)?;
            let (rest, _) = tok(Tok::CloseBrace)(rest)?;
            one(i, rest, ExprKind::Other(i.shared.arena.alloc_slice_copy(&[inner])))
        }
        Tok::Star => one(i, i.skip(1), ExprKind::Star(None)),
        Tok::Quoted => named(i),
        Tok::Word => word(i),
        _ => i.fail(),
    }
}

fn parenthesised<'a>(i: In<'a>) -> R<'a, Expr<'a>> {
    if starts_query(i.skip(1)) {
        match subquery(i) {
            // `((SELECT 1) + 1)`: the query is an operand.
            Err(_) if i.tok_at(1) == Tok::Open => {}
            found => return found,
        }
    }
    let (rest, inner) = expr(i.skip(1))?;
    match rest.peek() {
        Tok::Close => one(i, rest.skip(1), inner.kind),
        Tok::Comma => row(i, rest.skip(1), inner),
        _ => rest.fail(),
    }
}

#[inline(never)]
fn subquery<'a>(i: In<'a>) -> R<'a, Expr<'a>> {
    let (rest, found) = parens(i, query)?;
    one(i, rest, ExprKind::Subquery(found))
}

#[inline(never)]
fn row<'a>(i: In<'a>, rest: In<'a>, first: Expr<'a>) -> R<'a, Expr<'a>> {
    let mut list = i.vec();
    list.push(first);
    let (rest, others) = commas(rest, expr)?;
    list.extend_from_slice(others);
    let (rest, _) = tok(Tok::Close)(rest)?;
    one(i, rest, ExprKind::Row(list.into_bump_slice()))
}

#[inline(never)]
fn word<'a>(i: In<'a>) -> R<'a, Expr<'a>> {
    let next = i.tok_at(1);
    match i.peek_kw() {
        Kw::Null => one(i, i.skip(1), ExprKind::Null),
        Kw::True | Kw::False => one(i, i.skip(1), ExprKind::Bool),
        Kw::Default if next == Tok::Open => {
            let (rest, inner) = parens(i.skip(1), expr)?;
            one(i, rest, ExprKind::Other(i.shared.arena.alloc_slice_copy(&[inner])))
        }
        Kw::Default => one(i, i.skip(1), ExprKind::Default),
        Kw::Exists => {
            let (rest, found) = parens(i.skip(1), query)?;
            one(i, rest, ExprKind::Exists(found))
        }
        Kw::Case => case(i),
        Kw::Interval if next != Tok::Open || is_interval(i) => {
            let (rest, amount) = expr(i.skip(1))?;
            let (rest, _) = any_name(rest)?;
            one(i, rest, ExprKind::Other(i.shared.arena.alloc_slice_copy(&[amount])))
        }
        Kw::Row if next == Tok::Open => {
            let (rest, list) = parens(i.skip(1), |i| commas(i, expr))?;
            one(i, rest, ExprKind::Row(list))
        }
        Kw::Match if next == Tok::Open => matching(i),
        Kw::Date | Kw::Time | Kw::Timestamp if next == Tok::Str => {
            one(i, i.skip(2), ExprKind::Other(&[]))
        }
        Kw::CurrentUser if next != Tok::Open => one(i, i.skip(1), ExprKind::Other(&[])),
        Kw::Values
        | Kw::Left
        | Kw::Right
        | Kw::Replace
        | Kw::Insert
        | Kw::If
        | Kw::Mod
        | Kw::Char
        | Kw::Interval
        | Kw::Convert
        | Kw::CurrentUser
        | Kw::Regexp
            if next == Tok::Open =>
        {
            named(i)
        }
        keyword if keyword.is_reserved() => i.fail(),
        _ => named(i),
    }
}

/// `INTERVAL (a + b) DAY`, not the function `INTERVAL(a, b)`: a word follows the parenthesis.
fn is_interval(i: In<'_>) -> bool {
    skip_parens(i.skip(1)).is_ok_and(|(rest, ())| {
        rest.peek() == Tok::Word && !rest.peek_kw().is_reserved() || is_operator(rest)
    })
}

#[inline(never)]
fn case<'a>(i: In<'a>) -> R<'a, Expr<'a>> {
    let mut all = i.vec();
    let mut rest = i.skip(1);
    while rest.peek_kw() != Kw::End {
        rest = eat_all(rest, &[Kw::When, Kw::Then, Kw::Else]);
        let (next, operand) = expr(rest)?;
        all.push(operand);
        rest = next;
    }
    let all = all.into_bump_slice();
    one(i, rest.skip(1), ExprKind::Other(all))
}

#[inline(never)]
fn matching<'a>(i: In<'a>) -> R<'a, Expr<'a>> {
    let (rest, columns) = parens(i.skip(1), |i| commas(i, expr))?;
    let (rest, _) = kw(Kw::Against)(rest)?;
    let (rest, _) = tok(Tok::Open)(rest)?;
    let (rest, _) = operation(rest)?;
    let mut rest = rest;
    while rest.peek() == Tok::Word {
        rest = rest.skip(1);
    }
    let (rest, _) = tok(Tok::Close)(rest)?;
    one(i, rest, ExprKind::Other(columns))
}

/// A column or a call.
#[inline(never)]
fn named<'a>(i: In<'a>) -> R<'a, Expr<'a>> {
    if i.peek() == Tok::Word && i.tok_at(1) == Tok::Open {
        return call(i, None);
    }
    let (rest, first) = any_name(i)?;
    if rest.peek() != Tok::Dot {
        let column = ColumnName { database: None, table: None, name: first, database_span: None };
        return one(i, rest, ExprKind::Column(i.alloc(column)));
    }
    if rest.tok_at(1) == Tok::Star {
        return one(i, rest.skip(2), ExprKind::Star(Some(first)));
    }
    if rest.tok_at(2) == Tok::Open && matches!(rest.tok_at(1), Tok::Word | Tok::Quoted) {
        return call(rest.skip(1), Some(first))
            .map(|(r, e)| (r, Expr { span: i.span_to(&r), ..e }));
    }
    let (second_rest, second) = any_name(rest.skip(1))?;
    if second_rest.peek() != Tok::Dot {
        let column =
            ColumnName { database: None, table: Some(first), name: second, database_span: None };
        return one(i, second_rest, ExprKind::Column(i.alloc(column)));
    }
    let database_span = Some(Span { start: i.at(), end: rest.skip(1).at() });
    if second_rest.tok_at(1) == Tok::Star {
        return one(
            i,
            second_rest.skip(2),
            ExprKind::Column(i.alloc(ColumnName {
                database: Some(first),
                table: Some(second),
                name: "*",
                database_span,
            })),
        );
    }
    let (last, third) = any_name(second_rest.skip(1))?;
    let column =
        ColumnName { database: Some(first), table: Some(second), name: third, database_span };
    one(i, last, ExprKind::Column(i.alloc(column)))
}
