//! `CREATE TABLE other.t ... SELECT`, `CREATE VIEW other.v AS SELECT`: the statement goes to a
//! server with the other keyspace's database selected, where names without a keyspace would mean
//! other tables than for the client.
use super::Planner;
use crate::error::PlanError;
use crate::snapshot::KeyspaceIdx;
use crate::sql::ast::Ddl;
use crate::sql::keyword::Kw;
use crate::sql::lex::Tok;

impl<'a> Planner<'_, 'a> {
    pub(super) fn refuse_foreign_query(
        &self,
        ddl: &Ddl<'a>,
        keyspace: KeyspaceIdx,
    ) -> Result<(), PlanError> {
        let named = ddl
            .tables
            .first()
            .is_some_and(|table| table.database.is_some());
        if !named || self.input.session.keyspace == Some(keyspace) {
            return Ok(());
        }
        match self.unqualified_table() {
            None => Ok(()),
            Some(name) => Err(PlanError::unsupported(format!(
                "a table or view of another keyspace made from '{name}', which names no keyspace; \
                    write keyspace.{name}, or USE the other \
                 keyspace first"
            ))),
        }
    }

    /// A table without a keyspace in the FROM clauses of the statement. In doubt, there is one.
    fn unqualified_table(&self) -> Option<String> {
        let items = self.tokens.items;
        let tok = |at: usize| items.get(at).map_or(Tok::End, |item| item.tok);
        let kw = |at: usize| items.get(at).map_or(Kw::None, |item| item.kw);
        let text = |at: usize| {
            let span = items.get(at).map(|item| item.span).unwrap_or_default();
            self.input
                .sql
                .get(span.start as usize..span.end as usize)
                .map(|text| String::from_utf8_lossy(text).into_owned())
                .unwrap_or_default()
        };
        // Names of WITH: `name AS (`, `name (a, b) AS (`.
        let is_with = |name: &str| {
            (0..items.len()).any(|at| {
                text(at).eq_ignore_ascii_case(name)
                    && (kw(at + 1) == Kw::As || tok(at + 1) == Tok::Open)
            })
        };
        let has_with = (0..items.len()).any(|at| kw(at) == Kw::With && tok(at + 1) != Tok::Open);
        // For each open bracket: is it within a list of tables?
        let mut lists = vec![false];
        let mut expected = false;
        for at in 0..items.len() {
            if std::mem::take(&mut expected) {
                match (tok(at), kw(at)) {
                    (_, Kw::Lateral) => {
                        expected = true;
                        continue;
                    }
                    (Tok::Open, _) => {
                        let query = matches!(kw(at + 1), Kw::Select | Kw::With | Kw::Values);
                        lists.push(!query);
                        expected = !query;
                        continue;
                    }
                    (Tok::Word | Tok::Quoted, _)
                        if tok(at + 1) == Tok::Dot || tok(at + 1) == Tok::Open => {}
                    (Tok::Word | Tok::Quoted, _) => {
                        let name = text(at);
                        if !has_with || !is_with(&name) {
                            return Some(name.trim_matches(['`', '"']).to_owned());
                        }
                    }
                    _ => {}
                }
            }
            match (tok(at), kw(at)) {
                (_, Kw::From | Kw::Join | Kw::Straight) => {
                    if let Some(list) = lists.last_mut() {
                        *list = true;
                    }
                    expected = true;
                }
                (
                    _,
                    Kw::Where
                    | Kw::Group
                    | Kw::Having
                    | Kw::Order
                    | Kw::Limit
                    | Kw::Union
                    | Kw::Select,
                ) => {
                    if let Some(list) = lists.last_mut() {
                        *list = false;
                    }
                }
                (Tok::Open, _) => lists.push(false),
                (Tok::Close, _) if lists.len() > 1 => drop(lists.pop()),
                (Tok::Comma, _) => expected = lists.last() == Some(&true),
                _ => {}
            }
        }
        None
    }
}
