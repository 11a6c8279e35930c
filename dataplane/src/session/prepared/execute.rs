//! Executions: a prepared statement's parameters bound, its plan resolved, its packet sent to the
//! servers that it needs.
use super::again::Again;
use super::{PAUSES, Statement, TOO_MANY_STATEMENTS};
use crate::cache::CachedPlan;
use crate::error::sql_error;
use crate::link::Packet;
use crate::pool::{Backend, Place};
use crate::session::answer::Answer;
use crate::session::insert_id::Given;
use crate::session::plan::{BoundPlan, Planned};
use crate::session::run::{Execution, Form, place_of};
use crate::session::values::Values;
use crate::session::{Failure, Outcome, Session};
use coregate_planner::plan::{Action, Plan, Route, SessionAction, StatementClass};
use coregate_planner::resolve::{SessionValues, ShardText};
use coregate_protocol::command::encode as commands;
use coregate_protocol::command::execute::{BODY_AT, ExecuteBody};
use coregate_protocol::walker::{FeedState, PacketRole, ResponseKind, ResponseWalker, Summary};
use std::rc::Rc;

/// Flag of COM_STMT_EXECUTE: a cursor of any kind.
const CURSOR_FLAGS: u8 = 0x07;

impl Session {
    /// COM_STMT_EXECUTE.
    pub(in crate::session) async fn execute_command(&mut self, packet: Packet) -> Outcome {
        let mut answer = Answer { binary: true, ..Answer::to(&packet) };
        let id = packet
            .payload()
            .first_chunk_at::<4>(1)
            .map(u32::from_le_bytes);
        let flags = packet.payload().get(5).copied().unwrap_or_default();
        answer.cursor = flags & CURSOR_FLAGS != 0;
        self.core.metrics().queries.add(1);
        let result = self.execute_statement(packet, &mut answer).await;
        if let Some(id) = id {
            self.forget_long_data(id);
        }
        if answer.cursor
            && let Some(id) = id
        {
            self.note_empty_cursor(id, answer.empty_cursor && result.is_ok());
        }
        self.finish(&mut answer, result)
    }

    async fn execute_statement(&mut self, packet: Packet, answer: &mut Answer) -> Outcome {
        let payload = packet.payload();
        let (Some(id), Some(&flags)) = (payload.first_chunk_at::<4>(1), payload.get(5)) else {
            return Err(crate::session::command::unknown());
        };
        let statement = self.statement_of(u32::from_le_bytes(id), "mysqld_stmt_execute")?;
        self.client.handle.runs(&statement.sql);
        statement.empty_cursor.set(false);
        if statement.long_data_full.get() {
            return Err(sql_error(
                1105,
                "Parameter of prepared statement which is set through mysql_send_long_data() is \
                    longer than 'max_allowed_packet' bytes",
            )
            .into());
        }
        if statement.cursor.get().is_some() {
            Box::pin(self.end_cursor(&statement)).await;
        }
        let entry = self.current_plan(&statement)?;
        let body = payload.get(BODY_AT..).unwrap_or_default();
        let params = usize::from(statement.fingerprint.params);
        let parsed = ExecuteBody::parse(body, params, flags, self.client.capabilities)?;
        if parsed.new_params_bound {
            statement.bind_types(parsed.types);
        }
        let plan = &entry.plan;
        self.client
            .handle
            .limit(&self.core, plan.directives.query_timeout_ms);
        if !matches!(plan.action, Action::Route(_) | Action::Tree(_) | Action::Write(_)) {
            if params > 0 && runs_by_text(&plan.action) {
                return Box::pin(self.execute_set(&statement, &parsed, answer)).await;
            }
            return Box::pin(self.execute_local(&statement, &entry, answer)).await;
        }
        let mut given = Given::default();
        let (bound, entry) = match self.bind_execution(&statement, &entry, &parsed, &mut given) {
            Ok(Some(bound)) => (bound, entry),
            other => {
                let other = other.map(|_| ());
                match Box::pin(self.bind_again(&statement, &parsed, other, &mut given)).await? {
                    Again::Bound(bound, entry) => (bound, entry),
                    Again::Text(planned) => {
                        return Box::pin(self.execute(*planned, Form::Text(&[]), answer)).await;
                    }
                }
            }
        };
        let cursor = flags & CURSOR_FLAGS != 0;
        let execution = Execution { statement: &statement, packet, cursor, given: &given };
        self.execute(Planned::prepared(entry, bound), Form::Binary(execution), answer)
            .await
    }

    /// Executes on one server.
    pub(in crate::session) async fn execute_on(
        &mut self,
        execution: Execution<'_>,
        entry: &CachedPlan,
        place: Place,
        text: Option<Vec<u8>>,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let Execution { statement, packet, cursor, given } = execution;
        let plan = &entry.plan;
        let mut backend = match self.ready(place) {
            Some(backend) => backend,
            None => Box::pin(self.acquire(place, plan.effects)).await?,
        };
        if self.needs_insert_id(plan, &backend)
            && let Err(failure) = Box::pin(self.give_insert_id(&mut backend)).await
        {
            return Err(self.not_prepared(place, backend, failure, answer).await);
        }
        let key = text
            .as_deref()
            .map_or(statement.key, |text| statement.made_under.key_of(text));
        forget_other_types(statement, &mut backend, key);
        let known = backend.statement(key).map(|s| (s.id, s.types));
        let (id, types) = match known {
            Some(known) => known,
            None => {
                let sql = text.as_deref().unwrap_or(&statement.sql);
                match Box::pin(self.prepare_on(&mut backend, statement, key, sql)).await {
                    Ok(id) => (id, 0),
                    Err(failure) => {
                        return Err(self.not_prepared(place, backend, failure, answer).await);
                    }
                }
            }
        };
        self.core.metrics().shard_queries.add(1);
        send_long_data(statement, &mut backend, id);
        let wire = statement.execution(packet, id, types, self.client.capabilities)?;
        if let Some(known) = backend.statement(key) {
            known.types = statement.types_hash.get();
        }
        backend.send(wire);
        answer.variables = Self::lists_variables(plan);
        let kind = match cursor && plan.class != StatementClass::Call {
            true => ResponseKind::Cursor,
            false => ResponseKind::Execute,
        };
        let summary = self.relay(&mut backend, kind, answer).await;
        if kind == ResponseKind::Cursor
            && let Ok(summary) = &summary
        {
            self.note_cursor(statement, (place, key), &mut backend, summary);
        }
        if matches!(&summary, Ok(summary) if summary.warnings > 0 && summary.error.is_none()) {
            Box::pin(self.fetch_warnings(&mut backend)).await;
        }
        if let Ok(summary) = &summary {
            self.note_insert_id(&mut backend, plan, summary, given)
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

    #[cold]
    pub(in crate::session) async fn not_prepared(
        &mut self,
        place: Place,
        backend: Box<Backend>,
        failure: Failure,
        answer: &mut Answer,
    ) -> Failure {
        match Box::pin(self.give_up(place, backend, failure, answer)).await {
            Ok(_) => sql_error(1105, "a server did not prepare the statement").into(),
            Err(failure) => failure,
        }
    }

    /// Prepares a text on a connection that does not know it yet.
    pub(super) async fn prepare_on(
        &mut self,
        backend: &mut Backend,
        statement: &Statement,
        key: u64,
        sql: &[u8],
    ) -> Outcome<u32> {
        let core = Rc::clone(&self.core);
        let made_under = &statement.made_under.settings;
        if made_under.of_the_text() == self.state.settings.of_the_text() {
            return self.prepare_now(backend, key, sql).await;
        }
        let now = Rc::clone(&backend.settings);
        let wanted = core.settings.intern(now.with_text_of(made_under));
        backend.apply_in_place(&core, &wanted).await?;
        let id = self.prepare_now(backend, key, sql).await?;
        backend.apply_in_place(&core, &now).await?;
        Ok(id)
    }

    async fn prepare_now(&mut self, backend: &mut Backend, key: u64, sql: &[u8]) -> Outcome<u32> {
        for pause in PAUSES {
            match self.try_prepare(backend, key, sql).await {
                Err(Failure::Sql(error)) if error.code == TOO_MANY_STATEMENTS => {
                    self.make_room(backend, pause).await;
                }
                other => return other,
            }
        }
        self.try_prepare(backend, key, sql).await
    }

    async fn try_prepare(&mut self, backend: &mut Backend, key: u64, sql: &[u8]) -> Outcome<u32> {
        let mut payload = Vec::with_capacity(sql.len() + 1);
        commands::stmt_prepare(&mut payload, sql);
        backend.send_payload(&payload);
        let mut walker = ResponseWalker::new(ResponseKind::Prepare, backend.capabilities);
        let mut error = None;
        while walker.state() != FeedState::Done {
            let packet = self.next_packet(backend, walker.next_seq()).await?;
            if crate::session::relay::step(&mut walker, packet.payload(), packet.seq)?
                == PacketRole::Err
            {
                error = Some(crate::session::scatter::error_of(packet.payload()));
            }
        }
        backend.busy = false;
        match (error, walker.summary().prepare) {
            (None, Some(prepared)) => {
                self.register(backend, key, prepared.stmt_id);
                Ok(prepared.stmt_id)
            }
            (error, _) => Err(error
                .unwrap_or_else(|| sql_error(1105, "a server did not prepare the statement"))
                .into()),
        }
    }

    /// Prepares a statement on the servers that it needs, where it is not prepared yet. The
    /// connections are held, so that `several` finds these very ones.
    pub(in crate::session) async fn prepare_on_all(
        &mut self,
        execution: &Execution<'_>,
        plan: &Plan,
        route: &Route,
        shards: &[ShardText],
        answer: &mut Answer,
    ) -> Outcome<Vec<(Place, Vec<u8>)>> {
        let (statement, packet) = (execution.statement, &execution.packet);
        let places = shards.iter().map(|shard| place_of(route, shard.id));
        let places: Vec<Place> = places.collect();
        let mut wires = Vec::with_capacity(places.len());
        for place in places {
            let mut backend = Box::pin(self.acquire(place, plan.effects)).await?;
            forget_other_types(statement, &mut backend, statement.key);
            let known = backend.statement(statement.key).map(|s| s.id);
            let id = match known {
                Some(id) => id,
                None => match self
                    .prepare_on(&mut backend, statement, statement.key, &statement.sql)
                    .await
                {
                    Ok(id) => id,
                    Err(failure) => {
                        return Err(self.not_prepared(place, backend, failure, answer).await);
                    }
                },
            };
            send_long_data(statement, &mut backend, id);
            let payload =
                statement.execution_payload(packet.payload(), id, 0, self.client.capabilities)?;
            if let Some(known) = backend.statement(statement.key) {
                known.types = statement.types_hash.get();
            }
            wires.push((place, payload));
            self.transaction.held.push((place, backend));
        }
        Ok(wires)
    }

    /// SET with parameters: runs as text, with the values in it.
    async fn execute_set(
        &mut self,
        statement: &Statement,
        parsed: &ExecuteBody<'_>,
        answer: &mut Answer,
    ) -> Outcome {
        let sql = {
            let long = statement.long_data.borrow();
            let (bound, kinds) = statement.bound(parsed, &long)?;
            let values = Values { session: self, params: &bound, kinds: &kinds };
            statement.with_params(|n, out| values.write_param(n as u16, out))?
        };
        self.run_text(&sql, answer).await
    }

    /// A statement of the session's own, prepared: BEGIN, SHOW SHARDS.
    pub(in crate::session) async fn execute_local(
        &mut self,
        statement: &Statement,
        entry: &Rc<CachedPlan>,
        answer: &mut Answer,
    ) -> Outcome {
        let planned = Planned::prepared(Rc::clone(entry), BoundPlan::Own);
        self.execute(planned, Form::Text(&statement.sql), answer)
            .await
    }
}

/// Are its parameters put into its text?
fn runs_by_text(action: &Action) -> bool {
    use SessionAction::{NextValues, Set, VindexRows};
    matches!(action, Action::Session(Set(_) | NextValues { .. } | VindexRows { .. }))
}

/// MariaDB keeps long data as of the type that the parameter had at the last execution, which may
/// have been another session's: that one's value would be taken. A statement that was executed with
/// other types is prepared anew.
#[inline]
fn forget_other_types(statement: &Statement, backend: &mut Backend, key: u64) {
    if statement.long_data.borrow().is_empty() {
        return;
    }
    let types = statement.types_hash.get();
    if backend
        .statement(key)
        .is_some_and(|known| known.types != types)
        && let Some(id) = backend.take_statement(key)
    {
        super::close_on(backend, id);
    }
}

fn send_long_data(statement: &Statement, backend: &mut Backend, id: u32) {
    for (param, data) in statement.long_data.borrow().iter() {
        let mut payload = Vec::with_capacity(data.len() + 7);
        commands::stmt_send_long_data(&mut payload, id, *param, data);
        backend.send_unanswered(&payload);
    }
}

trait ChunkAt {
    fn first_chunk_at<const N: usize>(&self, at: usize) -> Option<[u8; N]>;
}

impl ChunkAt for [u8] {
    fn first_chunk_at<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..)?.first_chunk::<N>().copied()
    }
}
