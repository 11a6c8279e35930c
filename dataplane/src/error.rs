//! What can go wrong on this side, split by whose fault it is; each kind has its MySQL error.
use coregate_planner::control::SqlError;
use coregate_protocol::{ProtocolError, codes};
use std::io;

/// The data plane cannot start on this machine or with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// One sentence: what is missing and what to do.
    #[error("{0}")]
    IoUring(String),
    #[error("cannot listen on {address}: {error}")]
    Listen { address: String, error: io::Error },
    #[error("TLS: {0}")]
    Tls(String),
    #[error("cannot start a core: {0}")]
    Core(String),
}

impl StartError {
    /// Is the configuration at fault, rather than the machine?
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Tls(_) => true,
            Self::Listen { error, .. } => error.kind() == io::ErrorKind::AddrNotAvailable,
            Self::IoUring(_) | Self::Core(_) => false,
        }
    }
}

/// Says in one sentence why io_uring cannot be set up and what to do.
pub(crate) fn explain_io_uring(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => "io_uring is not allowed here: set the sysctl \
            kernel.io_uring_disabled to 0, and in a container allow io_uring_setup, io_uring_enter \
            and io_uring_register in the seccomp profile"
            .into(),
        Some(libc::ENOSYS) => "this kernel has no io_uring: Linux 5.15 or later, built with \
            CONFIG_IO_URING, is needed"
            .into(),
        Some(libc::EINVAL) => "this kernel's io_uring is too old: Linux 5.15 or later is \
            needed"
            .into(),
        Some(libc::ENOMEM) => "not enough lockable memory for io_uring: raise the limit with \
            `ulimit -l 65536` or LimitMEMLOCK= of the systemd unit"
            .into(),
        _ => format!("io_uring cannot be set up: {error}"),
    }
}

/// The server's limit of connections: of all, of an account, of an account's resources.
pub(crate) const OUT_OF_CONNECTIONS: [u16; 3] =
    [codes::ER_CON_COUNT_ERROR, codes::ER_TOO_MANY_USER_CONNECTIONS, codes::ER_USER_LIMIT_REACHED];

/// A backend did not do what was asked. Whether the statement took effect is unknown only for
/// [`Self::Lost`].
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum BackendError {
    #[error("no primary serves this shard at the moment; see SHOW TABLETS")]
    NoTablet,
    #[error(
        "the shard has no replica of the tablet type that USE has chosen; choose another with USE \
            <keyspace>@primary, or see SHOW TABLETS"
    )]
    NoReplica,
    #[error(
        "all {size} connections of a core to {tablet} were busy for {ms} ms; raise \
            pool.size_per_core or look for long transactions"
    )]
    WaitTimeout { tablet: String, size: usize, ms: u64 },
    #[error(
        "{waiters_max} statements wait for a connection to {tablet} already; raise \
            pool.waiters_max or lower the load"
    )]
    QueueFull { tablet: String, waiters_max: usize },
    /// The server is not to be used any more: another serves the shard, or will.
    #[error("the shard's tablet is being replaced by another; repeat the statement")]
    Moved,
    /// Statements wait while a primary is replaced; not this one.
    #[error("the shard's primary is being replaced by another server: {why}")]
    Moving { why: String },
    #[error("cannot connect to {tablet}: {why}")]
    Unreachable { tablet: String, why: String },
    /// The connection broke after the statement was sent.
    #[error("Lost connection to {tablet} during query: {why}")]
    Lost { tablet: String, why: String },
    /// The server's own error.
    #[error("{message}")]
    Refused { code: u16, sqlstate: [u8; 5], message: String },
    #[error("the server's answer cannot be understood: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("{0}")]
    Local(String),
    /// Servers before MySQL 5.7 and MariaDB 10.2 have no COM_RESET_CONNECTION: a new connection
    /// must do.
    #[error("the server cannot reset a connection")]
    CannotReset,
}

impl From<StartError> for BackendError {
    fn from(error: StartError) -> Self {
        Self::Local(error.to_string())
    }
}

impl BackendError {
    /// Does the server have no connection to give, for the moment?
    pub(crate) fn is_out_of_connections(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if OUT_OF_CONNECTIONS.contains(code))
    }

    /// As a client is told. Codes from 2000 on are the clients' own: libraries take an error packet
    /// that has one for malformed.
    pub(crate) fn to_sql(&self) -> SqlError {
        let (code, sqlstate) = match self {
            Self::Refused { code, sqlstate, .. } => (*code, *sqlstate),
            Self::NoTablet
            | Self::NoReplica
            | Self::Moved
            | Self::Moving { .. }
            | Self::WaitTimeout { .. }
            | Self::QueueFull { .. } => (codes::ER_CON_COUNT_ERROR, *b"08004"),
            Self::Unreachable { .. } => (codes::ER_CONNECT_TO_FOREIGN_DATA_SOURCE, *b"HY000"),
            Self::Lost { .. } => (codes::ER_NET_READ_ERROR, *b"08S01"),
            Self::Protocol(_) | Self::Local(_) | Self::CannotReset => {
                (codes::ER_UNKNOWN_ERROR, *b"HY000")
            }
        };
        SqlError { code, sqlstate, message: self.to_string() }
    }
}

/// Makes an error in MySQL's form.
pub(crate) fn sql_error(code: u16, message: impl Into<String>) -> SqlError {
    SqlError { code, sqlstate: codes::sqlstate(code), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_servers() {
        let (tablet, why) = ("a-1".to_owned(), "why".to_owned());
        for error in [
            BackendError::NoTablet,
            BackendError::Unreachable { tablet: tablet.clone(), why: why.clone() },
            BackendError::Lost { tablet, why },
            BackendError::CannotReset,
        ] {
            let told = error.to_sql();
            assert!((1000..2000).contains(&told.code), "{told:?}");
            assert_eq!(told.message, error.to_string());
        }
    }
}
