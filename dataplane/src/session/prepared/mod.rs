//! Prepared statements in the binary protocol. They are prepared on the servers that run them, when
//! they first do; the client's ids are ours, an execution's packet goes on with only its id
//! changed, answers are relayed undecoded.
mod again;
mod bind;
mod bulk;
mod cursor;
mod described;
mod execute;
mod packet;
mod room;

use super::answer::{Answer, Done};
use super::plan::Kind;
use super::{Failure, Outcome, Session};
use crate::cache::CachedPlan;
use crate::error::sql_error;
use crate::pool::{Backend, Place};
use crate::ring::Buf;
use crate::settings::Settings;
pub(super) use again::BindAgain;
use ahash::AHashMap;
use coregate_planner::charset::Charsets;
use coregate_planner::fingerprint::{Fingerprint, SqlMode};
use coregate_planner::plan::{Action, Destination, Effects, Route, SessionAction, Target};
use coregate_planner::snapshot::{KeyspaceIdx, ShardIdx};
use coregate_protocol::Capabilities;
use coregate_protocol::column::{ColumnDefinition, ColumnType};
use coregate_protocol::command::encode as commands;
use coregate_protocol::frame::PacketWriter;
use coregate_protocol::response::{EofPacket, PrepareOk};
use cursor::Cursor;
use described::{describing_route, finished};
use room::preparable;
pub(super) use room::{PAUSES, TOO_MANY_STATEMENTS};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// MariaDB: the statement prepared last, if that succeeded, so that PREPARE and EXECUTE can be sent
/// together.
const NEWEST: u32 = u32::MAX;

/// A session's prepared statements.
#[derive(Default)]
pub(super) struct Statements {
    by_id: AHashMap<u32, Rc<Statement>>,
    last_id: u32,
    /// What [`NEWEST`] means; 0: nothing.
    newest: u32,
    /// How many of them have a cursor open.
    cursors: usize,
    /// Prepared by `PREPARE name FROM ...`.
    pub(super) named: AHashMap<String, Rc<Statement>>,
    /// The same on one server, whose connection has it.
    pub(super) named_at: AHashMap<String, Place>,
}

impl Statements {
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty() && self.named.is_empty() && self.named_at.is_empty()
    }

    fn meant_by(&self, id: u32) -> u32 {
        if id == NEWEST { self.newest } else { id }
    }
}

pub(super) struct Statement {
    sql: Vec<u8>,
    made_under: MadeUnder,
    /// Names the text, read so, on backend connections.
    key: u64,
    fingerprint: Fingerprint,
    plan: RefCell<(u64, Rc<CachedPlan>)>,
    /// The parameters' types as the client bound them last, as on the wire, and a hash of them (0:
    /// never).
    types: RefCell<Vec<u8>>,
    types_hash: Cell<u64>,
    long_data: RefCell<Vec<(u16, Vec<u8>)>>,
    /// More was sent than may be.
    long_data_full: Cell<bool>,
    cursor: Cell<Option<Cursor>>,
    empty_cursor: Cell<bool>,
}

/// What decides on how a text is read, as it was when the statement was prepared: it stays so,
/// whatever the session selects and sets later.
struct MadeUnder {
    target: RefCell<super::Target>,
    sql_mode: SqlMode,
    settings: Rc<Settings>,
    /// As its plan was made, which follows the session.
    foreign_keys_off: Cell<bool>,
    /// Those of literals that are not ASCII; parameters are in the sets of their execution.
    charsets: Option<Charsets>,
}

impl MadeUnder {
    /// Names a text that is read under these: the same for the same bytes under the same settings
    /// on this core, and for others different but for 2^-64.
    fn key_of(&self, text: &[u8]) -> u64 {
        thread_local! {
            static SEED: ahash::RandomState = ahash::RandomState::new();
        }
        SEED.with(|seed| seed.hash_one((self.settings.of_the_text(), text)))
    }
}

/// What was selected when a statement was prepared.
pub(super) struct MadeFor(pub(super) super::Target);

impl Statement {
    /// What its names mean, for a run in steps.
    pub(super) fn made_for(&self) -> MadeFor {
        MadeFor(self.made_under.target.borrow().clone())
    }

    pub(super) fn sql(&self) -> &[u8] {
        &self.sql
    }

    fn forget_long_data(&self) {
        self.long_data_full.set(false);
        let mut long = self.long_data.borrow_mut();
        if !long.is_empty() {
            *long = Vec::new();
        }
    }

    pub(super) fn params(&self) -> usize {
        usize::from(self.fingerprint.params)
    }

    /// Those that it was prepared under.
    pub(super) fn settings(&self) -> &Settings {
        &self.made_under.settings
    }

    /// Would its text, or what is made of it, mean the same now?
    pub(super) fn means_the_same(&self, settings: &Rc<Settings>, sql_mode: SqlMode) -> bool {
        let then = &self.made_under;
        then.sql_mode == sql_mode
            && (Rc::ptr_eq(&then.settings, settings) || then.settings.has_charsets_of(settings))
    }

    /// See [`MadeUnder::charsets`].
    pub(super) fn charsets(&self) -> Option<Charsets> {
        self.made_under.charsets
    }

    /// Its text, or what stands for it now, with its name on connections.
    fn key_and_text(&self, text: Option<Vec<u8>>) -> (u64, Vec<u8>) {
        match text {
            Some(text) => (self.made_under.key_of(&text), text),
            None => (self.key, self.sql.clone()),
        }
    }

    /// Its text with something else in the place of its parameters.
    pub(super) fn with_params(&self, mut put: impl FnMut(usize, &mut Vec<u8>)) -> Outcome<Vec<u8>> {
        let places =
            coregate_planner::fingerprint::param_places(&self.sql, self.made_under.sql_mode)?;
        let mut out = Vec::new();
        let mut at = 0;
        for (n, place) in places.into_iter().enumerate() {
            out.extend_from_slice(self.sql.get(at..place).unwrap_or_default());
            put(n, &mut out);
            at = place + 1;
        }
        out.extend_from_slice(self.sql.get(at..).unwrap_or_default());
        Ok(out)
    }
}

impl Session {
    fn statement_of(&self, id: u32, command: &str) -> Outcome<Rc<Statement>> {
        let found = self
            .statements
            .as_ref()
            .and_then(|s| s.by_id.get(&s.meant_by(id)).cloned());
        found.ok_or_else(|| {
            let message = format!("Unknown prepared statement handler ({id}) given to {command}");
            Failure::Sql(sql_error(1243, message))
        })
    }

    /// COM_STMT_PREPARE.
    pub(in crate::session) async fn prepare(
        &mut self,
        sql: Vec<u8>,
        answer: &mut Answer,
    ) -> Outcome {
        if let Some(statements) = &mut self.statements {
            statements.newest = 0;
        }
        let (statement, entry) = self.new_statement(sql)?;
        let limit = self.core.config().statements_max;
        let statements = self.statements.get_or_insert_default();
        if statements.by_id.len() >= limit {
            let message = format!(
                "Can't create more than max_prepared_stmt_count statements (current value: {limit})"
            );
            return Err(sql_error(1461, message).into());
        }
        statements.last_id = match statements.last_id {
            id if id >= NEWEST - 1 => 1,
            id => id + 1,
        };
        let id = statements.last_id;
        let params = statement.fingerprint.params;
        let described = match &entry.plan.action {
            action if let Some((tree, finish)) = finished(action) => {
                let described = self.finished(&statement, tree, finish, id, answer);
                let (out, error) = Box::pin(described).await?;
                self.client.stream.link.send(Buf::from(out));
                error.is_none()
            }
            action if let Some(route) = describing_route(action) => {
                self.describe(&statement, &entry, route, id, answer).await?
            }
            action => {
                self.describe_local(action, params, id, answer);
                true
            }
        };
        if described && let Some(statements) = &mut self.statements {
            statements.by_id.insert(id, statement);
            statements.newest = id;
        }
        Ok(())
    }

    fn new_statement(&mut self, sql: Vec<u8>) -> Outcome<(Rc<Statement>, Rc<CachedPlan>)> {
        let sql = self.text_to_prepare(sql);
        let (fingerprint, entry) = self.plan_prepared(&sql, Kind::PREPARED)?;
        if let Action::Session(action) = &entry.plan.action {
            preparable(action, self.core.is_mariadb())?;
        }
        let version = self.core.snapshot.borrow().version;
        let made_under = MadeUnder {
            target: RefCell::new(self.target.clone()),
            sql_mode: self.state.sql_mode,
            settings: Rc::clone(&self.state.settings),
            foreign_keys_off: Cell::new(self.state.foreign_keys_off),
            charsets: (!sql.is_ascii()).then_some(self.state.charsets),
        };
        let statement = Rc::new(Statement {
            key: made_under.key_of(&sql),
            sql,
            made_under,
            fingerprint,
            plan: RefCell::new((version, Rc::clone(&entry))),
            types: RefCell::default(),
            types_hash: Cell::new(0),
            long_data: RefCell::default(),
            long_data_full: Cell::new(false),
            cursor: Cell::new(None),
            empty_cursor: Cell::new(false),
        });
        Ok((statement, entry))
    }

    /// Prepares a statement that the client knows by a name of its own; a server says what is wrong
    /// with it.
    pub(super) async fn prepare_unseen(&mut self, sql: Vec<u8>) -> Outcome<Rc<Statement>> {
        let (statement, entry) = self.new_statement(sql)?;
        if let Some((tree, finish)) = finished(&entry.plan.action) {
            let mut answer = Answer::first();
            let described = self.finished(&statement, tree, finish, 0, &mut answer);
            if let (_, Some(error)) = Box::pin(described).await? {
                return Err(error.into());
            }
        } else if let Some(route) = describing_route(&entry.plan.action) {
            let place = self.place_to_describe(route)?;
            let text = self.text_for(&statement, &entry, route)?;
            let (key, text) = statement.key_and_text(text);
            let mut backend = self
                .acquire(place, entry.plan.effects | Effects::NO_TABLES)
                .await?;
            if backend.statement(key).is_none()
                && let Err(failure) = self.prepare_on(&mut backend, &statement, key, &text).await
            {
                return Err(self
                    .not_prepared(place, backend, failure, &mut Answer::first())
                    .await);
            }
            self.keep_or_return(place, backend);
        }
        Ok(statement)
    }

    /// Prepares on one of the servers, whose answer tells the columns, and relays it with our id.
    /// `false`: it was an error.
    async fn describe(
        &mut self,
        statement: &Statement,
        entry: &CachedPlan,
        route: &Route,
        id: u32,
        answer: &mut Answer,
    ) -> Outcome<bool> {
        let place = self.place_to_describe(route)?;
        let text = self.text_for(statement, entry, route)?;
        let (key, text) = statement.key_and_text(text);
        let mut backend = self
            .acquire(place, entry.plan.effects | Effects::NO_TABLES)
            .await?;
        let mut payload = Vec::with_capacity(text.len() + 1);
        commands::stmt_prepare(&mut payload, &text);
        let first = answer.seq;
        let mut pauses = PAUSES.into_iter();
        let result = loop {
            let pause = pauses.next();
            backend.send_payload(&payload);
            let result = self
                .relay_prepared(&mut backend, id, pause.is_some(), answer)
                .await;
            match (result, pause) {
                (Ok(None), Some(pause)) => self.make_room(&mut backend, pause).await,
                (result, _) => break result.map(Option::unwrap_or_default),
            }
        };
        if result.is_err() {
            // Nothing of it has been sent.
            answer.seq = first;
        }
        match result {
            Ok(summary) => {
                if let Some(prepared) = summary.prepare {
                    self.register(&mut backend, key, prepared.stmt_id);
                }
                self.keep_or_return(place, backend);
                Ok(summary.error.is_none())
            }
            Err(failure) => Err(self.lose(backend, failure)),
        }
    }

    /// Which of a keyspace's servers describes a statement: one that the session holds a connection
    /// to, else that of shard `wanted`.
    fn place_to_prepare(
        &self,
        keyspace: KeyspaceIdx,
        wanted: ShardIdx,
        route: &Route,
    ) -> Outcome<Place> {
        let snapshot = self.core.snapshot.borrow();
        let shards = snapshot
            .keyspaces
            .get(usize::from(keyspace))
            .map_or(&[][..], |k| k.shards.as_slice());
        let of_keyspace = |place: &Place| match place {
            Place::Shard { shard, .. } => shards.iter().any(|s| s.id == *shard),
            Place::DropIn => false,
        };
        if let Some(held) = self
            .transaction
            .held
            .iter()
            .map(|(place, _)| *place)
            .find(of_keyspace)
        {
            return Ok(held);
        }
        let shard = shards
            .get(usize::from(wanted))
            .ok_or_else(|| sql_error(1105, "the keyspace has no such shard any more"))?;
        Ok(Place::Shard { shard: shard.id, kind: route.tablet_kind.into() })
    }

    /// One of the servers that a statement may run on.
    fn place_to_describe(&self, route: &Route) -> Outcome<Place> {
        Ok(match &route.to {
            Target::DropIn => Place::DropIn,
            Target::Keyspace { keyspace, shards } => {
                let wanted = if let Destination::Shard(shard) = shards { *shard } else { 0 };
                self.place_to_prepare(*keyspace, wanted, route)?
            }
        })
    }

    fn register(&mut self, backend: &mut Backend, key: u64, id: u32) {
        if let Some(evicted) = backend.remember_statement(key, id) {
            close_on(backend, evicted);
        }
    }

    /// A statement that the session runs itself: its columns are known, its parameters are
    /// anything.
    fn describe_local(&mut self, action: &Action, params: u16, id: u32, answer: &mut Answer) {
        let next = ["nextval".to_owned()];
        let names: &[String] = match action {
            Action::Rows(rows) => &rows.columns,
            Action::Session(SessionAction::NextValues { .. }) => &next,
            Action::Session(SessionAction::VindexRows { columns, .. }) => columns,
            _ => &[],
        };
        let capabilities = self.client.capabilities;
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
                let column = match action {
                    Action::Session(SessionAction::NextValues { .. }) if *name != "?" => {
                        ColumnDefinition::expression(name.as_bytes(), ColumnType::LONGLONG)
                    }
                    _ => column,
                };
                writer.packet(|w| column.encode(capabilities, w));
            }
            if !names.is_empty() && !capabilities.contains(Capabilities::DEPRECATE_EOF) {
                writer.packet(|w| eof.encode(w));
            }
        };
        definitions(&vec!["?"; usize::from(params)]);
        definitions(&names.iter().map(String::as_str).collect::<Vec<_>>());
        self.client.stream.link.send(Buf::from(out));
    }

    pub(in crate::session) async fn close_statement(&mut self, id: u32) -> Outcome {
        // No answer; on the servers the statement stays for whoever prepares the same text next.
        let Some(statements) = &mut self.statements else { return Ok(()) };
        let id = statements.meant_by(id);
        if statements.newest == id {
            statements.newest = 0;
        }
        let Some(statement) = statements.by_id.remove(&id) else { return Ok(()) };
        self.end_cursor(&statement).await;
        Ok(())
    }

    /// Every execution takes what was sent for it, whatever comes of it.
    #[inline]
    fn forget_long_data(&self, id: u32) {
        if let Ok(statement) = self.statement_of(id, "") {
            statement.forget_long_data();
        }
    }

    pub(in crate::session) async fn reset_statement(
        &mut self,
        id: u32,
        answer: &mut Answer,
    ) -> Outcome {
        let statement = self.statement_of(id, "mysqld_stmt_reset")?;
        statement.forget_long_data();
        self.end_cursor(&statement).await;
        self.send_ok(answer, Done::default());
        Ok(())
    }

    pub(in crate::session) fn long_data(&mut self, id: u32, param: u16, data: &[u8]) -> Outcome {
        // There is no answer to this command: what is wrong shows at the execution.
        let Ok(statement) = self.statement_of(id, "mysqld_stmt_send_long_data") else {
            return Ok(());
        };
        let mut long = statement.long_data.borrow_mut();
        let held: usize = long.iter().map(|(_, bytes)| bytes.len()).sum();
        if param >= statement.fingerprint.params || statement.long_data_full.get() {
            return Ok(());
        }
        if held + data.len() > self.core.config().max_allowed_packet {
            *long = Vec::new();
            statement.long_data_full.set(true);
            return Ok(());
        }
        match long.iter_mut().find(|(known, _)| *known == param) {
            Some((_, bytes)) => bytes.extend_from_slice(data),
            None => long.push((param, data.to_vec())),
        }
        Ok(())
    }
}

fn close_on(backend: &mut Backend, id: u32) {
    let mut payload = Vec::new();
    commands::stmt_close(&mut payload, id);
    backend.send_unanswered(&payload);
}
