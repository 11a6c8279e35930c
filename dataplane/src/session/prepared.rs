//! Prepared statements in the binary protocol. They are prepared on the servers that run them, when they first do; the
//! client's ids are ours, an execution's packet goes on with only its id changed, answers are relayed undecoded.
use super::answer::{Answer, Done};
use super::plan::Planned;
use super::query::{Wire, place_of, query_payload};
use super::values::Values;
use super::{Failure, Outcome, Session};
use crate::cache::CachedPlan;
use crate::error::sql_error;
use crate::link::Packet;
use crate::pool::{Backend, Place};
use crate::ring::Buf;
use ahash::AHashMap;
use coregate_planner::fingerprint::Fingerprint;
use coregate_planner::plan::{Action, Route, SessionAction, Target};
use coregate_planner::value::Value;
use coregate_protocol::column::{ColumnDefinition, ColumnType};
use coregate_protocol::command::encode as commands;
use coregate_protocol::command::execute::{BODY_AT, ExecuteBody, STMT_ID_AT};
use coregate_protocol::frame::{self, PacketWriter};
use coregate_protocol::response::{EofPacket, PrepareOk};
use coregate_protocol::value::{ParamType, Value as Bound};
use coregate_protocol::walker::{FeedState, PacketRole, ResponseKind, ResponseWalker, Summary};
use coregate_protocol::{Capabilities, Status};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Bytes of COM_STMT_SEND_LONG_DATA kept for one statement.
const LONG_DATA_MAX: usize = 1 << 30;
/// Flag of COM_STMT_EXECUTE: a cursor of any kind.
const CURSOR_FLAGS: u8 = 0x07;

/// A session's prepared statements.
#[derive(Default)]
pub(super) struct Statements {
    by_id: AHashMap<u32, Rc<Statement>>,
    last_id: u32,
    /// Prepared by `PREPARE name FROM ...`.
    pub(super) named: AHashMap<String, String>,
}

pub(super) struct Statement {
    /// Names the text on backend connections.
    key: u64,
    sql: Vec<u8>,
    fingerprint: Fingerprint,
    plan: RefCell<(u64, Rc<CachedPlan>)>,
    /// The parameters' types as the client bound them last, as on the wire, and a hash of them (0: never).
    types: RefCell<Vec<u8>>,
    types_hash: Cell<u64>,
    long_data: RefCell<Vec<(u16, Vec<u8>)>>,
    /// Where an open cursor is.
    cursor: Cell<Option<Place>>,
}

impl Session {
    fn statement_of(&self, id: u32, command: &str) -> Outcome<Rc<Statement>> {
        let found = self
            .statements
            .as_ref()
            .and_then(|s| s.by_id.get(&id).cloned());
        found.ok_or_else(|| {
            let message = format!("Unknown prepared statement handler ({id}) given to {command}");
            Failure::Sql(sql_error(1243, message))
        })
    }

    pub(super) fn has_cursor_at(&self, place: Place) -> bool {
        self.statements
            .as_ref()
            .is_some_and(|s| s.by_id.values().any(|s| s.cursor.get() == Some(place)))
    }

    /// COM_STMT_PREPARE.
    pub(super) async fn prepare(&mut self, sql: Vec<u8>, answer: &mut Answer) -> Outcome {
        let (fingerprint, entry) = self.plan_prepared(&sql)?;
        if fingerprint.more {
            return Err(sql_error(
                1295,
                "This command is not supported in the prepared statement protocol yet",
            )
            .into());
        }
        let limit = self.core.config().statements_max;
        let statements = self.statements.get_or_insert_default();
        if statements.by_id.len() >= limit {
            let message =
                format!("Can't create more than max_prepared_stmt_count statements (current value: {limit})");
            return Err(sql_error(1461, message).into());
        }
        statements.last_id = statements.last_id.wrapping_add(1).max(1);
        let id = statements.last_id;
        let key = text_key(&sql);
        let version = self.core.snapshot.borrow().version;
        let params = fingerprint.params;
        let statement = Rc::new(Statement {
            key,
            sql,
            fingerprint,
            plan: RefCell::new((version, Rc::clone(&entry))),
            types: RefCell::default(),
            types_hash: Cell::new(0),
            long_data: RefCell::default(),
            cursor: Cell::new(None),
        });
        let described = match &entry.plan.action {
            Action::Route(route) => self.describe(&statement, &entry, route, id, answer).await?,
            action => {
                self.describe_local(action, params, id, answer);
                true
            }
        };
        if described && let Some(statements) = &mut self.statements {
            statements.by_id.insert(id, statement);
        }
        Ok(())
    }

    /// Prepares on one of the servers, whose answer tells the columns, and relays it with our id. `false`: it was an error.
    async fn describe(
        &mut self,
        statement: &Statement,
        entry: &CachedPlan,
        route: &Route,
        id: u32,
        answer: &mut Answer,
    ) -> Outcome<bool> {
        let place = match &route.to {
            Target::DropIn => Place::DropIn,
            Target::Keyspace { keyspace, shards } => {
                let shard =
                    if let coregate_planner::plan::Destination::Shard(shard) = shards { *shard } else { 0 };
                let held = self
                    .held
                    .iter()
                    .map(|(place, _)| *place)
                    .find(|place| matches!(place, Place::Shard { keyspace: k, .. } if k == keyspace));
                held.unwrap_or_else(|| Place::Shard {
                    keyspace: *keyspace,
                    shard,
                    kind: route.tablet_kind.into(),
                })
            }
        };
        let text = self.text_for(statement, entry, route)?;
        let (key, text) = text.map_or_else(|| (statement.key, statement.sql.clone()), |t| (text_key(&t), t));
        let mut backend = self.acquire(place, entry.plan.class).await?;
        let mut payload = Vec::with_capacity(text.len() + 1);
        commands::stmt_prepare(&mut payload, &text);
        backend.send_payload(&payload);
        let result = self.relay_prepared(&mut backend, id, answer).await;
        match result {
            Ok(summary) => {
                if let Some(prepared) = summary.prepare {
                    self.register(&mut backend, key, prepared.stmt_id);
                }
                self.keep_or_return(place, backend);
                Ok(summary.error.is_none())
            }
            Err(failure) => Err(self.broken(backend, failure)),
        }
    }

    /// The statement's text with the session's values in it, if it has such places.
    fn text_for(&self, statement: &Statement, entry: &CachedPlan, route: &Route) -> Outcome<Option<Vec<u8>>> {
        if !coregate_planner::resolve::has_session_values(route) {
            return Ok(None);
        }
        let values = Values { session: self, params: &[] };
        let nulls: Vec<Value<'_>> = vec![Value::Int(1); usize::from(statement.fingerprint.params)];
        let mut resolved = self.bind(&statement.sql, &statement.fingerprint, entry, &nulls, &values, true)?;
        Ok(resolved.shards.first_mut().and_then(|s| s.text.take()))
    }

    fn register(&mut self, backend: &mut Backend, key: u64, id: u32) {
        if let Some(evicted) = backend.remember_statement(key, id) {
            close_on(backend, evicted);
        }
    }

    async fn relay_prepared(
        &mut self,
        backend: &mut Backend,
        id: u32,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let mut walker = ResponseWalker::new(ResponseKind::Prepare, backend.capabilities);
        let mut out = Vec::new();
        while walker.state() != FeedState::Done {
            let mut packet = self.next_packet(backend, walker.next_seq()).await?;
            let role = super::relay::step(&mut walker, packet.payload(), packet.seq)?;
            if role == PacketRole::PrepareOk
                && let Some(place) = packet.payload_mut().get_mut(STMT_ID_AT)
            {
                place.copy_from_slice(&id.to_le_bytes());
            }
            frame::write_packet(&mut out, &mut answer.seq, packet.payload());
        }
        backend.busy = false;
        self.client.link.send(Buf::from(out));
        Ok(*walker.summary())
    }

    /// A statement that the session runs itself: its columns are known, its parameters are anything.
    fn describe_local(&mut self, action: &Action, params: u16, id: u32, answer: &mut Answer) {
        let names: &[String] = if let Action::Rows(rows) = action { &rows.columns } else { &[] };
        let capabilities = self.capabilities;
        let status = self.status();
        let mut out = Vec::new();
        let mut writer = PacketWriter::new(&mut out, &mut answer.seq);
        let ok = PrepareOk {
            stmt_id: id,
            columns: names.len() as u16,
            params,
            warnings: 0,
            metadata_follows: true,
        };
        writer.packet(|w| ok.encode(capabilities, w));
        let eof = EofPacket { warnings: 0, status };
        let mut definitions = |names: &[&str]| {
            for name in names {
                let column = ColumnDefinition::expression(name.as_bytes(), ColumnType::VAR_STRING);
                writer.packet(|w| column.encode(capabilities, w));
            }
            if !names.is_empty() && !capabilities.contains(Capabilities::DEPRECATE_EOF) {
                writer.packet(|w| eof.encode(w));
            }
        };
        definitions(&vec!["?"; usize::from(params)]);
        definitions(&names.iter().map(String::as_str).collect::<Vec<_>>());
        self.client.link.send(Buf::from(out));
    }

    /// COM_STMT_EXECUTE.
    pub(super) async fn execute(&mut self, packet: Packet) -> Outcome {
        let mut answer = Answer { binary: true, ..Answer::first() };
        let result = self.execute_statement(packet, &mut answer).await;
        self.finish(&mut answer, result)
    }

    async fn execute_statement(&mut self, packet: Packet, answer: &mut Answer) -> Outcome {
        let payload = packet.payload();
        let (Some(id), Some(&flags)) = (payload.first_chunk_at::<4>(1), payload.get(5)) else {
            return Err(super::command::unknown());
        };
        let id = u32::from_le_bytes(id);
        let statement = self.statement_of(id, "mysqld_stmt_execute")?;
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
            let types = statement.types.borrow();
            let types: SmallVec<[ParamType; 8]> = types
                .chunks_exact(2)
                .map(|t| ParamType::from_bytes([t[0], t[1]]))
                .collect();
            let long = statement.long_data.borrow();
            let is_long = |n: usize| long.iter().any(|(param, _)| usize::from(*param) == n);
            let mut bound: SmallVec<[Bound<'_>; 8]> = SmallVec::new();
            let mut kinds: SmallVec<[ColumnType; 8]> = SmallVec::new();
            for (n, value) in parsed.values(&types, is_long).enumerate() {
                let (ty, value) = value?;
                kinds.push(ty.column_type);
                let from_long = long.iter().find(|(param, _)| usize::from(*param) == n);
                bound.push(from_long.map_or(value, |(_, data)| Bound::Bytes(data)));
            }
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
            self.bind(&statement.sql, &statement.fingerprint, &entry, &values, &session_values, true)?
        };
        if !self.warnings_are_empty() {
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

    /// The statement's plan, made anew when the snapshot or the session's target has changed.
    fn current_plan(&mut self, statement: &Statement) -> Outcome<Rc<CachedPlan>> {
        let version = self.core.snapshot.borrow().version;
        {
            let plan = statement.plan.borrow();
            if plan.0 == version {
                return Ok(Rc::clone(&plan.1));
            }
        }
        let (_, entry) = self.plan_prepared(&statement.sql)?;
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
        let mut backend = match self.ready_for(place) {
            Some(backend) => backend,
            None => Box::pin(self.acquire(place, plan.class)).await?,
        };
        let key = text.as_deref().map_or(statement.key, text_key);
        let known = backend.statement(key).map(|s| (s.id, s.types));
        let (id, types) = match known {
            Some(known) => known,
            None => {
                let sql = text.as_deref().unwrap_or(&statement.sql);
                match Box::pin(self.prepare_on(&mut backend, key, sql)).await {
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
            let open = summary.status_seen.contains(Status::CURSOR_EXISTS)
                && !summary.status.contains(Status::LAST_ROW_SENT);
            statement.cursor.set(open.then_some(place));
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

    #[inline]
    fn ready_for(&mut self, place: Place) -> Option<Box<Backend>> {
        if !self.held.is_empty() || self.in_transaction() {
            return None;
        }
        self.core
            .pools
            .get(place)?
            .try_take(self.flavour, &self.settings)
    }

    fn give_back_or_break(&mut self, place: Place, backend: Box<Backend>, failure: Failure) -> Failure {
        if backend.busy {
            return self.broken(backend, failure);
        }
        self.keep_or_return(place, backend);
        failure
    }

    /// Prepares a text on a connection that does not know it yet.
    async fn prepare_on(&mut self, backend: &mut Backend, key: u64, sql: &[u8]) -> Outcome<u32> {
        let mut payload = Vec::with_capacity(sql.len() + 1);
        commands::stmt_prepare(&mut payload, sql);
        backend.send_payload(&payload);
        let mut walker = ResponseWalker::new(ResponseKind::Prepare, backend.capabilities);
        let mut error = None;
        while walker.state() != FeedState::Done {
            let packet = self.next_packet(backend, walker.next_seq()).await?;
            if super::relay::step(&mut walker, packet.payload(), packet.seq)? == PacketRole::Err {
                error = Some(super::scatter::error_of(packet.payload()));
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
        let opens = route.combine == coregate_planner::plan::Combine::Sum
            && self.autocommit
            && !self.in_transaction();
        for place in places {
            let mut backend = Box::pin(self.acquire(place, entry.plan.class)).await?;
            let known = backend.statement(statement.key).map(|s| s.id);
            let id = match known {
                Some(id) => id,
                None => match self
                    .prepare_on(&mut backend, statement.key, &statement.sql)
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
        let _ = opens;
        let result = self
            .several(&entry.plan, route, wires, ResponseKind::Execute, answer)
            .await;
        statement.long_data.borrow_mut().clear();
        self.release_held();
        result.map(|_| ())
    }

    /// A statement of the session's own, prepared: BEGIN, SET, SHOW SHARDS.
    /// SET with parameters: runs as text, with the values in it.
    async fn execute_set(
        &mut self,
        statement: &Statement,
        parsed: &ExecuteBody<'_>,
        answer: &mut Answer,
    ) -> Outcome {
        let mut sql = Vec::new();
        {
            let types = statement.types.borrow();
            let types: SmallVec<[ParamType; 8]> = types
                .chunks_exact(2)
                .map(|t| ParamType::from_bytes([t[0], t[1]]))
                .collect();
            let long = statement.long_data.borrow();
            let is_long = |n: usize| long.iter().any(|(param, _)| usize::from(*param) == n);
            let places = coregate_planner::fingerprint::param_places(&statement.sql, self.sql_mode)?;
            let mut at = 0;
            for ((n, value), place) in parsed.values(&types, is_long).enumerate().zip(places) {
                sql.extend_from_slice(statement.sql.get(at..place).unwrap_or_default());
                let from_long = long.iter().find(|(param, _)| usize::from(*param) == n);
                let value = from_long.map_or(value?.1, |(_, data)| Bound::Bytes(data));
                value.write_literal(self.status(), &mut sql);
                at = place + 1;
            }
            sql.extend_from_slice(statement.sql.get(at..).unwrap_or_default());
        }
        statement.long_data.borrow_mut().clear();
        self.run_text(&sql, answer).await
    }

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

    pub(super) async fn close_statement(&mut self, id: u32) -> Outcome {
        let Some(statements) = &mut self.statements else { return Ok(()) };
        let Some(statement) = statements.by_id.remove(&id) else { return Ok(()) };
        if statement.cursor.take().is_some() {
            self.end_cursor(&statement).await;
        }
        // No answer; on the servers the statement stays for whoever prepares the same text next.
        Ok(())
    }

    pub(super) async fn reset_statement(&mut self, id: u32, answer: &mut Answer) -> Outcome {
        let statement = self.statement_of(id, "mysqld_stmt_reset")?;
        statement.long_data.borrow_mut().clear();
        if statement.cursor.take().is_some() {
            self.end_cursor(&statement).await;
        }
        self.send_ok(answer, Done::default());
        Ok(())
    }

    /// Closes a cursor on its server, and lets go of the connection.
    async fn end_cursor(&mut self, statement: &Statement) {
        let core = self.core.clone();
        for (_, backend) in &mut self.held {
            let Some(id) = backend.statement(statement.key).map(|s| s.id) else { continue };
            let mut payload = Vec::new();
            commands::stmt_reset(&mut payload, id);
            if backend
                .run(&core, &payload, ResponseKind::Simple, |_| {})
                .await
                .is_err()
            {
                backend.tainted = true;
            }
        }
        self.release_held();
    }

    pub(super) fn long_data(&mut self, id: u32, param: u16, data: &[u8]) -> Outcome {
        // There is no answer to this command: what is wrong shows at the execution.
        let Ok(statement) = self.statement_of(id, "mysqld_stmt_send_long_data") else { return Ok(()) };
        let mut long = statement.long_data.borrow_mut();
        let held: usize = long.iter().map(|(_, bytes)| bytes.len()).sum();
        if param >= statement.fingerprint.params || held + data.len() > LONG_DATA_MAX {
            return Ok(());
        }
        match long.iter_mut().find(|(known, _)| *known == param) {
            Some((_, bytes)) => bytes.extend_from_slice(data),
            None => long.push((param, data.to_vec())),
        }
        Ok(())
    }

    /// COM_STMT_FETCH: rows of an open cursor.
    pub(super) async fn fetch(&mut self, id: u32, mut payload: Vec<u8>, answer: &mut Answer) -> Outcome {
        let statement = self.statement_of(id, "mysqld_stmt_fetch")?;
        let nothing = || Failure::Sql(sql_error(1421, format!("The statement ({id}) has no open cursor.")));
        let place = statement.cursor.get().ok_or_else(nothing)?;
        let at = self
            .held
            .iter()
            .position(|(held, _)| *held == place)
            .ok_or_else(nothing)?;
        let (_, mut backend) = self.held.swap_remove(at);
        let theirs = backend
            .statement(statement.key)
            .map(|s| s.id)
            .unwrap_or_default();
        if let Some(bytes) = payload.get_mut(STMT_ID_AT) {
            bytes.copy_from_slice(&theirs.to_le_bytes());
        }
        backend.send_payload(&payload);
        match self.relay(&mut backend, ResponseKind::Fetch, answer).await {
            Ok(summary) => {
                if summary.status.contains(Status::LAST_ROW_SENT) || summary.error.is_some() {
                    statement.cursor.set(None);
                }
                self.keep_or_return(place, backend);
                Ok(())
            }
            Err(failure) => Err(self.broken(backend, failure)),
        }
    }
}

impl Statement {
    fn bind_types(&self, types: &[u8]) {
        let mut known = self.types.borrow_mut();
        if known.as_slice() != types {
            known.clear();
            known.extend_from_slice(types);
        }
        self.types_hash.set(text_key(types) | 1);
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

fn close_on(backend: &mut Backend, id: u32) {
    let mut payload = Vec::new();
    commands::stmt_close(&mut payload, id);
    backend.send_unanswered(&payload);
}

fn send_long_data(statement: &Statement, backend: &mut Backend, id: u32) {
    for (param, data) in statement.long_data.borrow().iter() {
        let mut payload = Vec::with_capacity(data.len() + 7);
        commands::stmt_send_long_data(&mut payload, id, *param, data);
        backend.send_unanswered(&payload);
    }
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

/// Names a text: the same for the same bytes on this core, and for different ones different but for 2^-64.
fn text_key(bytes: &[u8]) -> u64 {
    thread_local! {
        static SEED: ahash::RandomState = ahash::RandomState::new();
    }
    SEED.with(|seed| seed.hash_one(bytes))
}

trait ChunkAt {
    fn first_chunk_at<const N: usize>(&self, at: usize) -> Option<[u8; N]>;
}

impl ChunkAt for [u8] {
    fn first_chunk_at<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..)?.first_chunk::<N>().copied()
    }
}
