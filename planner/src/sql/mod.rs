//! SQL text to syntax trees: a table-driven lexer, and nom parsers over its tokens.
//!
//! The grammar is that of MySQL 8 and MariaDB 11 as far as a router must see it. A statement that
//! it does not know is [`ast::Statement::Unknown`], which can still be sent on whole.
pub mod ast;
pub(crate) mod blocks;
mod call;
mod ddl;
mod dml;
mod expr;
mod from;
pub mod input;
pub mod keyword;
pub mod lex;
mod query;
mod set;
mod show;
mod statement;
mod token;
pub mod versions;
pub mod walk;

pub use statement::{parse, parse_alone};
