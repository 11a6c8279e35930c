//! What a statement may do to LAST_INSERT_ID(), as far as its tokens tell.
use crate::plan::Effects;
use crate::sql::input::Item;
use crate::sql::keyword::Kw;
use crate::sql::lex::Tok;

fn is(sql: &[u8], item: &Item, word: &str) -> bool {
    item.tok == Tok::Word
        && sql
            .get(item.span.start as usize..item.span.end as usize)
            .is_some_and(|text| text.eq_ignore_ascii_case(word.as_bytes()))
}

pub(super) fn effects(sql: &[u8], items: &[Item]) -> Effects {
    let first = items.first().map_or(Kw::None, |i| i.kw);
    let inserts = matches!(first, Kw::Insert | Kw::Replace);
    let sets = |n: usize, item: &Item| {
        let tok = |n: usize| items.get(n).map_or(Tok::End, |i| i.tok);
        let call = is(sql, item, "last_insert_id") && tok(n + 1) == Tok::Open;
        // Without an argument it reads only.
        call && tok(n + 2) != Tok::Close || inserts && is(sql, item, "returning")
    };
    let sets = first == Kw::Call || items.iter().enumerate().any(|(n, item)| sets(n, item));
    if sets {
        return Effects::SETS_INSERT_ID;
    }
    let mut found = Effects::empty();
    found.set(Effects::PLAIN_ROWS, inserts && rows_are_plain(sql, items));
    let ends_with_rows = items.last().is_some_and(|i| i.tok == Tok::Rows);
    found.set(
        Effects::ROWS_ONLY,
        inserts && ends_with_rows && !items.iter().any(|i| is(sql, i, "select")),
    );
    found
}

/// Is `LAST_INSERT_ID(n)` in it?
pub(super) fn gives_value(sql: &[u8], items: &[Item]) -> bool {
    items.windows(3).any(|window| match window {
        [name, open, value] => {
            is(sql, name, "last_insert_id") && open.tok == Tok::Open && value.tok != Tok::Close
        }
        _ => false,
    })
}

/// INSERT or REPLACE whose values are all literals and parameters, or LAST_INSERT_ID() itself: a
/// number that none of them is has been generated.
fn rows_are_plain(sql: &[u8], items: &[Item]) -> bool {
    let starts = ["values", "value", "set"];
    let Some(at) = items
        .iter()
        .position(|i| starts.iter().any(|word| is(sql, i, word)))
    else {
        return false;
    };
    let before = items.get(..at).unwrap_or_default();
    if before
        .iter()
        .any(|i| is(sql, i, "ignore") || is(sql, i, "select"))
    {
        return false;
    }
    let assigns = items.get(at).is_some_and(|i| is(sql, i, "set"));
    let rest = items.get(at + 1..).unwrap_or_default();
    rest.iter().enumerate().all(|(n, item)| {
        let next = rest.get(n + 1).map_or(Tok::End, |i| i.tok);
        match item.tok {
            Tok::Comma | Tok::Open | Tok::Close | Tok::Rows | Tok::List | Tok::Param => true,
            Tok::Minus | Tok::Plus => true,
            Tok::Eq | Tok::Dot => assigns,
            Tok::Word if is(sql, item, "last_insert_id") => true,
            Tok::Word
                if ["null", "default", "true", "false"]
                    .iter()
                    .any(|w| is(sql, item, w)) =>
            {
                next != Tok::Open
            }
            Tok::Word | Tok::Quoted if assigns => {
                !matches!(next, Tok::Open) && !is(sql, item, "on") && !is(sql, item, "select")
            }
            Tok::HexNumber => false,
            tok => tok.is_literal() && !matches!(tok, Tok::HexString | Tok::Bit),
        }
    })
}
