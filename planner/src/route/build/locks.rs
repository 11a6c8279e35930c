//! FOR UPDATE and its like: rows are locked where they are, when they are gathered.
use super::super::Planner;
use crate::sql::ast::Span;
use crate::sql::keyword::Kw;
use crate::sql::lex::Tok;

/// A locking clause.
#[derive(Debug, Clone, Default)]
pub(super) struct Lock {
    /// Without OF.
    pub(super) text: String,
    /// OF: only these tables.
    tables: Vec<String>,
}

impl Lock {
    pub(super) fn of(planner: &Planner<'_, '_>, span: Span) -> Self {
        let sql = planner.input.sql;
        let inside = planner
            .tokens
            .items
            .iter()
            .filter(|i| i.span.start >= span.start && i.span.end <= span.end);
        let mut lock = Self::default();
        let mut names = false;
        for item in inside {
            let text = sql.get(item.span.start as usize..item.span.end as usize);
            let text = String::from_utf8_lossy(text.unwrap_or_default());
            match (item.tok, item.kw) {
                (_, Kw::Of) => names = true,
                (_, Kw::Nowait | Kw::Skip | Kw::Wait) => {
                    names = false;
                    lock.add(&text);
                }
                (Tok::Word, _) if names => lock.tables.push(text.into_owned()),
                (Tok::Quoted, _) if names => {
                    let inner = text.get(1..text.len().saturating_sub(1));
                    lock.tables
                        .push(inner.unwrap_or_default().replace("``", "`"));
                }
                _ if names => {}
                _ => lock.add(&text),
            }
        }
        lock
    }

    fn add(&mut self, word: &str) {
        self.text.push(' ');
        self.text.push_str(word);
    }

    pub(super) fn is_on(&self, table: &str) -> bool {
        self.tables.is_empty() || self.tables.iter().any(|t| t == table)
    }
}
