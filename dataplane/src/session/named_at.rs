//! `PREPARE` and `EXECUTE` that one server does, on a pinned connection: where the session's target
//! is one server, and for what was prepared there, wherever the session is now.
use super::answer::Answer;
use super::named::NAMED_MAX;
use super::prepared::{PAUSES, TOO_MANY_STATEMENTS};
use super::relay::{set_status, step};
use super::scatter::error_of;
use super::wire::{Wire, query_payload};
use super::{Failure, Outcome, Session};
use crate::error::sql_error;
use crate::pool::{Backend, Place};
use crate::ring::Buf;
use coregate_planner::plan::{Action, Effects, Plan, SessionAction, StatementClass};
use coregate_planner::snapshot::TabletKind;
use coregate_protocol::walker::{PacketRole, ResponseKind, ResponseWalker, Summary};
use coregate_protocol::{Status, frame};

#[cold]
fn prepared_elsewhere() -> Failure {
    let message = "the statement was prepared on the primary, which has read it by itself, and \
        replicas are selected now: it could \
                   write; prepare it again";
    sql_error(1290, message).into()
}

impl Session {
    /// Which server does it, if the session does not: the one that has the statement, else the only
    /// one that the target has.
    pub(super) fn server_of(&self, action: &SessionAction) -> Option<Outcome<Place>> {
        if let SessionAction::Execute { name, .. } | SessionAction::Deallocate { name } = action {
            let name = self.key_of_name(name);
            let statements = self.statements.as_ref();
            if statements.is_some_and(|s| s.named.contains_key(&name)) {
                return None;
            }
            if let Some(place) = statements.and_then(|s| s.named_at.get(&name)) {
                let runs = matches!(action, SessionAction::Execute { .. });
                let may_write =
                    runs && !place.is_replica() && self.target.kind != TabletKind::Primary;
                return Some(if may_write { Err(prepared_elsewhere()) } else { Ok(*place) });
            }
        }
        // What a replica is asked, or for a user who may not do all, is planned here: a text that a
        // server prepares by itself could write.
        let of_primary = self.target.kind == TabletKind::Primary && self.client.rights.are_full();
        // And in a range of shards no row may be put where it does not belong.
        let whole = self.target.shards.is_none();
        (of_primary && whole && self.places_of_target().len() == 1).then(|| self.any_place())
    }

    /// Runs a statement as it is on one server, and keeps that connection: what the statement sets
    /// up lives there.
    pub(super) async fn on_the_server(
        &mut self,
        place: Place,
        action: &SessionAction,
        sql: &[u8],
        answer: &mut Answer,
    ) -> Outcome {
        let plan = Plan {
            action: Action::Session(SessionAction::Nothing),
            class: StatementClass::Prepare,
            effects: Effects::PIN,
            cacheable: false,
            tables: Vec::new(),
            names: Vec::new(),
            directives: Default::default(),
        };
        let SessionAction::Prepare { name, .. } = action else {
            let wire = Wire::Payload(query_payload(sql));
            let done = self
                .one(&plan, place, wire, ResponseKind::Query, answer)
                .await;
            return done.map(|_| ());
        };
        let mut backend = self.acquire(place, plan.effects).await?;
        let summary = match self
            .relay_prepare(&mut backend, &query_payload(sql), answer)
            .await
        {
            Ok(summary) => summary,
            Err(failure) => {
                return self
                    .give_up(place, backend, failure, answer)
                    .await
                    .map(|_| ());
            }
        };
        self.settle(place, backend, &plan, &summary);
        self.remember(plan.class, &summary);
        // One that cannot be prepared leaves none under its name, wherever the last one was.
        let name = self.key_of_name(name);
        let statements = self.statements.get_or_insert_default();
        statements.named.remove(&name);
        statements.named_at.remove(&name);
        if summary.error.is_none() && statements.named_at.len() < NAMED_MAX {
            statements.named_at.insert(name, place);
        }
        Ok(())
    }

    /// PREPARE, whose answer is one packet: room is made where the server has too many statements.
    async fn relay_prepare(
        &mut self,
        backend: &mut Backend,
        payload: &[u8],
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let mut pauses = PAUSES.into_iter();
        loop {
            backend.send_payload(payload);
            let mut walker = ResponseWalker::new(ResponseKind::Query, backend.capabilities);
            let next = self.next_packet(backend, walker.next_seq()).await;
            if matches!(next, Err(Failure::Sql(_))) {
                backend.leave(walker.clone());
            }
            let mut packet = next?;
            let role = step(&mut walker, packet.payload(), packet.seq)?;
            backend.answered(walker.summary());
            if let Some((TOO_MANY_STATEMENTS, _)) = walker.summary().error
                && let Some(pause) = pauses.next()
            {
                self.make_room(backend, pause).await;
                continue;
            }
            let (mut out, mut changed) = (Vec::new(), Vec::new());
            if role == PacketRole::Err {
                self.note_error(&error_of(packet.payload()));
            }
            let kind = ResponseKind::Query;
            if let Some(payload) =
                self.in_clients_form(backend, kind, role, &mut packet, &mut changed)?
            {
                if answer.more && role == PacketRole::Ok {
                    set_status(payload, self.client.capabilities, Status::MORE_RESULTS);
                }
                frame::write_packet(&mut out, &mut answer.seq, payload);
            }
            self.client.stream.link.send(Buf::from(out));
            return Ok(*walker.summary());
        }
    }
}
