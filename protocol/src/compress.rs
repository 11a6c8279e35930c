//! The compressed protocol: packets (many, or parts of one) wrapped in compressed packets.
//!
//! A header has the length of what follows, a sequence id of its own, and the length after
//! decompression, where 0 says that nothing was compressed, as for short ones.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_compression.html>

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::error::ProtocolError;
use crate::frame::MAX_CHUNK;

/// Bytes of a compressed packet's header.
pub const HEADER_LEN: usize = 7;
/// Anything shorter is sent as it is.
pub const COMPRESS_BYTES_MIN: usize = 50;
/// Level of zlib that servers use.
const ZLIB_LEVEL: u32 = 6;
/// At most this much is reserved on the word of a header alone.
const RESERVE_BYTES_MAX: usize = 64 * 1024;

/// Which method two peers agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// [`crate::Capabilities::COMPRESS`].
    Zlib,
    /// [`crate::Capabilities::ZSTD_COMPRESSION`], with a level from 1 to 22.
    Zstd(u8),
}

enum Encoder {
    Zlib(Box<Compress>),
    Zstd(zstd::bulk::Compressor<'static>),
}

/// Wraps bytes in compressed packets. To be kept for as long as the connection is: its tables are
/// large.
pub struct Compressor {
    encoder: Encoder,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl Compressor {
    /// A compressor.
    ///
    /// # Errors
    /// [`ProtocolError::Compression`] if the library has no memory.
    pub fn new(method: Method) -> Result<Self, ProtocolError> {
        let encoder = match method {
            Method::Zlib => {
                Encoder::Zlib(Box::new(Compress::new(Compression::new(ZLIB_LEVEL), true)))
            }
            Method::Zstd(level) => {
                let level = i32::from(level.clamp(1, 22));
                let encoder = zstd::bulk::Compressor::new(level);
                Encoder::Zstd(encoder.map_err(|_| ProtocolError::Compression)?)
            }
        };
        Ok(Self { encoder })
    }

    /// Appends `plain` in as many compressed packets as it takes, advancing their sequence id.
    pub fn compress(&mut self, plain: &[u8], seq: &mut u8, out: &mut Vec<u8>) {
        for part in plain.chunks(MAX_CHUNK) {
            let at = out.len();
            out.resize(at + HEADER_LEN, 0);
            let plain_len = if part.len() >= COMPRESS_BYTES_MIN && self.append(part, out) {
                part.len()
            } else {
                out.truncate(at + HEADER_LEN);
                out.extend_from_slice(part);
                0
            };
            let len = out.len() - at - HEADER_LEN;
            let header = header(len, *seq, plain_len);
            *seq = seq.wrapping_add(1);
            if let Some(place) = out.get_mut(at..at + HEADER_LEN) {
                place.copy_from_slice(&header);
            }
        }
    }

    /// Appends the compressed form if it is shorter.
    fn append(&mut self, part: &[u8], out: &mut Vec<u8>) -> bool {
        let at = out.len();
        // No more room than the plain form takes: what does not fit is not worth it.
        out.resize(at + part.len(), 0);
        let Some(room) = out.get_mut(at..) else { return false };
        let written = match &mut self.encoder {
            Encoder::Zlib(encoder) => {
                encoder.reset();
                let done = encoder.compress(part, room, FlushCompress::Finish);
                let ended = matches!(done, Ok(Status::StreamEnd));
                ended.then(|| usize::try_from(encoder.total_out()).unwrap_or(usize::MAX))
            }
            Encoder::Zstd(encoder) => encoder.compress_to_buffer(part, room).ok(),
        };
        match written {
            Some(len) if len < part.len() => {
                out.truncate(at + len);
                true
            }
            _ => false,
        }
    }
}

fn header(len: usize, seq: u8, plain_len: usize) -> [u8; HEADER_LEN] {
    let [a, b, c, ..] = len.to_le_bytes();
    let [x, y, z, ..] = plain_len.to_le_bytes();
    [a, b, c, seq, x, y, z]
}

enum Decoder {
    Zlib(Box<Decompress>),
    Zstd(zstd::bulk::Decompressor<'static>),
}

/// Takes bytes out of compressed packets. To be kept for as long as the connection is.
pub struct Decompressor {
    decoder: Decoder,
    header: [u8; HEADER_LEN],
    header_len: usize,
    /// Bytes of the current packet that have yet to come, once its header is whole.
    left: usize,
    /// Its length after decompression; 0 if it is not compressed.
    plain_len: usize,
    /// What has come of it, if it is compressed.
    partial: Vec<u8>,
    next_seq: Option<u8>,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Decompressor {
    /// A decompressor.
    ///
    /// # Errors
    /// [`ProtocolError::Compression`] if the library has no memory.
    pub fn new(method: Method) -> Result<Self, ProtocolError> {
        let decoder = match method {
            Method::Zlib => Decoder::Zlib(Box::new(Decompress::new(true))),
            Method::Zstd(_) => {
                let decoder = zstd::bulk::Decompressor::new();
                Decoder::Zstd(decoder.map_err(|_| ProtocolError::Compression)?)
            }
        };
        Ok(Self {
            decoder,
            header: [0; HEADER_LEN],
            header_len: 0,
            left: 0,
            plain_len: 0,
            partial: Vec::new(),
            next_seq: None,
        })
    }

    /// Sets the sequence id of the next compressed packet; `None` takes any, as for the first of a
    /// command.
    pub fn expect(&mut self, seq: Option<u8>) {
        self.next_seq = seq;
    }

    /// Sequence id of the next compressed packet, which is also the one to answer with; 0 if none
    /// has come.
    pub fn next_seq(&self) -> u8 {
        self.next_seq.unwrap_or(0)
    }

    /// Whether a compressed packet has begun and is not complete.
    pub fn is_partial(&self) -> bool {
        self.header_len > 0
    }

    /// Takes bytes up to the end of one compressed packet, and appends what they hold, which is
    /// never more than 16 MiB. Returns how many it took.
    ///
    /// # Errors
    /// `OutOfOrder`, `Compression`. The stream cannot be read on after either.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, ProtocolError> {
        let mut rest = bytes;
        while self.header_len < HEADER_LEN {
            let Some((byte, after)) = rest.split_first() else { return Ok(bytes.len()) };
            if let Some(place) = self.header.get_mut(self.header_len) {
                *place = *byte;
            }
            self.header_len += 1;
            rest = after;
            if self.header_len == HEADER_LEN {
                self.enter()?;
            }
        }
        let (taken, after) = rest.split_at(rest.len().min(self.left));
        self.left -= taken.len();
        if self.plain_len == 0 {
            out.extend_from_slice(taken);
        } else if self.left > 0 || !self.partial.is_empty() {
            self.partial.extend_from_slice(taken);
        }
        if self.left == 0 {
            self.header_len = 0;
            if self.plain_len > 0 {
                let partial = std::mem::take(&mut self.partial);
                self.append(if partial.is_empty() { taken } else { &partial }, out)?;
            }
        }
        Ok(bytes.len() - after.len())
    }

    fn enter(&mut self) -> Result<(), ProtocolError> {
        let [a, b, c, got, x, y, z] = self.header;
        if let Some(expected) = self.next_seq
            && expected != got
        {
            return Err(ProtocolError::OutOfOrder { expected, got });
        }
        self.next_seq = Some(got.wrapping_add(1));
        self.left = u32::from_le_bytes([a, b, c, 0]) as usize;
        self.plain_len = u32::from_le_bytes([x, y, z, 0]) as usize;
        if self.plain_len > 0 {
            self.partial = Vec::with_capacity(self.left.min(RESERVE_BYTES_MAX));
        }
        Ok(())
    }

    /// Decompresses one whole packet, which must be as long as its header said.
    fn append(&mut self, packed: &[u8], out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let at = out.len();
        out.resize(at + self.plain_len, 0);
        let Some(room) = out.get_mut(at..) else { return Err(ProtocolError::Compression) };
        let written = match &mut self.decoder {
            Decoder::Zlib(decoder) => {
                decoder.reset(true);
                let done = decoder.decompress(packed, room, FlushDecompress::Finish);
                let ended = matches!(done, Ok(Status::StreamEnd));
                ended.then(|| usize::try_from(decoder.total_out()).unwrap_or(usize::MAX))
            }
            Decoder::Zstd(decoder) => decoder.decompress_to_buffer(packed, room).ok(),
        };
        if written != Some(self.plain_len) {
            out.truncate(at);
            return Err(ProtocolError::Compression);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const METHODS: [Method; 3] = [Method::Zlib, Method::Zstd(3), Method::Zstd(19)];

    fn unpack(method: Method, packed: &[u8], cut: usize) -> Result<Vec<u8>, ProtocolError> {
        let (mut decompressor, mut out) = (Decompressor::new(method)?, Vec::new());
        for slice in packed.chunks(cut.max(1)) {
            let mut rest = slice;
            while !rest.is_empty() {
                let consumed = decompressor.feed(rest, &mut out)?;
                rest = &rest[consumed..];
            }
        }
        assert!(!decompressor.is_partial());
        Ok(out)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn round_trip(
            parts in proptest::collection::vec(proptest::collection::vec(0u8..4, 0..300), 1..5),
            cut in 1usize..200,
        ) {
            for method in METHODS {
                let (mut compressor, mut seq, mut packed) = (Compressor::new(method).unwrap(),
                    254, Vec::new());
                for part in &parts {
                    compressor.compress(part, &mut seq, &mut packed);
                }
                prop_assert_eq!(unpack(method, &packed, cut).unwrap(), parts.concat());
            }
        }

        #[test]
        fn garbage_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300),
            zstd: bool) {
            let method = if zstd { Method::Zstd(1) } else { Method::Zlib };
            let mut packed = header(bytes.len(), 0, 400).to_vec();
            packed.extend_from_slice(&bytes);
            prop_assert_eq!(unpack(method, &packed, 1000), Err(ProtocolError::Compression));
        }
    }

    #[test]
    fn short_and_incompressible_bytes_go_as_they_are() {
        for method in METHODS {
            let (mut compressor, mut seq, mut packed) =
                (Compressor::new(method).unwrap(), 0, Vec::new());
            compressor.compress(&[1; COMPRESS_BYTES_MIN - 1], &mut seq, &mut packed);
            assert_eq!(packed.get(..HEADER_LEN), Some(&[49, 0, 0, 0, 0, 0, 0][..]));
            packed.clear();
            let noise: Vec<u8> = (0..200u32)
                .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
                .collect();
            compressor.compress(&noise, &mut seq, &mut packed);
            assert!(packed.len() <= noise.len() + HEADER_LEN);
            assert_eq!(seq, 2);
        }
    }

    #[test]
    fn more_than_a_chunk_is_split() {
        let plain = vec![5; MAX_CHUNK + 100];
        let (mut compressor, mut seq, mut packed) =
            (Compressor::new(Method::Zlib).unwrap(), 0, Vec::new());
        compressor.compress(&plain, &mut seq, &mut packed);
        assert_eq!(seq, 2);
        assert!(unpack(Method::Zlib, &packed, 1 << 16).unwrap() == plain);
    }

    #[test]
    fn order_is_checked() {
        let mut decompressor = Decompressor::new(Method::Zlib).unwrap();
        decompressor.expect(Some(3));
        assert_eq!(
            decompressor.feed(&header(0, 4, 0), &mut Vec::new()),
            Err(ProtocolError::OutOfOrder { expected: 3, got: 4 })
        );
    }
}
