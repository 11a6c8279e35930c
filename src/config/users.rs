//! `[users]`: who may log in.
use coregate_dataplane::BackendAuthConfig;
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Users {
    pub(crate) file: Option<PathBuf>,
    pub(crate) auth: Auth,
    /// For so long an account of the servers is as it was read.
    pub(crate) backend_cache_ms: u64,
    /// Logins of a core that read accounts at once.
    pub(crate) backend_checks_max: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Auth {
    /// Whom the file names.
    #[default]
    Static,
    /// The servers' own accounts, too.
    Backend,
}

impl Default for Users {
    fn default() -> Self {
        let data = BackendAuthConfig::default();
        Self {
            file: None,
            auth: Auth::default(),
            backend_cache_ms: data.cache_ms,
            backend_checks_max: data.checks_max,
        }
    }
}

impl Users {
    pub(super) fn check(
        &self,
        between: impl Fn(&str, u64, u64, u64) -> Result<(), String>,
    ) -> Result<(), String> {
        between("users.backend_cache_ms", self.backend_cache_ms, 0, 3_600_000)?;
        let checks = super::size(self.backend_checks_max);
        between("users.backend_checks_max", checks, 1, 1_000)
    }

    /// For the data plane.
    pub(crate) fn backend(&self) -> BackendAuthConfig {
        BackendAuthConfig {
            enabled: self.auth == Auth::Backend,
            cache_ms: self.backend_cache_ms,
            checks_max: self.backend_checks_max,
        }
    }

    /// Could anybody log in?
    pub(crate) fn name_somebody(&self) -> bool {
        self.file.is_some() || self.auth == Auth::Backend
    }
}
