//! Where the session reads, if not from primaries.
use super::causal::Causal;
use super::on_replica::OnReplica;
use crate::pool::Chosen;

#[derive(Default)]
pub(super) struct Reads {
    /// Which replicas it stays on, with `USE keyspace@replica`.
    pub(super) replicas: Chosen,
    /// What replicas must have; `None`: whatever they have.
    pub(super) causal: Option<Box<Causal>>,
    /// The settings of replicas' connections.
    pub(super) on_replica: Option<Box<OnReplica>>,
    /// When the session may have written last, by [`crate::consolidator::Consolidator::now`].
    pub(super) wrote_at: u64,
}
