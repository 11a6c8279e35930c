//! Sessions that go from one process to the next, as the threads see them that carry them over.
use crate::plane::DataPlane;
use crate::session::{Departure, MovedSession};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Sessions of this process that would go to another.
pub struct Leaving {
    plane: DataPlane,
    offers: mpsc::Receiver<Departure>,
}

/// One of them. It stays, unless it is said to be gone.
pub struct Offer(Departure);

impl Leaving {
    /// Asks all sessions that rest whether they can go.
    pub fn ask(&self) {
        self.plane.on_all(
            |core| {
                let handles: Vec<_> = core.sessions.borrow().values().cloned().collect();
                handles.iter().for_each(|handle| handle.ask_to_move(core));
            },
            |_| {},
        );
    }

    /// Those that can: `max` at most, and as many as come within this time.
    pub fn take(&self, max: usize, patience: Duration) -> Vec<Offer> {
        let until = Instant::now() + patience;
        let mut taken = Vec::new();
        while taken.len() < max {
            let left = until.saturating_duration_since(Instant::now());
            match self.offers.recv_timeout(left) {
                Ok(departure) => taken.push(Offer(departure)),
                Err(_) => break,
            }
        }
        taken
    }
}

impl Drop for Leaving {
    /// Whoever has offered himself since stays.
    fn drop(&mut self) {
        let shared = &self.plane.shared;
        *shared
            .departures
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Offer {
    pub fn session(&self) -> &MovedSession {
        &self.0.session
    }

    pub fn connection(&self) -> BorrowedFd<'_> {
        self.0.connection.as_fd()
    }

    /// It is the other process's from now on.
    pub fn is_gone(self) {
        self.0.decide(true);
    }
}

/// A session of another process that is announced here.
pub struct Landing {
    plane: DataPlane,
    core: u16,
    id: u32,
    decided: bool,
}

impl DataPlane {
    /// From now on, sessions can go.
    pub fn let_sessions_go(&self) -> Leaving {
        let (door, offers) = mpsc::channel();
        *self
            .shared
            .departures
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(door);
        Leaving { plane: self.clone(), offers }
    }

    /// Announces a session of another process. `None`: it cannot come.
    pub fn announce(&self, session: MovedSession, connection: OwnedFd) -> Option<Landing> {
        let cores = u32::try_from(self.shared.inboxes.len()).unwrap_or(1).max(1);
        let id = session.id;
        // Its id says which core has it.
        let core = u16::try_from(id.wrapping_sub(1) % cores).unwrap_or(0);
        let (told, answer) = mpsc::channel();
        self.shared.inbox(core).post(move |own| {
            let announced = own.arrivals.announce(own, session, connection);
            // If nobody hears it, it is forgotten with its `Landing`.
            let _ = told.send(announced);
        });
        let landing = Landing { plane: self.clone(), core, id, decided: false };
        match answer.recv() {
            Ok(true) => Some(landing),
            _ => None,
        }
    }
}

impl Landing {
    /// The other process has let it go.
    pub fn comes(mut self) {
        self.decide(true);
    }

    fn decide(&mut self, comes: bool) {
        self.decided = true;
        let id = self.id;
        self.plane
            .shared
            .inbox(self.core)
            .post(move |core| core.arrivals.decide(core, id, comes));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.decided {
            self.decide(false);
        }
    }
}
