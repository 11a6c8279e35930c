//! What a statement is planned with.
use crate::fingerprint::{Fingerprint, SqlMode};
use crate::serving::Serving;
use crate::snapshot::{KeyspaceIdx, ShardIdx, Snapshot, TabletKind};
use bumpalo::Bump;

/// The session's part in what a statement means.
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionContext<'a> {
    /// The one that it has selected.
    pub keyspace: Option<KeyspaceIdx>,
    /// A database that is none of our keyspaces: a system schema, or the drop-in server's.
    pub database: Option<&'a str>,
    /// Chosen with `USE ks:-80`.
    pub shard: Option<ShardIdx>,
    /// The first and the last shard of a range that `USE ks[range]` has chosen.
    pub shards: Option<(ShardIdx, ShardIdx)>,
    /// What `USE ks@replica` has chosen.
    pub tablet_kind: TabletKind,
    /// As far as a text is read by it.
    pub sql_mode: SqlMode,
    /// Plans that go to all shards are refused, unless the statement allows them.
    pub no_scatter: bool,
    /// Numbers from sequences are in the text already, wherever it needs some.
    pub numbered: bool,
    /// The session has `foreign_key_checks = 0`: servers neither check keys nor pass changes on.
    pub foreign_keys_off: bool,
}

/// Everything that decides a plan.
#[derive(Clone, Copy)]
pub struct PlanInput<'a> {
    /// The client's text, whose first statement is planned.
    pub sql: &'a [u8],
    /// What has read that text.
    pub fingerprint: &'a Fingerprint,
    /// The topology and the vschemas to plan with.
    pub snapshot: &'a Snapshot,
    /// For SHOW VITESS_TABLETS only; no other plan depends on it.
    pub serving: Option<&'a Serving>,
    /// What the session has chosen and set.
    pub session: &'a SessionContext<'a>,
    /// For tokens and the syntax tree, which do not outlive the planning.
    pub arena: &'a Bump,
    /// Is the statement prepared, so that `?` are parameters?
    pub prepared: bool,
    /// Are its values known to lie on several shards? Else the plan may be one for a single shard,
    /// and say so with [`PlanError::Several`](crate::PlanError) when it is bound.
    pub split: bool,
}
