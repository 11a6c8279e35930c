//! stub
use crate::error::PlanError;
use crate::fingerprint::{Fingerprint, SqlMode};
use crate::plan::*;
use crate::snapshot::*;
use bumpalo::Bump;
pub struct PlanInput<'a> { pub sql: &'a [u8], pub fingerprint: &'a Fingerprint, pub snapshot: &'a Snapshot, pub session: &'a SessionContext<'a>, pub arena: &'a Bump, pub prepared: bool }
pub struct SessionContext<'a> { pub keyspace: Option<KeyspaceIdx>, pub database: Option<&'a str>, pub shard: Option<ShardIdx>, pub tablet_kind: TabletKind, pub sql_mode: SqlMode, pub in_transaction: bool, pub autocommit: bool }
pub fn plan(_: &PlanInput<'_>) -> Result<Plan, PlanError> {
    Ok(Plan { action: Action::Route(Route { to: Target::DropIn, combine: Combine::Concat, text: Text::AsIs, tablet_kind: TabletKind::Primary }), class: StatementClass::Select, effects: Effects::empty(), cacheable: true, tables: vec![] })
}
