//! CPUs as `/sys` shows them, and which of them cores should be pinned to.
use std::fmt;
use std::fs;
use std::path::Path;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    pub cpus: Vec<Cpu>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    pub id: usize,
    pub node: usize,
    /// Hardware threads of the same core, itself included.
    pub siblings: Vec<usize>,
}

/// Reads `0-3,8,10-11`.
fn parse_list(text: &str) -> Vec<usize> {
    let mut out = Vec::new();
    for part in text.trim().split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            out.extend(first..=last.min(first + 4096));
        }
    }
    out
}

fn list(path: impl AsRef<Path>) -> Vec<usize> {
    parse_list(&fs::read_to_string(path).unwrap_or_default())
}

impl Layout {
    /// The CPUs that this process may run on.
    pub fn read() -> Self {
        let nodes: Vec<(usize, Vec<usize>)> = list("/sys/devices/system/node/online")
            .into_iter()
            .map(|node| (node, list(format!("/sys/devices/system/node/node{node}/cpulist"))))
            .collect();
        let cpus = allowed().into_iter().map(|id| {
            let siblings = list(format!("/sys/devices/system/cpu/cpu{id}/topology/thread_siblings_list"));
            Cpu {
                id,
                node: nodes
                    .iter()
                    .find(|(_, cpus)| cpus.contains(&id))
                    .map_or(0, |n| n.0),
                siblings: if siblings.is_empty() { vec![id] } else { siblings },
            }
        });
        Self { cpus: cpus.collect() }
    }

    /// One hardware thread of each core, node by node. With two cores or more the first is left to the control plane and to
    /// the network card's interrupts where more than four are there.
    pub fn suggestion(&self) -> Vec<usize> {
        let mut cores: Vec<&Cpu> = Vec::new();
        for cpu in &self.cpus {
            if !cores.iter().any(|taken| taken.siblings.contains(&cpu.id)) {
                cores.push(cpu);
            }
        }
        cores.sort_by_key(|cpu| (cpu.node, cpu.id));
        let skip = usize::from(cores.len() > 4);
        cores.into_iter().skip(skip).map(|cpu| cpu.id).collect()
    }
}

/// From `/proc/self/status`: also right in a container with a CPU set.
fn allowed() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
    line.map_or_else(|| list("/sys/devices/system/cpu/online"), parse_list)
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for cpu in &self.cpus {
            writeln!(f, "cpu {:<4} node {:<3} siblings {:?}", cpu.id, cpu.node, cpu.siblings)?;
        }
        let cpus = self.suggestion();
        writeln!(f, "\n# for coregate.toml: one core of coregate for each physical core")?;
        writeln!(f, "[server]\ncores = {}\n\n[cores]\ncpus = {cpus:?}", cpus.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parse_list("0-2,5,7-8\n"), [0, 1, 2, 5, 7, 8]);
        assert!(parse_list("").is_empty() && parse_list("x").is_empty());
    }

    #[test]
    fn one_thread_of_each_core() {
        let cpu = |id, node, siblings: &[usize]| Cpu { id, node, siblings: siblings.to_vec() };
        let small = Layout {
            cpus: vec![cpu(0, 0, &[0, 2]), cpu(1, 0, &[1, 3]), cpu(2, 0, &[0, 2]), cpu(3, 0, &[1, 3])],
        };
        assert_eq!(small.suggestion(), [0, 1]);
        let large = Layout { cpus: (0..8).map(|i| cpu(i, i % 2, &[i])).collect() };
        assert_eq!(large.suggestion(), [2, 4, 6, 1, 3, 5, 7]);
        assert!(!Layout::read().cpus.is_empty());
    }
}
