//! How a connection comes to take part in the session's transaction.
use super::on_replica::{NEXT_READ_ONLY, begin_read_only};
use super::transaction::{Transaction, quoted};
use crate::core::Core;
use crate::error::BackendError;
use crate::pool::{Backend, Place, TabletPool};
use coregate_planner::dtid::SNAPSHOT_TABLE;
use coregate_planner::plan::Effects;
use std::rc::Rc;

impl Transaction {
    /// Lets a connection take part, with the savepoints that there are so far. With `autocommit=0`
    /// the server opens the transaction by itself, at the first statement. `branch`: as an XA
    /// branch of this id.
    pub(super) async fn join(
        &self,
        core: &Core,
        backend: &mut Backend,
        effects: Effects,
        branch: Option<Rc<str>>,
        (place, pool): (Place, Option<Rc<TabletPool>>),
    ) -> Result<(), BackendError> {
        backend.wrote = false;
        if let Some(next) = &self.next
            && (self.begin.is_some() || !effects.contains(Effects::NO_TABLES))
        {
            backend.execute(core, next).await?;
            if place.is_replica() {
                backend.execute(core, NEXT_READ_ONLY).await?;
            }
            // Where the statement fails before its transaction begins, the connection still has it.
            backend.tainted |= self.begin.is_none();
        }
        if let Some(xid) = branch {
            match pool {
                Some(pool) if !pool.has_xa.get() => {
                    // A Galera cluster refuses it: the statement behind it would run outside of the
                    // transaction.
                    backend.open_branch(core, xid).await?;
                    pool.has_xa.set(true);
                }
                _ => backend.branch_ahead(xid),
            }
            if self.wants_snapshot() {
                // BEGIN's own way to open one is no statement for a branch.
                let read = format!("SELECT id FROM {SNAPSHOT_TABLE} LIMIT 1");
                backend.execute(core, &read).await?;
            }
            core.metrics().transactions.add(1);
        } else if let Some(begin) = self.begin {
            if begin == "BEGIN" && self.next.is_none() {
                backend.begin_ahead();
            } else if place.is_replica() {
                backend.execute(core, begin_read_only(begin)).await?;
            } else {
                backend.execute(core, begin).await?;
            }
            core.metrics().transactions.add(1);
        }
        for name in &self.savepoints {
            backend
                .execute(core, &format!("SAVEPOINT {}", quoted(name)))
                .await?;
        }
        Ok(())
    }
}

/// Galera's nodes have no XA: what a transaction over several shards needs where it is to be
/// atomic.
#[cold]
pub(super) fn no_xa(refused: BackendError) -> BackendError {
    match refused {
        BackendError::Refused { code, sqlstate, message } => {
            let message = format!(
                "transaction_mode TWOPC needs XA on every shard, and this one refuses it (SET \
                    transaction_mode = 'MULTI'): {message}"
            );
            BackendError::Refused { code, sqlstate, message }
        }
        other => other,
    }
}
