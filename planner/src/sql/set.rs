//! SET in all its forms.
use super::ast::*;
use super::expr::expr;
use super::input::*;
use super::keyword::Kw;
use super::lex::Tok;
use crate::plan::Scope;
use crate::vitess_variables::is_vitess;

pub(super) fn set<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    // Not assignments: SET PASSWORD, SET ROLE, SET DEFAULT ROLE, SET RESOURCE GROUP, SET STATEMENT
    // ... FOR ...
    let is_no_variable = i.is_word(0, "password");
    if is_no_variable
        || ["role", "resource", "statement"]
            .iter()
            .any(|w| i.is_word(0, w))
            && i.tok_at(1) != Tok::Eq
        || i.peek_kw() == Kw::Default
    {
        return Ok((i.skip(usize::MAX), Statement::Unknown));
    }
    let transaction = match i.peek_kw() {
        Kw::Transaction => Some((Scope::NextTransaction, i.skip(1))),
        Kw::Session | Kw::Local if i.kw_at(1) == Kw::Transaction => {
            Some((Scope::Session, i.skip(2)))
        }
        Kw::Global if i.kw_at(1) == Kw::Transaction => Some((Scope::Global, i.skip(2))),
        _ => None,
    };
    if let Some((scope, rest)) = transaction {
        let end = rest.skip(usize::MAX);
        if rest.peek() == Tok::End {
            return rest.fail();
        }
        let (span, value) = (i.span_to(&end), rest.span_to(&end));
        let item = SetItem { scope, name: "transaction", span, value, kind: SetItemKind::Literal };
        return Ok((end, Statement::Set(i.shared.arena.alloc_slice_copy(&[item]))));
    }
    // A scope's word holds for the assignments after it, too.
    let mut scope = Scope::Session;
    let (rest, items) = commas(i, |i| assignment(i, &mut scope))?;
    Ok((rest, Statement::Set(items)))
}

fn lower<'a>(i: In<'a>, name: &str) -> &'a str {
    i.shared.arena.alloc_str(&name.to_ascii_lowercase())
}

fn assignment<'a>(i: In<'a>, scope: &mut Scope) -> R<'a, SetItem<'a>> {
    match i.peek_kw() {
        Kw::Names => return charset(i, i.skip(1), "names"),
        Kw::Charset => return charset(i, i.skip(1), "character set"),
        Kw::Character if i.kw_at(1) == Kw::Set => return charset(i, i.skip(2), "character set"),
        _ => {}
    }
    let mut rest = i;
    let mut this = *scope;
    let name: &str;
    match rest.peek() {
        Tok::UserVar => {
            let (next, item) = rest.any()?;
            name = next.name_of(item);
            this = Scope::User;
            rest = next;
        }
        Tok::AtAt => {
            rest = rest.skip(1);
            this = Scope::Session;
            if let Some(found) = scope_word(rest.peek_kw())
                && rest.tok_at(1) == Tok::Dot
            {
                this = found;
                rest = rest.skip(2);
            }
            let (next, first) = any_name(rest)?;
            (rest, name) = dotted(next, first)?;
        }
        _ => {
            if let Some(found) = scope_word(rest.peek_kw())
                && rest.tok_at(1) != Tok::Eq
            {
                *scope = found;
                this = found;
                rest = rest.skip(1);
            }
            let (next, first) = any_name(rest)?;
            (rest, name) = dotted(next, first)?;
        }
    }
    rest = match rest.peek() {
        Tok::Eq | Tok::Assign => rest.skip(1),
        _ => return rest.fail(),
    };
    let name = if this == Scope::User { name } else { lower(i, name) };
    if this == Scope::Session && is_vitess(name) {
        this = Scope::Vitess;
    }
    let (after, kind) = value(rest)?;
    let span = i.span_to(&after);
    Ok((after, SetItem { scope: this, name, span, value: rest.span_to(&after), kind }))
}

/// `default.key_buffer_size` and the like keep their dots.
fn dotted<'a>(i: In<'a>, first: &'a str) -> R<'a, &'a str> {
    if i.peek() != Tok::Dot {
        return Ok((i, first));
    }
    let (rest, second) = any_name(i.skip(1))?;
    Ok((rest, i.shared.arena.alloc_str(&format!("{first}.{second}"))))
}

fn scope_word(word: Kw) -> Option<Scope> {
    match word {
        Kw::Global | Kw::Persist | Kw::PersistOnly => Some(Scope::Global),
        Kw::Session | Kw::Local => Some(Scope::Session),
        _ => None,
    }
}

/// A value, and whether it is plain.
fn value<'a>(i: In<'a>) -> R<'a, SetItemKind> {
    let single = matches!(i.tok_at(1), Tok::Comma | Tok::End);
    match (i.peek(), i.peek_kw()) {
        (_, Kw::Default) if single => Ok((i.skip(1), SetItemKind::Default)),
        (t, _) if single && t.is_literal() => Ok((i.skip(1), SetItemKind::Literal)),
        // ON, OFF, utf8mb4, BINARY, ALL ...: bare words.
        (Tok::Word, _) if single => Ok((i.skip(1), SetItemKind::Literal)),
        _ => expr(i).map(|(rest, _)| (rest, SetItemKind::Expression)),
    }
}

/// `NAMES utf8mb4 COLLATE x`: the whole is the assignment.
fn charset<'a>(i: In<'a>, rest: In<'a>, name: &'a str) -> R<'a, SetItem<'a>> {
    let kind =
        if rest.peek_kw() == Kw::Default { SetItemKind::Default } else { SetItemKind::Literal };
    let rest = if rest.peek() == Tok::Eq { rest.skip(1) } else { rest };
    let (mut after, _) = rest.any()?;
    let value = rest.span_to(&after);
    if after.peek_kw() == Kw::Collate {
        after = after.skip(1).any()?.0;
    }
    Ok((after, SetItem { scope: Scope::Session, name, span: i.span_to(&after), value, kind }))
}
