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
    let mut call =
        Call { database, name, args: &[], window: false, distinct: false, clauses: false };
    let (rest, args) = parens(rest, |i| arguments(i, keyword, &mut call))?;
    let (rest, (window, args)) = over(rest, args)?;
    (call.window, call.args) = (window, args);
    one(i, rest, ExprKind::Call(i.alloc(call)))
}

/// What stands in a call's parentheses, in all the forms that MySQL's functions have.
#[inline(never)]
fn arguments<'a>(i: In<'a>, function: Kw, call: &mut Call<'a>) -> R<'a, &'a [Expr<'a>]> {
    let mut rest = i;
    while matches!(rest.peek_kw(), Kw::Distinct | Kw::All) {
        call.distinct |= rest.peek_kw() == Kw::Distinct;
        rest = rest.skip(1);
    }
    // These have words in between that matter to the value.
    call.clauses = matches!(function, Kw::Trim | Kw::Position | Kw::Extract);
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
            Tok::Word if all.len() == 1 && function == Kw::Convert || is_clause(rest) => {
                rest = clause_word(rest, call)?;
            }
            Tok::End => return rest.fail(),
            _ => {
                let (next, operand) = expr(rest)?;
                all.push(operand);
                rest = next;
                // JSON_VALUE(... RETURNING CHAR(10) NULL ON EMPTY)
                if rest.peek_kw() == Kw::Returning {
                    rest = skip_type(rest.skip(1));
                }
            }
        }
    }
}

/// Does a word stand here that is no argument?
fn is_clause(i: In<'_>) -> bool {
    match i.peek_kw() {
        Kw::From
        | Kw::For
        | Kw::In
        | Kw::Using
        | Kw::Separator
        | Kw::Asc
        | Kw::Desc
        | Kw::Distinct
        | Kw::All
        | Kw::Limit
        | Kw::As => true,
        Kw::Order => i.kw_at(1) == Kw::By,
        _ => false,
    }
}

/// Moves past what is no argument: words between arguments, a character set, a type.
fn clause_word<'a>(i: In<'a>, call: &mut Call<'a>) -> Result<In<'a>, nom::Err<Trouble>> {
    call.distinct |= i.peek_kw() == Kw::Distinct;
    call.clauses = true;
    Ok(match i.peek_kw() {
        // A character set's name, which may be a keyword (`binary`).
        Kw::Using => any_name(i.skip(1))?.0,
        Kw::Order => i.skip(2),
        // CAST(x AS type): the type is only words, numbers and parentheses.
        Kw::As => skip_type(i.skip(1)),
        _ if is_clause(i) => i.skip(1),
        // CONVERT(x, type)
        _ => skip_type(i),
    })
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
    let mut all = i.vec();
    all.extend_from_slice(args);
    // PERCENTILE_CONT(x) WITHIN GROUP (ORDER BY ...)
    if rest.is_word(0, "within") && rest.kw_at(1) == Kw::Group && rest.tok_at(2) == Tok::Open {
        let (next, order) = parens(rest.skip(2), window_spec)?;
        all.extend_from_slice(order);
        rest = next;
    }
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
        return Ok((rest, (true, all.into_bump_slice())));
    }
    let (rest, more) = parens(rest, window_spec)?;
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
                    rest =
                        if rest.peek() == Tok::Open { skip_parens(rest)?.0 } else { rest.any()?.0 };
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
