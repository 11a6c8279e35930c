//! Tables of information_schema for the server that finishes a statement: the servers' rows with
//! the clients' names in them and numbers added up over shards, or the sessions of this process.
use super::scatter::Work;
use super::write::{TextForm, value_literal};
use super::{Outcome, Session};
use crate::error::sql_error;
use crate::exec::{Collected, GatherLimits, quoted};
use ahash::{AHashMap, AHashSet};
use coregate_planner::control::SqlError;
use coregate_planner::plan::tree::{Counted, Gather, SystemRows, SystemTable};
use coregate_planner::snapshot::TableKind;
use coregate_protocol::value::write_string;
use std::cell::RefCell;

/// An INSERT is ended when it has so many bytes.
const INSERT_MAX: usize = 1 << 20;

/// Names of columns, in the order of the cells of SHOW PROCESSLIST.
const PROCESSLIST: [&str; 8] = ["ID", "USER", "HOST", "DB", "COMMAND", "TIME", "STATE", "INFO"];

type Cells = Vec<Option<Vec<u8>>>;

/// What of a row is the same on all shards, and what is added up.
struct Sums {
    names: &'static [&'static str],
    added: &'static [&'static str],
}

fn sums(counted: Counted) -> Sums {
    const SIZES: &[&str] = &["TABLE_ROWS", "DATA_LENGTH", "INDEX_LENGTH", "DATA_FREE"];
    match counted {
        Counted::Tables => Sums { names: &["TABLE_SCHEMA", "TABLE_NAME"], added: SIZES },
        Counted::Partitions => Sums {
            names: &["TABLE_SCHEMA", "TABLE_NAME", "PARTITION_NAME", "SUBPARTITION_NAME"],
            added: SIZES,
        },
        Counted::Statistics => Sums {
            names: &["TABLE_SCHEMA", "TABLE_NAME", "INDEX_NAME", "SEQ_IN_INDEX"],
            added: &["CARDINALITY"],
        },
    }
}

/// The statements that make a table of information_schema again, without its rows.
pub(super) fn create(gather: &Gather, system: &SystemTable) -> Vec<u8> {
    let (table, of) = (quoted(&gather.table), quoted(&system.name));
    format!(
        "CREATE TEMPORARY TABLE {table} ENGINE=InnoDB SELECT * FROM information_schema.{of} LIMIT 0"
    )
    .into_bytes()
}

/// How much has been gathered for a statement.
pub(super) struct Budget {
    pub(super) limits: GatherLimits,
    pub(super) rows: u64,
    pub(super) bytes: usize,
}

impl Session {
    /// Reads the rows of one leaf, `rows` being where its work puts them, and writes what makes
    /// them again.
    pub(super) async fn gather_system(
        &mut self,
        work: Work<'_>,
        rows: &RefCell<Collected>,
        (gather, system): (&Gather, &SystemTable),
        budget: &mut Budget,
        statements: &mut Vec<Vec<u8>>,
    ) -> Outcome {
        if system.begins {
            statements.push(create(gather, system));
        }
        let (names, found) = if system.rows == SystemRows::Sessions {
            let found = self.sessions().await?;
            let cells = found.iter().map(|row| row.cells(true)).collect();
            (PROCESSLIST.map(|name| name.as_bytes().to_vec()).to_vec(), cells)
        } else {
            let before = self.results_in_utf8mb4();
            let read = Box::pin(self.several(work, &mut super::answer::Answer::first())).await;
            self.results_as(before);
            read?;
            let mut read = rows.take();
            let names = read.names.take().unwrap_or_default();
            if let SystemRows::Counted(counted) = system.rows {
                read.rows = added_up(read.rows, &names, counted, &self.copies());
            }
            if let Some(renamed) = &system.renamed {
                rename(&mut read.rows, &names, renamed);
            }
            return insert(gather, &names, &read, budget, statements).map_err(Into::into);
        };
        let mut read = Collected::default();
        read.rows = found;
        Ok(insert(gather, &names, &read, budget, statements)?)
    }

    /// Tables of which every shard has the same rows: their databases and names.
    fn copies(&self) -> AHashSet<Vec<Vec<u8>>> {
        let snapshot = self.core.snapshot.borrow();
        let tables = snapshot
            .keyspaces
            .iter()
            .flat_map(|k| k.tables.values().map(move |t| (k, t)));
        tables
            .filter(|(_, table)| table.kind == TableKind::Reference)
            .map(|(keyspace, table)| {
                vec![keyspace.database.clone().into_bytes(), table.name.clone().into_bytes()]
            })
            .collect()
    }
}

fn place_of(names: &[Vec<u8>], name: &str) -> Option<usize> {
    names
        .iter()
        .position(|n| n.eq_ignore_ascii_case(name.as_bytes()))
}

fn number(cells: &Cells, at: Option<usize>) -> Option<u64> {
    let text = cells.get(at?)?.as_deref()?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn put(cells: &mut Cells, at: Option<usize>, number: Option<u64>) {
    if let Some(cell) = at.and_then(|at| cells.get_mut(at)) {
        *cell = number.map(|n| n.to_string().into_bytes());
    }
}

/// One row for each object, where every shard has given one.
fn added_up(
    rows: Vec<Cells>,
    names: &[Vec<u8>],
    counted: Counted,
    copies: &AHashSet<Vec<Vec<u8>>>,
) -> Vec<Cells> {
    let sums = sums(counted);
    let at = |name: &str| place_of(names, name);
    let keys: Vec<usize> = sums.names.iter().filter_map(|n| at(n)).collect();
    let added: Vec<Option<usize>> = sums.added.iter().map(|n| at(n)).collect();
    let (next, average) = (at("AUTO_INCREMENT"), at("AVG_ROW_LENGTH"));
    let (table_rows, length) = (at("TABLE_ROWS"), at("DATA_LENGTH"));
    let mut out: Vec<Cells> = Vec::new();
    let mut known: AHashMap<Cells, usize> = AHashMap::default();
    for row in rows {
        let key: Cells = keys
            .iter()
            .map(|at| row.get(*at).cloned().flatten())
            .collect();
        let copy = match (key.first(), key.get(1)) {
            (Some(Some(database)), Some(Some(table))) => {
                copies.contains(&vec![database.clone(), table.clone()])
            }
            _ => false,
        };
        let Some(first) = known.get(&key).and_then(|at| out.get_mut(*at)) else {
            known.insert(key, out.len());
            out.push(row);
            continue;
        };
        if copy {
            continue;
        }
        for &at in &added {
            let sum = match (number(first, at), number(&row, at)) {
                (Some(a), Some(b)) => Some(a.saturating_add(b)),
                (a, b) => a.or(b),
            };
            put(first, at, sum);
        }
        let larger = number(first, next).max(number(&row, next));
        put(first, next, larger);
        if let (Some(rows), Some(bytes)) = (number(first, table_rows), number(first, length)) {
            put(first, average, Some(bytes.checked_div(rows).unwrap_or(0)));
        }
    }
    out
}

/// The client knows the database by another name.
fn rename(rows: &mut [Cells], names: &[Vec<u8>], (database, keyspace): &(String, String)) {
    let of_databases = |name: &[u8]| {
        let name = name.to_ascii_uppercase();
        name.ends_with(b"_SCHEMA") || name == b"SCHEMA_NAME"
    };
    let places: Vec<usize> = (0..names.len())
        .filter(|at| names.get(*at).is_some_and(|n| of_databases(n)))
        .collect();
    for row in rows {
        for at in &places {
            if let Some(Some(cell)) = row.get_mut(*at)
                && cell.as_slice() == database.as_bytes()
            {
                *cell = keyspace.clone().into_bytes();
            }
        }
    }
}

/// The rows as INSERTs, for the settings of the load.
fn insert(
    gather: &Gather,
    names: &[Vec<u8>],
    read: &Collected,
    budget: &mut Budget,
    statements: &mut Vec<Vec<u8>>,
) -> Result<(), SqlError> {
    let columns: Vec<String> = names
        .iter()
        .map(|name| quoted(&String::from_utf8_lossy(name)))
        .collect();
    let head = format!("INSERT INTO {} ({}) VALUES ", quoted(&gather.table), columns.join(","))
        .into_bytes();
    let form = TextForm::OF_LOADS;
    let mut text: Vec<u8> = Vec::new();
    for row in &read.rows {
        let before = text.len();
        if text.is_empty() {
            text.extend_from_slice(&head);
        } else {
            text.push(b',');
        }
        text.push(b'(');
        for (at, value) in row.iter().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            match (value, read.columns.get(at)) {
                (Some(value), None) => write_string(value, Default::default(), &mut text),
                (value, column) => value_literal(value.as_deref(), column, form, &mut text)?,
            }
        }
        text.push(b')');
        budget.rows += 1;
        budget.bytes += text.len() - before;
        budget.check()?;
        if text.len() >= INSERT_MAX {
            statements.push(std::mem::take(&mut text));
        }
    }
    if !text.is_empty() {
        statements.push(text);
    }
    Ok(())
}

impl Budget {
    fn check(&self) -> Result<(), SqlError> {
        let over = match self {
            Self { limits, rows, .. } if *rows > limits.rows_max => {
                crate::exec::ExecError::Gathered("finisher.rows_max", limits.rows_max)
            }
            Self { limits, bytes, .. } if *bytes > limits.bytes_max => {
                crate::exec::ExecError::Gathered("finisher.bytes_max", limits.bytes_max as u64)
            }
            _ => return Ok(()),
        };
        Err(sql_error(over.code(), over.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(texts: &[&str]) -> Cells {
        texts
            .iter()
            .map(|t| (*t != "-").then(|| t.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn shards_are_added_up_and_copies_are_not() {
        let names: Vec<Vec<u8>> = [
            "TABLE_SCHEMA",
            "table_name",
            "TABLE_ROWS",
            "AVG_ROW_LENGTH",
            "DATA_LENGTH",
            "AUTO_INCREMENT",
        ]
        .map(|n| n.as_bytes().to_vec())
        .to_vec();
        let rows = vec![
            cells(&["d", "t", "3", "100", "300", "7"]),
            cells(&["d", "copy", "5", "10", "50", "-"]),
            cells(&["d", "t", "1", "500", "500", "9"]),
            cells(&["d", "copy", "5", "10", "50", "-"]),
            cells(&["d", "view", "-", "-", "-", "-"]),
            cells(&["d", "view", "-", "-", "-", "-"]),
        ];
        let copies = AHashSet::from_iter([vec![b"d".to_vec(), b"copy".to_vec()]]);
        let got = added_up(rows, &names, Counted::Tables, &copies);
        assert_eq!(
            got,
            [
                cells(&["d", "t", "4", "200", "800", "9"]),
                cells(&["d", "copy", "5", "10", "50", "-"]),
                cells(&["d", "view", "-", "-", "-", "-"]),
            ]
        );
    }

    #[test]
    fn databases_get_the_client_s_name() {
        let names = vec![b"TABLE_SCHEMA".to_vec(), b"TABLE_NAME".to_vec()];
        let mut rows = vec![cells(&["vt_ks", "vt_ks"]), cells(&["mysql", "user"])];
        rename(&mut rows, &names, &("vt_ks".into(), "ks".into()));
        assert_eq!(rows, [cells(&["ks", "vt_ks"]), cells(&["mysql", "user"])]);
    }
}
