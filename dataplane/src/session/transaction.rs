//! Transactions. BEGIN is remembered and sent to a shard with the first statement that goes there; COMMIT goes to every
//! shard that takes part, one after another, as Vitess's MULTI mode does.
use super::answer::{Answer, Done};
use super::{Failure, Outcome, Session};
use crate::error::{BackendError, sql_error};
use crate::pool::{Backend, Place};
use coregate_planner::plan::{AccessMode, SessionAction, StatementClass};
use coregate_protocol::codes;

#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// The statement that opens it on a shard; `None`: no explicit transaction.
    begin: Option<&'static str>,
    /// `SET TRANSACTION ...` for the next one.
    next: Option<String>,
    savepoints: Vec<String>,
    /// The connection that knows what SQL_CALC_FOUND_ROWS has counted.
    pub(super) found_rows_at: Option<Place>,
    /// The last statement was answered with an error.
    pub(super) last_failed: bool,
    /// With one after which the server may have rolled back the whole transaction, not only the statement.
    pub(super) in_doubt: bool,
}

impl Transaction {
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        // With autocommit=0, SAVEPOINT may come before the first statement.
        self.begin.is_some() || !self.savepoints.is_empty()
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.begin.is_some_and(|begin| begin.contains("READ ONLY"))
    }

    /// Opens one for a single statement on several shards.
    pub(super) fn begin_implicit(&mut self) {
        self.begin = Some("BEGIN");
    }

    pub(super) fn set_next(&mut self, sql: String) {
        self.next = Some(sql);
    }

    fn clear(&mut self) {
        self.begin = None;
        self.next = None;
        self.savepoints.clear();
    }
}

impl Session {
    pub(super) fn in_transaction(&self) -> bool {
        self.transaction.is_open() || self.held.iter().any(|(_, backend)| backend.in_transaction)
    }

    /// A connection to a place, in the session's transaction if there is one.
    pub(super) async fn acquire(&mut self, place: Place, class: StatementClass) -> Outcome<Box<Backend>> {
        let core = self.core.clone();
        if let Some(at) = self.held.iter().position(|(held, _)| *held == place) {
            let (_, mut backend) = self.held.swap_remove(at);
            if let Err(e) = backend.apply_in_place(&core, &self.settings).await {
                if matches!(e, BackendError::Refused { .. }) && !backend.busy {
                    // A database that there is not: nothing has changed, the transaction goes on.
                    self.held.push((place, backend));
                    return Err(e.into());
                }
                return Err(self.broken(backend, e.into()));
            }
            if !backend.in_transaction
                && let Err(e) = self.join(&mut backend).await
            {
                return Err(self.broken(backend, e.into()));
            }
            return Ok(backend);
        }
        let _ = class;
        let pool = core.pools.get(place).ok_or(BackendError::NoTablet)?;
        let mut backend = pool.take(&core, self.flavour, &self.settings).await?;
        backend.routines_seen = core.routine_changes();
        if !pool.routines.is_current(backend.routines_seen)
            && let Err(e) = pool
                .routines
                .read(&core, &mut backend, core.routine_changes())
                .await
        {
            return Err(self.broken(backend, e.into()));
        }
        if let Err(e) = self.join(&mut backend).await {
            return Err(self.broken(backend, e.into()));
        }
        if self.pinned {
            backend.tainted = true;
        }
        Ok(backend)
    }

    /// Lets a connection take part in the session's transaction, with the savepoints that it has so far. With `autocommit=0`
    /// the server opens it by itself, at the first statement.
    async fn join(&mut self, backend: &mut Backend) -> Result<(), BackendError> {
        let core = self.core.clone();
        if let Some(begin) = self.transaction.begin {
            match self.transaction.next.clone() {
                None if begin == "BEGIN" => backend.begin_ahead(),
                next => {
                    if let Some(sql) = next {
                        backend.execute(&core, &sql).await?;
                    }
                    backend.execute(&core, begin).await?;
                }
            }
            core.metrics().transactions.add(1);
        }
        for name in &self.transaction.savepoints {
            backend
                .execute(&core, &format!("SAVEPOINT {}", quoted(name)))
                .await?;
        }
        Ok(())
    }

    pub(super) async fn transaction_action(
        &mut self,
        action: &SessionAction,
        answer: &mut Answer,
    ) -> Outcome {
        let mut warnings = 0;
        match action {
            SessionAction::Begin { access, consistent_snapshot } => {
                // What SET TRANSACTION said is for the one that begins now.
                let next = self.transaction.next.take();
                self.commit_held().await?;
                self.transaction.next = next;
                self.transaction.begin = Some(begin_text(*access, *consistent_snapshot));
                if *consistent_snapshot {
                    self.open_snapshot().await?;
                }
            }
            SessionAction::Commit { chain, release } => {
                self.commit_held().await?;
                self.after_end(*chain, *release, answer)?;
            }
            SessionAction::Rollback { chain, release } => {
                warnings = self.rollback_held().await?;
                self.after_end(*chain, *release, answer)?;
            }
            SessionAction::Savepoint(name) => {
                self.on_all_held(&format!("SAVEPOINT {}", quoted(name)))
                    .await?;
                if self.in_transaction() || !self.autocommit {
                    self.transaction
                        .savepoints
                        .retain(|known| !known.eq_ignore_ascii_case(name));
                    self.transaction.savepoints.push(name.clone());
                }
            }
            SessionAction::RollbackTo(name) => {
                let at = self.find_savepoint(name)?;
                self.on_all_held(&format!("ROLLBACK TO {}", quoted(name)))
                    .await?;
                self.transaction.savepoints.truncate(at + 1);
            }
            SessionAction::ReleaseSavepoint(name) => {
                let at = self.find_savepoint(name)?;
                self.on_all_held(&format!("RELEASE SAVEPOINT {}", quoted(name)))
                    .await?;
                self.transaction.savepoints.truncate(at);
            }
            _ => {}
        }
        self.handle.in_transaction.set(self.in_transaction());
        let session = self.transaction_report(action);
        self.send_ok(answer, Done { warnings, session: &session, ..Done::default() });
        Ok(())
    }

    /// WITH CONSISTENT SNAPSHOT cannot wait for the first statement: the snapshot is now.
    async fn open_snapshot(&mut self) -> Outcome {
        for place in self.places_of_target() {
            let backend = self.acquire(place, StatementClass::Begin).await?;
            self.keep_or_return(place, backend);
        }
        Ok(())
    }

    fn after_end(&mut self, chain: bool, release: bool, answer: &mut Answer) -> Outcome {
        if chain {
            self.transaction.begin = Some("BEGIN");
        }
        if release {
            self.send_ok(answer, Done::default());
            return Err(Failure::Close);
        }
        Ok(())
    }

    fn find_savepoint(&self, name: &str) -> Outcome<usize> {
        let at = self
            .transaction
            .savepoints
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name));
        at.ok_or_else(|| sql_error(1305, format!("SAVEPOINT {name} does not exist")).into())
    }

    async fn on_all_held(&mut self, sql: &str) -> Outcome {
        let core = self.core.clone();
        for at in 0..self.held.len() {
            let (_, backend) = &mut self.held[at];
            if backend.in_transaction {
                match backend.execute(&core, sql).await {
                    Ok(_) => {}
                    Err(e @ BackendError::Refused { .. }) => return Err(e.into()),
                    Err(e) => return Err(self.lost_in_transaction(e)),
                }
            }
        }
        Ok(())
    }

    /// One shard of the transaction is gone: the servers roll back, the client must not go on as if nothing had happened.
    fn lost_in_transaction(&mut self, error: BackendError) -> Failure {
        self.held.clear();
        self.transaction.clear();
        Failure::Fatal(error.to_sql())
    }

    /// DDL and the like commit what is open.
    pub(super) async fn implicit_commit(&mut self) -> Outcome {
        if self.in_transaction() { self.commit_held().await } else { Ok(()) }
    }

    /// Commits on every shard that takes part.
    pub(super) async fn commit_held(&mut self) -> Outcome {
        let core = self.core.clone();
        let mut committed = 0;
        for at in 0..self.held.len() {
            let (_, backend) = &mut self.held[at];
            if !backend.in_transaction {
                continue;
            }
            match backend.execute(&core, "COMMIT").await {
                Ok(_) => committed += 1,
                Err(e) => {
                    let mut error = e.to_sql();
                    if committed > 0 {
                        error.message = format!(
                            "the transaction is committed on {committed} shard(s), then one failed, and the others were rolled back: {}",
                            error.message
                        );
                    } else if matches!(e, BackendError::Lost { .. }) {
                        error.message =
                            format!("{}; whether the transaction was committed is unknown", error.message);
                    }
                    if let BackendError::Refused { .. } = e {
                        let _ = Box::pin(self.rollback_held()).await;
                        return Err(Failure::Sql(error));
                    }
                    self.held.clear();
                    self.transaction.clear();
                    return Err(Failure::Fatal(error));
                }
            }
        }
        self.transaction.clear();
        self.release_held();
        Ok(())
    }

    /// Rolls back everywhere; a connection that cannot is closed, which rolls back too.
    /// Returns the number of warnings (tables without transactions keep their rows).
    pub(super) async fn rollback_held(&mut self) -> Outcome<u16> {
        let core = self.core.clone();
        let mut warnings = 0u16;
        for (place, mut backend) in std::mem::take(&mut self.held) {
            if backend.in_transaction {
                let Ok(summary) = backend.execute(&core, "ROLLBACK").await else { continue };
                if summary.warnings > 0 {
                    warnings = warnings.saturating_add(summary.warnings);
                    self.fetch_warnings(&mut backend).await;
                }
            }
            self.held.push((place, backend));
        }
        self.transaction.clear();
        self.release_held();
        Ok(warnings)
    }

    /// Undoes a statement that failed half-way, with all that came before it in its transaction.
    pub(super) async fn abandon_transaction(&mut self) {
        // Rolling back cannot fail: a connection that does not obey is closed.
        let _ = self.rollback_held().await;
    }

    /// After an error that may have ended the transaction on its server: if it has, it ends on all others too, and in the
    /// session, as it has for a client of that server alone. Else COMMIT would keep the other shards' part of it.
    #[cold]
    pub(super) async fn resolve_doubt(&mut self) {
        if !std::mem::take(&mut self.transaction.in_doubt) {
            return;
        }
        let core = self.core.clone();
        let mut ended = false;
        for (_, backend) in &mut self.held {
            if backend.in_transaction {
                // Any answer tells the transaction's state; a connection that fails is found out by the rollback.
                let asked = backend.execute(&core, "DO 0").await;
                ended |= asked.is_err() || !backend.in_transaction;
            }
        }
        if ended {
            self.abandon_transaction().await;
        }
    }

    /// Gives back what nothing keeps any more.
    pub(super) fn release_held(&mut self) {
        for (place, backend) in std::mem::take(&mut self.held) {
            self.keep_or_return(place, backend);
        }
        self.handle.in_transaction.set(self.in_transaction());
    }
}

/// Errors after which InnoDB, by itself or by its settings, rolls back the whole transaction.
pub(super) fn may_end_transaction(code: u16) -> bool {
    const LOCK_TABLE_FULL: u16 = 1206;
    const RECORD_CHANGED: u16 = 1020;
    matches!(code, codes::ER_LOCK_DEADLOCK | codes::ER_LOCK_WAIT_TIMEOUT | LOCK_TABLE_FULL | RECORD_CHANGED)
}

fn begin_text(access: Option<AccessMode>, consistent_snapshot: bool) -> &'static str {
    match (access, consistent_snapshot) {
        (None, false) => "BEGIN",
        (None, true) => "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        (Some(AccessMode::ReadOnly), false) => "START TRANSACTION READ ONLY",
        (Some(AccessMode::ReadWrite), false) => "START TRANSACTION READ WRITE",
        (Some(AccessMode::ReadOnly), true) => "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        (Some(AccessMode::ReadWrite), true) => "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ WRITE",
    }
}

/// An identifier in backticks.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
