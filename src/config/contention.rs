//! What keeps clients from taking connections from each other: `[hot_row_protection]`
//! and `[consolidator]`, with the names of Vitess's tablets.
use coregate_dataplane::{ConsolidatorConfig, ConsolidatorMode, HotRowConfig, HotRowMode};
use serde::Deserialize;

/// `[hot_row_protection]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HotRowProtection {
    pub(crate) mode: Mode,
    /// Transactions about one row that run or wait, on one core.
    pub(crate) max_queue_size: usize,
    /// Transactions that wait, on one core.
    pub(crate) max_global_queue_size: usize,
    /// Transactions about one row that run at once, on one core.
    pub(crate) max_concurrency: usize,
    pub(crate) wait_timeout_ms: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    #[default]
    Disable,
    Enable,
    #[serde(rename = "dryRun", alias = "dry_run")]
    DryRun,
}

impl Default for HotRowProtection {
    fn default() -> Self {
        let data = HotRowConfig::default();
        Self {
            mode: Mode::default(),
            max_queue_size: data.queue_max,
            max_global_queue_size: data.global_queue_max,
            max_concurrency: data.concurrency_max,
            wait_timeout_ms: data.wait_timeout_ms,
        }
    }
}

impl HotRowProtection {
    pub(super) fn check(
        &self,
        between: impl Fn(&str, u64, u64, u64) -> Result<(), String>,
    ) -> Result<(), String> {
        let all = super::size(self.max_global_queue_size);
        between("hot_row_protection.max_queue_size", super::size(self.max_queue_size), 1, 1 << 20)?;
        between("hot_row_protection.max_global_queue_size", all, 1, 1 << 20)?;
        let at_once = super::size(self.max_concurrency);
        between("hot_row_protection.max_concurrency", at_once, 1, 100_000)?;
        between("hot_row_protection.wait_timeout_ms", self.wait_timeout_ms, 1, 3_600_000)
    }

    /// For the data plane.
    pub(crate) fn config(&self) -> HotRowConfig {
        HotRowConfig {
            mode: match self.mode {
                Mode::Disable => HotRowMode::Disable,
                Mode::Enable => HotRowMode::Enable,
                Mode::DryRun => HotRowMode::DryRun,
            },
            queue_max: self.max_queue_size,
            global_queue_max: self.max_global_queue_size,
            concurrency_max: self.max_concurrency,
            wait_timeout_ms: self.wait_timeout_ms,
        }
    }
}

/// A share: more than nothing of all.
pub(super) fn check_share(key: &str, share: f64) -> Result<(), String> {
    match share > 0.0 && share <= 1.0 {
        true => Ok(()),
        false => {
            Err(format!("{key} = {share}: it must be more than 0, up to 1, which is no limit"))
        }
    }
}

/// `[consolidator]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ConsolidatorSection {
    pub(crate) mode: Sharing,
    /// Bytes of an answer that others may get.
    pub(crate) query_size: usize,
    /// Bytes of all such answers of a core.
    pub(crate) total_size: usize,
    /// Reads of a core that wait for another's answer.
    pub(crate) waiter_cap: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sharing {
    #[default]
    Disable,
    Enable,
    #[serde(rename = "notOnPrimary", alias = "not_on_primary")]
    NotOnPrimary,
}

impl Default for ConsolidatorSection {
    fn default() -> Self {
        let data = ConsolidatorConfig::default();
        Self {
            mode: Sharing::default(),
            query_size: data.query_bytes_max,
            total_size: data.total_bytes_max,
            waiter_cap: data.waiters_max,
        }
    }
}

impl ConsolidatorSection {
    pub(super) fn check(
        &self,
        between: impl Fn(&str, u64, u64, u64) -> Result<(), String>,
    ) -> Result<(), String> {
        between("consolidator.query_size", super::size(self.query_size), 1 << 10, 1 << 30)?;
        between("consolidator.total_size", super::size(self.total_size), 1 << 10, 1 << 36)?;
        between("consolidator.waiter_cap", super::size(self.waiter_cap), 1, 1_000_000)
    }

    /// For the data plane.
    pub(crate) fn config(&self) -> ConsolidatorConfig {
        ConsolidatorConfig {
            mode: match self.mode {
                Sharing::Disable => ConsolidatorMode::Disable,
                Sharing::Enable => ConsolidatorMode::Enable,
                Sharing::NotOnPrimary => ConsolidatorMode::NotOnPrimary,
            },
            query_bytes_max: self.query_size,
            total_bytes_max: self.total_size,
            waiters_max: self.waiter_cap,
        }
    }
}
