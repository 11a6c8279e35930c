//! Files for deployments, to be printed and adapted.

/// A systemd unit.
pub const UNIT: &str = include_str!("deploy/coregate.service");

/// A Kubernetes pod with Coregate beside an application.
pub const SIDECAR: &str = include_str!("deploy/sidecar.yaml");

/// Coregate as a service of its own: Deployment, Service, PodDisruptionBudget.
pub const DEPLOYMENT: &str = include_str!("deploy/deployment.yaml");

/// A seccomp profile, for containers whose runtime forbids io_uring.
pub const SECCOMP: &str = include_str!("deploy/seccomp.json");
