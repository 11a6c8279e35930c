//! Integers and strings of the protocol.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_data_types.html>

use crate::error::ProtocolError;

type Result<T> = std::result::Result<T, ProtocolError>;

/// First byte of a NULL value in a text row; also of a LOCAL INFILE request.
pub const NULL_MARK: u8 = 0xFB;

/// Reads fields off the front of a packet. Every read names what it wants, so that an error can say
/// it.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Reader<'a> {
    /// Reads `payload` from its beginning.
    pub fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload, total: payload.len() }
    }

    /// Takes the next `n` bytes.
    pub fn bytes(&mut self, n: usize, what: &'static str) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or(ProtocolError::Truncated(what))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes the next `N` bytes by value.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(ProtocolError::Truncated(what))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    pub fn u8(&mut self, what: &'static str) -> Result<u8> {
        self.array::<1>(what).map(|[b]| b)
    }

    /// Two bytes, little endian, as all that follow.
    pub fn u16(&mut self, what: &'static str) -> Result<u16> {
        self.array(what).map(u16::from_le_bytes)
    }

    /// Three bytes.
    pub fn u24(&mut self, what: &'static str) -> Result<u32> {
        self.array(what)
            .map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    /// Four bytes.
    pub fn u32(&mut self, what: &'static str) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self, what: &'static str) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A length-encoded integer of 1, 3, 4 or 9 bytes. The marks of NULL and of an error are
    /// `Malformed` here.
    pub fn lenenc_int(&mut self, what: &'static str) -> Result<u64> {
        match self.u8(what)? {
            small @ 0..=0xFA => Ok(u64::from(small)),
            0xFC => self.u16(what).map(u64::from),
            0xFD => self.u24(what).map(u64::from),
            0xFE => self.u64(what),
            NULL_MARK | 0xFF => Err(ProtocolError::Malformed(what)),
        }
    }

    /// Bytes with a length-encoded length in front.
    pub fn lenenc_bytes(&mut self, what: &'static str) -> Result<&'a [u8]> {
        let len = self.lenenc_int(what)?;
        let len = usize::try_from(len).map_err(|_| ProtocolError::Truncated(what))?;
        self.bytes(len, what)
    }

    /// As [`lenenc_bytes`](Self::lenenc_bytes), where the NULL mark stands for `None`.
    pub fn lenenc_bytes_or_null(&mut self, what: &'static str) -> Result<Option<&'a [u8]>> {
        if self.rest.first() == Some(&NULL_MARK) {
            self.bytes(1, what)?;
            return Ok(None);
        }
        self.lenenc_bytes(what).map(Some)
    }

    /// Bytes up to a NUL, which is taken too.
    pub fn nul_bytes(&mut self, what: &'static str) -> Result<&'a [u8]> {
        let end = self
            .rest
            .iter()
            .position(|b| *b == 0)
            .ok_or(ProtocolError::Truncated(what))?;
        let taken = self.bytes(end, what)?;
        self.bytes(1, what)?;
        Ok(taken)
    }

    /// Bytes up to a NUL, or to the packet's end: some drivers leave the last NUL out, and servers
    /// forgive it.
    pub fn nul_bytes_or_rest(&mut self) -> &'a [u8] {
        let mut parts = self.rest.splitn(2, |b| *b == 0);
        let taken = parts.next().unwrap_or_default();
        self.rest = parts.next().unwrap_or_default();
        taken
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// All that is left, without taking it.
    pub fn peek_rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes were read.
    pub fn position(&self) -> usize {
        self.total - self.rest.len()
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Appends a three-byte integer; the fourth byte of `value` is dropped.
pub fn put_u24(out: &mut Vec<u8>, value: u32) {
    let [a, b, c, _] = value.to_le_bytes();
    out.extend_from_slice(&[a, b, c]);
}

/// Appends a length-encoded integer in its shortest form.
pub fn put_lenenc_int(out: &mut Vec<u8>, value: u64) {
    let [b0, b1, b2, ..] = value.to_le_bytes();
    match value {
        0..=0xFA => out.push(b0),
        0xFB..=0xFFFF => out.extend_from_slice(&[0xFC, b0, b1]),
        0x1_0000..=0xFF_FFFF => out.extend_from_slice(&[0xFD, b0, b1, b2]),
        _ => {
            out.push(0xFE);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

/// How many bytes [`put_lenenc_int`] appends.
pub fn lenenc_int_len(value: u64) -> usize {
    match value {
        0..=0xFA => 1,
        0xFB..=0xFFFF => 3,
        0x1_0000..=0xFF_FFFF => 4,
        _ => 9,
    }
}

/// Appends bytes with their length in front.
pub fn put_lenenc_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_lenenc_int(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends bytes and a NUL. What follows a NUL within `bytes` is dropped, as the reader could not
/// know better.
pub fn put_nul_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes.iter().take_while(|b| **b != 0));
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lenenc_int_round_trip(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_lenenc_int(&mut out, value);
            prop_assert_eq!(out.len(), lenenc_int_len(value));
            let mut r = Reader::new(&out);
            prop_assert_eq!(r.lenenc_int("x"), Ok(value));
            prop_assert!(r.is_empty());
        }

        #[test]
        fn strings_round_trip(a: Vec<u8>, b in "[a-z]{0,300}", c: Vec<u8>) {
            let mut out = Vec::new();
            put_lenenc_bytes(&mut out, &a);
            put_nul_bytes(&mut out, b.as_bytes());
            out.extend_from_slice(&c);
            let mut r = Reader::new(&out);
            prop_assert_eq!(r.lenenc_bytes_or_null("a"), Ok(Some(a.as_slice())));
            prop_assert_eq!(r.nul_bytes("b"), Ok(b.as_bytes()));
            prop_assert_eq!(r.rest(), c.as_slice());
        }
    }

    #[test]
    fn marks_are_not_lengths() {
        for mark in [0xFB, 0xFF] {
            assert_eq!(Reader::new(&[mark]).lenenc_int("n"), Err(ProtocolError::Malformed("n")));
        }
        assert_eq!(Reader::new(&[0xFB]).lenenc_bytes_or_null("n"), Ok(None));
        assert_eq!(Reader::new(&[0xFC, 1]).lenenc_int("n"), Err(ProtocolError::Truncated("n")));
    }
}
