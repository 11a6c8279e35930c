//! Statements of our own on a connection: what they answer is read here, to the end.
use super::{Backend, Exchange, UNDO};
use crate::core::Core;
use crate::error::BackendError;
use crate::ring::Buf;
use coregate_protocol::command::encode as commands;
use coregate_protocol::frame::Header;
use coregate_protocol::response::{ErrPacket, OkPacket};
use coregate_protocol::walker::{
    FeedState, HEAD_MAX, PacketRole, ResponseKind, ResponseWalker, Summary,
};
use coregate_protocol::{Capabilities, ProtocolError, frame};
use std::future::poll_fn;

/// Bytes of an answer to a question of our own.
const VALUE_MAX: usize = 64 << 20;

impl Backend {
    /// Notes where the reading of an answer was given up.
    #[cold]
    pub(crate) fn leave(&mut self, walker: ResponseWalker) {
        self.unfinished = Some(Box::new(walker));
    }

    /// Reads the rest of an answer that was given up, and drops it. `None`: it cannot be read on.
    #[cold]
    pub(crate) async fn drain(&mut self) -> Option<Summary> {
        let mut walker = self.unfinished.take()?;
        while walker.state() != FeedState::Done {
            if walker.state() == FeedState::LocalInfile {
                self.decline_file(&mut walker);
            } else if self.stream.is_cutting() {
                let packet = self.stream.packet(walker.next_seq()).await.ok()??;
                crate::link::step(&mut walker, packet.payload(), packet.seq).ok()?;
            } else {
                let mut buf = poll_fn(|cx| self.poll_answer(cx)).await.ok()?;
                let feed = walker.feed(&buf).ok()?;
                if feed.consumed < buf.len() {
                    buf.consume(feed.consumed);
                    self.stream.put_back(buf);
                }
            }
        }
        let summary = *walker.summary();
        self.answered(&summary);
        Some(summary)
    }

    /// The server asks for a file that is not ours to give: an empty packet declines.
    pub(super) fn decline_file(&mut self, walker: &mut ResponseWalker) {
        let mut wire = Vec::new();
        let mut seq = walker.next_seq();
        frame::write_packet(&mut wire, &mut seq, &[]);
        self.stream.link.send(Buf::from(wire));
        walker.infile_sent(seq.wrapping_sub(1));
    }

    /// Asks whether a transaction is open. Any answer without an error tells.
    #[cold]
    pub(crate) async fn ask_state(&mut self, core: &Core) -> Result<(), BackendError> {
        self.execute_surely(core, "DO 0").await
    }

    /// Undoes what was done since [`Backend::savepoint_ahead`].
    #[cold]
    pub(crate) async fn undo(&mut self, core: &Core) -> Result<(), BackendError> {
        self.execute_surely(core, UNDO).await
    }

    /// Runs what may be run twice: a KILL QUERY that came too late may take the first.
    async fn execute_surely(&mut self, core: &Core, sql: &str) -> Result<(), BackendError> {
        const ER_QUERY_INTERRUPTED: u16 = 1317;
        match self.execute(core, sql).await {
            Err(BackendError::Refused { code: ER_QUERY_INTERRUPTED, .. }) => {
                self.execute(core, sql).await.map(|_| ())
            }
            other => other.map(|_| ()),
        }
    }

    /// Runs a command and reads its answer to the end; the raw bytes go to `see`.
    pub(crate) async fn run(
        &mut self,
        core: &Core,
        payload: &[u8],
        kind: ResponseKind,
        see: impl FnMut(&[u8]),
    ) -> Result<Summary, BackendError> {
        self.send_payload(payload);
        self.answer_to(core, kind, see).await
    }

    /// The answer to what has been sent.
    async fn answer_to(
        &mut self,
        core: &Core,
        kind: ResponseKind,
        mut see: impl FnMut(&[u8]),
    ) -> Result<Summary, BackendError> {
        let _awaited = Exchange::begin(core);
        let mut walker = ResponseWalker::new(kind, self.capabilities);
        loop {
            let buf = poll_fn(|cx| self.poll_answer(cx)).await?;
            let feed = walker.feed(&buf)?;
            see(buf.get(..feed.consumed).unwrap_or_default());
            match feed.state {
                FeedState::More => {}
                FeedState::Done => {
                    let summary = *walker.summary();
                    self.answered(&summary);
                    return Ok(summary);
                }
                FeedState::LocalInfile => self.decline_file(&mut walker),
            }
        }
    }

    /// Runs a statement of our own; an error of the server is an error here.
    pub(crate) async fn execute(
        &mut self,
        core: &Core,
        sql: impl AsRef<[u8]>,
    ) -> Result<Summary, BackendError> {
        let tracked = self.execute_tracked(core, sql);
        Ok(tracked.await?.0)
    }

    /// The same, with what the server reports of the session's state.
    pub(crate) async fn execute_tracked(
        &mut self,
        core: &Core,
        sql: impl AsRef<[u8]>,
    ) -> Result<(Summary, Vec<u8>), BackendError> {
        let sql = sql.as_ref();
        let mut payload = Vec::with_capacity(sql.len() + 1);
        commands::query(&mut payload, Capabilities::empty(), sql);
        self.send_payload(&payload);
        self.told(core).await
    }

    /// The answer to a statement of our own that has been sent.
    pub(crate) async fn told(&mut self, core: &Core) -> Result<(Summary, Vec<u8>), BackendError> {
        let mut answer = Vec::new();
        let see = |bytes: &[u8]| {
            if answer.len() < 4096 {
                answer.extend_from_slice(bytes);
            }
        };
        let summary = self.answer_to(core, ResponseKind::Query, see).await?;
        match summary.error {
            None => {
                let packet = frame::split(&answer, usize::MAX).ok().flatten();
                let ok =
                    packet.and_then(|(p, _)| OkPacket::parse(p.payload, self.capabilities).ok());
                let session = ok.map_or_else(Vec::new, |ok| ok.session.raw().to_vec());
                Ok((summary, session))
            }
            Some((code, _)) => Err(self.refused(code, &answer)),
        }
    }

    pub(super) fn refused(&self, code: u16, answer: &[u8]) -> BackendError {
        let payload = frame::split(answer, usize::MAX)
            .ok()
            .flatten()
            .map(|(packet, _)| packet.payload);
        refusal(payload.unwrap_or_default()).unwrap_or(BackendError::Refused {
            code,
            sqlstate: *b"HY000",
            message: String::new(),
        })
    }

    /// The one value that a statement of our own gives, as text.
    pub(crate) async fn value(
        &mut self,
        core: &Core,
        sql: &str,
    ) -> Result<Option<String>, BackendError> {
        let mut answer = Vec::new();
        let mut payload = Vec::with_capacity(sql.len() + 1);
        commands::query(&mut payload, Capabilities::empty(), sql.as_bytes());
        let summary = self
            .run(core, &payload, ResponseKind::Query, |bytes| {
                if answer.len() < VALUE_MAX {
                    answer.extend_from_slice(bytes);
                }
            })
            .await?;
        if let Some((code, _)) = summary.error {
            return Err(self.refused(code, &answer));
        }
        // The row is the packet before the last, or before the closing EOF: the third from the end
        // of the columns.
        let mut packets = Vec::new();
        let mut rest = answer.as_slice();
        while let Ok(Some((packet, consumed))) = frame::split(rest, usize::MAX) {
            packets.push(packet.payload);
            rest = rest.get(consumed..).unwrap_or_default();
        }
        let row = packets
            .len()
            .checked_sub(2)
            .and_then(|at| packets.get(at))
            .copied()
            .unwrap_or_default();
        match coregate_protocol::row::TextRow::new(row).next() {
            Some(Ok(cell)) => Ok(cell.map(|bytes| String::from_utf8_lossy(bytes).into_owned())),
            _ => Err(BackendError::Local("a value cannot be read from a server".into())),
        }
    }

    /// The first cells of all rows that a statement of our own gives.
    pub(crate) async fn column(
        &mut self,
        core: &Core,
        sql: &str,
    ) -> Result<Vec<Vec<u8>>, BackendError> {
        let first = |row: Vec<Option<Vec<u8>>>| row.into_iter().next().flatten();
        Ok(self
            .rows(core, sql)
            .await?
            .into_iter()
            .filter_map(first)
            .collect())
    }

    /// The rows that a statement of our own gives, as text.
    pub(crate) async fn rows(
        &mut self,
        core: &Core,
        sql: &str,
    ) -> Result<Vec<Vec<Option<Vec<u8>>>>, BackendError> {
        let mut answer = Vec::new();
        let mut payload = Vec::with_capacity(sql.len() + 1);
        commands::query(&mut payload, Capabilities::empty(), sql.as_bytes());
        let see = |bytes: &[u8]| {
            if answer.len() < VALUE_MAX {
                answer.extend_from_slice(bytes);
            }
        };
        let summary = self.run(core, &payload, ResponseKind::Query, see).await?;
        if let Some((code, _)) = summary.error {
            return Err(self.refused(code, &answer));
        }
        let mut walker = ResponseWalker::new(ResponseKind::Query, self.capabilities);
        let mut rest = answer.as_slice();
        let mut rows = Vec::new();
        while let Ok(Some((packet, consumed))) = frame::split(rest, usize::MAX) {
            let head = packet
                .payload
                .get(..HEAD_MAX.min(packet.payload.len()))
                .unwrap_or_default();
            let header = Header { len: packet.payload.len() as u32, seq: packet.seq };
            if walker.step(header, head)? == PacketRole::Row {
                let cells = coregate_protocol::row::TextRow::new(packet.payload);
                let cells: Result<Vec<_>, _> = cells
                    .map(|cell| cell.map(|c| c.map(<[u8]>::to_vec)))
                    .collect();
                rows.push(cells?);
            }
            rest = rest.get(consumed..).unwrap_or_default();
        }
        Ok(rows)
    }
}

/// An error packet as an error.
pub(super) fn refusal(payload: &[u8]) -> Result<BackendError, ProtocolError> {
    let error = ErrPacket::parse(payload)?;
    Ok(BackendError::Refused {
        code: error.code,
        sqlstate: error.sqlstate,
        message: coregate_planner::raw::to_text(error.message),
    })
}
