//! Statements that the session runs itself.
use super::answer::{Answer, Done, binary_column};
use super::on_replica::begin_read_only;
use super::{Failure, Outcome, Session, Target, TransactionMode};
use crate::error::sql_error;
use crate::pool::Place;
use coregate_planner::PlanError;
use coregate_planner::charset::Charset;
use coregate_planner::plan::{Action, Effects, LocalRows, Plan, SessionAction};
use coregate_planner::route::is_system;
use coregate_planner::snapshot::Snapshot;
use coregate_planner::target::parse_target;
use std::rc::Rc;
use std::sync::Arc;

impl Session {
    pub(super) async fn local(&mut self, plan: &Plan, sql: &[u8], answer: &mut Answer) -> Outcome {
        if plan
            .effects
            .intersects(Effects::PIN | Effects::ASSIGNS_VARIABLES)
        {
            // A value of SET may take a lock: whatever connection runs it is kept.
            self.transaction.pinned = true;
        }
        match &plan.action {
            Action::Session(action) => self.session_action(action, plan, sql, answer).await,
            Action::Rows(rows) => {
                self.clear_warnings();
                self.send_local_rows(rows, answer);
                Ok(())
            }
            Action::AlterVschema { .. } => self.alter_vschema(sql, answer).await,
            Action::Route(_) | Action::Tree(_) | Action::Write(_) => {
                Err(sql_error(1105, "a statement for servers is not a local one").into())
            }
        }
    }

    fn send_local_rows(&mut self, rows: &LocalRows, answer: &mut Answer) {
        let columns: Vec<&str> = rows.columns.iter().map(String::as_str).collect();
        self.last.found_rows = rows.rows.len() as u64;
        self.last.row_count = -1;
        self.send_rows(answer, &columns, &rows.rows);
    }

    async fn session_action(
        &mut self,
        action: &SessionAction,
        plan: &Plan,
        sql: &[u8],
        answer: &mut Answer,
    ) -> Outcome {
        // Statements without tables leave the last one's warnings where they are, in MariaDB.
        if !self.core.is_mariadb() && !matches!(action, SessionAction::ShowWarnings { .. }) {
            self.clear_warnings();
        }
        match action {
            SessionAction::Begin { .. }
            | SessionAction::Commit { .. }
            | SessionAction::Rollback { .. }
            | SessionAction::Savepoint(_)
            | SessionAction::RollbackTo(_)
            | SessionAction::ReleaseSavepoint(_) => {
                self.last.row_count = 0;
                self.transaction_action(action, answer).await
            }
            SessionAction::Set(assignments) => {
                self.last.row_count = 0;
                self.set(assignments, &plan.names, sql, answer).await
            }
            SessionAction::Use(name) => self.use_action(name, answer).await,
            SessionAction::ShowProcesslist { full } => self.show_processlist(*full, answer).await,
            SessionAction::ShowGrants => {
                self.clear_warnings();
                self.show_grants(answer);
                Ok(())
            }
            SessionAction::ShowTransactions { id, keyspace } => {
                Box::pin(self.show_transactions(id.as_deref(), keyspace.as_deref(), answer)).await
            }
            SessionAction::Kill { query_only, whom, text } => {
                Box::pin(self.kill_action(*query_only, *whom, text, answer)).await
            }
            SessionAction::ShowWarnings { kind, count_only, offset, limit } => {
                self.last.row_count = -1;
                self.show_warnings(*kind, *count_only, *offset, *limit, answer)
            }
            SessionAction::Prepare { .. }
            | SessionAction::Execute { .. }
            | SessionAction::ExecuteImmediate { .. }
            | SessionAction::Deallocate { .. } => self.named_action(action, sql, answer).await,
            SessionAction::NextValues { sequence, count } => {
                self.next_values(sequence, *count, answer).await
            }
            SessionAction::Vexplain { kind, sql, plan: tree } => {
                self.vexplain(plan, (*kind, sql, tree), answer).await
            }
            SessionAction::VindexRows { columns, rows } => {
                self.send_vindex_rows(columns, rows, answer)
            }
            SessionAction::UnlockTables => {
                self.unlock_tables().await?;
                self.nothing(answer)
            }
            SessionAction::Database { create, name, lenient } => {
                Box::pin(self.database_ddl(*create, name, *lenient, sql, answer)).await
            }
            SessionAction::Note { code, message } => {
                self.implicit_commit().await?;
                self.last.row_count = 0;
                self.note(*code, message);
                self.send_ok(answer, Done { warnings: 1, ..Done::default() });
                Ok(())
            }
            SessionAction::Nothing => self.nothing(answer),
        }
    }

    async fn use_action(&mut self, name: &str, answer: &mut Answer) -> Outcome {
        self.use_database(name).await?;
        let session = self.schema_report();
        self.send_ok(answer, Done { session: &session, ..Done::default() });
        Ok(())
    }

    fn nothing(&mut self, answer: &mut Answer) -> Outcome {
        self.send_ok(answer, Done::default());
        Ok(())
    }

    fn send_vindex_rows(
        &mut self,
        columns: &[String],
        rows: &[Vec<Option<Vec<u8>>>],
        answer: &mut Answer,
    ) -> Outcome {
        self.clear_warnings();
        (self.last.found_rows, self.last.row_count) = (rows.len() as u64, -1);
        let columns: Vec<_> = columns.iter().map(|name| binary_column(name)).collect();
        self.send_result(answer, &columns, rows);
        Ok(())
    }

    /// BEGIN releases the tables that LOCK TABLES has locked, and others wait for that: it cannot
    /// be put off there.
    pub(super) async fn begin_on_pinned(&mut self, begin: &str) -> Outcome {
        if !self.transaction.pinned {
            return Ok(());
        }
        let core = self.core.clone();
        let several =
            self.transaction.held.len() > 1 && self.transaction_mode() != TransactionMode::Multi;
        if several {
            // One of them decides and the others are branches, or there may be one only: that is
            // known when they join.
            if std::mem::take(&mut self.transaction.locked) {
                self.unlock_tables().await?;
            }
            return Ok(());
        }
        self.transaction.locked = false;
        for (place, backend) in &mut self.transaction.held {
            if !backend.in_transaction {
                let begin = if place.is_replica() { begin_read_only(begin) } else { begin };
                backend.execute(&core, begin).await?;
            }
        }
        Ok(())
    }

    /// `USE` and COM_INIT_DB.
    pub(super) async fn use_database(&mut self, name: &str) -> Outcome {
        if !name.is_ascii() && self.state.charsets.client != Charset::Utf8 {
            return Err(sql_error(
                1235,
                "VT12001: unsupported: USE of a name that is not ASCII while the client's \
                    character set is not utf8; \
                 SET NAMES utf8mb4 first",
            )
            .into());
        }
        let snapshot = self.core.snapshot.borrow().clone();
        // `@replica` keeps the keyspace and changes the type of tablet.
        let whole = match (name.strip_prefix('@'), &self.target.keyspace) {
            (Some(_), Some(keyspace)) => format!("{keyspace}{name}"),
            _ => name.to_owned(),
        };
        let target = Self::find_target(&snapshot, &whole)?;
        self.permit_database(&whole)?;
        // A drop-in server's databases are selected there; a system schema of a cluster only in the
        // planner's names.
        let database =
            (target.keyspace.is_none() && snapshot.drop_in.is_some()).then(|| whole.clone());
        if self.state.settings.database != database {
            let mut settings = (*self.state.settings).clone();
            settings.database = database;
            let settings = self.core.settings.intern(settings);
            let old = std::mem::replace(&mut self.state.settings, settings);
            let old_flavour = self.state.flavour;
            self.set_flavour();
            if self.state.settings.database.is_some() {
                // Only the server knows whether there is such a database.
                match self.acquire(Place::DropIn, Effects::NO_TABLES).await {
                    Ok(backend) => self.keep_or_return(Place::DropIn, backend),
                    Err(failure) => {
                        (self.state.settings, self.state.flavour) = (old, old_flavour);
                        return Err(failure);
                    }
                }
            }
        }
        self.target = Target { version: snapshot.version, ..target };
        *self.client.handle.database.borrow_mut() = self.target.database.clone();
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
            shards: named.range,
            kind: named.tablet_kind.unwrap_or_default(),
            version: snapshot.version,
        })
    }

    /// A server for statements that any server can answer.
    pub(super) fn any_place(&self) -> Outcome<Place> {
        if let Some((place, _)) = self.transaction.held.first() {
            return Ok(*place);
        }
        let places = self.places_of_target();
        places.first().copied().ok_or_else(|| {
            Failure::Sql(sql_error(1105, "there is no keyspace yet; create one first"))
        })
    }

    /// Every server that the session's target stands for.
    pub(super) fn places_of_target(&self) -> Vec<Place> {
        let snapshot = self.core.snapshot.borrow();
        // Indexes are of one snapshot: a target chosen under an earlier one is looked up again.
        let found;
        let target = match &self.target.database {
            Some(database) if self.target.version != snapshot.version => {
                let Ok(now) = Self::find_target(&snapshot, database) else { return Vec::new() };
                found = now;
                &found
            }
            _ => &self.target,
        };
        if snapshot.drop_in.is_some() && target.index.is_none() {
            return vec![Place::DropIn];
        }
        let shards = snapshot
            .keyspaces
            .get(usize::from(target.index.unwrap_or(0)))
            .map_or(&[][..], |k| k.shards.as_slice());
        let kind = target.kind.into();
        let within = |at: usize| match (target.shard, target.shards) {
            (Some(shard), _) => usize::from(shard) == at,
            (None, Some((first, last))) => (usize::from(first)..=usize::from(last)).contains(&at),
            (None, None) => true,
        };
        let chosen = shards.iter().enumerate().filter(|(at, _)| within(*at));
        chosen
            .map(|(_, shard)| Place::Shard { shard: shard.id, kind })
            .collect()
    }

    /// Which pooled connections can serve this session.
    pub(super) fn set_flavour(&mut self) {
        let shape = (self.client.capabilities & crate::core::FLAVOURS).bits();
        let selected =
            if self.state.settings.database.is_some() { crate::pool::HAS_DATABASE } else { 0 };
        self.state.flavour = shape | selected;
    }
}
