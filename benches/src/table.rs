//! The table that is asked: as sysbench's `sbtest1`, but what a row holds follows from its id, so that every answer can be checked.
use crate::Error;
use crate::conn::Connection;
use crate::endpoint::Endpoint;
use std::io::Write;

/// Rows of one INSERT.
const BATCH: u32 = 1000;
/// Length of `c`: ten groups of eleven digits, and dashes between them.
pub(crate) const C_LEN: usize = 119;

pub(crate) const SELECT: &str = "SELECT c FROM sbtest1 WHERE id=";

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

/// Makes the table unless it is there with so many rows of ours.
pub(crate) fn prepare(endpoint: &Endpoint, rows: u32) -> Result<(), Error> {
    let mut conn = Connection::open(endpoint, None)?;
    let database = &endpoint.database;
    conn.query(&format!("CREATE DATABASE IF NOT EXISTS `{database}`"))?;
    conn.query(&format!("USE `{database}`"))?;
    if is_there(&mut conn, rows) {
        return Ok(());
    }
    // Another table of that name is somebody's: it is not touched.
    conn.query(
        "CREATE TABLE IF NOT EXISTS sbtest1 (id INT NOT NULL PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL)",
    )?;
    conn.query("SELECT 1 FROM sbtest1 LIMIT 1")?;
    if conn.row(1).is_some_and(|row| row.starts_with(b"\x011")) && !is_ours(&mut conn) {
        return Err(Error::Failed(format!(
            "{database}.sbtest1 is there and was not made by this harness: name another database in the URL"
        )));
    }
    eprintln!("making {database}.sbtest1 with {rows} rows");
    let mut id = 1;
    while id <= rows {
        let last = rows.min(id.saturating_add(BATCH - 1));
        conn.query(&insert(id, last))?;
        id = last + 1;
    }
    if is_there(&mut conn, rows) {
        return Ok(());
    }
    Err(Error::Failed(format!("{database}.sbtest1 does not hold what was put into it")))
}

fn insert(first: u32, last: u32) -> String {
    let mut sql = b"REPLACE INTO sbtest1 (id, k, c, pad) VALUES ".to_vec();
    let (mut c, mut pad) = ([0; C_LEN], [0; 59]);
    for id in first..=last {
        c_of(id, &mut c);
        digits(u64::from(id) << 32, &mut pad);
        let (c, pad) = (String::from_utf8_lossy(&c), String::from_utf8_lossy(&pad));
        let comma = if id == first { "" } else { "," };
        // Writing to a vector cannot fail.
        let _ = write!(sql, "{comma}({id},{},'{c}','{pad}')", id.wrapping_mul(2_654_435_761) % 100_000);
    }
    String::from_utf8_lossy(&sql).into_owned()
}

fn is_ours(conn: &mut Connection) -> bool {
    holds(conn, 1)
}

fn is_there(conn: &mut Connection, rows: u32) -> bool {
    [1, rows.div_ceil(2), rows]
        .into_iter()
        .all(|id| holds(conn, id))
}

fn holds(conn: &mut Connection, id: u32) -> bool {
    conn.query(&format!("{SELECT}{id}")).is_ok() && is_text_row(conn.row(1), id)
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
        assert!(insert(1, 2).starts_with("REPLACE INTO sbtest1 (id, k, c, pad) VALUES (1,"));
    }
}
