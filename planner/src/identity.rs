//! Names of shards that outlive a snapshot. Indexes are valid for one snapshot only: a keyspace
//! whose name sorts earlier shifts them. What is kept beyond a statement's planning (a connection
//! in a transaction, a cursor, a wait) is known by these ids.
use ahash::AHashMap;
use std::sync::Arc;

/// A shard, as long as the process lives. One that is removed and made again under the same name is
/// the same shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u32);

/// The ids given so far, by keyspace and shard. Each snapshot carries those of the snapshots before
/// it.
#[derive(Clone, Debug, Default)]
pub struct ShardIds {
    known: Arc<AHashMap<(String, String), ShardId>>,
}

impl ShardIds {
    /// The shard's id; a new one if the shard has none yet.
    pub(crate) fn of(&mut self, keyspace: &str, shard: &str) -> ShardId {
        let key = (keyspace.to_owned(), shard.to_owned());
        if let Some(id) = self.known.get(&key) {
            return *id;
        }
        // Each id keeps two names in memory, which is full long before the numbers are used up.
        let id = ShardId(u32::try_from(self.known.len()).unwrap_or(u32::MAX));
        Arc::make_mut(&mut self.known).insert(key, id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_whatever_comes_and_goes() {
        let mut ids = ShardIds::default();
        let (main, shop) = (ids.of("main", "0"), ids.of("shop", "0"));
        assert_ne!(main, shop);
        let mut later = ids.clone();
        let earlier_name = later.of("aaa", "0");
        assert!(earlier_name != main && earlier_name != shop);
        assert_eq!((later.of("main", "0"), later.of("shop", "0")), (main, shop));
        assert_ne!(later.of("shop", "-80"), shop);
    }
}
