//! CPUs as `/sys` shows them, and which of them cores should be pinned to.
use crate::cgroup::Limits;
use crate::root::{Root, format_list, parse_list};
use std::fmt;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layout {
    /// Those that this process may use.
    pub cpus: Vec<Cpu>,
    pub limits: Limits,
    /// Network cards, and the node that each is attached to.
    pub cards: Vec<(String, usize)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    pub id: usize,
    pub node: usize,
    pub socket: usize,
    /// Hardware threads of the same core, itself included.
    pub siblings: Vec<usize>,
    /// CPUs that share the last cache with it, itself included.
    pub cache: Vec<usize>,
}

/// What is proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Threads that serve.
    pub cores: usize,
    /// Where they are pinned; `None`: a quota decides, and no CPU is our own.
    pub cpus: Option<Vec<usize>>,
    /// Left to interrupts, the control plane and neighbours.
    pub left: Vec<usize>,
    /// Why, in sentences.
    pub reasons: Vec<String>,
}

impl Layout {
    /// The CPUs that this process may run on.
    pub fn read(root: &Root) -> Self {
        let nodes: Vec<(usize, Vec<usize>)> = root
            .list("/sys/devices/system/node/online")
            .into_iter()
            .map(|node| (node, root.list(&format!("/sys/devices/system/node/node{node}/cpulist"))))
            .collect();
        let node_of = |id: usize| {
            nodes
                .iter()
                .find(|(_, cpus)| cpus.contains(&id))
                .map_or(0, |n| n.0)
        };
        let limits = Limits::read(root);
        let own = |id: &usize| limits.cpus.is_empty() || limits.cpus.contains(id);
        let cpus = allowed(root).into_iter().filter(own).map(|id| {
            let cpu = format!("/sys/devices/system/cpu/cpu{id}");
            let or_alone = |list: Vec<usize>| if list.is_empty() { vec![id] } else { list };
            let caches = root.names(&format!("{cpu}/cache"));
            let level = |name: &&String| root.number(&format!("{cpu}/cache/{name}/level"));
            let last = caches
                .iter()
                .filter(|name| name.starts_with("index"))
                .max_by_key(level);
            Cpu {
                id,
                node: node_of(id),
                socket: root
                    .number(&format!("{cpu}/topology/physical_package_id"))
                    .and_then(|n| usize::try_from(n).ok())
                    .unwrap_or(0),
                siblings: or_alone(root.list(&format!("{cpu}/topology/thread_siblings_list"))),
                cache: or_alone(last.map_or_else(Vec::new, |name| {
                    root.list(&format!("{cpu}/cache/{name}/shared_cpu_list"))
                })),
            }
        });
        Self { cpus: cpus.collect(), limits: limits.clone(), cards: cards(root) }
    }

    /// One hardware thread of each physical core.
    fn physical(&self) -> Vec<&Cpu> {
        let mut cores: Vec<&Cpu> = Vec::new();
        for cpu in &self.cpus {
            if !cores.iter().any(|taken| taken.siblings.contains(&cpu.id)) {
                cores.push(cpu);
            }
        }
        cores
    }

    /// The node of the network card; packets need not cross to another.
    fn near(&self) -> Option<usize> {
        self.cards.first().map(|(_, node)| *node)
    }

    pub fn proposal(&self) -> Proposal {
        let mut physical = self.physical();
        let near = self.near();
        // A thread's memory is taken from its own node: cores of one node stand together.
        physical.sort_by_key(|cpu| (Some(cpu.node) != near, cpu.node, cpu.id));
        let mut reasons = Vec::new();
        if let (Some(quota), Some(whole)) = (self.limits.quota, self.limits.whole_cores())
            && whole < physical.len().max(1)
        {
            reasons.push(format!(
                "the control group may use {quota:.2} CPUs: {whole} core{}; a thread more would be \
                    stopped by the quota while others wait for it",
                if whole == 1 { "" } else { "s" }
            ));
            reasons.push(
                "a quota gives time, not CPUs: cores are not pinned, or all containers \
                would meet on the first CPUs"
                    .to_owned(),
            );
            return Proposal { cores: whole, cpus: None, left: Vec::new(), reasons };
        }
        let spare = spare(physical.len());
        let cpus: Vec<usize> = physical.iter().skip(spare).map(|cpu| cpu.id).collect();
        let left: Vec<usize> = self
            .cpus
            .iter()
            .map(|cpu| cpu.id)
            .filter(|id| !cpus.contains(id))
            .collect();
        if physical.len() < self.cpus.len() {
            reasons.push(
                "one hardware thread of each core serves; two of them on one core are slower each"
                    .to_owned(),
            );
        }
        if spare > 0 {
            reasons.push(format!(
                "{spare} core{} left to the network card's interrupts, the control plane and \
                    neighbours",
                if spare == 1 { " is" } else { "s are" }
            ));
        }
        if let Some((card, node)) = self.cards.first().filter(|_| self.nodes() > 1) {
            reasons.push(format!("cores of node {node} come first: {card} is attached to it"));
        }
        Proposal { cores: cpus.len(), cpus: Some(cpus), left, reasons }
    }

    fn nodes(&self) -> usize {
        let mut nodes: Vec<usize> = self.cpus.iter().map(|cpu| cpu.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.len()
    }
}

/// Cores that do not serve.
fn spare(physical: usize) -> usize {
    match physical {
        0..=4 => 0,
        5..=15 => 1,
        16..=31 => 2,
        _ => 4,
    }
}

/// From `/proc/self/status`: also right in a container with a CPU set.
fn allowed(root: &Root) -> Vec<usize> {
    let status = root.read("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("Cpus_allowed_list:"));
    let online = root.list("/sys/devices/system/cpu/online");
    match line.map(parse_list) {
        // CPUs that are off may be in the mask.
        Some(cpus) if !online.is_empty() => cpus
            .into_iter()
            .filter(|cpu| online.contains(cpu))
            .collect(),
        Some(cpus) => cpus,
        None => online,
    }
}

/// Cards with a device behind them (not bridges, not loopback), those that are up first.
pub(crate) fn cards(root: &Root) -> Vec<(String, usize)> {
    let mut found: Vec<(bool, String, usize)> = root
        .names("/sys/class/net")
        .into_iter()
        .filter(|name| root.path(&format!("/sys/class/net/{name}/device")).exists())
        .map(|name| {
            let state = root.read(&format!("/sys/class/net/{name}/operstate"));
            // -1: the machine has no nodes.
            let node = root.number(&format!("/sys/class/net/{name}/device/numa_node"));
            let node = node.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            (state.as_deref() != Some("up"), name, node)
        })
        .collect();
    found.sort();
    found
        .into_iter()
        .map(|(_, name, node)| (name, node))
        .collect()
}

impl Proposal {
    /// The section of the configuration.
    pub fn toml(&self) -> String {
        match &self.cpus {
            Some(cpus) => format!("[cores]\ncount = {}\ncpus = {cpus:?}\n", self.cores),
            None => format!("[cores]\ncount = {}\ncpus = \"any\"\n", self.cores),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for cpu in &self.cpus {
            writeln!(
                f,
                "cpu {:<4} socket {:<3} node {:<3} threads of the core {:<10} shares the last \
                    cache with {}",
                cpu.id,
                cpu.socket,
                cpu.node,
                format_list(&cpu.siblings),
                format_list(&cpu.cache)
            )?;
        }
        for (card, node) in &self.cards {
            writeln!(f, "network card {card}, node {node}")?;
        }
        if let Some(quota) = self.limits.quota {
            writeln!(f, "control group: {quota:.2} CPUs")?;
        }
        let proposal = self.proposal();
        writeln!(f)?;
        for reason in &proposal.reasons {
            writeln!(f, "# {reason}")?;
        }
        if !proposal.left.is_empty() {
            writeln!(f, "# left: {}", format_list(&proposal.left))?;
        }
        write!(f, "{}", proposal.toml())
    }
}

#[cfg(test)]
mod tests;
