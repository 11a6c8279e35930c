//! Network cards: how many queues they have, and on which CPUs their interrupts come.
use super::{Finding, State};
use crate::layout::cards;
use crate::root::{Root, format_list};

pub(super) fn all(root: &Root) -> Vec<Finding> {
    let online = root.list("/sys/devices/system/cpu/online").len().max(1);
    let mut findings = Vec::new();
    for (card, _) in cards(root) {
        if root
            .read(&format!("/sys/class/net/{card}/operstate"))
            .as_deref()
            != Some("up")
        {
            continue;
        }
        findings.push(queues(root, &card, online));
        findings.extend(interrupts(root, &card));
    }
    findings
}

fn queues(root: &Root, card: &str, cpus: usize) -> Finding {
    const NAME: &str = "queues";
    let names = root.names(&format!("/sys/class/net/{card}/queues"));
    let count = names.iter().filter(|name| name.starts_with("rx-")).count();
    let steered = names
        .iter()
        .filter(|name| name.starts_with("rx-"))
        .any(|name| {
            let mask = root.read(&format!("/sys/class/net/{card}/queues/{name}/rps_cpus"));
            mask.is_some_and(|mask| mask.chars().any(|c| !matches!(c, '0' | ',')))
        });
    let plural = if count == 1 { "" } else { "s" };
    let text = format!("{card}: {count} receive queue{plural}, {cpus} CPUs");
    match (count, cpus) {
        (0 | 1, 3..) if !steered => Finding::of(
            State::Warn,
            NAME,
            text,
            "one CPU takes in all packets of the card, and limits all cores",
            format!(
                "ethtool -L {card} combined {cpus}, or without more queues: receive packet \
                    steering, /sys/class/net/{card}/queues/rx-0/rps_cpus"
            ),
        ),
        _ => Finding::good(NAME, text),
    }
}

/// Where the card's interrupts come.
fn interrupts(root: &Root, card: &str) -> Option<Finding> {
    const NAME: &str = "interrupts";
    let numbers = numbers(root, card);
    let mut cpus: Vec<usize> = Vec::new();
    for number in &numbers {
        let effective = root.list(&format!("/proc/irq/{number}/effective_affinity_list"));
        let asked = || root.list(&format!("/proc/irq/{number}/smp_affinity_list"));
        cpus.extend(if effective.is_empty() { asked() } else { effective });
    }
    cpus.sort_unstable();
    cpus.dedup();
    if numbers.is_empty() || cpus.is_empty() {
        return None;
    }
    let text = format!("{card}: {} of them, on CPUs {}", numbers.len(), format_list(&cpus));
    Some(match (numbers.len(), cpus.len()) {
        (2.., 1) => Finding::of(
            State::Warn,
            NAME,
            text,
            "several queues help nothing when one CPU serves them all",
            format!(
                "start irqbalance, or for each number N of {card} in /proc/interrupts: echo CPU > \
                    /proc/irq/N/smp_affinity_list"
            ),
        ),
        _ => Finding::good(NAME, text),
    })
}

/// Of the card's own name (`eth0-rx-0`), or of its device's (`virtio0-input.0`), as
/// `/proc/interrupts` has them; else those that the bus gave it.
fn numbers(root: &Root, card: &str) -> Vec<u64> {
    let text = root.read("/proc/interrupts").unwrap_or_default();
    let device = root
        .path(&format!("/sys/class/net/{card}/device"))
        .canonicalize()
        .ok()
        .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let named = |line: &&str| {
        line.split_ascii_whitespace()
            .next_back()
            .is_some_and(|name| {
                let is = |of: &str| {
                    name.strip_prefix(of)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
                };
                is(card)
                    || device
                        .as_deref()
                        .is_some_and(|device| is(device) && !name.contains("config"))
            })
    };
    let found: Vec<u64> = text
        .lines()
        .filter(named)
        .filter_map(|line| line.trim().split_once(':')?.0.parse().ok())
        .collect();
    if !found.is_empty() {
        return found;
    }
    let bus = root.names(&format!("/sys/class/net/{card}/device/msi_irqs"));
    bus.iter().filter_map(|name| name.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tree;

    fn card(queues: usize, affinity: [&str; 2]) -> Vec<(&'static str, State)> {
        let mut tree = Tree::machine(1, 4, 1)
            .file("/sys/class/net/eth0/operstate", "up")
            .file("/sys/class/net/eth0/device/numa_node", "0")
            .file("/sys/class/net/lo/operstate", "unknown")
            .file(
                "/proc/interrupts",
                "  CPU0 CPU1\n 30: 5 0 PCI-MSI eth0-rx-0\n 31: 0 7 PCI-MSI eth0-rx-1\n 9: 0 0 x \
                    eth01\n",
            )
            .file("/proc/irq/30/smp_affinity_list", affinity[0])
            .file("/proc/irq/31/smp_affinity_list", affinity[1]);
        for n in 0..queues {
            tree = tree
                .file(&format!("/sys/class/net/eth0/queues/rx-{n}/rps_cpus"), "00000000,00000000");
        }
        all(&tree.root())
            .iter()
            .map(|f| (f.name, f.state))
            .collect()
    }

    #[test]
    fn queues_and_interrupts() {
        assert_eq!(card(4, ["0", "1"]), [("queues", State::Good), ("interrupts", State::Good)]);
        assert_eq!(card(1, ["2", "2"]), [("queues", State::Warn), ("interrupts", State::Warn)]);
    }
}
