//! `CREATE TABLE ... COMMENT 'vindex=hash(id)'`: a table of a sharded keyspace that says itself by
//! which vindex its rows are placed.
use super::Planner;
use crate::error::PlanError;
use crate::snapshot::{ColumnVindex, Keyspace, KeyspaceIdx};
use crate::sql::ast::Ddl;
use crate::sql::keyword::Kw;
use crate::sql::lex::Tok;
use crate::vindex;

/// What stands before the advice in a comment.
const MARK: &str = "vindex=";

/// `name(column, ...)`
#[derive(Debug, PartialEq, Eq)]
struct Advice<'a> {
    name: &'a str,
    columns: Vec<&'a str>,
}

impl<'a> Planner<'_, 'a> {
    /// The ALTER VSCHEMA that a new table's comment asks for; `None` if it asks for none, or the
    /// vschema has it already.
    pub(super) fn advised_vindex(
        &mut self,
        keyspace: KeyspaceIdx,
        ddl: &Ddl<'a>,
    ) -> Result<Option<Box<str>>, PlanError> {
        let ([table, ..], Some(comment)) = (ddl.tables, self.table_comment(ddl)) else {
            return Ok(None);
        };
        let Some(text) = marked(comment) else { return Ok(None) };
        // The plan holds what stands there.
        self.cacheable = false;
        let refused = |why: &str| {
            PlanError::Unsupported(format!(
                "COMMENT 'vindex={text}': {why}; write it as vindex=type(column), or \
                    vindex=name(column, ...) with a vindex of the vschema"
            ))
        };
        let advice = read(text).ok_or_else(|| refused("it cannot be read"))?;
        let Some(ks) = self.keyspace(keyspace) else { return Ok(None) };
        let known = ks.tables.get(table.name);
        if let Some(first) = known.and_then(|t| t.column_vindexes.first()) {
            return if is_same(first, &advice) {
                Ok(None)
            } else {
                Err(refused("the vschema says otherwise of this table"))
            };
        }
        if known.is_some_and(|t| t.in_vschema && t.kind != crate::snapshot::TableKind::Normal) {
            return Err(refused(
                "the vschema says of this table that it is of a type without vindexes",
            ));
        }
        let using =
            using(ks, advice.name).ok_or_else(|| refused("it names no functional vindex"))?;
        let columns: Vec<String> = advice.columns.iter().map(|c| format!("`{c}`")).collect();
        let (database, name) = (&ks.name, table.name);
        if [database.as_str(), name].iter().any(|n| n.contains('`')) {
            return Err(refused("the table's name has a backtick"));
        }
        Ok(Some(
            format!(
                "ALTER VSCHEMA ON `{database}`.`{name}` ADD VINDEX `{}` ({}){using}",
                advice.name,
                columns.join(", ")
            )
            .into(),
        ))
    }

    /// The text of `COMMENT [=] '...'` behind a new table's columns.
    fn table_comment(&self, ddl: &Ddl<'a>) -> Option<&'a str> {
        let items = self.tokens.items;
        let is_table = ddl.create && items.iter().take(5).any(|item| item.kw == Kw::Table);
        if !is_table {
            return None;
        }
        let mut depth = 0usize;
        let mut found = None;
        for (n, item) in items.iter().enumerate() {
            match item.tok {
                Tok::Open => depth += 1,
                Tok::Close => depth = depth.saturating_sub(1),
                Tok::Word if depth == 0 && self.word(item.span).eq_ignore_ascii_case("comment") => {
                    let next = items.get(n + 1)?;
                    let text = if self.word(next.span) == "=" { items.get(n + 2)? } else { next };
                    if text.tok == Tok::Str {
                        let quoted = self.word(text.span);
                        found = quoted.get(1..quoted.len().saturating_sub(1));
                    }
                }
                _ => {}
            }
        }
        found
    }

    fn word(&self, span: crate::sql::ast::Span) -> &'a str {
        let sql = self.input.sql;
        let bytes = sql.get(span.start as usize..span.end as usize);
        std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }
}

/// What follows the mark, which begins a word: up to the parenthesis that closes.
fn marked(comment: &str) -> Option<&str> {
    let mut at = 0;
    while let Some(found) = comment.get(at..)?.find(MARK) {
        let start = at + found;
        let before = comment.get(..start)?.chars().next_back();
        if before.is_none_or(|c| c.is_whitespace() || matches!(c, ';' | ',' | '(')) {
            let rest = comment.get(start + MARK.len()..)?;
            return Some(
                rest.find(')')
                    .map_or(rest, |end| rest.get(..=end).unwrap_or(rest)),
            );
        }
        at = start + MARK.len();
    }
    None
}

fn read(text: &str) -> Option<Advice<'_>> {
    let (name, rest) = text.split_once('(')?;
    let columns = rest.strip_suffix(')')?.split(',').map(plain);
    Some(Advice { name: plain(name)?, columns: columns.collect::<Option<_>>()? })
}

/// A name without quotes.
fn plain(name: &str) -> Option<&str> {
    let name = name.trim();
    let inner = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '-');
    (!name.is_empty() && name.chars().all(inner)).then_some(name)
}

fn is_same(found: &ColumnVindex, advice: &Advice<'_>) -> bool {
    let same = |(a, b): (&String, &&str)| a.eq_ignore_ascii_case(b);
    found.vindex.name == advice.name
        && found.columns.len() == advice.columns.len()
        && found.columns.iter().zip(&advice.columns).all(same)
}

/// The USING clause for a vindex of this name: none if the vschema has it, else a type is meant.
/// `None`: rows cannot be placed by it.
fn using(keyspace: &Keyspace, name: &str) -> Option<String> {
    if let Some(known) = keyspace.vindexes.get(name) {
        return known.vindex.is_some().then(String::new);
    }
    let no_file = |_: &str| Err(String::new());
    let made = vindex::create(name, name, &vindex::Params::new(), &no_file);
    matches!(made, Ok(Some(_))).then(|| format!(" USING `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_stands_anywhere_in_a_comment() {
        for (comment, text) in [
            ("vindex=hash(id)", Some("hash(id)")),
            ("orders; vindex=multi(a, b) and more", Some("multi(a, b)")),
            ("see vindex=hash(id)", Some("hash(id)")),
            ("myvindex=hash(id)", None),
            ("myvindex=x vindex=hash(id)", Some("hash(id)")),
            ("vindex=hash", Some("hash")),
            ("", None),
        ] {
            assert_eq!(marked(comment), text, "{comment}");
        }
        let of = |text| read(text).map(|a| (a.name.to_owned(), a.columns.join("+")));
        assert_eq!(of("hash(id)"), Some(("hash".into(), "id".into())));
        assert_eq!(of("multi ( a , b_2 )"), Some(("multi".into(), "a+b_2".into())));
        for text in ["hash", "hash()", "hash(a", "(a)", "hash(a,)", "hash(`a`)", "a b(c)"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
