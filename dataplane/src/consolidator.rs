//! Vitess's consolidator: of several equal reads that run at the same time, one goes to the server,
//! and the others get its answer, byte for byte. On each core for itself; off by default.
use crate::core::Core;
use ahash::AHashMap;
use coregate_protocol::walker::Summary;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ConsolidatorMode {
    #[default]
    Disable,
    Enable,
    /// Of reads from replicas only.
    NotOnPrimary,
}

#[derive(Debug, Clone)]
pub struct ConsolidatorConfig {
    pub mode: ConsolidatorMode,
    /// Bytes of an answer that others may get.
    pub query_bytes_max: usize,
    /// Bytes of all such answers of a core.
    pub total_bytes_max: usize,
    /// Reads of a core that wait for another's answer.
    pub waiters_max: usize,
}

impl Default for ConsolidatorConfig {
    fn default() -> Self {
        Self {
            mode: ConsolidatorMode::Disable,
            query_bytes_max: 2 << 20,
            total_bytes_max: 32 << 20,
            waiters_max: 10_000,
        }
    }
}

type Key = Rc<[u8]>;

/// The reads of a core whose answers others may get.
#[derive(Default)]
pub(crate) struct Consolidator {
    flights: RefCell<AHashMap<Key, Rc<Flight>>>,
    /// Counts what orders reads behind writes.
    clock: Cell<u64>,
    bytes: Cell<usize>,
    waiting: Cell<usize>,
}

/// A read on its way.
pub(crate) struct Flight {
    begun: u64,
    state: Cell<State>,
    bytes: RefCell<Vec<u8>>,
    /// All of the answer is in `bytes`.
    whole: Cell<bool>,
    summary: Cell<Summary>,
    waiting: RefCell<Vec<Waker>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Flies,
    Landed,
    /// Its answer is for its own client only.
    Lost,
}

/// The session whose read goes to the server.
pub(crate) struct Leader {
    core: Rc<Core>,
    key: Key,
    flight: Rc<Flight>,
}

/// A session that gets another's answer.
pub(crate) struct Follower {
    core: Rc<Core>,
    flight: Rc<Flight>,
}

pub(crate) enum Part {
    Leads(Leader),
    Follows(Follower),
}

impl Consolidator {
    /// A moment behind all that came before.
    pub(crate) fn now(&self) -> u64 {
        let now = self.clock.get() + 1;
        self.clock.set(now);
        now
    }

    fn wait(&self, core: &Core, many: usize) {
        self.waiting.set(many);
        core.metrics().consolidation_waiting.set(many as u64);
    }

    /// What a read does that must not get an answer begun before the moment `since`. `None`: it
    /// goes by itself.
    pub(crate) fn part(core: &Rc<Core>, key: Vec<u8>, since: u64) -> Option<Part> {
        let (own, config) = (&core.consolidator, &core.config().consolidator);
        let key: Key = key.into();
        let mut flights = own.flights.borrow_mut();
        if let Some(flight) = flights.get(&key)
            && flight.begun > since
            && flight.state.get() == State::Flies
        {
            if own.waiting.get() >= config.waiters_max {
                return None;
            }
            own.wait(core, own.waiting.get() + 1);
            let flight = Rc::clone(flight);
            return Some(Part::Follows(Follower { core: Rc::clone(core), flight }));
        }
        let flight = Rc::new(Flight {
            begun: own.now(),
            state: Cell::new(State::Flies),
            bytes: RefCell::default(),
            whole: Cell::new(false),
            summary: Cell::new(Summary::default()),
            waiting: RefCell::default(),
        });
        flights.insert(Rc::clone(&key), Rc::clone(&flight));
        Some(Part::Leads(Leader { core: Rc::clone(core), key, flight }))
    }
}

impl Flight {
    /// A part of the answer, as it goes to the leader's client.
    pub(crate) fn copy(&self, core: &Core, part: &[u8], ends: bool) {
        if self.state.get() != State::Flies {
            return;
        }
        let (own, config) = (&core.consolidator, &core.config().consolidator);
        let mut bytes = self.bytes.borrow_mut();
        let all = own.bytes.get() + part.len();
        if bytes.len() + part.len() > config.query_bytes_max || all > config.total_bytes_max {
            drop(bytes);
            return self.lose(core);
        }
        own.bytes.set(all);
        bytes.extend_from_slice(part);
        self.whole.set(ends);
    }

    /// Nobody else gets this answer: those that wait go to the server themselves.
    pub(crate) fn lose(&self, core: &Core) {
        if self.state.get() == State::Flies {
            self.end(core, State::Lost);
        }
    }

    fn end(&self, core: &Core, state: State) {
        self.state.set(state);
        for waker in self.waiting.borrow_mut().drain(..) {
            core.ring.wake(waker);
        }
    }
}

impl Leader {
    pub(crate) fn flight(&self) -> Rc<Flight> {
        Rc::clone(&self.flight)
    }

    /// The leader's client has its answer. What only its connection knows (warnings, errors) is not
    /// for others.
    pub(crate) fn land(self, summary: Option<&Summary>) {
        let flight = &self.flight;
        if flight.state.get() == State::Flies
            && flight.whole.get()
            && let Some(summary) = summary.filter(|s| s.error.is_none() && s.warnings == 0)
        {
            flight.summary.set(*summary);
            flight.end(&self.core, State::Landed);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.flight.lose(&self.core);
        let own = &self.core.consolidator;
        let mut flights = own.flights.borrow_mut();
        if flights
            .get(&self.key)
            .is_some_and(|known| Rc::ptr_eq(known, &self.flight))
        {
            flights.remove(&self.key);
        }
        // Followers hold what they send; it is counted as long as others may join.
        let len = self.flight.bytes.borrow().len();
        own.bytes.set(own.bytes.get().saturating_sub(len));
    }
}

impl Follower {
    /// The answer, or `None`: it must be asked for.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<(Vec<u8>, Summary)>> {
        match self.flight.state.get() {
            State::Flies => {
                let mut waiting = self.flight.waiting.borrow_mut();
                if !waiting.iter().any(|known| known.will_wake(cx.waker())) {
                    waiting.push(cx.waker().clone());
                }
                Poll::Pending
            }
            State::Lost => Poll::Ready(None),
            State::Landed => {
                let bytes = self.flight.bytes.borrow().clone();
                Poll::Ready(Some((bytes, self.flight.summary.get())))
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let own = &self.core.consolidator;
        own.wait(&self.core, own.waiting.get().saturating_sub(1));
    }
}
