//! What the kernel lacks or forbids: one sentence each, with what to do.
use std::fmt;
use std::fs;

/// What the fallbacks of Coregate's rings need.
const LEAST_KERNEL: (u32, u32) = (5, 15);

/// From here on there are no fallbacks: deferred task work, multishot accepts and receives, buffer rings.
const FULL_KERNEL: (u32, u32) = (6, 1);

/// From here on a core can wait for several answers at once (`min_wait_usec`).
const GOOD_KERNEL: (u32, u32) = (6, 12);

/// Locked memory that the executors' rings may need, in bytes.
const MEMLOCK: u64 = 8 << 20;

/// Open files for 10,000 clients and the servers' side.
const FILES: u64 = 16_384;

const BACKLOG: u64 = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub good: bool,
    /// Coregate cannot run like this.
    pub fatal: bool,
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self {
            Self { good: true, .. } => "ok  ",
            Self { fatal: true, .. } => "FAIL",
            _ => "warn",
        };
        write!(f, "{mark} {}", self.text)
    }
}

fn good(text: impl Into<String>) -> Finding {
    Finding { good: true, fatal: false, text: text.into() }
}

fn warn(text: impl Into<String>) -> Finding {
    Finding { good: false, fatal: false, text: text.into() }
}

fn fatal(text: impl Into<String>) -> Finding {
    Finding { good: false, fatal: true, text: text.into() }
}

/// All checks, in order.
pub fn run() -> Vec<Finding> {
    let mut findings = vec![kernel(), io_uring(), memlock(), files()];
    findings.extend([somaxconn(), governor()].into_iter().flatten());
    findings
}

/// For the start of `serve`: only what is wrong, as warnings in the log.
pub fn warn_at_start() {
    for finding in run().into_iter().filter(|f| !f.good) {
        if finding.fatal {
            tracing::error!("{}", finding.text);
        } else {
            tracing::warn!("{}", finding.text);
        }
    }
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let named = |(major, minor): (u32, u32)| format!("{major}.{minor}");
    match parse_release(release) {
        None => warn("the kernel's version cannot be read from /proc/sys/kernel/osrelease"),
        Some(v) if v < LEAST_KERNEL => {
            fatal(format!("kernel {release} is too old: {} or newer is needed", named(LEAST_KERNEL)))
        }
        Some(v) if v < FULL_KERNEL => warn(format!(
            "kernel {release}: Coregate falls back to more system calls and wake-ups than from {} on",
            named(FULL_KERNEL)
        )),
        Some(v) if v < GOOD_KERNEL => warn(format!(
            "kernel {release}: from {} on a core can take several answers at one wake-up, which costs less CPU",
            named(GOOD_KERNEL)
        )),
        Some(_) => good(format!("kernel {release}")),
    }
}

/// Makes a ring, as the data plane will; which features it has is for that to find out.
fn io_uring() -> Finding {
    let made: std::io::Result<io_uring::IoUring> = io_uring::IoUring::builder().build(8);
    let Err(error) = made else { return good("io_uring can be used") };
    let sysctl = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let sysctl = sysctl.trim();
    match error.kind() {
        _ if matches!(sysctl, "1" | "2") => fatal(format!(
            "io_uring is switched off: kernel.io_uring_disabled is {sysctl}; run sysctl -w kernel.io_uring_disabled=0"
        )),
        std::io::ErrorKind::PermissionDenied => fatal(
            "io_uring is forbidden, most likely by the container's seccomp profile: allow io_uring_setup, io_uring_enter and \
             io_uring_register (coregate tune manifest shows how)",
        ),
        std::io::ErrorKind::Unsupported => {
            fatal("this kernel has no io_uring: one with CONFIG_IO_URING is needed")
        }
        std::io::ErrorKind::OutOfMemory => {
            fatal("io_uring gets no memory: raise the limit of locked memory (ulimit -l, LimitMEMLOCK)")
        }
        _ => fatal(format!("io_uring cannot be used: {error}")),
    }
}

fn limit(resource: rustix::process::Resource) -> (Option<u64>, Option<u64>) {
    let limit = rustix::process::getrlimit(resource);
    (limit.current, limit.maximum)
}

fn memlock() -> Finding {
    match limit(rustix::process::Resource::Memlock).0 {
        Some(bytes) if bytes < MEMLOCK => warn(format!(
            "locked memory is limited to {} KiB: set LimitMEMLOCK=infinity or ulimit -l to {} KiB at least",
            bytes >> 10,
            MEMLOCK >> 10
        )),
        _ => good("locked memory"),
    }
}

fn files() -> Finding {
    match limit(rustix::process::Resource::Nofile).1 {
        Some(most) if most < FILES => warn(format!(
            "open files are limited to {most} (hard limit): set LimitNOFILE or ulimit -Hn to {FILES} at least"
        )),
        Some(most) => good(format!("open files: {most}")),
        None => good("open files: no limit"),
    }
}

fn somaxconn() -> Option<Finding> {
    let value: u64 = fs::read_to_string("/proc/sys/net/core/somaxconn")
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(if value < BACKLOG {
        warn(format!(
            "net.core.somaxconn is {value}: bursts of clients may be refused; set it to {BACKLOG} at least"
        ))
    } else {
        good(format!("net.core.somaxconn is {value}"))
    })
}

fn governor() -> Option<Finding> {
    let governor = fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").ok()?;
    let governor = governor.trim();
    Some(if governor == "powersave" {
        warn("the CPU governor is powersave: wake-ups are slow; use performance or schedutil")
    } else {
        good(format!("the CPU governor is {governor}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(parse_release("6.18.5-arch1-1"), Some((6, 18)));
        assert_eq!(parse_release("5.10.0"), Some((5, 10)));
        assert_eq!(parse_release("x"), None);
    }

    #[test]
    fn every_finding_is_a_sentence() {
        let findings = run();
        assert!(findings.len() >= 4 && findings.iter().all(|f| !f.text.is_empty()));
    }
}
