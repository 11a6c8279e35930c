//! What a user of the users file may do: change rows or not, in which keyspaces, how many sessions.
//!
//! Statements are refused by their plans. What plans cannot see, a stored function that writes, the
//! servers refuse: the transactions of a user who may only read are READ ONLY there.
use super::answer::Answer;
use super::transaction::quoted;
use super::{Failure, Session};
use crate::core::Core;
use crate::error::sql_error;
use crate::settings::{Settings, TRANSACTION};
use ahash::AHashMap;
use coregate_planner::control::{SqlError, UserEntry};
use coregate_planner::mention::{ANY, qualifier};
use coregate_planner::plan::{
    AccessMode, Action, Assignment, Plan, Route, Scope, SessionAction, StatementClass, Target,
};
use serde::{Deserialize, Serialize};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

const GRANTED: &str = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER, \
    CREATE TEMPORARY TABLES, LOCK TABLES, \
                       EXECUTE, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, EVENT, \
                       TRIGGER";

/// Of the entry that let the client in.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Rights {
    pub(super) admin: bool,
    pub(super) read_only: bool,
    /// `None`: all.
    keyspaces: Option<Vec<String>>,
    require_tls: bool,
    connections_max: Option<u32>,
}

impl Rights {
    pub(super) fn of(entry: &UserEntry) -> Self {
        Self {
            admin: entry.admin,
            read_only: entry.read_only,
            keyspaces: entry.keyspaces.clone(),
            require_tls: entry.require_tls,
            connections_max: entry.connections_max,
        }
    }

    /// May do everything that is not for administrators alone.
    #[inline]
    pub(super) fn are_full(&self) -> bool {
        !self.read_only && self.keyspaces.is_none()
    }

    fn has_keyspace(&self, name: &str) -> bool {
        self.keyspaces
            .as_ref()
            .is_none_or(|all| all.iter().any(|k| k == name))
    }
}

impl Session {
    /// May the user have a session, as it has connected?
    pub(super) fn admit_user(&mut self) -> Result<(), SqlError> {
        self.client.slot = None;
        let rights = &self.client.rights;
        if rights.require_tls && !self.client.stream.link.is_secure() {
            let who = self.account();
            return Err(sql_error(
                1045,
                format!("Access denied for user {who}: the user must connect with TLS"),
            ));
        }
        if rights.keyspaces.is_some() && self.core.snapshot.borrow().drop_in.is_some() {
            let who = self.account();
            return Err(sql_error(
                1045,
                format!(
                    "Access denied for user {who}: Keyspaces of the users file cannot be kept \
                        behind --upstream, which has databases"
                ),
            ));
        }
        if let Some(max) = rights.connections_max {
            let user = self.login_user();
            let slot = Slot::take(&self.core, &user, max).ok_or_else(|| {
                let message = format!(
                    "User '{user}' has exceeded the 'max_user_connections' resource (current \
                        value: {max})"
                );
                sql_error(1226, message)
            })?;
            self.client.slot = Some(Box::new(slot));
        }
        Ok(())
    }

    /// May the user run it?
    #[inline]
    pub(super) fn permit_user(&self, plan: &Plan) -> Result<(), Failure> {
        if self.client.rights.are_full() {
            return Ok(());
        }
        self.permit_restricted(plan)
    }

    #[cold]
    fn permit_restricted(&self, plan: &Plan) -> Result<(), Failure> {
        if self.client.rights.read_only
            && let Some(command) = writes(plan)
        {
            let who = self.account();
            return Err(match plan.tables.first() {
                Some(table) => {
                    let table = table.rsplit('.').next().unwrap_or_default();
                    sql_error(
                        1142,
                        format!("{command} command denied to user {who} for table '{table}'"),
                    )
                }
                None => sql_error(
                    1227,
                    format!("Access denied; {command} is not for the read-only user {who}"),
                ),
            }
            .into());
        }
        self.permit_place(plan)?;
        let of = |table: &String| table.split('.').next().unwrap_or_default().to_owned();
        match plan
            .tables
            .iter()
            .map(of)
            .find(|name| !self.client.rights.has_keyspace(name))
        {
            Some(name) => Err(self.no_keyspace(&name).into()),
            None => self.permit_mentions(plan),
        }
    }

    /// Names that a server reads for itself: of functions and sequences, in definitions, in what is
    /// no query. A closed keyspace may lie on the same server.
    fn permit_mentions(&self, plan: &Plan) -> Result<(), Failure> {
        let mentioned = |name: &str| {
            let wanted = qualifier(name.as_bytes());
            // Too many names to tell apart are one that may be any.
            plan.names == [ANY] || plan.names.contains(&wanted)
        };
        let snapshot = self.core.snapshot.borrow();
        let closed = snapshot
            .keyspaces
            .iter()
            .filter(|keyspace| !self.client.rights.has_keyspace(&keyspace.name));
        match closed.into_iter().find(|keyspace| {
            mentioned(&keyspace.name)
                || keyspace.database != keyspace.name && mentioned(&keyspace.database)
        }) {
            Some(keyspace) => Err(self.no_keyspace(&keyspace.name).into()),
            None => Ok(()),
        }
    }

    /// Plans of what is no query do not list their tables; they say where they go.
    fn permit_place(&self, plan: &Plan) -> Result<(), Failure> {
        use StatementClass as C;
        let Action::Route(Route { to: Target::Keyspace { keyspace, .. }, .. }) = &plan.action
        else {
            return Ok(());
        };
        if !matches!(plan.class, C::Ddl | C::LoadData | C::Lock | C::Call | C::Admin | C::Other) {
            return Ok(());
        }
        let snapshot = self.core.snapshot.borrow();
        match snapshot.keyspaces.get(usize::from(*keyspace)) {
            Some(keyspace) if !self.client.rights.has_keyspace(&keyspace.name) => {
                Err(self.no_keyspace(&keyspace.name).into())
            }
            _ => Ok(()),
        }
    }

    /// May the user select the keyspace? `name` may say a shard and a tablet type, too.
    pub(super) fn permit_keyspace(&self, name: &str) -> Result<(), SqlError> {
        let keyspace = name.split(['@', ':', '/', '[']).next().unwrap_or_default();
        let system = coregate_planner::route::is_system(keyspace);
        // A shard's server reads names for itself, be they another keyspace's.
        let is_shard = name.contains([':', '/', '[']) && self.client.rights.keyspaces.is_some();
        if is_shard || !(keyspace.is_empty() || system || self.client.rights.has_keyspace(keyspace))
        {
            return Err(self.no_keyspace(name));
        }
        Ok(())
    }

    fn no_keyspace(&self, name: &str) -> SqlError {
        sql_error(1044, format!("Access denied for user {} to database '{name}'", self.account()))
    }

    pub(super) fn account(&self) -> String {
        format!("'{}'@'{}'", self.login_user(), self.client.handle.host)
    }

    /// What the users file grants, as a server would say it. The servers know only the tablet's
    /// account, whose password's hash they tell.
    pub(super) fn show_grants(&mut self, answer: &mut Answer) {
        let user = self.login_user();
        let account = format!("{}@`%`", quoted(&user));
        let rights = Rc::clone(&self.client.rights);
        let granted = match (rights.admin, rights.read_only) {
            (true, _) => "ALL PRIVILEGES",
            (_, true) => "SELECT, SHOW VIEW",
            _ => GRANTED,
        };
        let rows = match &rights.keyspaces {
            None => vec![format!("GRANT {granted} ON *.* TO {account}")],
            Some(keyspaces) => {
                let on =
                    |name: &String| format!("GRANT {granted} ON {}.* TO {account}", quoted(name));
                let usage = format!("GRANT USAGE ON *.* TO {account}");
                std::iter::once(usage)
                    .chain(keyspaces.iter().map(on))
                    .collect()
            }
        };
        let rows: Vec<Vec<Option<String>>> = rows.into_iter().map(|row| vec![Some(row)]).collect();
        self.last.found_rows = rows.len() as u64;
        self.last.row_count = -1;
        self.send_rows(answer, &[&format!("Grants for {user}@%")], &rows);
    }

    /// What a session of the user has set from its beginning.
    pub(super) fn set_by_rights(&self, settings: &mut Settings) {
        if self.client.rights.read_only {
            settings
                .set(&format!("{TRANSACTION}access"), b"SESSION TRANSACTION READ ONLY".to_vec());
        }
    }
}

/// What of a statement a user who may only read is denied.
fn writes(plan: &Plan) -> Option<&'static str> {
    use StatementClass as C;
    match (&plan.action, plan.class) {
        (Action::Session(SessionAction::NextValues { .. }), _) => Some("NEXT VALUE"),
        (Action::Session(SessionAction::Begin { access: Some(AccessMode::ReadWrite), .. }), _) => {
            Some("START TRANSACTION READ WRITE")
        }
        (Action::Session(SessionAction::Set(assignments)), _)
            if assignments.iter().any(sets_access) =>
        {
            Some("SET of the access mode")
        }
        (_, C::Insert) => Some("INSERT"),
        (_, C::Replace) => Some("REPLACE"),
        (_, C::Update) => Some("UPDATE"),
        (_, C::Delete) => Some("DELETE"),
        (_, C::LoadData) => Some("LOAD DATA"),
        (_, C::Ddl) => Some("DDL"),
        (_, C::Call) => Some("CALL"),
        (_, C::Lock) => Some("LOCK TABLES"),
        (_, C::Admin | C::Other) => Some("this statement"),
        _ => None,
    }
}

pub(super) fn sets_access(assignment: &Assignment) -> bool {
    let names = ["transaction_read_only", "tx_read_only"];
    let sets_mode = assignment.name == "transaction" || assignment.scope == Scope::NextTransaction;
    let text = assignment.sql.to_ascii_uppercase();
    names.contains(&assignment.name.as_str())
        || sets_mode && text.windows(5).any(|word| word == b"WRITE")
}

/// How many sessions users have, of those whose number is limited.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<AHashMap<String, u32>>);

/// One session of a user whose number of sessions is limited.
pub(super) struct Slot {
    core: Rc<Core>,
    user: String,
}

impl Slot {
    /// `None`: the user has so many already.
    pub(super) fn take(core: &Rc<Core>, user: &str, max: u32) -> Option<Self> {
        let sessions = &core.shared.user_sessions.0;
        let mut all = sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(user.to_owned()).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Self { core: Rc::clone(core), user: user.to_owned() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let sessions = &self.core.shared.user_sessions.0;
        let mut all = sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.user);
            }
        }
    }
}
