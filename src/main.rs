//! The `coregate` program: reads the command line and the configuration, and wires the planes together.
mod cli;
mod config;
mod ctl;
mod dataplane_stub;
mod explain;
mod local;
mod logging;
mod serve;
mod tune;
mod upstream;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

/// What a command ends with, other than well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Bad usage or configuration: code 2.
    #[error("{0}")]
    Usage(String),
    /// All else: code 1.
    #[error("{0}")]
    Failed(String),
}

impl From<coregate_controlplane::Error> for Failure {
    fn from(error: coregate_controlplane::Error) -> Self {
        if error.is_usage() { Self::Usage(error.to_string()) } else { Self::Failed(error.to_string()) }
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(*args),
        Command::Local(args) => local::run(*args),
        Command::Ctl(args) => ctl::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Bench(args) => bench(&args.args),
        Command::Tune { what } => tune::run(&what),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("coregate: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { 1 })
        }
    }
}

/// HOOK: `coregate-benches` takes over here when it has the load harness.
fn bench(_args: &[String]) -> Result<(), Failure> {
    Err(Failure::Failed("bench: the load harness is not built in yet".to_owned()))
}
