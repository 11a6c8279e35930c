//! SHOW PROCESSLIST: the sessions of all cores, under the ids that CONNECTION_ID() gives and KILL
//! takes. A server's own list would show pooled connections, whose ids mean nothing here.
use super::answer::{Answer, text_column};
use super::{Outcome, Session};
use crate::core::Core;
use coregate_protocol::column::{ColumnDefinition, ColumnFlags, ColumnType};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a statement that SHOW PROCESSLIST shows; SHOW FULL PROCESSLIST shows what is kept of
/// it.
const INFO_SHOWN: usize = 100;

/// What one session does.
pub(super) struct Row {
    id: u32,
    user: String,
    host: String,
    database: Option<String>,
    rests: bool,
    seconds: u64,
    in_transaction: bool,
    info: Vec<u8>,
}

impl Session {
    pub(super) async fn show_processlist(&mut self, full: bool, answer: &mut Answer) -> Outcome {
        self.clear_warnings();
        let rows = self.sessions().await?;
        self.send_processlist(&rows, full, answer);
        Ok(())
    }

    /// The sessions that this one may see, by their ids.
    pub(super) async fn sessions(&mut self) -> Outcome<Vec<Row>> {
        let rows: Arc<Mutex<Vec<Row>>> = Arc::default();
        // MySQL shows all sessions to those with the PROCESS privilege, its own to anybody.
        let only = (!self.client.rights.admin).then(|| self.client.handle.user.borrow().clone());
        let (shared, core) = (self.core.shared.clone(), self.core.id);
        let gathered = Arc::clone(&rows);
        self.wait_for(|ticket| {
            let left = Arc::new(AtomicUsize::new(shared.inboxes.len()));
            for inbox in &shared.inboxes {
                let (left, rows, only) = (Arc::clone(&left), Arc::clone(&gathered), only.clone());
                let back = shared.clone();
                inbox.post(move |theirs| {
                    gather(theirs, only.as_deref(), &rows);
                    if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                        back.inbox(core)
                            .post(move |_| super::control::deliver(ticket, Ok(None)));
                    }
                });
            }
        })
        .await?;
        let mut rows = std::mem::take(&mut *rows.lock().unwrap_or_else(PoisonError::into_inner));
        rows.sort_by_key(|row| row.id);
        Ok(rows)
    }

    fn send_processlist(&mut self, rows: &[Row], full: bool, answer: &mut Answer) {
        let number = |name: &'static str, kind, length| ColumnDefinition {
            length,
            flags: ColumnFlags::NOT_NULL | ColumnFlags::BINARY,
            ..ColumnDefinition::expression(name.as_bytes(), kind)
        };
        let columns = [
            number("Id", ColumnType::LONGLONG, 10),
            text_column("User"),
            text_column("Host"),
            text_column("db"),
            text_column("Command"),
            number("Time", ColumnType::LONG, 7),
            text_column("State"),
            text_column("Info"),
        ];
        let cells: Vec<Vec<Option<Vec<u8>>>> = rows.iter().map(|row| row.cells(full)).collect();
        self.last.found_rows = cells.len() as u64;
        self.last.row_count = -1;
        self.send_result(answer, &columns, &cells);
    }
}

impl Row {
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Is it a session of this user, from this host?
    pub(super) fn is_of(&self, user: &str, host: Option<&str>) -> bool {
        let from = self
            .host
            .rsplit_once(':')
            .map_or(self.host.as_str(), |(host, _)| host);
        self.user == user && host.is_none_or(|host| host == from)
    }

    pub(super) fn cells(&self, full: bool) -> Vec<Option<Vec<u8>>> {
        let text = |text: &str| Some(text.as_bytes().to_vec());
        let shown = if full { self.info.len() } else { self.info.len().min(INFO_SHOWN) };
        vec![
            text(&self.id.to_string()),
            text(&self.user),
            text(&self.host),
            self.database.as_deref().and_then(text),
            text(if self.rests { "Sleep" } else { "Query" }),
            text(&self.seconds.to_string()),
            text(match (self.rests, self.in_transaction) {
                (true, true) => "in transaction",
                (true, false) => "",
                (false, _) => "executing",
            }),
            (!self.rests).then(|| self.info.get(..shown).unwrap_or_default().to_vec()),
        ]
    }
}

/// The sessions of one core; of one user, where only those may be seen.
fn gather(core: &Rc<Core>, only: Option<&str>, rows: &Mutex<Vec<Row>>) {
    let now = core.ring.now();
    let sessions = core.sessions.borrow();
    let seen = sessions
        .values()
        .filter(|handle| only.is_none_or(|user| *handle.user.borrow() == user));
    let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
    rows.extend(seen.map(|handle| Row {
        id: handle.id,
        user: handle.user.borrow().clone(),
        host: handle.host.clone(),
        database: handle.database.borrow().as_deref().map(str::to_owned),
        rests: handle.is_resting(),
        seconds: now.saturating_duration_since(handle.since.get()).as_secs(),
        in_transaction: handle.in_transaction.get(),
        info: handle.info.borrow().clone(),
    }));
}
