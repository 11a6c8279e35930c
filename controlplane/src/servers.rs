//! How the control plane talks to database servers: what they are, and the statements that move a
//! primary.
pub(crate) mod dialect;
pub(crate) mod galera;
pub(crate) mod replication;
pub(crate) mod status;
