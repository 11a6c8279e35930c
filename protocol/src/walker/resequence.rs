//! Renumbers packets in place while they are relayed.

use crate::frame::HEADER_LEN;

/// Gives new sequence ids to the packets of a stream, whatever the cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resequencer {
    next: u8,
    /// Payload bytes until the next header.
    skip: usize,
    /// Bytes of the current header that have passed, and the length they say.
    header_len: usize,
    len: usize,
}

impl Resequencer {
    /// The next chunk gets the id `next`.
    pub fn new(next: u8) -> Self {
        Self { next, skip: 0, header_len: 0, len: 0 }
    }

    /// The id of the next chunk. If others are put into the stream, say so by
    /// [`set_next_seq`](Self::set_next_seq).
    pub fn next_seq(&self) -> u8 {
        self.next
    }

    /// Changes the id of the next chunk.
    pub fn set_next_seq(&mut self, next: u8) {
        self.next = next;
    }

    /// Whether the stream stands between two chunks.
    pub fn at_chunk_end(&self) -> bool {
        self.skip == 0 && self.header_len == 0
    }

    /// Renumbers the headers in `bytes`, the next of the stream.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        loop {
            let skipped = self.skip.min(rest.len());
            self.skip -= skipped;
            rest = rest.get_mut(skipped..).unwrap_or_default();
            let Some((byte, after)) = rest.split_first_mut() else { return };
            if self.header_len + 1 == HEADER_LEN {
                *byte = self.next;
                self.next = self.next.wrapping_add(1);
                self.skip = self.len;
                self.header_len = 0;
                self.len = 0;
            } else {
                self.len |= usize::from(*byte) << (8 * self.header_len);
                self.header_len += 1;
            }
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::write_packet;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_slicing_renumbers_alike(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20),
                1..8),
            cuts in proptest::collection::vec(0usize..30, 0..40),
        ) {
            let (mut bytes, mut seq, mut want, mut want_seq) = (Vec::new(), 9, Vec::new(), 250);
            for payload in &payloads {
                write_packet(&mut bytes, &mut seq, payload);
                write_packet(&mut want, &mut want_seq, payload);
            }
            let mut resequencer = Resequencer::new(250);
            let mut rest = bytes.as_mut_slice();
            for cut in cuts {
                let (a, b) = rest.split_at_mut(cut.min(rest.len()));
                resequencer.apply(a);
                rest = b;
            }
            resequencer.apply(rest);
            prop_assert!(resequencer.at_chunk_end());
            prop_assert_eq!(resequencer.next_seq(), want_seq);
            prop_assert_eq!(bytes, want);
        }
    }
}
