//! The lock of a shard: one process at a time moves its primary or repairs it. It ends with the
//! lease of its holder, and what the holder writes is refused from then on.
use super::gateway::Failure;
use super::kv::{If, Op};
use super::layout::LockRecord;
use super::{Etcd, Guard};
use crate::Error;
use std::sync::Arc;

/// What is locked for changes of a keyspace's tables, in a shard's place.
pub(crate) const TABLES: &str = "schema";
/// Begins the name under which a process says that it changes tables, beside the shards that are
/// moved.
pub(crate) const MARK: &str = "ddl-";

#[derive(Debug, Clone)]
pub(crate) struct ShardLock {
    etcd: Arc<Etcd>,
    key: String,
    what: String,
    lease: i64,
    /// The revision at which it was taken.
    pub(crate) taken: i64,
}

impl Etcd {
    pub(crate) async fn lock(
        self: &Arc<Self>,
        keyspace: &str,
        shard: &str,
        what: &str,
    ) -> Result<ShardLock, Error> {
        let lost = || Failure::Refused("this process has no lease there at the moment".to_owned());
        let lease = self.valid_lease().ok_or_else(|| self.error(&lost()))?;
        let key = self.layout.lock(keyspace, shard);
        let mut lock =
            ShardLock { etcd: Arc::clone(self), key, what: what.to_owned(), lease, taken: 0 };
        let free = [If::Created(lock.key.clone(), 0)];
        let taken = self
            .gateway
            .transact(&free, &[lock.record(false)?], &[Op::Get(lock.key.clone())])
            .await;
        // Where the answer was lost and it has been taken, it is given back as soon as the store
        // tells of it.
        let taken = taken.map_err(|e| self.error(&e))?;
        if !taken.held {
            let text = taken.got.map(|entry| entry.value).unwrap_or_default();
            let holder = serde_json::from_str(&text)
                .map(|r: LockRecord| format!("{} of {}", r.what, r.process));
            let by = holder.unwrap_or_else(|_| "another process".to_owned());
            let what = match shard == TABLES || shard.starts_with(MARK) {
                true => format!("tables of keyspace {keyspace} are being changed"),
                false => format!("shard {keyspace}/{shard} is being moved or repaired"),
            };
            return Err(Error::Held { what, by });
        }
        lock.taken = taken.revision;
        Ok(lock)
    }

    /// Gives a lock back that nobody here holds any more: an answer of the store was lost.
    pub(crate) async fn unlock(&self, keyspace: &str, shard: &str, taken: i64) {
        let key = self.layout.lock(keyspace, shard);
        let _ = self
            .gateway
            .transact(&[If::Created(key.clone(), taken)], &[Op::Delete(key)], &[])
            .await;
    }
}

impl ShardLock {
    fn record(&self, holds: bool) -> Result<Op, Error> {
        let record = LockRecord { process: self.etcd.id.clone(), what: self.what.clone(), holds };
        let value = serde_json::to_string(&record).map_err(|e| Error::Config(e.to_string()))?;
        Ok(Op::Put { key: self.key.clone(), value, lease: self.lease })
    }

    fn ours(&self) -> If {
        If::Created(self.key.clone(), self.taken)
    }

    pub(crate) fn guard(&self) -> Guard {
        Guard { key: self.key.clone(), created: self.taken }
    }

    /// The lease that it hangs on lasts still, for certain.
    pub(crate) fn lasts(&self) -> bool {
        self.etcd.valid_lease() == Some(self.lease)
    }

    /// Statements wait in all processes, or go on. Gives the revision that they have to use.
    pub(crate) async fn hold(&self, holds: bool) -> Result<i64, Error> {
        let held = self
            .etcd
            .gateway
            .transact(&[self.ours()], &[self.record(holds)?], &[])
            .await;
        let held = held.map_err(|e| self.etcd.error(&e))?;
        match held.held {
            true => Ok(held.revision),
            false => Err(self.lost()),
        }
    }

    pub(crate) fn lost(&self) -> Error {
        Error::Server(format!(
            "{}: this process has lost the shard's lock ({}), another one may be at it",
            self.what, self.key
        ))
    }

    /// Gives it back, if it is ours still. Gives the revision from which on it is free.
    pub(crate) async fn release(&self) -> Result<i64, Error> {
        let gone = [Op::Delete(self.key.clone())];
        let released = self.etcd.gateway.transact(&[self.ours()], &gone, &[]).await;
        released
            .map(|outcome| outcome.revision)
            .map_err(|e| self.etcd.error(&e))
    }
}
