//! Transactions that commit on all of their shards or on none: `transaction_mode = TWOPC`.
//!
//! The first shard of a transaction *decides*: its ordinary COMMIT carries a row that is the
//! decision. All others are XA branches, prepared before that COMMIT and committed behind it.
//! Whatever is lost in between, the row tells what becomes of a prepared branch; the control
//! plane's resolver looks there. See `coregate_planner::dtid`.
use super::commit::NO_CHAIN;
use super::lost::{all, within};
use super::transaction::Transaction;
use super::{Failure, Outcome, Session};
use crate::core::Core;
use crate::error::{BackendError, sql_error};
use crate::pool::{Backend, Kind, Place};
use coregate_planner::control::SqlError;
use coregate_planner::dtid::{self, Branch};
use coregate_planner::plan::Effects;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// How a transaction over several shards ends: Vitess's `transaction_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransactionMode {
    /// A second shard is refused.
    Single,
    /// Shard after shard; one that fails is told of.
    #[default]
    Multi,
    /// On all shards or on none.
    TwoPc,
}

impl TransactionMode {
    /// Reads a name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "single" => Some(Self::Single),
            "multi" => Some(Self::Multi),
            "twopc" => Some(Self::TwoPc),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "SINGLE",
            Self::Multi => "MULTI",
            Self::TwoPc => "TWOPC",
        }
    }
}

/// What a transaction over several shards is known by.
#[derive(Debug, Clone)]
pub(super) struct Atomic {
    id: String,
    /// The shard that decides.
    decider: Place,
    decider_key: u64,
    branches: u32,
}

/// A branch of a decided transaction must have committed after so long; the client is not kept
/// longer, and the resolver goes on.
const FINISH_MAX: Duration = Duration::from_millis(10_000);

fn is_primary(place: Place) -> bool {
    matches!(place, Place::Shard { kind: Kind::Primary, .. })
}

type Work<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

impl Session {
    /// How a connection that was in no transaction takes part in the session's: `Some`: as an XA
    /// branch of this id.
    pub(super) fn branch_for(&mut self, place: Place) -> Outcome<Option<Rc<str>>> {
        let Place::Shard { kind: Kind::Primary, .. } = place else { return Ok(None) };
        if self.transaction.reads_snapshot() && !self.transaction.has_snapshot {
            // It ends with its statement, which writes nothing: there is nothing to prepare.
            return Ok(None);
        }
        if self.transaction.reads_snapshot() {
            return Err(not_in_snapshot().into());
        }
        // Once there is a branch, all that join are branches, whatever the mode is set to
        // meanwhile.
        let mode = match self.transaction.atomic {
            Some(_) => TransactionMode::TwoPc,
            None => self.transaction_mode(),
        };
        if mode == TransactionMode::Multi || self.transaction.locked || !self.spans_statements() {
            return Ok(None);
        }
        let Some(first) = self.first_to_join(place) else { return Ok(None) };
        if first == place {
            return Ok(None);
        }
        if mode == TransactionMode::Single {
            return Err(sql_error(
                1105,
                "multi-db transaction attempted: transaction_mode is SINGLE, and the transaction \
                    has begun on another shard; \
                 SET transaction_mode = 'MULTI' or 'TWOPC'",
            )
            .into());
        }
        if self.transaction.has_snapshot {
            return Err(not_in_snapshot().into());
        }
        if self.transaction.is_read_only() {
            return Ok(None);
        }
        if self.transaction.atomic.is_none() {
            self.transaction.atomic = Some(Box::new(self.begin_atomic(first)?));
        }
        Ok(self.transaction.atomic.as_mut().map(|atomic| {
            atomic.branches += 1;
            let (id, number, decider) = (atomic.id.clone(), atomic.branches, atomic.decider_key);
            Branch { id, number, decider }.to_string().into()
        }))
    }

    /// The shard that decides. `None`: several take part without branches, from before the mode was
    /// set.
    fn first_to_join(&mut self, place: Place) -> Option<Place> {
        let plain = |(place, b): &&(Place, Box<Backend>)| {
            is_primary(*place) && b.in_transaction && !b.is_branch()
        };
        let mut plain = self
            .transaction
            .held
            .iter()
            .filter(plain)
            .map(|(place, _)| *place);
        let open = plain.next();
        let first = self.transaction.first.or(open).unwrap_or(place);
        self.transaction.first = Some(first);
        let others = open.is_some_and(|open| open != first) || plain.next().is_some();
        (self.transaction.atomic.is_some() || !others).then_some(first)
    }

    /// Does what the next statement does stay open behind it?
    fn spans_statements(&self) -> bool {
        self.transaction.is_open() || !self.state.autocommit
    }

    /// `SET transaction_mode`, else the configuration's.
    pub(super) fn transaction_mode(&self) -> TransactionMode {
        let set = self.vitess_value("transaction_mode");
        set.and_then(TransactionMode::parse)
            .unwrap_or_else(|| self.core.config().transaction_mode)
    }

    fn begin_atomic(&self, decider: Place) -> Outcome<Atomic> {
        let snapshot = std::sync::Arc::clone(&self.core.snapshot.borrow());
        let Place::Shard { shard: wanted, .. } = decider else {
            return Err(sql_error(1105, "no shard has begun the transaction").into());
        };
        let mut shards = snapshot
            .keyspaces
            .iter()
            .flat_map(|keyspace| keyspace.shards.iter().map(move |shard| (keyspace, shard)));
        let Some((keyspace, shard)) = shards.find(|(_, shard)| shard.id == wanted) else {
            return Err(sql_error(1105, "the shard that the transaction began on is gone").into());
        };
        let decider_key = dtid::decider_key(&keyspace.name, &shard.name);
        Ok(Atomic { id: self.core.new_transaction_id(), decider, decider_key, branches: 0 })
    }

    /// COMMIT of a transaction that has XA branches.
    pub(super) async fn commit_atomic(&mut self, atomic: &Atomic) -> Outcome {
        let wrote = self
            .transaction
            .held
            .iter()
            .filter(|(_, b)| b.in_transaction && b.wrote);
        if wrote.count() <= 1 {
            return self.commit_single_writer().await;
        }
        let (core, handle) = (self.core.clone(), self.client.handle.clone());
        self.hold_decider(atomic).await?;
        // Nothing is decided yet: a statement that is a transaction of its own can still be stopped
        // as a whole.
        let stoppable = self.transaction.is_own() && !self.transaction.pinned;
        let prepare = self.prepare_all(&core, atomic);
        let prepared = match stoppable {
            true => Self::unless_interrupted(&handle, prepare).await,
            false => Self::unless_killed(&handle, prepare).await,
        };
        match prepared {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let _ = Box::pin(self.rollback_held()).await;
                return Err(self.not_committed(error).into());
            }
            Err(failure) => {
                self.drop_held();
                core.shared.control.given_up(&atomic.id);
                return Err(match failure {
                    Failure::Sql(error) => self.not_committed(error).into(),
                    other => other,
                });
            }
        }
        let Some((_, decider)) = self
            .transaction
            .held
            .iter_mut()
            .find(|(place, _)| *place == atomic.decider)
        else {
            return Err(sql_error(1105, "the connection that decides is gone").into());
        };
        let decided = Self::unless_killed(&handle, decider.execute(&core, NO_CHAIN)).await;
        match decided {
            Ok(Ok(_)) => {}
            Ok(Err(error @ BackendError::Refused { .. })) => {
                let _ = Box::pin(self.rollback_held()).await;
                return Err(self.not_committed(error.to_sql()).into());
            }
            Ok(Err(error)) => return Err(self.undecided(atomic, error.to_sql())),
            Err(Failure::Sql(error) | Failure::Fatal(error)) => {
                return Err(self.undecided(atomic, error));
            }
            Err(Failure::Close) => {
                let error = sql_error(1053, "the session was stopped");
                return Err(self.undecided(atomic, error));
            }
        }
        core.metrics().atomic_commits.add(1);
        self.finish_branches(&core, atomic).await;
        self.transaction.clear();
        self.client.handle.transaction_is_over();
        self.release_held();
        Ok(())
    }

    /// One shard at most has something to commit: nothing can tear. Readers' branches end behind
    /// it.
    async fn commit_single_writer(&mut self) -> Outcome {
        self.transaction
            .held
            .sort_by_key(|(_, backend)| !backend.wrote);
        self.commit_one_after_another().await
    }

    /// The shard that decides may have no transaction open (`autocommit=0`, and nothing that opens
    /// one).
    async fn hold_decider(&mut self, atomic: &Atomic) -> Outcome {
        let takes_part =
            |(place, b): &(Place, Box<Backend>)| *place == atomic.decider && b.in_transaction;
        if !self.transaction.held.iter().any(takes_part) {
            let backend = self.acquire(atomic.decider, Effects::empty()).await?;
            self.transaction.held.push((atomic.decider, backend));
        }
        Ok(())
    }

    /// Prepares every branch, and writes the decision into the transaction of the shard that
    /// decides, all at once.
    async fn prepare_all(&mut self, core: &Rc<Core>, atomic: &Atomic) -> Result<(), SqlError> {
        let first: RefCell<Option<SqlError>> = RefCell::default();
        let failed = |error: BackendError| {
            first.borrow_mut().get_or_insert(error.to_sql());
        };
        let failed = &failed;
        let works = self
            .transaction
            .held
            .iter_mut()
            .filter(|(_, b)| b.in_transaction)
            .map(|(place, backend)| {
                let decides = *place == atomic.decider;
                Box::pin(async move {
                    let done = match (decides, backend.is_branch()) {
                        (true, _) => write_decision(core, backend, &atomic.id).await,
                        (false, true) => backend.prepare_branch(core).await,
                        // Of a replica, or of a shard that joined otherwise: it must have
                        // nothing to lose.
                        (false, false) if backend.wrote => Err(BackendError::Local(
                            "a shard takes part that cannot be prepared".into(),
                        )),
                        (false, false) => backend.execute(core, NO_CHAIN).await.map(drop),
                    };
                    if let Err(error) = done {
                        failed(error);
                    }
                }) as Work<'_>
            });
        all(works.collect()).await;
        first.into_inner().map_or(Ok(()), Err)
    }

    /// The transaction is committed: what is prepared commits, too. What cannot be told so now is
    /// left to the resolver.
    async fn finish_branches(&mut self, core: &Rc<Core>, atomic: &Atomic) {
        let works = self
            .transaction
            .held
            .iter_mut()
            .filter(|(_, b)| b.is_branch())
            .map(|(_, backend)| {
                Box::pin(async move {
                    let done = within(core, FINISH_MAX, backend.commit_branch(core, false)).await;
                    let late = || BackendError::Local("the server does not answer in time".into());
                    if let Err(error) = done.unwrap_or_else(|| Err(late())) {
                        tracing::warn!(
                            transaction = atomic.id,
                            tablet = backend.pool.tablet.alias,
                            "committed, but one shard has yet to be told: {error}; the resolver \
                                does that"
                        );
                        core.metrics().atomic_unfinished.add(1);
                        backend.tainted = true;
                    }
                }) as Work<'_>
            });
        all(works.collect()).await;
        // Closed: a prepared branch goes on without its connection.
        self.transaction
            .held
            .retain(|(_, backend)| !backend.is_branch());
    }

    #[cold]
    fn not_committed(&self, mut error: SqlError) -> SqlError {
        error
            .message
            .push_str("; the transaction was rolled back on every shard");
        error
    }

    /// The answer to the COMMIT that decides was lost.
    #[cold]
    fn undecided(&mut self, atomic: &Atomic, mut error: SqlError) -> Failure {
        error.message.push_str(&format!(
            "; whether the transaction was committed is unknown: it is on every shard or on none, \
                once the resolver has finished \
             transaction {}",
            atomic.id
        ));
        self.core.metrics().atomic_unfinished.add(1);
        self.drop_held();
        self.core.shared.control.given_up(&atomic.id);
        Failure::Fatal(error)
    }
}

impl Transaction {
    pub(super) fn take_atomic(&mut self) -> Option<Box<Atomic>> {
        self.atomic.take()
    }
}

#[cold]
fn not_in_snapshot() -> SqlError {
    sql_error(
        1235,
        "VT12001: unsupported: a shard that joins after START TRANSACTION WITH CONSISTENT \
            SNAPSHOT, which has opened the snapshot on the shards of the keyspace that was \
            selected; USE the keyspace first",
    )
}

/// Writes the row that is the decision. The tables for it are made where they are missing, on
/// another connection: DDL would commit what is open here.
async fn write_decision(
    core: &Rc<Core>,
    backend: &mut Backend,
    id: &str,
) -> Result<(), BackendError> {
    let insert = format!("INSERT INTO {} (id, decision) VALUES ('{id}', 'commit')", dtid::TABLE);
    match backend.execute(core, &insert).await {
        Err(error) if has_no_tables(&error) => {}
        other => return other.map(drop),
    }
    let pool = Rc::clone(&backend.pool);
    let mut other = pool.take(core, backend.flavour, &backend.settings).await?;
    let made = make_tables(core, &mut other).await;
    pool.put(core, other);
    made?;
    backend.execute(core, &insert).await.map(drop)
}

/// Makes the tables for decisions. It commits what is open on the connection.
pub(super) async fn make_tables(
    core: &Rc<Core>,
    backend: &mut Backend,
) -> Result<(), BackendError> {
    for ddl in dtid::TABLE_DDL {
        backend.execute(core, ddl).await?;
    }
    Ok(())
}

/// The tables for decisions, or their database, are missing.
pub(super) fn has_no_tables(error: &BackendError) -> bool {
    const ER_BAD_DB_ERROR: u16 = 1049;
    const ER_NO_SUCH_TABLE: u16 = 1146;
    matches!(error, BackendError::Refused { code: ER_BAD_DB_ERROR | ER_NO_SUCH_TABLE, .. })
}
