//! The sections about the servers' health, replicas, and replacing primaries.
use coregate_controlplane::{Durability, Options};
use coregate_dataplane::Config as Defaults;
use serde::Deserialize;
use std::path::PathBuf;

/// `[health]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Health {
    /// Time between two checks of a server.
    pub(crate) interval_ms: u64,
    /// A check that takes longer has failed; two in a row make the server unreachable.
    pub(crate) timeout_ms: u64,
}

impl Default for Health {
    fn default() -> Self {
        let Options { interval_ms, timeout_ms, .. } = Options::default();
        Self { interval_ms, timeout_ms }
    }
}

/// `[replicas]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Replicas {
    /// One that is further behind is not read from.
    pub(crate) lag_max_ms: u64,
    /// What becomes of reads where no replica may be read from.
    pub(crate) when_none: WhenNone,
    /// How long a replica may take to have what a session has written; 0: it is read from as it is.
    pub(crate) read_after_write_ms: u64,
    /// With failover: time between two heartbeats that are written to each primary; 0: none.
    pub(crate) heartbeat_ms: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WhenNone {
    #[default]
    Error,
    Primary,
}

impl Default for Replicas {
    fn default() -> Self {
        let Options { lag_max_ms, heartbeat_ms, .. } = Options::default();
        Self { lag_max_ms, when_none: WhenNone::default(), read_after_write_ms: 0, heartbeat_ms }
    }
}

/// `[buffer]`: statements that wait while a primary is replaced.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Buffer {
    /// So many may wait at once.
    pub(crate) size: usize,
    /// Of their requests, all together.
    pub(crate) bytes_max: usize,
    /// Each waits at most so long.
    pub(crate) window_ms: u64,
    /// None waits any more when it takes longer.
    pub(crate) max_failover_ms: u64,
    /// After a primary has died, none waits for the next death for so long.
    pub(crate) min_gap_ms: u64,
}

impl Default for Buffer {
    fn default() -> Self {
        let data = Defaults::default();
        Self {
            size: data.buffer_size,
            bytes_max: data.buffer_bytes_max,
            window_ms: data.buffer_window_ms,
            max_failover_ms: data.buffer_failover_max_ms,
            min_gap_ms: data.buffer_gap_min_ms,
        }
    }
}

/// `[failover]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Failover {
    /// Dead primaries are replaced, and replication is repaired.
    pub(crate) enabled: bool,
    pub(crate) durability: Wanted,
    /// A planned move gives transactions so long to end.
    pub(crate) drain_ms: u64,
    /// Catching up with a primary must not take longer.
    pub(crate) catch_up_ms: u64,
    /// A primary that answers, and ends no write for so long, is replaced.
    pub(crate) stall_ms: u64,
    /// Where it is written down what was done; left out: `recoveries.jsonl` in `topology.dir`.
    pub(crate) audit_log: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    None,
    #[default]
    SemiSync,
}

impl Default for Failover {
    fn default() -> Self {
        let Options { drain_ms, catch_up_ms, stall_ms, recovers, .. } = Options::default();
        Self {
            enabled: recovers,
            durability: Wanted::default(),
            drain_ms,
            catch_up_ms,
            stall_ms,
            audit_log: None,
        }
    }
}

impl super::File {
    /// For the control plane.
    pub(crate) fn options(&self) -> Options {
        let durability = match (self.failover.enabled, self.failover.durability) {
            (true, Wanted::SemiSync) => Durability::SemiSync,
            _ => Durability::None,
        };
        Options {
            interval_ms: self.health.interval_ms,
            timeout_ms: self.health.timeout_ms,
            lag_max_ms: self.replicas.lag_max_ms,
            heartbeat_ms: self.replicas.heartbeat_ms,
            cell: self.topology.cell.clone(),
            recovers: self.failover.enabled,
            durability,
            drain_ms: self.failover.drain_ms,
            catch_up_ms: self.failover.catch_up_ms,
            stall_ms: self.failover.stall_ms,
        }
    }

    /// What types alone do not say, of these sections.
    pub(super) fn check_plane(
        &self,
        between: impl Fn(&str, u64, u64, u64) -> Result<(), String>,
    ) -> Result<(), String> {
        let size = u64::try_from(self.buffer.size).unwrap_or(u64::MAX);
        between("health.interval_ms", self.health.interval_ms, 50, 3_600_000)?;
        between("health.timeout_ms", self.health.timeout_ms, 50, 3_600_000)?;
        between("replicas.lag_max_ms", self.replicas.lag_max_ms, 1, 1 << 40)?;
        between("replicas.read_after_write_ms", self.replicas.read_after_write_ms, 0, 86_400_000)?;
        between("replicas.heartbeat_ms", self.replicas.heartbeat_ms, 0, 3_600_000)?;
        between("buffer.size", size, 0, 1_000_000)?;
        let bytes = u64::try_from(self.buffer.bytes_max).unwrap_or(u64::MAX);
        between("buffer.bytes_max", bytes, 1 << 16, 1 << 40)?;
        between("buffer.window_ms", self.buffer.window_ms, 1, 3_600_000)?;
        between("buffer.max_failover_ms", self.buffer.max_failover_ms, 1, 3_600_000)?;
        between("buffer.min_gap_ms", self.buffer.min_gap_ms, 0, 86_400_000)?;
        between("failover.drain_ms", self.failover.drain_ms, 0, 3_600_000)?;
        between("failover.catch_up_ms", self.failover.catch_up_ms, 1, 86_400_000)?;
        between("failover.stall_ms", self.failover.stall_ms, 1_000, 86_400_000)
    }
}
