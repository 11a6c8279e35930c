//! What a statement needs beyond the shards' rows, one shard's after another's.

bitflags::bitflags! {
    /// What stands against answering it by each shard alone.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub(super) struct Needs: u8 {
        /// The statement's own ORDER BY.
        const ORDER = 1;
        /// Its own LIMIT.
        const LIMIT = 1 << 1;
        const DISTINCT = 1 << 2;
        /// GROUP BY by columns whose groups have rows on several shards.
        const GROUP = 1 << 3;
        /// Aggregates, or HAVING, over all rows.
        const AGGREGATE = 1 << 4;
        /// Rows of several shards meet in another way: one server must see all of them.
        const MEET = 1 << 5;
        /// What it does to the server that runs it cannot be done by several.
        const ALONE = 1 << 6;
    }
}

/// The needs that are found, and the first one in words.
#[derive(Debug, Default)]
pub(super) struct Broken {
    pub(super) needs: Needs,
    pub(super) why: String,
    /// The first of those that cannot be met.
    pub(super) never: Option<String>,
}

impl Broken {
    pub(super) fn add(&mut self, need: Needs, why: &str) {
        if self.needs.is_empty() {
            why.clone_into(&mut self.why);
        }
        if need.contains(Needs::ALONE) && self.never.is_none() {
            self.never = Some(why.to_owned());
        }
        self.needs |= need;
    }

    /// In words, if anything is needed.
    pub(super) fn why(&self) -> Option<String> {
        (!self.needs.is_empty()).then(|| self.why.clone())
    }
}
