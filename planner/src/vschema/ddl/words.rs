//! Splits a statement into words, quoted strings and symbols.
use super::DdlError;

/// How much of the rest of a statement an error shows, in bytes.
const NEAR: usize = 60;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// Bare: a keyword, a name, a number.
    Bare(String),
    /// In backticks: a name, never a keyword.
    Name(String),
    /// In single or double quotes.
    Text(String),
    Symbol(char),
}

pub(super) struct Words<'a> {
    sql: &'a str,
    /// Words with their offsets, in order.
    words: Vec<(usize, Word)>,
    at: usize,
}

impl<'a> Words<'a> {
    pub(super) fn new(sql: &'a str) -> Result<Self, DdlError> {
        let mut words = Vec::new();
        let mut rest = sql;
        loop {
            rest = skip_blanks(rest);
            let at = sql.len() - rest.len();
            let Some(first) = rest.chars().next() else { break };
            let word = match first {
                '`' | '\'' | '"' => {
                    let (text, tail) =
                        quoted(rest, first).ok_or_else(|| near(rest, "a closing quote"))?;
                    rest = tail;
                    if first == '`' { Word::Name(text) } else { Word::Text(text) }
                }
                c if is_bare(c) => {
                    let end = rest.find(|c| !is_bare(c)).unwrap_or(rest.len());
                    let (bare, tail) = rest.split_at(end);
                    rest = tail;
                    Word::Bare(bare.to_owned())
                }
                c => {
                    rest = &rest[c.len_utf8()..];
                    Word::Symbol(c)
                }
            };
            words.push((at, word));
        }
        while words.last().is_some_and(|w| w.1 == Word::Symbol(';')) {
            words.pop();
        }
        Ok(Self { sql, words, at: 0 })
    }

    fn peek(&self) -> Option<&Word> {
        self.words.get(self.at).map(|w| &w.1)
    }

    fn error(&self, expected: &'static str) -> DdlError {
        near(self.words.get(self.at).map_or("", |w| &self.sql[w.0..]), expected)
    }

    /// Takes the keyword if it is next.
    pub(super) fn eat(&mut self, keyword: &str) -> bool {
        let is =
            matches!(self.peek(), Some(Word::Bare(word)) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(is);
        is
    }

    pub(super) fn keyword(
        &mut self,
        keyword: &str,
        expected: &'static str,
    ) -> Result<(), DdlError> {
        if self.eat(keyword) { Ok(()) } else { Err(self.error(expected)) }
    }

    pub(super) fn eat_symbol(&mut self, symbol: char) -> bool {
        let is = self.peek() == Some(&Word::Symbol(symbol));
        self.at += usize::from(is);
        is
    }

    pub(super) fn symbol(&mut self, symbol: char, expected: &'static str) -> Result<(), DdlError> {
        if self.eat_symbol(symbol) { Ok(()) } else { Err(self.error(expected)) }
    }

    pub(super) fn name(&mut self, expected: &'static str) -> Result<String, DdlError> {
        match self.peek() {
            Some(Word::Bare(name) | Word::Name(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.error(expected)),
        }
    }

    /// `[keyspace.]name`
    pub(super) fn qualified(
        &mut self,
        expected: &'static str,
    ) -> Result<(Option<String>, String), DdlError> {
        let first = self.name(expected)?;
        if self.eat_symbol('.') {
            Ok((Some(first), self.name(expected)?))
        } else {
            Ok((None, first))
        }
    }

    /// A param's value: a string, or names with dots between.
    pub(super) fn value(&mut self, expected: &'static str) -> Result<String, DdlError> {
        if let Some(Word::Text(text)) = self.peek() {
            let text = text.clone();
            self.at += 1;
            return Ok(text);
        }
        let mut value = self.name(expected)?;
        while self.eat_symbol('.') {
            value.push('.');
            value.push_str(&self.name(expected)?);
        }
        Ok(value)
    }

    pub(super) fn end(&self) -> Result<(), DdlError> {
        if self.peek().is_none() { Ok(()) } else { Err(self.error("the end of the statement")) }
    }
}

fn is_bare(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '-')
}

fn near(rest: &str, expected: &'static str) -> DdlError {
    let mut end = rest.len().min(NEAR);
    while !rest.is_char_boundary(end) {
        end -= 1;
    }
    DdlError::Syntax { expected, near: rest[..end].to_owned() }
}

/// Blanks and comments.
fn skip_blanks(mut sql: &str) -> &str {
    loop {
        let trimmed = sql.trim_start();
        let line =
            trimmed.starts_with('#') || trimmed.starts_with("-- ") || trimmed.starts_with("--\t");
        sql = if line {
            trimmed.find('\n').map_or("", |end| &trimmed[end..])
        } else if let Some(comment) = trimmed.strip_prefix("/*") {
            comment.find("*/").map_or("", |end| &comment[end + 2..])
        } else {
            return trimmed;
        };
    }
}

/// What stands between quotes (doubled ones stand for one), and what follows.
fn quoted(sql: &str, quote: char) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = sql.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote != '`' => text.push(chars.next()?.1),
            c if c == quote => {
                if chars.peek().is_none_or(|next| next.1 != quote) {
                    return Some((text, &sql[at + 1..]));
                }
                chars.next();
                text.push(quote);
            }
            c => text.push(c),
        }
    }
    None
}
