//! `START TRANSACTION WITH CONSISTENT SNAPSHOT` over several shards: one snapshot, that sees every
//! TWOPC transaction on all of its shards or on none.
//!
//! A transaction is decided by the row that its first shard commits in the table of decisions. With
//! that table locked on all servers, nobody decides. What is decided already has branches that
//! commit within moments; when none is prepared any more, the snapshots are opened, and the tables
//! unlocked. Writers wait for so long, those who do not ask for a snapshot pay nothing, and it
//! holds between processes: the servers have the locks.
use super::atomic::{TransactionMode, has_no_tables, make_tables};
use super::deciders::{Decider, branch};
use super::lost::{all, within};
use super::{Outcome, Session};
use crate::core::Core;
use crate::error::{BackendError, sql_error};
use crate::pool::{Kind, Place};
use coregate_planner::control::SqlError;
use coregate_planner::dtid::{self, Branch};
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

/// What is decided must be committed everywhere after so long; writers wait meanwhile.
const SETTLE_MAX: Duration = Duration::from_millis(1_000);
/// Transactions that are deciding must have ended after so long.
const LOCK_MAX: Duration = Duration::from_millis(5_000);
/// Between two looks at what is prepared.
const PAUSE: Duration = Duration::from_millis(1);

impl Session {
    /// WITH CONSISTENT SNAPSHOT cannot wait for the first statement: the snapshot is now.
    pub(super) async fn open_snapshot(&mut self) -> Outcome {
        let places = self.places_of_target();
        if !self.needs_one_snapshot() {
            return self.join_all(&places).await;
        }
        let opened = Box::pin(self.open_one_snapshot(&places)).await;
        if opened.is_err() {
            self.abandon_transaction().await;
        }
        opened
    }

    /// Does its snapshot span several shards, of which each would have its own?
    pub(super) fn needs_one_snapshot(&self) -> bool {
        let places = self.places_of_target();
        let primary = |place: &Place| matches!(place, Place::Shard { kind: Kind::Primary, .. });
        self.transaction_mode() == TransactionMode::TwoPc
            && places.len() > 1
            && places.iter().all(primary)
    }

    async fn join_all(&mut self, places: &[Place]) -> Outcome {
        for place in places {
            let backend = self
                .acquire(*place, coregate_planner::plan::Effects::READS)
                .await?;
            self.keep_or_return(*place, backend);
        }
        Ok(())
    }

    pub(super) async fn open_one_snapshot(&mut self, places: &[Place]) -> Outcome {
        // All connections first: nothing waits for one while writers wait.
        for place in places {
            if !self.transaction.held.iter().any(|(held, _)| held == place) {
                let backend = self.acquire_new(*place).await?;
                self.transaction.held.push((*place, backend));
            }
        }
        let mut gates = self.deciders().await?;
        let (core, handle) = (self.core.clone(), self.client.handle.clone());
        let told = match self.transaction.reads_snapshot() {
            true => self.read_repeatably(places).await?,
            false => Vec::new(),
        };
        Self::unless_interrupted(&handle, close(&core, &mut gates)).await??;
        self.join_all(places).await?;
        self.has_used_level(&told);
        self.transaction.has_snapshot = true;
        core.metrics().snapshots.add(1);
        open(&core, gates).await;
        Ok(())
    }
}

/// Locks the tables of decisions, and waits until what is decided is committed everywhere. Where it
/// fails, the connections are closed with their locks by whoever has them.
async fn close(core: &Rc<Core>, gates: &mut [Decider]) -> Result<(), SqlError> {
    let busy = || {
        let message = "transactions over several shards are being decided or finished, and a \
            snapshot has waited too long for them; try again";
        sql_error(1205, message)
    };
    let locked = within(core, LOCK_MAX, async {
        // Who has the first lock has all of them: two who ask do not wait for each other.
        if let Some((first, rest)) = gates.split_first_mut() {
            lock(core, first).await?;
            let result = RefCell::new(Ok(()));
            let works = rest.iter_mut().map(|gate| work(lock(core, gate), &result));
            all(works.collect()).await;
            return result.into_inner();
        }
        Ok(())
    });
    let locked = locked.await.unwrap_or_else(|| Err(busy()));
    let settled = match locked {
        Ok(()) => within(core, SETTLE_MAX, settle(core, gates))
            .await
            .unwrap_or_else(|| Err(busy())),
        failed => failed,
    };
    if settled.is_err() {
        for gate in gates {
            gate.backend.tainted = true;
        }
    }
    settled
}

type Work<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Keeps the first error of several.
fn work<'a>(
    work: impl Future<Output = Result<(), SqlError>> + 'a,
    result: &'a RefCell<Result<(), SqlError>>,
) -> Work<'a> {
    Box::pin(async move {
        if let Err(error) = work.await {
            let mut result = result.borrow_mut();
            if result.is_ok() {
                *result = Err(error);
            }
        }
    })
}

/// Waits for the transactions that have written their decision, and keeps others from writing
/// theirs.
async fn lock(core: &Rc<Core>, gate: &mut Decider) -> Result<(), SqlError> {
    let lock = format!("LOCK TABLES {} WRITE", dtid::TABLE);
    let read = format!("SELECT id FROM {} LIMIT 1", dtid::SNAPSHOT_TABLE);
    let mut there = gate.backend.execute(core, &read).await;
    if matches!(&there, Err(error) if has_no_tables(error)) {
        make_tables(core, &mut gate.backend)
            .await
            .map_err(|e| e.to_sql())?;
        there = gate.backend.execute(core, &read).await;
    }
    there.map_err(|e| e.to_sql())?;
    gate.backend
        .execute(core, &lock)
        .await
        .map(drop)
        .map_err(|e| e.to_sql())
}

/// Waits until no branch of a transaction that is decided is prepared any more.
async fn settle(core: &Rc<Core>, gates: &mut [Decider]) -> Result<(), SqlError> {
    loop {
        let prepared = RefCell::new(Vec::new());
        let result = RefCell::new(Ok(()));
        let asks = gates.iter_mut().map(|gate| {
            let prepared = &prepared;
            let ask = async move {
                let rows = gate.backend.rows(core, "XA RECOVER").await;
                let rows = rows.map_err(|e| e.to_sql())?;
                prepared
                    .borrow_mut()
                    .extend(rows.iter().filter_map(|row| branch(row)));
                Ok(())
            };
            work(ask, &result)
        });
        all(asks.collect()).await;
        result.into_inner()?;
        let mut is_settled = true;
        for gate in &mut *gates {
            let ids: Vec<String> = prepared
                .borrow()
                .iter()
                .filter(|branch: &&Branch| gate.holds(branch.decider))
                .map(|branch| format!("'{}'", branch.id))
                .collect();
            is_settled &=
                ids.is_empty() || undecided(core, gate, &ids).await.map_err(|e| e.to_sql())?;
        }
        if is_settled {
            return Ok(());
        }
        core.sleep(PAUSE).await;
    }
}

/// Is none of these transactions committed? Ids are of our own making, see [`Branch::parse`].
async fn undecided(core: &Core, gate: &mut Decider, ids: &[String]) -> Result<bool, BackendError> {
    let query = format!(
        "SELECT id FROM {} WHERE decision = 'commit' AND id IN ({})",
        dtid::TABLE,
        ids.join(",")
    );
    Ok(gate.backend.column(core, &query).await?.is_empty())
}

/// Lets transactions decide again.
async fn open(core: &Rc<Core>, mut gates: Vec<Decider>) {
    let works = gates.iter_mut().map(|gate| {
        Box::pin(async move {
            if gate.backend.execute(core, "UNLOCK TABLES").await.is_err() {
                // Closed, which unlocks.
                gate.backend.tainted = true;
            }
        }) as Work<'_>
    });
    all(works.collect()).await;
    for gate in gates {
        gate.pool.put(core, gate.backend);
    }
}
