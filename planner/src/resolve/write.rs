//! Binds a change of several steps: the texts of its steps.
use super::maintain::operand_text;
use super::{Binder, Binding, Scratch, text};
use crate::error::PlanError;
use crate::plan::write::{
    ByKey, EachRow, Evaluated, How, InsertSelect, NewValue, Read, SetPart, UniqueColumn, Write,
};
use crate::snapshot::{ShardIdx, Snapshot};

/// A change whose texts have their values.
#[derive(Debug)]
pub enum BoundWrite {
    /// See [`Write::ByKey`].
    ByKey(BoundByKey),
    /// See [`Write::InsertSelect`].
    InsertSelect(BoundInsert),
    /// See [`Write::Evaluated`].
    Evaluated(BoundValues),
    /// See [`Write::EachRow`]: the rows in the statement's order.
    EachRow(Vec<BoundRow>),
}

/// As [`InsertSelect`].
#[derive(Debug)]
pub struct BoundInsert {
    /// The query whose rows are inserted.
    pub query: Vec<u8>,
    /// What stands before `VALUES`.
    pub head: Vec<u8>,
    /// What stands behind the rows.
    pub tail: Vec<u8>,
    /// What RETURNING names.
    pub returning: Option<Vec<u8>>,
}

/// As [`Evaluated`].
#[derive(Debug)]
pub struct BoundValues {
    /// A `SELECT`'s items: a server computes them.
    pub expressions: Vec<Vec<u8>>,
    /// The statement around them: one more than there are expressions.
    pub texts: Vec<Vec<u8>>,
}

/// A row of [`EachRow`].
#[derive(Debug)]
pub struct BoundRow {
    /// Where the row lies.
    pub shard: ShardIdx,
    /// The statement that inserts it alone.
    pub text: Vec<u8>,
    /// Which rows it may change.
    pub condition: Vec<u8>,
    /// The same for each unique key.
    pub conditions: Vec<Vec<u8>>,
}

/// As [`ByKey`].
#[derive(Debug)]
pub struct BoundByKey {
    /// The query that reads the rows; what locks them comes behind it.
    pub query: Vec<u8>,
    /// One for each change.
    pub changes: Vec<BoundHow>,
}

/// As [`How`].
#[derive(Debug)]
pub enum BoundHow {
    /// As [`How::Delete`].
    Delete {
        /// `ORDER BY ...`, or nothing.
        order: Vec<u8>,
        /// `RETURNING ...`, or nothing.
        returning: Vec<u8>,
    },
    /// As [`How::Update`].
    Update {
        /// The assignments.
        set: Vec<BoundSet>,
        /// `ORDER BY ...`, or nothing.
        order: Vec<u8>,
    },
}

/// As [`SetPart`].
#[derive(Debug)]
pub enum BoundSet {
    /// SQL with its values in it.
    Text(Vec<u8>),
    /// A value that the query has read.
    Value(Read),
}

/// Writes the texts of a change's steps.
///
/// # Errors
/// Rows that cannot be placed, parameters that are missing.
pub fn resolve_write(
    write: &Write,
    snapshot: &Snapshot,
    binding: &Binding<'_>,
    scratch: &mut Scratch,
) -> Result<BoundWrite, PlanError> {
    let binding = Binding { prepared: false, ..*binding };
    let one = |pieces: &Vec<_>| text::one(pieces, &binding);
    Ok(match write {
        Write::ByKey(by_key) => BoundWrite::ByKey(bind_by_key(by_key, &binding)),
        Write::InsertSelect(insert) => {
            let InsertSelect { query, head, tail, returning, .. } = &**insert;
            BoundWrite::InsertSelect(BoundInsert {
                query: one(query),
                head: one(head),
                tail: one(tail),
                returning: returning.as_ref().map(|r| one(&r.items)),
            })
        }
        Write::Evaluated(found) => {
            let Evaluated { expressions, texts, .. } = &**found;
            BoundWrite::Evaluated(BoundValues {
                expressions: expressions.iter().map(one).collect(),
                texts: texts.iter().map(one).collect(),
            })
        }
        Write::EachRow(each) => BoundWrite::EachRow(bind_rows(each, snapshot, &binding, scratch)?),
    })
}

fn bind_rows(
    each: &EachRow,
    snapshot: &Snapshot,
    binding: &Binding<'_>,
    scratch: &mut Scratch,
) -> Result<Vec<BoundRow>, PlanError> {
    let keyspace = snapshot
        .keyspaces
        .get(usize::from(each.keyspace))
        .ok_or_else(|| PlanError::UnknownDatabase(each.keyspace.to_string()))?;
    scratch.places.clear();
    scratch.set.clear();
    Binder { binding, keyspace }.place_rows(&each.rows, scratch)?;
    let (head, tail) = (text::one(&each.head, binding), text::one(&each.tail, binding));
    let rows = scratch.places.iter().enumerate().map(|(n, &shard)| {
        let row = match &each.texts {
            Some(texts) => text::one(texts.get(n).map_or(&[][..], Vec::as_slice), binding),
            None => {
                let span = binding
                    .fingerprint
                    .rows
                    .spans
                    .get(n)
                    .cloned()
                    .unwrap_or_default();
                let text = binding.sql.get(span.start as usize..span.end as usize);
                text.unwrap_or_default().to_vec()
            }
        };
        let separator: &[u8] = if tail.is_empty() { b"" } else { b" " };
        let conditions = conditions(each, n, binding)?;
        let condition = conditions.join(&b" OR "[..]);
        Ok(BoundRow {
            shard,
            text: [&head, &row, separator, &tail].concat(),
            condition,
            conditions,
        })
    });
    rows.collect()
}

/// For each unique key: has a row of the table its values in common with the n-th new one?
fn conditions(each: &EachRow, n: usize, binding: &Binding<'_>) -> Result<Vec<Vec<u8>>, PlanError> {
    let keys = each.unique.keys.iter().map(|key| {
        let mut out = b"(".to_vec();
        for (at, column) in key.iter().enumerate() {
            if at > 0 {
                out.extend_from_slice(b" AND ");
            }
            out.extend_from_slice(column.name.as_bytes());
            out.push(b'=');
            out.extend_from_slice(&new_value(column, n, binding)?);
        }
        out.push(b')');
        Ok(out)
    });
    keys.collect()
}

/// What the n-th row gives a column.
fn new_value(column: &UniqueColumn, n: usize, binding: &Binding<'_>) -> Result<Vec<u8>, PlanError> {
    let short = || PlanError::ColumnCount(n as u64 + 1);
    let value = match &column.value {
        NewValue::Default => format!("DEFAULT({})", column.name).into_bytes(),
        NewValue::Place(place) => {
            let rows = &binding.fingerprint.rows;
            let mut literals = rows.literals(binding.sql, binding.sql_mode, n);
            let literal = literals.nth(usize::from(*place)).ok_or_else(short)?;
            let range = literal.span.start as usize..literal.span.end as usize;
            binding.sql.get(range).unwrap_or_default().to_vec()
        }
        NewValue::Operands(rows) => operand_text(rows.get(n).ok_or_else(short)?, binding)?.sql,
    };
    Ok(match column.for_null {
        Some(instead) if value.eq_ignore_ascii_case(b"null") => instead.as_bytes().to_vec(),
        _ => value,
    })
}

fn bind_by_key(by_key: &ByKey, binding: &Binding<'_>) -> BoundByKey {
    let set = |part: &SetPart| match part {
        SetPart::Text(pieces) => BoundSet::Text(text::one(pieces, binding)),
        SetPart::Value(read) => BoundSet::Value(*read),
    };
    let changes = by_key.changes.iter().map(|change| match &change.how {
        How::Delete { order, returning, .. } => BoundHow::Delete {
            order: text::one(order, binding),
            returning: text::one(returning, binding),
        },
        How::Update { set: parts, order, .. } => BoundHow::Update {
            set: parts.iter().map(set).collect(),
            order: text::one(order, binding),
        },
    });
    BoundByKey { query: text::one(&by_key.query, binding), changes: changes.collect() }
}
