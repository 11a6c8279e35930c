//! Binds a change of several steps: the texts of its steps.
use super::{Binding, text};
use crate::plan::write::{ByKey, How, SetPart, Write};

/// A change whose texts have their values.
#[derive(Debug)]
pub enum BoundWrite {
    ByKey(BoundByKey),
}

#[derive(Debug)]
pub struct BoundByKey {
    pub query: Vec<u8>,
    /// One for each change.
    pub changes: Vec<BoundHow>,
}

/// As [`How`].
#[derive(Debug)]
pub enum BoundHow {
    Delete,
    Update { set: Vec<BoundSet>, order: Vec<u8> },
}

/// As [`SetPart`].
#[derive(Debug)]
pub enum BoundSet {
    Text(Vec<u8>),
    Value(u16),
}

/// Writes the texts of a change's steps.
pub fn resolve_write(write: &Write, binding: &Binding<'_>) -> BoundWrite {
    let binding = Binding { prepared: false, ..*binding };
    match write {
        Write::ByKey(by_key) => BoundWrite::ByKey(bind_by_key(by_key, &binding)),
    }
}

fn bind_by_key(by_key: &ByKey, binding: &Binding<'_>) -> BoundByKey {
    let set = |part: &SetPart| match part {
        SetPart::Text(pieces) => BoundSet::Text(text::one(pieces, binding)),
        SetPart::Value(place) => BoundSet::Value(*place),
    };
    let changes = by_key.changes.iter().map(|change| match &change.how {
        How::Delete { .. } => BoundHow::Delete,
        How::Update { set: parts, order, .. } => {
            BoundHow::Update { set: parts.iter().map(set).collect(), order: text::one(order, binding) }
        }
    });
    BoundByKey { query: text::one(&by_key.query, binding), changes: changes.collect() }
}
