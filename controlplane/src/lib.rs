//! The control plane: one thread that keeps the topology, reads the servers' schemas, watches their
//! health, publishes snapshots to the cores and answers the admin API. It is never between a client
//! and its rows: when it is gone, queries go on.
//!
//! [`ControlPlane::start`] prepares everything that the data plane needs to start (and for
//! `coregate local` starts the database servers), [`ControlPlane::attach`] connects the two,
//! [`ControlPlane::join`] waits for the end.
#![forbid(unsafe_code)]

pub mod admin;
mod analysis;
mod audit;
mod backend;
mod backfill;
mod error;
mod files;
mod fleet;
mod gtid;
mod health;
pub mod local;
mod missing;
mod owner;
mod plane;
mod probe;
mod reparent;
mod resolver;
mod schema;
mod servers;
mod signals;
mod sql;
mod store;
mod tables;
mod tls;
pub mod topo;
pub mod topology;
pub mod users;
mod view;
mod world;

pub use admin::AdminDoor;
pub use error::Error;
pub use fleet::{Durability, Options};
pub use health::{Health, State, Trouble};
pub use plane::{Config, ControlPlane, Source};
pub use store::{EtcdAccess, EtcdConfig};
pub use tls::TlsClient;
pub use topology::Upstream;
