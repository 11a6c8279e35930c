//! Which core serves a new client. The kernel spreads connections by a hash of their addresses: of
//! few connections one core may get most. Whoever accepts one gives it to the core with the fewest,
//! unless its own has about as few ([decision 18](../../docs/decisions/0018-spreading-clients.md)).
use crate::core::Shared;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A core may have one part in so many more than the one with the fewest: where there are many,
/// moving one helps nobody.
const TOLERANCE: usize = 8;

/// Clients of each core; touched when one comes or goes.
#[derive(Debug)]
pub(crate) struct Seats(Vec<AtomicUsize>);

impl Seats {
    pub(crate) fn new(cores: usize) -> Self {
        Self((0..cores).map(|_| AtomicUsize::new(0)).collect())
    }

    fn taken(&self, core: u16) -> usize {
        self.0
            .get(usize::from(core))
            .map_or(0, |seats| seats.load(Ordering::Relaxed))
    }

    pub(crate) fn total(&self) -> usize {
        self.0
            .iter()
            .map(|seats| seats.load(Ordering::Relaxed))
            .sum()
    }

    /// The core for a client that `own` has accepted.
    fn choose(&self, own: u16) -> u16 {
        let cores = (0..self.0.len()).filter_map(|core| u16::try_from(core).ok());
        let Some((fewest, core)) = cores.map(|core| (self.taken(core), core)).min() else {
            return own;
        };
        if self.taken(own) <= fewest + fewest / TOLERANCE { own } else { core }
    }
}

/// A client's place on a core, free again when this is dropped.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    pub(crate) core: u16,
}

impl Seat {
    pub(crate) fn take(shared: &Arc<Shared>, own: u16) -> Self {
        let core = shared.seats.choose(own);
        if let Some(seats) = shared.seats.0.get(usize::from(core)) {
            seats.fetch_add(1, Ordering::Relaxed);
        }
        Self { shared: Arc::clone(shared), core }
    }
}

impl Seat {
    /// On this core, whoever else is there.
    pub(crate) fn at(shared: &Arc<Shared>, core: u16) -> Self {
        if let Some(seats) = shared.seats.0.get(usize::from(core)) {
            seats.fetch_add(1, Ordering::Relaxed);
        }
        Self { shared: Arc::clone(shared), core }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(seats) = self.shared.seats.0.get(usize::from(self.core)) {
            seats.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that all come to one core, or by chance.
    fn spread(
        cores: usize,
        clients: usize,
        comes_to: impl Fn(usize) -> u16,
    ) -> (usize, usize, usize) {
        let seats = Seats::new(cores);
        let mut moved = 0;
        for n in 0..clients {
            let own = comes_to(n);
            let core = seats.choose(own);
            moved += usize::from(core != own);
            seats.0[usize::from(core)].fetch_add(1, Ordering::Relaxed);
        }
        let counts = || seats.0.iter().map(|s| s.load(Ordering::Relaxed));
        (counts().min().unwrap(), counts().max().unwrap(), moved)
    }

    #[test]
    fn few_are_spread_evenly_and_many_nearly() {
        assert_eq!(spread(2, 8, |_| 0), (4, 4, 4));
        let (least, most, _) = spread(2, 1024, |_| 1);
        assert!(most - least <= 1024 / 2 / TOLERANCE, "{least} {most}");
        // As the kernel's hash: hardly any must be moved.
        let (least, most, moved) = spread(2, 1024, |n| ((n * 2_654_435_761) >> 7) as u16 % 2);
        assert!(most - least <= 64 && moved < 64, "{least} {most} {moved}");
        assert_eq!(spread(4, 8, |n| (n % 2) as u16).1, 2);
        assert_eq!(spread(1, 5, |_| 0), (5, 5, 0));
    }
}
