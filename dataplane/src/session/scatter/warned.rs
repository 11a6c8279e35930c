//! Warnings of several servers, told as one server would: what the statement itself is warned of,
//! each of its servers says.
use super::super::Session;
use super::Parts;

/// A statement is warned of one or two of its own words; more are about rows.
const OF_A_STATEMENT_MAX: u16 = 2;

impl Session {
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
