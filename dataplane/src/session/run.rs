//! One road for every statement, however it came: as a text, by COM_STMT_EXECUTE, by `EXECUTE name
//! USING`. What it came as decides only in what form it goes to a server.
use super::answer::Answer;
use super::consolidate::Consolidated;
use super::insert_id::Given;
use super::plan::{BoundPlan, Planned, RowsAt};
use super::prepared::{MadeFor, Statement};
use super::scatter::{Rows, Work};
use super::wire::{TEXT_AT, Wire, into_query, query_payload};
use super::{Failure, Outcome, Session};
use crate::cache::CachedPlan;
use crate::error::sql_error;
use crate::link::Packet;
use crate::pool::Place;
use coregate_planner::identity::ShardId;
use coregate_planner::plan::{Action, Combine, Effects, Plan, Route, StatementClass, Target};
use coregate_planner::resolve::{Resolved, ShardText};
use coregate_protocol::walker::{ResponseKind, Summary};
use std::rc::Rc;

/// What a statement came as.
pub(super) enum Form<'s> {
    /// COM_QUERY of one statement: the client's packet goes on as it is.
    Packet(Packet, RowsAt),
    /// A text: one of several in a packet, or one made here.
    Text(&'s [u8]),
    Binary(Execution<'s>),
    Named(Call<'s>),
}

/// COM_STMT_EXECUTE.
pub(super) struct Execution<'s> {
    pub(super) statement: &'s Rc<Statement>,
    pub(super) packet: Packet,
    /// The client wants a cursor.
    pub(super) cursor: bool,
    pub(super) given: &'s Given,
}

/// `EXECUTE name USING`.
pub(super) struct Call<'s> {
    pub(super) statement: &'s Rc<Statement>,
    /// The variables, quoted.
    pub(super) variables: &'s [String],
}

impl Form<'_> {
    /// The statement's text; for a prepared one, with its parameters open.
    pub(super) fn text(&self) -> &[u8] {
        match self {
            Self::Packet(packet, _) => packet.payload().get(TEXT_AT..).unwrap_or_default(),
            Self::Text(text) => text,
            Self::Binary(execution) => execution.statement.sql(),
            Self::Named(call) => call.statement.sql(),
        }
    }

    /// The prepared statement that is executed.
    fn statement(&self) -> Option<&Statement> {
        match self {
            Self::Packet(..) | Self::Text(_) => None,
            Self::Binary(Execution { statement, .. }) | Self::Named(Call { statement, .. }) => {
                Some(statement)
            }
        }
    }

    /// What its names mean, where that may not be what the session has selected.
    fn made_for(&self) -> Option<MadeFor> {
        self.statement().map(Statement::made_for)
    }
}

impl Session {
    /// Runs one planned statement and answers it.
    #[inline]
    pub(super) async fn execute(
        &mut self,
        planned: Planned,
        form: Form<'_>,
        answer: &mut Answer,
    ) -> Outcome {
        self.transaction.last_failed = false;
        if planned.bound.is_made_text()
            && let Some(statement) = form.statement()
            && !statement.means_the_same(&self.state.settings, self.state.sql_mode)
        {
            return Err(Box::pin(self.refuse_to_read_again()).await);
        }
        let snapshot = self.state.cross_shard_snapshot
            && Box::pin(self.begin_snapshot_read(&planned.entry.plan, &planned.bound)).await?;
        let entry = planned.entry;
        let plan = &entry.plan;
        if self.may_be_hot(plan, planned.bound.shards()) {
            Box::pin(self.await_row(plan, &planned.bound, &form)).await?;
        }
        if self.consolidates() {
            self.note_statement(&entry);
        }
        let (start, shards) = (self.core.ring.now(), planned.bound.shards());
        let result = match (planned.bound, &plan.action) {
            (BoundPlan::Route(resolved), Action::Route(route)) => {
                self.route(&entry, route, resolved, form, answer).await
            }
            (BoundPlan::Tree(parts), Action::Tree(tree)) => {
                Box::pin(self.tree(plan, tree, *parts, answer)).await
            }
            (BoundPlan::Write(bound), Action::Write(write)) => {
                let steps = self.write_under(form.made_for(), plan, (write, *bound), answer);
                Box::pin(steps).await
            }
            (BoundPlan::Own, _) => {
                let own = Box::pin(self.local(plan, form.text(), answer)).await;
                own.map(|()| Summary::default())
            }
            _ => Err(sql_error(1105, "a plan that was bound as another").into()),
        };
        self.sequence_done(plan, result.as_ref().ok());
        self.note_end(&entry, start, shards, &result);
        let result = result.map(|_| ());
        if self.transaction.hot.is_some() || self.transaction.share.is_some() {
            self.end_contention();
        }
        match snapshot {
            true => Box::pin(self.end_snapshot_read(plan.effects, result)).await,
            false => result,
        }
    }

    /// A server keeps a prepared statement as it has read it. What is made of one here would be
    /// read anew.
    #[cold]
    async fn refuse_to_read_again(&mut self) -> Failure {
        if self.transaction.is_own() {
            self.abandon_transaction().await;
        }
        sql_error(
            1235,
            "VT12001: unsupported: a prepared statement for several shards, under another \
                sql_mode, character set or collation than it was \
             prepared under; prepare it again",
        )
        .into()
    }

    /// Sends a statement where its plan says.
    #[inline]
    async fn route(
        &mut self,
        entry: &Rc<CachedPlan>,
        route: &Route,
        mut resolved: Resolved,
        form: Form<'_>,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let plan = &entry.plan;
        // Names and places are found before anything is waited for: a snapshot may come meanwhile.
        let keyspace = self.changed_keyspace(plan, route);
        self.begin_warnings(plan);
        if plan.effects.contains(Effects::IMPLICIT_COMMIT) {
            Box::pin(self.implicit_commit()).await?;
        }
        let rows = self.rows_of(plan, route, &resolved);
        // A change of tables is answered when every core knows it, so its answer is not relayed but
        // given.
        let relayed =
            !plan.effects.contains(Effects::SCHEMA_CHANGE) || matches!(route.to, Target::DropIn);
        // An OK that tells the first of a sequence's numbers is given, too. RETURNING is answered
        // with rows.
        let numbered =
            self.running.numbers_from.is_some() && !plan.effects.contains(Effects::SETS_INSERT_ID);
        if relayed
            && !numbered
            && resolved.before.is_none()
            && let [only] = resolved.shards.as_mut_slice()
        {
            let (place, text) = (place_of(route, only.id), only.text.take());
            let to = (place, text);
            return self
                .on_one(entry, to, resolved.interpolated, form, answer)
                .await;
        }
        let several = Several { entry, route, keyspace: keyspace.clone(), rows, numbered };
        let result = Box::pin(self.on_several(several, resolved, form, answer)).await;
        if let (Some(keyspace), Err(failure)) = (&keyspace, &result) {
            self.note_change(plan);
            self.schema_in_doubt(keyspace, failure);
        }
        result
    }

    /// Runs a statement on the one server that it needs; `text`: as it goes there, if not as the
    /// client wrote it.
    #[inline]
    async fn on_one(
        &mut self,
        entry: &Rc<CachedPlan>,
        (place, text): (Place, Option<Vec<u8>>),
        interpolated: bool,
        form: Form<'_>,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let plan = &entry.plan;
        let mut leader = None;
        if self.consolidates() {
            let to = (place, text.as_deref());
            match Box::pin(self.consolidate(entry, to, &form, answer)).await? {
                Consolidated::Answered(summary) => return Ok(summary),
                Consolidated::Leads(leads) => leader = Some(leads),
                Consolidated::Alone => {}
            }
        }
        let result = match (form, text) {
            (Form::Packet(packet, at), None) => {
                let wire = match plan.effects.contains(Effects::ROWS_ONLY) {
                    true => Wire::Rows(packet, at, Rc::clone(entry)),
                    false => Wire::Packet(packet),
                };
                self.one(plan, place, wire, ResponseKind::Query, answer)
                    .await
            }
            (Form::Binary(execution), text) if !interpolated => {
                self.execute_on(execution, entry, place, text, answer).await
            }
            (Form::Named(call), text) if !interpolated => {
                Box::pin(self.call_on(call, plan, place, text, answer)).await
            }
            (form, text) => {
                let text = text.map_or_else(|| query_payload(form.text()), into_query);
                self.one(plan, place, Wire::Payload(text), ResponseKind::Query, answer)
                    .await
            }
        };
        if let Some(leader) = leader {
            self.running.flight = None;
            leader.land(result.as_ref().ok());
        }
        result
    }

    /// Runs a statement on the servers that it needs, be they one, and answers it for all of them.
    async fn on_several(
        &mut self,
        several: Several<'_>,
        resolved: Resolved,
        form: Form<'_>,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let Some(before) = &resolved.before else {
            return self.spread(several, resolved, form, answer).await;
        };
        self.begin_maintained(several.route, before).await?;
        let result = self.spread(several, resolved, form, answer).await;
        self.end_maintained(result).await
    }

    async fn spread(
        &mut self,
        several: Several<'_>,
        mut resolved: Resolved,
        form: Form<'_>,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let Several { entry, route, keyspace, rows, numbered } = several;
        let plan = &entry.plan;
        let combine = match numbered || resolved.before.is_some() {
            true => Combine::Sum,
            false => route.combine,
        };
        let locks = plan.class == StatementClass::Lock;
        let listed = matches!(combine, Combine::Status | Combine::Keys);
        let by_text = resolved.interpolated || resolved.shards.is_empty() || locks || listed;
        let shards = resolved.shards.as_mut_slice();
        let (kind, wires) = match &form {
            Form::Binary(execution) if !by_text => {
                let wires = self
                    .prepare_on_all(execution, plan, route, shards, answer)
                    .await;
                (ResponseKind::Execute, wires)
            }
            Form::Named(call) if !by_text => {
                let wires = self
                    .prepare_by_names(call, plan, route, shards, answer)
                    .await;
                (ResponseKind::Query, wires)
            }
            form => (ResponseKind::Query, Ok(wires_of(route, shards, form.text()))),
        };
        let result = match wires {
            Err(failure) => Err(failure),
            Ok(wires) if locks => self.lock_in_turn(wires, answer).await,
            Ok(wires) if listed => self.table_status(plan, route, wires, answer).await,
            Ok(wires) => {
                let work = Work { plan, combine, kind, wires, keyspace, rows };
                self.several(work, answer).await
            }
        };
        if matches!(form, Form::Binary(_) | Form::Named(_)) {
            // They were held for the statement, which was prepared on them.
            self.release_held();
        }
        result
    }

    /// The keyspace whose tables a statement changes.
    #[inline]
    fn changed_keyspace(&self, plan: &Plan, route: &Route) -> Option<String> {
        let Target::Keyspace { keyspace, .. } = &route.to else { return None };
        if !plan.effects.contains(Effects::SCHEMA_CHANGE) {
            return None;
        }
        let snapshot = self.core.snapshot.borrow();
        snapshot
            .keyspaces
            .get(usize::from(*keyspace))
            .map(|k| k.name.clone())
    }
}

/// A statement that is answered for its servers, not by one of them.
struct Several<'p> {
    entry: &'p Rc<CachedPlan>,
    route: &'p Route,
    keyspace: Option<String>,
    rows: Rows<'static>,
    /// It has numbers of a sequence.
    numbered: bool,
}

/// What goes to each shard: its own text, or the statement's.
fn wires_of(route: &Route, shards: &mut [ShardText], text: &[u8]) -> Vec<(Place, Vec<u8>)> {
    let wires = shards.iter_mut().map(|shard| {
        let payload = shard
            .text
            .take()
            .map_or_else(|| query_payload(text), into_query);
        (place_of(route, shard.id), payload)
    });
    wires.collect()
}

#[inline]
pub(super) fn place_of(route: &Route, shard: ShardId) -> Place {
    match &route.to {
        Target::DropIn => Place::DropIn,
        Target::Keyspace { .. } => Place::Shard { shard, kind: route.tablet_kind.into() },
    }
}
