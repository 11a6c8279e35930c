//! What serves, out of the topology and the tablets' health.
use super::World;
use crate::fleet::Fleet;
use crate::topology::{KeyspaceRecord, Kind, ShardRecord};
use coregate_planner::serving::{Serving, ShardServing, TabletServing, TabletState, Writes};
use coregate_planner::snapshot::Snapshot;

impl World {
    /// For the shards of a snapshot.
    pub(crate) fn serving(&self, snapshot: &Snapshot, fleet: &Fleet, version: u64) -> Serving {
        let mut serving = Serving { version, drop_in: self.drop_in.clone(), ..Serving::default() };
        for keyspace in &snapshot.keyspaces {
            let Some(known) = self.keyspaces.get(&keyspace.name) else { continue };
            for shard in &keyspace.shards {
                let Some(record) = known.record.shards.iter().find(|s| s.name == shard.name) else {
                    continue;
                };
                let of_shard = ShardServing {
                    keyspace: keyspace.name.clone(),
                    shard: shard.name.clone(),
                    database: keyspace.database.clone(),
                    tablets: self.tablets_of(&known.record, record, fleet),
                    writes: writes(&known.record, record, fleet),
                };
                serving.shards.insert(shard.id, of_shard);
            }
        }
        serving
    }

    fn tablets_of(
        &self,
        keyspace: &KeyspaceRecord,
        shard: &ShardRecord,
        fleet: &Fleet,
    ) -> Vec<TabletServing> {
        let Some(known) = self.keyspaces.get(&keyspace.name) else { return Vec::new() };
        let of = |record: &crate::topology::TabletRecord| {
            let tablet = known.tablets.get(&record.alias)?;
            let health = fleet.health(&record.alias);
            let serves = health.is_none_or(|h| h.serves());
            Some(TabletServing {
                tablet: tablet.clone(),
                type_name: record.kind.name(),
                state: if serves { TabletState::Serving } else { TabletState::NotServing },
                readable: record.kind.serves().is_some()
                    && health.is_none_or(|h| h.serves() && !fleet.lags(h)),
                near: fleet
                    .options
                    .cell
                    .as_deref()
                    .is_none_or(|cell| cell == record.cell()),
                weight: record.weight.unwrap_or(1),
                primary_since: (record.kind == Kind::Primary)
                    .then(|| shard.primary_since.clone())
                    .flatten(),
            })
        };
        shard.tablets.iter().filter_map(of).collect()
    }
}

/// Statements wait for another primary only where one can be promoted by itself.
fn writes(keyspace: &KeyspaceRecord, shard: &ShardRecord, fleet: &Fleet) -> Writes {
    let candidates = shard.tablets.iter().any(|t| t.kind.is_candidate());
    let mut primaries = shard.tablets.iter().filter(|t| t.kind == Kind::Primary);
    let deposed = primaries.any(|t| fleet.is_deposed(&t.alias));
    match deposed || fleet.is_moving(&keyspace.name, &shard.name) {
        true => Writes::Moving,
        false if fleet.options.recovers && !fleet.disabled && candidates => Writes::Guarded,
        false => Writes::Open,
    }
}
