//! Packets cut out of a stream, whatever the cuts of its buffers.
use super::Link;
use crate::gather::Gather;
use crate::ring::Buf;
use coregate_protocol::frame::{self, Assembler, HEADER_LEN, Header};
use coregate_protocol::walker::{FeedState, PacketRole, ResponseKind, ResponseWalker};
use coregate_protocol::{Capabilities, ProtocolError};
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

/// A client that sends a packet of so many bytes is given large receive buffers.
const LARGE_BYTES: usize = 32 << 10;
/// It has them until it has sent so many smaller packets.
const LARGE_FOR: u8 = 16;

/// One whole packet: its payload, and the bytes as they came where they lie together.
pub(crate) struct Packet {
    /// Header and payload, or the payload alone when `joined`.
    bytes: Buf,
    joined: bool,
    pub(crate) seq: u8,
}

impl Packet {
    pub(crate) fn payload(&self) -> &[u8] {
        let skip = if self.joined { 0 } else { HEADER_LEN };
        self.bytes.get(skip..).unwrap_or_default()
    }

    /// A packet of its own with the same bytes.
    pub(crate) fn copy(&self) -> Self {
        Self { bytes: Buf::from(self.bytes.to_vec()), joined: self.joined, seq: self.seq }
    }

    pub(crate) fn payload_mut(&mut self) -> &mut [u8] {
        let skip = if self.joined { 0 } else { HEADER_LEN };
        self.bytes.bytes_mut().get_mut(skip..).unwrap_or_default()
    }

    /// The packet as it goes on the wire.
    pub(crate) fn into_wire(self) -> Buf {
        if !self.joined {
            return self.bytes;
        }
        let mut wire = Vec::with_capacity(self.bytes.len() + 64);
        let mut seq = 0;
        frame::write_packet(&mut wire, &mut seq, &self.bytes);
        Buf::from(wire)
    }
}

/// Why there is no next packet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// Packets of a link. Owns memory only while a packet is partial.
pub(crate) struct PacketStream {
    pub(crate) link: Link,
    rest: Option<Buf>,
    /// A packet that is still to come in full: of one chunk, or of several.
    gather: Option<Box<Gather>>,
    assembler: Option<Box<Assembler>>,
    /// The answers to statements of our own that were sent ahead of the session's, in the same
    /// send.
    ahead: Vec<ResponseWalker>,
    /// Largest packet in bytes.
    limit: usize,
    /// For how many small packets the receive buffers are still large.
    large_for: u8,
    /// The sequence id of the answer's first packet, where it is not 1: it follows those of the
    /// request's chunks.
    first: Option<u8>,
}

impl PacketStream {
    pub(crate) fn new(link: Link, limit: usize) -> Self {
        Self {
            link,
            rest: None,
            gather: None,
            assembler: None,
            ahead: Vec::new(),
            limit,
            large_for: 0,
            first: None,
        }
    }

    /// What comes next is the answer to a statement sent ahead; readers get what is behind it, or
    /// an error if it failed.
    pub(crate) fn expect_ahead(&mut self, capabilities: Capabilities) {
        self.ahead
            .push(ResponseWalker::new(ResponseKind::Query, capabilities));
    }

    /// The next bytes as they come, packets or not.
    #[inline]
    pub(crate) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Buf>>> {
        if !self.ahead.is_empty() {
            ready!(self.poll_ahead(cx))?;
        }
        match self.rest.take() {
            Some(rest) => Poll::Ready(Ok(Some(rest))),
            None => self.link.poll_read(cx),
        }
    }

    /// Takes the answer to what was sent ahead out of the stream.
    #[cold]
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(walker) = self.ahead.first_mut() {
            let next = match self.rest.take() {
                Some(rest) => Some(rest),
                None => ready!(self.link.poll_read(cx))?,
            };
            let Some(mut buf) = next else {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            };
            let feed = walker
                .feed(&buf)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            buf.consume(feed.consumed);
            if feed.state == FeedState::Done {
                let error = walker.summary().error;
                self.ahead.remove(0);
                if let Some((code, _)) = error {
                    // The statement behind it has run, or runs, outside of the transaction: only
                    // closing is safe.
                    return Poll::Ready(Err(io::Error::other(format!(
                        "the transaction could not be begun there (error {code}), and whether the \
                            statement took effect is \
                         unknown"
                    ))));
                }
            }
            if !buf.is_empty() {
                self.rest = Some(buf);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Bytes that nobody has read?
    pub(crate) fn has_rest(&self) -> bool {
        self.rest.is_some() || !self.ahead.is_empty() || self.link.has_packed()
    }

    /// Is part of a packet held?
    pub(crate) fn is_cutting(&self) -> bool {
        self.assembler.is_some() || self.gather.is_some()
    }

    /// Fits the receive buffers to what the client sends, of which this is the last packet.
    #[inline]
    pub(crate) fn fit_buffers(&mut self, packet: &Packet) {
        if packet.bytes.len() >= LARGE_BYTES {
            self.large_for = LARGE_FOR;
            self.link.socket.set_bulk(true);
        } else if self.large_for > 0 {
            self.large_for -= 1;
            if self.large_for == 0 {
                self.link.socket.set_bulk(false);
            }
        }
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The next packet, whose sequence id must be `seq`; `None` at a clean end of the stream.
    pub(crate) fn poll_packet(
        &mut self,
        cx: &mut Context<'_>,
        seq: u8,
    ) -> Poll<Result<Option<Packet>, ReadError>> {
        loop {
            let Some(buf) = ready!(self.poll_bytes(cx))? else { return Poll::Ready(self.end()) };
            if let Some(packet) = self.cut(buf, seq)? {
                return Poll::Ready(Ok(Some(packet)));
            }
        }
    }

    pub(crate) async fn packet(&mut self, seq: u8) -> Result<Option<Packet>, ReadError> {
        poll_fn(|cx| self.poll_packet(cx, seq)).await
    }

    fn end(&self) -> Result<Option<Packet>, ReadError> {
        if self.is_cutting() {
            return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(None)
    }

    /// A request of so many bytes goes out, headers and all.
    #[inline]
    pub(crate) fn expect_answer(&mut self, request: usize) {
        self.first = (request > frame::MAX_CHUNK)
            .then(|| (request / (frame::MAX_CHUNK + HEADER_LEN) + 1) as u8);
    }

    /// The sequence id of the answer's first packet.
    pub(crate) fn answers_from(&self) -> u8 {
        self.first.unwrap_or(1)
    }

    fn cut(&mut self, buf: Buf, seq: u8) -> Result<Option<Packet>, ReadError> {
        let first = if seq == 1 { self.first } else { None };
        let cut = self.cut_at(buf, first.unwrap_or(seq));
        if first.is_some() && matches!(cut, Ok(Some(_))) {
            self.first = None;
        }
        cut
    }

    fn cut_at(&mut self, mut buf: Buf, seq: u8) -> Result<Option<Packet>, ReadError> {
        if self.gather.is_some() {
            return Ok(self.gather(buf, seq));
        }
        if self.assembler.is_none() {
            let whole =
                frame::split(&buf, self.limit)?.map(|(packet, consumed)| (packet.seq, consumed));
            if let Some((got, consumed)) = whole {
                if got != seq && self.link.is_compressed() {
                    // Servers do not look at them under compression, whose packets have their own.
                    if let Some(place) = buf.bytes_mut().get_mut(HEADER_LEN - 1) {
                        *place = seq;
                    }
                } else if got != seq {
                    return Err(ProtocolError::OutOfOrder { expected: seq, got }.into());
                }
                let rest = buf.len() - consumed;
                if rest > consumed {
                    // A small packet in front of many: the buffer stays with those.
                    let bytes = Buf::from(buf.get(..consumed).unwrap_or_default().to_vec());
                    buf.consume(consumed);
                    self.rest = Some(buf);
                    return Ok(Some(Packet { bytes, joined: false, seq }));
                }
                if rest > 0 {
                    // Pipelined commands are rare; the copy keeps the buffer with its first packet.
                    self.rest = buf.get(consumed..).map(|rest| Buf::from(rest.to_vec()));
                    buf.truncate(consumed);
                }
                return Ok(Some(Packet { bytes: buf, joined: false, seq }));
            }
        }
        let limit = self.limit;
        if self.assembler.is_none()
            && let Some(begun) = Gather::begin(&buf, seq, !self.link.is_compressed(), limit)
        {
            self.gather = Some(Box::new(begun));
            return Ok(None);
        }
        let assembler = self.assembler.get_or_insert_with(|| {
            let mut assembler = Box::new(Assembler::new(limit));
            assembler.expect(seq);
            assembler.set_checks_order(!self.link.is_compressed());
            assembler
        });
        let done = assembler.feed(&buf)?;
        let Some(packet) = done.packet else { return Ok(None) };
        let consumed = done.consumed;
        let seq = packet.seq;
        let bytes = Buf::from(packet.payload.to_vec());
        self.assembler = None;
        if consumed < buf.len() {
            buf.consume(consumed);
            self.rest = Some(buf);
        }
        Ok(Some(Packet { bytes, joined: true, seq }))
    }

    /// Goes on with a packet of one chunk.
    fn gather(&mut self, mut buf: Buf, seq: u8) -> Option<Packet> {
        let gather = self.gather.as_mut()?;
        let taken = gather.feed(&buf);
        if taken < buf.len() {
            buf.consume(taken);
            self.rest = Some(buf);
        }
        if !gather.is_whole() {
            return None;
        }
        let wire = self.gather.take()?.into_wire();
        Some(Packet { bytes: Buf::from(wire), joined: false, seq })
    }

    /// Bytes that follow the last packet, e.g. a TLS hello behind an SSLRequest.
    pub(crate) fn take_rest(&mut self) -> Option<Buf> {
        self.rest.take()
    }

    /// The sequence id to answer with when the packet that was being read is refused.
    pub(crate) fn refusal_seq(&self) -> u8 {
        self.assembler
            .as_ref()
            .map_or(1, |partial| partial.next_seq())
    }

    /// Puts bytes back in front of the stream.
    pub(crate) fn put_back(&mut self, buf: Buf) {
        self.rest = Some(buf);
    }

    /// Gone, and nothing is left to read?
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rest.is_some() || self.link.has_packed() {
            Poll::Pending
        } else {
            self.link.socket.poll_gone(cx)
        }
    }
}

/// Steps a walker over one whole packet. One of several chunks comes joined, with the sequence id
/// of its last.
///
/// # Errors
/// A packet that cannot stand there.
pub(crate) fn step(
    walker: &mut ResponseWalker,
    payload: &[u8],
    seq: u8,
) -> Result<PacketRole, ProtocolError> {
    let more = payload.len() / frame::MAX_CHUNK;
    let mut left = payload.len();
    let mut seq = seq.wrapping_sub(more as u8);
    let header = |left: usize, seq| Header { len: left.min(frame::MAX_CHUNK) as u32, seq };
    let head = payload
        .get(..coregate_protocol::walker::HEAD_MAX.min(payload.len()))
        .unwrap_or_default();
    let role = walker.step(header(left, seq), head)?;
    for _ in 0..more {
        left -= frame::MAX_CHUNK;
        seq = seq.wrapping_add(1);
        walker.step(header(left, seq), &[])?;
    }
    Ok(role)
}
