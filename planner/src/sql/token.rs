//! Tokens, and what changes how a text is cut into them.

bitflags::bitflags! {
    /// The members of `sql_mode` that change how a text is read.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
    pub struct SqlMode: u8 {
        /// `"a"` is an identifier.
        const ANSI_QUOTES = 1;
        /// `\` is a character like any other.
        const NO_BACKSLASH_ESCAPES = 1 << 1;
        /// `||` joins strings.
        const PIPES_AS_CONCAT = 1 << 2;
        /// `COUNT (*)` is a call.
        const IGNORE_SPACE = 1 << 3;
        /// `NOT` binds as tightly as `!`.
        const HIGH_NOT_PRECEDENCE = 1 << 4;
    }
}

/// Bytes of a statement: from the first one to the one behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The first byte's place in the text.
    pub start: u32,
    /// The place behind the last byte.
    pub end: u32,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tok {
    /// The end of the statement: `;` or the end of the text.
    End,
    /// A keyword or an identifier without quotes.
    Word,
    /// `` `a` ``, or `"a"` with ANSI_QUOTES.
    Quoted,
    /// `12`
    Int,
    /// `1.5`, `.5`
    Decimal,
    /// `1e5`
    Float,
    /// `'a'`, and `"a"` without ANSI_QUOTES.
    Str,
    /// `N'a'`
    National,
    /// `_utf8mb4'a'`, `_binary'a'`: bytes that mean the same without the introducer.
    Introduced,
    /// `_latin1'a'` and other introducers.
    Foreign,
    /// `x'4D'`
    HexString,
    /// `0x4D`
    HexNumber,
    /// `b'01'`, `0b01`
    Bit,
    /// `@a`, `@'a'`
    UserVar,
    /// `@@`, before a system variable's name.
    AtAt,
    /// `?`
    Param,
    /// `/*!50000` and `/*M!100000`; what follows is part of the statement.
    VersionOpen,
    /// The `*/` of a `VersionOpen`.
    VersionClose,
    /// `/*+ ... */`
    Hint,
    /// `/*vt+ ... */`
    Directive,
    /// `.`
    Dot,
    /// `,`
    Comma,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `{`
    OpenBrace,
    /// `}`
    CloseBrace,
    /// `=`
    Eq,
    /// `<=>`
    NullSafeEq,
    /// `<>`, `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `*`
    Star,
    /// `/`
    Slash,
    /// `%`
    Percent,
    /// `&`
    Amp,
    /// `&&`
    AndAnd,
    /// `|`
    Pipe,
    /// `||`
    PipePipe,
    /// `^`
    Caret,
    /// `~`
    Tilde,
    /// `!`
    Bang,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
    /// `:=`
    Assign,
    /// `->`
    Arrow,
    /// `->>`
    ArrowText,
    /// `:`
    Colon,
    /// A collapsed `(...)` after IN; made by the parser's token list, not by the lexer.
    List,
    /// The collapsed rows of an INSERT; likewise.
    Rows,
}

impl Tok {
    /// Is it a literal that the fingerprint lifts?
    pub fn is_literal(self) -> bool {
        matches!(
            self,
            Self::Int
                | Self::Decimal
                | Self::Float
                | Self::Str
                | Self::National
                | Self::Introduced
                | Self::HexString
                | Self::HexNumber
                | Self::Bit
        )
    }

    /// Is it a number without a sign?
    pub fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Decimal | Self::Float)
    }
}

/// A token and its place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub tok: Tok,
    /// The first byte's place in the text.
    pub start: u32,
    /// The place behind the last byte.
    pub end: u32,
}

impl Token {
    /// Its bytes; `sql` is the text that it was read from.
    pub fn text<'a>(&self, sql: &'a [u8]) -> &'a [u8] {
        sql.get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }
}
