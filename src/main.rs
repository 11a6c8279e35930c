//! The `coregate` program: reads the command line and the configuration, and wires the planes
//! together.
mod cli;
mod config;
mod ctl;
mod explain;
mod grants;
mod handover;
mod local;
mod logging;
mod migration;
mod notify;
mod serve;
mod tables;
mod topo;
mod tune;
mod upstream;
mod vttest;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

/// What a command ends with, other than well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Bad usage or configuration: code 2.
    #[error("{0}")]
    Usage(String),
    /// A signal asked for the end before all was up: as good an end as any.
    #[error("stopped by a signal")]
    Interrupted,
    /// All else: code 1.
    #[error("{0}")]
    Failed(String),
}

impl From<coregate_controlplane::Error> for Failure {
    fn from(error: coregate_controlplane::Error) -> Self {
        match error {
            coregate_controlplane::Error::Interrupted => Self::Interrupted,
            usage if usage.is_usage() => Self::Usage(usage.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<coregate_benches::Error> for Failure {
    fn from(error: coregate_benches::Error) -> Self {
        match error {
            coregate_benches::Error::Usage(why) => Self::Usage(why),
            coregate_benches::Error::Failed(why) => Self::Failed(why),
        }
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(*args),
        Command::Local(args) => local::run(*args),
        Command::Ctl(args) => ctl::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Bench { what } => coregate_benches::run(&what).map_err(Failure::from),
        Command::Topo { what } => topo::run(&what),
        Command::Tune { what } => tune::run(&what),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Interrupted) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("coregate: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { 1 })
        }
    }
}
