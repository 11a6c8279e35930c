//! Shards that a lookup table tells.
use super::{Binder, Binding, text};
use crate::column::{Family, Sought, sought, stored};
use crate::error::PlanError;
use crate::fingerprint::literal_value;
use crate::lookup::{Literal, LookUp, Written};
use crate::plan::lookup::{Hashed, LookupTo};
use crate::plan::maintain::Maintain;
use crate::plan::{InRows, Route};
use crate::snapshot::ShardIdx;
use crate::value::Value;
use crate::vindex::loose::md5_number;
use crate::vindex::text_of;

/// The question as it is for a route.
#[cold]
pub(super) fn of_route(mut question: Box<LookUp>, route: &Route) -> PlanError {
    question.changes = matches!(route.maintain.as_deref(), Some(Maintain::Change(_)));
    PlanError::LookUp(question)
}

/// What the values of a statement ask a lookup table.
enum Asked {
    Query(Vec<u8>),
    /// No row has them.
    Nothing,
    /// Rows with other values may be found, too.
    Anywhere,
}

impl Binder<'_> {
    /// The shards of the table's answer; that it must be asked first, where it was not.
    pub(super) fn place_looked_up(
        &self,
        to: &LookupTo,
        set: &mut Vec<ShardIdx>,
    ) -> Result<(), PlanError> {
        match asked(to, self.binding)? {
            Asked::Nothing => return Ok(()),
            Asked::Anywhere => self.everywhere(set),
            Asked::Query(query) => {
                let Some(ids) = self.binding.session.looked_up(&query) else {
                    let vindex = to.vindex.clone();
                    return Err(PlanError::LookUp(Box::new(LookUp {
                        query,
                        vindex,
                        locks: to.locks,
                        changes: false,
                    })));
                };
                for id in ids {
                    set.push(self.shard(&id)?);
                }
            }
        }
        set.sort_unstable();
        set.dedup();
        match &to.alone {
            Some(why) if set.len() > 1 => Err(PlanError::Unsupported(why.clone())),
            _ => Ok(()),
        }
    }
}

fn asked(to: &LookupTo, binding: &Binding<'_>) -> Result<Asked, PlanError> {
    let mut query = text::one(&to.query, binding);
    let mut conditions = 0;
    for (nth, hashed) in to.hashed.iter().enumerate() {
        let Some(numbers) = numbers(hashed, binding)? else {
            // What the other columns hold says little without the first.
            if nth == 0 {
                return Ok(Asked::Anywhere);
            }
            continue;
        };
        if numbers.is_empty() {
            return Ok(Asked::Nothing);
        }
        let and = if conditions == 0 { "" } else { " AND " };
        let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
        let condition = format!("{and}{} IN ({})", hashed.column, numbers.join(","));
        query.extend_from_slice(condition.as_bytes());
        conditions += 1;
    }
    Ok(Asked::Query(query))
}

/// The numbers of the values that a column is compared with; `None`: rows with other values may be
/// found, too.
fn numbers(hashed: &Hashed, binding: &Binding<'_>) -> Result<Option<Vec<u64>>, PlanError> {
    let Binding { sql, fingerprint, sql_mode, charsets, .. } = *binding;
    let mut out = Vec::new();
    let mut buffer = Vec::new();
    let mut add = |value: Value<'_>| {
        match sought(hashed.family, value, charsets, &mut buffer) {
            Sought::Value(value) => out.push(md5_number(&text_of(&value))),
            Sought::Nothing => {}
            Sought::Anywhere => return false,
        }
        true
    };
    let mut text = Vec::new();
    match &hashed.values {
        InRows::List(n) => {
            let list = fingerprint.lists.get(usize::from(*n));
            let items = list.and_then(|l| fingerprint.items.get(l.start as usize..l.end as usize));
            for item in items.ok_or(PlanError::MissingParameter)? {
                if !add(literal_value(sql, item, &mut text, sql_mode)) {
                    return Ok(None);
                }
            }
        }
        InRows::Operands(rows) => {
            for operand in rows.iter().flatten() {
                if !add(binding.value(operand, &mut text)?) {
                    return Ok(None);
                }
            }
        }
    }
    Ok(Some(out))
}

/// A value for an entry that holds its number, in a form that the number can be told from; `nth`:
/// the column's place. `None`: not the value that the server stores.
pub(super) fn literal_of(
    value: Value<'_>,
    families: &[Family],
    nth: usize,
    binding: &Binding<'_>,
) -> Option<Literal> {
    let family = families.get(nth).copied().unwrap_or_default();
    let mut buffer = Vec::new();
    let value = stored(family, value, binding.charsets, &mut buffer).ok()?;
    if family.may_change(&value) && !binding.session.is_strict() {
        return None;
    }
    let written = match (family, &value) {
        (_, Value::Null) => return Some(Literal::null()),
        (_, Value::Int(_) | Value::UInt(_) | Value::Decimal(_)) => Written::Number,
        (Family::Binary(_) | Family::Fixed(_), _) => Written::Bytes,
        _ => Written::Text("utf8mb4".into()),
    };
    Literal::of(Some(&text_of(&value)), &written)
}

#[cold]
pub(super) fn other_form(column: &str) -> PlanError {
    let reason = "the server would store another form of it; write it in the column's own form";
    PlanError::CannotMap { column: column.to_owned(), reason: reason.into() }
}
