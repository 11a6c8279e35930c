//! What is noted of a statement that has ended: the numbers of its plan, and its line in the query
//! log.
use super::plan::destination_name;
use super::{Failure, Outcome, Session};
use crate::cache::CachedPlan;
use crate::query_log::{Entry, QueryLog};
use coregate_protocol::walker::Summary;
use std::time::{Duration, Instant};

impl Session {
    #[inline]
    pub(super) fn note_end(
        &self,
        entry: &CachedPlan,
        start: Instant,
        shards: usize,
        result: &Outcome<Summary>,
    ) {
        let spent = self.core.ring.now().saturating_duration_since(start);
        entry.stats.record(spent, shards, result.as_ref().ok());
        if let Some(log) = &self.core.shared.query_log
            && let Some(why) = log.wants(spent, &self.core.sampler)
        {
            self.log_statement(log, why, entry, (spent, shards), result);
        }
    }

    #[cold]
    fn log_statement(
        &self,
        log: &QueryLog,
        why: &'static str,
        entry: &CachedPlan,
        (spent, shards): (Duration, usize),
        result: &Outcome<Summary>,
    ) {
        let error = match result {
            Ok(summary) => summary.error.map(|(code, _)| code),
            Err(Failure::Sql(e) | Failure::Fatal(e)) => Some(e.code),
            Err(Failure::Close) => None,
        };
        let (user, database) =
            (self.client.handle.user.borrow(), self.client.handle.database.borrow());
        let summary = result.as_ref().ok();
        let line = Entry {
            session: self.client.handle.id,
            user: &user,
            host: &self.client.handle.host,
            database: database.as_deref(),
            statement: entry.text(),
            text: &self.client.handle.info.borrow(),
            class: format!("{:?}", entry.plan.class),
            destination: destination_name(&entry.plan),
            workload: entry.plan.directives.workload_name.as_deref(),
            priority: entry.plan.directives.priority.flatten(),
            spent,
            rows: summary.map_or(0, |s| s.rows),
            affected: summary.map_or(0, |s| s.affected_rows),
            shards,
            error,
        };
        log.put(why, &line, &self.core.metrics().log_dropped);
    }
}
