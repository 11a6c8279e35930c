//! From keyspace ids to shards. Ids and bounds compare as if padded with zeros on the right, as in Vitess.
use crate::snapshot::{KeyRange, Keyspace, ShardIdx};
use std::cmp::Ordering;

/// Compares two keyspace ids.
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let common = a.len().min(b.len());
    let (head_a, tail_a) = a.split_at(common);
    let (head_b, tail_b) = b.split_at(common);
    head_a.cmp(head_b).then_with(|| {
        let a_more = tail_a.iter().any(|&b| b != 0);
        let b_more = tail_b.iter().any(|&b| b != 0);
        a_more.cmp(&b_more)
    })
}

/// Does the range hold the id? An empty end is unbounded.
pub fn contains(range: &KeyRange, id: &[u8]) -> bool {
    compare(id, &range.start).is_ge() && (range.end.is_empty() || compare(id, &range.end).is_lt())
}

fn overlap(a: &KeyRange, b: &KeyRange) -> bool {
    (a.end.is_empty() || compare(&b.start, &a.end).is_lt())
        && (b.end.is_empty() || compare(&a.start, &b.end).is_lt())
}

/// The shard that holds a keyspace id.
pub fn shard_of(keyspace: &Keyspace, id: &[u8]) -> Option<ShardIdx> {
    let after = keyspace
        .shards
        .partition_point(|s| compare(&s.range.start, id).is_le());
    let index = after.checked_sub(1)?;
    let shard = keyspace.shards.get(index)?;
    contains(&shard.range, id).then(|| u16::try_from(index).ok())?
}

/// The shards that hold some id of a range, in order.
pub fn shards_of<'a>(keyspace: &'a Keyspace, range: &'a KeyRange) -> impl Iterator<Item = ShardIdx> + 'a {
    let shards = keyspace.shards.iter().zip(0u16..);
    shards
        .filter(move |(s, _)| overlap(&s.range, range))
        .map(|(_, n)| n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Shard;

    fn keyspace(bounds: &[u8]) -> Keyspace {
        let mut starts = vec![vec![]];
        starts.extend(bounds.iter().map(|b| vec![*b]));
        let shards = starts
            .iter()
            .enumerate()
            .map(|(n, start)| Shard {
                name: format!("{n}"),
                range: KeyRange { start: start.clone(), end: starts.get(n + 1).cloned().unwrap_or_default() },
                tablets: vec![],
            })
            .collect();
        Keyspace {
            name: "k".into(),
            database: "k".into(),
            sharded: true,
            shards,
            tables: Default::default(),
            vindexes: Default::default(),
            require_explicit_routing: false,
        }
    }

    #[test]
    fn ids_fall_into_half_open_ranges() {
        let k = keyspace(&[0x40, 0x80]);
        for (id, shard) in [
            (&b""[..], 0),
            (b"\x00", 0),
            (b"\x3f\xff", 0),
            (b"\x40", 1),
            (b"\x40\x00\x00", 1),
            (b"\x7f\xff", 1),
            (b"\x80", 2),
            (b"\xff\xff", 2),
        ] {
            assert_eq!(shard_of(&k, id), Some(shard), "{id:x?}");
        }
        let range = KeyRange { start: vec![0x40], end: vec![0x41] };
        assert_eq!(shards_of(&k, &range).collect::<Vec<_>>(), [1]);
        let range = KeyRange { start: vec![0x30], end: vec![] };
        assert_eq!(shards_of(&k, &range).collect::<Vec<_>>(), [0, 1, 2]);
    }

    proptest::proptest! {
        #[test]
        fn every_id_has_exactly_one_shard(
            mut bounds in proptest::collection::btree_set(1u8..=255, 0..6),
            id in proptest::collection::vec(proptest::num::u8::ANY, 0..10),
        ) {
            let bounds: Vec<u8> = std::mem::take(&mut bounds).into_iter().collect();
            let k = keyspace(&bounds);
            let found = shard_of(&k, &id);
            let holding: Vec<u16> =
                k.shards.iter().zip(0u16..).filter(|(s, _)| contains(&s.range, &id)).map(|(_, n)| n).collect();
            proptest::prop_assert_eq!(holding, found.into_iter().collect::<Vec<_>>());
        }
    }
}
