//! One shard's rows, cut out of its bytes as they come.
use super::{Cells, ExecError, Row};
use crate::link::step;
use crate::ring::Buf;
use coregate_protocol::frame::{HEADER_LEN, Header, MAX_CHUNK};
use coregate_protocol::walker::{PacketRole, ResponseWalker};
use std::ops::Range;

/// The answer of one shard, from its first row on.
#[derive(Default)]
pub(crate) struct Feed {
    /// What came last, and how far it was read.
    buf: Option<Buf>,
    at: usize,
    /// Bytes of a packet that the end of a buffer cut, headers included.
    partial: Vec<u8>,
    row: Place,
    cells: Cells,
    columns: usize,
}

/// Where the current row lies.
#[derive(Default)]
enum Place {
    #[default]
    Nowhere,
    InBuf(Range<usize>),
    Own(Vec<u8>),
}

impl Place {
    #[inline]
    fn payload<'p>(&'p self, buf: Option<&'p Buf>) -> &'p [u8] {
        match self {
            Self::InBuf(range) => buf
                .and_then(|buf| buf.get(range.clone()))
                .unwrap_or_default(),
            Self::Own(bytes) => bytes,
            Self::Nowhere => &[],
        }
    }
}

/// What comes next of an answer.
pub(crate) enum Next {
    /// A row: [`Feed::row`].
    Row,
    /// More bytes are needed: [`Feed::give`].
    Wait,
    /// No more rows.
    End,
    /// The payload of an error.
    Error(Vec<u8>),
}

impl Feed {
    pub(crate) fn new(columns: usize) -> Self {
        Self { columns, ..Self::default() }
    }

    /// The next bytes. Only after [`Next::Wait`].
    pub(crate) fn give(&mut self, buf: Buf) {
        self.buf = Some(buf);
        self.at = 0;
    }

    /// Goes to the next row.
    ///
    /// # Errors
    /// Bytes that are no rows, and packets out of order.
    #[inline]
    pub(crate) fn next(&mut self, walker: &mut ResponseWalker) -> Result<Next, ExecError> {
        loop {
            let found = if self.partial.is_empty() { self.in_buf() } else { self.over_the_cut() };
            let Some((place, seq)) = found else { return Ok(Next::Wait) };
            let payload = place.payload(self.buf.as_ref());
            let role =
                step(walker, payload, seq).map_err(|error| ExecError::answer(error.to_string()))?;
            match role {
                PacketRole::Row => {
                    self.cells.find(payload, self.columns)?;
                    self.row = place;
                    return Ok(Next::Row);
                }
                PacketRole::RowsEnd => return Ok(Next::End),
                PacketRole::Err => return Ok(Next::Error(payload.to_vec())),
                PacketRole::Progress => {}
                other => return Err(ExecError::answer(format!("{other:?} among rows"))),
            }
        }
    }

    /// The row that [`Next::Row`] told of.
    #[inline]
    pub(crate) fn row(&self) -> Row<'_> {
        Row { payload: self.row.payload(self.buf.as_ref()), cells: &self.cells }
    }

    /// What was not read yet: for whoever goes on reading the connection.
    pub(crate) fn rest(&mut self) -> Option<Buf> {
        let mut partial = std::mem::take(&mut self.partial);
        let mut buf = self.buf.take();
        if let Some(buf) = &mut buf {
            buf.consume(std::mem::take(&mut self.at));
        }
        match buf {
            Some(buf) if partial.is_empty() => (!buf.is_empty()).then_some(buf),
            Some(buf) => {
                partial.extend_from_slice(&buf);
                Some(Buf::from(partial))
            }
            None => (!partial.is_empty()).then(|| Buf::from(partial)),
        }
    }

    /// A packet that lies in the buffer as a whole.
    #[inline]
    fn in_buf(&mut self) -> Option<(Place, u8)> {
        let buf = self.buf.as_ref()?;
        let rest = buf.get(self.at..).unwrap_or_default();
        let header = Header::peek(rest);
        if let Some(header) = header
            && (header.len as usize) < MAX_CHUNK
            && rest.len() >= HEADER_LEN + header.len as usize
        {
            let start = self.at + HEADER_LEN;
            let end = start + header.len as usize;
            self.at = end;
            return Some((Place::InBuf(start..end), header.seq));
        }
        if rest.is_empty() {
            self.buf = None;
            return None;
        }
        if header.is_some_and(|h| h.len as usize == MAX_CHUNK) {
            self.partial.extend_from_slice(rest);
            self.at += rest.len();
            return self.over_the_cut();
        }
        self.partial = rest.to_vec();
        self.buf = None;
        None
    }

    /// A packet of which some bytes came in an earlier buffer, or one of several chunks.
    #[cold]
    fn over_the_cut(&mut self) -> Option<(Place, u8)> {
        loop {
            let missing = missing(&self.partial);
            if missing == 0 {
                let (payload, seq) = joined(&self.partial);
                self.partial.clear();
                return Some((Place::Own(payload), seq));
            }
            let buf = self.buf.as_ref()?;
            let rest = buf.get(self.at..).unwrap_or_default();
            if rest.is_empty() {
                self.buf = None;
                return None;
            }
            let taken = rest.get(..missing).unwrap_or(rest);
            self.partial.extend_from_slice(taken);
            self.at += taken.len();
        }
    }
}

/// How many bytes a packet needs at least, that begins with these: 0 if it is complete.
fn missing(mut partial: &[u8]) -> usize {
    loop {
        let Some(header) = Header::peek(partial) else { return HEADER_LEN - partial.len() };
        let end = HEADER_LEN + header.len as usize;
        let Some(after) = partial.get(end..) else { return end - partial.len() };
        if (header.len as usize) < MAX_CHUNK {
            return 0;
        }
        partial = after;
    }
}

/// The payload of a complete packet, and the sequence id of its last chunk.
fn joined(mut packet: &[u8]) -> (Vec<u8>, u8) {
    let mut payload = Vec::with_capacity(packet.len());
    let mut seq = 0;
    while let Some(header) = Header::peek(packet) {
        let end = HEADER_LEN + header.len as usize;
        payload.extend_from_slice(packet.get(HEADER_LEN..end).unwrap_or_default());
        seq = header.seq;
        packet = packet.get(end..).unwrap_or_default();
    }
    (payload, seq)
}
