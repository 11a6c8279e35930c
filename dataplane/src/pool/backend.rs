//! One connection to a database server.
mod apply;
mod branch;
mod own;

use super::tablet::{Permit, TabletPool};
use crate::core::Core;
use crate::error::BackendError;
use crate::link::PacketStream;
use crate::ring::Buf;
use crate::settings::Settings;
use ahash::AHashMap;
use branch::Branch;
use coregate_protocol::command::encode as commands;
use coregate_protocol::walker::{ResponseWalker, Summary};
use coregate_protocol::{Capabilities, frame};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

/// A statement of at most so many bytes is sent in one piece with what goes ahead of it.
const TOGETHER_MAX: usize = 16 << 10;
/// Set ahead of a write to several shards, see [`Backend::savepoint_ahead`].
const UNDO_SAVEPOINT: &str = "SAVEPOINT `_coregate_undo`";
/// Errors after which an XA branch can only be rolled back, though its server still calls it open:
/// a deadlock, and the XA_RBROLLBACK family.
const ENDS_BRANCH: [u16; 4] = [1213, 1402, 1613, 1614];
/// Undoes what was done since.
const UNDO: &str = "ROLLBACK TO `_coregate_undo`";

pub(crate) struct Backend {
    pub(crate) stream: PacketStream,
    permit: Permit,
    pub(crate) pool: Rc<TabletPool>,
    /// The capability bits that shape its answers, and whether it has a database selected.
    pub(crate) flavour: u64,
    pub(crate) settings: Rc<Settings>,
    pub(crate) capabilities: Capabilities,
    /// The server cannot do all that the flavour says: its answers are translated for clients that
    /// can.
    pub(crate) is_older: bool,
    pub(crate) thread_id: u32,
    pub(crate) born: Instant,
    pub(crate) used: Instant,
    /// An answer is outstanding or was not read to its end.
    pub(crate) busy: bool,
    /// Session state that the pool cannot undo: closed rather than kept.
    pub(crate) tainted: bool,
    /// What a session has left here is not known in full: it is undone before another session uses
    /// the connection.
    pub(crate) unknown_state: bool,
    /// Warnings of its last answer.
    pub(crate) warnings: u16,
    /// Its LAST_INSERT_ID(), where that is known.
    pub(crate) last_insert_id: Option<u64>,
    /// The count of changes to routines when it was taken.
    pub(crate) routines_seen: u32,
    /// The server's last word on whether a transaction is open.
    pub(crate) in_transaction: bool,
    /// An error packet says nothing about the transaction: `in_transaction` has to be asked for
    /// before it is trusted.
    pub(crate) unsure: bool,
    /// The statement that failed has ended the transaction that was open; the session has yet to
    /// hear of it.
    pub(crate) ended_by_error: bool,
    /// Where the reading of an answer was given up; it can go on from there.
    unfinished: Option<Box<ResponseWalker>>,
    /// Statements of our own, without which the next must not run: they are sent together with it.
    ahead: SmallVec<[Cow<'static, str>; 2]>,
    /// Its part of a transaction is an XA branch.
    branch: Option<Box<Branch>>,
    /// A statement in its transaction may have written.
    pub(crate) wrote: bool,
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
            branch: None,
            wrote: false,
            statements: None,
            uses: 0,
        }
    }

    /// Open, and nothing unexpected has come.
    pub(super) fn is_usable(&self) -> bool {
        self.stream.link.socket.is_quiet() && !self.stream.has_rest()
    }

    /// Fit for the next session. What was sent may still be on its way out: the answer came, so the
    /// server has read it.
    pub(super) fn is_clean(&self) -> bool {
        !self.busy
            && !self.tainted
            && !self.unsure
            && !self.ended_by_error
            && !self.in_transaction
            && self.branch.is_none()
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
        self.used = self.pool.now();
        self.stream.link.reset_compressed_sequence();
        self.stream.expect_answer(wire.len());
        if self.ahead.is_empty() {
            self.stream.link.send(wire);
        } else {
            self.send_behind(wire);
        }
    }

    /// BEGIN goes out with the next statement and costs no round trip. Only that form: others can
    /// be refused by a server in good order, and the statement behind would then run outside of the
    /// transaction.
    pub(crate) fn begin_ahead(&mut self) {
        self.ahead.push(Cow::Borrowed("BEGIN"));
        // From here on the connection must be kept, and be ended by COMMIT or ROLLBACK.
        self.in_transaction = true;
    }

    /// A savepoint goes out with the next statement, so that the statement can be undone alone.
    /// Costs no round trip either.
    pub(crate) fn savepoint_ahead(&mut self) {
        self.ahead.push(Cow::Borrowed(UNDO_SAVEPOINT));
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

    /// As [`Self::send_payload`], in the payload's own memory.
    pub(crate) fn send_owned(&mut self, payload: Vec<u8>) {
        self.send(Buf::from(frame::into_packet(payload, 0)));
    }

    /// The next bytes of an answer.
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buf, BackendError>> {
        match self.stream.poll_bytes(cx) {
            Poll::Ready(Ok(Some(buf))) => Poll::Ready(Ok(buf)),
            Poll::Ready(Ok(None)) => {
                Poll::Ready(Err(self.lost("the server closed the connection")))
            }
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
        let spent = self.pool.now().saturating_duration_since(self.used);
        self.pool.load.record(spent, summary.error.is_some());
        self.warnings = summary.warnings;
        if let Some((code, _)) = summary.error {
            self.unsure = true;
            self.ended_by_error |= self.branch.is_some() && ENDS_BRANCH.contains(&code);
            return;
        }
        let open = summary.status.contains(coregate_protocol::Status::IN_TRANS);
        // Only after an error: otherwise the statement's own answer tells.
        self.ended_by_error |= self.unsure && self.in_transaction && !open;
        self.in_transaction = open;
        self.unsure = false;
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

    /// The id of one that is forgotten.
    #[cold]
    pub(crate) fn take_statement(&mut self, key: u64) -> Option<u32> {
        self.statements.as_mut()?.remove(&key).map(|s| s.id)
    }

    /// The ids of all statements, which are forgotten.
    #[cold]
    pub(super) fn take_statements(&mut self) -> Vec<u32> {
        let known = self.statements.take().unwrap_or_default();
        known.into_values().map(|s| s.id).collect()
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
