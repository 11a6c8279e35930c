//! The data plane: one core, one world. Each core owns its listener, its ring of sockets, its
//! sessions, its backend pools and its plan cache; nothing on a query's path is shared with another
//! core.
//!
//! Follow one query: [`listener`] accepts, [`session`] reads the command, `session/plan.rs` finds
//! its plan ([`cache`], or the planner), `session/query.rs` takes a connection from the [`pool`],
//! `session/relay.rs` relays the answer.
mod backend_accounts;
mod backend_tls;
mod buffer;
mod cache;
mod config;
mod consolidator;
mod core;
mod doors;
mod error;
mod exec;
mod executor;
mod gather;
mod hot_rows;
mod inbox;
mod link;
mod listener;
mod metrics;
mod migration;
mod plane;
mod pool;
mod proxy_protocol;
mod query_log;
#[doc(hidden)]
pub mod ring;
mod rsa;
mod seat;
mod sequences;
mod session;
mod settings;
mod shares;
mod timer;
mod tls;
mod unix_socket;

pub use backend_accounts::BackendAuthConfig;
pub use backend_tls::{BackendTlsConfig, BackendTlsFiles, server_name};
pub use config::Config;
pub use consolidator::{ConsolidatorConfig, ConsolidatorMode};
pub use error::StartError;
pub use hot_rows::{HotRowConfig, HotRowMode};
pub use migration::{Landing, Leaving, Offer};
pub use plane::{DataPlane, start};
pub use query_log::QueryLogConfig;
#[doc(hidden)]
pub use rsa::BackendKey;
pub use session::{MovedSession, TransactionMode};
pub use tls::TlsSource;
pub use unix_socket::UnixAddress;
