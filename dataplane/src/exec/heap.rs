//! Which shard has the next row: a binary heap over the rows that the shards stand at.
use super::key::{Keys, Value, Values};
use std::cmp::Ordering;

/// A shard's current row: its keys, by reference to the row's bytes that the caller gives again for
/// each comparison.
#[derive(Default)]
pub(crate) struct Heap {
    /// Shards in heap order: none comes before its parent.
    order: Vec<usize>,
    /// The keys of each shard's row.
    values: Vec<Values>,
}

impl Heap {
    pub(crate) fn new(shards: usize) -> Self {
        Self { order: Vec::with_capacity(shards), values: vec![Values::new(); shards] }
    }

    /// Where the keys of a shard's next row go.
    pub(crate) fn values_mut(&mut self, shard: usize) -> Option<&mut Values> {
        self.values.get_mut(shard)
    }

    pub(crate) fn values(&self, shard: usize) -> &[Value] {
        self.values
            .get(shard)
            .map_or(&[], |values| values.as_slice())
    }

    /// The shard whose row comes first.
    pub(crate) fn first(&self) -> Option<usize> {
        self.order.first().copied()
    }

    /// A shard has its first row.
    pub(crate) fn add<'r>(&mut self, shard: usize, keys: &Keys, row: impl Fn(usize) -> &'r [u8]) {
        self.order.push(shard);
        let mut at = self.order.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.is_before(at, parent, keys, &row) {
                break;
            }
            self.order.swap(at, parent);
            at = parent;
        }
    }

    /// The first shard stands at another row now.
    pub(crate) fn replaced<'r>(&mut self, keys: &Keys, row: impl Fn(usize) -> &'r [u8]) {
        let mut at = 0;
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.order.len() && self.is_before(child, least, keys, &row) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.order.swap(at, least);
            at = least;
        }
    }

    /// The first shard has no more rows.
    pub(crate) fn ended<'r>(&mut self, keys: &Keys, row: impl Fn(usize) -> &'r [u8]) {
        if !self.order.is_empty() {
            self.order.swap_remove(0);
            self.replaced(keys, row);
        }
    }

    /// Equal rows come in the order of their shards.
    fn is_before<'r>(
        &self,
        a: usize,
        b: usize,
        keys: &Keys,
        row: &impl Fn(usize) -> &'r [u8],
    ) -> bool {
        let (Some(&a), Some(&b)) = (self.order.get(a), self.order.get(b)) else { return false };
        let order = keys.compare(usize::MAX, (self.values(a), row(a)), (self.values(b), row(b)));
        order.then(a.cmp(&b)) == Ordering::Less
    }
}
