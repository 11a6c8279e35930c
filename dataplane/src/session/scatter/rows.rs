//! Rows of several shards, one shard after another, in the buffers that they came in.
use super::super::answer::Answer;
use super::super::relay::{clear_status, set_status, set_warnings, step};
use super::super::{Failure, Outcome, Session};
use super::definitions::Alike;
use super::{Combined, Part, Parts, error_of};
use crate::error::sql_error;
use crate::link::UNSENT_MAX;
use crate::pool::{Backend, Exchange};
use crate::ring::Buf;
use coregate_protocol::Status;
use coregate_protocol::frame;
use coregate_protocol::walker::{FeedState, PacketRole, ResponseKind, ResponseWalker, Summary};
use std::rc::Rc;

/// Rewritten packets are sent when so many bytes have gathered.
const CHUNK: usize = 64 << 10;

/// So many bytes of an answer at first are copied, so that short answers of several shards go out
/// in one send: copying costs less than another one.
const COPIED_MAX: usize = 32 << 10;

impl Session {
    /// Rows of all shards: the first shard's columns, every shard's rows, one end.
    pub(super) async fn concatenate(
        &mut self,
        parts: &mut Parts,
        kind: ResponseKind,
        answer: &mut Answer,
    ) -> Outcome<Combined> {
        let core = Rc::clone(&self.core);
        let mut sum = Summary::default();
        let (mut out, mut changed) = (Vec::new(), Vec::new());
        let mut copied = 0;
        let last = parts.len() - 1;
        let mut columns = Alike::default();
        for at in 0..parts.len() {
            columns.begin_shard();
            let _awaited = Exchange::begin(&core);
            while let Some(Part { backend, walker, .. }) = parts.get_mut(at) {
                if walker.in_rows() {
                    self.after(&mut out, columns.check())?;
                    let passed = self.pass_rows(backend, walker, (&mut out, &mut copied), answer);
                    let passed = passed.await;
                    self.after(&mut out, passed)?;
                }
                let next = self.next_packet(backend, walker.next_seq()).await;
                let mut packet = self.after(&mut out, next)?;
                let role = step(walker, packet.payload(), packet.seq)?;
                let (done, here) = (walker.state() == FeedState::Done, *walker.summary());
                if role == PacketRole::Err {
                    backend.answered(walker.summary());
                    self.send_out(&mut out);
                    self.drain_rest(parts, at + 1).await?;
                    return Err(error_of(packet.payload()).into());
                }
                columns.note(role, packet.payload(), backend.capabilities)?;
                let pass = passes(role, at == 0, at == last)?;
                let ends = pass && role == PacketRole::RowsEnd;
                let mut warnings = sum.warnings.saturating_add(here.warnings);
                if ends && here.warnings > 0 && sum.warnings > 0 {
                    backend.answered(&here);
                    warnings = self.warned_alike(parts).await.unwrap_or(warnings);
                }
                let Some(Part { backend, .. }) = parts.get_mut(at) else { break };
                if pass
                    && let Some(payload) =
                        self.in_clients_form(backend, kind, role, &mut packet, &mut changed)?
                {
                    let is_empty = sum.rows + here.rows == 0;
                    self.mark_end(payload, (role, warnings, is_empty), answer);
                    frame::write_packet(&mut out, &mut answer.seq, payload);
                }
                if out.len() >= CHUNK {
                    self.client
                        .stream
                        .link
                        .send(Buf::from(std::mem::take(&mut out)));
                    self.wait_for_client().await?;
                }
                if done {
                    break;
                }
            }
            let Some(Part { backend, walker, .. }) = parts.get_mut(at) else { break };
            let summary = walker.summary();
            if backend.busy {
                backend.answered(summary);
            }
            sum = added(sum, summary);
        }
        self.client.stream.link.send(Buf::from(out));
        Ok((sum, None))
    }

    /// Makes the end of one shard's rows, or of the columns, that of all.
    fn mark_end(
        &self,
        payload: &mut [u8],
        (role, warnings, is_empty): (PacketRole, u16, bool),
        answer: &mut Answer,
    ) {
        let ends = role == PacketRole::RowsEnd;
        if ends {
            set_warnings(payload, self.client.capabilities, warnings);
        }
        if self.transaction.reads_snapshot() && (ends || role == PacketRole::ColumnsEof) {
            // It is the statement's own, and over for the client.
            clear_status(payload, self.client.capabilities, Status::IN_TRANS);
        }
        if answer.more && (ends || role == PacketRole::ColumnsEof) {
            set_status(payload, self.client.capabilities, Status::MORE_RESULTS);
        }
        if ends && is_empty && answer.opens_empty_cursor(self.client.capabilities) {
            set_status(payload, self.client.capabilities, Status::CURSOR_EXISTS);
        }
    }

    /// Relays rows in the buffers that they came in, with new sequence ids, up to a packet that
    /// must be looked at. A slow client stops the reading, so that no more than a few buffers wait
    /// for it.
    async fn pass_rows(
        &mut self,
        backend: &mut Backend,
        walker: &mut ResponseWalker,
        (out, copied): (&mut Vec<u8>, &mut usize),
        answer: &mut Answer,
    ) -> Outcome {
        loop {
            let next = self
                .wait_for_server(backend, |backend, cx| backend.poll_answer(cx))
                .await;
            let mut buf = match next.and_then(|bytes| Ok(bytes?)) {
                Ok(buf) => buf,
                // Within a row nothing can be told any more.
                Err(_) if !walker.at_packet_end() => return Err(Failure::Close),
                Err(failure) => return Err(failure),
            };
            let passed = walker.renumber_rows(buf.bytes_mut(), &mut answer.seq)?;
            let rest = buf.get(passed..).unwrap_or_default();
            if rest.is_empty() {
                backend.stream.link.socket.expect_more(&buf);
            } else {
                backend.stream.put_back(Buf::from(rest.to_vec()));
                buf.truncate(passed);
            }
            let ends = passed == 0 || backend.stream.has_rest();
            if !buf.is_empty() {
                self.core.metrics().bytes_relayed.add(buf.len() as u64);
                *copied += buf.len();
                if *copied <= COPIED_MAX {
                    out.extend_from_slice(&buf);
                } else {
                    if !out.is_empty() {
                        self.client.stream.link.send(Buf::from(std::mem::take(out)));
                    }
                    self.client.stream.link.send(buf);
                }
                if self.client.stream.link.socket.unsent() >= UNSENT_MAX {
                    self.wait_for_client().await?;
                }
            }
            if ends {
                return Ok(());
            }
        }
    }
}

/// Does the client get a packet of this kind from the first, or last, of several shards?
fn passes(role: PacketRole, first: bool, last: bool) -> Outcome<bool> {
    Ok(match role {
        // One that is cut within its header, or longer than a packet can be.
        PacketRole::Row => true,
        PacketRole::ColumnCount { .. } | PacketRole::ColumnDef | PacketRole::ColumnsEof => first,
        PacketRole::RowsEnd => last,
        PacketRole::Progress => false,
        _ => return Err(sql_error(1105, "shards answered with different kinds of results").into()),
    })
}

/// What one shard's rows add to those before.
fn added(sum: Summary, shard: &Summary) -> Summary {
    Summary {
        rows: sum.rows + shard.rows,
        columns: shard.columns,
        status: shard.status,
        warnings: sum.warnings.saturating_add(shard.warnings),
        ..sum
    }
}
