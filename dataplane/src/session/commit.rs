//! The end of a transaction, on every shard that takes part. COMMIT goes to one after another, as Vitess's MULTI mode does; what
//! became of it is told exactly, also where that is "unknown".
use super::lost::within;
use super::{Failure, Outcome, Session};
use crate::core::Core;
use crate::error::{BackendError, sql_error};
use crate::pool::Backend;
use coregate_planner::control::SqlError;
use coregate_protocol::walker::Summary;
use std::time::Duration;

/// What `completion_type` adds to COMMIT is the session's to do.
pub(super) const NO_CHAIN: &str = "COMMIT AND NO CHAIN NO RELEASE";

/// A server that rolls back what nobody waits for must have answered after so long; else its connection is closed, which rolls back too.
const ROLLBACK_MAX: Duration = Duration::from_millis(10_000);

impl Session {
    /// DDL and the like commit what is open.
    pub(super) async fn implicit_commit(&mut self) -> Outcome {
        if self.in_transaction() { self.commit_held().await } else { Ok(()) }
    }

    /// Commits on every shard that takes part. What `completion_type` adds is the session's to do: a server whose default it is must
    /// not chain a transaction of its own.
    pub(super) async fn commit_held(&mut self) -> Outcome {
        match self.transaction.take_atomic() {
            Some(atomic) => Box::pin(self.commit_atomic(&atomic)).await,
            None => self.commit_one_after_another().await,
        }
    }

    pub(super) async fn commit_one_after_another(&mut self) -> Outcome {
        let mut committed = 0;
        for at in 0..self.held.len() {
            let Some((_, backend)) = self.held.get_mut(at) else { break };
            if !backend.in_transaction {
                continue;
            }
            let (core, handle) = (self.core.clone(), self.handle.clone());
            match Self::unless_killed(&handle, commit(&core, backend)).await {
                Ok(Ok(())) => committed += 1,
                Ok(Err(e)) => return Err(self.commit_failed(at, committed, e).await),
                Err(failure) => {
                    let reason = match failure {
                        Failure::Sql(e) | Failure::Fatal(e) => e,
                        Failure::Close => sql_error(1053, "the session was stopped"),
                    };
                    return Err(self.commit_unknown(at, committed, reason));
                }
            }
        }
        self.transaction.clear();
        self.handle.transaction_is_over();
        self.release_held();
        Ok(())
    }

    /// The server of the `at`-th connection has answered COMMIT with an error, or not at all.
    #[cold]
    async fn commit_failed(&mut self, at: usize, committed: usize, error: BackendError) -> Failure {
        let BackendError::Refused { code, .. } = error else {
            return self.commit_unknown(at, committed, error.to_sql());
        };
        let mut told = error.to_sql();
        let is_ours = self
            .held
            .get(at)
            .is_some_and(|(_, backend)| backend.is_branch());
        if is_xa_state(code) && committed == 0 && !is_ours {
            // COMMIT is no statement for an XA transaction, which goes on.
            return Failure::Sql(told);
        }
        if committed > 0 {
            told.message = format!(
                "the transaction is committed on {committed} shard(s), then one refused to commit, and it is rolled back there and on \
                 all others: {}",
                told.message
            );
        }
        let _ = Box::pin(self.rollback_held()).await;
        Failure::Sql(told)
    }

    /// The answer to COMMIT was lost. Shards behind it have not been asked; closing their connections rolls them back.
    #[cold]
    fn commit_unknown(&mut self, at: usize, committed: usize, mut error: SqlError) -> Failure {
        let asked = self.held.iter().skip(at + 1);
        let others = asked.filter(|(_, backend)| backend.in_transaction).count();
        let tablet = self
            .held
            .get(at)
            .map_or_else(String::new, |(_, backend)| backend.pool.tablet.alias.clone());
        let mut outcome = String::new();
        if committed > 0 {
            outcome.push_str(&format!("; the transaction is committed on {committed} shard(s)"));
        }
        outcome.push_str(&format!("; whether the transaction was committed on {tablet} is unknown"));
        if others > 0 {
            outcome.push_str(&format!("; on the other {others} shard(s) it was rolled back"));
        }
        error.message.push_str(&outcome);
        self.drop_held();
        Failure::Fatal(error)
    }

    /// Rolls back everywhere; a connection that cannot is closed, which rolls back too.
    /// Returns the number of warnings (tables without transactions keep their rows).
    pub(super) async fn rollback_held(&mut self) -> Outcome<u16> {
        let core = self.core.clone();
        let text = "ROLLBACK AND NO CHAIN NO RELEASE";
        let mut warnings = 0u16;
        let mut refused = None;
        for (place, mut backend) in std::mem::take(&mut self.held) {
            if backend.in_transaction || backend.unsure || backend.is_branch() {
                match roll_back(&core, &mut backend, text).await {
                    Ok(summary) if summary.warnings > 0 => {
                        warnings = warnings.saturating_add(summary.warnings);
                        self.fetch_warnings(&mut backend).await;
                    }
                    Ok(_) => {}
                    // ROLLBACK is no statement for an XA transaction, which goes on.
                    Err(BackendError::Refused { code, sqlstate, message })
                        if is_xa_state(code) && !backend.is_branch() =>
                    {
                        refused = Some(SqlError { code, sqlstate, message });
                    }
                    Err(_) => continue,
                }
            }
            self.held.push((place, backend));
        }
        if let Some(error) = refused {
            return Err(error.into());
        }
        self.transaction.clear();
        self.handle.transaction_is_over();
        self.release_held();
        Ok(warnings)
    }

    /// Undoes a statement that failed half-way, with all that came before it in its transaction.
    pub(super) async fn abandon_transaction(&mut self) {
        // A connection that does not obey is closed, which rolls back too; an XA transaction is its client's to end.
        let _ = self.rollback_held().await;
    }

    /// An error packet does not tell whether a transaction is open: the server may have ended it, or a routine may have begun one. If
    /// one shard's server has ended it, it ends on all others too, and in the session, as it has for a client of that server alone;
    /// else COMMIT would keep the other shards' part of it.
    #[cold]
    pub(super) async fn resolve_doubt(&mut self) -> Outcome {
        let (core, handle) = (self.core.clone(), self.handle.clone());
        let mut ended = false;
        for at in 0..self.held.len() {
            let Some((_, backend)) = self.held.get_mut(at) else { continue };
            ended |= std::mem::take(&mut backend.ended_by_error);
            if !backend.unsure {
                continue;
            }
            match Self::unless_interrupted(&handle, backend.ask_state(&core)).await {
                Ok(Ok(())) => ended |= std::mem::take(&mut backend.ended_by_error),
                // An XA transaction between END and PREPARE takes no statement; it is open.
                Ok(Err(BackendError::Refused { code, .. })) if is_xa_state(code) => {
                    (backend.unsure, backend.in_transaction) = (false, true);
                }
                _ => {
                    // The client has its error, but not of the transaction's end: it must not go on.
                    self.drop_held();
                    return Err(Failure::Close);
                }
            }
        }
        if ended {
            self.abandon_transaction().await;
        }
        self.release_held();
        Ok(())
    }

    /// What COMMIT and ROLLBACK do besides where they do not say: (AND CHAIN, RELEASE).
    /// <https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html#sysvar_completion_type>
    pub(super) fn completion_type(&self) -> (bool, bool) {
        let Some(sql) = self.settings.get("completion_type") else { return (false, false) };
        let value = sql.rsplit(|b| *b == b'=').next().unwrap_or_default();
        let value = String::from_utf8_lossy(value).to_ascii_uppercase();
        let value = value.trim().trim_matches(['\'', '"']);
        (matches!(value, "1" | "CHAIN"), matches!(value, "2" | "RELEASE"))
    }
}

async fn commit(core: &Core, backend: &mut Backend) -> Result<(), BackendError> {
    match backend.is_branch() {
        true => backend.commit_branch(core, true).await,
        false => backend.execute(core, NO_CHAIN).await.map(drop),
    }
}

async fn roll_back(core: &Core, backend: &mut Backend, text: &str) -> Result<Summary, BackendError> {
    let late = BackendError::Local("the server did not roll back in time".into());
    if backend.is_branch() {
        let rolled_back = within(core, ROLLBACK_MAX, backend.roll_back_branch(core)).await;
        return rolled_back
            .unwrap_or(Err(late))
            .map(|()| Summary::default());
    }
    let rolled_back = within(core, ROLLBACK_MAX, backend.execute(core, text))
        .await
        .unwrap_or(Err(late))?;
    // It has ended because it was to end.
    backend.ended_by_error = false;
    Ok(rolled_back)
}

/// "Not in this state of an XA transaction", in its forms.
fn is_xa_state(code: u16) -> bool {
    const XAER_RMFAIL: u16 = 1399;
    const XAER_OUTSIDE: u16 = 1400;
    const XA_RBROLLBACK: u16 = 1402;
    matches!(code, XAER_RMFAIL | XAER_OUTSIDE | XA_RBROLLBACK)
}
