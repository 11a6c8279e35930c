//! SET. A server checks and computes what is set; the session keeps it, and gives it to the
//! connections it uses later.
use super::answer::{Answer, Done};
use super::insert_id::mentions;
use super::mode::{is_computed, is_oracle, no_oracle, sql_mode_of};
use super::on_replica::READ_ONLY;
use super::rights::sets_access;
use super::variables::{Variable, is_ordinary, user_variable};
use super::{Outcome, Session};
use crate::core::names_of;
use crate::error::sql_error;
use crate::pool::{Backend, Place};
use crate::settings::{Settings, TRANSACTION};
use coregate_planner::plan::{Assignment, Effects, Scope, SetValue};
use std::rc::Rc;
use std::sync::atomic::Ordering;

/// Settings of one session.
const SETTINGS_MAX: usize = 512;

impl Session {
    pub(super) async fn set(
        &mut self,
        assignments: &[Assignment],
        names: &[u64],
        sql: &[u8],
        answer: &mut Answer,
    ) -> Outcome {
        let local = |a: &&Assignment| a.scope == Scope::Vitess;
        for assignment in assignments.iter().filter(local) {
            self.set_vitess(assignment)?;
        }
        let theirs: Vec<&Assignment> = assignments
            .iter()
            .filter(|a| !matches!(a.scope, Scope::Vitess | Scope::Ignored))
            .collect();
        if let [one] = theirs.as_slice()
            && one.scope == Scope::NextTransaction
        {
            if self.in_transaction() {
                return Err(sql_error(
                    1568,
                    "Transaction characteristics can't be changed while a transaction is in \
                        progress",
                )
                .into());
            }
            self.transaction
                .set_next(format!("SET {}", String::from_utf8_lossy(&one.sql)));
            self.send_ok(answer, Done::default());
            return Ok(());
        }
        if theirs.is_empty() {
            let warnings = self.warn_of_ignored(assignments);
            self.send_ok(answer, Done { warnings, ..Done::default() });
            return Ok(());
        }
        let Some(report) = self.set_known(&theirs) else {
            let whole = theirs.len() == assignments.len();
            let text;
            let sql = if whole {
                sql
            } else {
                let parts: Vec<&[u8]> = theirs.iter().map(|a| a.sql.as_slice()).collect();
                text = [b"SET ".as_slice(), &parts.join(b", ".as_slice())].concat();
                &text
            };
            let (warnings, session) = self.set_on_server(&theirs, names, sql).await?;
            let warnings = warnings.saturating_add(self.warn_of_ignored(assignments));
            self.send_ok(answer, Done { warnings, session: &session, ..Done::default() });
            return Ok(());
        };
        self.send_ok(answer, Done { session: &report, ..Done::default() });
        Ok(())
    }

    /// What is logged, and copied to replicas, is the same for all clients of a keyspace: a row
    /// that is not would be lost with its primary.
    fn warn_of_ignored(&mut self, assignments: &[Assignment]) -> u16 {
        let mut count = 0;
        for assignment in assignments.iter().filter(|a| a.scope == Scope::Ignored) {
            let name = &assignment.name;
            let text = format!(
                "Ignored inapplicable SET {name}: a keyspace's servers log and replicate all \
                    changes"
            );
            self.add_warning(1235, &text);
            count += 1;
        }
        count
    }

    /// The commonest assignments have few values, all known: no server needs to be asked. What
    /// there is to report of it.
    fn set_known(&mut self, assignments: &[&Assignment]) -> Option<Vec<u8>> {
        let [one] = assignments else { return None };
        if one.scope != Scope::Session
            || !self.transaction.held.is_empty()
            || self.tracks_by_choice()
        {
            return None;
        }
        let (SetValue::Literal(value) | SetValue::Text(value)) = &one.value else { return None };
        match one.name.as_str() {
            "autocommit" => {
                let on = is_on(value);
                let off = matches!(value.to_ascii_lowercase().as_str(), "0" | "off" | "false");
                if (on || off) && self.state.autocommit == on {
                    return Some(self.set_report(&one.name, value));
                }
                if !on && !off || self.in_transaction() {
                    return None;
                }
                self.keep(&[*one], &[None]);
            }
            "names" => {
                let known = !value.contains(' ')
                    && coregate_protocol::charset::Charset::by_name(value)
                        .is_some_and(|c| c.is_client_charset());
                if !known {
                    return None;
                }
                self.keep(&[*one], &[None]);
            }
            _ => return None,
        }
        Some(self.set_report(&one.name, value))
    }

    /// Does one of these turn autocommit on, which commits? One that leaves it off does nothing, as
    /// one that a server refuses.
    async fn turns_on_autocommit(&mut self, assignments: &[&Assignment]) -> bool {
        for assignment in assignments {
            if assignment.name != "autocommit" || assignment.scope != Scope::Session {
                continue;
            }
            let expression = match &assignment.value {
                SetValue::Literal(value) | SetValue::Text(value) if is_on(value) => return true,
                SetValue::Literal(_) | SetValue::Text(_) => continue,
                SetValue::Default => "@@global.autocommit".to_owned(),
                SetValue::Expression(text) => format!("({text})"),
            };
            let value = self.fetch_variables(&[expression]).await;
            let value = value.ok().and_then(|values| values.into_iter().next());
            if value.is_some_and(|value| is_on(&String::from_utf8_lossy(value.bytes()))) {
                return true;
            }
        }
        false
    }

    /// Runs assignments on a server and keeps what came of them. Returns the number of warnings,
    /// and what the server reports of its state.
    async fn set_on_server(
        &mut self,
        assignments: &[&Assignment],
        names: &[u64],
        sql: &[u8],
    ) -> Outcome<(u16, Vec<u8>)> {
        let core = self.core.clone();
        if !self.state.autocommit
            && self.in_transaction()
            && self.turns_on_autocommit(assignments).await
        {
            // As the server will, but on all shards.
            self.commit_held().await?;
        }
        let place = self.any_place()?;
        let mut backend = self.acquire(place, Effects::NO_TABLES).await?;
        let about_id = mentions(names);
        if (about_id || backend.pool.routines.concern(names))
            && backend.last_insert_id != Some(self.last.insert_id)
            && let Err(failure) = self.give_insert_id(&mut backend).await
        {
            return Err(self
                .not_prepared(place, backend, failure, &mut Answer::first())
                .await);
        }
        let result = match backend.execute_tracked(&core, sql).await {
            Ok((summary, session)) => {
                if summary.warnings > 0 {
                    self.fetch_warnings(&mut backend).await;
                }
                self.read_back(&mut backend, assignments)
                    .await
                    .map(|values| ((summary.warnings, session), values))
            }
            Err(e) => Err(e.into()),
        };
        if backend.pool.routines.concern(names) {
            self.routine_ran(place, &mut backend);
        }
        if about_id && !backend.busy {
            self.read_insert_id(&mut backend, true, 0).await;
        }
        match result {
            Ok((_, values)) if sets_oracle(assignments, &values) => {
                let known = self.state.settings.get("sql_mode").unwrap_or_default();
                let undo = [b"SET ".as_slice(), known].concat();
                match backend.execute(&core, undo).await {
                    Ok(_) => Err(self.forget_settings(place, backend, no_oracle())),
                    Err(e) => Err(self.lose(backend, e.into())),
                }
            }
            Ok((warnings, values)) => {
                if assignments.iter().any(|a| a.scope == Scope::Global) {
                    core.shared.globals.fetch_add(1, Ordering::Relaxed);
                }
                self.keep(assignments, &values);
                self.has_set(place, backend, assignments).await?;
                Ok(warnings)
            }
            Err(failure) => {
                // Part of it may have been applied: the connection's settings are not known now.
                let failure = if backend.busy {
                    self.lose(backend, failure)
                } else {
                    self.forget_settings(place, backend, failure)
                };
                Err(failure)
            }
        }
    }

    /// A connection has the session's settings, as these are now.
    async fn has_set(
        &mut self,
        place: Place,
        mut backend: Box<Backend>,
        set: &[&Assignment],
    ) -> Outcome {
        let core = Rc::clone(&self.core);
        backend.tainted |= self.transaction.pinned;
        backend.settings = self.settings_at(place);
        if place.is_replica()
            && set.iter().any(|a| sets_access(a))
            && let Err(e) = backend.execute(&core, READ_ONLY).await
        {
            return Err(self.lose(backend, e.into()));
        }
        self.keep_or_return(place, backend);
        Ok(())
    }

    /// A SET that failed may have been applied in part: the connection stays for what hangs on it,
    /// and is closed after it.
    fn forget_settings(
        &mut self,
        place: Place,
        mut backend: Box<Backend>,
        failure: super::Failure,
    ) -> super::Failure {
        backend.tainted = true;
        self.keep_or_return(place, backend);
        failure
    }

    /// Reads the values of assignments that depend on more than their text.
    async fn read_back(
        &mut self,
        backend: &mut Backend,
        assignments: &[&Assignment],
    ) -> Outcome<Vec<Option<Vec<u8>>>> {
        let wanted: Vec<String> = assignments
            .iter()
            .filter(|a| must_read_back(a))
            .map(|a| variable(a))
            .collect();
        let mut values = self.read_variables(backend, &wanted).await?.into_iter();
        let next = |a: &&Assignment| {
            let value = if must_read_back(a) { values.next() } else { None }?;
            Some(if a.scope == Scope::User { value.typed() } else { value.plain() })
        };
        Ok(assignments.iter().map(next).collect())
    }

    /// Takes assignments into the session's settings; `values` are those that were read back, as
    /// SQL.
    fn keep(&mut self, assignments: &[&Assignment], values: &[Option<Vec<u8>>]) {
        let mut settings: Settings = (*self.state.settings).clone();
        for (assignment, value) in assignments.iter().zip(values) {
            let name = match assignment.scope {
                // Isolation and access mode are set one by one, and neither undoes the other.
                Scope::Session if assignment.name == "transaction" => {
                    let words = assignment.sql.to_ascii_uppercase();
                    let isolation = words.windows(9).any(|w| w == b"ISOLATION");
                    format!("{TRANSACTION}{}", if isolation { "isolation" } else { "access" })
                }
                // Read behind the statement, like any other that may set it.
                Scope::Session
                    if matches!(assignment.name.as_str(), "last_insert_id" | "identity") =>
                {
                    continue;
                }
                // For the next INSERT alone, and on this connection.
                Scope::Session if assignment.name == "insert_id" => {
                    self.transaction.pinned = true;
                    continue;
                }
                Scope::Session => assignment.name.clone(),
                // Its name could be repeated otherwise than it was read.
                Scope::User if !is_ordinary(&assignment.name) => {
                    self.transaction.pinned = true;
                    continue;
                }
                Scope::User => format!("@{}", assignment.name.to_lowercase()),
                _ => continue,
            };
            let assigned = |value: &[u8]| [variable(assignment).as_bytes(), b" = ", value].concat();
            let sql = match (value, &assignment.value) {
                (Some(value), _) => assigned(value),
                (None, SetValue::Text(text)) => assigned(format!("'{text}'").as_bytes()),
                (None, _) => assignment.sql.clone(),
            };
            self.note_session_variable(&name, assignment, value.as_deref());
            let is_default =
                assignment.value == SetValue::Default && name != "names" && value.is_none();
            let plain_autocommit = name == "autocommit" && self.state.autocommit;
            for undone in replaced_by(&name) {
                settings.unset(undone);
            }
            if is_default || plain_autocommit {
                settings.unset(&name);
            } else if settings.vars.len() < SETTINGS_MAX || settings.get(&name).is_some() {
                settings.set(&name, sql);
            } else {
                self.transaction.pinned = true;
            }
        }
        self.state.settings = self.core.settings.intern(settings);
        self.state.charsets = self.state.settings.charsets();
    }

    /// What the session itself must know of its variables.
    fn note_session_variable(
        &mut self,
        name: &str,
        assignment: &Assignment,
        read_back: Option<&[u8]>,
    ) {
        // It is a literal, in quotes.
        let read_back = read_back.map(|v| {
            String::from_utf8_lossy(v)
                .trim_matches('\'')
                .to_ascii_lowercase()
        });
        let value = read_back.or_else(|| match &assignment.value {
            SetValue::Literal(value) | SetValue::Text(value) => Some(value.to_ascii_lowercase()),
            _ => None,
        });
        match name {
            "autocommit" => {
                self.state.autocommit =
                    value.is_none_or(|v| !matches!(v.as_str(), "0" | "off" | "false"));
            }
            "foreign_key_checks" => {
                self.state.foreign_keys_off =
                    value.is_some_and(|v| matches!(v.as_str(), "0" | "off" | "false"));
            }
            "wait_timeout" => {
                let seconds = value.as_deref().and_then(|v| v.parse::<u64>().ok());
                // A server takes 0 for 1.
                self.client
                    .handle
                    .wait_timeout
                    .set(seconds.map(|s| s.max(1)));
            }
            "sql_mode" => self.state.sql_mode = sql_mode_of(value.as_deref().unwrap_or_default()),
            _ => {}
        }
    }

    /// Takes the values of user variables, as a server has them, into the session's settings.
    pub(super) fn keep_variables(&mut self, names: &[String], values: &[Variable]) {
        let mut settings: Settings = (*self.state.settings).clone();
        for (name, value) in names
            .iter()
            .zip(values)
            .filter(|(name, _)| is_ordinary(name))
        {
            let known = format!("@{}", name.to_lowercase());
            // One that was never set is NULL anyway.
            if settings.get(&known).is_none() && value.is_null() {
                continue;
            }
            settings.set(&known, [user_variable(name).as_bytes(), b" = ", &value.typed()].concat());
        }
        self.state.settings = self.core.settings.intern(settings);
    }

    /// The settings of a session that has SET nothing yet.
    pub(super) fn fresh_settings(&self, collation: u16, database: Option<String>) -> Rc<Settings> {
        let globals = self.core.shared.globals.load(Ordering::Relaxed);
        let mut settings = Settings { collation, database, globals, vars: Vec::new() };
        // Ids of more than a byte do not fit the handshake.
        if collation > 255
            && let Some(sql) = names_of(collation)
        {
            settings.set("names", sql);
            settings.collation = 45;
        }
        self.set_by_rights(&mut settings);
        self.core.settings.intern(settings)
    }
}

/// What an assignment sets besides, so that an earlier assignment of it must not be repeated.
fn replaced_by(name: &str) -> &'static [&'static str] {
    match name {
        "names" => &[
            "character set",
            "character_set_client",
            "character_set_connection",
            "character_set_results",
            "collation_connection",
        ],
        "character set" => &[
            "names",
            "character_set_client",
            "character_set_connection",
            "character_set_results",
            "collation_connection",
        ],
        "character_set_connection" => &["collation_connection"],
        "collation_connection" => &["character_set_connection"],
        _ => &[],
    }
}

fn must_read_back(assignment: &Assignment) -> bool {
    let kept = match assignment.scope {
        Scope::Session => true,
        Scope::User => is_ordinary(&assignment.name),
        _ => false,
    };
    kept && (matches!(assignment.value, SetValue::Expression(_)) || is_computed(assignment))
}

fn sets_oracle(assignments: &[&Assignment], values: &[Option<Vec<u8>>]) -> bool {
    let mut modes = assignments
        .iter()
        .zip(values)
        .filter(|(a, _)| a.name == "sql_mode" && a.scope == Scope::Session);
    modes.any(|(_, value)| value.as_deref().is_some_and(is_oracle))
}

/// A switch's value.
pub(super) fn is_on(value: &str) -> bool {
    ["1", "on", "true"]
        .iter()
        .any(|on| value.eq_ignore_ascii_case(on))
}

/// How a statement names what was assigned.
fn variable(assignment: &Assignment) -> String {
    match assignment.scope {
        Scope::User => user_variable(&assignment.name),
        _ => format!("@@session.{}", assignment.name),
    }
}
