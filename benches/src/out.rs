//! What is said on standard output: whoever reads may have seen enough.
use std::io::Write;

pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // The report's file, and the exit code, say the same.
    let _ = writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush());
}
