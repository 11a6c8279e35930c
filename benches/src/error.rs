//! What can go wrong with a measurement.
use std::fmt::Display;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Arguments that make no sense.
    #[error("{0}")]
    Usage(String),
    /// A target cannot be reached, answers wrongly, or a program is missing.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    pub(crate) fn failed(what: impl Display, why: impl Display) -> Self {
        Self::Failed(format!("{what}: {why}"))
    }
}
