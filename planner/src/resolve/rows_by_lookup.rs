//! Where the rows of an INSERT go whose primary vindex is a lookup that another table owns.
use super::lookup::{literal_of, other_form};
use super::maintain::operand_text;
use super::rows::name_once;
use super::{Binder, Binding, Scratch};
use crate::error::PlanError;
use crate::fingerprint::literal_value;
use crate::lookup::{Literal, LookUp, LookupDef, quoted};
use crate::plan::{InsertRows, RowSource};
use crate::value::Value;
use smallvec::SmallVec;
use std::sync::Arc;

impl Binder<'_> {
    pub(super) fn place_rows_by_lookup(
        &self,
        rows: &InsertRows,
        def: &Arc<LookupDef>,
        scratch: &mut Scratch,
    ) -> Result<(), PlanError> {
        let Scratch { places, set, ids, .. } = scratch;
        ids.clear();
        for values in values_of(rows, def, self.binding)? {
            let column = || rows.columns.first().cloned().unwrap_or_default();
            let cannot =
                |reason: &str| PlanError::CannotMap { column: column(), reason: reason.into() };
            if values.iter().any(|value| value.is_null) {
                return Err(cannot("it is NULL, or the statement gives no value for it"));
            }
            let mut query = def.select_head().into_bytes();
            for (n, (name, value)) in def.from.iter().zip(&values).enumerate() {
                let and = if n == 0 { "" } else { " AND " };
                query.extend_from_slice(format!("{and}{} = ", quoted(name)).as_bytes());
                query.extend_from_slice(&def.held(value));
            }
            let Some(found) = self.binding.session.looked_up(&query) else {
                let vindex = def.clone();
                return Err(PlanError::LookUp(Box::new(LookUp {
                    query,
                    vindex,
                    locks: true,
                    changes: false,
                })));
            };
            let [id] = found.as_slice() else {
                return Err(cannot("the lookup table of its vindex has no entry for it"));
            };
            places.push(self.shard(id)?);
            if rows.keeps_ids {
                ids.push(id.clone());
            }
        }
        name_once(places, set);
        Ok(())
    }
}

/// The values of the vindex's columns in each row.
fn values_of(
    rows: &InsertRows,
    def: &LookupDef,
    binding: &Binding<'_>,
) -> Result<Vec<SmallVec<[Literal; 1]>>, PlanError> {
    let binding = Binding { prepared: false, ..*binding };
    let Binding { sql, fingerprint, sql_mode, .. } = binding;
    let held = |value: Value<'_>, nth: usize| {
        let column = rows.columns.get(nth).map_or("?", String::as_str);
        literal_of(value, &rows.families, nth, &binding).ok_or_else(|| other_form(column))
    };
    match &rows.source {
        RowSource::Collapsed { positions, .. } => {
            let mut scratch = Vec::new();
            let rows = (0..fingerprint.rows.spans.len()).map(|row| {
                let literals: Vec<_> = fingerprint.rows.literals(sql, sql_mode, row).collect();
                let values = positions.iter().enumerate().map(|(nth, at)| {
                    let Some(literal) = literals.get(usize::from(*at)) else {
                        return Ok(Literal::null());
                    };
                    if def.loose {
                        let value = literal_value(sql, literal, &mut scratch, sql_mode);
                        return held(value, nth);
                    }
                    let range = literal.span.start as usize..literal.span.end as usize;
                    let text = sql.get(range).unwrap_or_default().to_vec();
                    Ok(Literal { is_null: text.eq_ignore_ascii_case(b"NULL"), sql: text })
                });
                values.collect()
            });
            rows.collect()
        }
        RowSource::Operands(all) => {
            let rows = all.iter().map(|row| {
                let values = row.iter().enumerate().map(|(nth, operand)| {
                    if def.loose {
                        let mut buffer = Vec::new();
                        return held(binding.value(operand, &mut buffer)?, nth);
                    }
                    operand_text(operand, &binding)
                });
                values.collect()
            });
            rows.collect()
        }
    }
}
