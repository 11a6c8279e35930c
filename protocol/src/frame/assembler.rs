//! Whole packets out of slices of a stream, whatever the cuts.

use super::{HEADER_LEN, Header, MAX_CHUNK, Packet};
use crate::error::ProtocolError;

/// At most this much is reserved on the word of a header alone; more is reserved as bytes really
/// come.
const RESERVE_BYTES_MAX: usize = 64 * 1024;

/// What became of the bytes given to [`Assembler::feed`].
#[derive(Debug, PartialEq, Eq)]
pub struct Assembled<'a> {
    /// Bytes taken; the rest belongs to later packets and is to be fed again.
    pub consumed: usize,
    /// The packet that these bytes completed.
    pub packet: Option<Packet<'a>>,
}

/// Puts packets together from slices, and checks their sequence ids.
///
/// A packet that lies whole in a slice is given out as a part of it. Memory is held only while a
/// packet is partial, and given back at the next call.
#[derive(Debug)]
pub struct Assembler {
    limit: usize,
    expected: u8,
    checks_order: bool,
    header: [u8; HEADER_LEN],
    header_len: usize,
    /// Payload bytes that the current chunk still owes.
    chunk_left: usize,
    /// Inside a chunk, its header having been read.
    in_chunk: bool,
    /// The current chunk is a full one, so that another follows.
    continued: bool,
    partial: Vec<u8>,
    /// `partial` was given out by the last call.
    given: bool,
}

impl Assembler {
    /// Accepts packets of up to `limit` payload bytes (`max_allowed_packet`), the first with
    /// sequence id 0.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            expected: 0,
            checks_order: true,
            header: [0; HEADER_LEN],
            header_len: 0,
            chunk_left: 0,
            in_chunk: false,
            continued: false,
            partial: Vec::new(),
            given: false,
        }
    }

    /// Sets the sequence id that the next chunk must have: 0 before a command, the id after the
    /// last one sent within an exchange.
    pub fn expect(&mut self, seq: u8) {
        self.expected = seq;
    }

    /// The sequence id of the next chunk.
    pub fn next_seq(&self) -> u8 {
        self.expected
    }

    /// Whether sequence ids are checked. Not so on a compressed connection: servers set them to the
    /// compressed packet's at each flush.
    pub fn set_checks_order(&mut self, on: bool) {
        self.checks_order = on;
    }

    /// Changes the limit in bytes, from the next chunk on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Whether a packet has begun and is not complete.
    pub fn is_partial(&self) -> bool {
        self.in_chunk || self.header_len > 0 || (!self.given && !self.partial.is_empty())
    }

    /// Bytes of memory held.
    pub fn held(&self) -> usize {
        self.partial.capacity()
    }

    /// Takes bytes up to the end of one packet.
    ///
    /// # Errors
    /// [`ProtocolError::OutOfOrder`] and [`ProtocolError::PacketTooLarge`], both as soon as the
    /// header is seen. The stream cannot be read on after either.
    pub fn feed<'a>(&'a mut self, bytes: &'a [u8]) -> Result<Assembled<'a>, ProtocolError> {
        if self.given {
            self.given = false;
            self.partial = Vec::new();
        }
        if !self.is_partial()
            && let Some((packet, consumed)) = super::split(bytes, self.limit)?
        {
            self.check_seq(packet.seq)?;
            return Ok(Assembled { consumed, packet: Some(packet) });
        }
        let mut rest = bytes;
        loop {
            if !self.in_chunk {
                rest = self.take_header(rest)?;
                if !self.in_chunk {
                    return Ok(Assembled { consumed: bytes.len(), packet: None });
                }
            }
            let (taken, after) = rest.split_at(rest.len().min(self.chunk_left));
            self.partial.extend_from_slice(taken);
            self.chunk_left -= taken.len();
            rest = after;
            if self.chunk_left > 0 {
                return Ok(Assembled { consumed: bytes.len(), packet: None });
            }
            self.in_chunk = false;
            if !self.continued {
                self.given = true;
                let packet = Packet { seq: self.expected.wrapping_sub(1), payload: &self.partial };
                return Ok(Assembled { consumed: bytes.len() - rest.len(), packet: Some(packet) });
            }
        }
    }

    fn check_seq(&mut self, got: u8) -> Result<(), ProtocolError> {
        if got != self.expected && self.checks_order {
            return Err(ProtocolError::OutOfOrder { expected: self.expected, got });
        }
        self.expected = got.wrapping_add(1);
        Ok(())
    }

    /// Completes the header from `rest`, and enters the chunk when it is whole.
    fn take_header<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], ProtocolError> {
        let wanted = HEADER_LEN - self.header_len;
        let (taken, after) = rest.split_at(rest.len().min(wanted));
        for (place, byte) in self.header.iter_mut().skip(self.header_len).zip(taken) {
            *place = *byte;
        }
        self.header_len += taken.len();
        if self.header_len < HEADER_LEN {
            return Ok(after);
        }
        let [a, b, c, seq] = self.header;
        let len = u32::from_le_bytes([a, b, c, 0]) as usize;
        self.header_len = 0;
        self.check_seq(seq)?;
        let total = self.partial.len() + len;
        if total > self.limit {
            return Err(ProtocolError::PacketTooLarge { len: total, limit: self.limit });
        }
        self.in_chunk = true;
        self.chunk_left = len;
        self.continued = Header { len: len as u32, seq }.len as usize == MAX_CHUNK;
        self.partial.reserve(len.min(RESERVE_BYTES_MAX));
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::write_packet;
    use proptest::prelude::*;

    fn drain(
        assembler: &mut Assembler,
        slices: &[&[u8]],
    ) -> Result<Vec<(u8, Vec<u8>)>, ProtocolError> {
        let mut packets = Vec::new();
        for slice in slices {
            let mut rest = *slice;
            while !rest.is_empty() {
                let step = assembler.feed(rest)?;
                if let Some(packet) = step.packet {
                    packets.push((packet.seq, packet.payload.to_vec()));
                }
                rest = &rest[step.consumed..];
            }
        }
        Ok(packets)
    }

    proptest! {
        #[test]
        fn any_slicing_gives_the_same_packets(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40),
                0..8),
            cuts in proptest::collection::vec(1usize..30, 0..40),
        ) {
            let (mut bytes, mut seq) = (Vec::new(), 0);
            for payload in &payloads {
                write_packet(&mut bytes, &mut seq, payload);
            }
            let (mut slices, mut rest) = (Vec::new(), bytes.as_slice());
            for cut in cuts {
                let (a, b) = rest.split_at(cut.min(rest.len()));
                slices.push(a);
                rest = b;
            }
            slices.push(rest);
            let mut assembler = Assembler::new(100);
            let got = drain(&mut assembler, &slices).unwrap();
            let want: Vec<_> = payloads.into_iter().enumerate().map(|(i, p)| (i as u8,
                p)).collect();
            prop_assert_eq!(got, want);
            prop_assert!(!assembler.is_partial());
        }
    }

    #[test]
    fn long_packets_are_put_together() {
        for len in [MAX_CHUNK - 1, MAX_CHUNK, MAX_CHUNK + 1, 2 * MAX_CHUNK] {
            let payload = vec![7; len];
            let (mut bytes, mut seq) = (Vec::new(), 0);
            write_packet(&mut bytes, &mut seq, &payload);
            let mut assembler = Assembler::new(len);
            let parts: Vec<&[u8]> = bytes.chunks(1 << 20).collect();
            let got = drain(&mut assembler, &parts).unwrap();
            assert_eq!(got.len(), 1);
            assert!(got[0].1 == payload && got[0].0 == seq - 1);
            assert_eq!(
                drain(&mut Assembler::new(len - 1), &parts)
                    .unwrap_err()
                    .code(),
                1153,
                "one byte over the limit"
            );
            assembler.feed(&[]).unwrap();
            assert_eq!(assembler.held(), 0);
        }
    }

    #[test]
    fn wrong_sequence_is_an_error() {
        let mut assembler = Assembler::new(10);
        assert_eq!(
            assembler.feed(&[1, 0, 0, 5, 9]),
            Err(ProtocolError::OutOfOrder { expected: 0, got: 5 })
        );
        let mut assembler = Assembler::new(10);
        assembler.feed(&[1, 0]).unwrap();
        assert_eq!(assembler.feed(&[0, 5]), Err(ProtocolError::OutOfOrder { expected: 0, got: 5 }));
    }
}
