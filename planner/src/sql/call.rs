//! Calls of functions, in all the forms that MySQL's have, and windows.
use super::ast::*;
use super::expr::{expr, one, operation};
use super::input::*;
use super::keyword::Kw;
use super::lex::Tok;
use super::query::{query, starts_query};
use nom::Parser;
use nom::combinator::opt;

#[inline(never)]
pub(super) fn call<'a>(i: In<'a>, database: Option<&'a str>) -> R<'a, Expr<'a>> {
    let keyword = i.peek_kw();
    let (rest, name) = any_name(i)?;
    let (rest, args) = parens(rest, |i| arguments(i, keyword))?;
    let (rest, (window, args)) = over(rest, args)?;
    let call = Call { database, name, args, window };
    one(i, rest, ExprKind::Call(i.alloc(call)))
}

/// What stands in a call's parentheses, in all the forms that MySQL's functions have.
#[inline(never)]
fn arguments<'a>(i: In<'a>, function: Kw) -> R<'a, &'a [Expr<'a>]> {
    let mut rest = eat_all(i, &[Kw::Distinct, Kw::All]);
    if function == Kw::Trim {
        while ["both", "leading", "trailing"]
            .iter()
            .any(|w| rest.is_word(0, w))
        {
            rest = rest.skip(1);
        }
    }
    if function == Kw::Position {
        // POSITION(a IN b): not the predicate.
        let (next, needle) = operation(rest)?;
        let (next, _) = eat(next, Kw::In);
        let (next, hay) = expr(next)?;
        return Ok((next, i.shared.arena.alloc_slice_copy(&[needle, hay])));
    }
    if function == Kw::Extract {
        rest = any_name(rest)?.0;
    }
    let mut all = rest.vec();
    loop {
        match rest.peek() {
            Tok::Close => return Ok((rest, all.into_bump_slice())),
            Tok::Comma => rest = rest.skip(1),
            Tok::Word if starts_query(rest) => {
                let (next, found) = query(rest)?;
                all.push(Expr { span: found.span, kind: ExprKind::Subquery(found) });
                rest = next;
            }
            Tok::Word => match rest.peek_kw() {
                Kw::From
                | Kw::For
                | Kw::In
                | Kw::Using
                | Kw::Separator
                | Kw::Asc
                | Kw::Desc
                | Kw::Distinct
                | Kw::All => {
                    let using = rest.peek_kw() == Kw::Using;
                    rest = rest.skip(1);
                    if using {
                        // A character set's name, which may be a keyword (`binary`).
                        rest = any_name(rest)?.0;
                    }
                }
                Kw::Order if rest.kw_at(1) == Kw::By => rest = rest.skip(2),
                Kw::Limit => rest = rest.skip(1),
                // CAST(x AS type), CONVERT(x, type): the type is only words, numbers and parentheses.
                Kw::As => rest = skip_type(rest.skip(1)),
                _ if function == Kw::Convert && all.len() == 1 => rest = skip_type(rest),
                _ => {
                    let (next, operand) = expr(rest)?;
                    all.push(operand);
                    rest = next;
                    // JSON_VALUE(... RETURNING CHAR(10) NULL ON EMPTY)
                    if rest.peek_kw() == Kw::Returning {
                        rest = skip_type(rest.skip(1));
                    }
                }
            },
            Tok::End => return rest.fail(),
            _ => {
                let (next, operand) = expr(rest)?;
                all.push(operand);
                rest = next;
                if rest.peek_kw() == Kw::Returning {
                    rest = skip_type(rest.skip(1));
                }
            }
        }
    }
}

fn skip_type(mut i: In<'_>) -> In<'_> {
    loop {
        i = match i.peek() {
            Tok::Word => i.skip(1),
            Tok::Open => match skip_parens(i) {
                Ok((rest, ())) => rest,
                Err(_) => return i,
            },
            _ => return i,
        }
    }
}

/// `OVER w`, `OVER (PARTITION BY ... ORDER BY ... ROWS ...)`, with what may stand before it.
fn over<'a>(i: In<'a>, args: &'a [Expr<'a>]) -> R<'a, (bool, &'a [Expr<'a>])> {
    let mut rest = i;
    if rest.peek_kw() == Kw::From && rest.kw_at(1) == Kw::First {
        rest = rest.skip(2);
    }
    while rest.peek() == Tok::Word
        && rest.is_word(0, "respect") | rest.is_word(0, "ignore")
        && rest.is_word(1, "nulls")
    {
        rest = rest.skip(2);
    }
    if rest.peek_kw() != Kw::Over {
        return Ok((i, (false, args)));
    }
    rest = rest.skip(1);
    if rest.peek() != Tok::Open {
        let (rest, _) = any_name(rest)?;
        return Ok((rest, (true, args)));
    }
    let (rest, more) = parens(rest, window_spec)?;
    let mut all = i.vec();
    all.extend_from_slice(args);
    all.extend_from_slice(more);
    Ok((rest, (true, all.into_bump_slice())))
}

/// The inside of a window's parentheses; its expressions.
pub(super) fn window_spec<'a>(i: In<'a>) -> R<'a, &'a [Expr<'a>]> {
    let mut all = i.vec();
    let (mut rest, _) = opt(name).parse(i)?;
    loop {
        match (rest.peek(), rest.peek_kw()) {
            (Tok::Close, _) => return Ok((rest, all.into_bump_slice())),
            (_, Kw::Partition | Kw::Order) => rest = kw(Kw::By)(rest.skip(1))?.0,
            (Tok::Comma, _) | (_, Kw::Asc | Kw::Desc) => rest = rest.skip(1),
            (_, Kw::Rows | Kw::Range) => {
                while rest.peek() != Tok::Close {
                    rest = if rest.peek() == Tok::Open { skip_parens(rest)?.0 } else { rest.any()?.0 };
                }
            }
            (Tok::Word, _) if rest.is_word(0, "groups") => {
                rest = rest.skip(1);
            }
            _ => {
                let (next, operand) = expr(rest)?;
                all.push(operand);
                rest = next;
            }
        }
    }
}
