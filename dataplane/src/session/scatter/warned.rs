//! Warnings of several servers, told as one server would: what the statement itself is warned of,
//! each of its servers says.
use super::super::info::Info;
use super::super::insert_id::Given;
use super::super::{Outcome, Session};
use super::{Combined, Part, Parts, Work};
use coregate_planner::plan::{Combine, Effects};

/// A statement is warned of one or two of its own words; more are about rows.
const OF_A_STATEMENT_MAX: u16 = 2;

impl Session {
    /// What only the connections of the statement know is read before others use them.
    pub(super) async fn look_at_parts(
        &mut self,
        parts: &mut Parts,
        work: &Work<'_>,
        (given, info): (&Given, &mut Info),
        mut result: Outcome<Combined>,
    ) -> Outcome<Combined> {
        let sums = work.combine != Combine::First && result.is_ok();
        if sums
            && parts.iter().all(|part| part.backend.warnings > 0)
            && let Some(count) = self.warned_alike(parts).await
            && let (Ok((summary, None)), Combine::Sum) = (&mut result, work.combine)
        {
            summary.warnings = count;
            info.warned(count);
        }
        let mut told = false;
        let (before, mut set) = (self.last.insert_id, None);
        for Part { backend, .. } in parts.iter_mut().filter(|part| !part.backend.busy) {
            if backend.warnings > 0 && !(told && work.combine == Combine::First) {
                told = true;
                self.fetch_more_warnings(backend).await;
            }
            if let Ok((summary, _)) = &result {
                self.note_insert_id(backend, work.plan, summary, given)
                    .await;
                if work.plan.effects.contains(Effects::SETS_INSERT_ID) {
                    // A shard where LAST_INSERT_ID(n) has met no row still has the value before.
                    let now = std::mem::replace(&mut self.last.insert_id, before);
                    set = Some(now).filter(|now| *now != before).or(set);
                }
            }
        }
        self.last.insert_id = set.unwrap_or(self.last.insert_id);
        result
    }

    /// Where all servers have the same few warnings, one server would have them once. They are read
    /// then, and their number given.
    #[cold]
    pub(super) async fn warned_alike(&mut self, parts: &mut Parts) -> Option<u16> {
        let count = parts.first()?.backend.warnings;
        let few = (1..=OF_A_STATEMENT_MAX).contains(&count);
        let all = parts
            .iter()
            .all(|part| !part.backend.busy && part.backend.warnings == count);
        if parts.len() < 2 || !few || !all {
            return None;
        }
        let before = self.last.warnings.take();
        let mut of_servers = Vec::with_capacity(parts.len());
        for part in parts.iter_mut() {
            self.fetch_warnings(&mut part.backend).await;
            of_servers.push(self.last.warnings.take());
        }
        let statement = self.client.handle.info.borrow().clone();
        let alike = of_servers
            .iter()
            .all(|w| w.as_ref().is_some_and(|w| !w.are_of_rows(&statement)) && *w == of_servers[0]);
        if alike {
            of_servers.truncate(1);
        }
        let told = of_servers.iter().flatten().map(|w| w.count()).sum::<u64>();
        self.last.warnings = before;
        for warnings in of_servers {
            self.join_warnings(warnings);
        }
        Some(u16::try_from(told).unwrap_or(u16::MAX))
    }
}
