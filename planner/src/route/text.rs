//! Changes to a statement's text, and the pieces that they make of it.
use crate::fingerprint::Fingerprint;
use crate::plan::{Operand, Piece, Text};
use crate::sql::ast::Span;
use crate::sql::input::{Item, Tokens};
use crate::sql::keyword::Kw;
use crate::sql::lex::Tok;

/// An identifier in backticks.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A list of changes: bytes that are replaced. They do not overlap.
#[derive(Debug, Clone, Default)]
pub(super) struct Edits {
    list: Vec<(Span, Vec<Piece>)>,
    /// The changes only divide rows or lists among shards.
    only_splits: bool,
}

impl Edits {
    pub(super) fn replace(&mut self, span: Span, pieces: Vec<Piece>) {
        self.only_splits = false;
        self.list.push((span, pieces));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn insert(&mut self, at: u32, pieces: Vec<Piece>) {
        self.replace(Span { start: at, end: at }, pieces);
    }

    /// A change instead of those that were made in the same bytes.
    pub(super) fn replace_all(&mut self, span: Span, pieces: Vec<Piece>) {
        self.list
            .retain(|(s, _)| s.start < span.start || s.end > span.end || s.start == span.end);
        self.replace(span, pieces);
    }

    /// Is something put in at this place?
    pub(super) fn has_insert(&self, at: u32) -> bool {
        self.list.iter().any(|(s, _)| s.start == at && s.end == at)
    }

    /// A change that matters only if several shards are hit.
    pub(super) fn split(&mut self, span: Span, pieces: Vec<Piece>) {
        self.only_splits = self.only_splits || self.list.is_empty();
        self.list.push((span, pieces));
    }

    /// The pieces of some bytes, with the changes that lie in them.
    pub(super) fn pieces(&self, sql: &[u8], tokens: &Tokens<'_>, span: Span) -> Vec<Piece> {
        let mut changes: Vec<&(Span, Vec<Piece>)> = self
            .list
            .iter()
            .filter(|(s, _)| s.start >= span.start && s.end <= span.end)
            .collect();
        changes.sort_by_key(|(s, _)| (s.start, std::cmp::Reverse(s.end)));
        let mut out = Vec::new();
        let mut at = span.start;
        for (change, pieces) in changes {
            if change.start < at {
                continue;
            }
            verbatim(sql, tokens, Span { start: at, end: change.start }, &mut out);
            out.extend(pieces.iter().cloned());
            at = change.end;
        }
        verbatim(sql, tokens, Span { start: at, end: span.end }, &mut out);
        out
    }

    /// The whole statement's text.
    pub(super) fn text(&self, sql: &[u8], fingerprint: &Fingerprint, tokens: &Tokens<'_>) -> Text {
        if self.list.is_empty() {
            return Text::AsIs;
        }
        let end = u32::try_from(fingerprint.end).unwrap_or(u32::MAX);
        let pieces = self.pieces(sql, tokens, Span { start: 0, end });
        if self.only_splits { Text::Split(pieces) } else { Text::Pieces(pieces) }
    }
}

/// Is a parameter a number of rows: `LIMIT ?`, `LIMIT ?, ?`, `OFFSET ?`?
fn is_limit(tokens: &Tokens<'_>, param: &Item) -> bool {
    let at = tokens
        .items
        .partition_point(|item| item.span.start < param.span.start);
    let before = |n: usize| at.checked_sub(n).and_then(|at| tokens.items.get(at));
    let is = |item: Option<&Item>, words: &[Kw]| item.is_some_and(|item| words.contains(&item.kw));
    is(before(1), &[Kw::Limit, Kw::Offset])
        || before(1).is_some_and(|item| item.tok == Tok::Comma) && is(before(3), &[Kw::Limit])
}

/// The text between two places: literals, lists, rows and parameters become pieces, all else is
/// copied.
fn verbatim(sql: &[u8], tokens: &Tokens<'_>, span: Span, out: &mut Vec<Piece>) {
    let mut at = span.start;
    let push = |from: u32, to: u32, out: &mut Vec<Piece>| {
        let text = sql.get(from as usize..to as usize).unwrap_or_default();
        match out.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Verbatim(before)) => before.extend_from_slice(text),
            _ => out.push(Piece::Verbatim(text.to_vec())),
        }
    };
    let inside = tokens
        .items
        .iter()
        .filter(|i| i.span.start >= span.start && i.span.end <= span.end);
    for item in inside {
        let piece = match item.tok {
            // A variable, as EXECUTE ... USING names it, may stand anywhere else.
            Tok::Param if is_limit(tokens, item) => {
                Piece::LimitSum { skip: None, take: Operand::Param(item.number) }
            }
            Tok::Param => Piece::Param(item.number),
            Tok::List => Piece::List { list: item.number, split: false },
            Tok::Rows => Piece::CollapsedRows,
            t if t.is_literal() && item.number != u16::MAX => Piece::Literal(item.number),
            _ => continue,
        };
        push(at, item.span.start, out);
        out.push(piece);
        at = item.span.end;
    }
    push(at, span.end, out);
}
