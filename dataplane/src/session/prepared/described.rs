//! The columns and parameters of a statement that is being prepared, as a server tells them.
use super::{PAUSES, Statement, TOO_MANY_STATEMENTS, close_on};
use crate::cache::CachedPlan;
use crate::pool::Backend;
use crate::ring::Buf;
use crate::session::answer::Answer;
use crate::session::relay::step;
use crate::session::scatter::{error_of, name_the_real};
use crate::session::values::Values;
use crate::session::{Outcome, Session};
use coregate_planner::control::SqlError;
use coregate_planner::plan::tree::{Described, Finish, Form, Tree};
use coregate_planner::plan::{Action, Piece, Route};
use coregate_planner::resolve::{self, Binding};
use coregate_planner::value::Value;
use coregate_protocol::column::ColumnDefinition;
use coregate_protocol::command::encode as commands;
use coregate_protocol::command::execute::STMT_ID_AT;
use coregate_protocol::frame;
use coregate_protocol::walker::{FeedState, PacketRole, ResponseKind, ResponseWalker, Summary};

impl Session {
    /// The text that a server is asked about, where it is not the client's own.
    pub(super) fn text_for(
        &self,
        statement: &Statement,
        entry: &CachedPlan,
        route: &Route,
    ) -> Outcome<Option<Vec<u8>>> {
        if let Action::Tree(tree) = &entry.plan.action {
            return Ok(match &tree.described {
                Described::By(pieces) => Some(self.text_of_pieces(statement, pieces)),
                Described::AsIs | Described::Finished => None,
            });
        }
        if route.generate.is_some() {
            return Ok(None);
        }
        if let Some(pieces) = resolve::renamed(route) {
            return Ok(Some(self.text_of_pieces(statement, pieces)));
        }
        if !resolve::has_session_values(route) {
            return Ok(None);
        }
        if let Some(pieces) = resolve::every_copy(route) {
            return Ok(Some(self.text_of_pieces(statement, pieces)));
        }
        let values = Values { session: self, params: &[], kinds: &[] };
        let nulls: Vec<Value<'_>> = vec![Value::Int(1); usize::from(statement.fingerprint.params)];
        let charsets = statement.charsets().unwrap_or(self.state.charsets);
        let mut resolved = self.bind(statement, entry, &nulls, charsets, &values)?;
        Ok(resolved.shards.first_mut().and_then(|s| s.text.take()))
    }

    fn text_of_pieces(&self, statement: &Statement, pieces: &[Piece]) -> Vec<u8> {
        let values = Values { session: self, params: &[], kinds: &[] };
        let binding = Binding {
            sql: &statement.sql,
            fingerprint: &statement.fingerprint,
            params: &[],
            sql_mode: statement.made_under.sql_mode,
            charsets: statement.charsets().unwrap_or(self.state.charsets),
            session: &values,
            prepared: true,
        };
        resolve::text_to_prepare(pieces, &binding)
    }

    /// Has a statement described that no server can prepare as it is: by the one that would finish
    /// it.
    pub(super) async fn finished(
        &mut self,
        statement: &Statement,
        tree: &Tree,
        finish: &Finish,
        id: u32,
        answer: &mut Answer,
    ) -> Outcome<(Vec<u8>, Option<SqlError>)> {
        let Some(leaf) = tree.leaves.first() else {
            return Err(crate::error::sql_error(1105, "a plan without tables").into());
        };
        let place = self.place_to_describe(&leaf.route)?;
        let text = self.text_of_pieces(statement, &finish.text);
        self.describe_finished(place, finish, &text, id, answer)
            .await
    }

    /// Prepares a text to see what the server says of it. Its packets for the client, with the real
    /// tables' names.
    pub(in crate::session) async fn prepare_to_describe(
        &mut self,
        backend: &mut Backend,
        finish: &Finish,
        text: &[u8],
        id: u32,
        answer: &mut Answer,
    ) -> Outcome<(Vec<u8>, Option<SqlError>)> {
        let mut payload = Vec::with_capacity(text.len() + 1);
        commands::stmt_prepare(&mut payload, text);
        let mut pauses = PAUSES.into_iter();
        loop {
            backend.send_payload(&payload);
            let (out, described) = self.described(backend, id, Some(finish), answer).await?;
            if let Some(prepared) = described.summary.prepare {
                close_on(backend, prepared.stmt_id);
            }
            match (&described.error, pauses.next()) {
                (Some(error), Some(pause)) if error.code == TOO_MANY_STATEMENTS => {
                    *answer = Answer { seq: described.first, ..*answer };
                    self.make_room(backend, pause).await;
                }
                _ => return Ok((out, described.error)),
            }
        }
    }

    /// `None`: the server has too many statements, and with `again` the client is not told so.
    pub(super) async fn relay_prepared(
        &mut self,
        backend: &mut Backend,
        id: u32,
        again: bool,
        answer: &mut Answer,
    ) -> Outcome<Option<Summary>> {
        let (out, described) = self.described(backend, id, None, answer).await?;
        if again && matches!(described.summary.error, Some((TOO_MANY_STATEMENTS, _))) {
            answer.seq = described.first;
            return Ok(None);
        }
        self.client.stream.link.send(Buf::from(out));
        Ok(Some(described.summary))
    }

    /// Reads a server's answer to COM_STMT_PREPARE. Its packets for the client, with our id.
    async fn described(
        &mut self,
        backend: &mut Backend,
        id: u32,
        finish: Option<&Finish>,
        answer: &mut Answer,
    ) -> Outcome<(Vec<u8>, Answered)> {
        let mut walker = ResponseWalker::new(ResponseKind::Prepare, backend.capabilities);
        let (mut out, mut changed) = (Vec::new(), Vec::new());
        let (first, mut error) = (answer.seq, None);
        while walker.state() != FeedState::Done {
            let mut packet = self.next_packet(backend, walker.next_seq()).await?;
            let role = step(&mut walker, packet.payload(), packet.seq)?;
            if role == PacketRole::Err {
                error = Some(error_of(packet.payload()));
            }
            if role == PacketRole::PrepareOk
                && let Some(place) = packet.payload_mut().get_mut(STMT_ID_AT)
            {
                place.copy_from_slice(&id.to_le_bytes());
            }
            if let (PacketRole::ColumnDef, Some(finish)) = (role, finish) {
                let mut column = ColumnDefinition::parse(packet.payload(), backend.capabilities)?;
                name_the_real(finish, &mut column);
                frame::PacketWriter::new(&mut out, &mut answer.seq)
                    .packet(|w| column.encode(self.client.capabilities, w));
                continue;
            }
            let payload = self.in_clients_form(
                backend,
                ResponseKind::Prepare,
                role,
                &mut packet,
                &mut changed,
            )?;
            if let Some(payload) = payload {
                frame::write_packet(&mut out, &mut answer.seq, payload);
            }
        }
        backend.busy = false;
        Ok((out, Answered { summary: *walker.summary(), error, first }))
    }
}

/// What a server said to COM_STMT_PREPARE.
struct Answered {
    summary: Summary,
    error: Option<SqlError>,
    /// Where the client's packets stood before.
    first: u8,
}

/// Whose servers can describe a statement.
pub(super) fn describing_route(action: &Action) -> Option<&Route> {
    match action {
        Action::Route(route) => Some(route),
        Action::Tree(tree) => tree.leaves.first().map(|leaf| &leaf.route),
        _ => None,
    }
}

/// A statement that no server can prepare as it is.
pub(super) fn finished(action: &Action) -> Option<(&Tree, &Finish)> {
    match action {
        Action::Tree(tree) => match (&tree.form, &tree.described) {
            (Form::Finish(finish), Described::Finished) => Some((tree, finish)),
            _ => None,
        },
        _ => None,
    }
}
