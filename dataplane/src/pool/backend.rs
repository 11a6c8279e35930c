//! One connection to a database server.
use super::tablet::{Permit, TabletPool};
use crate::core::Core;
use crate::error::BackendError;
use crate::link::PacketStream;
use crate::ring::Buf;
use crate::settings::{Difference, Settings};
use ahash::AHashMap;
use coregate_protocol::command::encode as commands;
use coregate_protocol::frame::Header;
use coregate_protocol::response::{ErrPacket, OkPacket};
use coregate_protocol::walker::{FeedState, HEAD_MAX, PacketRole, ResponseKind, ResponseWalker, Summary};
use coregate_protocol::{Capabilities, ProtocolError, codes, frame};
use smallvec::SmallVec;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

/// A statement of at most so many bytes is sent in one piece with what goes ahead of it.
const TOGETHER_MAX: usize = 16 << 10;
/// Set ahead of a write to several shards, see [`Backend::savepoint_ahead`].
const UNDO_SAVEPOINT: &str = "SAVEPOINT `_coregate_undo`";
/// Undoes what was done since.
pub(crate) const UNDO: &str = "ROLLBACK TO `_coregate_undo`";
/// Bytes of an answer to a question of our own.
const VALUE_MAX: usize = 64 << 20;

pub(crate) struct Backend {
    pub(crate) stream: PacketStream,
    permit: Permit,
    pub(crate) pool: Rc<TabletPool>,
    /// The capability bits that shape its answers, and whether it has a database selected.
    pub(crate) flavour: u64,
    pub(crate) settings: Rc<Settings>,
    pub(crate) capabilities: Capabilities,
    /// The server cannot do all that the flavour says: its answers are translated for clients that can.
    pub(crate) is_older: bool,
    pub(crate) thread_id: u32,
    pub(crate) born: Instant,
    pub(crate) used: Instant,
    /// An answer is outstanding or was not read to its end.
    pub(crate) busy: bool,
    /// Session state that the pool cannot undo: closed rather than kept.
    pub(crate) tainted: bool,
    /// What a session has left here is not known in full: it is undone before another session uses the connection.
    pub(crate) unknown_state: bool,
    /// Warnings of its last answer.
    pub(crate) warnings: u16,
    /// Its LAST_INSERT_ID(), where that is known.
    pub(crate) last_insert_id: Option<u64>,
    /// The count of changes to routines when it was taken.
    pub(crate) routines_seen: u32,
    /// The server's last word on whether a transaction is open.
    pub(crate) in_transaction: bool,
    /// An error packet says nothing about the transaction: `in_transaction` has to be asked for before it is trusted.
    pub(crate) unsure: bool,
    /// The statement that failed has ended the transaction that was open; the session has yet to hear of it.
    pub(crate) ended_by_error: bool,
    /// Where the reading of an answer was given up; it can go on from there.
    unfinished: Option<Box<ResponseWalker>>,
    /// Statements of our own, without which the next must not run: they are sent together with it.
    ahead: SmallVec<[&'static str; 2]>,
    statements: Option<AHashMap<u64, BackendStatement>>,
    uses: u64,
}

/// A statement prepared on this connection.
#[derive(Clone, Copy)]
pub(crate) struct BackendStatement {
    pub(crate) id: u32,
    /// Which parameter types it was last executed with; 0: none yet.
    pub(crate) types: u64,
    last_use: u64,
}

/// One command and its answer: counts the answer as awaited while it lives.
pub(crate) struct Exchange<'a> {
    core: &'a Core,
}

impl<'a> Exchange<'a> {
    pub(crate) fn begin(core: &'a Core) -> Self {
        core.ring.answer_expected();
        Self { core }
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        self.core.ring.answer_came();
    }
}

impl Backend {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        stream: PacketStream,
        permit: Permit,
        pool: Rc<TabletPool>,
        flavour: u64,
        settings: Rc<Settings>,
        capabilities: Capabilities,
        thread_id: u32,
        now: Instant,
    ) -> Self {
        Self {
            stream,
            permit,
            pool,
            flavour,
            settings,
            capabilities,
            is_older: !capabilities
                .contains(Capabilities::from_bits_truncate(flavour) & Capabilities::SHAPES_ANSWERS),
            thread_id,
            born: now,
            used: now,
            busy: false,
            tainted: false,
            unknown_state: false,
            warnings: 0,
            last_insert_id: Some(0),
            routines_seen: 0,
            in_transaction: false,
            unsure: false,
            ended_by_error: false,
            unfinished: None,
            ahead: SmallVec::new(),
            statements: None,
            uses: 0,
        }
    }

    /// Open, and nothing unexpected has come.
    pub(super) fn is_usable(&self) -> bool {
        self.stream.link.socket.is_quiet() && !self.stream.has_rest()
    }

    /// Fit for the next session. What was sent may still be on its way out: the answer came, so the server has read it.
    pub(super) fn is_clean(&self) -> bool {
        !self.busy
            && !self.tainted
            && !self.unsure
            && !self.ended_by_error
            && !self.in_transaction
            && self.stream.link.socket.is_open()
    }

    pub(super) fn rest(&mut self, core: &Core) {
        if std::mem::take(&mut self.unknown_state) {
            self.settings = core.settings.intern(Settings::unknown());
        }
        self.stream.link.socket.set_bulk(false);
        self.stream.link.socket.forget_waker();
    }

    pub(super) fn into_permit(self) -> Permit {
        self.permit
    }

    /// Sends a command packet that lies on the wire already.
    pub(crate) fn send(&mut self, wire: Buf) {
        self.busy = true;
        self.stream.link.reset_compressed_sequence();
        if self.ahead.is_empty() {
            self.stream.link.send(wire);
        } else {
            self.send_behind(wire);
        }
    }

    /// BEGIN goes out with the next statement and costs no round trip. Only that form: others can be refused by a server in good
    /// order, and the statement behind would then run outside of the transaction.
    pub(crate) fn begin_ahead(&mut self) {
        self.ahead.push("BEGIN");
        // From here on the connection must be kept, and be ended by COMMIT or ROLLBACK.
        self.in_transaction = true;
    }

    /// A savepoint goes out with the next statement, so that the statement can be undone alone. Costs no round trip either.
    pub(crate) fn savepoint_ahead(&mut self) {
        self.ahead.push(UNDO_SAVEPOINT);
    }

    #[cold]
    fn send_behind(&mut self, wire: Buf) {
        let small = wire.len() <= TOGETHER_MAX;
        let mut both = Vec::with_capacity(64 + if small { wire.len() } else { 0 });
        for sql in std::mem::take(&mut self.ahead) {
            let mut payload = Vec::with_capacity(sql.len() + 1);
            commands::query(&mut payload, Capabilities::empty(), sql.as_bytes());
            let mut seq = 0;
            frame::write_packet(&mut both, &mut seq, &payload);
            self.stream.expect_ahead(self.capabilities);
        }
        if small {
            both.extend_from_slice(&wire);
            return self.stream.link.send(Buf::from(both));
        }
        self.stream.link.send(Buf::from(both));
        self.stream.link.send(wire);
    }

    /// Sends a command given by its payload.
    pub(crate) fn send_payload(&mut self, payload: &[u8]) {
        let mut wire = Vec::with_capacity(payload.len() + 4);
        let mut seq = 0;
        frame::write_packet(&mut wire, &mut seq, payload);
        self.send(Buf::from(wire));
    }

    /// The next bytes of an answer.
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buf, BackendError>> {
        match self.stream.poll_bytes(cx) {
            Poll::Ready(Ok(Some(buf))) => Poll::Ready(Ok(buf)),
            Poll::Ready(Ok(None)) => Poll::Ready(Err(self.lost("the server closed the connection"))),
            Poll::Ready(Err(e)) => Poll::Ready(Err(self.lost(&e.to_string()))),
            Poll::Pending => Poll::Pending,
        }
    }

    pub(crate) fn lost(&self, why: &str) -> BackendError {
        BackendError::Lost { tablet: self.pool.tablet.alias.clone(), why: why.to_owned() }
    }

    /// Notes the end of an answer.
    #[inline]
    pub(crate) fn answered(&mut self, summary: &Summary) {
        self.busy = false;
        self.warnings = summary.warnings;
        if summary.error.is_some() {
            self.unsure = true;
            return;
        }
        let open = summary.status.contains(coregate_protocol::Status::IN_TRANS);
        // Only after an error: otherwise the statement's own answer tells.
        self.ended_by_error |= self.unsure && self.in_transaction && !open;
        self.in_transaction = open;
        self.unsure = false;
    }

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
    fn decline_file(&mut self, walker: &mut ResponseWalker) {
        let mut wire = Vec::new();
        let mut seq = walker.next_seq();
        frame::write_packet(&mut wire, &mut seq, &[]);
        self.stream.link.send(Buf::from(wire));
        walker.infile_sent(seq.wrapping_sub(1));
    }

    /// Asks whether a transaction is open. Any answer without an error tells. A KILL QUERY that came too late may take the first.
    #[cold]
    pub(crate) async fn ask_state(&mut self, core: &Core) -> Result<(), BackendError> {
        const ER_QUERY_INTERRUPTED: u16 = 1317;
        match self.execute(core, "DO 0").await {
            Err(BackendError::Refused { code: ER_QUERY_INTERRUPTED, .. }) => {
                self.execute(core, "DO 0").await.map(|_| ())
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
        mut see: impl FnMut(&[u8]),
    ) -> Result<Summary, BackendError> {
        self.send_payload(payload);
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
        let mut answer = Vec::new();
        let mut payload = Vec::with_capacity(sql.len() + 1);
        commands::query(&mut payload, Capabilities::empty(), sql);
        let summary = self
            .run(core, &payload, ResponseKind::Query, |bytes| {
                if answer.len() < 4096 {
                    answer.extend_from_slice(bytes);
                }
            })
            .await?;
        match summary.error {
            None => {
                let packet = frame::split(&answer, usize::MAX).ok().flatten();
                let ok = packet.and_then(|(p, _)| OkPacket::parse(p.payload, self.capabilities).ok());
                let session = ok.map_or_else(Vec::new, |ok| ok.session.raw().to_vec());
                Ok((summary, session))
            }
            Some((code, _)) => Err(self.refused(code, &answer)),
        }
    }

    fn refused(&self, code: u16, answer: &[u8]) -> BackendError {
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

    /// Gives the connection a session's settings.
    pub(crate) async fn apply(&mut self, core: &Core, wanted: &Rc<Settings>) -> Result<(), BackendError> {
        if Rc::ptr_eq(&self.settings, wanted) {
            return Ok(());
        }
        let Difference { reset, set, database } = self.settings.difference(wanted);
        if reset && self.pool.cannot_reset.get() {
            return Err(BackendError::CannotReset);
        }
        let mut wire = Wire::default();
        if reset {
            self.pool.stats.resets.set(self.pool.stats.resets.get() + 1);
            wire.command(commands::reset_connection);
            self.statements = None;
            self.last_insert_id = Some(0);
            if wanted.get("names").is_none()
                && let Some(names) = crate::core::names_of(wanted.collation)
            {
                wire.query(format!("SET {names}").as_bytes());
            }
        }
        if let Some(database) = &database {
            wire.command(|payload| commands::init_db(payload, database.as_bytes()));
        }
        for sql in &set {
            wire.query(sql);
        }
        match self.run_all(core, wire).await {
            Err(BackendError::Refused { code: codes::ER_UNKNOWN_COM_ERROR, .. }) if reset => {
                self.pool.cannot_reset.set(true);
                return Err(BackendError::CannotReset);
            }
            other => other?,
        }
        self.has_settings(wanted);
        Ok(())
    }

    /// Runs commands that are answered with OK, in one round trip. After an error the connection is not to be used.
    async fn run_all(&mut self, core: &Core, wire: Wire) -> Result<(), BackendError> {
        if wire.commands == 0 {
            return Ok(());
        }
        self.tainted = true; // until all of it is known to be applied
        self.send(Buf::from(wire.bytes));
        let mut refused = None;
        for _ in 0..wire.commands {
            let _awaited = Exchange::begin(core);
            self.stream.link.reset_compressed_sequence();
            let packet = match self.stream.packet(1).await {
                Ok(Some(packet)) => packet,
                Ok(None) => return Err(self.lost("the server closed the connection")),
                Err(e) => return Err(self.lost(&e.to_string())),
            };
            if packet.payload().first() != Some(&OkPacket::HEADER) && refused.is_none() {
                refused = Some(refusal(packet.payload())?);
            }
        }
        self.busy = false;
        match refused {
            Some(error) => Err(error),
            None => {
                self.tainted = false;
                self.in_transaction = false;
                (self.unsure, self.ended_by_error) = (false, false);
                Ok(())
            }
        }
    }

    /// The same for a connection that a session holds and whose state must stay.
    pub(crate) async fn apply_in_place(
        &mut self,
        core: &Core,
        wanted: &Rc<Settings>,
    ) -> Result<(), BackendError> {
        if Rc::ptr_eq(&self.settings, wanted) {
            return Ok(());
        }
        let names = crate::core::names_of(wanted.collation);
        let difference = self.settings.difference_in_place(wanted, names.as_deref());
        self.set_all(core, wanted, difference).await
    }

    async fn set_all(
        &mut self,
        core: &Core,
        wanted: &Rc<Settings>,
        difference: Difference,
    ) -> Result<(), BackendError> {
        if let Some(database) = &difference.database {
            let mut payload = Vec::new();
            commands::init_db(&mut payload, database.as_bytes());
            let mut answer = Vec::new();
            let summary = self
                .run(core, &payload, ResponseKind::Simple, |b| answer.extend_from_slice(b))
                .await?;
            if let Some((code, _)) = summary.error {
                return Err(self.refused(code, &answer));
            }
        }
        if !difference.set.is_empty() {
            let tainted = std::mem::replace(&mut self.tainted, true); // until all of it is known to be applied
            for sql in &difference.set {
                self.execute(core, sql).await?;
            }
            self.tainted = tainted;
        }
        self.has_settings(wanted);
        Ok(())
    }

    fn has_settings(&mut self, wanted: &Rc<Settings>) {
        if wanted.database.is_some() {
            self.flavour |= super::HAS_DATABASE;
        }
        self.settings = Rc::clone(wanted);
    }

    /// The one value that a statement of our own gives, as text.
    pub(crate) async fn value(&mut self, core: &Core, sql: &str) -> Result<Option<String>, BackendError> {
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
        // The row is the packet before the last, or before the closing EOF: the third from the end of the columns.
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
    pub(crate) async fn column(&mut self, core: &Core, sql: &str) -> Result<Vec<Vec<u8>>, BackendError> {
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
        let mut cells = Vec::new();
        while let Ok(Some((packet, consumed))) = frame::split(rest, usize::MAX) {
            let head = packet
                .payload
                .get(..HEAD_MAX.min(packet.payload.len()))
                .unwrap_or_default();
            let header = Header { len: packet.payload.len() as u32, seq: packet.seq };
            if walker.step(header, head)? == PacketRole::Row
                && let Some(Ok(Some(cell))) = coregate_protocol::row::TextRow::new(packet.payload).next()
            {
                cells.push(cell.to_vec());
            }
            rest = rest.get(consumed..).unwrap_or_default();
        }
        Ok(cells)
    }

    /// Sends a command that has no answer.
    pub(crate) fn send_unanswered(&mut self, payload: &[u8]) {
        let mut wire = Vec::with_capacity(payload.len() + 4);
        let mut seq = 0;
        frame::write_packet(&mut wire, &mut seq, payload);
        self.stream.link.send(Buf::from(wire));
    }

    /// Still there, as far as is known.
    pub(crate) fn is_connected(&self) -> bool {
        self.stream.link.socket.is_open()
    }

    pub(crate) fn statement(&mut self, key: u64) -> Option<&mut BackendStatement> {
        self.uses += 1;
        let uses = self.uses;
        let found = self.statements.as_mut()?.get_mut(&key)?;
        found.last_use = uses;
        Some(found)
    }

    /// Remembers a statement; returns the id of one that must be closed for it.
    pub(crate) fn remember_statement(&mut self, key: u64, id: u32) -> Option<u32> {
        self.uses += 1;
        let known = self.statements.get_or_insert_default();
        let mut evicted = None;
        if known.len() >= self.pool.limits.statements_max
            && let Some((&oldest, _)) = known.iter().min_by_key(|(_, s)| s.last_use)
        {
            evicted = known.remove(&oldest).map(|s| s.id);
        }
        known.insert(key, BackendStatement { id, types: 0, last_use: self.uses });
        evicted
    }
}

/// An error packet as an error.
fn refusal(payload: &[u8]) -> Result<BackendError, ProtocolError> {
    let error = ErrPacket::parse(payload)?;
    Ok(BackendError::Refused {
        code: error.code,
        sqlstate: error.sqlstate,
        message: String::from_utf8_lossy(error.message).into_owned(),
    })
}

/// Commands that go out together.
#[derive(Default)]
struct Wire {
    bytes: Vec<u8>,
    commands: usize,
}

impl Wire {
    fn command(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut payload = Vec::new();
        encode(&mut payload);
        let mut seq = 0;
        frame::write_packet(&mut self.bytes, &mut seq, &payload);
        self.commands += 1;
    }

    fn query(&mut self, sql: &[u8]) {
        self.command(|payload| commands::query(payload, Capabilities::empty(), sql));
    }
}
