//! What a session asks of others: the control plane, and sessions of other cores.
use super::answer::{Answer, Done};
use super::{Interrupt, Outcome, Session};
use crate::core::Core;
use crate::error::sql_error;
use ahash::AHashMap;
use coregate_planner::control::{ControlRequest, SqlError};
use coregate_planner::plan::{Route, Target};
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Where a reply from another thread arrives.
#[derive(Default)]
struct Mailbox {
    reply: RefCell<Option<Result<(), SqlError>>>,
    waker: RefCell<Option<Waker>>,
}

thread_local! {
    /// Mailboxes of this core's sessions by ticket: what crosses threads is only the ticket. Tickets are not used twice.
    static MAILBOXES: RefCell<(u64, AHashMap<u64, Rc<Mailbox>>)> = RefCell::default();
}

impl Session {
    pub(super) async fn alter_vschema(&mut self, sql: &[u8], answer: &mut Answer) -> Outcome {
        if !self.admin {
            return Err(sql_error(1227, "Access denied; ALTER VSCHEMA needs a user of the group \"admin\" or one that vschema_ddl allows").into());
        }
        let sql = String::from_utf8_lossy(sql)
            .trim()
            .trim_end_matches(';')
            .to_owned();
        let keyspace = self.target.keyspace.as_deref().map(str::to_owned);
        self.ask(ControlRequest::AlterVschema { sql, keyspace })
            .await?;
        self.send_ok(answer, Done::default());
        Ok(())
    }

    /// Waits until every core knows the keyspace's tables as they are now.
    pub(super) async fn schema_changed(&mut self, route: &Route) -> Outcome {
        let Target::Keyspace { keyspace, .. } = &route.to else { return Ok(()) };
        let name = self
            .core
            .snapshot
            .borrow()
            .keyspaces
            .get(usize::from(*keyspace))
            .map(|k| k.name.clone());
        let Some(keyspace) = name else { return Ok(()) };
        self.ask(ControlRequest::SchemaChanged { keyspace }).await
    }

    async fn ask(&mut self, request: ControlRequest) -> Outcome {
        let mailbox = Rc::new(Mailbox::default());
        let ticket = MAILBOXES.with_borrow_mut(|(last, all)| {
            *last += 1;
            all.insert(*last, Rc::clone(&mailbox));
            *last
        });
        let _close = Close(ticket);
        let (shared, core) = (self.core.shared.clone(), self.core.id);
        let back = shared.clone();
        shared.control.request(
            request,
            Box::new(move |result| back.inbox(core).post(move |_| deliver(ticket, result))),
        );
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

    /// KILL: the session may be another core's. Users may kill what is theirs.
    pub(super) fn kill(&mut self, id: u32, how: Interrupt) -> Outcome {
        if id == self.handle.id {
            return match how {
                Interrupt::KillQuery => Err(sql_error(1317, "Query execution was interrupted").into()),
                _ => Err(super::Failure::Fatal(sql_error(1317, "Query execution was interrupted"))),
            };
        }
        let cores = self.core.shared.inboxes.len() as u32;
        let owner = u16::try_from(id.wrapping_sub(1) % cores).unwrap_or(0);
        if owner == self.core.id && !self.core.sessions.borrow().contains_key(&id) {
            return Err(sql_error(1094, format!("Unknown thread id: {id}")).into());
        }
        let (user, admin) = (self.handle.user.borrow().clone(), self.admin);
        let kill = move |core: &Rc<Core>| {
            let handle = core.sessions.borrow().get(&id).cloned();
            if let Some(handle) = handle.filter(|h| admin || *h.user.borrow() == user) {
                handle.interrupt(core, how);
            }
        };
        if owner == self.core.id {
            let theirs = self
                .core
                .sessions
                .borrow()
                .get(&id)
                .is_some_and(|h| *h.user.borrow() != *self.handle.user.borrow());
            if theirs && !self.admin {
                return Err(sql_error(1095, format!("You are not owner of thread {id}")).into());
            }
            kill(&self.core);
        } else {
            self.core.shared.inbox(owner).post(kill);
        }
        Ok(())
    }
}

fn deliver(ticket: u64, result: Result<(), SqlError>) {
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
