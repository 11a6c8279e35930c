//! The load harness behind `coregate bench`: puts load on MySQL endpoints over the real protocol,
//! and measures what it costs the process in the middle.
//!
//! Two habits decide whether such figures mean anything, and both are kept here. Every process that
//! is measured runs in a session of its own (`setsid`), as a service does: Linux's autogroup
//! scheduling makes a proxy that shares its load generator's session look two to three times
//! cheaper. And targets take turns (A B A B), so that a slow minute of the machine does not fall on
//! one of them; ratios between neighbours in time are worth more than absolute figures.
#![forbid(unsafe_code)]

mod args;
mod compare;
mod conn;
mod drive;
mod endpoint;
mod error;
mod idle;
mod machine;
mod mysql_url;
mod out;
mod process;
mod report;
#[doc(hidden)]
pub mod ring;
mod server;
mod settings;
mod table;
mod work;

pub use args::Command;
pub use error::Error;
pub use mysql_url::MysqlUrl;

/// Runs one of the harness's commands, and prints what it finds to stdout.
///
/// # Errors
/// [`Error::Usage`] for arguments that make no sense, else what went wrong with a target.
pub fn run(command: &Command) -> Result<(), Error> {
    match command {
        Command::Compare(args) => compare::compare(args),
        Command::Point(args) => compare::point(args),
        Command::Idle(args) => idle::run(args),
    }
}
