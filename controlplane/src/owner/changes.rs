//! Changes of the topology's records, one after another: each is written to the store by a task,
//! and taken over when it is there.
use super::{Answer, Owner, done};
use crate::Error;
use crate::plane::{Command, Requested};
use crate::store::{Guard, Written};
use crate::world::{Change, Planned, general};
use std::collections::VecDeque;
use std::sync::Arc;

/// How often a change is made anew because somebody else's came first.
const TRIES_MAX: u32 = 10;

#[derive(Default)]
pub(super) struct Changes {
    waiting: VecDeque<Requested>,
    /// One is on its way to the store.
    writes: bool,
    /// One waits for what somebody else has written.
    pub(super) stale: bool,
}

impl Owner {
    /// Makes a change, as soon as those before it are made. Answered when all use it.
    pub(super) fn change(&mut self, change: Change, guard: Option<Guard>, answer: Answer) {
        self.changes
            .waiting
            .push_back(Requested { change, guard, answer, tries: 0 });
        self.next_change();
    }

    pub(super) fn next_change(&mut self) {
        while !self.changes.writes
            && !self.changes.stale
            && let Some(request) = self.changes.waiting.pop_front()
        {
            let planned = match self.world.plan(&request.change) {
                Ok(planned) => planned,
                Err(e) => {
                    self.pending.answer(request.answer, Err(e));
                    continue;
                }
            };
            let Some(store) = self.world.store().map(Arc::clone) else {
                self.made(request, planned, Written { seen: None, revision: 0 });
                continue;
            };
            self.changes.writes = true;
            let owner = self.sender.clone();
            tokio::spawn(async move {
                let (seen, guard) = (planned.seen.as_ref(), request.guard.as_ref());
                let written = store.put(&planned.record, seen, guard).await;
                let written = Command::Written { request: Box::new(request), planned, written };
                let _ = owner.send(written).await;
            });
        }
    }

    pub(super) fn written(
        &mut self,
        mut request: Requested,
        planned: Planned,
        written: Result<Written, Error>,
    ) {
        self.changes.writes = false;
        match written {
            Ok(written) => self.made(request, planned, written),
            // Of a store that several processes use, what they have written comes by itself.
            Err(Error::Edited(_)) if self.peers.is_some() && request.tries < TRIES_MAX => {
                request.tries += 1;
                self.changes.waiting.push_front(request);
                self.changes.stale = true;
                self.catch_up();
            }
            Err(e) => self.refused(request.answer, e),
        }
        self.next_change();
    }

    fn made(&mut self, request: Requested, planned: Planned, written: Written) {
        let (revision, change) = (written.revision, request.change);
        self.world.commit(planned, written);
        self.pending.catalog |= change.is_catalog();
        self.pending.serving = true;
        self.pending.shown = true;
        self.follow_tablets();
        let answer = match change {
            // The others hold their statements until they are told to go on, which is behind this.
            Change::Primary { .. } => request.answer,
            _ => self.everywhere(revision, request.answer),
        };
        self.pending.answer(answer, done());
    }

    /// A task must know what kind of error it is.
    fn refused(&mut self, answer: Answer, e: Error) {
        match answer {
            Answer::Task(tell) => drop(tell.send(Err(e))),
            answer => self.pending.answer(answer, Err(general(e.to_string()))),
        }
    }
}
