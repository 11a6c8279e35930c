//! A large packet out of the buffers that it came in, put together in the form in which it goes on.
use coregate_protocol::frame::{HEADER_LEN, Header};

/// At most this much is reserved on the word of a header alone; when that has come, memory for the
/// rest is.
const RESERVE_BYTES_MAX: usize = 64 << 10;

/// A packet of one chunk that is still to come in full.
pub(crate) struct Gather {
    /// Header and payload.
    wire: Vec<u8>,
    total: usize,
}

impl Gather {
    /// If `first` begins with a packet of one chunk that this may take: its length is allowed, its
    /// sequence id is the expected one.
    pub(crate) fn begin(first: &[u8], seq: u8, checks_order: bool, limit: usize) -> Option<Self> {
        let header = Header::peek(first)?;
        let len = header.len as usize;
        if header.is_continued() || len > limit || (checks_order && header.seq != seq) {
            return None;
        }
        let total = HEADER_LEN + len;
        let mut wire = Vec::new();
        // All of a packet that has come in part by as much as this may be reserved at once.
        let ahead = if first.len() >= RESERVE_BYTES_MAX / 2 {
            RESERVE_BYTES_MAX * 4
        } else {
            RESERVE_BYTES_MAX
        };
        wire.reserve_exact(total.min(ahead));
        let mut gather = Self { wire, total };
        let taken = gather.feed(first);
        debug_assert!(taken <= first.len());
        // Under compression, whose packets have ids of their own, servers do not look at it.
        if let Some(place) = gather.wire.get_mut(HEADER_LEN - 1) {
            *place = seq;
        }
        Some(gather)
    }

    /// Takes what belongs to the packet, and returns how many bytes that is.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> usize {
        let left = self.total - self.wire.len();
        let taken = bytes.get(..left).unwrap_or(bytes);
        let room = self.wire.capacity() - self.wire.len();
        if room < taken.len() {
            // Once as much has come, doubling is as safe as waiting.
            let more = left.min(self.wire.len().max(RESERVE_BYTES_MAX));
            self.wire.reserve_exact(more.max(taken.len()));
        }
        self.wire.extend_from_slice(taken);
        taken.len()
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.wire.len() == self.total
    }

    pub(crate) fn into_wire(self) -> Vec<u8> {
        self.wire
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(len: usize, seq: u8) -> Vec<u8> {
        let mut out = Header { len: len as u32, seq }.to_bytes().to_vec();
        out.extend((0..len).map(|n| n as u8));
        out
    }

    #[test]
    fn any_cuts_give_the_packet_and_leave_what_follows() {
        for (len, cut) in [(10, 5), (10, 4), (100_000, 8_192), (300_000, 65_536), (300_000, 7)] {
            let mut stream = packet(len, 0);
            let wire = stream.clone();
            stream.extend(b"next");
            let mut parts = stream.chunks(cut);
            let mut gather = Gather::begin(parts.next().unwrap(), 0, true, 1 << 20).unwrap();
            let mut left = 0;
            for part in parts {
                left += part.len() - gather.feed(part);
            }
            assert!(gather.is_whole() && gather.into_wire() == wire && left == 4, "{len} by {cut}");
        }
    }

    #[test]
    fn little_is_reserved_before_it_has_come() {
        let stream = packet(4 << 20, 0);
        let mut gather = Gather::begin(&stream[..100], 0, true, 8 << 20).unwrap();
        assert!(gather.wire.capacity() <= RESERVE_BYTES_MAX);
        let mut at = 100;
        while !gather.is_whole() {
            at += gather.feed(&stream[at..(at + 10_000).min(stream.len())]);
            assert!(gather.wire.capacity() <= (2 * at + 10_000).max(RESERVE_BYTES_MAX), "{at}");
        }
        assert_eq!(gather.into_wire(), stream);
    }

    #[test]
    fn what_is_refused_or_has_more_chunks_is_left_to_the_assembler() {
        assert!(Gather::begin(&packet(10, 1)[..5], 0, true, 100).is_none());
        assert!(Gather::begin(&packet(10, 0)[..5], 0, true, 9).is_none());
        assert!(Gather::begin(&[0xff, 0xff, 0xff, 0, 1], 0, true, 1 << 30).is_none());
        assert!(Gather::begin(&[1, 0, 0], 0, true, 100).is_none());
        let patched = Gather::begin(&packet(10, 7)[..5], 2, false, 100).unwrap();
        assert_eq!(patched.wire[3], 2);
    }
}
