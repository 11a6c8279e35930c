//! Reads `CREATE TABLE` statements, for `explain --schema`: which columns a table has, in which order. The servers are asked when
//! there are any; this is for working without them.
use bumpalo::Bump;
use coregate_planner::PlanError;
use coregate_planner::fingerprint::{Fingerprint, SqlMode};
use coregate_planner::snapshot::Column;
use coregate_planner::sql::input::{Item, tokens};
use coregate_planner::sql::lex::Tok;
use coregate_planner::vschema::ServerTable;

/// Words that begin a definition which is no column's.
const NOT_COLUMNS: [&str; 10] =
    ["primary", "key", "index", "unique", "fulltext", "spatial", "constraint", "foreign", "check", "period"];

/// The tables of a file of SQL; statements of other kinds are passed over.
pub(crate) fn read(sql: &str) -> Result<Vec<ServerTable>, PlanError> {
    let mut tables = Vec::new();
    let mut rest = sql.as_bytes();
    let mut fingerprint = Fingerprint::new();
    loop {
        let arena = Bump::new();
        fingerprint.read(rest, SqlMode::default())?;
        let found = tokens(rest, &fingerprint, SqlMode::default(), &arena)?;
        tables.extend(Statement { sql: rest, items: found.items }.table());
        if !fingerprint.more {
            return Ok(tables);
        }
        rest = rest.get(fingerprint.end + 1..).unwrap_or_default();
    }
}

struct Statement<'a> {
    sql: &'a [u8],
    items: &'a [Item],
}

impl Statement<'_> {
    fn table(&self) -> Option<ServerTable> {
        let open = self.items.iter().position(|item| item.tok == Tok::Open)?;
        let (head, body) = self.items.split_at(open);
        let (name, words) = head.split_last()?;
        let create = words.first().is_some_and(|item| self.is(item, "create"));
        if !create || !words.iter().any(|item| self.is(item, "table")) {
            return None;
        }
        let columns = definitions(body)
            .into_iter()
            .filter_map(|items| self.column(items))
            .collect();
        Some(ServerTable { name: self.name(name), columns, view: None })
    }

    fn column(&self, items: &[Item]) -> Option<Column> {
        let (first, rest) = items.split_first()?;
        if first.tok == Tok::Word && NOT_COLUMNS.iter().any(|word| self.is(first, word)) {
            return None;
        }
        let has = |word: &str| rest.iter().any(|item| self.is(item, word));
        let collate = rest.iter().position(|item| self.is(item, "collate"));
        Some(Column {
            name: self.name(first),
            data_type: rest
                .first()
                .map(|item| self.name(item).to_lowercase())
                .unwrap_or_default(),
            bytes: rest
                .get(2)
                .filter(|_| rest.get(1).is_some_and(|open| open.tok == Tok::Open))
                .and_then(|length| self.name(length).parse().ok()),
            collation: collate
                .and_then(|at| rest.get(at + 1))
                .map(|item| self.name(item)),
            auto_increment: has("auto_increment"),
            generated: has("generated") || has("as"),
            invisible: has("invisible"),
        })
    }

    fn text(&self, item: &Item) -> &[u8] {
        self.sql
            .get(item.span.start as usize..item.span.end as usize)
            .unwrap_or_default()
    }

    fn is(&self, item: &Item, word: &str) -> bool {
        item.tok == Tok::Word && self.text(item).eq_ignore_ascii_case(word.as_bytes())
    }

    fn name(&self, item: &Item) -> String {
        let text = String::from_utf8_lossy(self.text(item));
        match text.strip_prefix('`').and_then(|t| t.strip_suffix('`')) {
            Some(inner) => inner.replace("``", "`"),
            None => text.into_owned(),
        }
    }
}

/// What stands between the commas of the first parentheses.
fn definitions(items: &[Item]) -> Vec<&[Item]> {
    let (mut depth, mut start, mut all) = (0, 1, Vec::new());
    for (at, item) in items.iter().enumerate() {
        match item.tok {
            Tok::Open => depth += 1,
            Tok::Close => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && item.tok == Tok::Comma) {
            all.push(items.get(start..at).unwrap_or_default());
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_tables() {
        let sql = "-- a comment; with a semicolon\nCREATE TABLE IF NOT EXISTS `a``b` (id BIGINT NOT NULL AUTO_INCREMENT,\n\
                   `key` varchar(20) COLLATE utf8mb4_bin DEFAULT 'x,y', n int GENERATED ALWAYS AS (id + 1), e enum('a','b'),\n\
                   PRIMARY KEY (id, n), KEY k (`key`), CONSTRAINT c CHECK (id > 0)) ENGINE=InnoDB;\n\
                   INSERT INTO t VALUES (1);\nCREATE TABLE db.t (x int)";
        let tables = read(sql).unwrap();
        let names = |t: &ServerTable| t.columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        assert_eq!(tables.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["a`b", "t"]);
        assert_eq!(names(&tables[0]), ["id", "key", "n", "e"]);
        let c = &tables[0].columns;
        assert!(c[0].auto_increment && c[2].generated && c[1].collation.as_deref() == Some("utf8mb4_bin"));
        assert_eq!((c[0].data_type.as_str(), c[3].data_type.as_str()), ("bigint", "enum"));
    }
}
