//! `[query_log]`: statements that are logged, each with a line of JSON. Off unless a file is named.
use coregate_dataplane::QueryLogConfig;
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QueryLog {
    pub(crate) file: Option<PathBuf>,
    /// Those that take as long; 0: none for that reason.
    pub(crate) slow_ms: u64,
    /// A share of all, whatever they take.
    pub(crate) sample: f64,
    /// With their values, not only their normalised text.
    pub(crate) values: bool,
    pub(crate) bytes_max: u64,
}

impl Default for QueryLog {
    fn default() -> Self {
        Self { file: None, slow_ms: 1_000, sample: 0.0, values: false, bytes_max: 64 << 20 }
    }
}

impl QueryLog {
    pub(super) fn check(
        &self,
        between: impl Fn(&str, u64, u64, u64) -> Result<(), String>,
    ) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.sample) {
            return Err(format!(
                "query_log.sample = {}: it must be 0 to 1, a share of all statements",
                self.sample
            ));
        }
        between("query_log.slow_ms", self.slow_ms, 0, 86_400_000)?;
        between("query_log.bytes_max", self.bytes_max, 1 << 16, 1 << 40)
    }

    /// For the data plane; `None`: nothing is logged.
    pub(crate) fn config(&self) -> Option<QueryLogConfig> {
        Some(QueryLogConfig {
            file: self.file.clone()?,
            slow_ms: self.slow_ms,
            sample: self.sample,
            values: self.values,
            bytes_max: self.bytes_max,
        })
    }
}
