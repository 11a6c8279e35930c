//! Executions: a prepared statement's parameters bound, its plan resolved, its packet sent to the servers that it needs.
use super::again::Again;
use super::{BoundPlan, PAUSES, Statement, TOO_MANY_STATEMENTS};
use crate::cache::CachedPlan;
use crate::error::sql_error;
use crate::link::Packet;
use crate::pool::{Backend, Place};
use crate::session::answer::Answer;
use crate::session::insert_id::Given;
use crate::session::plan::{Planned, RowsAt};
use crate::session::query::{place_of, wires_of};
use crate::session::scatter::{Rows, Work};
use crate::session::values::Values;
use crate::session::wire::{Wire, query_payload};
use crate::session::{Failure, Outcome, Session};
use coregate_planner::PlanError;
use coregate_planner::plan::{Action, Combine, Effects, Route, SessionAction};
use coregate_planner::resolve::{Resolved, SessionValues, ShardText};
use coregate_protocol::command::encode as commands;
use coregate_protocol::command::execute::{BODY_AT, ExecuteBody};
use coregate_protocol::walker::{FeedState, PacketRole, ResponseKind, ResponseWalker, Summary};
use smallvec::SmallVec;
use std::rc::Rc;

/// Flag of COM_STMT_EXECUTE: a cursor of any kind.
const CURSOR_FLAGS: u8 = 0x07;

/// Where an execution goes.
struct Places {
    shards: SmallVec<[ShardText; 2]>,
    interpolated: bool,
    keyspace: Option<String>,
    rows: Rows<'static>,
}

impl Session {
    /// COM_STMT_EXECUTE.
    pub(in crate::session) async fn execute(&mut self, packet: Packet) -> Outcome {
        let mut answer = Answer { binary: true, ..Answer::first() };
        let id = packet
            .payload()
            .first_chunk_at::<4>(1)
            .map(u32::from_le_bytes);
        let flags = packet.payload().get(5).copied().unwrap_or_default();
        answer.cursor = flags & CURSOR_FLAGS != 0;
        let result = self.execute_statement(packet, &mut answer).await;
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
        self.handle.runs(&statement.sql);
        statement.empty_cursor.set(false);
        let entry = self.current_plan(&statement)?;
        let body = payload.get(BODY_AT..).unwrap_or_default();
        let params = usize::from(statement.fingerprint.params);
        let parsed = ExecuteBody::parse(body, params, flags, self.capabilities)?;
        if parsed.new_params_bound {
            statement.bind_types(parsed.types);
        }
        let plan = &entry.plan;
        self.handle
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
                        statement.long_data.borrow_mut().clear();
                        return Box::pin(self.statement(*planned, None, &[], answer)).await;
                    }
                }
            }
        };
        self.core.metrics().queries.add(1);
        let (start, shards) = (self.core.ring.now(), bound.shards());
        let cursor = flags & CURSOR_FLAGS != 0;
        let result = match (bound, &entry.plan.action) {
            (BoundPlan::Route(resolved), Action::Route(route)) => {
                self.execute_route(&statement, &entry, route, resolved, packet, cursor, &given, answer)
                    .await
            }
            (BoundPlan::Tree(parts), Action::Tree(tree)) => {
                statement.long_data.borrow_mut().clear();
                Box::pin(self.tree(&entry.plan, tree, *parts, answer)).await
            }
            (BoundPlan::Write(bound), Action::Write(write)) => {
                let made_for = statement.made_for();
                Box::pin(self.write_prepared(made_for, &entry.plan, (write, *bound), answer)).await
            }
            _ => Err(Failure::from(PlanError::Several)),
        };
        self.sequence_done(&entry.plan, result.as_ref().ok());
        let spent = self.core.ring.now().saturating_duration_since(start);
        entry.stats.record(spent, shards, result.as_ref().ok());
        result.map(|_| ())
    }

    /// Sends an execution where its plan says.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    async fn execute_route(
        &mut self,
        statement: &Rc<Statement>,
        entry: &Rc<CachedPlan>,
        route: &Route,
        resolved: Resolved,
        packet: Packet,
        cursor: bool,
        given: &Given,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let plan = &entry.plan;
        // Names are found before anything is waited for: a snapshot may come meanwhile.
        let keyspace = self.changed_keyspace(plan, route);
        self.begin_warnings(plan);
        if plan.effects.contains(Effects::IMPLICIT_COMMIT) {
            Box::pin(self.implicit_commit()).await?;
        }
        let rows = self.rows_of(plan, route, &resolved);
        let mut shards = resolved.shards;
        if let Some(before) = resolved.before {
            self.begin_maintained(route, &before).await?;
            let places = Places { shards, interpolated: resolved.interpolated, keyspace, rows };
            let result = self
                .execute_maintained(statement, entry, route, places, &packet, answer)
                .await;
            return Box::pin(self.end_maintained(result)).await;
        }
        if let [only] = shards.as_mut_slice() {
            let place = place_of(route, only.id);
            let text = only.text.take();
            if resolved.interpolated {
                // Its parameters are in the text: it runs as text. Only INSERT is split so, and that has no rows to answer.
                let wire = Wire::Payload(query_payload(&text.unwrap_or_default()));
                return self
                    .one(plan, place, wire, ResponseKind::Query, answer)
                    .await;
            }
            return self
                .execute_on(statement, entry, place, text, packet, cursor, given, answer)
                .await;
        }
        if resolved.interpolated || shards.is_empty() {
            let wires = shards
                .iter_mut()
                .map(|s| (place_of(route, s.id), query_payload(&s.text.take().unwrap_or_default())))
                .collect();
            let work =
                Work { plan, combine: route.combine, kind: ResponseKind::Query, wires, keyspace, rows };
            return Box::pin(self.several(work, answer)).await;
        }
        if matches!(route.combine, Combine::Status | Combine::Keys) {
            let wires = wires_of(route, &mut shards, &statement.sql);
            return Box::pin(self.table_status(plan, route, wires, answer)).await;
        }
        let places: Vec<Place> = shards.iter().map(|s| place_of(route, s.id)).collect();
        let kept = (keyspace, rows);
        Box::pin(self.execute_on_several(statement, entry, route, kept, places, &packet, answer)).await
    }

    /// Runs a change whose lookup tables are right already, in the transaction that these were changed in.
    async fn execute_maintained(
        &mut self,
        statement: &Rc<Statement>,
        entry: &Rc<CachedPlan>,
        route: &Route,
        mut places: Places,
        packet: &Packet,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let (keyspace, rows) = (places.keyspace, places.rows);
        if !places.interpolated {
            let places = places
                .shards
                .iter()
                .map(|s| place_of(route, s.id))
                .collect();
            return Box::pin(self.execute_on_several(
                statement,
                entry,
                route,
                (keyspace, rows),
                places,
                packet,
                answer,
            ))
            .await;
        }
        let wires = places
            .shards
            .iter_mut()
            .map(|s| (place_of(route, s.id), query_payload(&s.text.take().unwrap_or_default())))
            .collect();
        let (plan, combine, kind) = (&entry.plan, Combine::Sum, ResponseKind::Query);
        let work = Work { plan, combine, kind, wires, keyspace, rows };
        Box::pin(self.several(work, answer)).await
    }

    /// Executes on one server.
    #[allow(clippy::too_many_arguments)]
    pub(super) async fn execute_on(
        &mut self,
        statement: &Rc<Statement>,
        entry: &CachedPlan,
        place: Place,
        text: Option<Vec<u8>>,
        packet: Packet,
        cursor: bool,
        given: &Given,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
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
        let known = backend.statement(key).map(|s| (s.id, s.types));
        let (id, types) = match known {
            Some(known) => known,
            None => {
                let sql = text.as_deref().unwrap_or(&statement.sql);
                match Box::pin(self.prepare_on(&mut backend, statement, key, sql)).await {
                    Ok(id) => (id, 0),
                    Err(failure) => return Err(self.not_prepared(place, backend, failure, answer).await),
                }
            }
        };
        self.core.metrics().shard_queries.add(1);
        send_long_data(statement, &mut backend, id);
        let wire = statement.execution(packet, id, types, self.capabilities)?;
        if let Some(known) = backend.statement(key) {
            known.types = statement.types_hash.get();
        }
        backend.send(wire);
        answer.variables = Self::lists_variables(plan);
        let summary = self
            .relay(&mut backend, ResponseKind::Execute, answer)
            .await;
        if cursor && let Ok(summary) = &summary {
            self.note_cursor(statement, place, id, summary);
        }
        if !statement.long_data.borrow().is_empty() {
            statement.long_data.borrow_mut().clear();
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
        let then = &statement.made_under.settings;
        if then.of_the_text() == self.settings.of_the_text() {
            return self.prepare_now(backend, key, sql).await;
        }
        let wanted = core.settings.intern(self.settings.with_text_of(then));
        backend.apply_in_place(&core, &wanted).await?;
        let id = self.prepare_now(backend, key, sql).await?;
        backend.apply_in_place(&core, &self.settings).await?;
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
            if crate::session::relay::step(&mut walker, packet.payload(), packet.seq)? == PacketRole::Err {
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

    #[allow(clippy::too_many_arguments)]
    /// Executes on several servers: prepared on each, answers combined as those of a text statement.
    async fn execute_on_several(
        &mut self,
        statement: &Rc<Statement>,
        entry: &CachedPlan,
        route: &Route,
        (keyspace, rows): (Option<String>, Rows<'static>),
        places: Vec<Place>,
        packet: &Packet,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let prepared = self
            .prepare_on_all(statement, entry, places, packet, answer)
            .await;
        let result = match prepared {
            Ok(wires) => {
                let (plan, kind) = (&entry.plan, ResponseKind::Execute);
                let work = Work { plan, combine: route.combine, kind, wires, keyspace, rows };
                self.several(work, answer).await
            }
            Err(failure) => Err(failure),
        };
        statement.long_data.borrow_mut().clear();
        self.release_held();
        result
    }

    /// Prepares a statement where it is not prepared yet. The connections are held, so that `several` finds these very ones.
    async fn prepare_on_all(
        &mut self,
        statement: &Rc<Statement>,
        entry: &CachedPlan,
        places: Vec<Place>,
        packet: &Packet,
        answer: &mut Answer,
    ) -> Outcome<Vec<(Place, Vec<u8>)>> {
        let mut wires = Vec::with_capacity(places.len());
        for place in places {
            let mut backend = Box::pin(self.acquire(place, entry.plan.effects)).await?;
            let known = backend.statement(statement.key).map(|s| s.id);
            let id = match known {
                Some(id) => id,
                None => match self
                    .prepare_on(&mut backend, statement, statement.key, &statement.sql)
                    .await
                {
                    Ok(id) => id,
                    Err(failure) => return Err(self.not_prepared(place, backend, failure, answer).await),
                },
            };
            send_long_data(statement, &mut backend, id);
            let payload = statement.execution_payload(packet.payload(), id, 0, self.capabilities)?;
            if let Some(known) = backend.statement(statement.key) {
                known.types = statement.types_hash.get();
            }
            wires.push((place, payload));
            self.held.push((place, backend));
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
        statement.long_data.borrow_mut().clear();
        self.run_text(&sql, answer).await
    }

    /// A statement of the session's own, prepared: BEGIN, SHOW SHARDS.
    pub(in crate::session) async fn execute_local(
        &mut self,
        statement: &Statement,
        entry: &Rc<CachedPlan>,
        answer: &mut Answer,
    ) -> Outcome {
        let planned = Planned {
            entry: Rc::clone(entry),
            resolved: Resolved::default(),
            parts: None,
            write: None,
            end: statement.sql.len(),
            more: false,
            rows: RowsAt::default(),
        };
        let sql = statement.sql.clone();
        self.statement(planned, None, &sql, answer).await
    }
}

/// Are its parameters put into its text?
fn runs_by_text(action: &Action) -> bool {
    use SessionAction::{NextValues, Set, VindexRows};
    matches!(action, Action::Session(Set(_) | NextValues { .. } | VindexRows { .. }))
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
