//! Limits of the process and of the machine that clients could run into.
use super::{Finding, State};
use crate::root::Root;

/// Locked memory that the executors' rings may need, in bytes.
const MEMLOCK: u64 = 8 << 20;
/// Open files for 10,000 clients and the servers' side.
const FILES: u64 = 16_384;
/// Connections that wait to be accepted.
const BACKLOG: u64 = 1024;
/// Ports for connections to servers.
const PORTS: u64 = 16_384;

pub(super) fn all(root: &Root) -> Vec<Finding> {
    let mut findings = vec![memlock(root), files(root)];
    findings.extend(
        [machine_files(root), somaxconn(root), ports(root)]
            .into_iter()
            .flatten(),
    );
    findings
}

/// Soft and hard limit, as `/proc/self/limits` has them; `None`: no limit.
fn limit(root: &Root, name: &str) -> Option<(Option<u64>, Option<u64>)> {
    let text = root.read("/proc/self/limits")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = line.split_ascii_whitespace().map(|w| w.parse().ok());
    Some((words.next()?, words.next()?))
}

fn memlock(root: &Root) -> Finding {
    const NAME: &str = "locked memory";
    match limit(root, "Max locked memory") {
        Some((Some(bytes), _)) if bytes < MEMLOCK => Finding::of(
            State::Warn,
            NAME,
            format!("limited to {} KiB", bytes >> 10),
            "rings of kernels before 5.12, and buffers that are registered, count against it",
            "LimitMEMLOCK=infinity in the unit, or ulimit -l unlimited",
        ),
        Some((Some(bytes), _)) => Finding::good(NAME, format!("{} MiB", bytes >> 20)),
        _ => Finding::good(NAME, "no limit"),
    }
}

fn files(root: &Root) -> Finding {
    const NAME: &str = "open files";
    // The soft limit is raised to the hard one at the start.
    match limit(root, "Max open files") {
        Some((_, Some(most))) if most < FILES => Finding::of(
            State::Warn,
            NAME,
            format!("limited to {most} (hard limit)"),
            "each client needs a descriptor, and so does each connection to a server; without one, \
                clients wait",
            format!("LimitNOFILE=1048576 in the unit, or ulimit -Hn {FILES} at least"),
        ),
        Some((_, Some(most))) => Finding::good(NAME, most.to_string()),
        _ => Finding::good(NAME, "no limit"),
    }
}

fn machine_files(root: &Root) -> Option<Finding> {
    let most = root.number("/proc/sys/fs/file-max")?;
    (most < 4 * FILES).then(|| {
        Finding::of(
            State::Warn,
            "fs.file-max",
            format!("{most} for the whole machine"),
            "all processes share it",
            "sysctl -w fs.file-max=1048576",
        )
    })
}

fn somaxconn(root: &Root) -> Option<Finding> {
    const NAME: &str = "somaxconn";
    let value = root.number("/proc/sys/net/core/somaxconn")?;
    Some(match value < BACKLOG {
        true => Finding::of(
            State::Warn,
            NAME,
            format!("net.core.somaxconn is {value}"),
            "bursts of clients may be refused: it cuts server.backlog down",
            "sysctl -w net.core.somaxconn=4096",
        ),
        false => Finding::good(NAME, value.to_string()),
    })
}

fn ports(root: &Root) -> Option<Finding> {
    const NAME: &str = "local ports";
    let range = root.read("/proc/sys/net/ipv4/ip_local_port_range")?;
    let mut words = range.split_ascii_whitespace().map(str::parse::<u64>);
    let (low, high) = (words.next()?.ok()?, words.next()?.ok()?);
    let count = high.saturating_sub(low) + 1;
    Some(match count < PORTS {
        true => Finding::of(
            State::Warn,
            NAME,
            format!("{count} for connections to servers"),
            "connections that were closed keep their port for a minute; with none left, servers \
                cannot be reached",
            "sysctl -w net.ipv4.ip_local_port_range='15000 60999'",
        ),
        false => Finding::good(NAME, count.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           \
        Units     \n\
        Max open files            1024                 SOME                 files     \n\
        Max locked memory         BYTES                BYTES                bytes     \n";

    fn states(open: &str, locked: &str) -> Vec<(&'static str, State)> {
        let text = LIMITS.replace("SOME", open).replace("BYTES", locked);
        let tree = Tree::new()
            .file("/proc/self/limits", &text)
            .file("/proc/sys/net/core/somaxconn", "128")
            .file("/proc/sys/net/ipv4/ip_local_port_range", "50000\t51000");
        all(&tree.root())
            .iter()
            .map(|f| (f.name, f.state))
            .collect()
    }

    #[test]
    fn limits_that_are_too_small() {
        let low = [State::Warn; 4];
        let names = ["locked memory", "open files", "somaxconn", "local ports"];
        assert_eq!(states("4096", "65536"), names.into_iter().zip(low).collect::<Vec<_>>());
        let found = states("1048576", "unlimited");
        assert_eq!(&found[..2], [("locked memory", State::Good), ("open files", State::Good)]);
    }
}
