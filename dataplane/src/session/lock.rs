//! LOCK TABLES over several shards.
use super::answer::{Answer, Done};
use super::{Outcome, Session};
use crate::pool::Place;
use coregate_planner::plan::Effects;
use coregate_protocol::walker::Summary;

impl Session {
    /// Locks on one shard after another, always in the same order: two sessions that lock the same
    /// tables cannot wait for each other. What was locked is released when a shard refuses.
    pub(super) async fn lock_in_turn(
        &mut self,
        mut wires: Vec<(Place, Vec<u8>)>,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let (core, handle) = (self.core.clone(), self.client.handle.clone());
        self.transaction.pinned = true;
        // What holds these locks is no transaction over several shards.
        self.transaction.locked = true;
        wires.sort_by_key(|(place, _)| *place);
        for (place, payload) in &wires {
            let sql = payload.get(1..).unwrap_or_default();
            let mut backend = match self.acquire(*place, Effects::NO_TABLES).await {
                Ok(backend) => backend,
                Err(failure) => {
                    self.unlock_tables().await?;
                    return Err(failure);
                }
            };
            backend.tainted = true;
            // Metadata locks are waited for as long as `lock_wait_timeout` says, a day by default.
            let result = Self::unless_interrupted(&handle, backend.execute(&core, sql)).await;
            let failure = match result {
                Ok(Ok(_)) => {
                    self.keep_or_return(*place, backend);
                    continue;
                }
                Ok(Err(error)) if backend.busy => return Err(self.lose(backend, error.into())),
                Err(failure) => return Err(self.lose(backend, failure)),
                Ok(Err(error)) => {
                    self.keep_or_return(*place, backend);
                    error.into()
                }
            };
            self.unlock_tables().await?;
            return Err(failure);
        }
        self.send_ok(answer, Done::default());
        Ok(Summary::default())
    }

    /// UNLOCK TABLES: wherever the session has locked some.
    pub(super) async fn unlock_tables(&mut self) -> Outcome {
        let core = self.core.clone();
        self.transaction.locked = false;
        for (_, backend) in &mut self.transaction.held {
            backend.execute(&core, "UNLOCK TABLES").await?;
        }
        Ok(())
    }
}
