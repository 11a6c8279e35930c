//! Packets in a byte stream.
//!
//! A packet is one or more chunks, each with a header of three bytes length and one byte sequence
//! id. A chunk of [`MAX_CHUNK`] bytes is continued by the next one; the first shorter chunk
//! (perhaps an empty one) ends the packet.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html>

use crate::error::ProtocolError;

mod assembler;
pub use assembler::{Assembled, Assembler};

/// Bytes of a chunk's header.
pub const HEADER_LEN: usize = 4;

/// The most payload bytes in one chunk; a chunk of this size is continued by another.
pub const MAX_CHUNK: usize = 0xFF_FFFF;

/// A chunk's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Payload bytes that follow; at most [`MAX_CHUNK`].
    pub len: u32,
    /// Sequence id, counted from 0 at each command, wrapping.
    pub seq: u8,
}

impl Header {
    /// Reads the header at the front of `buf`; `None` while it is not whole.
    #[inline]
    pub fn peek(buf: &[u8]) -> Option<Self> {
        let [a, b, c, seq] = *buf.first_chunk::<HEADER_LEN>()?;
        Some(Self { len: u32::from_le_bytes([a, b, c, 0]), seq })
    }

    /// The header's bytes. Only 24 bits of `len` are kept.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [a, b, c, _] = self.len.to_le_bytes();
        [a, b, c, self.seq]
    }

    /// Whether the packet goes on in the next chunk.
    pub fn is_continued(self) -> bool {
        self.len as usize == MAX_CHUNK
    }
}

/// A whole packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Sequence id of its last chunk: the answer to it carries the next one.
    pub seq: u8,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Takes the packet that lies whole at the front of `buf`, with the bytes it occupies there. `None`
/// if there is not yet a whole one, or if it has more than one chunk: then an [`Assembler`] is
/// needed.
///
/// # Errors
/// [`ProtocolError::PacketTooLarge`] as soon as a header announces more than `limit` bytes.
#[inline]
pub fn split(buf: &[u8], limit: usize) -> Result<Option<(Packet<'_>, usize)>, ProtocolError> {
    let Some(header) = Header::peek(buf) else { return Ok(None) };
    let len = header.len as usize;
    if len > limit {
        return Err(ProtocolError::PacketTooLarge { len, limit });
    }
    if header.is_continued() {
        return Ok(None);
    }
    let end = HEADER_LEN + len;
    let Some(payload) = buf.get(HEADER_LEN..end) else { return Ok(None) };
    Ok(Some((Packet { seq: header.seq, payload }, end)))
}

/// Writes packets into a buffer, counting sequence ids.
#[derive(Debug)]
pub struct PacketWriter<'a> {
    out: &'a mut Vec<u8>,
    seq: &'a mut u8,
}

impl<'a> PacketWriter<'a> {
    /// Appends to `out`; `seq` is the id of the next packet and is advanced for each chunk.
    pub fn new(out: &'a mut Vec<u8>, seq: &'a mut u8) -> Self {
        Self { out, seq }
    }

    /// Appends one packet whose payload `encode` appends to the buffer it is given. `encode` must
    /// only append. A payload of [`MAX_CHUNK`] bytes or more becomes several chunks.
    pub fn packet<R>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let header_at = self.out.len();
        let payload_at = header_at + HEADER_LEN;
        self.out.resize(payload_at, 0);
        let result = encode(self.out);
        debug_assert!(self.out.len() >= payload_at, "an encoder must only append");
        let len = self.out.len().saturating_sub(payload_at);
        if len < MAX_CHUNK {
            self.patch(header_at, len);
        } else {
            self.split_payload(header_at, len);
        }
        result
    }

    fn patch(&mut self, at: usize, len: usize) {
        let header = Header { len: len as u32, seq: *self.seq };
        *self.seq = self.seq.wrapping_add(1);
        if let Some(place) = self.out.get_mut(at..at + HEADER_LEN) {
            place.copy_from_slice(&header.to_bytes());
        }
    }

    /// Makes room for the headers of the second chunk and on, moving from the end so that nothing
    /// is overwritten.
    #[cold]
    fn split_payload(&mut self, header_at: usize, len: usize) {
        let more = len / MAX_CHUNK;
        let payload_at = header_at + HEADER_LEN;
        self.out.resize(self.out.len() + more * HEADER_LEN, 0);
        for chunk in (1..=more).rev() {
            let from = payload_at + chunk * MAX_CHUNK;
            let until = (from + MAX_CHUNK).min(payload_at + len);
            self.out.copy_within(from..until, from + chunk * HEADER_LEN);
        }
        for chunk in 0..=more {
            let at = header_at + chunk * (HEADER_LEN + MAX_CHUNK);
            self.patch(at, (len - chunk * MAX_CHUNK).min(MAX_CHUNK));
        }
    }
}

/// `payload` as a packet, in its own memory where it is one chunk.
pub fn into_packet(mut payload: Vec<u8>, mut seq: u8) -> Vec<u8> {
    if payload.len() < MAX_CHUNK {
        let header = Header { len: payload.len() as u32, seq };
        payload.splice(0..0, header.to_bytes());
        return payload;
    }
    let mut out = Vec::with_capacity(payload.len() + 4 * HEADER_LEN);
    write_packet(&mut out, &mut seq, &payload);
    out
}

/// Appends `payload` as one packet, advancing `seq` for each chunk.
pub fn write_packet(out: &mut Vec<u8>, seq: &mut u8, payload: &[u8]) {
    let mut rest = payload;
    loop {
        let (chunk, after) = rest.split_at(rest.len().min(MAX_CHUNK));
        out.extend_from_slice(&Header { len: chunk.len() as u32, seq: *seq }.to_bytes());
        out.extend_from_slice(chunk);
        *seq = seq.wrapping_add(1);
        rest = after;
        if chunk.len() < MAX_CHUNK {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_waits_for_the_whole_packet() {
        let mut bytes = Vec::new();
        let mut seq = 3;
        write_packet(&mut bytes, &mut seq, b"hello");
        for cut in 0..bytes.len() {
            assert_eq!(split(&bytes[..cut], 100), Ok(None));
        }
        bytes.push(9);
        assert_eq!(split(&bytes, 5), Ok(Some((Packet { seq: 3, payload: b"hello" }, 9))));
        assert_eq!(split(&bytes, 4), Err(ProtocolError::PacketTooLarge { len: 5, limit: 4 }));
        assert_eq!(seq, 4);
    }

    #[test]
    fn both_writers_agree_around_the_chunk_size() {
        for len in [0, 1, MAX_CHUNK - 1, MAX_CHUNK, MAX_CHUNK + 1, 2 * MAX_CHUNK, 2 * MAX_CHUNK + 7]
        {
            let payload: Vec<u8> = (0..len).map(|i| (i / 7) as u8).collect();
            let (mut a, mut seq_a) = (vec![1, 2, 3], 255);
            let (mut b, mut seq_b) = (vec![1, 2, 3], 255);
            write_packet(&mut a, &mut seq_a, &payload);
            PacketWriter::new(&mut b, &mut seq_b).packet(|w| w.extend_from_slice(&payload));
            assert!(a == b, "length {len}");
            assert!(a[3..] == into_packet(payload, 255), "length {len}");
            assert_eq!(seq_a, seq_b);
            assert_eq!(usize::from(seq_a.wrapping_sub(255)), len / MAX_CHUNK + 1);
        }
    }
}
