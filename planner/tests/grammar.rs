//! Statements that the grammar must know, in MySQL's and MariaDB's forms.
#![allow(clippy::unwrap_used)]
use bumpalo::Bump;
use coregate_planner::fingerprint::{Fingerprint, SqlMode};
use coregate_planner::fuzz::{Parsed, parse};

#[test]
fn statements_are_understood() {
    let mut failed = Vec::new();
    for sql in include_str!("grammar/statements.sql")
        .split(";\n")
        .map(str::trim)
        .filter(|s| !s.is_empty())
    {
        let arena = Bump::new();
        let mut fingerprint = Fingerprint::new();
        fingerprint.read(sql.as_bytes(), SqlMode::empty()).unwrap();
        match parse(sql.as_bytes(), &fingerprint, SqlMode::empty(), &arena) {
            Ok(Parsed::Unknown) => failed.push(format!("{sql}\n   not known")),
            Ok(_) => {}
            Err(error) => failed.push(format!("{sql}\n   {error}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
