//! Finds the end of an answer while its bytes are relayed untouched.
//!
//! The walker hops from header to header. Of a row it looks at the header and one byte; of the few
//! packets that can end something it looks at the first bytes, which hold all the numbers. Nothing
//! is allocated, and bytes are copied only when a packet's first bytes are cut by the end of a
//! slice.
//!
//! Two ways to use it: [`ResponseWalker::feed`] takes slices as they come and says when the answer
//! is over; [`ResponseWalker::step`] takes one chunk at a time and says what it is, for callers
//! that drop or rewrite packets.

use crate::error::ProtocolError;
use crate::frame::{HEADER_LEN, Header, MAX_CHUNK};

mod machine;
mod resequence;
mod session;
mod summary;

pub(crate) use machine::opens_cursor;
pub use machine::{PacketRole, ResponseWalker};
pub use resequence::Resequencer;
pub use summary::Summary;

/// Payload bytes that the walker may want to see of one packet: the numbers of an OK packet at
/// their longest.
pub const HEAD_MAX: usize = 23;

/// What command is being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseKind {
    /// COM_STMT_EXECUTE that asks for a cursor: as [`Query`](Self::Query), and one may be opened.
    Cursor,
    /// COM_STMT_EXECUTE (and COM_STMT_BULK_EXECUTE): as [`Query`](Self::Query). The flag of an open
    /// cursor may be a routine's own.
    Execute,
    /// COM_STMT_FETCH: rows, without columns.
    Fetch,
    /// COM_FIELD_LIST: columns, without rows.
    FieldList,
    /// A command without an answer: COM_STMT_CLOSE, COM_STMT_SEND_LONG_DATA, COM_QUIT.
    None,
    /// COM_STMT_PREPARE.
    Prepare,
    /// COM_QUERY, COM_PROCESS_INFO.
    Query,
    /// One OK, EOF or ERR: COM_PING, COM_INIT_DB, COM_RESET_CONNECTION, COM_SET_OPTION,
    /// COM_STMT_RESET, ...
    Simple,
    /// COM_STATISTICS: one packet of text.
    Statistics,
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedState {
    /// More bytes must come.
    More,
    /// The answer is complete.
    Done,
    /// The server waits for a file. Send its contents in packets, an empty one last; then go on
    /// feeding.
    LocalInfile,
}

/// What became of the bytes given to [`ResponseWalker::feed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Bytes that belong to this answer. Any others belong to the next one.
    pub consumed: usize,
    /// How far the answer has come.
    pub state: FeedState,
}

impl ResponseWalker {
    /// Walks over `bytes`, the next of the stream, up to the end of the answer.
    ///
    /// # Errors
    /// What [`step`](Self::step) finds. The stream cannot be read on after it.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Feed, ProtocolError> {
        let mut rest = bytes;
        while self.state() == FeedState::More {
            if self.skip > 0 {
                let skipped = rest.len().min(self.skip);
                let (passed, after) = rest.split_at(skipped);
                rest = after;
                self.pass(passed, self.skip - skipped)?;
                if self.skip > 0 {
                    break;
                }
                continue;
            }
            if rest.is_empty() {
                break;
            }
            if self.held_len == 0 {
                if self.in_rows() {
                    rest = self.hop_rows(rest)?;
                    if self.skip > 0 || rest.is_empty() {
                        continue;
                    }
                }
                if let Some(after) = self.walk_in_place(rest)? {
                    rest = after;
                    continue;
                }
            }
            rest = self.hold(rest)?;
        }
        Ok(Feed { consumed: bytes.len() - rest.len(), state: self.state() })
    }

    /// Hops over rows in a slice that is to be relayed, and gives them sequence ids from `seq` on.
    /// Returns how many bytes may go. What is left begins with a packet to be given to
    /// [`step`](Self::step) whole: it may be the end, or is cut within its header.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn renumber_rows(
        &mut self,
        bytes: &mut [u8],
        seq: &mut u8,
    ) -> Result<usize, ProtocolError> {
        let mut at = bytes.len().min(self.skip);
        self.skip -= at;
        while self.skip == 0 && self.held_len == 0 && self.in_rows() {
            let Some(&mut [a, b, c, ref mut id, first]) =
                bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<5>)
            else {
                break;
            };
            let len = u32::from_le_bytes([a, b, c, 0]) as usize;
            if first >= 0xFE || len == 0 || len == MAX_CHUNK {
                break;
            }
            self.check_seq(*id)?;
            self.summary.rows += 1;
            *id = *seq;
            *seq = seq.wrapping_add(1);
            let end = at + HEADER_LEN + len;
            self.skip = end.saturating_sub(bytes.len());
            at = end.min(bytes.len());
        }
        Ok(at)
    }

    /// Hops over rows as long as they are plainly rows. A row that goes on beyond the slice leaves
    /// `skip` set.
    fn hop_rows<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ProtocolError> {
        let mut rest = bytes;
        while let Some(&[a, b, c, seq, first]) = rest.first_chunk::<5>() {
            let len = u32::from_le_bytes([a, b, c, 0]) as usize;
            if first >= 0xFE || len == 0 || len == MAX_CHUNK {
                break;
            }
            self.check_seq(seq)?;
            self.summary.rows += 1;
            match rest.get(HEADER_LEN + len..) {
                Some(after) => rest = after,
                None => {
                    self.skip = HEADER_LEN + len - rest.len();
                    return Ok(&[]);
                }
            }
        }
        Ok(rest)
    }

    /// Takes the chunk at the front of `bytes` if enough of its head is there; it may go on beyond.
    #[inline]
    fn walk_in_place<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, ProtocolError> {
        let Some((header, payload)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let [a, b, c, seq] = *header;
        let header = Header { len: u32::from_le_bytes([a, b, c, 0]), seq };
        let len = header.len as usize;
        let payload = payload.get(..len).unwrap_or(payload);
        let Some(head) = payload.get(..self.head_needed(header, payload.first().copied())) else {
            return Ok(None);
        };
        self.step(header, head)?;
        self.pass(payload, len - payload.len())?;
        Ok(Some(bytes.get(HEADER_LEN + payload.len()..).unwrap_or_default()))
    }

    /// Puts bytes aside until enough of a chunk's head is there. Returns what follows those that
    /// were wanted.
    #[cold]
    fn hold<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ProtocolError> {
        let mut rest = bytes;
        loop {
            let held = self.held.get(..self.held_len).unwrap_or_default();
            let wanted = match Header::peek(held) {
                None => HEADER_LEN,
                Some(header) => {
                    HEADER_LEN + self.head_needed(header, held.get(HEADER_LEN).copied())
                }
            };
            if self.held_len >= wanted {
                break;
            }
            let Some((first, after)) = rest.split_first() else { return Ok(rest) };
            if let Some(place) = self.held.get_mut(self.held_len) {
                *place = *first;
            }
            self.held_len += 1;
            rest = after;
        }
        let held = self.held;
        let seen = self.held_len - HEADER_LEN;
        self.held_len = 0;
        let Some(header) = Header::peek(&held) else { return Ok(rest) };
        let head = held.get(HEADER_LEN..HEADER_LEN + seen).unwrap_or_default();
        self.step(header, head)?;
        self.pass(head, (header.len as usize).saturating_sub(seen))?;
        Ok(rest)
    }

    /// Notes that payload bytes of the current chunk have passed, and how many are to come.
    #[inline]
    fn pass(&mut self, payload: &[u8], left: usize) -> Result<(), ProtocolError> {
        self.skip = left;
        if self.session.is_collecting() {
            self.session.extend(payload)?;
            if left == 0 {
                let caps = self.capabilities();
                self.session.end(caps)?;
            }
        }
        Ok(())
    }
}
