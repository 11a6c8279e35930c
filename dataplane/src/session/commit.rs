//! The end of a transaction, on every shard that takes part. COMMIT goes to all at once where the
//! order does not matter, else to one after another, as Vitess's MULTI mode does. What became of it
//! is told exactly, also where that is "unknown".
use super::lost::within;
use super::{Failure, Outcome, Session};
use crate::core::Core;
use crate::error::{BackendError, sql_error};
use crate::pool::Backend;
use coregate_planner::control::SqlError;
use coregate_protocol::Capabilities;
use coregate_protocol::command::encode as commands;
use coregate_protocol::walker::Summary;
use std::time::Duration;

/// What `completion_type` adds to COMMIT is the session's to do.
pub(super) const NO_CHAIN: &str = "COMMIT AND NO CHAIN NO RELEASE";

/// A server that rolls back what nobody waits for must have answered after so long; else its
/// connection is closed, which rolls back too.
const ROLLBACK_MAX: Duration = Duration::from_millis(10_000);

impl Session {
    fn open_connections(&self) -> usize {
        self.transaction
            .held
            .iter()
            .filter(|(_, backend)| backend.in_transaction)
            .count()
    }

    /// DDL and the like commit what is open.
    pub(super) async fn implicit_commit(&mut self) -> Outcome {
        if self.in_transaction() { self.commit_held().await } else { Ok(()) }
    }

    /// Commits on every shard that takes part. What `completion_type` adds is the session's to do:
    /// a server whose default it is must not chain a transaction of its own.
    pub(super) async fn commit_held(&mut self) -> Outcome {
        match self.transaction.take_atomic() {
            Some(atomic) => Box::pin(self.commit_atomic(&atomic)).await,
            None if self.transaction.commits_in_order() || self.open_connections() < 2 => {
                self.commit_one_after_another().await
            }
            None => self.commit_at_once().await,
        }
    }

    pub(super) async fn commit_one_after_another(&mut self) -> Outcome {
        self.transaction.sort_for_commit();
        let mut fates = Fates::default();
        for at in 0..self.transaction.held.len() {
            let Some((_, backend)) = self.transaction.held.get_mut(at) else { break };
            if !backend.in_transaction {
                continue;
            }
            let (core, handle) = (self.core.clone(), self.client.handle.clone());
            let told = Self::unless_killed(&handle, commit(&core, backend)).await;
            if !fates.note(backend, told) {
                // Those behind it have not been asked: closing their connections rolls them back.
                fates.spared = self.open_behind(at);
                break;
            }
        }
        self.end_commit(fates).await
    }

    /// Nothing hangs on the order: servers work at the same time.
    pub(super) async fn commit_at_once(&mut self) -> Outcome {
        let (core, handle) = (self.core.clone(), self.client.handle.clone());
        let mut payload = Vec::new();
        commands::query(&mut payload, Capabilities::empty(), NO_CHAIN.as_bytes());
        for (_, backend) in self
            .transaction
            .held
            .iter_mut()
            .filter(|(_, b)| b.in_transaction)
        {
            backend.send_payload(&payload);
        }
        let mut fates = Fates::default();
        for at in 0..self.transaction.held.len() {
            let Some((_, backend)) = self.transaction.held.get_mut(at) else { break };
            if !backend.busy {
                continue;
            }
            let told = Self::unless_killed(&handle, backend.told(&core)).await;
            fates.note(backend, told.map(|told| told.map(drop)));
        }
        self.end_commit(fates).await
    }

    fn open_behind(&self, at: usize) -> usize {
        let behind = self.transaction.held.iter().skip(at + 1);
        behind.filter(|(_, backend)| backend.in_transaction).count()
    }

    async fn end_commit(&mut self, fates: Fates) -> Outcome {
        match (&fates.lost, &fates.refused) {
            (None, None) => {
                self.transaction.clear();
                self.client.handle.transaction_is_over();
                self.release_held();
                Ok(())
            }
            (Some(_), _) => {
                self.drop_held();
                Err(Failure::Fatal(fates.unknown()))
            }
            (None, Some((error, is_branch))) => {
                if is_xa_state(error.code) && fates.committed == 0 && !is_branch {
                    // COMMIT is no statement for an XA transaction, which goes on.
                    return Err(Failure::Sql(error.clone()));
                }
                let told = fates.torn();
                let _ = Box::pin(self.rollback_held()).await;
                Err(Failure::Sql(told))
            }
        }
    }

    /// Rolls back everywhere; a connection that cannot is closed, which rolls back too.
    /// Returns the number of warnings (tables without transactions keep their rows).
    pub(super) async fn rollback_held(&mut self) -> Outcome<u16> {
        let core = self.core.clone();
        let text = "ROLLBACK AND NO CHAIN NO RELEASE";
        let mut warnings = 0u16;
        let mut refused = None;
        for (place, mut backend) in std::mem::take(&mut self.transaction.held) {
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
            self.transaction.held.push((place, backend));
        }
        if let Some(error) = refused {
            return Err(error.into());
        }
        self.transaction.clear();
        self.client.handle.transaction_is_over();
        self.release_held();
        Ok(warnings)
    }

    /// Undoes a statement that failed half-way, with all that came before it in its transaction.
    pub(super) async fn abandon_transaction(&mut self) {
        // A connection that does not obey is closed, which rolls back too; an XA transaction is its
        // client's to end.
        let _ = self.rollback_held().await;
    }

    /// An error packet does not tell whether a transaction is open: the server may have ended it,
    /// or a routine may have begun one. If one shard's server has ended it, it ends on all others
    /// too, and in the session, as it has for a client of that server alone; else COMMIT would keep
    /// the other shards' part of it.
    #[cold]
    pub(super) async fn resolve_doubt(&mut self) -> Outcome {
        let (core, handle) = (self.core.clone(), self.client.handle.clone());
        let mut ended = false;
        for at in 0..self.transaction.held.len() {
            let Some((_, backend)) = self.transaction.held.get_mut(at) else { continue };
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
                    // The client has its error, but not of the transaction's end: it must not go
                    // on.
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
        let Some(sql) = self.state.settings.get("completion_type") else { return (false, false) };
        let value = sql.rsplit(|b| *b == b'=').next().unwrap_or_default();
        let value = String::from_utf8_lossy(value).to_ascii_uppercase();
        let value = value.trim().trim_matches(['\'', '"']);
        (matches!(value, "1" | "CHAIN"), matches!(value, "2" | "RELEASE"))
    }
}

/// What COMMIT came to, on the shards that were asked.
#[derive(Default)]
struct Fates {
    committed: usize,
    /// The first error that a server has answered with, and whether it was a branch of ours.
    refused: Option<(SqlError, bool)>,
    /// Why an answer was lost.
    lost: Option<SqlError>,
    /// Tablets whose answer was lost.
    unknown: Vec<String>,
    /// How many were not asked.
    spared: usize,
}

impl Fates {
    /// `false`: it was not committed there, or nobody knows.
    fn note(&mut self, backend: &Backend, told: Result<Result<(), BackendError>, Failure>) -> bool {
        let lost = match told {
            Ok(Ok(())) => {
                self.committed += 1;
                return true;
            }
            Ok(Err(error @ BackendError::Refused { .. })) => {
                let is_branch = backend.is_branch();
                self.refused
                    .get_or_insert_with(|| (error.to_sql(), is_branch));
                return false;
            }
            Ok(Err(error)) => error.to_sql(),
            Err(Failure::Sql(error) | Failure::Fatal(error)) => error,
            Err(Failure::Close) => sql_error(1053, "the session was stopped"),
        };
        self.lost.get_or_insert(lost);
        self.unknown.push(backend.pool.tablet.alias.clone());
        false
    }

    /// A server refused, and rolled back; the others' fate is known.
    fn torn(&self) -> SqlError {
        let (mut told, _) = self
            .refused
            .clone()
            .unwrap_or_else(|| (sql_error(1105, "not committed"), false));
        if self.committed > 0 {
            told.message = format!(
                "the transaction is committed on {} shard(s), then one refused to commit, and it \
                    is rolled back there and on all others: \
                 {}",
                self.committed, told.message
            );
        }
        told
    }

    #[cold]
    fn unknown(self) -> SqlError {
        let mut error = self
            .lost
            .unwrap_or_else(|| sql_error(1105, "the answer to COMMIT was lost"));
        let mut outcome = String::new();
        if self.committed > 0 {
            outcome.push_str(&format!(
                "; the transaction is committed on {} shard(s)",
                self.committed
            ));
        }
        if let Some((refused, _)) = &self.refused {
            outcome.push_str(&format!(
                "; one shard refused to commit ({}), and has rolled back",
                refused.message
            ));
        }
        outcome.push_str(&format!(
            "; whether the transaction was committed on {} is unknown",
            self.unknown.join(", ")
        ));
        if self.spared > 0 {
            outcome
                .push_str(&format!("; on the other {} shard(s) it was rolled back", self.spared));
        }
        error.message.push_str(&outcome);
        error
    }
}

async fn commit(core: &Core, backend: &mut Backend) -> Result<(), BackendError> {
    match backend.is_branch() {
        true => backend.commit_branch(core, true).await,
        false => backend.execute(core, NO_CHAIN).await.map(drop),
    }
}

async fn roll_back(
    core: &Core,
    backend: &mut Backend,
    text: &str,
) -> Result<Summary, BackendError> {
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
