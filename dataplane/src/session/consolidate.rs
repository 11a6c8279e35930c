//! Which reads of a session may be answered with another session's answer, or lead others.
use super::answer::Answer;
use super::run::Form;
use super::{Outcome, Session};
use crate::cache::CachedPlan;
use crate::consolidator::{Consolidator, ConsolidatorMode, Leader, Part};
use crate::pool::Place;
use crate::ring::Buf;
use coregate_planner::plan::{
    Action, Assignment, Effects, Plan, SessionAction, SetValue, StatementClass,
};
use coregate_planner::same_answer::is_same_for_all;
use coregate_protocol::walker::Summary;
use std::rc::Rc;

/// What becomes of a read.
pub(super) enum Consolidated {
    Answered(Summary),
    /// It goes to the server, and others may get its answer.
    Leads(Leader),
    Alone,
}

impl Session {
    #[inline]
    pub(super) fn consolidates(&self) -> bool {
        self.core.config().consolidator.mode != ConsolidatorMode::Disable
    }

    #[cold]
    pub(super) async fn consolidate(
        &mut self,
        entry: &CachedPlan,
        (place, text): (Place, Option<&[u8]>),
        form: &Form<'_>,
        answer: &mut Answer,
    ) -> Outcome<Consolidated> {
        if !self.may_share(&entry.plan, place, answer)
            || !is_same_for_all(entry.text(), self.state.sql_mode)
        {
            return Ok(Consolidated::Alone);
        }
        let Some(key) = self.sharing_key(place, text, form) else {
            return Ok(Consolidated::Alone);
        };
        let core = Rc::clone(&self.core);
        match Consolidator::part(&core, key, self.reads.wrote_at) {
            None => Ok(Consolidated::Alone),
            Some(Part::Leads(leader)) => {
                self.running.flight = Some(leader.flight());
                Ok(Consolidated::Leads(leader))
            }
            Some(Part::Follows(follower)) => {
                let landed = self.wait_for_servers(|cx| follower.poll(cx)).await?;
                drop(follower);
                let Some((bytes, summary)) = landed else { return Ok(Consolidated::Alone) };
                core.metrics().consolidations.add(1);
                self.client.stream.link.send(Buf::from(bytes));
                self.remember(entry.plan.class, &summary);
                Ok(Consolidated::Answered(summary))
            }
        }
    }

    /// Nothing of the session's makes a difference, and nothing is left on the connection.
    fn may_share(&self, plan: &Plan, place: Place, answer: &Answer) -> bool {
        let not_here = self.core.config().consolidator.mode == ConsolidatorMode::NotOnPrimary
            && !place.is_replica();
        let only_reads = plan.class == StatementClass::Select && plan.effects == Effects::READS;
        if not_here || !only_reads || !answer.is_plain(1) || answer.cursor {
            return false;
        }
        let busy = self.in_transaction()
            || !self.state.autocommit
            // `IS NULL` may mean the row that the session has inserted last.
            || self.state.settings.get("sql_auto_is_null").is_some()
            || !self.transaction.held.is_empty()
            || self.transaction.concerns_next()
            || self.reads.causal.is_some()
            || self.running.trace.is_some();
        let routines = |place| {
            self.core
                .pools
                .get(place)
                .is_none_or(|pool| pool.routines.concern(&plan.names))
        };
        !busy && !routines(place) && !self.reads_views(plan)
    }

    /// What a view calls is not in the statement.
    fn reads_views(&self, plan: &Plan) -> bool {
        let snapshot = self.core.snapshot.borrow();
        let is_view = |name: &String| {
            let (keyspace, table) = name.split_once('.').unwrap_or(("", name));
            let keyspace = snapshot.keyspaces.iter().find(|k| k.name == keyspace);
            let known = keyspace.and_then(|k| k.tables.get(table));
            known.is_some_and(|table| table.view.is_some())
        };
        plan.tables.iter().any(is_view)
    }

    /// Equal for two reads whose answers are, byte for byte.
    fn sharing_key(&self, place: Place, text: Option<&[u8]>, form: &Form<'_>) -> Option<Vec<u8>> {
        let mut key = format!(
            "{place:?} {:p} {} {} {} ",
            Rc::as_ptr(&self.state.settings),
            self.state.flavour,
            self.client.capabilities.bits(),
            self.target.database.as_deref().unwrap_or_default(),
        )
        .into_bytes();
        key.extend_from_slice(&self.client.login.0.user);
        key.push(0);
        match (form, text) {
            (Form::Packet(..), None) => key.extend_from_slice(form.text()),
            (Form::Packet(..), Some(text)) => key.extend_from_slice(text),
            (Form::Binary(execution), None) => {
                key.push(1);
                execution
                    .statement
                    .add_execution(execution.packet.payload(), &mut key)?;
            }
            _ => return None,
        }
        Some(key)
    }

    /// A part of an answer is relayed.
    #[inline]
    pub(super) fn copy_for_others(&self, part: &[u8], ends: bool) {
        if let Some(flight) = &self.running.flight {
            flight.copy(&self.core, part, ends);
        }
    }

    /// Others do not wait for a slow client.
    pub(super) fn keep_from_others(&mut self) {
        if let Some(flight) = self.running.flight.take() {
            flight.lose(&self.core);
        }
    }

    /// A statement runs: may it write?
    #[cold]
    pub(super) fn note_statement(&mut self, entry: &CachedPlan) {
        use StatementClass as C;
        let plan = &entry.plan;
        let only_reads = match (&plan.action, plan.class) {
            (_, C::Show | C::Use | C::Begin | C::Savepoint) => true,
            (Action::Session(SessionAction::Set(all)), _) => {
                let is_fixed = |a: &Assignment| !matches!(a.value, SetValue::Expression(_));
                all.iter().all(is_fixed)
            }
            // What it calls may write.
            (_, C::Select) => is_same_for_all(entry.text(), self.state.sql_mode),
            _ => false,
        };
        self.running.ran = true;
        self.running.wrote |= !only_reads;
    }

    /// Behind a command.
    #[cold]
    pub(super) fn note_write(&mut self) {
        let ran = std::mem::take(&mut self.running.ran);
        if std::mem::take(&mut self.running.wrote) || !ran {
            self.reads.wrote_at = self.core.consolidator.now();
        }
    }
}
