//! Target strings: what `USE` and a connection's database may say.
use crate::error::PlanError;
use crate::snapshot::{KeyspaceIdx, ShardIdx, Snapshot, TabletKind};

/// A target string, understood. Parts that it does not name are `None` and stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParsedTarget {
    pub keyspace: Option<KeyspaceIdx>,
    pub shard: Option<ShardIdx>,
    pub tablet_kind: Option<TabletKind>,
}

/// Reads `ks`, `ks:shard`, `ks/shard`, each with `@type`, and `@type` alone.
///
/// # Errors
/// [`PlanError::UnknownDatabase`], [`PlanError::UnknownShard`], [`PlanError::UnknownTabletType`].
pub fn parse_target(text: &str, snapshot: &Snapshot) -> Result<ParsedTarget, PlanError> {
    let (place, kind) = match text.rsplit_once('@') {
        Some((place, kind)) => (place, Some(tablet_kind(kind)?)),
        None => (text, None),
    };
    let (name, shard) = match place.split_once([':', '/']) {
        Some((name, shard)) => (name, Some(shard)),
        None => (place, None),
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
    let shard = match shard {
        None => None,
        Some(wanted) => {
            let found = keyspace
                .shards
                .iter()
                .zip(0u16..)
                .find(|(s, _)| s.name.eq_ignore_ascii_case(wanted));
            let unknown = || PlanError::UnknownShard { keyspace: name.to_owned(), shard: wanted.to_owned() };
            Some(found.ok_or_else(unknown)?.1)
        }
    };
    Ok(ParsedTarget { keyspace: Some(index), shard, tablet_kind: kind })
}

fn tablet_kind(text: &str) -> Result<TabletKind, PlanError> {
    match text.to_ascii_lowercase().as_str() {
        "primary" | "master" => Ok(TabletKind::Primary),
        "replica" => Ok(TabletKind::Replica),
        "rdonly" | "batch" => Ok(TabletKind::Rdonly),
        _ => Err(PlanError::UnknownTabletType(text.to_owned())),
    }
}
