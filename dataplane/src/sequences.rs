//! Numbers of sequences that this process has taken from their tables and not yet given out.
//!
//! The process takes them in blocks, as many as the table's `cache` says. A core has a part of a
//! block to itself, so that most numbers cost neither a lock nor a round trip; the lock here is
//! taken when that part is used up. A number is never in two places.
use ahash::AHashMap;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A core's part of a block is an eighth of what is there.
const PARTS: u64 = 8;

/// Pieces of blocks that are kept for one sequence; the smallest of more are given up.
const PIECES_MAX: usize = 64;

/// A core's part. It counts as long as the sequence's epoch is the one that it was lent in.
#[derive(Debug)]
struct Lent {
    numbers: Range<u64>,
    epoch: u64,
    current: Arc<AtomicU64>,
}

/// The numbers of one core.
#[derive(Debug, Default)]
pub(crate) struct CoreSequences(RefCell<AHashMap<String, Lent>>);

#[derive(Debug, Default)]
struct Known {
    free: Vec<Range<u64>>,
    /// What each core was lent last.
    lent: AHashMap<u16, Range<u64>>,
    /// All numbers below may have been taken by somebody. A table that says less has lost its
    /// newest state in a failover.
    high: u64,
    /// The table's `cache`, once it was read.
    cache: Option<u64>,
    epoch: Arc<AtomicU64>,
}

/// Of the whole process.
#[derive(Debug, Default)]
pub(crate) struct Sequences(Mutex<AHashMap<String, Known>>);

/// What is known of a sequence before numbers are taken from its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Before {
    pub(crate) high: u64,
    pub(crate) cache: Option<u64>,
    epoch: u64,
}

impl CoreSequences {
    /// The first of so many numbers next to each other; `None`: the table must be asked.
    pub(crate) fn take(&self, all: &Sequences, core: u16, name: &str, count: u64) -> Option<u64> {
        let mut own = self.0.borrow_mut();
        if let Some(lent) = own.get_mut(name)
            && lent.epoch == lent.current.load(Ordering::Acquire)
            && let Some(first) = cut(&mut lent.numbers, count)
        {
            return Some(first);
        }
        let rest = own.remove(name);
        let mut lent = all.lend(core, name, count, rest)?;
        let first = cut(&mut lent.numbers, count);
        own.insert(name.to_owned(), lent);
        first
    }

    /// No number up to this one is given out here any more.
    fn pass(&self, name: &str, number: u64) {
        if let Some(lent) = self.0.borrow_mut().get_mut(name) {
            pass(&mut lent.numbers, number);
        }
    }
}

/// Takes numbers from the front.
fn cut(numbers: &mut Range<u64>, count: u64) -> Option<u64> {
    let first = numbers.start;
    numbers.start = first.checked_add(count).filter(|end| *end <= numbers.end)?;
    Some(first)
}

/// Leaves out what is not behind a number that lies in the range.
fn pass(numbers: &mut Range<u64>, number: u64) {
    if numbers.contains(&number) {
        numbers.start = number + 1;
    }
}

impl Known {
    fn reset(&mut self) {
        self.free.clear();
        self.lent.clear();
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}

impl Sequences {
    fn known(&self) -> MutexGuard<'_, AHashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part for a core, which gives back what is left of its last one.
    fn lend(&self, core: u16, name: &str, count: u64, rest: Option<Lent>) -> Option<Lent> {
        let mut all = self.known();
        let known = all.get_mut(name)?;
        let epoch = known.epoch.load(Ordering::Acquire);
        known.lent.remove(&core);
        if let Some(rest) = rest.filter(|rest| rest.epoch == epoch && !rest.numbers.is_empty()) {
            known.free.push(rest.numbers);
            known.free.sort_by_key(|piece| piece.start);
        }
        let fits = |piece: &Range<u64>| piece.end - piece.start >= count;
        let at = known.free.iter().position(fits)?;
        let piece = known.free.get_mut(at)?;
        let part = count.max((piece.end - piece.start) / PARTS);
        let first = cut(piece, part)?;
        if piece.is_empty() {
            known.free.remove(at);
        }
        let numbers = first..first + part;
        known.lent.insert(core, numbers.clone());
        Some(Lent { numbers, epoch, current: Arc::clone(&known.epoch) })
    }

    /// What must be known to take a block from the table.
    pub(crate) fn before(&self, name: &str) -> Before {
        let mut all = self.known();
        let known = all.entry(name.to_owned()).or_default();
        Before { high: known.high, cache: known.cache, epoch: known.epoch.load(Ordering::Acquire) }
    }

    pub(crate) fn note_cache(&self, name: &str, cache: u64) {
        self.known().entry(name.to_owned()).or_default().cache = Some(cache);
    }

    /// A block that the table has given, and will not give again. Where the sequence was changed
    /// meanwhile, nobody may have it.
    pub(crate) fn add(&self, name: &str, block: Range<u64>, before: Before) {
        let mut all = self.known();
        let known = all.entry(name.to_owned()).or_default();
        if known.epoch.load(Ordering::Acquire) != before.epoch {
            return;
        }
        known.high = known.high.max(block.end);
        match known.free.last_mut() {
            Some(last) if last.end == block.start => last.end = block.end,
            _ => known.free.push(block),
        }
        if known.free.len() > PIECES_MAX {
            let smallest = known
                .free
                .iter()
                .enumerate()
                .min_by_key(|(_, p)| p.end - p.start);
            if let Some((at, _)) = smallest {
                known.free.remove(at);
            }
        }
    }

    /// A statement gives this number by itself: nobody is given it here. `true`: it lies ahead of
    /// the table, as far as that is known, which must go on behind it.
    pub(crate) fn give(&self, own: &CoreSequences, core: u16, name: &str, number: u64) -> bool {
        own.pass(name, number);
        let mut all = self.known();
        let known = all.entry(name.to_owned()).or_default();
        if number >= known.high {
            return true;
        }
        known.free.iter_mut().for_each(|piece| pass(piece, number));
        known.free.retain(|piece| !piece.is_empty());
        if known
            .lent
            .iter()
            .any(|(other, lent)| *other != core && lent.contains(&number))
        {
            known.reset();
        }
        false
    }

    /// The table goes on at this number at least: smaller ones are not given out any more.
    pub(crate) fn moved_on(&self, name: &str, next: u64) {
        let mut all = self.known();
        let known = all.entry(name.to_owned()).or_default();
        known.high = known.high.max(next);
        known.reset();
    }

    /// The table said so.
    pub(crate) fn note_high(&self, name: &str, high: u64) {
        let mut all = self.known();
        let known = all.entry(name.to_owned()).or_default();
        known.high = known.high.max(high);
    }

    /// Somebody has changed tables of sequences by hand: what they say counts.
    pub(crate) fn forget(&self) {
        for known in self.known().values_mut() {
            known.reset();
            known.high = 0;
            known.cache = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(all: &Sequences, numbers: Range<u64>) {
        let before = all.before("s");
        all.add("s", numbers, before);
    }

    #[test]
    fn cores_never_have_the_same_number() {
        let all = Sequences::default();
        let cores: Vec<CoreSequences> = (0..3).map(|_| CoreSequences::default()).collect();
        let mut seen = std::collections::HashSet::new();
        let mut next = 1;
        for round in 0..4000u64 {
            let core = (round % 3) as u16;
            let count = 1 + round % 7;
            let own = &cores[usize::from(core)];
            let first = match own.take(&all, core, "s", count) {
                Some(first) => first,
                None => {
                    block(&all, next..next + 100);
                    next += 100;
                    own.take(&all, core, "s", count).unwrap()
                }
            };
            for number in first..first + count {
                assert!(number < next && seen.insert(number), "{number}");
            }
        }
    }

    #[test]
    fn one_core_alone_counts_without_gaps() {
        let (all, own) = (Sequences::default(), CoreSequences::default());
        for start in [1, 101, 201] {
            block(&all, start..start + 100);
            for number in start..start + 100 {
                assert_eq!(own.take(&all, 0, "s", 1), Some(number));
            }
        }
        assert_eq!(own.take(&all, 0, "s", 1), None);
    }

    #[test]
    fn numbers_that_are_given_are_left_out() {
        let all = Sequences::default();
        let (one, two) = (CoreSequences::default(), CoreSequences::default());
        assert!(all.give(&one, 0, "s", 7), "nothing is known of the table");
        block(&all, 1..81);
        assert_eq!((one.take(&all, 0, "s", 1), two.take(&all, 1, "s", 1)), (Some(1), Some(11)));
        // In the core's own part, in nobody's, in another core's.
        assert!(!all.give(&one, 0, "s", 5));
        assert_eq!(one.take(&all, 0, "s", 1), Some(6));
        assert!(!all.give(&one, 0, "s", 60));
        assert_eq!(one.take(&all, 0, "s", 15), Some(61));
        assert!(!all.give(&one, 0, "s", 15));
        assert_eq!(two.take(&all, 1, "s", 1), None);
        // Ahead of the table.
        block(&all, 81..161);
        assert!(all.give(&one, 0, "s", 161));
        all.moved_on("s", 162);
        assert_eq!((one.take(&all, 0, "s", 1), all.before("s").high), (None, 162));
    }

    #[test]
    fn a_block_from_before_a_change_by_hand_is_not_used() {
        let (all, own) = (Sequences::default(), CoreSequences::default());
        let before = all.before("s");
        all.forget();
        all.add("s", 1..100, before);
        assert_eq!(own.take(&all, 0, "s", 1), None);
    }
}
