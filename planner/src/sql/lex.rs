//! Bytes to tokens. One table look-up decides what a byte can begin; no token owns memory.
//! The rules are those of MySQL's manual, chapter "Language Structure".
pub use super::token::{SqlMode, Tok, Token};
use crate::error::PlanError;

const SPACE: u8 = 1;
const IDENT: u8 = 2;
const DIGIT: u8 = 3;

const CLASS: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = match b {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => SPACE,
            b'0'..=b'9' => DIGIT,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | 0x80..=0xff => IDENT,
            _ => 0,
        };
        i += 1;
    }
    table
};

#[inline]
fn is_ident(b: u8) -> bool {
    CLASS[b as usize] >= IDENT
}

/// Reads tokens one after another. `Copy`, so that a reader can look ahead and go back.
#[derive(Clone, Copy)]
pub struct Lexer<'a> {
    sql: &'a [u8],
    at: usize,
    mode: SqlMode,
    in_version: bool,
    /// The byte before was a dot that ends a qualifier: digits begin an identifier.
    after_dot: bool,
    after_name: bool,
}

impl<'a> Lexer<'a> {
    /// A reader at the beginning of the text.
    pub fn new(sql: &'a [u8], mode: SqlMode) -> Self {
        Self { sql, at: 0, mode, in_version: false, after_dot: false, after_name: false }
    }

    /// The place of the next byte that is to be read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Goes on at this byte, which must not be within a token.
    pub fn seek(&mut self, at: usize) {
        self.at = at.min(self.sql.len());
    }

    /// Inside of a `/*!50000 ... */`?
    pub(crate) fn is_in_version(&self) -> bool {
        self.in_version
    }

    #[inline]
    fn peek(&self, ahead: usize) -> u8 {
        self.sql.get(self.at + ahead).copied().unwrap_or(0)
    }

    #[inline]
    fn run(&self, from: usize, test: impl Fn(u8) -> bool) -> usize {
        self.sql
            .get(from..)
            .and_then(|rest| rest.iter().position(|&b| !test(b)))
            .map_or(self.sql.len(), |n| from + n)
    }

    /// The next token. Plain comments and white space are skipped.
    #[inline]
    pub fn next_token(&mut self) -> Result<Token, PlanError> {
        if CLASS[self.peek(0) as usize] == SPACE {
            (self.after_name, self.after_dot) = (false, false);
            self.at = self.run(self.at, |b| CLASS[b as usize] == SPACE);
        }
        let start = self.at;
        let first = self.peek(0);
        let forced = std::mem::take(&mut self.after_dot);
        let class = CLASS[first as usize];
        let tok = if class == IDENT || (forced && class == DIGIT) {
            self.word(first)?
        } else if class == DIGIT {
            self.number()
        } else {
            match self.other(first)? {
                Some(tok) => tok,
                None => return self.next_token_slow(),
            }
        };
        self.after_name = matches!(tok, Tok::Word | Tok::Quoted);
        Ok(Token { tok, start: start as u32, end: self.at as u32 })
    }

    /// After a comment: more comments and white space may follow, so loop instead of recursing.
    #[cold]
    fn next_token_slow(&mut self) -> Result<Token, PlanError> {
        loop {
            self.after_name = false;
            self.at = self.run(self.at, |b| CLASS[b as usize] == SPACE);
            let start = self.at;
            let first = self.peek(0);
            let tok = match CLASS[first as usize] {
                IDENT => self.word(first)?,
                DIGIT => self.number(),
                _ => match self.other(first)? {
                    Some(tok) => tok,
                    None => continue,
                },
            };
            self.after_name = matches!(tok, Tok::Word | Tok::Quoted);
            return Ok(Token { tok, start: start as u32, end: self.at as u32 });
        }
    }

    fn word(&mut self, first: u8) -> Result<Tok, PlanError> {
        let start = self.at;
        let end = self.run(start + 1, is_ident);
        if self.sql.get(end) == Some(&b'\'') {
            let text = self.sql.get(start..end).unwrap_or_default();
            let tok = match text {
                [b'n' | b'N'] => Some(Tok::National),
                [b'x' | b'X'] => Some(Tok::HexString),
                [b'b' | b'B'] => Some(Tok::Bit),
                [b'_', ..] => Some(introducer(text)),
                _ => None,
            };
            if let Some(tok) = tok {
                self.at = end;
                if matches!(tok, Tok::HexString | Tok::Bit) {
                    self.digits_in_quotes()?;
                } else {
                    self.quoted(b'\'', true)?;
                }
                return Ok(tok);
            }
        }
        self.at = end;
        if first == b'_'
            && let Some(tok) = self.introduced(start, end)?
        {
            return Ok(tok);
        }
        Ok(Tok::Word)
    }

    /// What follows the name of a character set: `_utf8mb4 'a'`, `_latin1 0x4D`, `_binary"a"`.
    #[cold]
    fn introduced(&mut self, start: usize, end: usize) -> Result<Option<Tok>, PlanError> {
        let text = self.sql.get(start..end).unwrap_or_default();
        if !text.get(1..).is_some_and(crate::charset::is_known) {
            return Ok(None);
        }
        self.at = self.run(end, |b| CLASS[b as usize] == SPACE);
        match (self.peek(0), self.peek(1)) {
            (quote @ (b'\'' | b'"'), _)
                if quote == b'\'' || !self.mode.contains(SqlMode::ANSI_QUOTES) =>
            {
                self.quoted(quote, true)?;
                return Ok(Some(introducer(text)));
            }
            (b'x' | b'X' | b'b' | b'B', b'\'') => {
                self.at += 1;
                self.digits_in_quotes()?;
                return Ok(Some(Tok::Foreign));
            }
            (b'0', b'x' | b'b') if matches!(self.number(), Tok::HexNumber | Tok::Bit) => {
                return Ok(Some(Tok::Foreign));
            }
            _ => {}
        }
        self.at = end;
        Ok(None)
    }

    fn digits_in_quotes(&mut self) -> Result<(), PlanError> {
        let open = self.at;
        let end = self.run(open + 1, |b| b.is_ascii_hexdigit());
        if self.sql.get(end) != Some(&b'\'') {
            return Err(PlanError::syntax(self.sql, open.saturating_sub(1)));
        }
        self.at = end + 1;
        Ok(())
    }

    fn number(&mut self) -> Tok {
        let start = self.at;
        if self.peek(0) == b'0' {
            let hex = match self.peek(1) {
                b'x' => Some((Tok::HexNumber, self.run(start + 2, |b| b.is_ascii_hexdigit()))),
                b'b' => Some((Tok::Bit, self.run(start + 2, |b| b == b'0' || b == b'1'))),
                _ => None,
            };
            if let Some((tok, end)) = hex
                && end > start + 2
                && !self.sql.get(end).copied().is_some_and(is_ident)
            {
                self.at = end;
                return tok;
            }
        }
        let mut end = self.run(start, |b| b.is_ascii_digit());
        let next = self.sql.get(end).copied().unwrap_or(0);
        if next == b'.' {
            end = self.run(end + 1, |b| b.is_ascii_digit());
            if let Some(exponent) = self.exponent(end) {
                self.at = exponent;
                return Tok::Float;
            }
            self.at = end;
            return Tok::Decimal;
        }
        if let Some(exponent) = self.exponent(end) {
            // `1e5` is a number, `1e5a` a name.
            if !self.sql.get(exponent).copied().is_some_and(is_ident) {
                self.at = exponent;
                return Tok::Float;
            }
        }
        if is_ident(next) {
            self.at = self.run(end, is_ident);
            return Tok::Word;
        }
        self.at = end;
        Tok::Int
    }

    /// The end of `e[+-]digits` at `from`.
    fn exponent(&self, from: usize) -> Option<usize> {
        if !matches!(self.sql.get(from), Some(b'e' | b'E')) {
            return None;
        }
        let digits = from + 1 + usize::from(matches!(self.sql.get(from + 1), Some(b'+' | b'-')));
        let end = self.run(digits, |b| b.is_ascii_digit());
        (end > digits).then_some(end)
    }

    /// Moves past a quoted text that begins at `at`.
    fn quoted(&mut self, quote: u8, escapes: bool) -> Result<(), PlanError> {
        match quoted_end(self.sql, self.at, quote, escapes && self.escapes()) {
            Some(end) => self.at = end,
            None => return Err(PlanError::syntax(self.sql, self.at)),
        }
        Ok(())
    }

    /// Is a backslash in a string more than a character?
    pub(crate) fn escapes(&self) -> bool {
        !self.mode.contains(SqlMode::NO_BACKSLASH_ESCAPES)
    }

    /// Everything that begins with punctuation. `None`: a comment was skipped.
    fn other(&mut self, first: u8) -> Result<Option<Tok>, PlanError> {
        let (second, third) = (self.peek(1), self.peek(2));
        let (tok, len) = match first {
            b',' => (Tok::Comma, 1),
            b'(' => (Tok::Open, 1),
            b')' => (Tok::Close, 1),
            b'=' => (Tok::Eq, 1),
            b'?' => (Tok::Param, 1),
            b'\'' => {
                self.quoted(b'\'', true)?;
                return Ok(Some(Tok::Str));
            }
            b'"' if self.mode.contains(SqlMode::ANSI_QUOTES) => {
                self.quoted(b'"', false)?;
                return Ok(Some(Tok::Quoted));
            }
            b'"' => {
                self.quoted(b'"', true)?;
                return Ok(Some(Tok::Str));
            }
            b'`' => {
                self.quoted(b'`', false)?;
                return Ok(Some(Tok::Quoted));
            }
            b'.' if self.after_name => {
                self.after_dot = true;
                (Tok::Dot, 1)
            }
            b'.' if second.is_ascii_digit() => return Ok(Some(self.fraction())),
            b'.' => (Tok::Dot, 1),
            b'*' if second == b'/' && self.in_version => {
                self.in_version = false;
                (Tok::VersionClose, 2)
            }
            b'*' => (Tok::Star, 1),
            b'/' if second == b'*' => return self.comment(),
            b'/' => (Tok::Slash, 1),
            b'#' => {
                self.line_comment();
                return Ok(None);
            }
            b'-' if second == b'-' && (third <= b' ' || self.at + 2 >= self.sql.len()) => {
                self.line_comment();
                return Ok(None);
            }
            b'-' if second == b'>' && third == b'>' => (Tok::ArrowText, 3),
            b'-' if second == b'>' => (Tok::Arrow, 2),
            b'-' => (Tok::Minus, 1),
            b'+' => (Tok::Plus, 1),
            b'<' if second == b'=' && third == b'>' => (Tok::NullSafeEq, 3),
            b'<' if second == b'=' => (Tok::Le, 2),
            b'<' if second == b'>' => (Tok::Ne, 2),
            b'<' if second == b'<' => (Tok::ShiftLeft, 2),
            b'<' => (Tok::Lt, 1),
            b'>' if second == b'=' => (Tok::Ge, 2),
            b'>' if second == b'>' => (Tok::ShiftRight, 2),
            b'>' => (Tok::Gt, 1),
            b'!' if second == b'=' => (Tok::Ne, 2),
            b'!' => (Tok::Bang, 1),
            b'&' if second == b'&' => (Tok::AndAnd, 2),
            b'&' => (Tok::Amp, 1),
            b'|' if second == b'|' => (Tok::PipePipe, 2),
            b'|' => (Tok::Pipe, 1),
            b'%' => (Tok::Percent, 1),
            b'^' => (Tok::Caret, 1),
            b'~' => (Tok::Tilde, 1),
            b':' if second == b'=' => (Tok::Assign, 2),
            b':' => (Tok::Colon, 1),
            b'{' => (Tok::OpenBrace, 1),
            b'}' => (Tok::CloseBrace, 1),
            b'@' if second == b'@' => (Tok::AtAt, 2),
            b'@' => return self.user_variable().map(Some),
            b';' => (Tok::End, 0),
            0 if self.at >= self.sql.len() || self.ends_after_nul() => (Tok::End, 0),
            // MariaDB's NULL.
            b'\\' if second == b'N' => (Tok::Word, 2),
            _ => return Err(PlanError::syntax(self.sql, self.at)),
        };
        self.at += len;
        Ok(Some(tok))
    }

    /// A NUL is the end where nothing follows it but what servers cut off a packet: `;` and white
    /// space.
    #[cold]
    fn ends_after_nul(&self) -> bool {
        let behind = self.sql.get(self.at + 1..).unwrap_or_default();
        behind
            .iter()
            .all(|&b| b == b';' || CLASS[b as usize] == SPACE)
    }

    fn fraction(&mut self) -> Tok {
        let end = self.run(self.at + 1, |b| b.is_ascii_digit());
        match self.exponent(end) {
            Some(exponent) => {
                self.at = exponent;
                Tok::Float
            }
            None => {
                self.at = end;
                Tok::Decimal
            }
        }
    }

    fn user_variable(&mut self) -> Result<Tok, PlanError> {
        self.at += 1;
        match self.peek(0) {
            quote @ (b'\'' | b'"' | b'`') => self.quoted(quote, quote != b'`')?,
            _ => self.at = self.run(self.at, |b| is_ident(b) || b == b'.'),
        }
        Ok(Tok::UserVar)
    }

    fn line_comment(&mut self) {
        let rest = self.sql.get(self.at..).unwrap_or_default();
        self.at = memchr::memchr(b'\n', rest).map_or(self.sql.len(), |n| self.at + n + 1);
    }

    fn comment(&mut self) -> Result<Option<Tok>, PlanError> {
        let open = self.at;
        let rest = self.sql.get(open..).unwrap_or_default();
        let version = match rest {
            [b'/', b'*', b'!', ..] => Some(3),
            [b'/', b'*', b'M' | b'm', b'!', ..] => Some(4),
            _ => None,
        };
        if let Some(skip) = version {
            // A versioned comment inside another is only a comment.
            if !self.in_version {
                self.in_version = true;
                self.at = self.run(open + skip, |b| b.is_ascii_digit());
                return Ok(Some(Tok::VersionOpen));
            }
        }
        let Some(end) = memchr::memmem::find(rest.get(2..).unwrap_or_default(), b"*/") else {
            return Err(PlanError::syntax(self.sql, open));
        };
        self.at = open + 2 + end + 2;
        Ok(match rest {
            [b'/', b'*', b'+', ..] => Some(Tok::Hint),
            [b'/', b'*', b'v' | b'V', b't' | b'T', b'+', ..] => Some(Tok::Directive),
            _ => None,
        })
    }
}

/// Where a quoted text ends that begins at `open`, its last quote included.
#[inline]
pub(crate) fn quoted_end(sql: &[u8], open: usize, quote: u8, escapes: bool) -> Option<usize> {
    let mut at = open + 1;
    loop {
        let rest = sql.get(at..)?;
        at += if escapes {
            memchr::memchr2(quote, b'\\', rest)
        } else {
            memchr::memchr(quote, rest)
        }?;
        let escaped = escapes && sql.get(at) == Some(&b'\\');
        if escaped || sql.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return Some(at + 1);
        }
    }
}

fn introducer(text: &[u8]) -> Tok {
    let same: [&[u8]; 5] = [b"_binary", b"_utf8mb4", b"_utf8", b"_utf8mb3", b"_ascii"];
    if same.iter().any(|s| text.eq_ignore_ascii_case(s)) { Tok::Introduced } else { Tok::Foreign }
}
