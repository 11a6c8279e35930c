//! Is this machine fit: each finding with its state, why it matters, and the command that mends it.
mod cpu;
mod kernel;
mod limits;
mod network;

use crate::root::Root;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Good,
    /// Worth knowing; nothing to do.
    Note,
    /// It costs something.
    Warn,
    /// Coregate cannot run like this.
    Fail,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, a name for scripts.
    pub name: &'static str,
    pub state: State,
    /// What was found.
    pub text: String,
    /// Why it matters; empty where all is well.
    pub why: &'static str,
    /// A command, or what to write where.
    pub fix: String,
}

impl Finding {
    fn good(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, state: State::Good, text: text.into(), why: "", fix: String::new() }
    }

    fn of(
        state: State,
        name: &'static str,
        text: impl Into<String>,
        why: &'static str,
        fix: impl Into<String>,
    ) -> Self {
        Self { name, state, text: text.into(), why, fix: fix.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:4} {:14} {}", self.state.name(), self.name, self.text)?;
        if !self.why.is_empty() {
            write!(f, "\n{:20}{}", "", self.why)?;
        }
        if !self.fix.is_empty() {
            write!(f, "\n{:20}-> {}", "", self.fix)?;
        }
        Ok(())
    }
}

/// All checks, in order.
pub fn run(root: &Root) -> Vec<Finding> {
    let mut findings = vec![kernel::version(root), kernel::io_uring(root)];
    findings.extend(kernel::seccomp(root));
    findings.extend(limits::all(root));
    findings.extend(cpu::all(root));
    findings.extend(network::all(root));
    findings
}

/// For the start of `serve`: what is wrong, as lines of the log. What only costs something is for
/// `tune check` to say, but for limits that clients would run into.
pub fn warn_at_start() {
    let root = Root::default();
    let findings = [kernel::version(&root), kernel::io_uring(&root)]
        .into_iter()
        .chain(limits::all(&root));
    for finding in findings {
        match finding.state {
            State::Good | State::Note => {}
            State::Warn => tracing::warn!("{}: {}: {}", finding.name, finding.text, finding.fix),
            State::Fail => tracing::error!("{}: {}: {}", finding.name, finding.text, finding.fix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_that_is_not_good_says_why_and_what_to_do() {
        let findings = run(&Root::default());
        assert!(findings.len() >= 8, "{findings:?}");
        for finding in findings {
            assert!(!finding.text.is_empty());
            if finding.state >= State::Warn {
                assert!(!finding.why.is_empty() && !finding.fix.is_empty(), "{finding}");
            }
        }
    }
}
