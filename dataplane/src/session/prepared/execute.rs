//! Executions: a prepared statement's parameters bound, its plan resolved, its packet sent to the servers that it needs.
use super::Statement;
use crate::cache::CachedPlan;
use crate::error::sql_error;
use crate::link::Packet;
use crate::pool::{Backend, Place};
use crate::ring::Buf;
use crate::session::answer::Answer;
use crate::session::plan::Planned;
use crate::session::query::{Wire, place_of, query_payload};
use crate::session::values::Values;
use crate::session::{Failure, Outcome, Session};
use coregate_planner::plan::{Action, Effects, Route, SessionAction};
use coregate_planner::value::Value;
use coregate_protocol::Capabilities;
use coregate_protocol::column::ColumnType;
use coregate_protocol::command::encode as commands;
use coregate_protocol::command::execute::{BODY_AT, ExecuteBody, STMT_ID_AT};
use coregate_protocol::value::{ParamType, Value as Bound};
use coregate_protocol::walker::{FeedState, PacketRole, ResponseKind, ResponseWalker};
use smallvec::SmallVec;
use std::rc::Rc;

/// Flag of COM_STMT_EXECUTE: a cursor of any kind.
const CURSOR_FLAGS: u8 = 0x07;

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
        let id = u32::from_le_bytes(id);
        let statement = self.statement_of(id, "mysqld_stmt_execute")?;
        statement.empty_cursor.set(false);
        self.core.metrics().queries.add(1);
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
        let Action::Route(route) = &plan.action else {
            if params > 0 && matches!(plan.action, Action::Session(SessionAction::Set(_))) {
                return Box::pin(self.execute_set(&statement, &parsed, answer)).await;
            }
            return Box::pin(self.execute_local(&statement, &entry, answer)).await;
        };
        let resolved = {
            let long = statement.long_data.borrow();
            let (bound, kinds) = statement.bound(&parsed, &long)?;
            let mut texts: Vec<Vec<u8>> = Vec::new();
            for value in &bound {
                if planner_value(value).is_none() {
                    let mut text = Vec::new();
                    value.write_text(&mut text);
                    texts.push(text);
                }
            }
            let mut texts = texts.iter();
            let values: SmallVec<[Value<'_>; 8]> = bound
                .iter()
                .zip(kinds)
                .map(|(v, kind)| match (v, kind) {
                    (Bound::Bytes(digits), ColumnType::DECIMAL | ColumnType::NEWDECIMAL) => {
                        Value::Decimal(digits)
                    }
                    (Bound::Bytes(bytes), kind) if is_blob(kind) => Value::Binary(bytes),
                    _ => planner_value(v)
                        .unwrap_or_else(|| Value::Bytes(texts.next().map_or(&[], |t| t.as_slice()))),
                })
                .collect();
            let session_values = Values { session: self, params: &bound };
            self.bind(&statement, &entry, &values, &session_values)?
        };
        if !self.warnings_are_empty() && !plan.effects.contains(Effects::NO_TABLES) {
            self.clear_warnings();
        }
        let cursor = flags & CURSOR_FLAGS != 0;
        let mut shards = resolved.shards;
        if let [only] = shards.as_mut_slice() {
            let place = place_of(route, only.shard);
            let text = only.text.take();
            if resolved.interpolated {
                // Its parameters are in the text: it runs as text. Only INSERT is split so, and that has no rows to answer.
                let wire = Wire::Payload(query_payload(&text.unwrap_or_default()));
                return self
                    .one(plan, place, wire, ResponseKind::Query, answer)
                    .await
                    .map(|_| ());
            }
            return self
                .execute_on(&statement, &entry, place, text, packet, cursor, answer)
                .await;
        }
        if resolved.interpolated || shards.is_empty() {
            let wires = shards
                .iter_mut()
                .map(|s| (place_of(route, s.shard), query_payload(&s.text.take().unwrap_or_default())))
                .collect();
            return Box::pin(self.several(plan, route, wires, ResponseKind::Query, answer))
                .await
                .map(|_| ());
        }
        let places: Vec<Place> = shards.iter().map(|s| place_of(route, s.shard)).collect();
        Box::pin(self.execute_on_several(&statement, &entry, route, places, &packet, answer)).await
    }

    /// The statement's plan, made anew when the snapshot has changed: for the keyspace that was selected when it was prepared.
    fn current_plan(&mut self, statement: &Statement) -> Outcome<Rc<CachedPlan>> {
        let version = self.core.snapshot.borrow().version;
        {
            let plan = statement.plan.borrow();
            if plan.0 == version {
                return Ok(Rc::clone(&plan.1));
            }
        }
        let made_under = &statement.made_under;
        let target = std::mem::replace(&mut self.target, made_under.target.borrow().clone());
        let sql_mode = std::mem::replace(&mut self.sql_mode, made_under.sql_mode);
        let planned = self.plan_prepared(&statement.sql);
        *made_under.target.borrow_mut() = std::mem::replace(&mut self.target, target);
        self.sql_mode = sql_mode;
        let (_, entry) = planned?;
        *statement.plan.borrow_mut() = (version, Rc::clone(&entry));
        Ok(entry)
    }

    /// Executes on one server.
    #[allow(clippy::too_many_arguments)]
    async fn execute_on(
        &mut self,
        statement: &Rc<Statement>,
        entry: &CachedPlan,
        place: Place,
        text: Option<Vec<u8>>,
        packet: Packet,
        cursor: bool,
        answer: &mut Answer,
    ) -> Outcome {
        let plan = &entry.plan;
        let mut backend = match self.ready(place) {
            Some(backend) => backend,
            None => Box::pin(self.acquire(place, plan.class)).await?,
        };
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
                    Err(failure) => return Err(self.give_back_or_break(place, backend, failure)),
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
        let summary = self.settle(place, backend, plan, summary)?;
        let stats = &entry.stats;
        stats.count.set(stats.count.get() + 1);
        stats.rows.set(stats.rows.get() + summary.rows);
        self.remember(plan.class, &summary);
        Ok(())
    }

    fn give_back_or_break(&mut self, place: Place, backend: Box<Backend>, failure: Failure) -> Failure {
        if backend.busy {
            return self.broken(backend, failure);
        }
        self.keep_or_return(place, backend);
        failure
    }

    /// Prepares a text on a connection that does not know it yet.
    async fn prepare_on(
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

    /// Executes on several servers: prepared on each, answers combined as those of a text statement.
    async fn execute_on_several(
        &mut self,
        statement: &Rc<Statement>,
        entry: &CachedPlan,
        route: &Route,
        places: Vec<Place>,
        packet: &Packet,
        answer: &mut Answer,
    ) -> Outcome {
        let mut wires = Vec::with_capacity(places.len());
        for place in places {
            let mut backend = Box::pin(self.acquire(place, entry.plan.class)).await?;
            let known = backend.statement(statement.key).map(|s| s.id);
            let id = match known {
                Some(id) => id,
                None => match self
                    .prepare_on(&mut backend, statement, statement.key, &statement.sql)
                    .await
                {
                    Ok(id) => id,
                    Err(failure) => return Err(self.give_back_or_break(place, backend, failure)),
                },
            };
            send_long_data(statement, &mut backend, id);
            let payload = statement.execution_payload(packet.payload(), id, 0, self.capabilities)?;
            if let Some(known) = backend.statement(statement.key) {
                known.types = statement.types_hash.get();
            }
            wires.push((place, payload));
            // Held, so that `several` finds this very connection, on which the statement is prepared.
            self.held.push((place, backend));
        }
        let result = self
            .several(&entry.plan, route, wires, ResponseKind::Execute, answer)
            .await;
        statement.long_data.borrow_mut().clear();
        self.release_held();
        result.map(|_| ())
    }

    /// SET with parameters: runs as text, with the values in it.
    async fn execute_set(
        &mut self,
        statement: &Statement,
        parsed: &ExecuteBody<'_>,
        answer: &mut Answer,
    ) -> Outcome {
        let mut sql = Vec::new();
        {
            let long = statement.long_data.borrow();
            let (bound, _) = statement.bound(parsed, &long)?;
            let places =
                coregate_planner::fingerprint::param_places(&statement.sql, statement.made_under.sql_mode)?;
            let mut at = 0;
            for (value, place) in bound.iter().zip(places) {
                sql.extend_from_slice(statement.sql.get(at..place).unwrap_or_default());
                value.write_literal(self.status(), &mut sql);
                at = place + 1;
            }
            sql.extend_from_slice(statement.sql.get(at..).unwrap_or_default());
        }
        statement.long_data.borrow_mut().clear();
        self.run_text(&sql, answer).await
    }

    /// A statement of the session's own, prepared: BEGIN, SHOW SHARDS.
    async fn execute_local(
        &mut self,
        statement: &Statement,
        entry: &Rc<CachedPlan>,
        answer: &mut Answer,
    ) -> Outcome {
        let planned = Planned {
            entry: Rc::clone(entry),
            resolved: coregate_planner::resolve::Resolved::default(),
            end: statement.sql.len(),
            more: false,
        };
        let sql = statement.sql.clone();
        self.statement(planned, None, &sql, answer).await
    }
}

/// Values as bound, and their types.
type BoundParams<'a> = (SmallVec<[Bound<'a>; 8]>, SmallVec<[ColumnType; 8]>);

impl Statement {
    /// The values of an execution, those that came as long data among them.
    fn bound<'a>(&self, parsed: &ExecuteBody<'a>, long: &'a [(u16, Vec<u8>)]) -> Outcome<BoundParams<'a>> {
        let types = self.types.borrow();
        let types: SmallVec<[ParamType; 8]> = types
            .chunks_exact(2)
            .map(|t| ParamType::from_bytes([t[0], t[1]]))
            .collect();
        if types.len() < parsed.params && !parsed.new_params_bound && !parsed.is_all_null() {
            return Err(sql_error(1210, "Incorrect arguments to mysqld_stmt_execute").into());
        }
        let is_long = |n: usize| long.iter().any(|(param, _)| usize::from(*param) == n);
        let (mut bound, mut kinds) = BoundParams::default();
        for (n, value) in parsed.values(&types, is_long).enumerate() {
            let (ty, value) = value?;
            kinds.push(ty.column_type);
            let from_long = long.iter().find(|(param, _)| usize::from(*param) == n);
            bound.push(from_long.map_or(value, |(_, data)| Bound::Bytes(data)));
        }
        Ok((bound, kinds))
    }

    fn bind_types(&self, types: &[u8]) {
        let mut known = self.types.borrow_mut();
        if known.as_slice() != types {
            known.clear();
            known.extend_from_slice(types);
        }
        self.types_hash.set(hash_of_types(types) | 1);
    }

    /// The execution's packet for a backend: the client's own with another id, and with the types if that server has not seen them.
    fn execution(&self, mut packet: Packet, id: u32, types: u64, capabilities: Capabilities) -> Outcome<Buf> {
        let bound = self.brings_types(packet.payload(), capabilities)?;
        if bound || types == self.types_hash.get() {
            if let Some(place) = packet.payload_mut().get_mut(STMT_ID_AT) {
                place.copy_from_slice(&id.to_le_bytes());
            }
            return Ok(packet.into_wire());
        }
        Ok(Wire::Payload(self.execution_payload(packet.payload(), id, types, capabilities)?).into_buf())
    }

    fn brings_types(&self, payload: &[u8], capabilities: Capabilities) -> Outcome<bool> {
        let flags = payload.get(5).copied().unwrap_or_default();
        let body = payload.get(BODY_AT..).unwrap_or_default();
        let params = usize::from(self.fingerprint.params);
        Ok(params == 0 || ExecuteBody::parse(body, params, flags, capabilities)?.new_params_bound)
    }

    fn execution_payload(
        &self,
        payload: &[u8],
        id: u32,
        types: u64,
        capabilities: Capabilities,
    ) -> Outcome<Vec<u8>> {
        let flags = payload.get(5).copied().unwrap_or_default();
        let body = payload.get(BODY_AT..).unwrap_or_default();
        let parsed = ExecuteBody::parse(body, usize::from(self.fingerprint.params), flags, capabilities)?;
        let mut out = payload.to_vec();
        if let Some(place) = out.get_mut(STMT_ID_AT) {
            place.copy_from_slice(&id.to_le_bytes());
        }
        let insert = parsed.params > 0 && !parsed.new_params_bound && types != self.types_hash.get();
        if insert {
            let at = BODY_AT + parsed.flag_at;
            if let Some(flag) = out.get_mut(at) {
                *flag = 1;
            }
            out.splice(at + 1..at + 1, self.types.borrow().iter().copied());
        }
        Ok(out)
    }
}

fn send_long_data(statement: &Statement, backend: &mut Backend, id: u32) {
    for (param, data) in statement.long_data.borrow().iter() {
        let mut payload = Vec::with_capacity(data.len() + 7);
        commands::stmt_send_long_data(&mut payload, id, *param, data);
        backend.send_unanswered(&payload);
    }
}

fn hash_of_types(types: &[u8]) -> u64 {
    thread_local! {
        static SEED: ahash::RandomState = ahash::RandomState::new();
    }
    SEED.with(|seed| seed.hash_one(types))
}

/// Types whose values the server takes as bytes without a character set.
fn is_blob(kind: ColumnType) -> bool {
    matches!(kind, ColumnType::TINY_BLOB | ColumnType::MEDIUM_BLOB | ColumnType::LONG_BLOB | ColumnType::BLOB)
}

fn planner_value<'a>(value: &Bound<'a>) -> Option<Value<'a>> {
    Some(match *value {
        Bound::Null => Value::Null,
        Bound::Int(n) => Value::Int(n),
        Bound::UInt(n) => Value::UInt(n),
        Bound::Float(f) => Value::Float(f64::from(f)),
        Bound::Double(f) => Value::Float(f),
        Bound::Bytes(bytes) => Value::Bytes(bytes),
        _ => return None,
    })
}

trait ChunkAt {
    fn first_chunk_at<const N: usize>(&self, at: usize) -> Option<[u8; N]>;
}

impl ChunkAt for [u8] {
    fn first_chunk_at<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..)?.first_chunk::<N>().copied()
    }
}
