//! Relaying answers. A backend's bytes go to the client as they came; only headers are looked at,
//! to find the end.
use super::answer::Answer;
use super::lost::stopped;
use super::{Failure, Interrupt, Outcome, Session};
use crate::error::BackendError;
use crate::link::UNSENT_MAX;
use crate::pool::{Backend, Exchange};
use crate::ring::Buf;
use coregate_protocol::codec::Reader;
use coregate_protocol::frame;
use coregate_protocol::response::{Translated, translate};
use coregate_protocol::walker::{FeedState, PacketRole, ResponseKind, ResponseWalker, Summary};
use coregate_protocol::{Capabilities, Status};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Rewritten packets are sent when so many bytes have gathered.
const CHUNK: usize = 32 << 10;

/// What comes first while a server works.
enum Event<T> {
    Answer(T),
    ClientGone,
    Interrupt(Interrupt),
}

impl Session {
    /// Relays the answer to what was just sent.
    #[inline]
    pub(super) async fn relay(
        &mut self,
        backend: &mut Backend,
        kind: ResponseKind,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        if !answer.is_plain(backend.stream.answers_from()) || backend.is_older {
            return Box::pin(self.relay_rewritten(backend, kind, answer)).await;
        }
        let core = Rc::clone(&self.core);
        let _awaited = Exchange::begin(&core);
        let mut walker = ResponseWalker::new(kind, backend.capabilities);
        let mut relayed = false;
        loop {
            let mut buf = match self.next_bytes(backend).await {
                Event::Answer(Ok(buf)) => buf,
                other => {
                    if self.stop(other, backend, &walker, relayed, answer)? {
                        continue;
                    }
                    return Err(Failure::Close);
                }
            };
            let feed = match walker.feed(&buf) {
                Ok(feed) => feed,
                Err(e) => {
                    return Err(self.mid_answer(BackendError::from(e), &walker, relayed, answer));
                }
            };
            if feed.consumed < buf.len() {
                // More than the answer: this server cannot be trusted with another statement.
                backend.tainted = true;
                buf.truncate(feed.consumed);
            }
            core.metrics().bytes_relayed.add(buf.len() as u64);
            relayed = true;
            match feed.state {
                FeedState::Done => {
                    backend.answered(walker.summary());
                    self.copy_for_others(&buf, true);
                    if walker.summary().error.is_some() {
                        self.note_error_packet(&buf);
                    }
                    self.client.stream.link.send(buf);
                    return Ok(*walker.summary());
                }
                FeedState::More => {
                    backend.stream.link.socket.expect_more(&buf);
                    self.copy_for_others(&buf, false);
                    self.client.stream.link.send(buf);
                    if self.client.stream.link.socket.unsent() >= UNSENT_MAX {
                        self.keep_from_others();
                        self.wait_for_client().await?;
                    }
                }
                FeedState::LocalInfile => {
                    self.client.stream.link.send(buf);
                    let seq = walker.next_seq();
                    let (last, _) = Box::pin(self.relay_file(backend, seq, seq)).await?;
                    walker.infile_sent(last);
                }
            }
        }
    }

    #[inline]
    async fn next_bytes(&mut self, backend: &mut Backend) -> Event<Result<Buf, BackendError>> {
        self.first_of(|cx| backend.poll_answer(cx)).await
    }

    #[inline]
    async fn first_of<T>(&self, mut answer: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Event<T> {
        let (client, handle) = (&self.client.stream, &self.client.handle);
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answer(cx) {
                return Poll::Ready(Event::Answer(answer));
            }
            if client.poll_gone(cx).is_ready() {
                return Poll::Ready(Event::ClientGone);
            }
            handle.poll_interrupt(cx).map(Event::Interrupt)
        })
        .await
    }

    /// Waits for something of a server's, unless the client goes or the statement is ended.
    pub(super) async fn wait_for_server<T>(
        &self,
        backend: &mut Backend,
        mut poll: impl FnMut(&mut Backend, &mut Context<'_>) -> Poll<T>,
    ) -> Outcome<T> {
        self.wait_for_servers(|cx| poll(backend, cx)).await
    }

    /// The same of several servers.
    #[inline]
    pub(super) async fn wait_for_servers<T>(
        &self,
        poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Outcome<T> {
        match self.first_of(poll).await {
            Event::Answer(answer) => Ok(answer),
            Event::ClientGone => Err(Failure::Close),
            Event::Interrupt(why) => Err(stopped(&self.client.handle, why)),
        }
    }

    /// Somebody asks the session to stop while a server works. `Ok`: the server's answer will tell.
    #[cold]
    fn interrupted(&self, backend: &Backend, why: Interrupt) -> Outcome {
        match why {
            Interrupt::KillQuery => {
                // The server ends the statement with error 1317. If it does not, the time limit
                // ends it.
                self.client.handle.acknowledge();
                self.client.handle.must_end_soon(&self.core);
                let (core, pool) = (Rc::clone(&self.core), Rc::clone(&backend.pool));
                crate::executor::spawn(crate::pool::kill_query(
                    core,
                    pool,
                    backend.thread_id,
                    false,
                ));
                self.core.ring.mark_runnable();
                Ok(())
            }
            _ => Err(stopped(&self.client.handle, why)),
        }
    }

    /// Something else than bytes came. `true`: go on waiting.
    #[cold]
    fn stop(
        &mut self,
        event: Event<Result<Buf, BackendError>>,
        backend: &mut Backend,
        walker: &ResponseWalker,
        relayed: bool,
        answer: &mut Answer,
    ) -> Outcome<bool> {
        match event {
            Event::Answer(Ok(_)) => Ok(true),
            Event::Answer(Err(error)) => Err(self.mid_answer(error, walker, relayed, answer)),
            Event::ClientGone => Err(Failure::Close),
            Event::Interrupt(why) => match self.interrupted(backend, why) {
                Ok(()) => Ok(true),
                Err(Failure::Sql(error)) => {
                    backend.leave(walker.clone());
                    Err(self.mid_answer_sql(error, walker, relayed, answer))
                }
                Err(Failure::Fatal(error)) => {
                    match self.mid_answer_sql(error, walker, relayed, answer) {
                        Failure::Sql(error) => Err(Failure::Fatal(error)),
                        other => Err(other),
                    }
                }
                Err(Failure::Close) => Err(Failure::Close),
            },
        }
    }

    fn mid_answer(
        &mut self,
        error: BackendError,
        walker: &ResponseWalker,
        relayed: bool,
        answer: &mut Answer,
    ) -> Failure {
        self.mid_answer_sql(error.to_sql(), walker, relayed, answer)
    }

    /// An error after part of an answer was relayed: it can be told between two packets, else only
    /// by closing.
    fn mid_answer_sql(
        &mut self,
        error: coregate_planner::control::SqlError,
        walker: &ResponseWalker,
        relayed: bool,
        answer: &mut Answer,
    ) -> Failure {
        if !relayed {
            return Failure::Sql(error);
        }
        if walker.at_packet_end() {
            answer.seq = walker.next_seq();
            return Failure::Sql(error);
        }
        Failure::Close
    }

    /// A slow client slows its backend: nothing is read before it has taken what waits.
    pub(super) async fn wait_for_client(&mut self) -> Outcome {
        let (client, handle) = (&self.client.stream, &self.client.handle);
        poll_fn(|cx| {
            if let Poll::Ready(result) = client.link.socket.poll_sendable(cx, UNSENT_MAX / 2) {
                return Poll::Ready(result.map_err(Failure::from));
            }
            if client.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Failure::Close));
            }
            match handle.poll_interrupt(cx) {
                Poll::Ready(Interrupt::KillQuery) | Poll::Pending => Poll::Pending,
                Poll::Ready(_) => Poll::Ready(Err(Failure::Close)),
            }
        })
        .await
    }

    /// The same, packet by packet, with new sequence ids, the flag that more results follow, and in
    /// the client's form if the server is older than that.
    async fn relay_rewritten(
        &mut self,
        backend: &mut Backend,
        kind: ResponseKind,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let core = Rc::clone(&self.core);
        let _awaited = Exchange::begin(&core);
        let mut walker = ResponseWalker::new(kind, backend.capabilities);
        let (mut out, mut changed) = (Vec::new(), Vec::new());
        loop {
            let next = self.next_packet(backend, walker.next_seq()).await;
            if matches!(next, Err(Failure::Sql(_))) {
                backend.leave(walker.clone());
            }
            let mut packet = self.after(&mut out, next)?;
            let role = step(&mut walker, packet.payload(), packet.seq)?;
            let state = walker.state();
            if answer.variables && role == PacketRole::Row {
                let row = self.own_variable(packet.payload(), answer.binary);
                if let Some(row) = row {
                    frame::write_packet(&mut out, &mut answer.seq, &row);
                    continue;
                }
            }
            if let Some(payload) =
                self.in_clients_form(backend, kind, role, &mut packet, &mut changed)?
            {
                if answer.more
                    && matches!(role, PacketRole::Ok | PacketRole::RowsEnd | PacketRole::ColumnsEof)
                {
                    set_status(payload, self.client.capabilities, Status::MORE_RESULTS);
                }
                frame::write_packet(&mut out, &mut answer.seq, payload);
            }
            if role == PacketRole::Err {
                self.note_error(&super::scatter::error_of(packet.payload()));
            }
            if state != FeedState::More || out.len() >= CHUNK {
                self.client
                    .stream
                    .link
                    .send(Buf::from(std::mem::take(&mut out)));
                self.wait_for_client().await?;
            }
            match state {
                FeedState::More => {}
                FeedState::Done => {
                    backend.answered(walker.summary());
                    return Ok(*walker.summary());
                }
                // The file's packets go on with the numbers of the request for it.
                FeedState::LocalInfile => {
                    let ids = (answer.seq, walker.next_seq());
                    let (from, to) = Box::pin(self.relay_file(backend, ids.0, ids.1)).await?;
                    walker.infile_sent(to);
                    answer.seq = from.wrapping_add(1);
                }
            }
        }
    }

    /// Before an error is told, what was written has to go: its packets are counted.
    pub(super) fn after<T>(&mut self, out: &mut Vec<u8>, result: Outcome<T>) -> Outcome<T> {
        if result.is_err() {
            self.send_out(out);
        }
        result
    }

    /// Sends the packets that have gathered.
    pub(super) fn send_out(&mut self, out: &mut Vec<u8>) {
        if !out.is_empty() {
            self.client.stream.link.send(Buf::from(std::mem::take(out)));
        }
    }

    /// A packet of an answer as this client takes it: `None` if its form of the answer has no such
    /// packet.
    #[inline]
    pub(super) fn in_clients_form<'p>(
        &self,
        backend: &Backend,
        kind: ResponseKind,
        role: PacketRole,
        packet: &'p mut crate::link::Packet,
        changed: &'p mut Vec<u8>,
    ) -> Outcome<Option<&'p mut [u8]>> {
        if !backend.is_older {
            return Ok(Some(packet.payload_mut()));
        }
        changed.clear();
        let (from, to) = (backend.capabilities, self.client.capabilities);
        Ok(match translate(kind, role, packet.payload(), from, to, changed)? {
            Translated::Same => Some(packet.payload_mut()),
            Translated::Left => None,
            Translated::Rewritten => Some(changed),
        })
    }

    /// One packet of a backend's answer.
    pub(super) async fn next_packet(
        &mut self,
        backend: &mut Backend,
        seq: u8,
    ) -> Outcome<crate::link::Packet> {
        let next = self.wait_for_server(backend, |backend, cx| backend.stream.poll_packet(cx, seq));
        match next.await? {
            Ok(Some(packet)) => Ok(packet),
            Ok(None) => Err(backend.lost("the server closed the connection").into()),
            Err(e) => Err(backend.lost(&e.to_string()).into()),
        }
    }
}

/// As [`crate::link::step`].
pub(super) fn step(walker: &mut ResponseWalker, payload: &[u8], seq: u8) -> Outcome<PacketRole> {
    Ok(crate::link::step(walker, payload, seq)?)
}

/// Sets a flag of the status's low byte in an OK or EOF packet.
pub(super) fn set_status(payload: &mut [u8], capabilities: Capabilities, flag: Status) {
    if let Some(at) = status_at(payload, capabilities)
        && let Some(byte) = payload.get_mut(at)
    {
        *byte |= flag.bits() as u8;
    }
}

/// Clears a flag of the status's low byte in an OK or EOF packet.
pub(super) fn clear_status(payload: &mut [u8], capabilities: Capabilities, flag: Status) {
    if let Some(at) = status_at(payload, capabilities)
        && let Some(byte) = payload.get_mut(at)
    {
        *byte &= !(flag.bits() as u8);
    }
}

/// Sets the number of warnings in an OK or EOF packet.
pub(super) fn set_warnings(payload: &mut [u8], capabilities: Capabilities, count: u16) {
    let eof = payload.first() == Some(&0xFE) && !capabilities.contains(Capabilities::DEPRECATE_EOF);
    let at = if eof { Some(1) } else { status_at(payload, capabilities).map(|at| at + 2) };
    if let Some(place) = at.and_then(|at| payload.get_mut(at..at + 2)) {
        place.copy_from_slice(&count.to_le_bytes());
    }
}

/// Where the status flags stand in an OK or EOF packet.
fn status_at(payload: &[u8], capabilities: Capabilities) -> Option<usize> {
    let eof = payload.first() == Some(&0xFE) && !capabilities.contains(Capabilities::DEPRECATE_EOF);
    if eof {
        return (payload.len() >= 5).then_some(3);
    }
    let mut reader = Reader::new(payload);
    reader.u8("OK").ok()?;
    reader.lenenc_int("affected rows").ok()?;
    reader.lenenc_int("last insert id").ok()?;
    Some(reader.position())
}
