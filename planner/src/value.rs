//! SQL values as the planner sees them: what a vindex maps, what a literal or a bound parameter holds.

/// A borrowed SQL value. Text is in the connection's character set, numbers are exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Int(i64),
    UInt(u64),
    Float(f64),
    /// The digits as written: `-12.50`, `1e3`.
    Decimal(&'a [u8]),
    /// A character or binary string, unescaped.
    Bytes(&'a [u8]),
}
