//! How a connection comes to take part in the session's transaction.
use super::buffering::Use;
use super::on_replica::{NEXT_READ_ONLY, begin_read_only};
use super::transaction::{Transaction, quoted};
use super::{Outcome, Session};
use crate::core::Core;
use crate::error::{BackendError, sql_error};
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

impl Session {
    /// A connection to a place, in the session's transaction if there is one, for a statement with
    /// these effects.
    pub(super) async fn acquire(
        &mut self,
        place: Place,
        effects: Effects,
    ) -> Outcome<Box<Backend>> {
        self.take_share(effects)?;
        let (core, handle) = (self.core.clone(), self.client.handle.clone());
        let mut backend = match self.transaction.take_at(place) {
            Some(backend) => self.prepare_held(place, backend).await?,
            None => {
                self.alone_under_xa(place)?;
                self.acquire_new(place).await?
            }
        };
        if effects.contains(Effects::XA) {
            self.transaction.has_xa_at(place);
        } else if self.transaction.xa_at == Some(place) && !backend.in_transaction {
            self.transaction.xa_at = None;
        }
        if !backend.in_transaction {
            self.adopt_transaction();
            let branch = match self.branch_for(place) {
                Ok(branch) => branch,
                Err(failure) => {
                    self.keep_or_return(place, backend);
                    return Err(failure);
                }
            };
            let (branches, pool) = (branch.is_some(), core.pools.get(place));
            let joining =
                self.transaction
                    .join(&core, &mut backend, effects, branch, (place, pool));
            let joined = Self::unless_interrupted(&handle, joining).await;
            match joined {
                Ok(Ok(())) => {}
                Ok(Err(e @ BackendError::Refused { .. }))
                    if branches && !backend.busy && !backend.is_branch() =>
                {
                    // The server has no XA, and nothing has been begun there.
                    (backend.unsure, backend.tainted) = (false, true);
                    self.keep_or_return(place, backend);
                    return Err(no_xa(e).into());
                }
                Ok(Err(e)) => return Err(self.lose(backend, e.into())),
                Err(failure) => return Err(self.lose(backend, failure)),
            }
        }
        backend.wrote |= !effects.contains(Effects::READS);
        Ok(backend)
    }

    /// The client's own XA transaction is one server's: what it wrote on another could neither be
    /// prepared nor committed with it.
    fn alone_under_xa(&self, place: Place) -> Outcome {
        let Some(xa) = self.transaction.xa_at.filter(|xa| *xa != place) else { return Ok(()) };
        let at = self.transaction.held.iter().find(|(held, _)| *held == xa);
        if !at.is_some_and(|(_, backend)| backend.in_transaction) {
            return Ok(());
        }
        Err(sql_error(
            1235,
            "VT12001: unsupported: a statement for a second shard while an XA transaction is open; \
             XA transactions of clients are those of one server (SET transaction_mode = 'TWOPC' \
             makes ordinary transactions atomic over shards)",
        )
        .into())
    }

    /// A connection that the session does not have yet, in no transaction.
    pub(super) async fn acquire_new(&mut self, place: Place) -> Outcome<Box<Backend>> {
        let (core, handle) = (self.core.clone(), self.client.handle.clone());
        let (pool, mut backend) = match self.reads.causal {
            None => Box::pin(self.connection(place, Use::Statement)).await?,
            Some(_) => Box::pin(self.causal_connection(place)).await?,
        };
        backend.tainted |= self.transaction.pinned;
        backend.routines_seen = core.routine_changes();
        if !pool.routines.is_current(backend.routines_seen) {
            let read = pool.routines.ensure(&core, &mut backend, false);
            match Self::unless_interrupted(&handle, read).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => return Err(self.lose(backend, e.into())),
                Err(failure) => return Err(self.lose(backend, failure)),
            }
        }
        Ok(backend)
    }

    /// A connection that the session has, with its settings of now.
    async fn prepare_held(
        &mut self,
        place: Place,
        mut backend: Box<Backend>,
    ) -> Outcome<Box<Backend>> {
        let (core, handle) = (self.core.clone(), self.client.handle.clone());
        let settings = self.settings_at(place);
        let applied =
            Self::unless_interrupted(&handle, backend.apply_in_place(&core, &settings)).await;
        match applied {
            Ok(Ok(())) => {}
            Ok(Err(e @ BackendError::Refused { .. })) if !backend.busy => {
                // A database that there is not: nothing has changed, the transaction goes on.
                backend.unsure = false;
                self.transaction.held.push((place, backend));
                return Err(e.into());
            }
            Ok(Err(e)) => return Err(self.lose(backend, e.into())),
            Err(failure) => return Err(self.lose(backend, failure)),
        }
        Ok(backend)
    }
}
