//! Cursors: executions whose rows the client fetches in portions. The connection stays with the
//! session while one is open.
use super::{Statement, Statements, close_on};
use crate::error::sql_error;
use crate::pool::{Backend, Place};
use crate::ring::Buf;
use crate::session::answer::Answer;
use crate::session::{Failure, Outcome, Session};
use coregate_protocol::Status;
use coregate_protocol::command::encode as commands;
use coregate_protocol::command::execute::STMT_ID_AT;
use coregate_protocol::frame::PacketWriter;
use coregate_protocol::response::{OkPacket, encode_rows_end};
use coregate_protocol::walker::{ResponseKind, Summary};

/// An open cursor: where, and by which id its statement is known there. The server's statement is
/// this one's alone meanwhile.
#[derive(Clone, Copy)]
pub(super) struct Cursor {
    place: Place,
    key: u64,
    id: u32,
}

impl Cursor {
    /// The server's statement is for all again who send its text.
    fn give_back(self, backend: &mut Backend) {
        let evicted = match backend.statement(self.key) {
            Some(_) => Some(self.id),
            None => backend.remember_statement(self.key, self.id),
        };
        if let Some(id) = evicted {
            close_on(backend, id);
        }
    }
}

impl Statements {
    fn set_cursor(&mut self, statement: &Statement, cursor: Option<Cursor>) {
        let before = statement.cursor.replace(cursor);
        self.cursors += usize::from(cursor.is_some());
        self.cursors -= usize::from(before.is_some());
    }

    fn has_cursor_at(&self, place: Place) -> bool {
        self.cursors > 0
            && self
                .by_id
                .values()
                .any(|s| s.cursor.get().is_some_and(|c| c.place == place))
    }
}

impl Session {
    pub(in crate::session) fn has_cursor_at(&self, place: Place) -> bool {
        self.statements
            .as_ref()
            .is_some_and(|s| s.has_cursor_at(place))
    }

    fn set_cursor(&mut self, statement: &Statement, cursor: Option<Cursor>) {
        if let Some(statements) = &mut self.statements {
            statements.set_cursor(statement, cursor);
        }
    }

    /// Notes whether an execution that asked for a cursor has left one open.
    pub(super) fn note_cursor(
        &mut self,
        statement: &Statement,
        (place, key): (Place, u64),
        backend: &mut Backend,
        summary: &Summary,
    ) {
        let open = summary.status_seen.contains(Status::CURSOR_EXISTS)
            && !summary.status.contains(Status::LAST_ROW_SENT);
        let id = open.then(|| backend.take_statement(key)).flatten();
        self.set_cursor(statement, id.map(|id| Cursor { place, key, id }));
    }

    /// Notes whether an execution has opened a cursor over no rows, which no server knows of.
    pub(super) fn note_empty_cursor(&self, id: u32, open: bool) {
        if let Ok(statement) = self.statement_of(id, "mysqld_stmt_execute") {
            statement.empty_cursor.set(open);
        }
    }

    /// Closes a statement's cursor on its server, if it has one, and lets go of the connection.
    pub(super) async fn end_cursor(&mut self, statement: &Statement) {
        statement.empty_cursor.set(false);
        let Some(cursor) = statement.cursor.get() else { return };
        self.set_cursor(statement, None);
        let core = self.core.clone();
        let holder = self
            .transaction
            .held
            .iter_mut()
            .find(|(held, _)| *held == cursor.place);
        if let Some((_, backend)) = holder {
            let mut payload = Vec::new();
            commands::stmt_reset(&mut payload, cursor.id);
            let reset = backend.run(&core, &payload, ResponseKind::Simple, |_| {});
            match reset.await {
                Ok(_) => cursor.give_back(backend),
                Err(_) => backend.tainted = true,
            }
        }
        self.release_held();
    }

    /// COM_STMT_FETCH: rows of an open cursor.
    pub(in crate::session) async fn fetch(
        &mut self,
        id: u32,
        mut payload: Vec<u8>,
        answer: &mut Answer,
    ) -> Outcome {
        let statement = self.statement_of(id, "mysqld_stmt_fetch")?;
        let nothing =
            || Failure::Sql(sql_error(1421, format!("The statement ({id}) has no open cursor.")));
        if statement.empty_cursor.take() {
            let end =
                OkPacket { status: self.status() | Status::LAST_ROW_SENT, ..OkPacket::default() };
            let (capabilities, mut out) = (self.client.capabilities, Vec::new());
            PacketWriter::new(&mut out, &mut answer.seq)
                .packet(|w| encode_rows_end(&end, capabilities, w));
            self.client.stream.link.send(Buf::from(out));
            return Ok(());
        }
        let cursor = statement.cursor.get().ok_or_else(nothing)?;
        let at = self
            .transaction
            .held
            .iter()
            .position(|(held, _)| *held == cursor.place)
            .ok_or_else(nothing)?;
        let (_, mut backend) = self.transaction.held.swap_remove(at);
        if let Some(bytes) = payload.get_mut(STMT_ID_AT) {
            bytes.copy_from_slice(&cursor.id.to_le_bytes());
        }
        backend.send_payload(&payload);
        match self.relay(&mut backend, ResponseKind::Fetch, answer).await {
            Ok(summary) => {
                if summary.status.contains(Status::LAST_ROW_SENT) || summary.error.is_some() {
                    self.set_cursor(&statement, None);
                    cursor.give_back(&mut backend);
                }
                self.keep_or_return(cursor.place, backend);
                Ok(())
            }
            Err(failure) => Box::pin(self.give_up(cursor.place, backend, failure, answer))
                .await
                .map(|_| ()),
        }
    }
}
