//! What can go wrong, each in a sentence that says what to do.
use coregate_planner::vschema::VSchemaError;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bad usage or configuration; the program ends with code 2.
    #[error("{0}")]
    Config(String),
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{dir} is in use by another coregate (it holds {dir}/lock); stop that one or give \
        another --dir", dir = .0.display())]
    Locked(PathBuf),
    /// What would be written stands on an older text.
    #[error("{path} has changed since it was read: have it read first (coregate ctl reload, or \
        SIGHUP), then repeat", path = .0.display())]
    Edited(PathBuf),
    /// The store of the topology has not taken it.
    #[error(
        "the topology's store {name} cannot be used: {why}; nothing has changed, repeat it when \
            the store is back"
    )]
    Store { name: String, why: String },
    /// The store has gone away meanwhile.
    #[error(
        "the topology's store {name} has gone away meanwhile: {why}; whether the change is there \
            shows when it is back"
    )]
    Unknown { name: String, why: String },
    #[error("{0}")]
    VSchema(#[from] VSchemaError),
    #[error("the server {address} cannot be reached: {message}")]
    Backend { address: String, message: String },
    /// It answers, with error 1040, 1203 or 1226.
    #[error(
        "the server {address} is out of connections ({message}): raise its max_connections, or \
            lower pool.size_per_core"
    )]
    OutOfConnections { address: String, message: String },
    #[error("{0}")]
    Server(String),
    /// Somebody else's turn.
    #[error("{what} ({by}): repeat it later")]
    Held { what: String, by: String },
    /// The change is made, and not every core uses it yet.
    #[error("the change is made, but a core does not use it yet: {0}")]
    Late(String),
    #[error(
        "the admin address {address} cannot be listened on: {source}; give a free one with --admin"
    )]
    AdminListen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("stopped by a signal before it was ready")]
    Interrupted,
    #[error("the control plane's thread has ended")]
    Gone,
}

impl Error {
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::Config(message.into())
    }

    /// Is the user's input at fault (exit code 2), rather than the machine or a server?
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Config(_) | Self::VSchema(_) => true,
            // No address of this machine's.
            Self::AdminListen { source, .. } => {
                source.kind() == std::io::ErrorKind::AddrNotAvailable
            }
            _ => false,
        }
    }
}
