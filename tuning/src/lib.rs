//! Is this machine fit for Coregate, how should cores be pinned, and what do deployments look like.
#![forbid(unsafe_code)]

pub mod check;
pub mod deploy;
pub mod layout;
