//! Reads `CREATE TABLE` statements, for `explain --schema`: which columns a table has, in which
//! order. The servers are asked when there are any; this is for working without them.
use bumpalo::Bump;
use coregate_planner::PlanError;
use coregate_planner::fingerprint::{Fingerprint, SqlMode};
use coregate_planner::snapshot::{Column, ColumnKey, Key};
use coregate_planner::sql::{Item, Tok, tokens};
use coregate_planner::vschema::ServerTable;

/// Words that begin a definition which is no column's.
const NOT_COLUMNS: [&str; 10] = [
    "primary",
    "key",
    "index",
    "unique",
    "fulltext",
    "spatial",
    "constraint",
    "foreign",
    "check",
    "period",
];

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
        let mut table = ServerTable { name: self.name(name), ..ServerTable::default() };
        for items in definitions(body) {
            match self.column(items) {
                Some(column) => table.columns.push(column),
                None => self.key(items, &mut table),
            }
        }
        finish(&mut table);
        Some(table)
    }

    fn column(&self, items: &[Item]) -> Option<Column> {
        let (first, rest) = items.split_first()?;
        if first.tok == Tok::Word && NOT_COLUMNS.iter().any(|word| self.is(first, word)) {
            return None;
        }
        let has = |word: &str| rest.iter().any(|item| self.is(item, word));
        let collate = rest.iter().position(|item| self.is(item, "collate"));
        let not_null = rest
            .windows(2)
            .any(|pair| self.is(&pair[0], "not") && self.is(&pair[1], "null"));
        let (generated, auto_increment) = (has("generated") || has("as"), has("auto_increment"));
        let key = match () {
            () if has("primary") => ColumnKey::Primary,
            () if has("unique") => ColumnKey::Unique,
            () => ColumnKey::None,
        };
        Some(Column {
            collation: collate
                .and_then(|at| rest.get(at + 1))
                .map(|item| self.name(item)),
            nullable: Some(!not_null && !auto_increment && key != ColumnKey::Primary),
            key,
            auto_increment,
            has_default: has("default") && !generated,
            generated,
            invisible: has("invisible"),
            ..Column::of_type(&self.name(first), &self.column_type(rest))
        })
    }

    /// The type's word, what stands in parentheses after it, UNSIGNED and ZEROFILL.
    fn column_type(&self, items: &[Item]) -> String {
        let mut end = 1;
        if items.get(1).is_some_and(|open| open.tok == Tok::Open) {
            let close = items.iter().position(|item| item.tok == Tok::Close);
            end = close.map_or(items.len(), |at| at + 1);
        }
        let more = ["unsigned", "signed", "zerofill", "precision"];
        while items
            .get(end)
            .is_some_and(|item| more.iter().any(|word| self.is(item, word)))
        {
            end += 1;
        }
        let (Some(first), Some(last)) = (items.first(), items.get(..end).unwrap_or(items).last())
        else {
            return String::new();
        };
        let text = self
            .sql
            .get(first.span.start as usize..last.span.end as usize);
        String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
    }

    /// `PRIMARY KEY (a, b)`, `UNIQUE KEY name (a(10))`, `KEY name (a)`, each perhaps after
    /// `CONSTRAINT name`.
    fn key(&self, items: &[Item], table: &mut ServerTable) {
        let Some(open) = items.iter().position(|item| item.tok == Tok::Open) else { return };
        let (head, body) = items.split_at(open);
        let has = |word: &str| head.iter().any(|item| self.is(item, word));
        if !(has("primary") || has("unique") || has("key") || has("index"))
            || has("foreign")
            || has("fulltext")
            || has("spatial")
        {
            return;
        }
        let mut key = Key { whole: true, ..Key::default() };
        if let Some(last) = head
            .last()
            .filter(|last| !["key", "index", "unique"].iter().any(|w| self.is(last, w)))
        {
            key.name = self.name(last);
        }
        for part in definitions(body) {
            match part {
                [name, rest @ ..] if name.tok != Tok::Open => {
                    key.columns.push(self.name(name));
                    key.whole &= rest.iter().all(|item| item.tok != Tok::Open);
                }
                _ => key.whole = false,
            }
        }
        match () {
            () if has("primary") => table.primary_key = key.columns,
            () if has("unique") => table.unique_keys.push(key),
            () => table.indexes.push(key),
        }
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

/// What keys and columns say of each other.
fn finish(table: &mut ServerTable) {
    for column in &mut table.columns {
        let named = |name: &String| name.eq_ignore_ascii_case(&column.name);
        let first = |key: &Key| key.columns.first().is_some_and(named);
        let only = |key: &Key| key.whole && key.columns.len() == 1 && first(key);
        match column.key {
            ColumnKey::Primary => table.primary_key = vec![column.name.clone()],
            ColumnKey::Unique => table.unique_keys.push(Key {
                name: column.name.clone(),
                columns: vec![column.name.clone()],
                whole: true,
            }),
            _ if table.primary_key.iter().any(named) => {
                (column.key, column.nullable) = (ColumnKey::Primary, Some(false));
            }
            _ if table.unique_keys.iter().any(only) => column.key = ColumnKey::Unique,
            _ if table.unique_keys.iter().chain(&table.indexes).any(first) => {
                column.key = ColumnKey::Multiple;
            }
            _ => {}
        }
        column.null_default =
            column.nullable == Some(true) && !column.has_default && !column.generated;
        column.has_default |= column.null_default;
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
        let sql = "-- a comment; with a semicolon\nCREATE TABLE IF NOT EXISTS `a``b` (id BIGINT \
            NOT NULL AUTO_INCREMENT,\n\
                   `key` varchar(20) COLLATE utf8mb4_bin DEFAULT 'x,y', n int GENERATED ALWAYS AS \
                   (id + 1), e enum('a','b'),\n\
                   PRIMARY KEY (id, n), KEY k (`key`), CONSTRAINT c CHECK (id > 0)) \
                   ENGINE=InnoDB;\n\
                   INSERT INTO t VALUES (1);\nCREATE TABLE db.t (x int)";
        let tables = read(sql).unwrap();
        let names = |t: &ServerTable| t.columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        assert_eq!(tables.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["a`b", "t"]);
        assert_eq!(names(&tables[0]), ["id", "key", "n", "e"]);
        let c = &tables[0].columns;
        assert!(
            c[0].auto_increment
                && c[2].generated
                && c[1].collation.as_deref() == Some("utf8mb4_bin")
        );
        assert_eq!((c[0].data_type.as_str(), c[3].data_type.as_str()), ("bigint", "enum"));
        assert_eq!(c[3].column_type.as_deref(), Some("enum('a','b')"));
    }

    #[test]
    fn keys_of_tables() {
        let sql = "CREATE TABLE t (a int, b DECIMAL (10, 2) UNSIGNED NOT NULL DEFAULT 0, c \
            varchar(9) UNIQUE, d int NOT NULL,\n\
                   CONSTRAINT PRIMARY KEY (a, d), UNIQUE INDEX u (c(3), b), KEY `k` (b DESC), \
                   FULLTEXT KEY f (c), KEY (c),\n\
                   FOREIGN KEY (d) REFERENCES x (d), CHECK (a > 1))";
        let table = &read(sql).unwrap()[0];
        assert_eq!(table.primary_key, ["a", "d"]);
        let keys = |keys: &[Key]| {
            keys.iter()
                .map(|k| (k.name.clone(), k.columns.join(","), k.whole))
                .collect::<Vec<_>>()
        };
        let key = |name: &str, columns: &str, whole| (name.to_owned(), columns.to_owned(), whole);
        assert_eq!(keys(&table.unique_keys), [key("u", "c,b", false), key("c", "c", true)]);
        assert_eq!(keys(&table.indexes), [key("k", "b", true), key("", "c", true)]);
        let c = &table.columns;
        assert_eq!(c.len(), 4);
        assert_eq!(c[1].column_type.as_deref(), Some("decimal (10, 2) unsigned"));
        assert_eq!((c[1].numeric_precision, c[1].numeric_scale), (Some(10), Some(2)));
        assert_eq!(
            c.iter().map(|c| c.nullable).collect::<Vec<_>>(),
            [false, false, true, false].map(Some)
        );
        assert_eq!(c.iter().map(|c| c.has_default).collect::<Vec<_>>(), [false, true, true, false]);
        let kinds =
            [ColumnKey::Primary, ColumnKey::Multiple, ColumnKey::Unique, ColumnKey::Primary];
        assert_eq!(c.iter().map(|c| c.key).collect::<Vec<_>>(), kinds);
    }
}
