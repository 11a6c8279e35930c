//! The harness's arguments.
use crate::drive::Protocol;
use crate::endpoint::{Endpoint, Named};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Loads against several targets in turn: CPU, memory, throughput, latency, as ratios with
    /// their spread
    #[command(
        after_help = "Loads: point, skewed, read_only, read_write, update, insert, bulk_insert, \
            large, scatter, join, connect, tpcc, \
        or a file of your own (docs/performance.md).\n\n\
        Examples:\n  coregate bench compare                                    the server itself, \
        HAProxy and Coregate, point selects\n  \
        coregate bench compare --load read_only,my.toml --connections 1,8,32,128 --out report\n  \
        coregate bench compare --target direct=mysql://u:p@10.0.0.1 --target \
        coregate='mysql://u:p@10.0.0.2:3307?pid=7001'\n  \
        coregate bench compare --config report/run.toml           the same run again"
    )]
    Compare(Box<CompareArgs>),
    /// One load against one endpoint; point selects if nothing else is said
    Point(Box<PointArgs>),
    /// Memory that resting connections cost a process
    Idle(IdleArgs),
}

/// The load. What is left out is as the file of --config says, else as stands here.
#[derive(Debug, Clone, Default, Args)]
pub struct LoadArgs {
    /// Which loads, by name or by file [default: point]
    #[arg(long = "load", value_name = "LOAD", value_delimiter = ',')]
    pub(crate) loads: Vec<String>,
    /// How many connections; several numbers for several runs [default: 32]
    #[arg(long, value_name = "N", value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) connections: Vec<u32>,
    /// Connections beside them that rest [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) idle: Option<u32>,
    /// How long a round takes, in seconds [default: 5]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: Option<u64>,
    /// Load before each round that is not measured, in milliseconds [default: 1000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=600_000))]
    pub(crate) warm_up_ms: Option<u64>,
    /// Rows of the harness's tables, which are made when they are missing [default: 100000]
    #[arg(long, value_name = "ROWS",
        value_parser = clap::value_parser!(u32).range(200..=100_000_000))]
    pub(crate) table_size: Option<u32>,
    /// Size of loads with tables of their own: TPC-C's warehouses [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) scale: Option<u32>,
    /// Transactions a second, over all connections; latency then counts from when one was due. Left
    /// out, each connection sends the next when it has its answer (closed loop)
    #[arg(long, value_name = "TPS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// Threads of the load [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) threads: Option<u32>,
    /// CPUs for the threads of the load, in turn [default: any]
    #[arg(long, value_name = "CPU,CPU", value_delimiter = ',')]
    pub(crate) load_cpus: Vec<usize>,
    /// text, prepared, or both [default: both]
    #[arg(
        long = "protocol",
        alias = "queries",
        value_name = "KIND",
        value_enum,
        value_delimiter = ','
    )]
    pub(crate) protocols: Vec<Protocol>,
    /// Writes all figures to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Writes a report to a directory: report.html, report.json, run.toml (the run, to be
    /// repeated), latencies as .hgrm
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CompareArgs {
    /// A run's file, as --out writes it; arguments go before what it says
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A target that runs already: NAME=mysql://user:password@host:port[/database][?pid=PID[,PID]];
    /// may be given several times. The first is what the others are held against. Left out: the
    /// server itself, HAProxy and Coregate, started here
    #[arg(long = "target", value_name = "NAME=URL")]
    pub(crate) targets: Vec<Named>,
    /// The database server behind what is started here: mysql://user:password@host:port[/database].
    /// Left out, a MariaDB is started and thrown away
    #[arg(long, value_name = "URL", conflicts_with = "targets")]
    pub(crate) server: Option<Endpoint>,
    /// Another target beside those that are started here
    #[arg(long, value_name = "NAME=URL", conflicts_with = "targets")]
    pub(crate) also: Vec<Named>,
    /// Rounds; in each, every target has its turn [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: Option<u32>,
    /// Leaves out HAProxy
    #[arg(long)]
    pub(crate) no_haproxy: bool,
    /// Starts a sharded cluster, too, with so many shards on servers of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) shards: Option<u32>,
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
    #[arg(long, value_name = "N", default_value_t = 5_000,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) connections: u32,
}
