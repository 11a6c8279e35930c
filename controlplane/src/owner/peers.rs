//! The other processes on the same store: what they have changed is taken over, what this one
//! changes is answered when they use it.
use super::{Answer, Owner};
use crate::Error;
use crate::plane::{Command, Reload};
use crate::store::{Peers, Roster, State, uses, wait_for_all};
use crate::world::general;
use coregate_planner::control::SqlError;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// An answer that waits for the other processes.
pub(crate) struct Everywhere {
    answer: Answer,
    roster: watch::Receiver<Roster>,
    own: String,
    revision: i64,
}

impl Everywhere {
    pub(super) fn give(self, result: Result<Value, SqlError>) {
        let Self { answer, roster, own, revision } = self;
        if result.is_err() {
            return answer.give(result);
        }
        tokio::spawn(async move {
            let result = match wait_for_all(roster, own, revision).await {
                Ok(()) => result,
                Err(late) => late_ones(&answer, result, &late),
            };
            answer.give(result);
        });
    }
}

/// The change is made; some do not use it yet.
fn late_ones(
    answer: &Answer,
    result: Result<Value, SqlError>,
    late: &[String],
) -> Result<Value, SqlError> {
    let warning = format!("these processes do not use the change yet: {}", late.join(", "));
    tracing::warn!("{warning}");
    match (answer, result) {
        (Answer::Task(_), _) => Err(general(warning)),
        (_, Ok(Value::Object(mut map))) => {
            map.insert("warning".to_owned(), json!(warning));
            Ok(Value::Object(map))
        }
        (_, result) => result,
    }
}

impl Owner {
    /// Where several processes use the store, this one joins them.
    pub(super) fn meet_peers(&mut self) {
        let store = self.world.store().map(Arc::clone);
        self.views.change(|view| view.store = store);
        let Some(etcd) = self
            .world
            .store()
            .and_then(|store| store.etcd())
            .map(Arc::clone)
        else {
            return;
        };
        let cell = self.config.options.cell.clone();
        let peers = Peers::start(&etcd, cell, self.world.revision, self.sender.clone());
        let cores = self.config.cores;
        peers.say(|process| process.cores = cores);
        self.views.change(|view| {
            view.roster = Some(peers.watch());
            view.process = peers.id().to_owned();
        });
        self.peers = Some(peers);
    }

    /// Does this process act for all? Alone on its topology it does.
    pub(super) fn leads(&self) -> bool {
        self.peers.as_ref().is_none_or(Peers::leads)
    }

    /// The answer, given when every process uses this revision.
    pub(super) fn everywhere(&self, revision: i64, answer: Answer) -> Answer {
        match &self.peers {
            Some(peers) => Answer::Everywhere(Box::new(Everywhere {
                answer,
                roster: peers.watch(),
                own: peers.id().to_owned(),
                revision,
            })),
            None => answer,
        }
    }

    /// The store has changed.
    pub(super) fn told(&mut self, state: State) {
        let (edits, reading) = self.world.load(state);
        let owner = self.sender.clone();
        tokio::spawn(async move {
            let loaded = reading.await;
            let _ = owner
                .send(Command::Loaded { edits, loaded, why: Reload::Told })
                .await;
        });
    }

    /// Reads what somebody else has written, without waiting to be told.
    pub(super) fn catch_up(&mut self) {
        let Some((edits, reading)) = self.world.reload() else { return };
        let owner = self.sender.clone();
        tokio::spawn(async move {
            let loaded = reading.await;
            let _ = owner
                .send(Command::Loaded { edits, loaded, why: Reload::Told })
                .await;
        });
    }

    /// Says to the others that all cores use a revision, once they do and `parts` have come.
    pub(super) fn say_used(&mut self, revision: i64, mut parts: Vec<oneshot::Receiver<()>>) {
        let Some(peers) = &self.peers else { return };
        let about = peers.about();
        let (tell, told) = oneshot::channel();
        parts.push(told);
        self.pending.answer(Answer::Part(tell), super::done());
        tokio::spawn(async move {
            for part in parts {
                let _ = part.await;
            }
            uses(&about, revision);
        });
    }

    pub(super) fn roster_changed(&mut self) {
        self.serve_requests();
        self.pending.shown = true;
        let away = self
            .peers
            .as_ref()
            .is_none_or(|peers| peers.roster().away.is_some());
        if away {
            // It ends when the topology has been read again, not before.
            self.fleet.cut_off = true;
            self.pending.serving = true;
        } else {
            for keyspace in std::mem::take(&mut self.fleet.untold) {
                self.tell_tables(keyspace, None);
            }
        }
    }

    /// Tables of a keyspace were changed through this process.
    pub(super) fn tables_changed(&mut self, keyspace: &str, answer: Answer) {
        match self.peers {
            Some(_) => self.tell_tables(keyspace.to_owned(), Some(answer)),
            None => self.read_columns(keyspace, vec![answer]),
        }
    }

    pub(super) fn tell_tables(&self, keyspace: String, answer: Option<Answer>) {
        let Some(peers) = &self.peers else { return };
        let (etcd, owner) = (Arc::clone(&peers.etcd), self.sender.clone());
        tokio::spawn(async move {
            let revision = etcd.schema_changed(&keyspace).await;
            let _ = owner
                .send(Command::Told { keyspace, revision, answer })
                .await;
        });
    }

    pub(super) fn told_tables(
        &mut self,
        keyspace: &str,
        revision: Result<i64, Error>,
        answer: Option<Answer>,
    ) {
        let answer = match revision {
            Ok(revision) => {
                self.world.note_schema(keyspace, revision);
                answer.map(|answer| self.everywhere(revision, answer))
            }
            Err(e) => {
                // The tables are changed all the same.
                tracing::error!(keyspace, "other processes hear of the tables' change later: {e}");
                self.fleet.untold.insert(keyspace.to_owned());
                answer
            }
        };
        if let Some(answer) = answer {
            self.read_columns(keyspace, vec![answer]);
        }
    }
}
