//! What a session asks of others: the control plane, and sessions of other cores.
use super::answer::{Answer, Done};
use super::{Failure, Interrupt, Outcome, Session};
use crate::core::Core;
use crate::error::sql_error;
use ahash::AHashMap;
use coregate_planner::control::{ControlRequest, SqlError};
use coregate_planner::plan::{Action, Plan, Route};
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};

/// Errors of statements that servers may go on with, or have ended unheard.
const OUTCOME_UNKNOWN: [u16; 12] =
    [1053, 1105, 1158, 1159, 1160, 1161, 1180, 1317, 1429, 1927, 2013, 3024];

/// Where a reply from another thread arrives.
#[derive(Default)]
struct Mailbox {
    reply: RefCell<Option<Result<Option<String>, SqlError>>>,
    waker: RefCell<Option<Waker>>,
}

thread_local! {
    /// Mailboxes of this core's sessions by ticket: what crosses threads is only the ticket.
    /// Tickets are not used twice.
    static MAILBOXES: RefCell<(u64, AHashMap<u64, Rc<Mailbox>>)> = RefCell::default();
}

/// A change of tables that is on its way, however it ends.
pub(super) struct SchemaChange {
    core: Rc<Core>,
    keyspace: String,
    change: u64,
}

impl Drop for SchemaChange {
    fn drop(&mut self) {
        let keyspace = std::mem::take(&mut self.keyspace);
        let request = ControlRequest::SchemaEnds { keyspace, change: self.change };
        self.core.shared.control.request(request, Box::new(|_| {}));
    }
}

impl Session {
    pub(super) async fn alter_vschema(&mut self, sql: &[u8], answer: &mut Answer) -> Outcome {
        if !self.client.rights.admin {
            return Err(sql_error(
                1227,
                "Access denied; ALTER VSCHEMA needs a user of the group \"admin\"",
            )
            .into());
        }
        let sql = String::from_utf8_lossy(sql)
            .trim()
            .trim_end_matches(';')
            .to_owned();
        let keyspace = self.target.keyspace.as_deref().map(str::to_owned);
        let warning = self
            .ask(ControlRequest::AlterVschema { sql, keyspace })
            .await?;
        let warnings = self.warn_of(warning);
        self.send_ok(answer, Done { warnings, ..Done::default() });
        Ok(())
    }

    /// What there is to say of a change that is made. Gives the number of warnings.
    pub(super) fn warn_of(&mut self, warning: Option<String>) -> u16 {
        let Some(warning) = warning else { return 0 };
        self.add_warning(1105, &warning);
        1
    }

    /// Gives a new table the vindex that its comment asks for.
    pub(super) async fn add_advised_vindex(&mut self, plan: &Plan) -> Outcome {
        let Action::Route(Route { vindex: Some(sql), .. }) = &plan.action else { return Ok(()) };
        let request = ControlRequest::AlterVschema { sql: sql.to_string(), keyspace: None };
        match self.ask(request).await {
            Err(Failure::Sql(error)) => {
                let message = format!(
                    "the table is made, but rows cannot be placed yet: {}; repair that, then {sql}",
                    error.message
                );
                Err(SqlError { message, ..error }.into())
            }
            other => other.map(drop),
        }
    }

    /// Waits until every core knows the keyspace's tables as they are now. Gives what the client is
    /// to be warned of.
    pub(super) async fn schema_changed(&mut self, keyspace: String) -> Outcome<Option<String>> {
        self.ask(ControlRequest::SchemaChanged { keyspace }).await
    }

    /// Waits until this session may change a keyspace's tables. It may as long as what is given
    /// lives. `None`: it changes none.
    pub(super) async fn schema_begins(
        &mut self,
        keyspace: Option<&str>,
    ) -> Outcome<Option<SchemaChange>> {
        let Some(keyspace) = keyspace else { return Ok(None) };
        // Made first: the client may go away while it waits.
        let (core, keyspace) = (Rc::clone(&self.core), keyspace.to_owned());
        let change = core.shared.changes.fetch_add(1, Ordering::Relaxed);
        let ends = SchemaChange { core, keyspace: keyspace.clone(), change };
        self.ask(ControlRequest::SchemaBegins { keyspace, change })
            .await?;
        Ok(Some(ends))
    }

    /// A change of tables did not end well, and may have taken effect on some servers, or still
    /// will.
    #[cold]
    pub(super) fn schema_in_doubt(&self, keyspace: &str, failure: &Failure) {
        let later = match failure {
            Failure::Sql(error) => OUTCOME_UNKNOWN.contains(&error.code),
            Failure::Fatal(_) | Failure::Close => true,
        };
        let request = ControlRequest::SchemaInDoubt { keyspace: keyspace.to_owned(), later };
        self.core.shared.control.request(request, Box::new(|_| ()));
    }

    pub(super) async fn ask(&mut self, request: ControlRequest) -> Outcome<Option<String>> {
        let (shared, core) = (self.core.shared.clone(), self.core.id);
        let back = shared.clone();
        self.wait_for(|ticket| {
            shared.control.request(
                request,
                Box::new(move |result| back.inbox(core).post(move |_| deliver(ticket, result))),
            );
        })
        .await
    }

    /// Waits until somebody has delivered an answer under the ticket that `send` is given.
    pub(super) async fn wait_for(&self, send: impl FnOnce(u64)) -> Outcome<Option<String>> {
        let mailbox = Rc::new(Mailbox::default());
        let ticket = MAILBOXES.with_borrow_mut(|(last, all)| {
            *last += 1;
            all.insert(*last, Rc::clone(&mailbox));
            *last
        });
        let _close = Close(ticket);
        send(ticket);
        let result = poll_fn(|cx| {
            if let Some(result) = mailbox.reply.borrow_mut().take() {
                return Poll::Ready(result);
            }
            *mailbox.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        Ok(result?)
    }

    /// What a session is told that has killed itself, which differs.
    fn killed_error(&self) -> SqlError {
        if self.core.config().server_version.contains("MariaDB") {
            return SqlError {
                code: 1927,
                sqlstate: *b"70100",
                message: "Connection was killed".into(),
            };
        }
        sql_error(1317, "Query execution was interrupted")
    }

    /// KILL: the session may be another core's, which answers then. Users may kill what is theirs.
    pub(super) async fn kill(&mut self, id: u32, how: Interrupt) -> Outcome {
        if id == self.client.handle.id {
            return match how {
                Interrupt::KillQuery => {
                    Err(sql_error(1317, "Query execution was interrupted").into())
                }
                _ => Err(Failure::Fatal(self.killed_error())),
            };
        }
        let cores = self.core.shared.inboxes.len() as u32;
        let owner = u16::try_from(id.wrapping_sub(1) % cores).unwrap_or(0);
        let killer = (!self.client.rights.admin).then(|| self.client.handle.user.borrow().clone());
        if owner == self.core.id {
            return Ok(kill_here(&self.core, id, how, killer.as_deref())?);
        }
        let (shared, core) = (self.core.shared.clone(), self.core.id);
        let back = shared.clone();
        self.wait_for(|ticket| {
            shared.inbox(owner).post(move |theirs| {
                let result = kill_here(theirs, id, how, killer.as_deref()).map(|()| None);
                back.inbox(core).post(move |_| deliver(ticket, result));
            });
        })
        .await
        .map(drop)
    }
}

/// Stops a session of this core. `killer`: whose sessions may be stopped, if not everybody's.
fn kill_here(
    core: &Rc<Core>,
    id: u32,
    how: Interrupt,
    killer: Option<&str>,
) -> Result<(), SqlError> {
    let handle = core.sessions.borrow().get(&id).cloned();
    let handle = handle.ok_or_else(|| sql_error(1094, format!("Unknown thread id: {id}")))?;
    if killer.is_some_and(|user| *handle.user.borrow() != user) {
        return Err(sql_error(1095, format!("You are not owner of thread {id}")));
    }
    handle.interrupt(core, how);
    Ok(())
}

pub(super) fn deliver(ticket: u64, result: Result<Option<String>, SqlError>) {
    let mailbox = MAILBOXES.with_borrow(|(_, all)| all.get(&ticket).cloned());
    if let Some(mailbox) = mailbox {
        *mailbox.reply.borrow_mut() = Some(result);
        if let Some(waker) = mailbox.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Removes a mailbox; a late reply finds nobody.
struct Close(u64);

impl Drop for Close {
    fn drop(&mut self) {
        MAILBOXES.with_borrow_mut(|(_, all)| all.remove(&self.0));
    }
}
