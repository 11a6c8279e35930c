//! Shards that are moved or repaired where several processes use the topology: one process at a
//! time, by a lock in the store.
use super::ddl::MARK;
use super::{Answer, Owner, done};
use crate::Error;
use crate::plane::{Command, Job};
use crate::store::{Lock, ShardLock};
use crate::world::general;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a process may take to learn what was so when it got a lock.
const CATCH_UP: Duration = Duration::from_secs(5);

impl Owner {
    /// Takes the shard's lock, and goes on when this process knows all that was changed before.
    pub(super) fn lock(&self, job: Job) {
        let Some(peers) = &self.peers else { return };
        let (etcd, owner) = (Arc::clone(&peers.etcd), self.sender.clone());
        let mut about = peers.about().subscribe();
        tokio::spawn(async move {
            let mut lock = etcd.lock(&job.keyspace, &job.shard, &job.what).await;
            if let Ok(taken) = &lock {
                let known = async {
                    about
                        .wait_for(|process| process.revision >= taken.taken)
                        .await
                        .is_ok()
                };
                if !tokio::time::timeout(CATCH_UP, known).await.unwrap_or(false) {
                    let _ = taken.release().await;
                    let why = "this process does not hear of the store's changes: repeat it later";
                    lock = Err(Error::Server(why.to_owned()));
                }
            }
            let _ = owner
                .send(Command::Locked { job: Box::new(job), lock })
                .await;
        });
    }

    pub(super) fn locked(&mut self, job: Job, lock: Result<ShardLock, Error>) {
        match lock {
            Ok(lock) if self.shard(&job.keyspace, &job.shard).is_some() => {
                self.run(job, Some(lock))
            }
            Ok(lock) => {
                tokio::spawn(async move { lock.release().await });
                let e = Error::Config(format!(
                    "there is no shard {}/{} any more",
                    job.keyspace, job.shard
                ));
                self.recovered(
                    &job.keyspace,
                    &job.shard,
                    (job.what, job.began),
                    Err(e),
                    job.answer,
                );
            }
            Err(e) => {
                self.recovered(&job.keyspace, &job.shard, (job.what, job.began), Err(e), job.answer)
            }
        }
    }

    /// What other processes do at the moment; statements wait where they say so.
    pub(super) fn take_locks(&mut self, locks: BTreeMap<(String, String), Lock>, disabled: bool) {
        let own = self
            .peers
            .as_ref()
            .map(|peers| peers.id().to_owned())
            .unwrap_or_default();
        let (ours, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            locks.into_iter().partition(|(_, lock)| lock.process == own);
        // Who has changed tables has ended, or has gone away in the middle of it.
        let changed: Vec<String> = self
            .fleet
            .others()
            .filter(|name| name.1.starts_with(MARK) && !others.contains_key(*name))
            .map(|name| name.0.clone())
            .collect();
        for keyspace in changed {
            self.look_at(&keyspace);
        }
        self.fleet.take_locks(
            others
                .into_iter()
                .map(|(name, lock)| (name, lock.holds))
                .collect(),
            std::time::Instant::now(),
        );
        for ((keyspace, shard), lock) in ours {
            if let Some(peers) = &self.peers
                && !self.fleet.is_at(&keyspace, &shard)
            {
                let etcd = Arc::clone(&peers.etcd);
                tokio::spawn(async move { etcd.unlock(&keyspace, &shard, lock.taken).await });
            }
        }
        self.fleet.disabled = disabled;
    }

    pub(super) fn set_recoveries(&mut self, disabled: bool, answer: Answer) {
        let Some(peers) = &self.peers else {
            self.fleet.disabled = disabled;
            self.pending.serving = true;
            self.pending.shown = true;
            return self.pending.answer(answer, done());
        };
        let (etcd, owner) = (Arc::clone(&peers.etcd), self.sender.clone());
        tokio::spawn(async move {
            let set = etcd.set_recoveries(disabled).await;
            let _ = owner.send(Command::Recoveries { set, answer }).await;
        });
    }

    pub(super) fn recoveries_set(&mut self, set: Result<i64, Error>, answer: Answer) {
        match set {
            Ok(revision) => {
                let answer = self.everywhere(revision, answer);
                self.pending.answer(answer, done());
            }
            Err(e) => self.pending.answer(answer, Err(general(e.to_string()))),
        }
    }
}
