//! Values that clients bind to prepared statements.

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Int(i64),
    Double(f64),
    /// As Java's BigDecimal and .NET's decimal come.
    Decimal(&'static str),
    Bytes(Vec<u8>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

impl Value {
    /// The part of a COM_STMT_EXECUTE behind its head: which are NULL, the types, the values.
    pub(crate) fn put_all(values: &[Self], out: &mut Vec<u8>) {
        if values.is_empty() {
            return;
        }
        let mut nulls = vec![0u8; values.len().div_ceil(8)];
        let (mut types, mut data) = (Vec::new(), Vec::new());
        for (i, value) in values.iter().enumerate() {
            let kind = match value {
                Self::Null => {
                    nulls[i / 8] |= 1 << (i % 8);
                    6
                }
                Self::Int(n) => {
                    data.extend_from_slice(&n.to_le_bytes());
                    8
                }
                Self::Double(n) => {
                    data.extend_from_slice(&n.to_le_bytes());
                    5
                }
                Self::Decimal(digits) => {
                    data.push(digits.len() as u8);
                    data.extend_from_slice(digits.as_bytes());
                    246
                }
                Self::Bytes(bytes) => {
                    data.push(0xFD);
                    data.extend_from_slice(&(bytes.len() as u32).to_le_bytes()[..3]);
                    data.extend_from_slice(bytes);
                    253
                }
            };
            types.extend_from_slice(&[kind, 0]);
        }
        out.extend_from_slice(&nulls);
        out.push(1);
        out.extend_from_slice(&types);
        out.extend_from_slice(&data);
    }
}
