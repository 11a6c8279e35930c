//! SHOW TABLE STATUS and SHOW INDEX of a keyspace with several shards: one row for each table, or
//! part of a key, with rows, sizes and numbers of values added up.
use super::answer::{Answer, text_column};
use super::scatter::{Rows, Work};
use super::{Outcome, Session};
use crate::exec::Collected;
use crate::pool::Place;
use ahash::AHashSet;
use coregate_planner::plan::{Combine, Plan, Route, Target};
use coregate_planner::snapshot::TableKind;
use coregate_protocol::column::{ColumnDefinition, ColumnType};
use coregate_protocol::walker::{ResponseKind, Summary};
use std::cell::RefCell;

/// As MySQL names them; the last two are MariaDB's.
const COLUMNS: [&str; 20] = [
    "Name",
    "Engine",
    "Version",
    "Row_format",
    "Rows",
    "Avg_row_length",
    "Data_length",
    "Max_data_length",
    "Index_length",
    "Data_free",
    "Auto_increment",
    "Create_time",
    "Update_time",
    "Check_time",
    "Collation",
    "Checksum",
    "Create_options",
    "Comment",
    "Max_index_length",
    "Temporary",
];

/// Those of SHOW INDEX; MySQL's last two are "Visible" and "Expression", MariaDB's one is
/// "Ignored".
const KEY_COLUMNS: [&str; 15] = [
    "Table",
    "Non_unique",
    "Key_name",
    "Seq_in_index",
    "Column_name",
    "Collation",
    "Cardinality",
    "Sub_part",
    "Packed",
    "Null",
    "Index_type",
    "Comment",
    "Index_comment",
    "Visible",
    "Expression",
];

/// The key's name, and the column's place in it.
const PART: [usize; 2] = [2, 3];
const CARDINALITY: usize = 6;

const ROWS: usize = 4;
const AVERAGE: usize = 5;
const DATA_LENGTH: usize = 6;
/// Rows, and bytes of data, of indexes, and free.
const ADDED: [usize; 4] = [ROWS, DATA_LENGTH, 8, 9];
const AUTO_INCREMENT: usize = 10;

type Cells = Vec<Option<Vec<u8>>>;

impl Session {
    pub(super) async fn table_status(
        &mut self,
        plan: &Plan,
        route: &Route,
        wires: Vec<(Place, Vec<u8>)>,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let copies = self.copies_of(route);
        let rows = RefCell::new(Collected::any(self.query_memory()));
        let (combine, kind) = (Combine::Concat, ResponseKind::Query);
        let work = Work { plan, combine, kind, wires, keyspace: None, rows: Rows::Gather(&rows) };
        // Nothing is answered yet: a failure has the client's first packet.
        let mut nothing = *answer;
        let summary = self.several(work, &mut nothing).await?;
        let rows = rows.into_inner();
        let (merged, names) = match route.combine {
            Combine::Keys => (parts_added_up(rows.rows), &KEY_COLUMNS[..]),
            _ => (added_up(rows.rows, &copies), &COLUMNS[..]),
        };
        let mariadb = self.core.is_mariadb();
        let names = names
            .iter()
            .map(|name| if *name == "Visible" && mariadb { "Ignored" } else { name });
        let columns: Vec<ColumnDefinition<'_>> = rows
            .columns
            .iter()
            .zip(names)
            .map(|(column, name)| match column.kind {
                ColumnType::LONG => ColumnDefinition::expression(name.as_bytes(), ColumnType::LONG),
                ColumnType::LONGLONG => {
                    ColumnDefinition::expression(name.as_bytes(), ColumnType::LONGLONG)
                }
                _ => text_column(name),
            })
            .collect();
        self.last.found_rows = merged.len() as u64;
        self.last.row_count = -1;
        self.send_result(answer, &columns, &merged);
        Ok(Summary { rows: merged.len() as u64, ..summary })
    }

    /// Tables of which every shard has the same rows.
    fn copies_of(&self, route: &Route) -> AHashSet<Vec<u8>> {
        let Target::Keyspace { keyspace, .. } = &route.to else { return AHashSet::default() };
        let snapshot = self.core.snapshot.borrow();
        let tables = snapshot
            .keyspaces
            .get(usize::from(*keyspace))
            .map(|k| &k.tables);
        let tables = tables.into_iter().flat_map(|tables| tables.values());
        tables
            .filter(|table| table.kind == TableKind::Reference)
            .map(|table| table.name.clone().into_bytes())
            .collect()
    }
}

fn number(cells: &Cells, at: usize) -> Option<u64> {
    let text = cells.get(at)?.as_deref()?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn put(cells: &mut Cells, at: usize, number: Option<u64>) {
    if let Some(cell) = cells.get_mut(at) {
        *cell = number.map(|n| n.to_string().into_bytes());
    }
}

/// One row for each part of a key, in the first shard's order.
fn parts_added_up(rows: Vec<Cells>) -> Vec<Cells> {
    let mut out: Vec<Cells> = Vec::new();
    for row in rows {
        let same = |known: &&mut Cells| PART.iter().all(|at| known.get(*at) == row.get(*at));
        let Some(known) = out.iter_mut().find(same) else {
            out.push(row);
            continue;
        };
        let sum = match (number(known, CARDINALITY), number(&row, CARDINALITY)) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        put(known, CARDINALITY, sum);
    }
    out
}

/// One row for each name, in the order of names, as one server gives them.
fn added_up(rows: Vec<Cells>, copies: &AHashSet<Vec<u8>>) -> Vec<Cells> {
    let mut out: Vec<Cells> = Vec::new();
    for row in rows {
        let name = row.first().cloned().flatten().unwrap_or_default();
        let known = out.iter_mut().find(|known| known.first() == row.first());
        let Some(known) = known else {
            out.push(row);
            continue;
        };
        if copies.contains(&name) {
            continue;
        }
        for at in ADDED {
            let sum = match (number(known, at), number(&row, at)) {
                (Some(a), Some(b)) => Some(a.saturating_add(b)),
                (a, b) => a.or(b),
            };
            put(known, at, sum);
        }
        let next = number(known, AUTO_INCREMENT).max(number(&row, AUTO_INCREMENT));
        put(known, AUTO_INCREMENT, next);
        if let (Some(rows), Some(bytes)) = (number(known, ROWS), number(known, DATA_LENGTH)) {
            put(known, AVERAGE, Some(bytes.checked_div(rows).unwrap_or(0)));
        }
    }
    out.sort_by(|a, b| a.first().cmp(&b.first()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, rows: &str, bytes: &str) -> Cells {
        let mut cells: Cells = vec![None; COLUMNS.len()];
        for (at, text) in [(0, name), (ROWS, rows), (DATA_LENGTH, bytes)] {
            cells[at] = Some(text.as_bytes().to_vec());
        }
        cells
    }

    #[test]
    fn the_values_of_keys_are_added_up() {
        let part = |key: &str, at: &str, values: Option<&str>| {
            let mut cells: Cells = vec![None; KEY_COLUMNS.len()];
            cells[PART[0]] = Some(key.as_bytes().to_vec());
            cells[PART[1]] = Some(at.as_bytes().to_vec());
            cells[CARDINALITY] = values.map(|v| v.as_bytes().to_vec());
            cells
        };
        let shard = |n: &str| {
            vec![part("PRIMARY", "1", Some(n)), part("k", "1", None), part("k", "2", Some("1"))]
        };
        let got = parts_added_up([shard("3"), shard("4")].concat());
        let shown: Vec<_> = got.iter().map(|r| number(r, CARDINALITY)).collect();
        assert_eq!(shown, [Some(7), None, Some(2)]);
    }

    #[test]
    fn tables_are_added_up_and_copies_are_not() {
        let rows = vec![
            row("t", "3", "300"),
            row("r", "7", "70"),
            row("t", "1", "500"),
            row("r", "7", "70"),
        ];
        let copies = AHashSet::from_iter([b"r".to_vec()]);
        let got = added_up(rows, &copies);
        let shown: Vec<_> = got
            .iter()
            .map(|r| (number(r, ROWS), number(r, DATA_LENGTH), number(r, AVERAGE)))
            .collect();
        assert_eq!(shown, [(Some(7), Some(70), None), (Some(4), Some(800), Some(200))]);
    }
}
