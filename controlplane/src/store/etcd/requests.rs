//! What one process asks of another that has servers to make: CREATE and DROP DATABASE of its
//! clients. A request is a key with the lease of who asks; the answer is one with the lease of who
//! has done it.
use super::Etcd;
use super::gateway::Failure;
use super::kv::Op;
use super::peers::Roster;
use crate::Error;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Servers may take so long to start.
const ANSWER_PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(100);

/// `create`: the client's statement; `None`: the database is dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DatabaseRequest {
    pub(crate) name: String,
    pub(crate) create: Option<String>,
}

/// `code` 0: it is done, and `message` is a warning, or empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DatabaseAnswer {
    pub(crate) code: u16,
    pub(crate) sqlstate: String,
    pub(crate) message: String,
}

impl Etcd {
    fn under_lease(&self, key: String, value: &impl Serialize) -> Result<Op, Error> {
        let lost = || Failure::Refused("this process has no lease there at the moment".to_owned());
        let lease = self.valid_lease().ok_or_else(|| self.error(&lost()))?;
        let value = serde_json::to_string(value).map_err(|e| Error::Config(e.to_string()))?;
        Ok(Op::Put { key, value, lease })
    }

    /// Asks whoever makes databases, and waits for the answer.
    pub(crate) async fn ask_for_database(
        self: &Arc<Self>,
        request: &DatabaseRequest,
        roster: watch::Receiver<Roster>,
    ) -> Result<DatabaseAnswer, Error> {
        let id = self.writer().replace('/', "-");
        let (asked, answered) = (self.layout.request(&id), self.layout.answer(&id));
        let put = self.under_lease(asked.clone(), request)?;
        self.gateway
            .transact(&[], &[put], &[])
            .await
            .map_err(|e| self.error(&e))?;
        let end = Instant::now() + ANSWER_PATIENCE;
        loop {
            tokio::time::sleep(POLL).await;
            if let Ok((entries, _)) = self.gateway.range(&answered).await
                && let Some(entry) = entries.get(&answered)
            {
                let answer = serde_json::from_str(&entry.value);
                // It goes with its writer's lease, too.
                let _ = self
                    .gateway
                    .transact(&[], &[Op::Delete(answered)], &[])
                    .await;
                return answer.map_err(|e| Error::Server(format!("an answer that is none: {e}")));
            }
            let makes = roster.borrow().processes.iter().any(|p| p.makes_databases);
            if !makes || Instant::now() >= end {
                let _ = self.gateway.transact(&[], &[Op::Delete(asked)], &[]).await;
                let why = "the process that makes databases does not answer; SHOW DATABASES tells \
                    whether it has done it";
                return Err(Error::Server(why.to_owned()));
            }
        }
    }

    /// It is done, or refused.
    pub(crate) async fn answer_database(
        &self,
        id: &str,
        answer: &DatabaseAnswer,
    ) -> Result<(), Error> {
        let put = self.under_lease(self.layout.answer(id), answer)?;
        let gone = Op::Delete(self.layout.request(id));
        let done = self.gateway.transact(&[], &[put, gone], &[]).await;
        done.map(drop).map_err(|e| self.error(&e))
    }
}
