//! Running text statements: one command may hold several.
use super::answer::Answer;
use super::plan::Planned;
use super::run::Form;
use super::wire::{TEXT_AT, Wire};
use super::{Failure, Outcome, Session, TransactionMode};
use crate::link::Packet;
use crate::pool::{Backend, Place, TabletPool};
use coregate_planner::PlanError;
use coregate_planner::fingerprint::second_statement;
use coregate_planner::mention;
use coregate_planner::plan::{Effects, Plan, StatementClass};
use coregate_protocol::codes;
use coregate_protocol::walker::{ResponseKind, Summary};
use std::rc::Rc;
use std::sync::atomic::Ordering;

/// A syntax error, and names that there are not: hardly anything of the statement has run.
const NOT_RUN: [u16; 4] = [1064, 1049, 1305, 1243];

impl Session {
    /// COM_QUERY.
    pub(super) async fn query(&mut self, packet: Packet) -> Outcome {
        let planned = match self.plan(packet.payload().get(TEXT_AT..).unwrap_or_default()) {
            Ok(planned) => planned,
            Err(failure) => {
                let text = packet.payload().get(TEXT_AT..).unwrap_or_default();
                match Box::pin(self.plan_looking_up(text, failure)).await {
                    Ok(planned) => planned,
                    Err(failure) => return self.fail(&mut Answer::to(&packet), failure),
                }
            }
        };
        if planned.more {
            return Box::pin(self.queries(packet, planned)).await;
        }
        let mut answer = Answer::to(&packet);
        self.core.metrics().queries.add(1);
        let form = Form::Packet(packet, planned.rows);
        let result = self.execute(planned, form, &mut answer).await;
        self.finish(&mut answer, result)
    }

    /// COM_QUERY with several statements: each has its own plan and its own answer; the first error
    /// ends it.
    async fn queries(&mut self, packet: Packet, first: Planned) -> Outcome {
        let mut answer = Answer::to(&packet);
        let text = packet.payload().get(TEXT_AT..).unwrap_or_default();
        if !self.client.multi_statements {
            if let Some(at) = second_statement(text, first.end, self.state.sql_mode) {
                return self.fail(&mut answer, PlanError::syntax(text, at).into());
            }
            // Comments: the statement is alone.
            let sql = text.get(..first.end).unwrap_or(text).to_vec();
            self.core.metrics().queries.add(1);
            let result = self.execute(first, Form::Text(&sql), &mut answer).await;
            return self.finish(&mut answer, result);
        }
        let mut at = 0;
        let mut planned = first;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let sql = rest.get(..planned.end).unwrap_or(rest).to_vec();
            at += planned.end + 1;
            answer.more = planned.more;
            let more = planned.more;
            self.core.metrics().queries.add(1);
            let result = self.execute(planned, Form::Text(&sql), &mut answer).await;
            let failed = result.is_err();
            self.finish(&mut answer, result)?;
            self.look_behind().await?;
            if failed || !more || self.transaction.last_failed {
                return Ok(());
            }
            let rest = text.get(at..).unwrap_or_default();
            planned = match self.planned(rest).await {
                Ok(planned) => planned,
                Err(failure) => {
                    answer.more = false;
                    return self.fail(&mut answer, failure);
                }
            };
        }
    }

    /// Ends a statement: a failure becomes an error packet, or the end of the connection.
    pub(super) fn finish(&mut self, answer: &mut Answer, result: Outcome) -> Outcome {
        match result {
            Ok(()) => Ok(()),
            Err(failure) => self.fail(answer, failure),
        }
    }

    pub(super) fn fail(&mut self, answer: &mut Answer, failure: Failure) -> Outcome {
        self.core.metrics().errors.add(1);
        match failure {
            Failure::Sql(mut error) => {
                if error.code == codes::ER_PARSE_ERROR {
                    self.as_the_server(&mut error.message);
                }
                self.note_error(&error);
                self.last.row_count = -1;
                self.send_error(answer, &error);
                Ok(())
            }
            Failure::Fatal(error) => {
                self.send_error(answer, &error);
                Err(Failure::Close)
            }
            Failure::Close => Err(Failure::Close),
        }
    }

    /// Runs a statement on one server and relays its answer.
    #[inline]
    pub(super) async fn one(
        &mut self,
        plan: &Plan,
        place: Place,
        wire: Wire,
        kind: ResponseKind,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let mut backend = match self.ready(place) {
            Some(backend) => backend,
            None => Box::pin(self.acquire(place, plan.effects)).await?,
        };
        if self.needs_insert_id(plan, &backend)
            && let Err(failure) = Box::pin(self.give_insert_id(&mut backend)).await
        {
            return Err(self.not_prepared(place, backend, failure, answer).await);
        }
        let given = self.given(plan, &wire);
        self.core.metrics().shard_queries.add(1);
        backend.send(wire.into_buf());
        answer.variables = Self::lists_variables(plan);
        let summary = self.relay(&mut backend, kind, answer).await;
        if matches!(&summary, Ok(summary) if summary.warnings > 0 && summary.error.is_none()) {
            Box::pin(self.fetch_warnings(&mut backend)).await;
        }
        if let Ok(summary) = &summary {
            self.note_insert_id(&mut backend, plan, summary, &given)
                .await;
        }
        let summary = match summary {
            Ok(summary) => {
                self.settle(place, backend, plan, &summary);
                summary
            }
            Err(failure) => Box::pin(self.give_up(place, backend, failure, answer)).await?,
        };
        self.remember(plan.class, &summary);
        Ok(summary)
    }

    /// A connection that can be used as it is, without waiting for anything.
    #[inline]
    pub(super) fn ready(&mut self, place: Place) -> Option<Box<Backend>> {
        // With autocommit=0, the statement begins a transaction, whose first shard must be known to
        // those that join it.
        let begins = !self.state.autocommit
            && (self.transaction_mode() != TransactionMode::Multi
                || self.core.config().transaction_limit_per_user < 1.0);
        if !self.transaction.held.is_empty() || self.transaction.concerns_next() || begins {
            return None;
        }
        let pool = self.pool_of(place)?;
        if self.reads.causal.is_some() && self.is_behind(place, &pool) {
            return None;
        }
        let changes = self.core.routine_changes();
        if !pool.routines.is_current(changes) {
            return None;
        }
        let mut backend = match place.is_replica() {
            false => pool.try_take(self.state.flavour, &self.state.settings)?,
            true => pool.try_take(self.state.flavour, &self.settings_at(place))?,
        };
        backend.routines_seen = changes;
        Some(backend)
    }

    /// After an answer that was read to its end: who has the connection next?
    #[inline]
    pub(super) fn settle(
        &mut self,
        place: Place,
        mut backend: Box<Backend>,
        plan: &Plan,
        summary: &Summary,
    ) {
        if plan
            .effects
            .intersects(Effects::PIN | Effects::ASSIGNS_VARIABLES)
        {
            self.pin(place, &mut backend, plan.class, summary);
        }
        if plan.effects.contains(Effects::XA) {
            self.transaction.has_xa_at(place);
        }
        if backend.pool.routines.concern(&plan.names) {
            self.routine_ran(place, &mut backend);
        }
        if matches!(plan.class, StatementClass::Ddl | StatementClass::Other) {
            self.note_change(plan);
        }
        if summary.error.is_some() {
            self.settle_refused(&mut backend, plan);
        }
        if plan.effects.contains(Effects::CALC_FOUND_ROWS) && summary.error.is_none() {
            self.transaction.found_rows_at = Some(place);
        }
        self.keep_or_return(place, backend);
        let error = summary.error.map(|(code, _)| code);
        self.transaction
            .statement_done(self.state.autocommit, plan.effects, error);
    }

    /// After an error that opens no transaction and could end none, the state is known.
    #[cold]
    pub(super) fn settle_refused(&mut self, backend: &mut Backend, plan: &Plan) {
        use StatementClass::{Delete, Insert, Replace, Select, SelectLocking, Show, Update};
        let plain = matches!(
            plan.class,
            Select | SelectLocking | Insert | Replace | Update | Delete | Show
        );
        if plain && self.state.autocommit && !backend.in_transaction && !self.transaction.is_open()
        {
            backend.unsure = false;
        }
    }

    /// A routine may have set variables and made temporary tables, which its session sees from then
    /// on.
    #[cold]
    pub(super) fn routine_ran(&mut self, place: Place, backend: &mut Backend) {
        self.transaction.pinned = true;
        self.transaction.state_at = Some(place);
        backend.unknown_state = true;
        // Whatever it did, it may have written.
        backend.wrote = true;
    }

    /// Tables, routines, triggers or views may be others now, on every core.
    #[cold]
    pub(super) fn note_change(&self, plan: &Plan) {
        self.core.shared.ddl.fetch_add(1, Ordering::Relaxed);
        let words = ["trigger", "function", "view", "alter", "rename"];
        let about = |word: &str| {
            plan.names
                .binary_search(&mention::hash(word.as_bytes()))
                .is_ok()
        };
        if words.into_iter().any(about) || plan.names.first() == Some(&mention::ANY) {
            self.core.shared.routines.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A statement has left something on its connection that only this session may see, and that
    /// cannot be made again elsewhere: the connection stays with the session, and is closed after
    /// it.
    #[cold]
    pub(super) fn pin(
        &mut self,
        place: Place,
        backend: &mut Backend,
        class: StatementClass,
        summary: &Summary,
    ) {
        use StatementClass as C;
        if matches!(class, C::Call | C::Prepare | C::Other) {
            // It may have run other statements. Looked for only where the connection is kept.
            self.transaction.state_at = Some(place);
            backend.unknown_state = true;
        }
        // What failed may have taken its locks before. What makes no sense ran nothing, unless a
        // routine came to it.
        let ran = summary
            .error
            .is_none_or(|(code, _)| !NOT_RUN.contains(&code) || class == C::Call);
        self.transaction.pinned |= ran;
        backend.tainted |= ran;
    }

    /// What only the connection of the last statement knows is read from it before another
    /// statement runs there; the client has its answer already.
    #[inline]
    pub(super) async fn look_behind(&mut self) -> Outcome {
        let unsure = self
            .transaction
            .held
            .iter()
            .any(|(_, backend)| backend.unsure || backend.ended_by_error);
        let unended = self.transaction.reads_snapshot();
        if unsure
            || unended
            || self.transaction.found_rows_at.is_some()
            || self.transaction.state_at.is_some()
        {
            return Box::pin(async {
                if unended {
                    // Of a statement that was not planned in the end.
                    self.abandon_transaction().await;
                }
                // First, because any other answer would tell the state unseen.
                self.resolve_doubt().await?;
                self.read_state().await;
                self.read_found_rows().await;
                Ok(())
            })
            .await;
        }
        Ok(())
    }

    #[cold]
    async fn read_found_rows(&mut self) {
        let Some(place) = self.transaction.found_rows_at.take() else { return };
        let Some(mut backend) = self.transaction.take_at(place) else { return };
        // A connection that fails here is found out when it is used next.
        if let Ok(Some(found)) = backend
            .value(&Rc::clone(&self.core), "SELECT FOUND_ROWS()")
            .await
        {
            self.last.found_rows = found.parse().unwrap_or(self.last.found_rows);
        }
        self.keep_or_return(place, backend);
    }

    #[inline]
    pub(super) fn keep_or_return(&mut self, place: Place, backend: Box<Backend>) {
        if self.reads.causal.is_some() {
            self.note_visit(place);
        }
        let keep = self.transaction.pinned
            || self.transaction.is_open()
            || backend.in_transaction
            || backend.unsure
            || backend.ended_by_error
            || self.transaction.found_rows_at == Some(place)
            || self.has_cursor_at(place);
        if keep {
            self.transaction.held.push((place, backend));
        } else {
            let pool: Rc<TabletPool> = Rc::clone(&backend.pool);
            pool.put(&self.core, backend);
        }
        let open = self.in_transaction();
        self.client.handle.in_transaction.set(open);
    }

    #[inline]
    pub(super) fn remember(&mut self, class: StatementClass, summary: &Summary) {
        self.core.metrics().rows.add(summary.rows);
        if summary.error.is_some() {
            self.core.metrics().errors.add(1);
            self.last.row_count = -1;
            self.transaction.last_failed = true;
            return;
        }
        if summary.columns > 0 {
            self.last.row_count = -1;
            if matches!(class, StatementClass::Select | StatementClass::SelectLocking) {
                self.last.found_rows = summary.rows;
            }
        } else {
            self.last.row_count = i64::try_from(summary.affected_rows).unwrap_or(i64::MAX);
        }
    }
}
