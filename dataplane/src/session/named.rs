//! `PREPARE name FROM ...`, `EXECUTE name USING ...`. Where the session's target is one server,
//! that server does it, on a pinned connection. Else the session keeps the statement as those of
//! the binary protocol are kept; an execution is placed by the variables' values, and runs by name
//! on every server that it needs: the values are bound there, never written into a text.
use super::answer::{Answer, Done};
use super::plan::{BoundPlan, Planned};
use super::prepared::{BindAgain, PAUSES, Statement, TOO_MANY_STATEMENTS};
use super::run::{Call, Form, place_of};
use super::values::Named;
use super::variables::{Variable, user_variable};
use super::wire::{Wire, query_payload};
use super::{Failure, Outcome, Session};
use crate::cache::CachedPlan;
use crate::error::{BackendError, sql_error};
use crate::pool::{Backend, Place};
use coregate_planner::charset::{Charset, Charsets};
use coregate_planner::fold::fold;
use coregate_planner::plan::{Action, Effects, Plan, PrepareSource, Route, SessionAction};
use coregate_planner::resolve::ShardText;
use coregate_planner::value::Value;
use coregate_protocol::walker::{ResponseKind, Summary};
use std::rc::Rc;

/// SQL-level prepared statements of one session.
pub(super) const NAMED_MAX: usize = 1024;
/// By which a server knows the statement that is executed, and its text.
const NAME: &str = "`coregate statement`";
const TEXT: &str = "@`coregate text`";

impl Call<'_> {
    /// What a server is sent that has the statement by its name.
    fn payload(&self) -> Vec<u8> {
        let mut text = format!("EXECUTE {NAME}");
        for (n, variable) in self.variables.iter().enumerate() {
            text.push_str(if n == 0 { " USING " } else { ", " });
            text.push_str(variable);
        }
        query_payload(text.as_bytes())
    }
}

impl Session {
    pub(super) async fn named_action(
        &mut self,
        action: &SessionAction,
        sql: &[u8],
        answer: &mut Answer,
    ) -> Outcome {
        if let Some(place) = self.server_of(action)
            && !self.is_of_keyspaces(action).await?
        {
            self.permit_named(action).await?;
            return self.on_the_server(place?, action, sql, answer).await;
        }
        if matches!(action, SessionAction::Prepare { .. } | SessionAction::Deallocate { .. }) {
            self.last.row_count = 0;
        }
        match action {
            SessionAction::Prepare { name, source } => {
                self.prepare_named(name, source, answer).await
            }
            SessionAction::Execute { name, using } => {
                let statement = self.named(name)?;
                self.execute_named(&statement, using, answer).await
            }
            SessionAction::ExecuteImmediate { source, using } => {
                let statement = self.prepare_source(source).await?;
                self.execute_named(&statement, using, answer).await
            }
            SessionAction::Deallocate { name } => self.deallocate_named(name, answer),
            _ => Ok(()),
        }
    }

    async fn prepare_named(
        &mut self,
        name: &str,
        source: &PrepareSource,
        answer: &mut Answer,
    ) -> Outcome {
        let name = self.key_of_name(name);
        // A statement that cannot be prepared leaves none under its name.
        if let Some(statements) = &mut self.statements {
            statements.named.remove(&name);
            statements.named_at.remove(&name);
        }
        let statement = self.prepare_source(source).await?;
        let named = &mut self.statements.get_or_insert_default().named;
        if named.len() >= NAMED_MAX {
            return Err(sql_error(
                1461,
                format!(
                    "Can't create more than {NAMED_MAX} prepared statements by name in a session"
                ),
            )
            .into());
        }
        named.insert(name, statement);
        self.send_ok(answer, Done { info: b"Statement prepared", ..Done::default() });
        Ok(())
    }

    async fn prepare_source(&mut self, source: &PrepareSource) -> Outcome<Rc<Statement>> {
        let text = match source {
            PrepareSource::Text(text) => text.clone(),
            PrepareSource::Variable(variable) => self.text_of_variable(variable).await?,
        };
        self.prepare_unseen(text).await
    }

    /// A statement's text, in the character set of the session's texts.
    pub(super) async fn text_of_variable(&mut self, name: &str) -> Outcome<Vec<u8>> {
        let variables = self.fetch_variables(&[user_variable(name)]).await?;
        let Some(text) = variables.first().filter(|v| !v.is_null()) else {
            return Err(sql_error(
                1064,
                "You have an error in your SQL syntax: the variable is NULL",
            )
            .into());
        };
        let client = self.state.charsets.client;
        let own = Charset::of_collation(text.charset());
        match () {
            () if text.bytes().is_ascii() || text.charset() == "binary" || own == client => {
                Ok(text.bytes().to_vec())
            }
            () if client == Charset::Utf8 => Ok(text.utf8().to_vec()),
            () => Err(sql_error(
                1235,
                "VT12001: unsupported: PREPARE from a variable in another character set than \
                    character_set_client; \
                 CONVERT it first",
            )
            .into()),
        }
    }

    /// The same for names that are one to the servers.
    pub(super) fn key_of_name(&self, name: &str) -> String {
        if self.core.is_mariadb() { name.to_lowercase() } else { fold(name) }
    }

    fn named(&self, name: &str) -> Outcome<Rc<Statement>> {
        let key = self.key_of_name(name);
        let known = self
            .statements
            .as_ref()
            .and_then(|s| s.named.get(&key).cloned());
        known.ok_or_else(|| unknown(name, "EXECUTE"))
    }

    async fn execute_named(
        &mut self,
        statement: &Rc<Statement>,
        using: &[String],
        answer: &mut Answer,
    ) -> Outcome {
        if statement.params() != using.len() {
            return Err(sql_error(1210, "Incorrect arguments to EXECUTE").into());
        }
        let entry = self.current_plan(statement)?;
        let names: Vec<String> = using.iter().map(|name| user_variable(name)).collect();
        match &entry.plan.action {
            Action::Route(_) | Action::Tree(_) | Action::Write(_)
                if !names.is_empty() || !self.reads_texts_as(statement) => {}
            Action::Session(
                SessionAction::NextValues { .. } | SessionAction::VindexRows { .. },
            ) if !names.is_empty() => {
                let variables = self.fetch_variables(&names).await?;
                let sql = statement.with_params(|n, out| {
                    out.extend_from_slice(
                        &variables.get(n).map(Variable::plain).unwrap_or_default(),
                    );
                })?;
                return Box::pin(self.run_text(&sql, answer)).await;
            }
            Action::Session(SessionAction::Set(_)) if !names.is_empty() => {
                let sql = statement.with_params(|n, out| {
                    out.extend_from_slice(names.get(n).map_or(b"NULL", |name| name.as_bytes()));
                })?;
                return Box::pin(self.run_text(&sql, answer)).await;
            }
            // Without parameters it is what its text is.
            Action::Route(_) | Action::Tree(_) | Action::Write(_) => {
                return Box::pin(self.run_text(statement.sql(), answer)).await;
            }
            _ => return Box::pin(self.execute_local(statement, &entry, answer)).await,
        }
        self.execute_with(statement, &entry, using, &names, answer)
            .await
    }

    /// Runs a statement for servers with the values that its variables have now.
    async fn execute_with(
        &mut self,
        statement: &Rc<Statement>,
        entry: &CachedPlan,
        using: &[String],
        names: &[String],
        answer: &mut Answer,
    ) -> Outcome {
        let variables = self.fetch_variables(names).await?;
        self.keep_variables(using, &variables);
        if entry.plan.effects.contains(Effects::IMPLICIT_COMMIT) {
            self.implicit_commit().await?;
        }
        // A plan is bound under the snapshot that it was made for, which may be another by now.
        let mut entry = self.current_plan(statement)?;
        let mut again = BindAgain::default();
        let bound = loop {
            let failed = match self.bind_named(statement, &entry, &variables) {
                Ok(Some(bound)) => break bound,
                other => other.map(|_| ()),
            };
            if let Some(planned) =
                Box::pin(self.bind_otherwise(statement, failed, &mut again)).await?
            {
                return Box::pin(self.execute(*planned, Form::Text(&[]), answer)).await;
            }
            entry = again.plan(self, statement)?;
        };
        self.planned_after_looking(bound.changes()).await;
        let maintained = matches!(&bound, BoundPlan::Route(resolved) if resolved.before.is_some());
        if maintained
            && self.state.charsets != Charsets::default()
            && variables.iter().any(|v| !v.is_ascii())
        {
            if self.transaction.is_own() {
                self.abandon_transaction().await;
            }
            return Err(sql_error(
                1235,
                "VT12001: unsupported: EXECUTE ... USING text that is not ASCII for a change of \
                    several steps; SET NAMES utf8mb4, or use \
                 the binary protocol",
            )
            .into());
        }
        let call = Call { statement, variables: names };
        Box::pin(self.execute(Planned::prepared(entry, bound), Form::Named(call), answer)).await
    }

    /// Runs a statement by its name on the only server that it needs.
    pub(super) async fn call_on(
        &mut self,
        call: Call<'_>,
        plan: &Plan,
        place: Place,
        text: Option<Vec<u8>>,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let text = text.as_deref().unwrap_or_else(|| call.statement.sql());
        self.prepare_by_name(call.statement, place, plan.effects, text, answer)
            .await?;
        let wire = Wire::Payload(call.payload());
        let result = self
            .one(plan, place, wire, ResponseKind::Query, answer)
            .await;
        self.release_held();
        result
    }

    /// Prepares a statement by name on the servers that it needs. The connections are held, so that
    /// `several` finds these very ones.
    pub(super) async fn prepare_by_names(
        &mut self,
        call: &Call<'_>,
        plan: &Plan,
        route: &Route,
        shards: &mut [ShardText],
        answer: &mut Answer,
    ) -> Outcome<Vec<(Place, Vec<u8>)>> {
        let mut wires = Vec::with_capacity(shards.len());
        for shard in shards {
            let (place, text) = (place_of(route, shard.id), shard.text.take());
            let text = text.as_deref().unwrap_or_else(|| call.statement.sql());
            self.prepare_by_name(call.statement, place, plan.effects, text, answer)
                .await?;
            wires.push((place, call.payload()));
        }
        Ok(wires)
    }

    fn bind_named(
        &self,
        statement: &Statement,
        entry: &CachedPlan,
        variables: &[Variable],
    ) -> Outcome<Option<BoundPlan>> {
        let (values, charsets) = self.values_of(statement, variables)?;
        self.bind_any(statement, entry, &values, charsets, &Named { session: self, variables })
    }

    /// Prepares the statement on a server, on a connection that is then held for its execution.
    async fn prepare_by_name(
        &mut self,
        statement: &Rc<Statement>,
        place: Place,
        effects: Effects,
        text: &[u8],
        answer: &mut Answer,
    ) -> Outcome {
        let mut backend = Box::pin(self.acquire(place, effects)).await?;
        // Nobody else finds the statement there, or its text.
        backend.unknown_state = true;
        let result = self.prepare_text(&mut backend, statement, text).await;
        match result {
            Ok(()) => {
                self.transaction.held.push((place, backend));
                Ok(())
            }
            Err(failure) => {
                let failure = self.not_prepared(place, backend, failure, answer).await;
                self.release_held();
                Err(failure)
            }
        }
    }

    async fn prepare_text(
        &mut self,
        backend: &mut Backend,
        statement: &Statement,
        text: &[u8],
    ) -> Outcome {
        let core = Rc::clone(&self.core);
        // Digits: neither a SQL mode nor a character set changes them, and bytes are not converted.
        let digits: String = text.iter().map(|b| format!("{b:02x}")).collect();
        backend
            .execute(&core, format!("SET {TEXT} = _binary x'{digits}'"))
            .await?;
        if self.reads_texts_as(statement) {
            self.prepare_from_variable(backend).await?;
            return Ok(());
        }
        let then = Rc::clone(&backend.settings);
        let wanted = core
            .settings
            .intern(then.with_text_of(statement.settings()));
        backend.apply_in_place(&core, &wanted).await?;
        let prepared = self.prepare_from_variable(backend).await;
        backend.apply_in_place(&core, &then).await?;
        prepared?;
        Ok(())
    }

    async fn prepare_from_variable(&self, backend: &mut Backend) -> Result<(), BackendError> {
        let prepare = format!("PREPARE {NAME} FROM {TEXT}");
        for pause in PAUSES {
            match backend.execute(&self.core, &prepare).await {
                Err(BackendError::Refused { code: TOO_MANY_STATEMENTS, .. }) => {
                    self.make_room(backend, pause).await;
                }
                other => return other.map(|_| ()),
            }
        }
        backend.execute(&self.core, &prepare).await.map(|_| ())
    }

    pub(super) fn reads_texts_as(&self, statement: &Statement) -> bool {
        statement.settings().of_the_text() == self.state.settings.of_the_text()
    }

    /// The values that place the rows: in UTF-8, or in the set of the statement's own literals.
    fn values_of<'v>(
        &self,
        statement: &Statement,
        variables: &'v [Variable],
    ) -> Outcome<(Vec<Value<'v>>, Charsets)> {
        let literals = statement.charsets().unwrap_or_default();
        if literals == Charsets::default() {
            return Ok((variables.iter().map(Variable::value).collect(), literals));
        }
        let values: Option<Vec<_>> = variables
            .iter()
            .map(|v| v.value_in(literals.client))
            .collect();
        let values = values.ok_or_else(|| {
            sql_error(
                1235,
                "VT12001: unsupported: text that is not ASCII in the statement, and in another \
                    character set in a variable",
            )
        })?;
        Ok((values, literals))
    }

    /// The values of variables, or of expressions, from a server that has them.
    pub(super) async fn fetch_variables(&mut self, names: &[String]) -> Outcome<Vec<Variable>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let place = self.any_place()?;
        let mut backend = self.acquire(place, Effects::NO_TABLES).await?;
        match self.read_variables(&mut backend, names).await {
            Ok(variables) => {
                self.keep_or_return(place, backend);
                Ok(variables)
            }
            Err(failure) => Err(self
                .not_prepared(place, backend, failure, &mut Answer::first())
                .await),
        }
    }

    fn deallocate_named(&mut self, name: &str, answer: &mut Answer) -> Outcome {
        let key = self.key_of_name(name);
        let known = self.statements.as_mut().and_then(|s| s.named.remove(&key));
        known.ok_or_else(|| unknown(name, "DEALLOCATE PREPARE"))?;
        self.send_ok(answer, Done::default());
        Ok(())
    }
}

fn unknown(name: &str, command: &str) -> Failure {
    let message = format!("Unknown prepared statement handler ({name}) given to {command}");
    Failure::Sql(sql_error(1243, message))
}
