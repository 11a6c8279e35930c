//! What a statement's directives ask for, where it runs on several shards.
use super::scatter::{Merging, Parts, Rows, Work};
use super::{Asked, Session};
use crate::exec::GatherLimits;
use coregate_planner::control::SqlError;
use coregate_planner::plan::tree::Merge;
use coregate_planner::plan::{Combine, Plan, StatementClass};
use coregate_protocol::walker::ResponseKind;

static EVERYTHING: Merge = Merge::EVERYTHING;

impl Session {
    /// Before a statement over several shards.
    pub(super) fn ask_for(&mut self, plan: &Plan) {
        let directives = &plan.directives;
        // In a transaction an error may be the end of a shard's part.
        let errors = directives.scatter_errors_as_warnings
            && plan.class == StatementClass::Select
            && !self.in_transaction()
            && self.state.autocommit;
        let any_memory = directives.ignore_max_memory_rows;
        self.running.asked =
            Asked { errors_as_warnings: errors, left_out: 0, failed: 0, any_memory };
    }

    /// Rows that are only passed on are merged without an order, where a shard may be left out:
    /// nobody else could begin the answer.
    pub(super) fn spare_errors(&mut self, work: &mut Work<'_>) {
        // The leaves of a tree have asked before.
        if matches!(work.rows, Rows::Pass | Rows::Return(_) | Rows::Load(_)) {
            self.ask_for(work.plan);
        }
        let several = work.wires.len() > 1 && work.combine == Combine::Concat;
        self.running.asked.errors_as_warnings &= several && work.kind == ResponseKind::Query;
        if self.running.asked.errors_as_warnings && matches!(work.rows, Rows::Pass) {
            let take = u64::MAX;
            work.rows = Rows::Merge(Merging {
                merge: &EVERYTHING,
                skip: 0,
                take,
                finish: None,
                into: None,
            });
        }
    }

    /// A shard's error: is the shard left out? The last one is not.
    #[cold]
    pub(super) fn leaves_out(&mut self, error: &SqlError, others: usize) -> bool {
        if !self.running.asked.errors_as_warnings || others == 0 {
            return false;
        }
        self.running.asked.left_out = self.running.asked.left_out.saturating_add(1);
        self.add_warning(error.code, &error.message);
        true
    }

    /// The same behind a shard's columns, or its rows: its part stays, and has no more rows.
    #[cold]
    pub(super) fn leaves_out_rest(&mut self, error: &SqlError, parts: usize) -> bool {
        let others = parts.saturating_sub(1 + usize::from(self.running.asked.failed));
        let left_out = self.leaves_out(error, others);
        self.running.asked.failed += u16::from(left_out);
        left_out
    }

    /// A part whose answer was an error goes.
    #[cold]
    pub(super) fn leave_out(&mut self, parts: &mut Parts, at: usize) {
        let part = parts.remove(at);
        self.keep_or_return(part.place, part.backend);
    }

    /// Bytes that a statement may hold.
    pub(super) fn query_memory(&self) -> usize {
        if self.running.asked.any_memory { usize::MAX } else { self.core.config().query_memory_max }
    }

    /// What may be gathered for it.
    pub(super) fn gather_limits(&self) -> GatherLimits {
        let config = self.core.config();
        match self.running.asked.any_memory {
            true => GatherLimits { rows_max: u64::MAX, bytes_max: usize::MAX },
            false => GatherLimits {
                rows_max: config.finisher_rows_max,
                bytes_max: config.finisher_bytes_max,
            },
        }
    }
}
