//! Binds a tree: where it goes this time, and how many rows it takes.
use super::{Binding, Resolved, Scratch, keys, resolve, text};
use crate::error::PlanError;
use crate::plan::tree::{Form, Limit, Tree};
use crate::plan::{Operand, Piece};
use crate::snapshot::{KeyRange, Snapshot};
use crate::value::Value;

/// Where a tree's leaves go.
#[derive(Debug, Default)]
pub struct Parts {
    /// One for each leaf. Their texts are plain queries: values of parameters are in them.
    pub leaves: Vec<Resolved>,
    /// What each leaf's shards have, where values that are gathered before tell which of them are
    /// asked.
    pub ranges: Vec<Vec<KeyRange>>,
    /// Rows that are left out.
    pub skip: u64,
    /// Rows that are taken then; `u64::MAX`: all.
    pub take: u64,
    /// What the finishing server runs; empty for other trees.
    pub finish: Vec<u8>,
}

/// Finds the shards and texts of a tree's leaves.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_tree(
    tree: &Tree,
    snapshot: &Snapshot,
    binding: &Binding<'_>,
    scratch: &mut Scratch,
) -> Result<Parts, PlanError> {
    let binding = Binding { prepared: false, ..*binding };
    let mut parts = Parts { take: u64::MAX, ..Parts::default() };
    for leaf in &tree.leaves {
        let mut found = Resolved::default();
        resolve(&leaf.route, snapshot, &binding, scratch, &mut found)?;
        parts.leaves.push(found);
    }
    match &tree.form {
        Form::Merge(merge) => {
            if let Some(Limit { skip, take }) = &merge.limit {
                parts.skip = match skip {
                    Some(skip) => count(&binding, skip)?,
                    None => 0,
                };
                parts.take = count(&binding, take)?;
            }
        }
        Form::Finish(finish) => {
            parts.finish = text::one(&finish.text, &binding);
            let leaves = tree.leaves.iter().zip(&finish.gathers).zip(&parts.leaves);
            parts.ranges = leaves
                .map(|((leaf, gather), found)| keys::ranges(leaf, gather, snapshot, found))
                .collect();
        }
    }
    Ok(parts)
}

/// A text to be prepared, in which parameters stay what they are.
pub fn text_to_prepare(pieces: &[Piece], binding: &Binding<'_>) -> Vec<u8> {
    text::prepared(pieces, binding)
}

/// A number of rows. Literals are whole numbers, by the grammar; of parameters, MariaDB takes what
/// can be read as one.
pub(super) fn count(binding: &Binding<'_>, operand: &Operand) -> Result<u64, PlanError> {
    let mut buffer = Vec::new();
    let value = binding.value(operand, &mut buffer)?;
    if let Operand::Literal(n) = operand {
        let place = binding.fingerprint.literals.get(usize::from(*n));
        let at = place.map_or(binding.sql.len(), |literal| literal.span.start as usize);
        return match value {
            Value::UInt(n) => Ok(n),
            Value::Int(n) => u64::try_from(n).map_err(|_| PlanError::syntax(binding.sql, at)),
            _ => Err(PlanError::syntax(binding.sql, at)),
        };
    }
    let lenient = binding.session.counts_anything();
    match value {
        Value::UInt(n) => Ok(n),
        Value::Int(n) => u64::try_from(n).map_err(|_| PlanError::NotACount),
        Value::Null if lenient => Ok(0),
        Value::Float(n) if lenient && n > -0.5 => Ok(n.round() as u64),
        Value::Bytes(text) | Value::Decimal(text) | Value::Binary(text) => {
            let text = std::str::from_utf8(text).map_or("", str::trim);
            match (text.parse::<u64>(), text.parse::<f64>()) {
                (Ok(n), _) => Ok(n),
                (_, Ok(n)) if lenient && n > -0.5 => Ok(n.round() as u64),
                (_, Err(_)) if lenient && !text.starts_with('-') => Ok(leading(text)),
                _ => Err(PlanError::NotACount),
            }
        }
        _ => Err(PlanError::NotACount),
    }
}

/// The whole number that a text begins with.
fn leading(text: &str) -> u64 {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.get(..digits)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}
