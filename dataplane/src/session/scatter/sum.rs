//! Counts of several shards, added up. All servers are waited for at once: the first error tells
//! what becomes of the statement, while another server may wait for a lock that only the end of the
//! transaction sets free.
use super::super::info::Info;
use super::super::lost::{stop, within};
use super::super::relay::step;
use super::super::{Outcome, Session};
use super::{Combined, Part, Parts, Work, error_of};
use crate::error::sql_error;
use crate::link::{Packet, ReadError};
use crate::pool::{Backend, Exchange};
use coregate_planner::control::SqlError;
use coregate_planner::plan::Combine;
use coregate_protocol::response::OkPacket;
use coregate_protocol::walker::{FeedState, PacketRole, Summary};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// After a server's error, the others have so long to end by themselves before they are made to.
const REST_MAX: Duration = Duration::from_millis(50);

impl Session {
    /// Reads every shard's OK. When one fails and what the others do is undone, these are stopped.
    pub(super) async fn add_up(
        &mut self,
        parts: &mut Parts,
        work: &Work<'_>,
        undoable: bool,
        info: &mut Info,
    ) -> Outcome<Combined> {
        let core = Rc::clone(&self.core);
        let error = {
            let _awaited = Exchange::begin(&core);
            self.read_parts(parts, work, info).await?
        };
        if let Some(error) = error {
            if undoable || self.transaction.is_own() {
                let rest = self.read_rest(parts, work, info);
                match within(&core, REST_MAX, rest).await {
                    Some(read) => read?,
                    None => stop_rest(&core, parts).await,
                }
            } else {
                self.read_rest(parts, work, info).await?;
            }
            return Ok((Summary::default(), Some(error)));
        }
        Ok((sum(parts, work.combine), None))
    }

    /// Whatever they answer.
    async fn read_rest(&mut self, parts: &mut Parts, work: &Work<'_>, info: &mut Info) -> Outcome {
        while self.read_parts(parts, work, info).await?.is_some() {}
        Ok(())
    }

    /// Reads answers until all are done, or one is an error.
    async fn read_parts(
        &mut self,
        parts: &mut Parts,
        work: &Work<'_>,
        info: &mut Info,
    ) -> Outcome<Option<SqlError>> {
        while parts.iter().any(|part| part.backend.busy) {
            let (at, packet) = self.first_of_parts(parts).await?;
            let Some(Part { backend, walker, place }) = parts.get_mut(at) else { break };
            let role = step(walker, packet.payload(), packet.seq)?;
            // Of those that all do the same, one is told of.
            if role == PacketRole::Ok
                && (at == 0 || work.combine == Combine::Sum)
                && let Ok(ok) = OkPacket::parse(packet.payload(), backend.capabilities)
            {
                info.add(work.plan.class, ok.info, ok.affected_rows, ok.warnings);
            }
            if let Some(returned) = work.returned()
                && (at == 0 || work.combine == Combine::Sum)
            {
                let (kind, capabilities) = (work.kind, backend.capabilities);
                returned.borrow_mut().packet(
                    *place,
                    (role, packet.payload()),
                    kind,
                    capabilities,
                )?;
            }
            match walker.state() {
                FeedState::More => {}
                FeedState::Done => backend.answered(walker.summary()),
                FeedState::LocalInfile => {
                    return Err(sql_error(
                        1235,
                        "VT12001: unsupported: LOAD DATA LOCAL into several shards",
                    )
                    .into());
                }
            }
            if role == PacketRole::Err {
                return Ok(Some(error_of(packet.payload())));
            }
        }
        Ok(None)
    }

    /// A packet of whichever server has one first.
    async fn first_of_parts(&self, parts: &mut Parts) -> Outcome<(usize, Packet)> {
        let (at, next) = self
            .wait_for_servers(|cx| {
                let owing = parts
                    .iter_mut()
                    .enumerate()
                    .filter(|(_, part)| part.backend.busy);
                for (at, part) in owing {
                    if let Poll::Ready(next) = poll_part(part, cx) {
                        return Poll::Ready((at, next));
                    }
                }
                Poll::Pending
            })
            .await?;
        let Some(part) = parts.get(at) else { return Err(super::super::Failure::Close) };
        Ok((at, whole(next, &part.backend)?))
    }
}

/// A packet, or that its server is lost.
pub(super) fn whole(next: Result<Option<Packet>, ReadError>, backend: &Backend) -> Outcome<Packet> {
    match next {
        Ok(Some(packet)) => Ok(packet),
        Ok(None) => Err(backend.lost("the server closed the connection").into()),
        Err(e) => Err(backend.lost(&e.to_string()).into()),
    }
}

fn poll_part(part: &mut Part, cx: &mut Context<'_>) -> Poll<Result<Option<Packet>, ReadError>> {
    part.backend.stream.poll_packet(cx, part.walker.next_seq())
}

/// A server that does not stop stays busy: its connection is lost.
#[cold]
async fn stop_rest(core: &Rc<crate::core::Core>, parts: &mut Parts) {
    let owing = parts
        .iter_mut()
        .filter(|part| part.backend.busy)
        .map(|part| {
            part.backend.leave(part.walker.clone());
            &mut *part.backend
        });
    stop(core, owing.collect()).await;
}

/// Of answers that are all done.
fn sum(parts: &Parts, combine: Combine) -> Summary {
    let mut sum = Summary::default();
    let counted = if combine == Combine::Sum { parts.len() } else { 1 };
    for summary in parts.iter().take(counted).map(|part| part.walker.summary()) {
        sum.affected_rows = sum.affected_rows.saturating_add(summary.affected_rows);
        sum.warnings = sum.warnings.saturating_add(summary.warnings);
        if sum.last_insert_id == 0 {
            sum.last_insert_id = summary.last_insert_id;
        }
    }
    sum
}
