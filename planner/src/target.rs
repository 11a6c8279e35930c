//! Target strings: what `USE` and a connection's database may say.
use crate::error::PlanError;
use crate::keyrange::{compare_ids, from_hex};
use crate::snapshot::{KeyRange, Keyspace, KeyspaceIdx, ShardIdx, Snapshot, TabletKind};

/// A target string, understood. Parts that it does not name are `None` and stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParsedTarget {
    /// The keyspace before `:`, `/` or `[`.
    pub keyspace: Option<KeyspaceIdx>,
    /// The one shard that is named, or that a keyspace id lies in.
    pub shard: Option<ShardIdx>,
    /// Shards that were named as a range, but not all: the first and the last of them. If it is
    /// one, `shard` has it, too.
    pub range: Option<(ShardIdx, ShardIdx)>,
    /// What stands behind `@`.
    pub tablet_kind: Option<TabletKind>,
}

/// What a range of keyspace ids stands for.
enum Within {
    One(ShardIdx),
    Some(ShardIdx, ShardIdx),
    All,
}

/// Reads `ks`, `ks:shard`, `ks/shard`, `ks[range]` and `ks[keyspace id]`, each with `@type`, and
/// `@type` alone.
///
/// # Errors
/// [`PlanError::UnknownDatabase`], [`PlanError::UnknownShard`], [`PlanError::UnknownTabletType`];
/// [`PlanError::Unsupported`] for a range that ends within a shard.
pub fn parse_target(text: &str, snapshot: &Snapshot) -> Result<ParsedTarget, PlanError> {
    let (place, kind) = match text.rsplit_once('@') {
        Some((place, kind)) => (place, Some(tablet_kind(kind)?)),
        None => (text, None),
    };
    let within = place
        .strip_suffix(']')
        .and_then(|place| place.split_once('['));
    let (name, shard) = match (place.split_once([':', '/']), within) {
        (_, Some((name, _))) => (name, None),
        (Some((name, shard)), None) => (name, Some(shard)),
        (None, None) => (place, None),
    };
    if name.is_empty() {
        return match (shard, kind) {
            (None, Some(_)) => Ok(ParsedTarget { tablet_kind: kind, ..ParsedTarget::default() }),
            _ => Err(PlanError::UnknownDatabase(text.to_owned())),
        };
    }
    let mut all = snapshot.keyspaces.iter().zip(0u16..);
    let (keyspace, index) = all
        .find(|(k, _)| k.name == name)
        .ok_or_else(|| PlanError::UnknownDatabase(name.to_owned()))?;
    let (shard, range) = match shard {
        None => match within.map(|(_, wanted)| shards_within(keyspace, wanted)) {
            None => (None, None),
            Some(found) => match found? {
                Within::One(shard) => (Some(shard), None),
                Within::Some(first, last) if first == last => (Some(first), Some((first, last))),
                Within::Some(first, last) => (None, Some((first, last))),
                Within::All => (None, None),
            },
        },
        Some(wanted) => {
            let found = keyspace
                .shards
                .iter()
                .zip(0u16..)
                .find(|(s, _)| s.name.eq_ignore_ascii_case(wanted));
            let unknown =
                || PlanError::UnknownShard { keyspace: name.to_owned(), shard: wanted.to_owned() };
            (Some(found.ok_or_else(unknown)?.1), None)
        }
    };
    Ok(ParsedTarget { keyspace: Some(index), shard, range, tablet_kind: kind })
}

/// The shards that a range of keyspace ids, or a single one, means.
fn shards_within(keyspace: &Keyspace, wanted: &str) -> Result<Within, PlanError> {
    let unknown =
        || PlanError::UnknownShard { keyspace: keyspace.name.clone(), shard: wanted.to_owned() };
    let shards = || keyspace.shards.iter().zip(0u16..);
    if !wanted.contains('-') {
        let id = from_hex(wanted)
            .filter(|id| !id.is_empty())
            .ok_or_else(unknown)?;
        let found = shards().find(|(shard, _)| shard.range.contains(&id));
        return Ok(Within::One(found.ok_or_else(unknown)?.1));
    }
    let range = KeyRange::parse(wanted).map_err(|_| unknown())?;
    let same_end = |a: &[u8], b: &[u8]| a.is_empty() == b.is_empty() && compare_ids(a, b).is_eq();
    let first = shards().find(|(shard, _)| compare_ids(&shard.range.start, &range.start).is_eq());
    let last = shards().find(|(shard, _)| same_end(&shard.range.end, &range.end));
    match (first, last) {
        (Some((_, one)), Some(_)) if keyspace.shards.len() == 1 => Ok(Within::One(one)),
        (Some((_, 0)), Some((_, last))) if usize::from(last) + 1 == keyspace.shards.len() => {
            Ok(Within::All)
        }
        (Some((_, first)), Some((_, last))) if first <= last => Ok(Within::Some(first, last)),
        _ => Err(PlanError::Unsupported(format!(
            "keyrange {wanted} does not exactly match shards; SHOW SHARDS lists the shards"
        ))),
    }
}

fn tablet_kind(text: &str) -> Result<TabletKind, PlanError> {
    match text.to_ascii_lowercase().as_str() {
        "primary" | "master" => Ok(TabletKind::Primary),
        "replica" => Ok(TabletKind::Replica),
        "rdonly" | "batch" => Ok(TabletKind::Rdonly),
        _ => Err(PlanError::UnknownTabletType(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vschema::{Keyspace, KeyspaceSpec, SnapshotBuilder};

    #[test]
    fn shards_are_named_in_every_way() {
        let spec = |name, shards: &[&str], json: &str| {
            KeyspaceSpec::new(name, shards, Keyspace::from_json(json).unwrap())
        };
        let none = |_: &str| Err(String::new());
        let sharded = spec("ks", &["-40", "40-80", "80-"], r#"{"sharded": true}"#);
        let builder = SnapshotBuilder::new(1).keyspace(sharded, &none).unwrap();
        let snapshot = builder
            .keyspace(spec("one", &["0"], "{}"), &none)
            .unwrap()
            .build();
        for (text, shard) in [
            ("ks", None),
            ("ks:40-80", Some(1)),
            ("ks/80-@replica", Some(2)),
            ("ks[-40]", Some(0)),
            ("ks[00-40]", Some(0)),
            ("ks[40-80]@replica", Some(1)),
            ("ks[4000-80]", Some(1)),
            ("ks[80-]", Some(2)),
            ("ks[3f]", Some(0)),
            ("ks[40]", Some(1)),
            ("ks[FFFF]", Some(2)),
            ("ks[-]", None),
            ("ks[00-]", None),
            ("one[-]", Some(0)),
            ("one[12]", Some(0)),
        ] {
            let found = parse_target(text, &snapshot).unwrap();
            assert_eq!(found.shard, shard, "{text}");
            let range = shard.filter(|_| text.starts_with("ks[") && text.contains('-'));
            assert_eq!(found.range, range.map(|shard| (shard, shard)), "{text}");
        }
        for (text, range) in [
            ("ks[-80]", (0, 1)),
            ("ks[40-]", (1, 2)),
            ("ks[0000-8000]@replica", (0, 1)),
            ("ks[4000-]", (1, 2)),
        ] {
            let found = parse_target(text, &snapshot).unwrap();
            assert_eq!((found.shard, found.range), (None, Some(range)), "{text}");
        }
        for text in ["ks[20-30]", "ks[-20]", "ks[40-c0]", "one[-80]"] {
            let error = parse_target(text, &snapshot).unwrap_err();
            assert!(matches!(error, PlanError::Unsupported(_)), "{text}: {error}");
        }
        for text in ["ks[]", "ks[x]", "ks[1-2-3]", "ks[4"] {
            assert!(parse_target(text, &snapshot).is_err(), "{text}");
        }
    }
}
