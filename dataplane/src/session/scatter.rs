//! One statement on several shards: rows one shard after another, counts added up.
use super::answer::{Answer, Done};
use super::info::Info;
use super::relay::step;
use super::transaction::may_end_transaction;
use super::{Failure, Outcome, Session};
use crate::error::sql_error;
use crate::link::UNSENT_MAX;
use crate::pool::{Backend, Exchange, Place};
use crate::ring::Buf;
use coregate_planner::plan::{Combine, Effects, Plan, Route, StatementClass};
use coregate_protocol::Status;
use coregate_protocol::frame;
use coregate_protocol::response::OkPacket;
use coregate_protocol::walker::{FeedState, PacketRole, ResponseKind, ResponseWalker, Summary};
use smallvec::SmallVec;
use std::rc::Rc;

/// Rewritten packets are sent when so many bytes have gathered.
const CHUNK: usize = 64 << 10;

type Taken = SmallVec<[(Place, Box<Backend>); 4]>;

impl Session {
    /// Runs a statement on several servers and combines their answers.
    pub(super) async fn several(
        &mut self,
        plan: &Plan,
        route: &Route,
        mut wires: Vec<(Place, Vec<u8>)>,
        kind: ResponseKind,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        self.core.metrics().scatters.add(1);
        let is_query = matches!(plan.class, StatementClass::Select | StatementClass::SelectLocking);
        if is_query && route.combine == Combine::Concat && wires.len() > 1 && self.limits_rows() {
            return Err(sql_error(
                1235,
                "VT12001: unsupported: a query of several shards under sql_select_limit, which each shard would apply by itself; \
                 SET sql_select_limit = DEFAULT",
            )
            .into());
        }
        if wires.is_empty() {
            // A write whose every row is nowhere.
            self.send_ok(answer, Done::default());
            return Ok(Summary::default());
        }
        if kind == ResponseKind::Execute {
            wires
                .iter_mut()
                .for_each(|(_, payload)| without_cursor(payload));
        }
        // Always in the same order, so that two statements never wait for each other's connections.
        wires.sort_by_key(|(place, _)| *place);
        let writes = route.combine == Combine::Sum;
        let own_transaction = writes && !self.in_transaction() && self.autocommit && !self.transaction.locked;
        if own_transaction {
            self.transaction.begin_implicit();
        }
        let mut taken: Taken = SmallVec::new();
        let mut failure = None;
        for (place, _) in &wires {
            match self.acquire(*place, plan.class).await {
                Ok(backend) => taken.push((*place, backend)),
                Err(e) => {
                    failure = Some(e);
                    break;
                }
            }
        }
        if let Some(failure) = failure {
            for (place, backend) in taken {
                self.keep_or_return(place, backend);
            }
            if own_transaction {
                self.abandon_transaction().await;
            }
            return Err(failure);
        }
        self.core.metrics().shard_queries.add(wires.len() as u64);
        for ((_, backend), (_, payload)) in taken.iter_mut().zip(&wires) {
            backend.send_payload(payload);
        }
        let mut info = Info::default();
        let result = match route.combine {
            Combine::Concat => self.concatenate(&mut taken, kind, answer).await,
            Combine::Sum | Combine::First => {
                self.add_up(&mut taken, kind, route.combine, plan.class, &mut info)
                    .await
            }
        };
        let mut broken = None;
        for (place, backend) in taken {
            if backend.busy {
                let failure = Failure::Close;
                broken = Some(self.broken(backend, failure));
            } else {
                if plan.effects.contains(Effects::PIN) {
                    self.pinned = true;
                }
                self.keep_or_return(place, backend);
            }
        }
        let (summary, error) = match result {
            Ok(both) => both,
            Err(failure) => {
                if own_transaction || (writes && broken.is_some()) {
                    self.abandon_transaction().await;
                }
                if let Failure::Sql(error) = &failure {
                    self.transaction.in_doubt = may_end_transaction(error.code);
                }
                return Err(failure);
            }
        };
        if route.combine == Combine::Concat {
            self.remember(plan.class, &summary);
            return Ok(summary);
        }
        self.end_write(plan, route, summary, error, own_transaction, &info.text(), answer)
            .await
    }

    /// Has the session set a limit to the rows of a query?
    fn limits_rows(&self) -> bool {
        let set = self.settings.get("sql_select_limit");
        set.is_some_and(|sql| !sql.trim_end().ends_with("18446744073709551615"))
    }

    #[allow(clippy::too_many_arguments)]
    async fn end_write(
        &mut self,
        plan: &Plan,
        route: &Route,
        summary: Summary,
        error: Option<coregate_planner::control::SqlError>,
        own_transaction: bool,
        info: &str,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        if let Some(mut error) = error {
            if own_transaction {
                self.abandon_transaction().await;
            } else if self.transaction.locked && route.combine == Combine::Sum && !self.in_transaction() {
                error.message.push_str(
                    " (other shards may have kept their part: there is no transaction while LOCK TABLES holds)",
                );
            } else if route.combine == Combine::Sum && self.in_transaction() {
                // Some shards may have done their part; leaving it there would be half a statement.
                self.abandon_transaction().await;
                error
                    .message
                    .push_str(" (the transaction was rolled back, to undo what other shards had done)");
            }
            return Err(error.into());
        }
        if own_transaction {
            self.commit_held().await?;
        }
        self.remember(plan.class, &summary);
        if plan.effects.contains(Effects::SCHEMA_CHANGE) {
            self.schema_changed(route).await?;
        }
        let done = Done {
            affected_rows: summary.affected_rows,
            last_insert_id: summary.last_insert_id,
            warnings: summary.warnings,
            info: info.as_bytes(),
        };
        self.send_ok(answer, done);
        Ok(summary)
    }

    /// Reads every shard's OK, all of them even when one fails.
    async fn add_up(
        &mut self,
        taken: &mut Taken,
        kind: ResponseKind,
        combine: Combine,
        class: StatementClass,
        info: &mut Info,
    ) -> Outcome<(Summary, Option<coregate_planner::control::SqlError>)> {
        let core = Rc::clone(&self.core);
        let mut sum = Summary::default();
        let mut first_error = None;
        for (at, (_, backend)) in taken.iter_mut().enumerate() {
            let _awaited = Exchange::begin(&core);
            let mut walker = ResponseWalker::new(kind, backend.capabilities);
            while walker.state() != FeedState::Done {
                let packet = self.next_packet(backend, walker.next_seq()).await?;
                let role = step(&mut walker, packet.payload(), packet.seq)?;
                if role == PacketRole::Ok
                    && let Ok(ok) = OkPacket::parse(packet.payload(), backend.capabilities)
                {
                    info.add(class, ok.info, ok.affected_rows, ok.warnings);
                }
                if role == PacketRole::Err && first_error.is_none() {
                    first_error = Some(error_of(packet.payload()));
                }
                if walker.state() == FeedState::LocalInfile {
                    return Err(
                        sql_error(1235, "VT12001: unsupported: LOAD DATA LOCAL into several shards").into()
                    );
                }
            }
            let summary = walker.summary();
            backend.answered(summary);
            if combine == Combine::Sum || at == 0 {
                sum.affected_rows = sum.affected_rows.saturating_add(summary.affected_rows);
                sum.warnings = sum.warnings.saturating_add(summary.warnings);
                if sum.last_insert_id == 0 {
                    sum.last_insert_id = summary.last_insert_id;
                }
            }
        }
        Ok((sum, first_error))
    }

    /// Rows of all shards: the first shard's columns, every shard's rows, one end.
    async fn concatenate(
        &mut self,
        taken: &mut Taken,
        kind: ResponseKind,
        answer: &mut Answer,
    ) -> Outcome<(Summary, Option<coregate_planner::control::SqlError>)> {
        let core = Rc::clone(&self.core);
        let mut sum = Summary::default();
        let (mut out, mut changed) = (Vec::new(), Vec::new());
        let last = taken.len() - 1;
        for (at, (_, backend)) in taken.iter_mut().enumerate() {
            let _awaited = Exchange::begin(&core);
            let mut walker = ResponseWalker::new(kind, backend.capabilities);
            loop {
                if walker.in_rows() {
                    if !out.is_empty() {
                        self.client.link.send(Buf::from(std::mem::take(&mut out)));
                    }
                    self.pass_rows(backend, &mut walker, answer).await?;
                }
                let next = self.next_packet(backend, walker.next_seq()).await;
                let mut packet = self.after(&mut out, next)?;
                let role = step(&mut walker, packet.payload(), packet.seq)?;
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
                        if !out.is_empty() {
                            self.client.link.send(Buf::from(std::mem::take(&mut out)));
                        }
                        self.drain_rest(taken, at + 1, kind).await?;
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
                    if answer.more && matches!(role, PacketRole::RowsEnd | PacketRole::ColumnsEof) {
                        super::relay::set_status(payload, self.capabilities, Status::MORE_RESULTS);
                    }
                    let is_empty = sum.rows + walker.summary().rows == 0;
                    if role == PacketRole::RowsEnd && is_empty && answer.opens_empty_cursor(self.capabilities)
                    {
                        super::relay::set_status(payload, self.capabilities, Status::CURSOR_EXISTS);
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
                self.client.link.send(buf);
                if self.client.link.socket.unsent() >= UNSENT_MAX {
                    self.wait_for_client().await?;
                }
            }
            if ends {
                return Ok(());
            }
        }
    }

    /// Reads and drops the answers of the remaining shards, so that their connections stay usable.
    async fn drain_rest(&mut self, taken: &mut Taken, from: usize, kind: ResponseKind) -> Outcome {
        for (_, backend) in taken.iter_mut().skip(from) {
            let mut walker = ResponseWalker::new(kind, backend.capabilities);
            while walker.state() != FeedState::Done {
                let packet = self.next_packet(backend, walker.next_seq()).await?;
                step(&mut walker, packet.payload(), packet.seq)?;
            }
            backend.answered(walker.summary());
        }
        Ok(())
    }
}

/// Takes the wish for a cursor out of a COM_STMT_EXECUTE: rows of several servers are sent at once, as a server may.
fn without_cursor(payload: &mut [u8]) {
    const FLAGS_AT: usize = 5;
    const CURSORS: u8 = 1 | 2 | 4;
    if let Some(flags) = payload.get_mut(FLAGS_AT) {
        *flags &= !CURSORS;
    }
}

pub(super) fn error_of(payload: &[u8]) -> coregate_planner::control::SqlError {
    match coregate_protocol::response::ErrPacket::parse(payload) {
        Ok(e) => coregate_planner::control::SqlError {
            code: e.code,
            sqlstate: e.sqlstate,
            message: String::from_utf8_lossy(e.message).into_owned(),
        },
        Err(e) => sql_error(1105, format!("a shard's error cannot be read: {e}")),
    }
}
