//! CREATE and DROP DATABASE where another process has the servers to make: it is asked through the
//! store.
use super::{Answer, Owner};
use crate::Error;
use crate::store::{DatabaseAnswer, DatabaseRequest};
use crate::world::general;
use coregate_planner::control::SqlError;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Requests of others that were taken.
#[derive(Default)]
pub(super) struct Taken(BTreeSet<String>);

impl Owner {
    /// Gives the answer back where nobody makes databases.
    pub(super) fn ask_for_database(
        &self,
        request: DatabaseRequest,
        answer: Answer,
    ) -> Option<Answer> {
        let Some(peers) = &self.peers else { return Some(answer) };
        if !peers.roster().processes.iter().any(|p| p.makes_databases) {
            return Some(answer);
        }
        let (etcd, roster) = (Arc::clone(&peers.etcd), peers.watch());
        tokio::spawn(async move {
            let result = match etcd.ask_for_database(&request, roster).await {
                Ok(DatabaseAnswer { code: 0, message, .. }) if message.is_empty() => super::done(),
                Ok(DatabaseAnswer { code: 0, message, .. }) => {
                    Ok(json!({"ok": true, "warning": message}))
                }
                Ok(DatabaseAnswer { code, sqlstate, message }) => {
                    let sqlstate = sqlstate.as_bytes().try_into().unwrap_or(*b"HY000");
                    Err(SqlError { code, sqlstate, message })
                }
                Err(e) => Err(general(e.to_string())),
            };
            answer.give(result);
        });
        None
    }

    /// Says that this process makes databases.
    pub(super) fn offer_databases(&self) {
        if let (Some(peers), Some(_)) = (&self.peers, &self.maker) {
            peers.say(|process| process.makes_databases = true);
        }
    }

    /// What others ask for.
    pub(super) fn serve_requests(&mut self) {
        let (Some(peers), Some(_)) = (&self.peers, &self.maker) else { return };
        let requests = peers.roster().requests;
        let etcd = Arc::clone(&peers.etcd);
        self.taken.0.retain(|id| requests.contains_key(id));
        for (id, DatabaseRequest { name, create }) in requests {
            if !self.taken.0.insert(id.clone()) {
                continue;
            }
            let (tell, told) = oneshot::channel();
            let answer = Answer::Core(Box::new(move |result| drop(tell.send(result))));
            let etcd = Arc::clone(&etcd);
            tokio::spawn(async move {
                let result = told
                    .await
                    .unwrap_or_else(|_| Err(general(Error::Gone.to_string())));
                let answer = match result {
                    Ok(warning) => DatabaseAnswer {
                        code: 0,
                        sqlstate: String::new(),
                        message: warning.unwrap_or_default(),
                    },
                    Err(e) => DatabaseAnswer {
                        code: e.code,
                        sqlstate: String::from_utf8_lossy(&e.sqlstate).into_owned(),
                        message: e.message,
                    },
                };
                if let Err(e) = etcd.answer_database(&id, &answer).await {
                    tracing::warn!(
                        "another process is not told what has become of its database: {e}"
                    );
                }
            });
            match create {
                Some(sql) => self.create_database(name, sql, answer),
                None => self.drop_database(name, answer),
            }
        }
    }
}
