//! SQL values as the planner sees them: what a vindex maps, what a literal or a bound parameter
//! holds.

/// A borrowed SQL value; numbers are exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// NULL
    Null,
    /// An integer that fits; literals are this wherever they do.
    Int(i64),
    /// A number above `i64::MAX`, or of an unsigned type.
    UInt(u64),
    /// A double of the binary protocol.
    Float(f64),
    /// The digits as written: `-12.50`, `1e3`.
    Decimal(&'a [u8]),
    /// A string in the character set of the connection, unescaped.
    Bytes(&'a [u8]),
    /// A string whose bytes are meant as they are, whatever the connection's character set is.
    Binary(&'a [u8]),
    /// The bytes of `0x4D`, which are a number where numbers are compared.
    Hex(&'a [u8]),
    /// The bytes of `x'4D'` and `b'01'`: where numbers are compared, servers differ.
    Bits(&'a [u8]),
}
