//! What this crate's own tests and measurements see of the parser, and no other crate uses.
use crate::error::PlanError;
use crate::fingerprint::{Fingerprint, SqlMode};
use crate::sql::ast::Statement;
use crate::sql::input::Shared;
use bumpalo::Bump;

pub use crate::sql::input::DEPTH_MAX;
pub use crate::sql::lex::{Lexer, Token};

/// What the grammar makes of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    Query,
    /// Another statement that it knows.
    Other,
    Unknown,
}

impl Parsed {
    fn of(statement: &Statement<'_>) -> Self {
        match statement {
            Statement::Query(_) => Self::Query,
            Statement::Unknown => Self::Unknown,
            _ => Self::Other,
        }
    }
}

/// Parses a statement whose literals the fingerprint has lifted.
pub fn parse(
    sql: &[u8],
    fingerprint: &Fingerprint,
    mode: SqlMode,
    arena: &Bump,
) -> Result<Parsed, PlanError> {
    let tokens = crate::sql::tokens(sql, fingerprint, mode, arena)?;
    let steps = Default::default();
    let shared = arena.alloc(Shared { sql, arena, mode, end: tokens.end, steps });
    crate::sql::parse(shared, &tokens).map(|statement| Parsed::of(&statement))
}

/// Parses a text whose literals stand in it.
pub fn parse_alone(text: &str) -> Result<Parsed, PlanError> {
    let arena = Bump::new();
    crate::sql::parse_alone(text, &arena).map(|statement| Parsed::of(&statement))
}
