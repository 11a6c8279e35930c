//! Rows that lock, of several shards. They are passed on one shard after another, but a shard's
//! error must not wait for another shard's lock: so all shards are waited for at first, each until
//! it sends a row, or its end.
use super::super::relay::step;
use super::super::{Outcome, Session};
use super::sum::whole;
use super::{Parts, error_of};
use crate::link::Packet;
use crate::pool::Exchange;
use crate::ring::Buf;
use coregate_planner::control::SqlError;
use coregate_protocol::frame;
use coregate_protocol::walker::{PacketRole, ResponseWalker};
use smallvec::SmallVec;
use std::rc::Rc;
use std::task::Poll;

/// What was read of an answer that is still to be passed on.
struct Head {
    walker: ResponseWalker,
    wire: Vec<u8>,
    done: bool,
}

type Heads = SmallVec<[Head; 2]>;

impl Session {
    /// Waits until every shard has begun to send rows, or one has an error. What was read is put
    /// back.
    pub(super) async fn await_first_rows(
        &mut self,
        parts: &mut Parts,
    ) -> Outcome<Option<SqlError>> {
        let head = |walker: &ResponseWalker| Head {
            walker: walker.clone(),
            wire: Vec::new(),
            done: false,
        };
        let mut heads: Heads = parts.iter().map(|part| head(&part.walker)).collect();
        let result = {
            let core = Rc::clone(&self.core);
            let _awaited = Exchange::begin(&core);
            self.read_first_rows(parts, &mut heads).await
        };
        let failed = match &result {
            Ok(Some((at, _))) => Some(*at),
            _ => None,
        };
        for (at, (part, head)) in parts.iter_mut().zip(heads).enumerate() {
            let stream = &mut part.backend.stream;
            if failed == Some(at) {
                part.walker = head.walker;
                part.backend.answered(part.walker.summary());
            } else if stream.is_cutting() {
                // Within a packet: what came before it is of no use any more.
                part.walker = head.walker;
            } else if !head.wire.is_empty() {
                let mut wire = head.wire;
                if let Some(rest) = stream.take_rest() {
                    wire.extend_from_slice(&rest);
                }
                stream.put_back(Buf::from(wire));
            }
        }
        Ok(result?.map(|(_, error)| error))
    }

    async fn read_first_rows(
        &self,
        parts: &mut Parts,
        heads: &mut Heads,
    ) -> Outcome<Option<(usize, SqlError)>> {
        while heads.iter().any(|head| !head.done) {
            let (at, next) = self
                .wait_for_servers(|cx| {
                    for (at, (part, head)) in parts.iter_mut().zip(heads.iter()).enumerate() {
                        if head.done {
                            continue;
                        }
                        let seq = head.walker.next_seq();
                        if let Poll::Ready(next) = part.backend.stream.poll_packet(cx, seq) {
                            return Poll::Ready((at, next));
                        }
                    }
                    Poll::Pending
                })
                .await?;
            let (Some(part), Some(head)) = (parts.get(at), heads.get_mut(at)) else { break };
            let packet = whole(next, &part.backend)?;
            match step(&mut head.walker, packet.payload(), packet.seq)? {
                PacketRole::Err => return Ok(Some((at, error_of(packet.payload())))),
                PacketRole::ColumnCount { .. }
                | PacketRole::ColumnDef
                | PacketRole::ColumnsEof
                | PacketRole::Progress => {}
                _ => head.done = true,
            }
            append(&mut head.wire, &packet);
        }
        Ok(None)
    }
}

/// As it came.
fn append(wire: &mut Vec<u8>, packet: &Packet) {
    let more = packet.payload().len() / frame::MAX_CHUNK;
    let mut seq = packet.seq.wrapping_sub(more as u8);
    frame::write_packet(wire, &mut seq, packet.payload());
}
