//! Rows, and what they are read as.
use super::{Error, Result};
use coregate_protocol::command::encode;
use coregate_protocol::command::execute::put_body;
use coregate_protocol::{Capabilities, value};
use std::sync::Arc;

pub(super) type Names = Arc<Vec<String>>;

/// A value that is bound, or a cell of a row; times are text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bytes(Vec<u8>),
    Int(i64),
    UInt(u64),
    Double(f64),
}

impl Value {
    pub(super) fn of(cell: &value::Value<'_>) -> Self {
        match *cell {
            value::Value::Null | value::Value::LongData => Self::Null,
            value::Value::Int(n) => Self::Int(n),
            value::Value::UInt(n) => Self::UInt(n),
            value::Value::Float(n) => Self::Double(n.into()),
            value::Value::Double(n) => Self::Double(n),
            value::Value::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            value::Value::Date(_) | value::Value::DateTime(_) | value::Value::Time(_) => {
                let mut text = Vec::new();
                cell.write_text(&mut text);
                Self::Bytes(text)
            }
        }
    }

    fn on_the_wire(&self) -> value::Value<'_> {
        match self {
            Self::Null => value::Value::Null,
            Self::Bytes(bytes) => value::Value::Bytes(bytes),
            Self::Int(n) => value::Value::Int(*n),
            Self::UInt(n) => value::Value::UInt(*n),
            Self::Double(n) => value::Value::Double(*n),
        }
    }

    /// For people; nothing for NULL.
    pub(crate) fn text(&self) -> String {
        let mut text = Vec::new();
        self.on_the_wire().write_text(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

pub(super) fn put_execute(out: &mut Vec<u8>, caps: Capabilities, id: u32, params: &[Value]) {
    let params: Vec<_> = params.iter().map(Value::on_the_wire).collect();
    let mut body = Vec::new();
    put_body(&mut body, caps, &params);
    encode::stmt_execute(out, id, 0, &body);
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    names: Names,
    cells: Vec<Value>,
}

impl Row {
    pub(super) fn new(names: Names, cells: Vec<Value>) -> Self {
        Self { names, cells }
    }

    /// The cell; NULL where there is none, and from then on.
    pub(crate) fn take(&mut self, at: usize) -> Value {
        self.cells
            .get_mut(at)
            .map_or(Value::Null, |cell| std::mem::replace(cell, Value::Null))
    }

    /// As text; `None`: NULL, no text, or no such column.
    pub(crate) fn text(&self, at: usize) -> Option<String> {
        <Option<String>>::from_value(self.cells.get(at)?.clone()).flatten()
    }

    /// As above, by the column's name.
    pub(crate) fn named(&self, name: &str) -> Option<String> {
        self.text(self.names.iter().position(|n| n == name)?)
    }

    pub(crate) fn into_cells(self) -> Vec<Value> {
        self.cells
    }

    pub(crate) fn into_pairs(self) -> impl Iterator<Item = (String, Value)> {
        let names = Arc::unwrap_or_clone(self.names);
        names.into_iter().zip(self.cells)
    }
}

/// What a cell can be read as.
pub(crate) trait FromValue: Sized {
    fn from_value(value: Value) -> Option<Self>;
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::Bytes(bytes) => Some(bytes),
            other => Some(other.text().into_bytes()),
        }
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Option<Self> {
        Self::from_utf8(<Vec<u8>>::from_value(value)?).ok()
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl FromValue for $type {
            fn from_value(value: Value) -> Option<Self> {
                match value {
                    Value::Int(n) => Self::try_from(n).ok(),
                    Value::UInt(n) => Self::try_from(n).ok(),
                    Value::Bytes(text) => std::str::from_utf8(&text).ok()?.parse().ok(),
                    Value::Null | Value::Double(_) => None,
                }
            }
        }
    )*};
}
numbers!(u8, u32, u64, usize, i64);

impl FromValue for f64 {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Double(n) => Some(n),
            other => String::from_value(other)?.parse().ok(),
        }
    }
}

impl FromValue for bool {
    fn from_value(value: Value) -> Option<Self> {
        match String::from_value(value)?.as_str() {
            "0" | "OFF" => Some(false),
            "1" | "ON" => Some(true),
            _ => None,
        }
    }
}

/// What a row can be read as.
pub(crate) trait FromRow: Sized {
    fn from_row(row: Row) -> Result<Self>;
}

impl FromRow for Row {
    fn from_row(row: Row) -> Result<Self> {
        Ok(row)
    }
}

fn cell<T: FromValue>(row: &mut Row, at: usize) -> Result<T> {
    let value = row.take(at);
    T::from_value(value).ok_or_else(|| {
        Error::Protocol(format!("column {} of the answer is not what was asked", at + 1))
    })
}

impl<T: FromValue> FromRow for T {
    fn from_row(mut row: Row) -> Result<Self> {
        cell(&mut row, 0)
    }
}

macro_rules! tuples {
    ($($type:ident $at:tt),*) => {
        impl<$($type: FromValue),*> FromRow for ($($type,)*) {
            fn from_row(mut row: Row) -> Result<Self> {
                Ok(($(cell::<$type>(&mut row, $at)?,)*))
            }
        }
    };
}
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);

/// Values to bind.
pub(crate) trait Params {
    fn values(self) -> Vec<Value>;
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Self::UInt(n)
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Self {
        Self::UInt(n.into())
    }
}

macro_rules! params {
    ($($type:ident $at:tt),*) => {
        impl<$($type: Into<Value>),*> Params for ($($type,)*) {
            fn values(self) -> Vec<Value> {
                vec![$(self.$at.into()),*]
            }
        }
    };
}
params!(A 0);
params!(A 0, B 1);
params!(A 0, B 1, C 2);
params!(A 0, B 1, C 2, D 3);

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: Vec<Value>) -> Row {
        let names = (0..cells.len()).map(|n| format!("c{n}")).collect();
        Row::new(Arc::new(names), cells)
    }

    #[test]
    fn cells_are_read_in_both_forms() {
        let text = |text: &str| Value::Bytes(text.into());
        let both = [
            row(vec![text("7"), text("1"), text("a")]),
            row(vec![Value::Int(7), Value::UInt(1), text("a")]),
        ];
        for row in both {
            let read = <(u64, bool, Option<String>)>::from_row(row).expect("read");
            assert_eq!(read, (7, true, Some("a".to_owned())));
        }
        assert_eq!(<Option<i64>>::from_row(row(vec![Value::Null])).expect("read"), None);
        assert_eq!(f64::from_row(row(vec![text("1.5")])).expect("read"), 1.5);
        assert!(u8::from_row(row(vec![Value::Int(-1)])).is_err());
        assert!(u8::from_row(row(vec![Value::Null])).is_err());
        assert!(<(u64, u64)>::from_row(row(vec![Value::Int(1)])).is_err(), "a column is missing");
        assert_eq!(row(vec![text("x")]).named("c0").as_deref(), Some("x"));
    }
}
