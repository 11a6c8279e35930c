//! One statement on several shards: rows one shard after another, counts added up.
mod definitions;
mod gather;
mod limit;
mod load;
mod locking;
mod merge;
mod returned;
pub(super) use load::Loading;
pub(super) use merge::name_the_real;
pub(super) use returned::Returned;
mod rows;
mod sum;
mod warned;

use super::answer::{Answer, Done};
use super::info::Info;
use super::insert_id::Given;
use super::lost::{STOP_MAX, stop, within};
use super::relay::step;
use super::{Failure, Outcome, Session};
use crate::error::sql_error;
use crate::exec::{Collected, Sink};
use crate::pool::{Backend, Place};
use coregate_planner::control::SqlError;
use coregate_planner::plan::tree::{Finish, Merge};
use coregate_planner::plan::{Combine, Effects, Plan, StatementClass};
use coregate_protocol::codes;
use coregate_protocol::walker::{FeedState, PacketRole, ResponseKind, ResponseWalker, Summary};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::rc::Rc;

/// A statement that runs on several servers.
pub(super) struct Work<'p> {
    pub(super) plan: &'p Plan,
    pub(super) combine: Combine,
    pub(super) kind: ResponseKind,
    /// What goes to each server.
    pub(super) wires: Vec<(Place, Vec<u8>)>,
    /// Whose tables change, where they do.
    pub(super) keyspace: Option<String>,
    /// What becomes of rows.
    pub(super) rows: Rows<'p>,
}

/// What becomes of the rows of several servers.
pub(super) enum Rows<'p> {
    /// They are passed on, one server's after another's.
    Pass,
    Merge(Merging<'p>),
    /// Of a change: they are kept until it is committed.
    Return(Box<RefCell<Returned>>),
    /// There are none: the client sends a file.
    Load(Box<Loading>),
    /// They are kept for a server that goes on with them.
    Gather(&'p RefCell<dyn Sink>),
}

/// How the rows of several shards become one answer.
pub(super) struct Merging<'p> {
    pub(super) merge: &'p Merge,
    pub(super) skip: u64,
    pub(super) take: u64,
    /// The tables that stand for others, where one server finishes the statement.
    pub(super) finish: Option<&'p Finish>,
    /// Rows are kept here for the next step of a statement; the client gets none.
    pub(super) into: Option<&'p RefCell<Collected>>,
}

/// One server's part of a statement.
pub(super) struct Part {
    pub(super) place: Place,
    pub(super) backend: Box<Backend>,
    /// As far as its answer was read.
    pub(super) walker: ResponseWalker,
}

pub(super) type Parts = SmallVec<[Part; 2]>;

/// What came of all parts: counts added up, and the first error of a server.
pub(super) type Combined = (Summary, Option<SqlError>);

impl Session {
    /// Runs a statement on several servers and combines their answers.
    pub(super) async fn several(
        &mut self,
        mut work: Work<'_>,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        self.core.metrics().scatters.add(1);
        let is_query =
            matches!(work.plan.class, StatementClass::Select | StatementClass::SelectLocking);
        if is_query
            && work.combine == Combine::Concat
            && work.wires.len() > 1
            && let Some(limit) = self.row_limit()
            && !limit::limit_rows(&mut work, limit)
        {
            return Err(sql_error(
                1235,
                "VT12001: unsupported: a query of several shards under sql_select_limit, which \
                    each shard would apply by itself; SET sql_select_limit = DEFAULT",
            )
            .into());
        }
        self.spare_errors(&mut work);
        // Other processes hear of a change of tables before it begins, and wait with theirs.
        let _change = self.schema_begins(work.keyspace.as_deref()).await?;
        if work.wires.is_empty() {
            // A write whose every row is nowhere.
            self.send_ok(answer, Done::default());
            return Ok(Summary::default());
        }
        if work.kind == ResponseKind::Execute {
            let payloads = work.wires.iter_mut().map(|(_, payload)| payload);
            payloads.for_each(|payload| without_cursor(payload));
        }
        // Always in the same order, so that two statements never wait for each other's connections.
        work.wires.sort_by_key(|(place, _)| *place);
        let writes = work.combine == Combine::Sum
            || work.combine == Combine::First && is_change(work.plan.class);
        self.adopt_transaction();
        // One that keeps lookup tables right has opened its transaction for these already.
        let opened = writes && self.transaction.is_own();
        let several = work.wires.len() > 1;
        let own = opened || several && writes && self.stands_alone();
        if own && !opened {
            self.transaction.begin_own();
        }
        let in_parts = several || work.returned().is_some();
        let undoable =
            writes && (self.in_transaction() || !self.state.autocommit) && !own && in_parts;
        let result = self.run_parts(&mut work, undoable, answer).await;
        match result {
            Ok((summary, info, None)) => self.end_write(work, summary, info, own, answer).await,
            Ok((.., Some(mut error))) => {
                if own {
                    self.abandon_own(work.plan.effects, Some(error.code)).await;
                } else if writes && self.transaction.locked && !self.in_transaction() {
                    error.message.push_str(
                        " (other shards may have kept their part: there is no transaction while \
                            LOCK TABLES holds)",
                    );
                }
                Err(error.into())
            }
            Err(failure) => {
                if own {
                    self.abandon_own(work.plan.effects, None).await;
                }
                Err(failure)
            }
        }
    }

    /// A statement is a transaction by itself.
    fn stands_alone(&self) -> bool {
        !self.in_transaction() && self.state.autocommit && !self.transaction.locked
    }

    /// Undoes a statement that had a transaction of its own. `error`: a server's, where one has
    /// told.
    #[cold]
    async fn abandon_own(&mut self, effects: Effects, error: Option<u16>) {
        let next = self.transaction.take_next();
        self.abandon_transaction().await;
        self.transaction.restore_next(next);
        if error.is_some() {
            self.transaction
                .statement_done(self.state.autocommit, effects, error);
        }
    }

    /// Takes the connections, sends, reads all answers, and lets go of the connections again.
    pub(super) async fn run_parts(
        &mut self,
        work: &mut Work<'_>,
        undoable: bool,
        answer: &mut Answer,
    ) -> Outcome<(Summary, Info, Option<SqlError>)> {
        let mut parts = self.take_parts(work, answer).await?;
        self.core.metrics().shard_queries.add(parts.len() as u64);
        let given = Given::of_parts(work.plan, &work.wires);
        self.note_sent(&work.wires);
        for (part, (_, payload)) in parts.iter_mut().zip(&mut work.wires) {
            if undoable {
                part.backend.savepoint_ahead();
            }
            part.backend.send_owned(std::mem::take(payload));
        }
        let work = &*work;
        let mut info = Info::default();
        let early = match work.plan.class {
            StatementClass::SelectLocking if parts.len() > 1 => {
                self.await_first_rows(&mut parts).await
            }
            _ => Ok(None),
        };
        let result = match (early, work.combine) {
            (Err(failure), _) => Err(failure),
            (Ok(Some(error)), _) => Err(error.into()),
            (_, Combine::Concat | Combine::Status | Combine::Keys) => match &work.rows {
                Rows::Pass | Rows::Return(_) | Rows::Load(_) => {
                    self.concatenate(&mut parts, work.kind, answer).await
                }
                Rows::Merge(merging) => self.merge(&mut parts, merging, answer).await,
                Rows::Gather(gathered) => self.gather(&mut parts, gathered).await,
            },
            (_, Combine::Sum | Combine::First) => match &work.rows {
                Rows::Load(loading) => {
                    let loaded =
                        self.load_file(&mut parts, work, loading, (undoable, &mut info), answer);
                    Box::pin(loaded).await
                }
                _ => self.add_up(&mut parts, work, undoable, &mut info).await,
            },
        };
        let result = work.checked(result, answer);
        self.note_answered(
            parts
                .iter()
                .map(|part| (part.place, part.walker.summary().rows)),
        );
        let result = self
            .look_at_parts(&mut parts, work, (&given, &mut info), result)
            .await;
        let mut result = self.end_parts(parts, work.plan, result).await;
        if undoable {
            result = match result {
                Ok((summary, Some(error))) => Ok((summary, Some(self.undo(work, error).await))),
                Err(Failure::Sql(error)) => Err(self.undo(work, error).await.into()),
                other => other,
            };
        }
        let ended = match &result {
            Ok((_, error)) => Some(error.as_ref().map(|error| error.code)),
            Err(Failure::Sql(error)) => Some(Some(error.code)),
            Err(_) => None,
        };
        if let Some(error) = ended {
            self.transaction
                .statement_done(self.state.autocommit, work.plan.effects, error);
        }
        result.map(|(summary, error)| (summary, info, error))
    }

    fn give_parts_back(&mut self, parts: Parts) {
        for part in parts {
            self.keep_or_return(part.place, part.backend);
        }
    }

    async fn take_parts(&mut self, work: &mut Work<'_>, answer: &mut Answer) -> Outcome<Parts> {
        let mut parts = Parts::new();
        let mut at = 0;
        while let Some(place) = work.wires.get(at).map(|(place, _)| *place) {
            match self.acquire(place, work.plan.effects).await {
                Ok(mut backend) => {
                    if self.needs_insert_id(work.plan, &backend)
                        && let Err(failure) = Box::pin(self.give_insert_id(&mut backend)).await
                    {
                        let failure = self.not_prepared(place, backend, failure, answer).await;
                        self.give_parts_back(parts);
                        return Err(failure);
                    }
                    let walker = ResponseWalker::new(work.kind, backend.capabilities);
                    parts.push(Part { place, backend, walker });
                    at += 1;
                }
                // The session ends: so does what these connections take part in.
                Err(failure @ (Failure::Fatal(_) | Failure::Close)) => return Err(failure),
                Err(Failure::Sql(error)) if self.leaves_out(&error, work.wires.len() - 1) => {
                    work.wires.remove(at);
                }
                Err(failure) => {
                    self.give_parts_back(parts);
                    return Err(failure);
                }
            }
        }
        Ok(parts)
    }

    /// Lets go of the connections. Where something went wrong, some still owe their answers:
    /// outside of a transaction they are closed; in one, their servers are made to stop, so that
    /// the transaction lives on. If that fails, the transaction is lost.
    async fn end_parts(
        &mut self,
        mut parts: Parts,
        plan: &Plan,
        result: Outcome<Combined>,
    ) -> Outcome<Combined> {
        if parts.iter().any(|part| part.backend.busy) {
            for part in &mut parts {
                part.backend.leave(part.walker.clone());
            }
            if matches!(result, Err(Failure::Sql(_))) && self.stake_in(&parts) {
                let owing = parts
                    .iter_mut()
                    .map(|p| &mut *p.backend)
                    .filter(|b| b.busy && b.is_connected());
                let core = Rc::clone(&self.core);
                stop(&core, owing.collect()).await;
            }
        }
        let mut lost = None;
        for Part { place, mut backend, walker } in parts {
            if backend.busy {
                // Whoever is lost first tells the client; for the others it is over, too.
                let reason = sql_error(
                    codes::ER_NET_READ_ERROR,
                    format!("Lost connection to {}", backend.pool.tablet.alias),
                );
                let failure = self.lose(backend, reason.into());
                if matches!(failure, Failure::Fatal(_)) {
                    lost.get_or_insert(failure);
                }
                continue;
            }
            if lost.is_some() {
                // Its part of the transaction must not outlive the others'.
                drop(backend);
                continue;
            }
            if plan.effects.contains(Effects::PIN) {
                self.pin(place, &mut backend, plan.class, walker.summary());
            }
            if backend.pool.routines.concern(&plan.names) {
                self.routine_ran(place, &mut backend);
            }
            if walker.summary().error.is_some() {
                self.settle_refused(&mut backend, plan);
            }
            self.keep_or_return(place, backend);
        }
        let Some(lost) = lost else { return result };
        // Connections that were given back before the loss was seen.
        self.drop_held();
        Err(match (result, lost) {
            (Err(Failure::Sql(mut first)), Failure::Fatal(words)) => {
                let end = words.message.split_once("; ").map_or("", |(_, end)| end);
                first.message = format!("{}; {end}", first.message);
                Failure::Fatal(first)
            }
            (Err(failure @ (Failure::Fatal(_) | Failure::Close)), _) => failure,
            (_, lost) => lost,
        })
    }

    fn stake_in(&self, parts: &Parts) -> bool {
        // A cursor is lost with its connection.
        parts
            .iter()
            .any(|part| self.has_stake_in(&part.backend) || self.has_cursor_at(part.place))
    }

    /// Undoes a write that some shards have done and others not, in a transaction of the client's:
    /// the statement alone, as one server does, else the whole transaction.
    #[cold]
    async fn undo(&mut self, work: &Work<'_>, mut error: SqlError) -> SqlError {
        let core = Rc::clone(&self.core);
        let mut undone = true;
        for (place, backend) in &mut self.transaction.held {
            // Only where this statement has set the savepoint: elsewhere it may be an earlier
            // one's.
            if work.wires.iter().any(|(part, _)| part == place) {
                undone &= within(&core, STOP_MAX, backend.undo(&core))
                    .await
                    .is_some_and(|done| done.is_ok());
            }
        }
        if !undone {
            self.abandon_transaction().await;
            error
                .message
                .push_str(" (the transaction was rolled back, to undo what other shards had done)");
        }
        error
    }

    /// All parts are done.
    async fn end_write(
        &mut self,
        work: Work<'_>,
        mut summary: Summary,
        info: Info,
        own: bool,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        if work.combine == Combine::Concat {
            self.remember(work.plan.class, &summary);
            return Ok(summary);
        }
        if own {
            self.commit_held().await?;
        }
        if let Rows::Return(returned) = work.rows
            && returned.borrow().is_some()
        {
            let rows = self.send_returned(returned.into_inner(), summary.warnings, answer)?;
            let summary = Summary { rows: rows.unwrap_or_default(), columns: 1, ..summary };
            self.remember(work.plan.class, &summary);
            return Ok(summary);
        }
        self.remember(work.plan.class, &summary);
        if let Some(keyspace) = work.keyspace {
            self.note_change(work.plan);
            if let Some(warning) = self.schema_changed(keyspace).await? {
                if summary.warnings == 0 {
                    self.clear_warnings();
                }
                summary.warnings += self.warn_of(Some(warning));
            }
            self.add_advised_vindex(work.plan).await?;
        }
        let info = info.text();
        let done = Done {
            affected_rows: summary.affected_rows,
            last_insert_id: self.running.numbers_from.unwrap_or(summary.last_insert_id),
            warnings: summary.warnings,
            info: info.as_bytes(),
            ..Done::default()
        };
        self.send_ok(answer, done);
        Ok(summary)
    }

    /// Reads and drops the answers of the remaining shards, so that their connections stay usable.
    /// Gives the first error among them: a server may have ended its part of a transaction, behind
    /// rows that nobody needs.
    async fn drain_rest(&mut self, parts: &mut Parts, from: usize) -> Outcome<Option<SqlError>> {
        let mut first = None;
        for Part { backend, walker, .. } in parts.iter_mut().skip(from) {
            while walker.state() != FeedState::Done {
                let packet = self.next_packet(backend, walker.next_seq()).await?;
                if step(walker, packet.payload(), packet.seq)? == PacketRole::Err {
                    first.get_or_insert_with(|| error_of(packet.payload()));
                }
            }
            backend.answered(walker.summary());
        }
        Ok(first)
    }
}

/// Does it change rows, which can be undone?
fn is_change(class: StatementClass) -> bool {
    use StatementClass::{Delete, Insert, LoadData, Replace, Update};
    matches!(class, Insert | Replace | Update | Delete | LoadData)
}

/// Takes the wish for a cursor out of a COM_STMT_EXECUTE: rows of several servers are sent at once,
/// as a server may.
fn without_cursor(payload: &mut [u8]) {
    const FLAGS_AT: usize = 5;
    const CURSORS: u8 = 1 | 2 | 4;
    if let Some(flags) = payload.get_mut(FLAGS_AT) {
        *flags &= !CURSORS;
    }
}

pub(super) fn error_of(payload: &[u8]) -> SqlError {
    match coregate_protocol::response::ErrPacket::parse(payload) {
        Ok(e) => SqlError {
            code: e.code,
            sqlstate: e.sqlstate,
            message: coregate_planner::raw::to_text(e.message),
        },
        Err(e) => sql_error(1105, format!("a shard's error cannot be read: {e}")),
    }
}
