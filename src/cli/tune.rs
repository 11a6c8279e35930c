//! `coregate tune`.
use clap::{Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Tune {
    /// What this machine lacks: each finding with why it matters and the command that mends it
    #[command(
        after_help = "Exit code: 0 coregate can run, 1 it cannot; with --strict 1 also where \
            something costs."
    )]
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Findings that only cost something count as failures
        #[arg(long)]
        strict: bool,
        /// Below which directory /proc and /sys are
        #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
        root: PathBuf,
    },
    /// CPUs, NUMA nodes, control groups, and which cores should serve
    #[command(after_help = "Example:\n  coregate tune layout --apply /etc/coregate/coregate.toml")]
    Layout {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Writes the proposal to the section [cores] of a configuration file; all else in it stays
        #[arg(long, value_name = "FILE")]
        apply: Option<PathBuf>,
        /// Below which directory /proc and /sys are
        #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
        root: PathBuf,
    },
    /// A systemd unit
    Unit,
    /// Kubernetes manifests: coregate beside an application, or as a service of its own
    Manifest {
        /// Which one
        #[arg(value_enum, default_value_t = Kind::Sidecar)]
        kind: Kind,
    },
    /// A seccomp profile that allows what coregate needs, io_uring among it, and no more
    Seccomp,
    /// The GRANTs that the servers' account of coregate needs, no more
    Grants {
        /// The account's name, `user` of the tablets
        #[arg(long, default_value = "coregate")]
        user: String,
        /// From where it connects, as MySQL writes it
        #[arg(long, default_value = "%")]
        host: String,
        /// A database of a keyspace; may be given several times
        #[arg(long = "database", value_name = "NAME", required = true)]
        databases: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A pod: the application and coregate in one
    Sidecar,
    /// A Deployment with a Service, a PodDisruptionBudget and its configuration
    Deployment,
}
