//! One pass over a statement: its normalised text, which is the key of the plan cache, and its
//! literals.
//!
//! In the normalised text a literal is `?`, a parameter of a prepared statement `:p`, a collapsed
//! list `(?...)`, and collapsed rows `(?,?),...`. Plain comments are gone and white space is one
//! blank; comments that change what a statement means stay. Two statements with the same normalised
//! text have the same plan.
use crate::error::PlanError;
pub use crate::literal::Literal;
pub(crate) use crate::literal::{LiteralKind, literal_value};
pub use crate::rows::Rows;
use crate::sql::blocks::Blocks;
pub use crate::sql::lex::SqlMode;
use crate::sql::lex::{Lexer, Tok, Token};
use std::ops::Range;

/// Literals beyond this are left in the normalised text, and such a statement's plan is not cached.
pub(crate) const LITERALS_MAX: usize = 20_000;

/// What one pass over a statement finds. Reused for statement after statement; the buffers keep
/// their size.
#[derive(Debug, Default, Clone)]
pub struct Fingerprint {
    /// The normalised text.
    pub norm: Vec<u8>,
    /// Hash of `norm`; not stable between versions.
    pub hash: u64,
    /// The literals that stand alone.
    pub literals: Vec<Literal>,
    /// The items of collapsed lists, all lists one after another.
    pub items: Vec<Literal>,
    /// Collapsed `IN (...)` lists: ranges of `items`.
    pub lists: Vec<Range<u32>>,
    /// Collapsed rows of an INSERT.
    pub rows: Rows,
    /// Parameters (`?`).
    pub params: u16,
    /// Where the first statement ends: its `;`, or the end of the text.
    pub end: usize,
    /// Does another statement follow?
    pub more: bool,
    /// May a plan be kept under `norm`?
    pub cacheable: bool,
    /// Does it hold statements of its own (a routine, a compound statement)?
    pub(crate) compound: bool,
    /// Has it a `/*!50000 ... */`?
    pub versioned: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Literals are lifted.
    Lift,
    /// As `Lift`, and the rows after VALUES are collapsed.
    Insert,
    /// As written; the text holds everything.
    Whole,
    /// As `Whole`, and seen too rarely to be worth a place in the cache.
    Rare,
}

fn kind_of(word: &[u8]) -> Kind {
    let is = |names: &[&[u8]]| names.iter().any(|n| word.eq_ignore_ascii_case(n));
    match word.first().map(u8::to_ascii_lowercase) {
        Some(b's') if is(&[b"select"]) => Kind::Lift,
        Some(b'u') if is(&[b"update"]) => Kind::Lift,
        Some(b'd') if is(&[b"delete"]) => Kind::Lift,
        Some(b'w') if is(&[b"with"]) => Kind::Lift,
        Some(b'v') if is(&[b"values"]) => Kind::Lift,
        Some(b't') if is(&[b"table"]) => Kind::Lift,
        Some(b'i') if is(&[b"insert"]) => Kind::Insert,
        Some(b'r') if is(&[b"replace"]) => Kind::Insert,
        Some(b'c' | b'r' | b's') if is(&[b"commit", b"rollback", b"start"]) => Kind::Whole,
        _ => Kind::Rare,
    }
}

/// After these a `-` is a sign, not a subtraction.
fn begins_value(previous: Tok) -> bool {
    matches!(
        previous,
        Tok::Eq
            | Tok::NullSafeEq
            | Tok::Ne
            | Tok::Lt
            | Tok::Le
            | Tok::Gt
            | Tok::Ge
            | Tok::Comma
            | Tok::Open
            | Tok::Plus
            | Tok::Minus
            | Tok::Star
            | Tok::Slash
    )
}

/// The state of one pass.
struct Pass<'s> {
    sql: &'s [u8],
    lexer: Lexer<'s>,
    kind: Option<Kind>,
    /// The end of the token written last.
    last: u32,
    previous: Tok,
    depth: u32,
    /// The depth of the ORDER BY / GROUP BY list that is being read.
    by: Option<u32>,
    after_by: bool,
    overflow: bool,
    /// In CREATE PROCEDURE and the like, where a `;` may not end the statement.
    blocks: Option<Blocks>,
}

impl Fingerprint {
    /// One without buffers; they grow with the first statements.
    pub fn new() -> Self {
        Self::default()
    }

    fn clear(&mut self) {
        self.norm.clear();
        self.literals.clear();
        self.items.clear();
        self.lists.clear();
        self.rows.clear();
        self.params = 0;
        self.more = false;
        self.cacheable = false;
        self.compound = false;
        self.versioned = false;
    }

    /// Reads the first statement of `sql`. Does not allocate once the buffers are large enough.
    ///
    /// # Errors
    /// [`PlanError::Syntax`] for quotes and comments that do not end, and for bytes that begin no
    /// token.
    pub fn read(&mut self, sql: &[u8], mode: SqlMode) -> Result<(), PlanError> {
        self.clear();
        if u32::try_from(sql.len()).is_err() {
            return Err(PlanError::TooLong(u32::MAX as usize));
        }
        let mut pass = Pass {
            sql,
            lexer: Lexer::new(sql, mode),
            kind: None,
            last: 0,
            previous: Tok::End,
            depth: 0,
            by: None,
            after_by: false,
            overflow: false,
            blocks: None,
        };
        loop {
            let token = pass.lexer.next_token()?;
            if token.tok == Tok::End {
                self.end = token.start as usize;
                if self.end >= sql.len() {
                    break;
                }
                if let Some(blocks) = pass.blocks.as_mut().filter(|b| b.is_open()) {
                    blocks.next_statement();
                    pass.lexer.seek(self.end + 1);
                    self.emit(&mut pass, token, b";");
                    pass.previous = Tok::End;
                    continue;
                }
                // Signs now, they would begin a comment once the text is cut off here. No statement
                // ends with one.
                if pass.previous == Tok::Minus
                    && sql.get(..self.end).is_some_and(|s| s.ends_with(b"--"))
                {
                    return Err(PlanError::syntax(sql, self.end));
                }
                self.more = has_more(sql, self.end);
                break;
            }
            self.token(&mut pass, token)?;
        }
        self.cacheable =
            !pass.overflow && matches!(pass.kind, Some(Kind::Lift | Kind::Insert | Kind::Whole));
        self.compound = pass.blocks.is_some_and(|b| b.compound);
        self.hash = hash(&self.norm);
        Ok(())
    }

    fn token(&mut self, pass: &mut Pass<'_>, token: Token) -> Result<(), PlanError> {
        let text = token.text(pass.sql);
        match token.tok {
            Tok::Word => self.word(pass, token, text)?,
            Tok::Param => {
                self.params = self
                    .params
                    .checked_add(1)
                    .ok_or(PlanError::TooManyParameters)?;
                self.emit(pass, token, b":p");
            }
            tok if tok.is_literal() => self.literal(pass, token),
            Tok::Minus if Self::lifts(pass) && begins_value(pass.previous) => {
                let mut ahead = pass.lexer;
                let number = ahead.next_token()?;
                if number.tok.is_number() && number.start == token.end {
                    pass.lexer = ahead;
                    self.literal(pass, Token { start: token.start, ..number });
                    pass.previous = number.tok;
                    return Ok(());
                }
                self.emit(pass, token, text);
            }
            tok => {
                match tok {
                    Tok::Open => pass.depth += 1,
                    Tok::VersionOpen => self.versioned = true,
                    Tok::Close => {
                        pass.depth = pass.depth.saturating_sub(1);
                        if pass.by.is_some_and(|by| by > pass.depth) {
                            pass.by = None;
                        }
                    }
                    _ => {}
                }
                self.emit(pass, token, text);
                pass.after_by = tok == Tok::Comma && pass.by == Some(pass.depth);
            }
        }
        match &mut pass.blocks {
            Some(blocks) => {
                let name = matches!(pass.previous, Tok::Dot | Tok::AtAt);
                blocks.token(token.tok, text, name);
            }
            // MariaDB: `label: BEGIN NOT ATOMIC ...`
            None if token.tok == Tok::Colon
                && pass.kind == Some(Kind::Rare)
                && matches!(pass.previous, Tok::Word | Tok::Quoted) =>
            {
                pass.blocks = Some(Blocks::labelled());
            }
            None => {}
        }
        pass.previous = token.tok;
        Ok(())
    }

    /// Writes a token, with a blank before it when something stood between.
    #[inline]
    fn emit(&mut self, pass: &mut Pass<'_>, token: Token, text: &[u8]) {
        if token.start > pass.last && !self.norm.is_empty() {
            self.norm.push(b' ');
        }
        pass.last = token.end;
        self.norm.extend_from_slice(text);
    }

    fn lifts(pass: &Pass<'_>) -> bool {
        matches!(pass.kind, Some(Kind::Lift | Kind::Insert))
    }

    fn literal(&mut self, pass: &mut Pass<'_>, token: Token) {
        let position = pass.after_by && token.tok == Tok::Int;
        pass.after_by = false;
        if !Self::lifts(pass) || position {
            self.emit(pass, token, token.text(pass.sql));
            return;
        }
        if self.literals.len() >= LITERALS_MAX {
            pass.overflow = true;
            self.emit(pass, token, token.text(pass.sql));
            return;
        }
        let Some(kind) = LiteralKind::of(token.tok) else { return };
        self.literals
            .push(Literal { span: token.start..token.end, kind });
        self.emit(pass, token, b"?");
    }

    fn word(&mut self, pass: &mut Pass<'_>, token: Token, text: &[u8]) -> Result<(), PlanError> {
        if pass.kind.is_none() {
            let kind = kind_of(text);
            pass.kind = Some(kind);
            if kind == Kind::Rare {
                pass.blocks = Blocks::of(text);
            }
        }
        pass.after_by = false;
        self.emit(pass, token, text);
        if pass.previous == Tok::Dot || pass.previous == Tok::AtAt {
            return Ok(());
        }
        let is = |name: &[u8]| text.eq_ignore_ascii_case(name);
        match (text.len(), text.first().map_or(0, u8::to_ascii_lowercase)) {
            (2, b'b') if is(b"by") => {
                pass.by = Some(pass.depth);
                pass.after_by = true;
            }
            (2, b'i') if is(b"in") && Self::lifts(pass) => self.list(pass)?,
            (5, b'v') if is(b"value") && pass.kind == Some(Kind::Insert) && pass.depth == 0 => {
                self.collapse_rows(pass)?;
            }
            (6, b'v') if is(b"values") && pass.kind == Some(Kind::Insert) && pass.depth == 0 => {
                self.collapse_rows(pass)?;
            }
            (5, b'l') if is(b"limit") => pass.by = None,
            (6, b'h') if is(b"having") => pass.by = None,
            _ => {}
        }
        Ok(())
    }

    /// After IN: collapses a list of nothing but literals.
    fn list(&mut self, pass: &mut Pass<'_>) -> Result<(), PlanError> {
        let ahead = pass.lexer;
        let open = pass.lexer.next_token()?;
        let from = self.items.len();
        let close = match open.tok {
            Tok::Open => literals(&mut pass.lexer, &mut self.items)?,
            _ => None,
        };
        match close {
            Some(close) if self.lists.len() < LITERALS_MAX => {
                self.lists.push(from as u32..self.items.len() as u32);
                if open.start > pass.last {
                    self.norm.push(b' ');
                }
                self.norm.extend_from_slice(b"(?...)");
                pass.last = close;
                pass.previous = Tok::Close;
            }
            _ => {
                self.items.truncate(from);
                pass.lexer = ahead;
            }
        }
        Ok(())
    }

    /// After VALUES of an INSERT: collapses the rows when all of them are nothing but literals.
    fn collapse_rows(&mut self, pass: &mut Pass<'_>) -> Result<(), PlanError> {
        if !self.rows.is_empty() {
            return Ok(());
        }
        if self.rows.read(pass.sql, &mut pass.lexer)? {
            pass.last = self.rows.span().map_or(pass.last, |r| r.end);
            self.norm.extend_from_slice(b" (");
            for n in 0..self.rows.width {
                self.norm
                    .extend_from_slice(if n == 0 { b"?" } else { b",?" });
            }
            self.norm.extend_from_slice(b"),...");
            pass.previous = Tok::Close;
        }
        Ok(())
    }

    /// The statement's text with its literals put back into `norm`: what was read, without plain
    /// comments and with white space collapsed. For tests and for logs.
    pub fn restore(&self, sql: &[u8], mode: SqlMode) -> Result<Vec<u8>, PlanError> {
        let mut out = Vec::with_capacity(self.end);
        let mut lexer = Lexer::new(sql, mode);
        let mut last = 0;
        loop {
            let token = lexer.next_token()?;
            if token.tok == Tok::End {
                if token.start as usize >= self.end {
                    return Ok(out);
                }
                lexer.seek(token.start as usize + 1);
                out.push(b';');
                last = token.start + 1;
                continue;
            }
            if token.start > last && !out.is_empty() {
                out.push(b' ');
            }
            last = token.end;
            out.extend_from_slice(token.text(sql));
        }
    }
}

/// Where the parameters (`?`) of a statement stand, in order.
///
/// # Errors
/// The text cannot be read.
pub fn param_places(sql: &[u8], mode: SqlMode) -> Result<Vec<usize>, PlanError> {
    let mut lexer = Lexer::new(sql, mode);
    let mut places = Vec::new();
    loop {
        let token = lexer.next_token()?;
        match token.tok {
            Tok::Param => places.push(token.start as usize),
            Tok::End => return Ok(places),
            _ => {}
        }
    }
}

/// Reads literals separated by commas up to the closing parenthesis, and returns where that ends;
/// `None` if anything else stands there.
fn literals(lexer: &mut Lexer<'_>, out: &mut Vec<Literal>) -> Result<Option<u32>, PlanError> {
    loop {
        let mut token = lexer.next_token()?;
        if token.tok == Tok::Minus {
            let sign = token.start;
            token = lexer.next_token()?;
            if !token.tok.is_number() || token.start != sign + 1 {
                return Ok(None);
            }
            token.start = sign;
        }
        let Some(kind) = LiteralKind::of(token.tok) else { return Ok(None) };
        out.push(Literal { span: token.start..token.end, kind });
        let next = lexer.next_token()?;
        match next.tok {
            Tok::Comma => {}
            Tok::Close => return Ok(Some(next.end)),
            _ => return Ok(None),
        }
    }
}

/// Where the first statement of a text ends: its `;`, or the end of the text.
///
/// # Errors
/// As [`Fingerprint::read`].
pub fn end_of_first(sql: &[u8], mode: SqlMode) -> Result<usize, PlanError> {
    let mut fingerprint = Fingerprint::new();
    fingerprint.read(sql, mode).map(|()| fingerprint.end)
}

/// Does something follow the statement that ends at `end`? Servers cut `;` and white space off a
/// packet's end, nothing else.
fn has_more(sql: &[u8], end: usize) -> bool {
    let cut = |b: &u8| *b == b';' || b.is_ascii_whitespace() || *b == 0x0b;
    sql.get(end + 1..).is_some_and(|rest| !rest.iter().all(cut))
}

/// Where the first token behind a statement stands that ends at `end`; `None` if there are only
/// comments. A client that has not asked for several statements in a packet, and one that prepares,
/// may not send it.
pub fn second_statement(sql: &[u8], end: usize, mode: SqlMode) -> Option<usize> {
    let mut lexer = Lexer::new(sql, mode);
    lexer.seek(end + 1);
    loop {
        let from = lexer.at();
        match lexer.next_token() {
            Ok(Token { tok: Tok::End, start, .. }) => {
                if start as usize >= sql.len() || sql.get(start as usize) == Some(&0) {
                    return None;
                }
                lexer.seek(start as usize + 1);
            }
            Ok(token) => return Some(token.start as usize),
            Err(_) => return Some(from),
        }
    }
}

/// Folded multiplication over eight bytes at a time.
fn hash(text: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    fn fold(a: u64, b: u64) -> u64 {
        let wide = u128::from(a) * u128::from(b);
        (wide as u64) ^ ((wide >> 64) as u64)
    }
    let mut state = K ^ text.len() as u64;
    let (chunks, rest) = text.as_chunks::<8>();
    for chunk in chunks {
        state = fold(state ^ u64::from_le_bytes(*chunk), K | 1);
    }
    let mut tail = [0u8; 8];
    for (to, from) in tail.iter_mut().zip(rest) {
        *to = *from;
    }
    fold(state ^ u64::from_le_bytes(tail), 0xff51_afd7_ed55_8ccd)
}
