//! The statements that keep lookup tables right, for one execution.
use super::lookup::{literal_of, other_form};
use super::{Binding, text};
use crate::charset::Charsets;
use crate::column::{Family, stored};
use crate::error::PlanError;
use crate::fingerprint::literal_value;
use crate::lookup::{BATCH, Literal, LookupDef, add, check, quoted, remove};
use crate::plan::maintain::{ChangeEntries, EntryValues, InsertEntries, Maintain, Owner};
use crate::plan::{Operand, Piece, SessionValue};
use crate::value::Value;
use crate::vindex::{KeyspaceId, Mapping, Vindex};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;

/// What runs before a statement, in its transaction.
#[derive(Debug, PartialEq, Eq)]
pub enum Before {
    /// These, in their order.
    Statements(Vec<Step>),
    /// A query whose rows tell the statements: [`change_statements`].
    Query {
        /// It reads and locks the rows that change.
        text: Vec<u8>,
        /// What their entries become.
        new: NewValues,
    },
}

/// A statement that runs before an INSERT.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Entries are added to a lookup table.
    Add(NewEntries),
    /// A query that must find a row.
    Check {
        /// It asks a lookup table that another table owns.
        query: Vec<u8>,
        /// The columns whose values must be there, for the message.
        columns: String,
    },
}

/// Entries that one statement adds.
#[derive(Debug, PartialEq, Eq)]
pub struct NewEntries {
    /// The lookup vindex.
    pub def: Arc<LookupDef>,
    /// The table whose rows the entries are about.
    pub owner: Arc<Owner>,
    /// Values, and the keyspace id of their row.
    pub entries: Vec<(SmallVec<[Literal; 1]>, KeyspaceId)>,
    /// The statement has no more entries in this table.
    pub whole: bool,
}

impl NewEntries {
    /// Entries in as many parts as there are statements.
    pub fn parts(
        def: &Arc<LookupDef>,
        owner: &Arc<Owner>,
        entries: impl Iterator<Item = (SmallVec<[Literal; 1]>, KeyspaceId)>,
    ) -> Vec<Self> {
        let wanted = |(values, _): &(SmallVec<[Literal; 1]>, KeyspaceId)| {
            !(def.ignore_nulls && values.iter().any(|value| value.is_null))
        };
        let mut parts: Vec<Self> = Vec::new();
        for entry in entries.filter(wanted) {
            match parts.last_mut() {
                Some(part) if part.entries.len() < BATCH => part.entries.push(entry),
                _ => parts.push(Self {
                    def: def.clone(),
                    owner: owner.clone(),
                    entries: vec![entry],
                    whole: false,
                }),
            }
        }
        if let [only] = parts.as_mut_slice() {
            only.whole = true;
        }
        parts
    }

    /// The statement that adds them.
    pub fn text(&self) -> Vec<u8> {
        self.text_of(&self.entries)
    }

    /// The statement that adds some of them.
    pub fn text_of(&self, entries: &[(SmallVec<[Literal; 1]>, KeyspaceId)]) -> Vec<u8> {
        let mut out = Vec::new();
        let list = entries.iter().map(|(values, id)| (values.as_slice(), id));
        add(&self.def, list, &mut out);
        out.into_iter().next().unwrap_or_default()
    }

    /// The query for the entry that has these values already.
    pub fn holder(&self, values: &[Literal]) -> Vec<u8> {
        let mut out = self.def.select_head().into_bytes();
        let names: Vec<String> = self.def.from.iter().map(|name| quoted(name)).collect();
        equal(&names, values, |value| self.def.held(value), &mut out);
        out
    }

    /// The query for a row that has these values. `hint`: what stands behind the table's name.
    pub fn row(&self, values: &[Literal], hint: &str) -> Vec<u8> {
        let mut out = format!("SELECT 1 FROM {}{hint} WHERE ", self.owner.table).into_bytes();
        equal(&self.owner.columns, values, |value| Cow::Borrowed(&value.sql), &mut out);
        out
    }

    /// The statement that gives an entry to another row.
    pub fn reuse(&self, values: &[Literal], id: &KeyspaceId) -> Vec<u8> {
        let mut out = self.def.update_head(id).into_bytes();
        let names: Vec<String> = self.def.from.iter().map(|name| quoted(name)).collect();
        equal(&names, values, |value| self.def.held(value), &mut out);
        out
    }
}

/// The condition that all columns have these values.
fn equal<'v>(
    names: &[String],
    values: &'v [Literal],
    as_held: impl Fn(&'v Literal) -> Cow<'v, [u8]>,
    out: &mut Vec<u8>,
) {
    for (n, (name, value)) in names.iter().zip(values).enumerate() {
        if n > 0 {
            out.extend_from_slice(b" AND ");
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(if value.is_null { b" IS " } else { b"=" });
        out.extend_from_slice(&as_held(value));
    }
}

/// For each lookup table, for each of its columns: the new value's text, where it changes.
pub(crate) type NewValues = Vec<Vec<Option<Literal>>>;

/// `ids`: where the rows of an INSERT lie.
pub(super) fn bind(
    maintain: &Maintain,
    binding: &Binding<'_>,
    ids: &[KeyspaceId],
) -> Result<Before, PlanError> {
    let binding = Binding { prepared: false, ..*binding };
    match maintain {
        Maintain::Insert(all) => {
            let mut out = Vec::new();
            for entries in all {
                let rows = insert_values(entries, &binding)?;
                refuse_nulls(entries, &rows)?;
                if !binding.session.is_strict() {
                    refuse_cut(entries, &rows)?;
                }
                if entries.check {
                    let list = rows.iter().map(SmallVec::as_slice).zip(ids);
                    let queries = list.filter_map(|entry| check(&entries.def, entry));
                    out.extend(
                        queries
                            .map(|query| Step::Check { query, columns: entries.columns.clone() }),
                    );
                    continue;
                }
                let list = rows.into_iter().zip(ids.iter().cloned());
                let parts = NewEntries::parts(&entries.def, &entries.owner, list);
                out.extend(parts.into_iter().map(Step::Add));
            }
            Ok(Before::Statements(out))
        }
        Maintain::Change(change) => {
            let new = change.lookups.iter().map(|lookup| {
                lookup
                    .new
                    .iter()
                    .map(|pieces| pieces.as_ref().map(|pieces| new_value(pieces, &binding)))
                    .collect()
            });
            Ok(Before::Query { text: text::one(&change.query, &binding), new: new.collect() })
        }
    }
}

fn new_value(pieces: &[Piece], binding: &Binding<'_>) -> Literal {
    let sql = text::one(pieces, binding);
    let is_null = sql.eq_ignore_ascii_case(b"NULL");
    Literal { sql, is_null }
}

type Rows = Vec<SmallVec<[Literal; 1]>>;

/// The server would store a default in place of NULL, for which there would be no entry.
fn refuse_nulls(entries: &InsertEntries, rows: &Rows) -> Result<(), PlanError> {
    let refused = |(n, value): (usize, &Literal)| value.is_null && entries.not_null >> n & 1 == 1;
    let null = |row: &SmallVec<[Literal; 1]>| row.iter().take(8).enumerate().any(refused);
    if rows.iter().any(null) { Err(PlanError::NullKey(entries.columns.clone())) } else { Ok(()) }
}

/// The server would cut a text for its row, and not in the same place for its entry.
fn refuse_cut(entries: &InsertEntries, rows: &Rows) -> Result<(), PlanError> {
    let characters = |sql: &[u8]| sql.iter().filter(|b| (**b & 0xc0) != 0x80).count();
    let cut = |(value, length): (&Literal, &u32)| {
        let quotes =
            if value.sql.starts_with(b"'") || value.sql.starts_with(b"\"") { 2 } else { 0 };
        characters(&value.sql) > (*length as usize).saturating_add(quotes)
    };
    match rows
        .iter()
        .any(|row| row.iter().zip(&entries.lengths).any(cut))
    {
        false => Ok(()),
        true => Err(PlanError::unsupported(format!(
            "text that is longer than the lookup vindex's column ({}) in a mode that is not \
                strict; write it no longer than the column",
            entries.columns
        ))),
    }
}

fn insert_values(entries: &InsertEntries, binding: &Binding<'_>) -> Result<Rows, PlanError> {
    let Binding { sql, fingerprint, sql_mode, .. } = *binding;
    match &entries.values {
        EntryValues::Collapsed(positions) => {
            let mut scratch = Vec::new();
            let rows = (0..fingerprint.rows.spans.len()).map(|row| {
                let literals: Vec<_> = fingerprint.rows.literals(sql, sql_mode, row).collect();
                let values = positions.iter().enumerate().map(|(nth, position)| {
                    if *position == u16::MAX {
                        return Ok(Literal::null());
                    }
                    let literal = literals.get(usize::from(*position));
                    let literal = literal.ok_or(PlanError::ColumnCount(row as u64 + 1))?;
                    if entries.def.loose {
                        let value = literal_value(sql, literal, &mut scratch, sql_mode);
                        return held_literal(entries, value, nth, binding);
                    }
                    let range = literal.span.start as usize..literal.span.end as usize;
                    let text = sql.get(range).unwrap_or_default();
                    Ok(Literal { sql: text.to_vec(), is_null: text.eq_ignore_ascii_case(b"NULL") })
                });
                values.collect()
            });
            rows.collect()
        }
        EntryValues::Operands(rows) => {
            let rows = rows.iter().map(|row| {
                let values = row.iter().enumerate().map(|(nth, operand)| {
                    if entries.def.loose {
                        let mut buffer = Vec::new();
                        let value = binding.value(operand, &mut buffer)?;
                        return held_literal(entries, value, nth, binding);
                    }
                    operand_text(operand, binding)
                });
                values.collect()
            });
            rows.collect()
        }
    }
}

fn held_literal(
    entries: &InsertEntries,
    value: Value<'_>,
    nth: usize,
    binding: &Binding<'_>,
) -> Result<Literal, PlanError> {
    literal_of(value, &entries.families, nth, binding).ok_or_else(|| other_form(&entries.columns))
}

pub(super) fn operand_text(operand: &Operand, binding: &Binding<'_>) -> Result<Literal, PlanError> {
    let mut buffer = Vec::new();
    if binding.value(operand, &mut buffer)? == Value::Null {
        return Ok(Literal::null());
    }
    let piece = match operand {
        Operand::Null => return Ok(Literal::null()),
        Operand::Literal(n) => Piece::Literal(*n),
        Operand::Param(n) => Piece::Param(*n),
        Operand::InsertId => Piece::Session(SessionValue::LastInsertId),
        Operand::Const(text) => Piece::Verbatim(text.clone()),
    };
    Ok(Literal { sql: text::one(&[piece], binding), is_null: false })
}

/// For rows that [`Before::Query`] has read: the statements that take entries away, and the entries
/// that come then.
///
/// # Errors
/// A row whose place cannot be told, or whose value cannot be written.
pub fn change_statements(
    change: &ChangeEntries,
    new: &NewValues,
    rows: &[Vec<Option<Vec<u8>>>],
) -> Result<(Vec<Vec<u8>>, Vec<NewEntries>), PlanError> {
    let ids: Vec<KeyspaceId> = rows
        .iter()
        .map(|row| id_of(change, row))
        .collect::<Result<_, _>>()?;
    let (mut out, mut added) = (Vec::new(), Vec::new());
    for (lookup, new) in change.lookups.iter().zip(new) {
        let mut old: Rows = Vec::with_capacity(rows.len());
        for row in rows {
            let values = lookup.columns.iter().map(|(column, written)| {
                let value = row.get(usize::from(*column)).and_then(Option::as_deref);
                Literal::of(value, written).ok_or_else(|| {
                    let reason =
                        format!("a value of a row cannot be written for '{}'", lookup.def.name);
                    PlanError::CannotMap { column: lookup.def.name.clone(), reason }
                })
            });
            old.push(values.collect::<Result<_, _>>()?);
        }
        remove(&lookup.def, old.iter().map(SmallVec::as_slice).zip(&ids), &mut out);
        if new.iter().any(Option::is_some) {
            for row in &mut old {
                for (value, new) in row.iter_mut().zip(new) {
                    if let Some(new) = new {
                        value.clone_from(new);
                    }
                }
            }
            let entries = old.into_iter().zip(ids.iter().cloned());
            added.extend(NewEntries::parts(&lookup.def, &lookup.owner, entries));
        }
    }
    Ok((out, added))
}

/// Where a row lies.
fn id_of(change: &ChangeEntries, row: &[Option<Vec<u8>>]) -> Result<KeyspaceId, PlanError> {
    keyspace_id(change.vindex.as_ref(), &change.families, row.iter().map(Option::as_deref))
}

/// Where a row lies whose primary vindex's columns have these values, as a server gave them.
///
/// # Errors
/// Values that the vindex does not map: the row is not one of ours.
pub fn keyspace_id<'v>(
    vindex: &dyn Vindex,
    families: &[Family],
    row: impl Iterator<Item = Option<&'v [u8]>>,
) -> Result<KeyspaceId, PlanError> {
    let cannot = || PlanError::CannotMap {
        column: "primary vindex".into(),
        reason: "where a row lies that the statement changes cannot be told".into(),
    };
    let mut buffers: Vec<Vec<u8>> = vec![Vec::new(); families.len()];
    let mut values: SmallVec<[Value<'_>; 8]> = SmallVec::new();
    for ((family, value), buffer) in families.iter().zip(row).zip(&mut buffers) {
        // NULL, too, lies where the vindex puts it, if that maps it.
        let value = value.map_or(Value::Null, Value::Bytes);
        let value = stored(*family, value, Charsets::default(), buffer);
        values.push(value.map_err(|_| cannot())?);
    }
    if values.len() < families.len() {
        return Err(cannot());
    }
    match vindex.map(&values) {
        Ok(Mapping::Id(id)) => Ok(id),
        _ => Err(cannot()),
    }
}
