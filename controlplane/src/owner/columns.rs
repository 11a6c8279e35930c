//! Reading the tables' columns: a task for each keyspace, at most one at a time. Whoever asks while
//! one runs gets another reading after it, because the one that runs may have begun too early.
use super::{Answer, Owner, done};
use crate::Error;
use crate::plane::Command;
use crate::schema::Reading;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Tables are read again after so long at the latest.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Where a statement that changes tables was interrupted.
const LOOK_SOON: Duration = Duration::from_secs(2);
/// Or after so many times as long as reading them takes.
const LOOK_SHARE: u32 = 50;

#[derive(Default)]
pub(super) struct Readers {
    running: BTreeMap<String, Reader>,
    rounds: u64,
    /// When tables are looked at again, whether anybody says that they have changed or not.
    due: BTreeMap<String, Instant>,
    /// Those that are looked at again soon.
    doubted: BTreeSet<String>,
}

struct Reader {
    round: u64,
    since: Instant,
    /// Nobody has asked for it.
    looks: bool,
    answers: Vec<Answer>,
    /// Those who came later.
    next: Vec<Answer>,
    again: bool,
}

impl Owner {
    /// Has a keyspace's tables read; `answers` are given when the cores use what was read.
    pub(super) fn read_columns(&mut self, keyspace: &str, answers: Vec<Answer>) {
        self.read_tables(keyspace, answers, false);
    }

    /// Looks whether tables were changed past this process: by another one that could not tell, or
    /// straight on the servers.
    pub(super) fn look_at_tables(&mut self) {
        let now = Instant::now();
        let due: Vec<String> = self
            .world
            .keyspaces
            .keys()
            .filter(|name| !self.readers.running.contains_key(*name))
            .filter(|name| {
                *self
                    .readers
                    .due
                    .entry((*name).clone())
                    .or_insert(now + LOOK_AGAIN)
                    <= now
            })
            .cloned()
            .collect();
        for keyspace in due {
            self.read_tables(&keyspace, Vec::new(), true);
        }
    }

    /// A change may have taken effect, or may do so a little later.
    pub(super) fn look_at(&mut self, keyspace: &str) {
        self.read_tables(keyspace, Vec::new(), true);
        self.readers.doubted.insert(keyspace.to_owned());
    }

    fn read_tables(&mut self, keyspace: &str, answers: Vec<Answer>, looks: bool) {
        if let Some(reader) = self.readers.running.get_mut(keyspace) {
            reader.next.extend(answers);
            reader.again = true;
            return;
        }
        let Some(reading) = self.world.read_columns(keyspace) else {
            return answers
                .into_iter()
                .for_each(|answer| self.pending.answer(answer, done()));
        };
        self.readers.rounds += 1;
        let round = self.readers.rounds;
        let since = Instant::now();
        let reader = Reader { round, since, looks, answers, next: Vec::new(), again: false };
        self.readers.running.insert(keyspace.to_owned(), reader);
        let (owner, keyspace) = (self.sender.clone(), keyspace.to_owned());
        tokio::spawn(async move {
            let reading = reading.await;
            let _ = owner
                .send(Command::Columns { keyspace, round, reading })
                .await;
        });
    }

    /// What is being read is of a topology that is no more.
    pub(super) fn forget_readings(&mut self) {
        for reader in self.readers.running.values_mut() {
            reader.round = 0;
            reader.again = true;
        }
    }

    pub(super) fn columns(&mut self, keyspace: &str, round: u64, reading: Result<Reading, Error>) {
        let Some(mut reader) = self.readers.running.remove(keyspace) else { return };
        if reader.round == round {
            let changed = self
                .world
                .take_columns(keyspace, reading)
                .unwrap_or_else(|e| {
                    // The statement itself has succeeded; plans go by the old columns until the
                    // server is back.
                    tracing::error!(keyspace, "the tables' columns cannot be read again: {e}");
                    true
                });
            if changed && reader.looks {
                tracing::info!(keyspace, "its tables have been changed by others");
                if self.peers.is_some() {
                    self.tell_tables(keyspace.to_owned(), None);
                }
            }
            self.pending.catalog |= changed || !reader.looks;
            let taken = Instant::now().saturating_duration_since(reader.since);
            let again = if self.readers.doubted.remove(keyspace) { LOOK_SOON } else { LOOK_AGAIN };
            let pause = again.max(taken.saturating_mul(LOOK_SHARE));
            self.readers
                .due
                .insert(keyspace.to_owned(), Instant::now() + pause);
            for answer in reader.answers.drain(..) {
                self.pending.answer(answer, done());
            }
        }
        if reader.again {
            reader.answers.append(&mut reader.next);
            self.read_columns(keyspace, reader.answers);
        }
    }
}
