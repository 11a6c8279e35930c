//! Statements that the session runs itself.
use super::answer::{Answer, Done};
use super::{Failure, Interrupt, Outcome, Session, Target};
use crate::error::sql_error;
use crate::pool::Place;
use coregate_planner::PlanError;
use coregate_planner::plan::{
    Action, Effects, LocalRows, Plan, PrepareSource, SessionAction, StatementClass,
};
use coregate_planner::route::is_system;
use coregate_planner::snapshot::Snapshot;
use coregate_planner::target::parse_target;
use coregate_protocol::walker::ResponseKind;
use std::rc::Rc;
use std::sync::Arc;

/// SQL-level prepared statements of one session.
const NAMED_MAX: usize = 1024;

impl Session {
    pub(super) async fn local(&mut self, plan: &Plan, sql: &[u8], answer: &mut Answer) -> Outcome {
        if plan
            .effects
            .intersects(Effects::PIN | Effects::ASSIGNS_VARIABLES)
        {
            // A value of SET may take a lock: whatever connection runs it is kept.
            self.pinned = true;
        }
        match &plan.action {
            Action::Session(action) => self.session_action(action, sql, answer).await,
            Action::Rows(rows) => {
                self.clear_warnings();
                self.send_local_rows(rows, answer);
                Ok(())
            }
            Action::AlterVschema { .. } => self.alter_vschema(sql, answer).await,
            Action::Route(_) => Err(sql_error(1105, "a route is not a local statement").into()),
        }
    }

    fn send_local_rows(&mut self, rows: &LocalRows, answer: &mut Answer) {
        let columns: Vec<&str> = rows.columns.iter().map(String::as_str).collect();
        self.found_rows = rows.rows.len() as u64;
        self.row_count = -1;
        self.send_rows(answer, &columns, &rows.rows);
    }

    async fn session_action(&mut self, action: &SessionAction, sql: &[u8], answer: &mut Answer) -> Outcome {
        // Statements without tables leave the last one's warnings where they are.
        match action {
            SessionAction::Begin { .. }
            | SessionAction::Commit { .. }
            | SessionAction::Rollback { .. }
            | SessionAction::Savepoint(_)
            | SessionAction::RollbackTo(_)
            | SessionAction::ReleaseSavepoint(_) => {
                self.row_count = 0;
                self.transaction_action(action, answer).await
            }
            SessionAction::Set(assignments) => {
                self.row_count = 0;
                self.set(assignments, sql, answer).await
            }
            SessionAction::Use(name) => {
                self.use_database(name).await?;
                self.send_ok(answer, Done::default());
                Ok(())
            }
            SessionAction::Kill { query_only, id } => {
                let id =
                    u32::try_from(*id).map_err(|_| sql_error(1094, format!("Unknown thread id: {id}")))?;
                self.kill(id, if *query_only { Interrupt::KillQuery } else { Interrupt::KillConnection })
                    .await?;
                self.send_ok(answer, Done::default());
                Ok(())
            }
            SessionAction::ShowWarnings { kind, count_only, offset, limit } => {
                self.show_warnings(*kind, *count_only, *offset, *limit, answer)
            }
            SessionAction::Prepare { .. }
            | SessionAction::Execute { .. }
            | SessionAction::Deallocate { .. }
                if self.places_of_target().len() == 1 =>
            {
                self.on_the_server(sql, answer).await
            }
            SessionAction::Prepare { name, source } => self.prepare_named(name, source, answer).await,
            SessionAction::Execute { name, using } => self.execute_named(name, using, answer).await,
            SessionAction::Deallocate { name } => {
                let name = name.to_lowercase();
                let known = self
                    .statements
                    .as_mut()
                    .is_some_and(|s| s.named.remove(&name).is_some());
                if !known {
                    return Err(sql_error(
                        1243,
                        format!("Unknown prepared statement handler ({name}) given to DEALLOCATE PREPARE"),
                    )
                    .into());
                }
                self.send_ok(answer, Done::default());
                Ok(())
            }
            SessionAction::UnlockTables => {
                self.unlock_tables().await?;
                self.send_ok(answer, Done::default());
                Ok(())
            }
            SessionAction::Nothing => {
                self.send_ok(answer, Done::default());
                Ok(())
            }
        }
    }

    /// BEGIN releases the tables that LOCK TABLES has locked, and others wait for that: it cannot be put off there.
    pub(super) async fn begin_on_pinned(&mut self, begin: &str) -> Outcome {
        if !self.pinned {
            return Ok(());
        }
        self.transaction.locked = false;
        let core = self.core.clone();
        for at in 0..self.held.len() {
            let (_, backend) = &mut self.held[at];
            if !backend.in_transaction {
                backend.execute(&core, begin).await?;
            }
        }
        Ok(())
    }

    /// Runs a statement as it is on the only server that the session's target has, and keeps that connection: what the
    /// statement sets up lives there.
    async fn on_the_server(&mut self, sql: &[u8], answer: &mut Answer) -> Outcome {
        let place = self.any_place()?;
        let plan = Plan {
            action: Action::Session(SessionAction::Nothing),
            class: StatementClass::Prepare,
            effects: Effects::PIN,
            cacheable: false,
            tables: Vec::new(),
            directives: Default::default(),
        };
        let wire = super::query::Wire::Payload(super::query::query_payload(sql));
        self.one(&plan, place, wire, ResponseKind::Query, answer)
            .await
            .map(|_| ())
    }

    /// `PREPARE name FROM ...`: the text is kept, EXECUTE runs it with the variables' values in it.
    async fn prepare_named(&mut self, name: &str, source: &PrepareSource, answer: &mut Answer) -> Outcome {
        let text = match source {
            PrepareSource::Text(text) => text.clone(),
            PrepareSource::Variable(variable) => {
                let quoted = format!("SELECT @`{}`", variable.replace('`', "``"));
                self.fetch_value(&quoted)
                    .await?
                    .ok_or_else(|| sql_error(1065, "Query was empty"))?
            }
        };
        let text = String::from_utf8_lossy(&self.text_to_prepare(text.into_bytes())).into_owned();
        self.plan_prepared(text.as_bytes())?;
        let named = &mut self.statements.get_or_insert_default().named;
        if named.len() >= NAMED_MAX {
            return Err(sql_error(
                1461,
                format!("Can't create more than {NAMED_MAX} prepared statements by name in a session"),
            )
            .into());
        }
        named.insert(name.to_lowercase(), text);
        self.send_ok(answer, Done { info: b"Statement prepared", ..Done::default() });
        Ok(())
    }

    async fn execute_named(&mut self, name: &str, using: &[String], answer: &mut Answer) -> Outcome {
        let known = self
            .statements
            .as_ref()
            .and_then(|s| s.named.get(&name.to_lowercase()).cloned());
        let text = known.ok_or_else(|| {
            sql_error(1243, format!("Unknown prepared statement handler ({name}) given to EXECUTE"))
        })?;
        let (fingerprint, _) = self.plan_prepared(text.as_bytes())?;
        if usize::from(fingerprint.params) != using.len() {
            return Err(sql_error(1210, "Incorrect arguments to EXECUTE").into());
        }
        let sql = self.with_variables(&text, using).await?;
        Box::pin(self.run_text(sql.as_bytes(), answer)).await
    }

    /// The one value that a query of our own gives.
    async fn fetch_value(&mut self, sql: &str) -> Outcome<Option<String>> {
        let place = self.any_place()?;
        let core = self.core.clone();
        let mut backend = self.acquire(place, StatementClass::Select).await?;
        let value = backend.value(&core, sql).await;
        match value {
            Ok(value) => {
                self.keep_or_return(place, backend);
                Ok(value)
            }
            Err(e) => Err(self.broken(backend, e.into())),
        }
    }

    async fn with_variables(&mut self, text: &str, using: &[String]) -> Outcome<String> {
        let places = coregate_planner::fingerprint::param_places(text.as_bytes(), self.sql_mode)?;
        let mut sql = String::new();
        let mut at = 0;
        for (place, variable) in places.into_iter().zip(using) {
            let quoted = format!("@`{}`", variable.replace('`', "``"));
            let value = self
                .fetch_value(&format!("SELECT IF({quoted} IS NULL, 'NULL', QUOTE({quoted}))"))
                .await?;
            sql.push_str(text.get(at..place).unwrap_or_default());
            sql.push_str(value.as_deref().unwrap_or("NULL"));
            at = place + 1;
        }
        sql.push_str(text.get(at..).unwrap_or_default());
        Ok(sql)
    }

    /// `USE` and COM_INIT_DB.
    pub(super) async fn use_database(&mut self, name: &str) -> Outcome {
        let snapshot = self.core.snapshot.borrow().clone();
        // `@replica` keeps the keyspace and changes the type of tablet.
        let whole = match (name.strip_prefix('@'), &self.target.keyspace) {
            (Some(_), Some(keyspace)) => format!("{keyspace}{name}"),
            _ => name.to_owned(),
        };
        let target = Self::find_target(&snapshot, &whole)?;
        // A drop-in server's databases are selected there; a system schema of a cluster only in the planner's names.
        let database = (target.keyspace.is_none() && snapshot.drop_in.is_some()).then(|| whole.clone());
        if self.settings.database != database {
            let mut settings = (*self.settings).clone();
            settings.database = database;
            let settings = self.core.settings.intern(settings);
            let old = std::mem::replace(&mut self.settings, settings);
            let old_flavour = self.flavour;
            self.set_flavour();
            if self.settings.database.is_some() {
                // Only the server knows whether there is such a database.
                match self.acquire(Place::DropIn, StatementClass::Use).await {
                    Ok(backend) => self.keep_or_return(Place::DropIn, backend),
                    Err(failure) => {
                        (self.settings, self.flavour) = (old, old_flavour);
                        return Err(failure);
                    }
                }
            }
        }
        self.target = Target { version: snapshot.version, ..target };
        Ok(())
    }

    pub(super) fn find_target(snapshot: &Arc<Snapshot>, name: &str) -> Result<Target, PlanError> {
        let named = match parse_target(name, snapshot) {
            Ok(target) => target,
            Err(PlanError::UnknownDatabase(_)) if snapshot.drop_in.is_some() || is_system(name) => {
                return Ok(Target { database: Some(Rc::from(name)), ..Target::default() });
            }
            Err(e) => return Err(e),
        };
        let keyspace = named
            .keyspace
            .and_then(|index| snapshot.keyspaces.get(usize::from(index)));
        Ok(Target {
            database: Some(Rc::from(name)),
            keyspace: keyspace.map(|k| Rc::from(k.name.as_str())),
            index: named.keyspace,
            shard: named.shard,
            kind: named.tablet_kind.unwrap_or_default(),
            version: snapshot.version,
        })
    }

    /// A server for statements that any server can answer.
    pub(super) fn any_place(&self) -> Outcome<Place> {
        if let Some((place, _)) = self.held.first() {
            return Ok(*place);
        }
        let places = self.places_of_target();
        places
            .first()
            .copied()
            .ok_or_else(|| Failure::Sql(sql_error(1105, "there is no keyspace yet; create one first")))
    }

    /// Every server that the session's target stands for.
    pub(super) fn places_of_target(&self) -> Vec<Place> {
        let snapshot = self.core.snapshot.borrow();
        if snapshot.drop_in.is_some() && self.target.index.is_none() {
            return vec![Place::DropIn];
        }
        let index = self.target.index.unwrap_or(0);
        let shards = snapshot
            .keyspaces
            .get(usize::from(index))
            .map_or(0, |k| k.shards.len());
        let kind = self.target.kind.into();
        let all = 0..u16::try_from(shards).unwrap_or(u16::MAX);
        match self.target.shard {
            Some(shard) => vec![Place::Shard { keyspace: index, shard, kind }],
            None => all
                .map(|shard| Place::Shard { keyspace: index, shard, kind })
                .collect(),
        }
    }

    /// Which pooled connections can serve this session.
    pub(super) fn set_flavour(&mut self) {
        let shape = (self.capabilities & crate::core::FLAVOURS).bits();
        let selected = if self.settings.database.is_some() { crate::pool::HAS_DATABASE } else { 0 };
        self.flavour = shape | selected;
    }
}
