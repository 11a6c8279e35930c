//! Changes of tables by SQL, where several processes use the topology. A process says under its
//! lease that it changes a keyspace's tables, before it does: should it go away meanwhile, the
//! others hear of that, and read the tables again. Where nobody can be told, nothing is changed.
use super::{Answer, Owner, done};
use crate::Error;
use crate::plane::Command;
use crate::store::{Etcd, ShardLock};
use crate::world::general;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The mark of the last statement is taken back behind its answer: until it is gone, the next one
/// waits so long.
const OWN_PATIENCE: Duration = Duration::from_secs(5);
const OWN_PAUSE: Duration = Duration::from_millis(10);

/// Only this process has such a mark.
async fn own_lock(etcd: &Arc<Etcd>, keyspace: &str, mark: &str) -> Result<ShardLock, Error> {
    let end = Instant::now() + OWN_PATIENCE;
    loop {
        match etcd.lock(keyspace, mark, "DDL").await {
            Err(Error::Held { .. }) if Instant::now() < end => sleep(OWN_PAUSE).await,
            done => return done,
        }
    }
}

pub(super) use crate::store::MARK;

#[derive(Default)]
pub(super) struct Ddl(BTreeMap<String, Marked>);

#[derive(Default)]
struct Marked {
    /// Those that run, or wait for the mark.
    running: BTreeSet<u64>,
    waiting: Vec<Answer>,
    lock: Option<ShardLock>,
    /// It is being set.
    sets: bool,
}

impl Owner {
    /// A statement that changes tables may begin as soon as the store says so.
    pub(super) fn ddl_begins(&mut self, keyspace: String, change: u64, answer: Answer) {
        if self.peers.is_none() {
            return self.pending.answer(answer, done());
        }
        let marked = self.ddl.0.entry(keyspace.clone()).or_default();
        marked.running.insert(change);
        if marked.lock.as_ref().is_some_and(ShardLock::lasts) {
            return self.pending.answer(answer, done());
        }
        marked.waiting.push(answer);
        if !std::mem::replace(&mut marked.sets, true) {
            self.set_mark(keyspace);
        }
    }

    fn mark(&self) -> String {
        let id = self
            .peers
            .as_ref()
            .map(|peers| peers.id())
            .unwrap_or_default();
        format!("{MARK}{id}")
    }

    fn set_mark(&mut self, keyspace: String) {
        let mark = self.mark();
        // Known to be ours, should the store tell of it first.
        self.fleet.begin(&keyspace, &mark);
        let Some(peers) = &self.peers else { return };
        let (etcd, owner) = (Arc::clone(&peers.etcd), self.sender.clone());
        tokio::spawn(async move {
            let lock = own_lock(&etcd, &keyspace, &mark).await;
            let _ = owner.send(Command::DdlMarked { keyspace, lock }).await;
        });
    }

    pub(super) fn ddl_marked(&mut self, keyspace: String, lock: Result<ShardLock, Error>) {
        let Some(marked) = self.ddl.0.get_mut(&keyspace) else { return };
        marked.sets = false;
        let waiting = std::mem::take(&mut marked.waiting);
        let why = match lock {
            Ok(lock) => {
                marked.lock = Some(lock);
                None
            }
            Err(e) => Some(format!("other processes cannot be told that tables change: {e}")),
        };
        for answer in waiting {
            let told = why
                .as_ref()
                .map_or_else(done, |why| Err(general(why.clone())));
            self.pending.answer(answer, told);
        }
        self.clear_mark(&keyspace);
    }

    /// It is over, or never began.
    pub(super) fn ddl_ends(&mut self, keyspace: &str, change: u64) {
        if let Some(marked) = self.ddl.0.get_mut(keyspace) {
            marked.running.remove(&change);
            self.clear_mark(keyspace);
        }
    }

    /// Nothing is changed any more.
    fn clear_mark(&mut self, keyspace: &str) {
        let idle = |marked: &Marked| marked.running.is_empty() && !marked.sets;
        if !self.ddl.0.get(keyspace).is_some_and(idle) {
            return;
        }
        let marked = self.ddl.0.remove(keyspace);
        self.fleet.free(keyspace, &self.mark());
        if let Some(lock) = marked.and_then(|m| m.lock) {
            tokio::spawn(async move { lock.release().await });
        }
    }
}
