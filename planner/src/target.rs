//! stub
use crate::error::PlanError;
use crate::snapshot::*;
pub struct NamedTarget { pub keyspace: Option<KeyspaceIdx>, pub shard: Option<ShardIdx>, pub kind: TabletKind }
pub fn parse_target(name: &str, _: &Snapshot) -> Result<NamedTarget, PlanError> { Err(PlanError::UnknownDatabase(name.into())) }
