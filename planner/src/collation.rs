//! What a server says about a collation: enough to compare the text of several shards as the server itself would.

/// A collation of the servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collation {
    /// Lower case.
    pub name: String,
    /// Compares bytes.
    pub binary: bool,
    /// The weight of a space, where strings are compared as if the shorter one were filled up with spaces; empty where they
    /// are not (NO PAD).
    pub space: Vec<u8>,
    /// The weights of the 128 ASCII characters, where the weight of every ASCII string is those of its characters one after
    /// another.
    pub ascii: Option<Box<AsciiWeights>>,
}

/// The weights of ASCII characters, all of the same width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsciiWeights {
    /// Bytes of a weight.
    pub width: u8,
    /// The weight of character `c` is at `c * width`. A character without weight is not representable: such a collation has
    /// no table.
    pub bytes: Vec<u8>,
}

impl AsciiWeights {
    /// The weight of an ASCII character; empty for other bytes.
    pub fn of(&self, byte: u8) -> &[u8] {
        let width = usize::from(self.width);
        let at = usize::from(byte) * width;
        self.bytes.get(at..at + width).unwrap_or_default()
    }
}
