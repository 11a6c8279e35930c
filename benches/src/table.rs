//! The harness's tables, as sysbench's are. What a row of `sbtest1` holds follows from its id, so
//! that every answer can be checked; `sbtest2` begins the same and is written to; `sbinsert` is for
//! rows that are added.
use crate::Error;
use crate::conn::Connection;
use crate::endpoint::Endpoint;
use crate::work::{OwnTable, Random};
use std::io::Write;

/// Rows of one INSERT.
const BATCH: u32 = 1000;
/// Length of `c`: ten groups of eleven digits, and dashes between them.
pub(crate) const C_LEN: usize = 119;

/// The table whose rows are checked.
const CHECKED: &str = "sbtest1";

/// Fills `out` with the row's `c`.
#[inline]
pub(crate) fn c_of(id: u32, out: &mut [u8; C_LEN]) {
    digits(u64::from(id), out);
}

fn digits(seed: u64, out: &mut [u8]) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for (at, byte) in out.iter_mut().enumerate() {
        if at % 12 == 11 {
            *byte = b'-';
            continue;
        }
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *byte = b'0' + (state >> 59) as u8 % 10;
    }
}

/// Tables of the harness, and whether they begin with rows.
const TABLES: [(&str, bool); 3] = [("sbtest1", true), ("sbtest2", true), ("sbinsert", false)];

pub(crate) fn is_known(table: &str) -> bool {
    TABLES.iter().any(|(name, _)| *name == table)
}

/// Makes a table unless it is there with so many rows of ours.
pub(crate) fn prepare(endpoint: &Endpoint, table: &str, rows: u32) -> Result<(), Error> {
    let mut conn = Connection::open(endpoint, None)?;
    let database = &endpoint.database;
    // A keyspace is no database that could be made.
    if !endpoint.sharded {
        conn.query(&format!("CREATE DATABASE IF NOT EXISTS `{database}`"))?;
    }
    conn.query(&format!("USE `{database}`"))?;
    let filled = TABLES.contains(&(table, true));
    if filled && is_there(&mut conn, table, rows) {
        return Ok(());
    }
    // Another table of that name is somebody's: it is not touched.
    conn.query(&format!(
        "CREATE TABLE IF NOT EXISTS {table} \
         (id INT NOT NULL PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT \
         NULL, KEY k_1 (k))"
    ))?;
    if endpoint.sharded {
        add_vindex(&mut conn, database, table, "id")?;
    }
    if !filled {
        return Ok(());
    }
    conn.query(&format!("SELECT 1 FROM {table} LIMIT 1"))?;
    if table == CHECKED
        && conn.row(1).is_some_and(|row| row.starts_with(b"\x011"))
        && !is_ours(&mut conn)
    {
        return Err(Error::Failed(format!(
            "{database}.{table} is there and was not made by this harness: name another database \
                in the URL"
        )));
    }
    fill(&mut conn, endpoint, table, rows)
}

/// Makes a table that a load brings along, unless it is there with all of its rows.
pub(crate) fn prepare_own(endpoint: &Endpoint, table: &OwnTable) -> Result<(), Error> {
    let mut conn = Connection::open(endpoint, None)?;
    let (database, name) = (&endpoint.database, &table.name);
    if !endpoint.sharded {
        conn.query(&format!("CREATE DATABASE IF NOT EXISTS `{database}`"))?;
    }
    conn.query(&format!("USE `{database}`"))?;
    conn.query(&format!("CREATE TABLE IF NOT EXISTS {name} ({})", table.columns))?;
    if let Some(column) = table.vindex.as_deref().filter(|_| endpoint.sharded) {
        add_vindex(&mut conn, database, name, column)?;
    }
    let there = conn
        .query(&format!("SELECT 1 FROM {name} LIMIT {}", table.rows.max(1)))?
        .rows;
    if there >= table.rows.unsigned_abs() {
        return Ok(());
    }
    if there > 0 {
        return Err(Error::Failed(format!(
            "{database}.{name} is there with {there} rows, {} are wanted: drop it, or name another \
                database in the URL",
            table.rows
        )));
    }
    eprintln!("{endpoint}: making {database}.{name} with {} rows", table.rows);
    let (mut random, mut row) = (Random::new(table.rows.unsigned_abs()), 1);
    while row <= table.rows {
        let last = table.rows.min(row + i64::from(BATCH) - 1);
        conn.query(&table.insert(row..=last, &mut random))?;
        row = last + 1;
    }
    Ok(())
}

fn fill(conn: &mut Connection, endpoint: &Endpoint, table: &str, rows: u32) -> Result<(), Error> {
    let database = &endpoint.database;
    eprintln!("{endpoint}: making {database}.{table} with {rows} rows");
    let mut id = 1;
    while id <= rows {
        let last = rows.min(id.saturating_add(BATCH - 1));
        conn.query(&insert(table, id, last))?;
        id = last + 1;
    }
    if is_there(conn, table, rows) {
        return Ok(());
    }
    Err(Error::Failed(format!("{database}.{table} does not hold what was put into it")))
}

/// Rows go to shards by the hash of a column.
fn add_vindex(
    conn: &mut Connection,
    keyspace: &str,
    table: &str,
    column: &str,
) -> Result<(), Error> {
    let sql = format!("ALTER VSCHEMA ON `{keyspace}`.{table} ADD VINDEX hash({column}) USING hash");
    match conn.query(&sql) {
        Ok(_) => Ok(()),
        // From a run before.
        Err(e) if e.to_string().contains("already") => Ok(()),
        Err(e) => Err(e),
    }
}

fn insert(table: &str, first: u32, last: u32) -> String {
    let mut sql = format!("REPLACE INTO {table} (id, k, c, pad) VALUES ").into_bytes();
    let (mut c, mut pad) = ([0; C_LEN], [0; 59]);
    for id in first..=last {
        c_of(id, &mut c);
        digits(u64::from(id) << 32, &mut pad);
        let (c, pad) = (String::from_utf8_lossy(&c), String::from_utf8_lossy(&pad));
        let comma = if id == first { "" } else { "," };
        // Writing to a vector cannot fail.
        let _ =
            write!(sql, "{comma}({id},{},'{c}','{pad}')", id.wrapping_mul(2_654_435_761) % 100_000);
    }
    String::from_utf8_lossy(&sql).into_owned()
}

fn is_ours(conn: &mut Connection) -> bool {
    holds(conn, 1)
}

/// Rows of the table that is written to must be there, whatever they hold.
fn is_there(conn: &mut Connection, table: &str, rows: u32) -> bool {
    if table != CHECKED {
        let found = conn.query(&format!("SELECT 1 FROM {table} WHERE id IN (1, {})", rows.max(2)));
        return found.is_ok_and(|summary| summary.rows == 2);
    }
    [1, rows.div_ceil(2), rows]
        .into_iter()
        .all(|id| holds(conn, id))
}

fn holds(conn: &mut Connection, id: u32) -> bool {
    let asked = conn.query(&format!("SELECT c FROM {CHECKED} WHERE id={id}"));
    asked.is_ok() && is_text_row(conn.row(1), id)
}

/// Is this the row of a text answer?
#[inline]
pub(crate) fn is_text_row(payload: Option<&[u8]>, id: u32) -> bool {
    payload.is_some_and(|row| is_cell(row, id))
}

/// Is this the row of an answer to a prepared statement? One zero, one byte of NULLs, the value.
#[inline]
pub(crate) fn is_binary_row(payload: Option<&[u8]>, id: u32) -> bool {
    payload.is_some_and(|row| {
        row.strip_prefix(&[0, 0])
            .is_some_and(|cell| is_cell(cell, id))
    })
}

#[inline]
fn is_cell(cell: &[u8], id: u32) -> bool {
    let mut wanted = [0; C_LEN];
    c_of(id, &mut wanted);
    cell.split_first()
        .is_some_and(|(len, text)| usize::from(*len) == C_LEN && text == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_follows_from_its_id() {
        let (mut a, mut b) = ([0; C_LEN], [0; C_LEN]);
        c_of(7, &mut a);
        c_of(8, &mut b);
        assert!(a != b && a.iter().filter(|c| **c == b'-').count() == 9);
        let mut row = vec![C_LEN as u8];
        row.extend_from_slice(&a);
        assert!(is_text_row(Some(&row), 7) && !is_text_row(Some(&row), 8) && !is_text_row(None, 7));
        let binary = [&[0, 0], row.as_slice()].concat();
        assert!(is_binary_row(Some(&binary), 7) && !is_binary_row(Some(&row), 7));
        assert!(
            insert("sbtest1", 1, 2).starts_with("REPLACE INTO sbtest1 (id, k, c, pad) VALUES (1,")
        );
    }
}
