//! Is this machine fit for Coregate, how should cores be pinned, and what do deployments look like.
#![forbid(unsafe_code)]

mod cgroup;
pub mod check;
pub mod deploy;
pub mod layout;
mod root;
#[cfg(test)]
mod testing;

pub use cgroup::Limits;
pub use root::Root;
