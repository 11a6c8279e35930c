//! Tables that a load brings along.
use super::template::{Draw, Names, Sizes, Template, number};
use super::values::Random;
use serde::Deserialize;
use std::ops::RangeInclusive;

/// Rows of a table that a load brings along.
const ROWS_MAX: i64 = 1 << 32;

/// A table that a load brings along.
#[derive(Debug, Clone)]
pub(crate) struct OwnTable {
    pub(crate) name: String,
    /// What stands in the parentheses of CREATE TABLE.
    pub(crate) columns: String,
    /// On several shards, rows go by the hash of this column.
    pub(crate) vindex: Option<String>,
    /// It is filled with so many rows.
    pub(crate) rows: i64,
    values: Template,
}

impl OwnTable {
    /// An INSERT of some of its rows, the first being 1.
    pub(crate) fn insert(&self, rows: RangeInclusive<i64>, random: &mut Random) -> String {
        let mut sql = format!("INSERT INTO {} VALUES ", self.name).into_bytes();
        let first = *rows.start();
        for row in rows {
            if row > first {
                sql.push(b',');
            }
            let mut draw = Draw { random, named: &mut [], seq: &mut 1, step: 1, row };
            self.values.write(&mut draw, &mut sql);
        }
        String::from_utf8_lossy(&sql).into_owned()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableFile {
    name: String,
    create: String,
    vindex: Option<String>,
    /// A number, or a product with `scale`.
    rows: String,
    /// One row.
    #[serde(default)]
    values: String,
}

impl TableFile {
    pub(super) fn read(self, sizes: Sizes) -> Result<OwnTable, String> {
        let wrong = |why: String| format!("table {:?}: {why}", self.name);
        let plain = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if !plain(&self.name) || !self.vindex.as_deref().is_none_or(plain) {
            return Err(wrong("names are letters, digits and _".to_owned()));
        }
        let rows = number(&self.rows, sizes).map_err(wrong)?;
        if !(0..=ROWS_MAX).contains(&rows) {
            return Err(wrong(format!("{rows} rows: it must be 0 to {ROWS_MAX}")));
        }
        let mut names = Names::default();
        let values = Template::parse(&self.values, &mut names, sizes).map_err(wrong)?;
        if names.len() > 0 || (rows > 0 && self.values.is_empty()) {
            return Err(wrong("values are one row, of values without names".to_owned()));
        }
        let Self { name, create: columns, vindex, .. } = self;
        Ok(OwnTable { name, columns, vindex, rows, values })
    }
}
