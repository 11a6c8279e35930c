//! Where the rows of an INSERT go.
use super::{Binder, Binding, COLUMNS_MAX, Scratch};
use crate::column::{Family, NotStored, Sought, sought, stored};
use crate::error::PlanError;
use crate::fingerprint::literal_value;
use crate::plan::{InsertRows, RowSource};
use crate::snapshot::ShardIdx;
use crate::value::Value;
use crate::vindex::{KeyspaceId, Mapping};
use smallvec::SmallVec;

fn as_integer(value: &Value<'_>) -> Option<i128> {
    match *value {
        Value::Int(n) => Some(n.into()),
        Value::UInt(n) => Some(n.into()),
        _ => None,
    }
}

fn not_stored(rows: &InsertRows, nth: usize, why: NotStored) -> PlanError {
    let reason = match why {
        NotStored::Changed => {
            "the server would store another form of it; write it in the column's own form"
        }
        NotStored::Null => {
            return PlanError::NullKey(rows.columns.get(nth).cloned().unwrap_or_default());
        }
        NotStored::Characters => {
            let column = rows.columns.get(nth).map_or("?", String::as_str);
            return PlanError::unsupported(format!(
                "text with characters that the character set of vindex column '{column}' does not \
                    have; the server would store others, write these"
            ));
        }
        NotStored::Charset => {
            "its characters cannot be told; send it as utf8mb4, after SET NAMES utf8mb4"
        }
    };
    let column = rows.columns.get(nth).cloned().unwrap_or_default();
    PlanError::CannotMap { column, reason: reason.into() }
}

/// The shards among the rows' places, each once, in order.
pub(super) fn name_once(places: &[ShardIdx], set: &mut Vec<ShardIdx>) {
    let mut seen = 0u64;
    for &place in places {
        let bit = 1u64.checked_shl(place.into()).unwrap_or(0);
        if seen & bit == 0 {
            seen |= bit;
            set.push(place);
        }
    }
    set.sort_unstable();
    set.dedup();
}

/// More than so many characters? Spaces at the end are cut without an error.
fn is_longer(text: &[u8], length: u32) -> bool {
    let end = text.iter().rposition(|b| *b != b' ').map_or(0, |at| at + 1);
    let kept = text.get(..end).unwrap_or_default();
    kept.iter().filter(|b| (**b & 0xc0) != 0x80).count() > length as usize
}

impl Binder<'_> {
    pub(super) fn place_rows(
        &self,
        rows: &InsertRows,
        scratch: &mut Scratch,
    ) -> Result<(), PlanError> {
        if let Some(def) = rows.vindex.lookup() {
            return self.place_rows_by_lookup(rows, def, scratch);
        }
        let Scratch { values: buffers, places, set, ids } = scratch;
        ids.clear();
        let Binding { sql, fingerprint, sql_mode, charsets, .. } = *self.binding;
        match &rows.source {
            RowSource::Collapsed { positions, .. }
                if positions.len() == 1
                    && !rows.keeps_ids
                    && self.place_numbers(rows, positions[0], places) => {}
            RowSource::Collapsed { positions, .. } => {
                for row in 0..fingerprint.rows.spans.len() {
                    let literal = |position: u16| {
                        let mut literals = fingerprint.rows.literals(sql, sql_mode, row);
                        literals.nth(usize::from(position))
                    };
                    let mut values: SmallVec<[Value<'_>; COLUMNS_MAX]> = SmallVec::new();
                    for (&position, buffer) in positions.iter().zip(buffers.iter_mut()) {
                        let family = rows.families.get(values.len()).copied().unwrap_or_default();
                        let given = literal(position).map_or(Value::Null, |l| {
                            literal_value(sql, &l, &mut buffer.text, sql_mode)
                        });
                        let value = stored(family, given, charsets, &mut buffer.utf8);
                        let value = value.and_then(|value| self.kept(rows, values.len(), value));
                        let refused = |why| self.refused(rows, (row, values.len()), given, why);
                        let value = value.map_err(refused)?;
                        values.push(value);
                    }
                    places.push(self.place_row(rows, &values, ids)?);
                }
            }
            RowSource::Operands(all) => {
                for (nth, row) in all.iter().enumerate() {
                    let mut values: SmallVec<[Value<'_>; COLUMNS_MAX]> = SmallVec::new();
                    for (operand, buffer) in row.iter().zip(buffers.iter_mut()) {
                        let family = rows.families.get(values.len()).copied().unwrap_or_default();
                        let given = self.binding.value(operand, &mut buffer.text)?;
                        let value = stored(family, given, charsets, &mut buffer.utf8);
                        let value = value.and_then(|value| self.kept(rows, values.len(), value));
                        let refused = |why| self.refused(rows, (nth, values.len()), given, why);
                        let value = value.map_err(refused)?;
                        values.push(value);
                    }
                    places.push(self.place_row(rows, &values, ids)?);
                }
            }
        }
        name_once(places, set);
        Ok(())
    }

    /// A value that the server takes as it is, in whatever mode.
    fn kept<'v>(
        &self,
        rows: &InsertRows,
        nth: usize,
        value: Value<'v>,
    ) -> Result<Value<'v>, NotStored> {
        let family = rows.families.get(nth).copied().unwrap_or_default();
        if value == Value::Null && rows.not_null.checked_shr(nth as u32).unwrap_or(0) & 1 == 1 {
            // What the server puts in its place.
            return match family {
                Family::Integer { .. } if rows.ignore && rows.numbered != Some(nth) => {
                    Ok(Value::Int(0))
                }
                Family::Text { .. } | Family::Binary(_) if rows.ignore => Ok(Value::Bytes(b"")),
                _ => Err(NotStored::Null),
            };
        }
        let loose = || rows.ignore || !self.binding.session.is_strict();
        if family.may_change(&value) && loose() { Err(NotStored::Characters) } else { Ok(value) }
    }

    /// A value that no row can be placed by: what the server itself would say of it, where it
    /// refuses such values.
    #[cold]
    fn refused(
        &self,
        rows: &InsertRows,
        (row, nth): (usize, usize),
        given: Value<'_>,
        why: NotStored,
    ) -> PlanError {
        let family = rows.families.get(nth).copied().unwrap_or_default();
        let strict = self.binding.session.is_strict() && !rows.ignore;
        if why != NotStored::Changed || !strict {
            return not_stored(rows, nth, why);
        }
        let column = rows.columns.get(nth).cloned().unwrap_or_default();
        let row = row as u64 + 1;
        let mut buffer = Vec::new();
        match (family, sought(family, given, self.binding.charsets, &mut buffer)) {
            // Whole numbers that have no place in the type, or in any.
            (Family::Integer { .. }, Sought::Nothing | Sought::Value(_)) => {
                PlanError::OutOfRange { column, row }
            }
            (Family::Text { length, .. }, Sought::Value(Value::Bytes(text)))
                if is_longer(text, length) =>
            {
                PlanError::DataTooLong { column, row }
            }
            (Family::Binary(length), Sought::Value(Value::Bytes(bytes)))
                if bytes.len() > length as usize =>
            {
                PlanError::DataTooLong { column, row }
            }
            _ => not_stored(rows, nth, why),
        }
    }

    fn place_row(
        &self,
        rows: &InsertRows,
        values: &[Value<'_>],
        ids: &mut Vec<KeyspaceId>,
    ) -> Result<ShardIdx, PlanError> {
        let column = || rows.columns.first().map_or("?", String::as_str);
        let cannot = |reason: &str| PlanError::CannotMap {
            column: column().to_owned(),
            reason: reason.to_owned(),
        };
        if let Some(0) = rows
            .numbered
            .and_then(|n| values.get(n))
            .and_then(as_integer)
        {
            return Err(cannot("0 asks the server for a number of its own; give the number"));
        }
        match rows
            .vindex
            .map(values)
            .map_err(|e| PlanError::cannot_map(column(), e))?
        {
            Mapping::Id(id) => {
                let shard = self.shard(&id)?;
                if rows.keeps_ids {
                    ids.push(id);
                }
                Ok(shard)
            }
            Mapping::None if values.contains(&Value::Null) => {
                Err(cannot("it is NULL, or the statement gives no value for it"))
            }
            Mapping::None => Err(cannot("the vindex maps this value to nothing")),
            Mapping::Range(_) => Err(cannot("the vindex needs a value for each of its columns")),
        }
    }
}
