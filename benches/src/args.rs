//! The harness's arguments.
use crate::endpoint::{Endpoint, Named};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Point selects against the server itself, HAProxy and Coregate, in turn: CPU, throughput, latency
    Compare(CompareArgs),
    /// Point selects against one endpoint
    Point(PointArgs),
    /// Memory that resting connections cost a process
    Idle(IdleArgs),
}

/// The load.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// How many connections; each has a thread that sends a query and waits for its answer
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
    /// How long a round takes, in seconds
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
    /// Rows of the table, which is made when it is missing
    #[arg(long, value_name = "ROWS", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(crate) table_size: u32,
    /// Queries a second, over all connections; latency then counts from when a query was due. Left out, each connection
    /// sends the next query when it has its answer (closed loop)
    #[arg(long, value_name = "QPS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// CPUs for the threads of the load, in turn [default: any]
    #[arg(long, value_name = "CPU,CPU", value_delimiter = ',')]
    pub(crate) load_cpus: Vec<usize>,
    /// text, prepared, or both
    #[arg(long, value_name = "KIND", value_enum, value_delimiter = ',', default_values = ["text", "prepared"])]
    pub(crate) queries: Vec<Kind>,
    /// Writes all figures to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// How a point select is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// COM_QUERY
    Text,
    /// COM_STMT_EXECUTE
    Prepared,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Prepared => "prepared",
        }
    }
}

#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The database server: mysql://user:password@host:port[/database]. Left out, a MariaDB is started and thrown away
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<Endpoint>,
    /// Rounds; in each, every target has its turn
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// Another target that runs already: NAME=mysql://user:password@host:port[/database][?pid=PID]; may be given several times
    #[arg(long, value_name = "NAME=URL")]
    pub(crate) also: Vec<Named>,
    /// Leaves out HAProxy
    #[arg(long)]
    pub(crate) no_haproxy: bool,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

#[derive(Debug, Args)]
pub struct PointArgs {
    /// mysql://user:password@host:port[/database][?pid=PID]; with a pid its CPU is measured
    #[arg(long, value_name = "URL")]
    pub(crate) target: Endpoint,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

#[derive(Debug, Args)]
pub struct IdleArgs {
    /// mysql://user:password@host:port[/database]?pid=PID
    #[arg(long, value_name = "URL")]
    pub(crate) target: Endpoint,
    /// How many connections rest
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) connections: u32,
}
