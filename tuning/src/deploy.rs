//! Files for deployments, to be printed and adapted.

/// A systemd unit.
pub const UNIT: &str = include_str!("deploy/coregate.service");

/// A Kubernetes pod with Coregate as a sidecar.
pub const MANIFEST: &str = include_str!("deploy/sidecar.yaml");
