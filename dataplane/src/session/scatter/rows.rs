//! Rows of several shards, one shard after another, in the buffers that they came in.
use super::super::answer::Answer;
use super::super::relay::step;
use super::super::{Failure, Outcome, Session};
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

/// So many bytes of an answer at first are copied, so that short answers of several shards go out in one send: copying costs less
/// than another one.
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
        for at in 0..parts.len() {
            let Some(Part { backend, walker, .. }) = parts.get_mut(at) else { break };
            let _awaited = Exchange::begin(&core);
            loop {
                if walker.in_rows() {
                    let passed = self
                        .pass_rows(backend, walker, (&mut out, &mut copied), answer)
                        .await;
                    self.after(&mut out, passed)?;
                }
                let next = self.next_packet(backend, walker.next_seq()).await;
                let mut packet = self.after(&mut out, next)?;
                let role = step(walker, packet.payload(), packet.seq)?;
                let done = walker.state() == FeedState::Done;
                let pass = match role {
                    // One that is cut within its header, or longer than a packet can be.
                    PacketRole::Row => true,
                    PacketRole::ColumnCount { .. } | PacketRole::ColumnDef | PacketRole::ColumnsEof => {
                        at == 0
                    }
                    PacketRole::RowsEnd => at == last,
                    PacketRole::Err => {
                        backend.answered(walker.summary());
                        self.send_out(&mut out);
                        self.drain_rest(parts, at + 1).await?;
                        return Err(error_of(packet.payload()).into());
                    }
                    PacketRole::Progress => false,
                    _ => {
                        return Err(sql_error(1105, "shards answered with different kinds of results").into());
                    }
                };
                if pass
                    && let Some(payload) =
                        self.in_clients_form(backend, kind, role, &mut packet, &mut changed)?
                {
                    if role == PacketRole::RowsEnd {
                        let all = sum.warnings.saturating_add(walker.summary().warnings);
                        super::super::relay::set_warnings(payload, self.capabilities, all);
                    }
                    if answer.more && matches!(role, PacketRole::RowsEnd | PacketRole::ColumnsEof) {
                        super::super::relay::set_status(payload, self.capabilities, Status::MORE_RESULTS);
                    }
                    let is_empty = sum.rows + walker.summary().rows == 0;
                    if role == PacketRole::RowsEnd && is_empty && answer.opens_empty_cursor(self.capabilities)
                    {
                        super::super::relay::set_status(payload, self.capabilities, Status::CURSOR_EXISTS);
                    }
                    frame::write_packet(&mut out, &mut answer.seq, payload);
                }
                if out.len() >= CHUNK {
                    self.client.link.send(Buf::from(std::mem::take(&mut out)));
                    self.wait_for_client().await?;
                }
                if done {
                    break;
                }
            }
            let summary = walker.summary();
            backend.answered(summary);
            sum.rows += summary.rows;
            sum.columns = summary.columns;
            sum.status = summary.status;
            sum.warnings = sum.warnings.saturating_add(summary.warnings);
        }
        self.client.link.send(Buf::from(out));
        Ok((sum, None))
    }

    /// Relays rows in the buffers that they came in, with new sequence ids, up to a packet that must be looked at. A slow client
    /// stops the reading, so that no more than a few buffers wait for it.
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
                        self.client.link.send(Buf::from(std::mem::take(out)));
                    }
                    self.client.link.send(buf);
                }
                if self.client.link.socket.unsent() >= UNSENT_MAX {
                    self.wait_for_client().await?;
                }
            }
            if ends {
                return Ok(());
            }
        }
    }
}
