//! Columns by which the rows of several shards are compared.
use super::kind::Kind;
use super::shape::{Shape, around};
use crate::plan::Piece;
use crate::plan::tree::{Key, TextKey};

/// A value that rows are compared by.
pub(super) struct Value {
    pub(super) text: Vec<Piece>,
    /// Where the client gets it.
    pub(super) visible: Option<usize>,
    pub(super) kind: Kind,
}

impl Shape<'_, '_, '_> {
    /// The key for a value; columns that it needs beside the value are added. `grouped`: they stand
    /// in MAX(), so that they split no group.
    pub(super) fn key(&mut self, value: Value, descending: bool, grouped: bool) -> Option<Key> {
        let Value { text, visible, kind } = value;
        let hide = |shape: &mut Self, before: &str, after: &str, text: Vec<Piece>| {
            let (max, close) = if grouped { ("MAX(", ")") } else { ("", "") };
            shape.hide(around(&format!("{max}{before}"), text, &format!("{after}{close}")))
        };
        let own = |shape: &mut Self, text: Vec<Piece>| match visible {
            Some(at) => u16::try_from(at).ok(),
            None => shape.hide(text),
        };
        let plain = |column| Key { column, descending, text: None };
        Some(match kind {
            Kind::Number => plain(own(self, text)?),
            Kind::Float => plain(hide(self, "(", ")+0e0", text)?),
            Kind::Timestamp => plain(hide(self, "UNIX_TIMESTAMP(", ")", text)?),
            Kind::Index => plain(hide(self, "(", ")+0", text)?),
            Kind::Bytes => Key { column: own(self, text)?, descending, text: Some(TextKey::Bytes) },
            Kind::Text(kind)
                if kind.utf8 && kind.collation.binary && kind.collation.space.is_empty() =>
            {
                // As bytes: text would be converted for the client.
                let column = hide(self, "CAST(", " AS BINARY)", text)?;
                Key { column, descending, text: Some(TextKey::Bytes) }
            }
            Kind::Text(kind) => {
                let ascii = kind.utf8 && kind.collation.ascii.is_some();
                let weight = if ascii {
                    let condition = around("IF(LENGTH(", text.clone(), ")=CHAR_LENGTH(");
                    let condition = around_all(condition, text.clone(), "),NULL,WEIGHT_STRING(");
                    hide(self, "", "))", [condition, text.clone()].concat())?
                } else {
                    hide(self, "WEIGHT_STRING(", ")", text.clone())?
                };
                // Where the weight is NULL only with the value, it stands for it.
                let column = if ascii { own(self, text)? } else { weight };
                let weight = TextKey::Weight { column: weight, ascii, collation: kind.collation };
                Key { column, descending, text: Some(weight) }
            }
        })
    }
}

fn around_all(before: Vec<Piece>, pieces: Vec<Piece>, after: &str) -> Vec<Piece> {
    let mut all = before;
    all.extend(around("", pieces, after));
    all
}
