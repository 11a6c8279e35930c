//! The kernel, and whether io_uring may be used.
use super::{Finding, State};
use crate::root::Root;
use std::io;

/// What the fallbacks of Coregate's rings need.
const LEAST_KERNEL: (u32, u32) = (5, 15);
/// From here on there are no fallbacks: deferred task work, multishot accepts and receives, buffer
/// rings.
const FULL_KERNEL: (u32, u32) = (6, 1);
/// From here on a core can wait for several answers at once (`min_wait_usec`).
const GOOD_KERNEL: (u32, u32) = (6, 12);

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

pub(super) fn version(root: &Root) -> Finding {
    const NAME: &str = "kernel";
    let release = root.read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let newer = |(major, minor): (u32, u32)| {
        format!("install Linux {major}.{minor} or newer and restart the machine")
    };
    match parse_release(&release) {
        None => Finding::of(
            State::Warn,
            NAME,
            "its version cannot be read",
            "what io_uring can do goes by the kernel's version",
            "mount /proc, or look yourself: uname -r",
        ),
        Some(v) if v < LEAST_KERNEL => Finding::of(
            State::Fail,
            NAME,
            format!("Linux {release} is too old"),
            "io_uring lacks what even the fallbacks need",
            newer(GOOD_KERNEL),
        ),
        Some(v) if v < FULL_KERNEL => Finding::of(
            State::Warn,
            NAME,
            format!("Linux {release}"),
            "fallbacks need more system calls and wake-ups than 6.1 does",
            newer(GOOD_KERNEL),
        ),
        Some(v) if v < GOOD_KERNEL => Finding::of(
            State::Warn,
            NAME,
            format!("Linux {release}"),
            "from 6.12 on a core can take several answers at one wake-up, which costs less CPU",
            newer(GOOD_KERNEL),
        ),
        Some(_) => Finding::good(NAME, format!("Linux {release}")),
    }
}

/// Makes a ring, as the data plane will; of a tree of files, only what they say.
pub(super) fn io_uring(root: &Root) -> Finding {
    const NAME: &str = "io_uring";
    const WHY: &str = "all sockets live on rings";
    let disabled = root
        .number("/proc/sys/kernel/io_uring_disabled")
        .unwrap_or(0);
    let switched_off = || {
        Finding::of(
            State::Fail,
            NAME,
            format!("it is switched off: kernel.io_uring_disabled is {disabled}"),
            WHY,
            "sysctl -w kernel.io_uring_disabled=0 (and a file in /etc/sysctl.d; with 1, \
                kernel.io_uring_group names who may)",
        )
    };
    if !root.is_live() {
        return if disabled == 0 {
            Finding::good(NAME, "not switched off")
        } else {
            switched_off()
        };
    }
    let made: io::Result<io_uring::IoUring> = io_uring::IoUring::builder().build(8);
    let Err(error) = made else { return Finding::good(NAME, "can be used") };
    if disabled > 0 {
        return switched_off();
    }
    let (text, fix) = match error.kind() {
        io::ErrorKind::PermissionDenied => (
            "it is forbidden, most likely by the container's seccomp profile".to_owned(),
            "allow io_uring_setup, io_uring_enter and io_uring_register: coregate tune seccomp \
                prints such a profile",
        ),
        io::ErrorKind::Unsupported => {
            ("this kernel has none".to_owned(), "use a kernel that is built with CONFIG_IO_URING")
        }
        io::ErrorKind::OutOfMemory => (
            "it gets no memory".to_owned(),
            "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit",
        ),
        _ => (format!("it cannot be used: {error}"), "see what the kernel's log says: dmesg"),
    };
    Finding::of(State::Fail, NAME, text, WHY, fix)
}

/// A filter costs a little on every system call; whether it lets io_uring through is seen by making
/// a ring.
pub(super) fn seccomp(root: &Root) -> Option<Finding> {
    let status = root.read("/proc/self/status")?;
    let mode = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"))?;
    Some(match mode.trim() {
        "0" => Finding::good("seccomp", "no filter"),
        _ => Finding::of(
            State::Note,
            "seccomp",
            "a filter is in force",
            "it must allow io_uring_setup, io_uring_enter and io_uring_register",
            "",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    #[test]
    fn versions() {
        assert_eq!(parse_release("6.18.5-arch1-1"), Some((6, 18)));
        assert_eq!(parse_release("x"), None);
        for (release, state) in [
            ("5.10.0", State::Fail),
            ("5.15.0-91-generic", State::Warn),
            ("6.1.0-30-amd64", State::Warn),
            ("6.12.1", State::Good),
            ("7.0", State::Good),
        ] {
            let tree = Tree::new().file("/proc/sys/kernel/osrelease", release);
            assert_eq!(version(&tree.root()).state, state, "{release}");
        }
    }

    #[test]
    fn a_sysctl_that_forbids_rings_is_told_with_its_command() {
        let tree = Tree::new().file("/proc/sys/kernel/io_uring_disabled", "2\n");
        let finding = io_uring(&tree.root());
        assert!(
            finding.state == State::Fail && finding.fix.contains("io_uring_disabled=0"),
            "{finding}"
        );
        let tree = Tree::new().file("/proc/self/status", "Name:\tx\nSeccomp:\t2\n");
        assert_eq!(seccomp(&tree.root()).unwrap().state, State::Note);
    }
}
