//! Reading the tables' columns: a task for each keyspace, at most one at a time. Whoever asks while one runs gets another reading
//! after it, because the one that runs may have begun too early.
use super::{Answer, Owner, done};
use crate::Error;
use crate::plane::Command;
use crate::schema::Reading;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Readers {
    running: BTreeMap<String, Reader>,
    rounds: u64,
}

#[derive(Default)]
struct Reader {
    round: u64,
    answers: Vec<Answer>,
    /// Those who came later.
    next: Vec<Answer>,
    again: bool,
}

impl Owner {
    /// Has a keyspace's tables read; `answers` are given when the cores use what was read.
    pub(super) fn read_columns(&mut self, keyspace: &str, answers: Vec<Answer>) {
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
        let reader = Reader { round, answers, ..Reader::default() };
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
            if let Err(e) = self.world.take_columns(keyspace, reading) {
                // The statement itself has succeeded; plans go by the old columns until the server is back.
                tracing::error!(keyspace, "the tables' columns cannot be read again: {e}");
            }
            self.pending.catalog = true;
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
