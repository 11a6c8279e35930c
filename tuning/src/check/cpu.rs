//! CPUs: how quickly they wake up, and what shares them.
use super::{Finding, State};
use crate::layout::Layout;
use crate::root::Root;

/// Mitigations that make every system call or every switch dearer, by what their state says.
const DEAR: [(&str, &str); 6] = [
    ("mds", "Clear CPU buffers"),
    ("tsx_async_abort", "Clear CPU buffers"),
    ("mmio_stale_data", "Clear CPU buffers"),
    ("retbleed", "IBRS"),
    ("meltdown", "PTI"),
    ("spec_rstack_overflow", "Safe RET"),
];

pub(super) fn all(root: &Root) -> Vec<Finding> {
    let layout = Layout::read(root);
    let found = [
        governor(root),
        clock(root),
        huge_pages(root),
        mitigations(root),
        balancing(root, &layout),
        quota(&layout),
    ];
    found.into_iter().flatten().collect()
}

fn governor(root: &Root) -> Option<Finding> {
    const NAME: &str = "CPU governor";
    let cpus = root.list("/sys/devices/system/cpu/online");
    let governors = cpus.iter().filter_map(|cpu| {
        root.read(&format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"))
    });
    let mut governors: Vec<String> = governors.collect();
    governors.sort();
    governors.dedup();
    let names = governors.join(", ");
    Some(match governors.as_slice() {
        [] => return None,
        all if all.iter().any(|g| g == "powersave") => Finding::of(
            State::Warn,
            NAME,
            names,
            "a core that has slept begins slowly: latency of single queries doubles",
            "cpupower frequency-set -g performance (or schedutil)",
        ),
        _ => Finding::good(NAME, names),
    })
}

fn clock(root: &Root) -> Option<Finding> {
    const NAME: &str = "clock";
    let source = root.read("/sys/devices/system/clocksource/clocksource0/current_clocksource")?;
    Some(match source.as_str() {
        // Those that are read without a system call.
        "tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page" | "arch_sys_counter" => {
            Finding::good(NAME, source)
        }
        _ => Finding::of(
            State::Warn,
            NAME,
            source,
            "reading the time is a system call with it, several times a query",
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource, where it \
                is available",
        ),
    })
}

fn huge_pages(root: &Root) -> Option<Finding> {
    const NAME: &str = "huge pages";
    let text = root.read("/sys/kernel/mm/transparent_hugepage/enabled")?;
    let chosen = text.split(['[', ']']).nth(1).unwrap_or(&text).to_owned();
    Some(match chosen.as_str() {
        "always" => Finding::of(
            State::Warn,
            NAME,
            "transparent huge pages: always",
            "idle connections cost more memory, and putting pages together stops a core for \
                milliseconds",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        _ => Finding::good(NAME, format!("transparent huge pages: {chosen}")),
    })
}

fn mitigations(root: &Root) -> Option<Finding> {
    const NAME: &str = "mitigations";
    let dir = "/sys/devices/system/cpu/vulnerabilities";
    if !root.path(dir).is_dir() {
        return None;
    }
    let dear: Vec<&str> = DEAR
        .iter()
        .filter(|(name, how)| {
            root.read(&format!("{dir}/{name}"))
                .is_some_and(|state| state.starts_with("Mitigation") && state.contains(how))
        })
        .map(|(name, _)| *name)
        .collect();
    Some(match dear.is_empty() {
        true => Finding::good(NAME, "none that makes system calls much dearer"),
        false => Finding::of(
            State::Note,
            NAME,
            dear.join(", "),
            "they make system calls and wake-ups dearer, by a tenth to a third; figures of other \
                machines do not hold here",
            "",
        ),
    })
}

/// The kernel moves pages to where they are used; cores that are pinned have them there already.
fn balancing(root: &Root, layout: &Layout) -> Option<Finding> {
    const NAME: &str = "NUMA balancing";
    let on = root.number("/proc/sys/kernel/numa_balancing")?;
    let mut nodes: Vec<usize> = layout.cpus.iter().map(|cpu| cpu.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    Some(match (on, nodes.len()) {
        (0, _) => Finding::good(NAME, "off"),
        (_, 0 | 1) => Finding::good(NAME, "on, and there is one node only"),
        (_, nodes) => Finding::of(
            State::Warn,
            NAME,
            format!("on, over {nodes} nodes"),
            "cores that are pinned have their memory near; the kernel takes pages away for a \
                moment to find that out",
            "sysctl -w kernel.numa_balancing=0",
        ),
    })
}

fn quota(layout: &Layout) -> Option<Finding> {
    const NAME: &str = "CPU quota";
    let quota = layout.limits.quota?;
    Some(match quota < 1.0 {
        true => Finding::of(
            State::Warn,
            NAME,
            format!("{quota:.2} CPUs"),
            "when the quota of a period (mostly 100 ms) is used up, every connection waits for the \
                next",
            "give the container one whole CPU at least (resources.limits.cpu: \"1\")",
        ),
        false if quota.fract() > 0.01 => Finding::of(
            State::Note,
            NAME,
            format!("{quota:.2} CPUs: {} serve", layout.proposal().cores),
            "a thread more would be stopped by the quota while others wait for it",
            "",
        ),
        false => Finding::good(NAME, format!("{quota:.0} CPUs")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    fn state(tree: &Tree, name: &str) -> Option<State> {
        all(&tree.root())
            .iter()
            .find(|f| f.name == name)
            .map(|f| f.state)
    }

    #[test]
    fn each_state() {
        let cpu = "/sys/devices/system/cpu";
        let tree = Tree::machine(2, 2, 1)
            .file(&format!("{cpu}/cpu0/cpufreq/scaling_governor"), "performance")
            .file(&format!("{cpu}/cpu1/cpufreq/scaling_governor"), "powersave")
            .file("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet")
            .file("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never")
            .file(&format!("{cpu}/vulnerabilities/retbleed"), "Mitigation: IBRS")
            .file("/proc/sys/kernel/numa_balancing", "1");
        for name in ["CPU governor", "clock", "huge pages", "NUMA balancing"] {
            assert_eq!(state(&tree, name), Some(State::Warn), "{name}");
        }
        assert_eq!(state(&tree, "mitigations"), Some(State::Note));
        assert_eq!(state(&tree, "CPU quota"), None);
        let tree = Tree::machine(1, 2, 1)
            .file("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never")
            .file(&format!("{cpu}/vulnerabilities/retbleed"), "Not affected")
            .file("/proc/sys/kernel/numa_balancing", "1");
        for name in ["huge pages", "mitigations", "NUMA balancing"] {
            assert_eq!(state(&tree, name), Some(State::Good), "{name}");
        }
        let half = Tree::machine(1, 2, 1).quota("50000 100000");
        assert_eq!(state(&half, "CPU quota"), Some(State::Warn));
        let more = Tree::machine(1, 2, 1).quota("150000 100000");
        assert_eq!(state(&more, "CPU quota"), Some(State::Note));
    }
}
