//! What is run: weighted transactions of statements with values. Ours and users' come from files of
//! the same form.
mod own;
mod template;
mod values;

use crate::Error;
pub(crate) use own::OwnTable;
pub(crate) use template::{Draw, Sizes, Template};
pub(crate) use values::{Random, Value};

use own::TableFile;
use serde::Deserialize;
use std::fmt::Write;
use std::path::Path;
use template::Names;

/// Placeholders of one prepared statement, as the protocol has it.
const PLACEHOLDERS_MAX: usize = 65_535;
/// Statements of one transaction.
const STATEMENTS_MAX: usize = 10_000;
/// Bytes of a load's file.
const FILE_MAX: u64 = 16 << 20;

/// The loads that come with the harness: name, file.
const OURS: [(&str, &str); 12] = [
    ("point", include_str!("../loads/point.toml")),
    ("read_only", include_str!("../loads/read_only.toml")),
    ("read_write", include_str!("../loads/read_write.toml")),
    ("update", include_str!("../loads/update.toml")),
    ("insert", include_str!("../loads/insert.toml")),
    ("bulk_insert", include_str!("../loads/bulk_insert.toml")),
    ("large", include_str!("../loads/large.toml")),
    ("scatter", include_str!("../loads/scatter.toml")),
    ("join", include_str!("../loads/join.toml")),
    ("connect", include_str!("../loads/connect.toml")),
    ("skewed", include_str!("../loads/skewed.toml")),
    ("tpcc", include_str!("../loads/tpcc.toml")),
];

/// One load.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) name: String,
    pub(crate) title: String,
    /// The harness's tables that must be there.
    pub(crate) tables: Vec<String>,
    /// Its own tables.
    pub(crate) own: Vec<OwnTable>,
    /// Run before each round.
    pub(crate) setup: Vec<String>,
    /// Each transaction has a connection of its own.
    pub(crate) connects: bool,
    pub(crate) transactions: Vec<Transaction>,
    weights: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    weight: u64,
    pub(crate) statements: Vec<Statement>,
    /// How many values have names.
    pub(crate) names: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Statement {
    sql: Template,
    /// Rows of values behind it: one of them, and how many.
    values: Option<(Template, u32)>,
    pub(crate) times: u32,
    pub(crate) check: Check,
    /// Sent prepared where the round is a prepared one.
    pub(crate) preparable: bool,
}

/// What an answer is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// It must not be an error.
    Good,
    /// So many rows.
    Rows(u64),
    /// One row, with the column `c` that follows from this value.
    COf(usize),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: Option<String>,
    #[serde(default)]
    tables: Vec<String>,
    #[serde(default)]
    setup: Vec<String>,
    #[serde(default)]
    connects: bool,
    #[serde(default)]
    table: Vec<TableFile>,
    transaction: Vec<TransactionFile>,
}

/// Statements that are repeated together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupFile {
    times: u32,
    statements: Vec<toml::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TransactionFile {
    #[serde(default = "one")]
    weight: u32,
    statements: Vec<toml::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatementFile {
    sql: String,
    #[serde(default = "one")]
    times: u32,
    /// Rows that the answer must have.
    rows: Option<u64>,
    /// The name of the value that the answer's `c` follows from.
    c_of: Option<String>,
    /// One row of values, repeated behind the text with commas between.
    values: Option<String>,
    #[serde(default = "one")]
    repeat: u32,
}

fn one() -> u32 {
    1
}

impl Work {
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        OURS.iter().map(|(name, _)| *name)
    }

    /// One of ours, or a file.
    ///
    /// # Errors
    /// There is no such load, or its file is wrong: the place and what is allowed.
    pub(crate) fn find(name: &str, sizes: Sizes) -> Result<Self, Error> {
        if let Some((name, text)) = OURS.iter().find(|(own, _)| *own == name) {
            return Self::parse(name, text, sizes)
                .map_err(|why| Error::Usage(format!("load {name}: {why}")));
        }
        let path = Path::new(name);
        if !path.exists() {
            let ours: Vec<&str> = Self::names().collect();
            return Err(Error::Usage(format!(
                "load {name:?}: there is no such file, and ours are {}",
                ours.join(", ")
            )));
        }
        let wrong = |why: String| Error::Usage(format!("{}: {why}", path.display()));
        let size = path.metadata().map_err(|e| wrong(e.to_string()))?.len();
        if size > FILE_MAX {
            return Err(wrong(format!("it has {size} bytes, {FILE_MAX} is the most")));
        }
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&stem, &text, sizes).map_err(wrong)
    }

    fn parse(name: &str, text: &str, sizes: Sizes) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
        if file.transaction.is_empty() {
            return Err("it has no [[transaction]]".to_owned());
        }
        let transactions = file
            .transaction
            .into_iter()
            .enumerate()
            .map(|(at, t)| {
                t.read(sizes)
                    .map_err(|why| format!("transaction {}: {why}", at + 1))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let weights: u64 = transactions.iter().map(|t| t.weight).sum();
        if weights == 0 {
            return Err("all weights are 0".to_owned());
        }
        if let Some(unknown) = file.tables.iter().find(|t| !crate::table::is_known(t)) {
            return Err(format!(
                "tables: {unknown:?} is none of the harness's; there are sbtest1, sbtest2 and \
                    sbinsert"
            ));
        }
        let own = file
            .table
            .into_iter()
            .map(|table| table.read(sizes))
            .collect::<Result<Vec<_>, _>>()?;
        let title = file.title.unwrap_or_else(|| name.to_owned());
        let (setup, connects) = (file.setup, file.connects);
        let (name, tables) = (name.to_owned(), file.tables);
        Ok(Self { name, title, tables, own, setup, connects, transactions, weights })
    }

    /// The next transaction, by weight.
    pub(crate) fn choose(&self, random: &mut Random) -> usize {
        if self.transactions.len() == 1 {
            return 0;
        }
        let mut at = random.next() % self.weights;
        for (index, transaction) in self.transactions.iter().enumerate() {
            if at < transaction.weight {
                return index;
            }
            at -= transaction.weight;
        }
        0
    }
}

impl TransactionFile {
    fn read(self, sizes: Sizes) -> Result<Transaction, String> {
        let mut names = Names::default();
        if self.statements.is_empty() {
            return Err("it has no statements".to_owned());
        }
        let mut statements = Vec::new();
        for (at, value) in self.statements.into_iter().enumerate() {
            let wrong = |why: String| format!("statement {}: {why}", at + 1);
            match group(&value) {
                Some(group) => {
                    let GroupFile { times, statements: inner } = group.map_err(wrong)?;
                    let each = inner
                        .into_iter()
                        .map(|value| statement(value, &mut names, sizes))
                        .collect::<Result<Vec<_>, _>>()
                        .map_err(wrong)?;
                    let times = times.min(STATEMENTS_MAX as u32) as usize;
                    statements.extend(std::iter::repeat_n(each, times).flatten());
                }
                None => statements.push(statement(value, &mut names, sizes).map_err(wrong)?),
            }
        }
        let all: usize = statements.iter().map(|s| s.times as usize).sum();
        if all > STATEMENTS_MAX {
            return Err(format!("{all} statements, {STATEMENTS_MAX} is the most"));
        }
        Ok(Transaction { weight: u64::from(self.weight), statements, names: names.len() })
    }
}

/// A table of statements that are repeated together, if it is one.
fn group(value: &toml::Value) -> Option<Result<GroupFile, String>> {
    value.get("statements")?;
    Some(GroupFile::deserialize(value.clone()).map_err(|e| e.to_string()))
}

/// A text, or a table with more to say about it.
fn statement(value: toml::Value, names: &mut Names, sizes: Sizes) -> Result<Statement, String> {
    let file = match value {
        toml::Value::String(sql) => {
            StatementFile { sql, times: 1, rows: None, c_of: None, values: None, repeat: 1 }
        }
        table => StatementFile::deserialize(table).map_err(|e| e.to_string())?,
    };
    let sql = Template::parse(&file.sql, names, sizes)?;
    let values = match &file.values {
        Some(values) => Some((Template::parse(values, names, sizes)?, file.repeat.max(1))),
        None => None,
    };
    let check = match (file.rows, &file.c_of) {
        (None, None) => Check::Good,
        (Some(rows), None) => Check::Rows(rows),
        (None, Some(name)) => Check::COf(
            names
                .find(name)
                .ok_or_else(|| format!("c_of: no value has the name {name:?}"))?,
        ),
        (Some(_), Some(_)) => return Err("rows and c_of: one of them is enough".to_owned()),
    };
    let preparable = is_preparable(&file.sql);
    let statement = Statement { sql, values, times: file.times.max(1), check, preparable };
    let marks = statement.marks();
    if preparable && marks > PLACEHOLDERS_MAX {
        return Err(format!("{marks} values, {PLACEHOLDERS_MAX} is the most"));
    }
    Ok(statement)
}

/// BEGIN and the like are sent as text always, as drivers do it.
fn is_preparable(sql: &str) -> bool {
    let word: String = sql
        .trim_start()
        .chars()
        .take_while(|c| c.is_ascii_alphabetic())
        .collect();
    let word = word.to_ascii_uppercase();
    ["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "CALL"].contains(&word.as_str())
}

impl Statement {
    fn marks(&self) -> usize {
        let more = self
            .values
            .as_ref()
            .map_or(0, |(row, count)| row.values() * *count as usize);
        self.sql.values() + more
    }

    /// The text with question marks.
    pub(crate) fn prepared_text(&self) -> String {
        let mut out = String::new();
        self.sql.with_marks(&mut out);
        if let Some((row, count)) = &self.values {
            for n in 0..*count {
                // Writing to a string cannot fail.
                let _ = out.write_str(if n == 0 { "" } else { "," });
                row.with_marks(&mut out);
            }
        }
        out
    }

    /// The text with literals.
    pub(crate) fn text(&self, draw: &mut Draw<'_>, out: &mut Vec<u8>) {
        self.sql.write(draw, out);
        if let Some((row, count)) = &self.values {
            for n in 0..*count {
                if n > 0 {
                    out.push(b',');
                }
                row.write(draw, out);
            }
        }
    }

    /// The values alone.
    pub(crate) fn draw(&self, draw: &mut Draw<'_>, out: &mut Vec<Value>) {
        self.sql.draw(draw, out);
        if let Some((row, count)) = &self.values {
            for _ in 0..*count {
                row.draw(draw, out);
            }
        }
    }
}

#[cfg(test)]
mod tests;
