//! What relaying costs: the data ring against other ways to move bytes. See
//! `docs/decisions/0001-data-ring.md`.
#![forbid(unsafe_code)]
use std::process::ExitCode;

fn main() -> ExitCode {
    coregate_benches::ring::main()
}
