//! The rows of an INSERT that are nothing but literals: `(1,'a'),(2,'b')`.
//!
//! A large INSERT is made of these, so they are read without the lexer as long as they hold
//! numbers, strings, NULL and commas, as nearly all do. Where anything else stands, the lexer reads
//! on from the literal before; both agree on every text.
use crate::error::PlanError;
use crate::literal::{Literal, LiteralKind};
use crate::sql::lex::{Lexer, SqlMode, Tok, quoted_end};
use std::ops::Range;

/// What the rows of a statement are, all of them alike.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rows {
    /// Each row's bytes in the statement, parentheses included.
    pub spans: Vec<Range<u32>>,
    /// Literals in each row.
    pub width: usize,
    /// The columns, of the first 64, that have a whole number above 0 in every row.
    pub numbered: u64,
}

impl Rows {
    pub(crate) fn clear(&mut self) {
        self.spans.clear();
        self.width = 0;
        self.numbered = 0;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// From the first row to the last.
    pub(crate) fn span(&self) -> Option<Range<u32>> {
        Some(self.spans.first()?.start..self.spans.last()?.end)
    }

    /// Reads rows for as long as they come, and moves the lexer behind the last. `false`, with
    /// nothing read, if one of them is not made of literals alone or they are not of one width.
    ///
    /// # Errors
    /// As the lexer's.
    pub(crate) fn read<'a>(
        &mut self,
        sql: &'a [u8],
        lexer: &mut Lexer<'a>,
    ) -> Result<bool, PlanError> {
        let found = self.read_all(sql, lexer);
        if !matches!(found, Ok(true)) {
            self.clear();
        }
        found
    }

    fn read_all<'a>(&mut self, sql: &'a [u8], lexer: &mut Lexer<'a>) -> Result<bool, PlanError> {
        // There, a comment is another thing to whoever reads a row again.
        if lexer.is_in_version() {
            return Ok(false);
        }
        let mut ahead = *lexer;
        let mut open = ahead.next_token()?;
        self.numbered = u64::MAX;
        let mut reader = Reader { sql, at: 0, lexer: ahead };
        loop {
            if open.tok != Tok::Open {
                return Ok(false);
            }
            reader.at = open.end as usize;
            let Some((width, numbered)) = reader.row()? else { return Ok(false) };
            if self.spans.is_empty() {
                self.width = width;
            } else if self.width != width {
                return Ok(false);
            }
            self.numbered &= numbered;
            self.spans.push(open.start..reader.at as u32);
            if let Some(start) = reader.next_row() {
                open.start = start as u32;
                open.end = open.start + 1;
                continue;
            }
            // Behind a parenthesis as behind a comma: no name went before.
            ahead = reader.lexer;
            ahead.seek(reader.at);
            let behind = ahead;
            if ahead.next_token()?.tok != Tok::Comma {
                *lexer = behind;
                return Ok(true);
            }
            open = ahead.next_token()?;
        }
    }

    /// The n-th row's literals.
    pub fn literals<'a>(&self, sql: &'a [u8], mode: SqlMode, row: usize) -> RowLiterals<'a> {
        let at = self.spans.get(row).map(|span| span.start as usize + 1);
        let mut lexer = Lexer::new(sql, mode);
        lexer.seek(at.unwrap_or(0));
        RowLiterals { reader: at.map(|at| Reader { sql, at, lexer }) }
    }
}

/// The literals of one row, read again.
pub struct RowLiterals<'a> {
    reader: Option<Reader<'a>>,
}

impl Iterator for RowLiterals<'_> {
    type Item = Literal;

    #[inline]
    fn next(&mut self) -> Option<Literal> {
        let (literal, last) = self.reader.as_mut()?.literal().ok()??;
        if last {
            self.reader = None;
        }
        Some(literal)
    }
}

/// The literals of a row alone, by their place in it.
pub(crate) fn literals(row: &[u8], mode: SqlMode) -> RowLiterals<'_> {
    RowLiterals { reader: Some(Reader { sql: row, at: 1, lexer: Lexer::new(row, mode) }) }
}

/// The whole numbers among a row's first 64 literals, by their place in it.
pub fn numbers(row: &[u8], mode: SqlMode) -> impl Iterator<Item = (u8, u64)> {
    (0u8..64)
        .zip(literals(row, mode))
        .filter_map(|(n, literal)| {
            let number = std::str::from_utf8(literal.text(row)).ok()?.parse().ok()?;
            (literal.kind == LiteralKind::Int).then_some((n, number))
        })
}

fn is_number_above_0(sql: &[u8], literal: &Literal) -> bool {
    literal.kind == LiteralKind::Int
        && matches!(sql.get(literal.span.start as usize), Some(b'1'..=b'9'))
}

/// Stands between two literals.
struct Reader<'a> {
    sql: &'a [u8],
    at: usize,
    /// Its state is that behind a comma; its place is of no account.
    lexer: Lexer<'a>,
}

impl Reader<'_> {
    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.sql.get(at).copied().unwrap_or(0)
    }

    #[inline]
    fn skip_blanks(&self, mut at: usize) -> usize {
        while self.byte(at) == b' ' {
            at += 1;
        }
        at
    }

    /// Moves behind the parenthesis that closes a row: how many literals it has, and which of them
    /// are whole numbers above 0. `None` if it holds anything else.
    #[inline]
    fn row(&mut self) -> Result<Option<(usize, u64)>, PlanError> {
        let (sql, escapes) = (self.sql, self.lexer.escapes());
        let (mut at, mut width, mut numbered, mut bit) = (self.at, 0, 0, 1u64);
        loop {
            let end = match sql.get(at) {
                Some(b'\'') => quoted_end(sql, at, b'\'', escapes).unwrap_or(at),
                Some(b'1'..=b'9') => {
                    numbered |= bit;
                    digits(sql, at)
                }
                _ => at,
            };
            let close;
            (close, at) = match sql.get(end) {
                Some(b',') if end > at => (false, end + 1),
                Some(b')') if end > at => (true, end + 1),
                _ => {
                    self.at = at;
                    let Some((literal, close)) = self.literal()? else { return Ok(None) };
                    numbered &= !bit;
                    numbered |= if is_number_above_0(sql, &literal) { bit } else { 0 };
                    (close, self.at)
                }
            };
            width += 1;
            // Beyond the 64th there is none.
            bit <<= 1;
            if close {
                self.at = at;
                return Ok(Some((width, numbered)));
            }
        }
    }

    /// The next literal, and whether it is the last of its row; `None` if something else stands
    /// there.
    #[inline]
    fn literal(&mut self) -> Result<Option<(Literal, bool)>, PlanError> {
        let start = self.skip_blanks(self.at);
        if let Some((end, kind)) = self.ordinary(start) {
            let behind = self.skip_blanks(end);
            let close = match self.byte(behind) {
                b',' => false,
                b')' => true,
                _ => return self.by_lexer(),
            };
            self.at = behind + 1;
            return Ok(Some((Literal { span: start as u32..end as u32, kind }, close)));
        }
        self.by_lexer()
    }

    /// Where a literal of the ordinary kinds ends.
    #[inline]
    fn ordinary(&self, start: usize) -> Option<(usize, LiteralKind)> {
        match self.byte(start) {
            b'\'' => quoted_end(self.sql, start, b'\'', self.lexer.escapes())
                .map(|end| (end, LiteralKind::String)),
            b'0'..=b'9' => Some(self.number(start)),
            b'-' if self.byte(start + 1).is_ascii_digit() => Some(self.number(start + 1)),
            b'N' | b'n' => {
                let word = self.sql.get(start..start + 4)?;
                word.eq_ignore_ascii_case(b"null")
                    .then_some((start + 4, LiteralKind::Null))
            }
            _ => None,
        }
    }

    /// What stands behind the digits, a letter perhaps, is looked at by the caller.
    #[inline]
    fn number(&self, start: usize) -> (usize, LiteralKind) {
        let end = digits(self.sql, start);
        if self.byte(end) == b'.' {
            return (digits(self.sql, end + 1), LiteralKind::Decimal);
        }
        (end, LiteralKind::Int)
    }

    /// Behind a row: where the next one begins, if only a comma stands between.
    #[inline]
    fn next_row(&self) -> Option<usize> {
        let comma = self.skip_blanks(self.at);
        let open = self.skip_blanks(comma + 1);
        (self.byte(comma) == b',' && self.byte(open) == b'(').then_some(open)
    }

    #[cold]
    fn by_lexer(&mut self) -> Result<Option<(Literal, bool)>, PlanError> {
        let mut lexer = self.lexer;
        lexer.seek(self.at);
        let mut token = lexer.next_token()?;
        if token.tok == Tok::Minus {
            let sign = token.start;
            token = lexer.next_token()?;
            if !token.tok.is_number() || token.start != sign + 1 {
                return Ok(None);
            }
            token.start = sign;
        }
        let kind = match LiteralKind::of(token.tok) {
            Some(kind) => kind,
            None if token.tok == Tok::Word && is_null(token.text(self.sql)) => LiteralKind::Null,
            None => return Ok(None),
        };
        let next = lexer.next_token()?;
        self.at = next.end as usize;
        let literal = Literal { span: token.start..token.end, kind };
        match next.tok {
            Tok::Comma => Ok(Some((literal, false))),
            Tok::Close => Ok(Some((literal, true))),
            _ => Ok(None),
        }
    }
}

/// Where the digits end that begin at `at`; eight of them are looked at together.
#[inline]
fn digits(sql: &[u8], mut at: usize) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    while let Some(eight) = sql.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let eight = u64::from_le_bytes(*eight) ^ (EACH * 0x30);
        // The highest bit of each byte that is not one of 0 to 9.
        let others = (((eight & (EACH * 0x7f)) + EACH * (0x80 - 10)) | eight) & (EACH * 0x80);
        if others != 0 {
            return at + (others.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while sql.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

fn is_null(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"null") || word == b"\\N"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by the lexer alone.
    fn by_tokens(sql: &[u8], lexer: &mut Lexer<'_>) -> Result<Vec<Vec<Literal>>, PlanError> {
        let (mut rows, mut at) = (Vec::<Vec<Literal>>::new(), *lexer);
        loop {
            let mut row = Vec::new();
            if at.next_token()?.tok != Tok::Open {
                return Ok(Vec::new());
            }
            loop {
                let mut token = at.next_token()?;
                if token.tok == Tok::Minus {
                    let sign = token.start;
                    token = at.next_token()?;
                    if !token.tok.is_number() || token.start != sign + 1 {
                        return Ok(Vec::new());
                    }
                    token.start = sign;
                }
                let kind = match LiteralKind::of(token.tok) {
                    Some(kind) => kind,
                    None if token.tok == Tok::Word && is_null(token.text(sql)) => LiteralKind::Null,
                    None => return Ok(Vec::new()),
                };
                row.push(Literal { span: token.start..token.end, kind });
                match at.next_token()?.tok {
                    Tok::Comma => {}
                    Tok::Close => break,
                    _ => return Ok(Vec::new()),
                }
            }
            if rows.first().is_some_and(|r| r.len() != row.len()) {
                return Ok(Vec::new());
            }
            rows.push(row);
            let behind = at;
            if at.next_token()?.tok != Tok::Comma {
                *lexer = behind;
                return Ok(rows);
            }
        }
    }

    fn compare(sql: &[u8], mode: SqlMode) {
        let (mut one, mut two) = (Lexer::new(sql, mode), Lexer::new(sql, mode));
        let mut rows = Rows::default();
        let shown = sql.escape_ascii();
        match (rows.read(sql, &mut one), by_tokens(sql, &mut two)) {
            (Ok(_), Ok(expected)) => {
                let all = 0..rows.spans.len();
                let read: Vec<Vec<_>> =
                    all.map(|n| rows.literals(sql, mode, n).collect()).collect();
                assert_eq!(read, expected, "{shown}");
                for (span, row) in rows.spans.iter().zip(&expected) {
                    let span = span.start as usize..span.end as usize;
                    assert!(
                        sql[span.clone()].starts_with(b"(") && sql[span].ends_with(b")"),
                        "{shown}"
                    );
                    for (n, literal) in row.iter().enumerate().filter(|(n, _)| *n < 64) {
                        assert!(
                            rows.numbered >> n & 1 == 0 || is_number_above_0(sql, literal),
                            "{shown}"
                        );
                    }
                }
                assert_eq!(one.at(), two.at(), "{shown}");
                assert_eq!(
                    format!("{:?}", one.next_token()),
                    format!("{:?}", two.next_token()),
                    "{shown}"
                );
            }
            (Err(one), Err(two)) => assert_eq!(one.to_string(), two.to_string(), "{shown}"),
            (one, two) => panic!("{one:?} {two:?}: {shown}"),
        }
    }

    const PIECES: &[&str] = &[
        "(",
        ")",
        ",",
        "(1,'a')",
        ",(2,'b')",
        ", (NULL, 'c''d')",
        "(0,-5,+5)",
        " ",
        "\n",
        "7",
        "-7",
        "- 7",
        "--7",
        "-- \n",
        "-",
        "1.5",
        "1.",
        ".5",
        "1e5",
        "1.5e-3",
        "0x1F",
        "0xg",
        "x'4D'",
        "b'1'",
        "0b1",
        "N'a'",
        "_utf8mb4'a'",
        "_latin1 'a'",
        "null",
        "nullx",
        "NULL",
        "\\N",
        "DEFAULT",
        "true",
        "now()",
        "'",
        "''",
        "'\\''",
        "\\",
        "\"a\"",
        "\"",
        "/**/",
        "/* ' */",
        "/*!50000 1*/",
        "*/",
        "/*",
        "#\n",
        ";",
        "@a",
        "`a`",
        "?",
        "\0",
        "'a' 'b'",
        "1a",
        "é",
        "'é\\\\'",
        "ON DUPLICATE KEY UPDATE a = 1",
        "(18446744073709551616)",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn rows_are_read_as_the_lexer_reads_them(
            pieces in proptest::collection::vec(0..PIECES.len(), 0..14),
            mode in 0u8..4,
        ) {
            let sql: String = pieces.iter().map(|n| PIECES[*n]).collect();
            for text in [sql.clone(), format!("({sql}")] {
                compare(text.as_bytes(), SqlMode::from_bits_truncate(mode));
            }
        }

        #[test]
        fn so_are_wellformed_rows(rows in proptest::collection::vec((any::<i64>(),
            "[a-z'\\\\\"%,()]{0,12}", any::<bool>()), 1..8)) {
            let row = |(n, text, null): &(i64, String, bool)| {
                let text = text.replace('\\', "\\\\").replace('\'', "''");
                format!("({n},'{text}' , {})", if *null { "NULL" } else { "2.50" })
            };
            let sql = rows.iter().map(row).collect::<Vec<_>>().join(",");
            compare(sql.as_bytes(), SqlMode::empty());
            let (mut lexer, mut read) = (Lexer::new(sql.as_bytes(), SqlMode::empty()),
                Rows::default());
            prop_assert!(read.read(sql.as_bytes(), &mut lexer).unwrap());
            prop_assert_eq!((read.spans.len(), read.width), (rows.len(), 3));
            prop_assert_eq!(read.numbered & 7, u64::from(rows.iter().all(|r| r.0 > 0)));
        }
    }
}
