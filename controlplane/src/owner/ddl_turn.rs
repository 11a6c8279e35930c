//! Changes of tables one at a time. In a keyspace of several shards, two statements at once could
//! run in another order on each of them, and leave their tables different. A statement's turn is
//! the lock under which `apply-schema` runs, too; where several processes use the topology it is in
//! the store, and ends with the lease of who has it.
use super::schema::LOCK;
use super::{Answer, Owner};
use crate::Error;
use crate::plane::Command;
use crate::store::{Etcd, ShardLock};
use crate::world::general;
use coregate_planner::control::SqlError;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How soon the store is asked again whether another process's turn is over, and then after twice
/// as long.
const POLL: Duration = Duration::from_millis(10);
const POLL_MAX: Duration = Duration::from_millis(200);

#[derive(Default)]
pub(super) struct Turns(BTreeMap<String, Turn>);

#[derive(Default)]
struct Turn {
    /// Whose it is, or who waits for the store's lock.
    holder: Option<u64>,
    lock: Option<ShardLock>,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    change: u64,
    answer: Answer,
    until: Instant,
}

/// ER_LOCK_WAIT_TIMEOUT
fn late(keyspace: &str, by: &str) -> SqlError {
    let message = format!(
        "Lock wait timeout exceeded; tables of keyspace {keyspace} are being changed ({by}), and \
            are changed one at a time: repeat \
         the statement when that has ended"
    );
    SqlError { code: 1205, sqlstate: *b"HY000", message }
}

impl Owner {
    /// Do statements that change tables wait for each other? One server sees to that by itself.
    fn takes_turns(&self, keyspace: &str) -> bool {
        let known = self.world.keyspaces.get(keyspace);
        known.is_some_and(|known| known.record.shards.len() > 1)
    }

    /// A statement that changes tables asks for its turn.
    pub(super) fn ddl_asks(&mut self, keyspace: String, change: u64, answer: Answer) {
        if !self.takes_turns(&keyspace) {
            return self.ddl_begins(keyspace, change, answer);
        }
        let patience = Duration::from_millis(self.config.ddl_wait_ms);
        let waiting = Waiting { change, answer, until: Instant::now() + patience };
        let (owner, name) = (self.sender.clone(), keyspace.clone());
        self.turns
            .0
            .entry(keyspace.clone())
            .or_default()
            .waiting
            .push_back(waiting);
        tokio::spawn(async move {
            sleep(patience).await;
            let _ = owner
                .send(Command::DdlLate { keyspace: name, change })
                .await;
        });
        self.next_turn(&keyspace);
    }

    /// The first that waits has its turn, if nobody else has.
    pub(super) fn next_turn(&mut self, keyspace: &str) {
        let Some(turn) = self.turns.0.get_mut(keyspace) else { return };
        if turn.holder.is_some() {
            return;
        }
        if turn.waiting.is_empty() {
            self.turns.0.remove(keyspace);
            return;
        }
        // An apply-schema of this process: its end comes here.
        if !self.fleet.begin(keyspace, LOCK) {
            return;
        }
        let Some(Waiting { change, answer, until }) = turn.waiting.pop_front() else { return };
        turn.holder = Some(change);
        let Some(peers) = &self.peers else {
            return self.ddl_begins(keyspace.to_owned(), change, answer);
        };
        let (etcd, owner, keyspace) =
            (Arc::clone(&peers.etcd), self.sender.clone(), keyspace.to_owned());
        tokio::spawn(async move {
            let lock = lock_by(&etcd, &keyspace, until).await;
            let _ = owner
                .send(Command::DdlTurn { keyspace, change, lock, answer })
                .await;
        });
    }

    /// The store's lock is the statement's, or another process's still.
    pub(super) fn ddl_turn(
        &mut self,
        keyspace: String,
        change: u64,
        lock: Result<ShardLock, SqlError>,
        answer: Answer,
    ) {
        let turn = self.turns.0.get_mut(&keyspace);
        let asks_still = turn.filter(|turn| turn.holder == Some(change));
        match (asks_still, lock) {
            (Some(turn), Ok(lock)) => {
                turn.lock = Some(lock);
                self.ddl_begins(keyspace, change, answer);
            }
            (asks_still, lock) => {
                let asks_still = asks_still.is_some();
                if let Ok(lock) = lock {
                    tokio::spawn(async move { lock.release().await });
                } else if let Err(error) = lock {
                    self.pending.answer(answer, Err(error));
                }
                if asks_still {
                    self.turn_ends(&keyspace, change);
                }
            }
        }
    }

    /// A statement has waited long enough.
    pub(super) fn ddl_late(&mut self, keyspace: &str, change: u64) {
        let Some(turn) = self.turns.0.get_mut(keyspace) else { return };
        if let Some(at) = turn.waiting.iter().position(|w| w.change == change)
            && let Some(waiting) = turn.waiting.remove(at)
        {
            let error = late(keyspace, "by a session or an apply-schema of this process");
            self.pending.answer(waiting.answer, Err(error));
        }
    }

    /// The statement has ended, or its client has gone away.
    pub(super) fn turn_ends(&mut self, keyspace: &str, change: u64) {
        let Some(turn) = self.turns.0.get_mut(keyspace) else { return };
        turn.waiting.retain(|waiting| waiting.change != change);
        if turn.holder != Some(change) {
            return;
        }
        turn.holder = None;
        if let Some(lock) = turn.lock.take() {
            tokio::spawn(async move { lock.release().await });
        }
        self.fleet.free(keyspace, LOCK);
        self.next_turn(keyspace);
    }
}

/// Waits for the lock of the store.
async fn lock_by(etcd: &Arc<Etcd>, keyspace: &str, until: Instant) -> Result<ShardLock, SqlError> {
    let mut pause = POLL;
    loop {
        match etcd.lock(keyspace, LOCK, "DDL").await {
            Ok(lock) => return Ok(lock),
            Err(Error::Held { by, .. }) if Instant::now() >= until => {
                return Err(late(keyspace, &by));
            }
            Err(Error::Held { .. }) => {
                sleep(pause).await;
                pause = (pause * 2).min(POLL_MAX);
            }
            Err(e) => {
                let why = format!("other processes cannot be told that tables change: {e}");
                return Err(general(why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_too_long_is_told_for_whom() {
        let error = late("ks", "DDL of host:7");
        assert_eq!((error.code, &error.sqlstate), (1205, b"HY000"));
        assert!(error.message.contains("keyspace ks") && error.message.contains("DDL of host:7"));
    }
}
