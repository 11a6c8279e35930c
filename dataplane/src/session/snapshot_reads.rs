//! `cross_shard_snapshot = ON`: a SELECT over several shards that is in no transaction of its
//! client reads one snapshot of all of them, as `START TRANSACTION WITH CONSISTENT SNAPSHOT` opens
//! it. The snapshot ends with the statement, and the client sees nothing of it.
use super::plan::BoundPlan;
use super::run::place_of;
use super::set::is_on;
use super::{Failure, Outcome, Session};
use crate::error::sql_error;
use crate::pool::{Kind, Place};
use coregate_planner::lookup::LookUp;
use coregate_planner::plan::tree::{Form, Tree};
use coregate_planner::plan::{Action, Effects, Plan, StatementClass};
use coregate_planner::resolve::Parts;
use std::rc::Rc;

pub(super) const CROSS_SHARD_SNAPSHOT: &str = "cross_shard_snapshot";

/// At other levels, servers open no snapshot.
const REPEATABLE: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";

impl Session {
    /// `SET cross_shard_snapshot = ON | OFF | DEFAULT`
    pub(super) fn set_snapshot_reads(&mut self, value: &str) -> Outcome {
        let word = value.trim().trim_matches(['\'', '"']);
        let off = ["0", "off", "false"]
            .iter()
            .any(|off| word.eq_ignore_ascii_case(off));
        self.state.cross_shard_snapshot = match word {
            "" => self.core.config().cross_shard_snapshot,
            word if is_on(word) => true,
            _ if off => false,
            _ => {
                let message = format!(
                    "Variable '{CROSS_SHARD_SNAPSHOT}' can't be set to the value of '{word}'"
                );
                return Err(sql_error(1231, message).into());
            }
        };
        Ok(())
    }

    /// Opens the snapshot that a statement needs. `true`: it is open, and ends with the statement.
    #[cold]
    pub(super) async fn begin_snapshot_read(
        &mut self,
        plan: &Plan,
        bound: &BoundPlan,
    ) -> Outcome<bool> {
        let reads = plan.class == StatementClass::Select;
        if self.transaction.reads_snapshot() {
            // Its lookup tables were read in it.
            if !reads {
                self.abandon_transaction().await;
            }
            return Ok(reads);
        }
        if !reads || !self.may_open_snapshot() {
            return Ok(false);
        }
        let places = self.places_read(plan, bound);
        if places.is_empty() {
            return Ok(false);
        }
        self.open_snapshot_of(places).await?;
        Ok(true)
    }

    /// A lookup table tells where rows are: what it tells must be of the rows' snapshot.
    pub(super) async fn begin_snapshot_look(&mut self, question: &LookUp) -> Outcome {
        let wanted = self.state.cross_shard_snapshot && !question.changes && !question.locks;
        if !wanted || self.transaction.reads_snapshot() || !self.may_open_snapshot() {
            return Ok(());
        }
        // Where the statement goes then is not known yet.
        let places = self.all_primaries();
        Box::pin(self.open_snapshot_of(places)).await
    }

    fn may_open_snapshot(&self) -> bool {
        !self.in_transaction() && self.state.autocommit && !self.transaction.locked
    }

    async fn open_snapshot_of(&mut self, mut places: Vec<Place>) -> Outcome {
        let primary = |place: &Place| matches!(place, Place::Shard { kind: Kind::Primary, .. });
        if !places.iter().all(primary) {
            return Err(sql_error(
                1235,
                "VT12001: unsupported: one snapshot over several shards' replicas; USE the \
                    primaries, or SET cross_shard_snapshot = OFF",
            )
            .into());
        }
        // Always in the same order, so that two statements never wait for each other's connections.
        places.sort_unstable();
        places.dedup();
        let next = self.transaction.take_next();
        self.transaction.begin_snapshot_read();
        let opened = Box::pin(self.open_one_snapshot(&places)).await;
        if opened.is_err() {
            self.abandon_transaction().await;
        }
        self.transaction.restore_next(next);
        opened
    }

    /// Whatever level the session has chosen: its connections are told before writers wait. Those
    /// that must not be used by others unless they begin a transaction.
    pub(super) async fn read_repeatably(&mut self, places: &[Place]) -> Outcome<Vec<Place>> {
        let (core, handle) = (Rc::clone(&self.core), Rc::clone(&self.client.handle));
        let mut told = Vec::new();
        for (place, backend) in &mut self.transaction.held {
            if !places.contains(place) {
                continue;
            }
            if !std::mem::replace(&mut backend.tainted, true) {
                told.push(*place);
            }
            Self::unless_interrupted(&handle, backend.execute(&core, REPEATABLE)).await??;
        }
        Ok(told)
    }

    /// The transactions have begun, and no other has the level of these connections.
    pub(super) fn has_used_level(&mut self, told: &[Place]) {
        for (place, backend) in &mut self.transaction.held {
            if told.contains(place) {
                backend.tainted = false;
            }
        }
    }

    /// The shards whose rows must be of one snapshot; none, if one statement of one server reads
    /// all of them.
    fn places_read(&self, plan: &Plan, bound: &BoundPlan) -> Vec<Place> {
        match (&plan.action, bound) {
            (Action::Route(route), BoundPlan::Route(resolved)) if resolved.shards.len() > 1 => {
                let shards = resolved.shards.iter();
                shards.map(|shard| place_of(route, shard.id)).collect()
            }
            (Action::Tree(tree), BoundPlan::Tree(parts)) => self.places_of_tree(tree, parts),
            _ => Vec::new(),
        }
    }

    fn places_of_tree(&self, tree: &Tree, parts: &Parts) -> Vec<Place> {
        let gathers = match &tree.form {
            Form::Merge(_) => &[][..],
            Form::Finish(finish) => finish.gathers.as_slice(),
        };
        if gathers.iter().any(|gather| gather.planned) {
            // Where a view's own query goes is found out when it runs.
            return self.all_primaries();
        }
        let of_tables = |at: usize| gathers.get(at).is_none_or(|gather| gather.system.is_none());
        let leaves = tree.leaves.iter().zip(&parts.leaves).enumerate();
        let leaves: Vec<_> = leaves.filter(|(at, _)| of_tables(*at)).collect();
        let places: Vec<Place> = leaves
            .iter()
            .flat_map(|(_, (leaf, to))| {
                to.shards
                    .iter()
                    .map(|shard| place_of(&leaf.route, shard.id))
            })
            .collect();
        if places.len() > 1 { places } else { Vec::new() }
    }

    fn all_primaries(&self) -> Vec<Place> {
        let snapshot = self.core.snapshot.borrow();
        let shards = snapshot
            .keyspaces
            .iter()
            .flat_map(|keyspace| &keyspace.shards);
        shards
            .map(|shard| Place::Shard { shard: shard.id, kind: Kind::Primary })
            .collect()
    }

    /// Ends the snapshot behind the statement's answer.
    #[cold]
    pub(super) async fn end_snapshot_read(&mut self, effects: Effects, result: Outcome) -> Outcome {
        let next = self.transaction.take_next();
        let pinned = self.transaction.pinned;
        let ended = match &result {
            // What a function has written is kept, as if there were no transaction.
            Ok(()) => self.commit_at_once().await,
            Err(_) => {
                self.abandon_transaction().await;
                Ok(())
            }
        };
        self.transaction.restore_next(next);
        let error = match &result {
            Err(Failure::Sql(error)) => Some(error.code),
            _ => None,
        };
        self.transaction
            .statement_done(self.state.autocommit, effects, error);
        match ended {
            // The client has its rows. Only what it had set up there would be missed.
            Err(_) if pinned => Err(Failure::Close),
            _ => result,
        }
    }
}
