//! What the nom parsers read: a slice of tokens, and the few parsers that everything else is made
//! of.
use super::ast::Span;
use super::keyword::Kw;
use super::lex::{Lexer, SqlMode, Tok};
use crate::error::PlanError;
use crate::fingerprint::Fingerprint;
use bumpalo::Bump;
use bumpalo::collections::Vec as BumpVec;
use nom::error::{ErrorKind, ParseError};
use nom::{Err, IResult};
use std::cell::Cell;

/// How deep parentheses, subqueries and CASE may be nested. 100 fit a stack of 512 KiB; frames are
/// several times as large without optimisation.
pub const DEPTH_MAX: usize = if cfg!(debug_assertions) { 60 } else { 100 };

/// A token as the grammar sees it.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// What it is; a collapsed list and an INSERT's collapsed rows are one token each.
    pub tok: Tok,
    /// The keyword that a word is; of other tokens none.
    pub(crate) kw: Kw,
    /// Literals, lists and parameters: their number in the fingerprint; `u16::MAX` for what was not
    /// lifted.
    pub(crate) number: u16,
    /// Its bytes, with quotes, introducer and sign.
    pub span: Span,
}

/// What all parsers of one statement share.
#[derive(Debug)]
pub struct Shared<'a> {
    /// The client's text.
    pub sql: &'a [u8],
    /// Where the tree is put.
    pub arena: &'a Bump,
    /// How the text is read.
    pub mode: SqlMode,
    /// The end of the last token.
    pub end: u32,
    /// Steps down that the parsers may still take: alternatives that are tried within alternatives
    /// would take for ever.
    pub steps: Cell<usize>,
}

/// Steps down into an expression or a query, for each token. A few are taken where nothing is read
/// twice.
pub const STEPS_PER_TOKEN_MAX: usize = 100;

/// The input of every parser.
#[derive(Debug, Clone, Copy)]
pub struct In<'a> {
    /// The tokens that are still to be read.
    pub items: &'a [Item],
    /// What is the same for all parsers of the statement.
    pub shared: &'a Shared<'a>,
    depth: u16,
}

/// Where the grammar gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// The byte at which no parser could go on.
    pub at: u32,
    /// The statement is nested too deeply, or takes too many steps.
    pub deep: bool,
}

impl<'a> ParseError<In<'a>> for Trouble {
    fn from_error_kind(input: In<'a>, _: ErrorKind) -> Self {
        Self { at: input.at(), deep: false }
    }

    fn append(_: In<'a>, _: ErrorKind, other: Self) -> Self {
        other
    }

    fn or(self, other: Self) -> Self {
        if self.at > other.at { self } else { other }
    }
}

/// What a parser gives: what follows, and what it has read.
pub type R<'a, T> = IResult<In<'a>, T, Trouble>;

impl<'a> In<'a> {
    /// All of a statement's tokens.
    pub fn new(items: &'a [Item], shared: &'a Shared<'a>) -> Self {
        Self { items, shared, depth: 0 }
    }

    /// The byte at which the next token begins.
    pub fn at(&self) -> u32 {
        self.items.first().map_or(self.shared.end, |i| i.span.start)
    }

    /// What the next token is.
    pub fn peek(&self) -> Tok {
        self.items.first().map_or(Tok::End, |i| i.tok)
    }

    /// The keyword that the next token is.
    pub fn peek_kw(&self) -> Kw {
        self.items.first().map_or(Kw::None, |i| i.kw)
    }

    /// What the token `ahead` of the next one is.
    pub fn tok_at(&self, ahead: usize) -> Tok {
        self.items.get(ahead).map_or(Tok::End, |i| i.tok)
    }

    /// The keyword that the token `ahead` of the next one is.
    pub fn kw_at(&self, ahead: usize) -> Kw {
        self.items.get(ahead).map_or(Kw::None, |i| i.kw)
    }

    /// Is the token `ahead` this word, which is no keyword of ours?
    pub fn is_word(&self, ahead: usize, word: &str) -> bool {
        self.items.get(ahead).is_some_and(|i| {
            i.tok == Tok::Word && self.text(i.span).eq_ignore_ascii_case(word.as_bytes())
        })
    }

    /// No: another parser may be tried here.
    pub fn fail<T>(&self) -> R<'a, T> {
        Err(Err::Error(Trouble { at: self.at(), deep: false }))
    }

    /// Behind `count` tokens.
    pub fn skip(mut self, count: usize) -> Self {
        self.items = self.items.get(count..).unwrap_or_default();
        self
    }

    /// The next token and what follows it.
    pub fn any(self) -> R<'a, Item> {
        match self.items.split_first() {
            Some((item, rest)) => Ok((Self { items: rest, ..self }, *item)),
            None => self.fail(),
        }
    }

    /// One level deeper.
    pub fn deeper(self) -> Result<Self, Err<Trouble>> {
        let steps = self.shared.steps.get();
        self.shared.steps.set(steps.saturating_sub(1));
        if usize::from(self.depth) >= DEPTH_MAX || steps == 0 {
            return Err(Err::Failure(Trouble { at: self.at(), deep: true }));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    /// At the level of `other` again.
    pub fn level_of(self, other: Self) -> Self {
        Self { depth: other.depth, ..self }
    }

    /// From `start` to the end of the last token that was read before `rest`.
    pub fn span_to(&self, rest: &Self) -> Span {
        let read = self.items.len() - rest.items.len();
        let end = read
            .checked_sub(1)
            .and_then(|n| self.items.get(n))
            .map_or_else(|| self.at(), |i| i.span.end);
        Span { start: self.at(), end }
    }

    /// The bytes of a part of the statement.
    pub fn text(&self, span: Span) -> &'a [u8] {
        self.shared
            .sql
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }

    /// Puts a part of the tree into the arena.
    pub fn alloc<T>(&self, value: T) -> &'a T {
        self.shared.arena.alloc(value)
    }

    /// A list in the arena.
    pub fn vec<T>(&self) -> BumpVec<'a, T> {
        BumpVec::new_in(self.shared.arena)
    }

    /// The name that a word or a quoted identifier stands for.
    pub fn name_of(&self, item: Item) -> &'a str {
        let text = self.text(item.span);
        let inner = match item.tok {
            Tok::Quoted | Tok::Str => text
                .get(1..text.len().saturating_sub(1))
                .unwrap_or_default(),
            Tok::UserVar => {
                let name = text.get(1..).unwrap_or_default();
                match name.first() {
                    Some(b'\'' | b'"' | b'`') => name
                        .get(1..name.len().saturating_sub(1))
                        .unwrap_or_default(),
                    _ => name,
                }
            }
            _ => text,
        };
        let quote = text.first().copied().unwrap_or(0);
        let arena = self.shared.arena;
        match std::str::from_utf8(inner) {
            Ok(name) if item.tok != Tok::Quoted || !inner.contains(&quote) => name,
            Ok(name) => {
                let (one, two) = if quote == b'"' { ("\"", "\"\"") } else { ("`", "``") };
                arena.alloc_str(&name.replace(two, one))
            }
            Err(_) => arena.alloc_str(&String::from_utf8_lossy(inner)),
        }
    }
}

/// This token.
pub fn tok<'a>(tok: Tok) -> impl Fn(In<'a>) -> R<'a, Item> + Copy {
    move |i| if i.peek() == tok { i.any() } else { i.fail() }
}

/// This keyword.
pub fn kw<'a>(kw: Kw) -> impl Fn(In<'a>) -> R<'a, Item> + Copy {
    move |i| if i.peek_kw() == kw { i.any() } else { i.fail() }
}

/// Moves past the keyword if it is there.
pub fn eat(i: In<'_>, word: Kw) -> (In<'_>, bool) {
    if i.peek_kw() == word { (i.skip(1), true) } else { (i, false) }
}

/// Moves past all of these keywords.
pub fn eat_all<'a>(mut i: In<'a>, words: &[Kw]) -> In<'a> {
    while words.contains(&i.peek_kw()) {
        i = i.skip(1);
    }
    i
}

/// Moves past the token if it is there.
pub fn eat_tok(i: In<'_>, t: Tok) -> (In<'_>, bool) {
    if i.peek() == t { (i.skip(1), true) } else { (i, false) }
}

/// A name: an identifier with or without quotes.
pub fn name<'a>(i: In<'a>) -> R<'a, &'a str> {
    match i.peek() {
        Tok::Word if !i.peek_kw().is_reserved() => {}
        Tok::Quoted => {}
        _ => return i.fail(),
    }
    let (rest, item) = i.any()?;
    Ok((rest, rest.name_of(item)))
}

/// A name after a dot, where keywords are names too.
pub fn any_name<'a>(i: In<'a>) -> R<'a, &'a str> {
    match i.peek() {
        Tok::Word | Tok::Quoted => {
            let (rest, item) = i.any()?;
            Ok((rest, rest.name_of(item)))
        }
        _ => i.fail(),
    }
}

/// One or more, separated by commas.
pub fn commas<'a, T>(mut i: In<'a>, mut one: impl FnMut(In<'a>) -> R<'a, T>) -> R<'a, &'a [T]> {
    let mut out = i.vec();
    loop {
        let (rest, value) = one(i)?;
        out.push(value);
        if rest.peek() != Tok::Comma {
            return Ok((rest, out.into_bump_slice()));
        }
        i = rest.skip(1);
    }
}

/// A clause that begins with a keyword, if it is there; what is wrong in it is reported where it
/// stands.
pub fn clause<'a, T>(
    i: In<'a>,
    word: Kw,
    inner: impl FnOnce(In<'a>) -> R<'a, T>,
) -> R<'a, Option<T>> {
    if i.peek_kw() != word {
        return Ok((i, None));
    }
    inner(i.skip(1)).map(|(rest, found)| (rest, Some(found)))
}

/// Between parentheses.
pub fn parens<'a, T>(i: In<'a>, inner: impl FnOnce(In<'a>) -> R<'a, T>) -> R<'a, T> {
    let (rest, _) = tok(Tok::Open)(i)?;
    let (rest, value) = inner(rest)?;
    let (rest, _) = tok(Tok::Close)(rest)?;
    Ok((rest, value))
}

/// Moves past a balanced `( ... )`, whatever is in it.
pub fn skip_parens<'a>(i: In<'a>) -> R<'a, ()> {
    let (mut rest, _) = tok(Tok::Open)(i)?;
    let mut depth = 1usize;
    while depth > 0 {
        let (next, item) = rest.any()?;
        match item.tok {
            Tok::Open => depth += 1,
            Tok::Close => depth -= 1,
            _ => {}
        }
        rest = next;
    }
    Ok((rest, ()))
}

/// A statement's tokens, as the grammar and the scan for effects read them.
#[derive(Debug)]
pub struct Tokens<'a> {
    /// In the text's order, without comments, hints, directives and the statement's end.
    pub items: &'a [Item],
    /// The place behind the last token, hint or directive.
    pub(crate) end: u32,
    /// A `/*!80000 ... */` that some servers run and others skip.
    pub(crate) ambiguous: bool,
    /// Has it a hint that sets `sql_select_limit`?
    pub(crate) limited: bool,
    /// Comments of the form `/*vt+ ... */`.
    pub(crate) directives: &'a [Span],
}

/// Reads the tokens of the first statement, with the numbers that `fingerprint` gave to its
/// literals.
///
/// # Errors
/// [`PlanError::Syntax`] for bytes that are no token.
pub fn tokens<'a>(
    sql: &'a [u8],
    fingerprint: &Fingerprint,
    mode: SqlMode,
    arena: &'a Bump,
) -> Result<Tokens<'a>, PlanError> {
    let mut items = BumpVec::with_capacity_in(sql.len() / 4 + 4, arena);
    let mut directives = BumpVec::new_in(arena);
    let mut lexer = Lexer::new(sql, mode);
    let mut literals = fingerprint.literals.iter().enumerate().peekable();
    let mut lists = fingerprint.lists.iter().enumerate().peekable();
    let rows = fingerprint.rows.span();
    let (mut params, mut last, mut ambiguous) = (0u16, 0u32, false);
    let (mut after_in, mut limited) = (false, false);
    loop {
        let mut token = lexer.next_token()?;
        if token.tok == Tok::End {
            if token.start as usize >= fingerprint.end {
                break;
            }
            lexer.seek(token.start as usize + 1);
            continue;
        }
        let (mut word, mut number) = (Kw::None, u16::MAX);
        if let Some((n, literal)) = literals.peek().copied()
            && literal.span.start == token.start
        {
            literals.next();
            if literal.span.end != token.end {
                // A sign and its number.
                token = lexer.next_token()?;
                token.start = literal.span.start;
            }
            number = u16::try_from(n).unwrap_or(u16::MAX);
        } else {
            match token.tok {
                Tok::Word if token.text(sql) == b"\\N" => word = Kw::Null,
                Tok::Word => word = Kw::of(token.text(sql)),
                Tok::Param => {
                    number = params;
                    params = params.saturating_add(1);
                }
                Tok::Open if after_in => {
                    let first = lists
                        .peek()
                        .and_then(|(_, l)| fingerprint.items.get(l.start as usize));
                    let mut ahead = lexer;
                    if first
                        .is_some_and(|f| ahead.next_token().is_ok_and(|t| t.start == f.span.start))
                        && let Some((n, list)) = lists.next()
                    {
                        number = u16::try_from(n).unwrap_or(u16::MAX);
                        let end = fingerprint
                            .items
                            .get((list.end as usize).wrapping_sub(1))
                            .map_or(0, |l| l.span.end);
                        lexer.seek(end as usize);
                        token.end = lexer.next_token()?.end;
                        token.tok = Tok::List;
                    }
                }
                Tok::Open if rows.as_ref().is_some_and(|r| r.start == token.start) => {
                    token.end = rows.as_ref().map_or(token.end, |r| r.end);
                    token.tok = Tok::Rows;
                    lexer.seek(token.end as usize);
                }
                Tok::VersionOpen => {
                    let text = token.text(sql);
                    let digits = text.iter().filter(|b| b.is_ascii_digit());
                    let version = digits.fold(0u64, |v, b| {
                        v.saturating_mul(10).saturating_add(u64::from(b - b'0'))
                    });
                    // From here on MySQL and MariaDB do not agree on who runs what.
                    ambiguous |= version >= 50_700 || text.contains(&b'M') || text.contains(&b'm');
                    last = token.end;
                    continue;
                }
                Tok::VersionClose | Tok::Hint => {
                    limited |= token.tok == Tok::Hint && sets_limit(token.text(sql));
                    last = token.end;
                    continue;
                }
                Tok::Directive => {
                    directives.push(Span { start: token.start, end: token.end });
                    last = token.end;
                    continue;
                }
                _ => {}
            }
        }
        after_in = word == Kw::In;
        last = last.max(token.end);
        items.push(Item {
            tok: token.tok,
            kw: word,
            number,
            span: Span { start: token.start, end: token.end },
        });
    }
    Ok(Tokens {
        items: items.into_bump_slice(),
        end: last,
        ambiguous,
        limited,
        directives: directives.into_bump_slice(),
    })
}

/// `SET_VAR(sql_select_limit = 2)`
fn sets_limit(hint: &[u8]) -> bool {
    let name = b"sql_select_limit";
    hint.windows(name.len())
        .any(|part| part.eq_ignore_ascii_case(name))
}
