//! SQL text to syntax trees: a table-driven lexer, and nom parsers over its tokens.
//!
//! The grammar is that of MySQL 8 and MariaDB 11 as far as a router must see it. A statement that
//! it does not know is [`ast::Statement::Unknown`], which can still be sent on whole.
pub(crate) mod ast;
pub(crate) mod blocks;
mod call;
mod ddl;
mod dml;
mod expr;
mod from;
pub(crate) mod input;
pub(crate) mod keyword;
pub(crate) mod lex;
mod query;
mod set;
mod show;
#[cfg(test)]
mod spans;
mod statement;
mod token;
pub mod versions;
pub(crate) mod walk;

pub use input::{Item, Tokens, tokens};
pub(crate) use statement::{parse, parse_alone};
pub use token::{Span, Tok};
