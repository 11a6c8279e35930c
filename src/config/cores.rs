//! `[cores]`: how many threads serve, and on which CPUs.
use coregate_dataplane::Config as Defaults;
use coregate_dataplane::ring::{Kernel, LEAST_KERNEL};
use coregate_tuning::Root;
use coregate_tuning::layout::Layout;
use serde::Deserialize;
use serde::de::Error;
use std::path::Path;

/// `[cores]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cores {
    /// How many; the same as `server.cores`. 0: as many as `cpus` says.
    pub(crate) count: Option<usize>,
    /// How much longer a core may sleep to take several answers at once; 0 switches it off.
    pub(crate) coalesce_us: u32,
    /// Which CPUs.
    pub(crate) cpus: Cpus,
    /// Multishot receives; off only where a kernel has trouble with them.
    pub(crate) multishot: bool,
    /// `"5.15"`: use nothing of io_uring that came after this version of Linux.
    #[serde(deserialize_with = "kernel_of")]
    pub(crate) kernel: Option<Kernel>,
    /// Receive buffers of 8 KiB and of 64 KiB, at most; powers of two.
    pub(crate) buffers_8k_max: u16,
    pub(crate) buffers_64k_max: u16,
}

/// Which CPUs cores are pinned to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Cpus {
    /// The first ones that we may use, if a quota does not make them everybody's.
    #[default]
    First,
    /// As `coregate tune layout` proposes.
    Auto,
    /// Not pinned.
    Any,
    /// These, in the order of the cores.
    List(Vec<usize>),
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let wrong = |found: &str| {
            D::Error::custom(format!("{found}: write a list of CPUs, \"auto\" or \"any\""))
        };
        match toml::Value::deserialize(d)? {
            toml::Value::String(text) if text == "auto" => Ok(Self::Auto),
            toml::Value::String(text) if text == "any" => Ok(Self::Any),
            toml::Value::Array(list) => {
                let cpu =
                    |value: &toml::Value| value.as_integer().and_then(|n| usize::try_from(n).ok());
                let cpus = list
                    .iter()
                    .map(|value| cpu(value).ok_or_else(|| wrong(&value.to_string())));
                cpus.collect::<Result<_, _>>().map(Self::List)
            }
            other => Err(wrong(&other.to_string())),
        }
    }
}

impl Default for Cores {
    fn default() -> Self {
        let data = Defaults::default();
        Self {
            count: None,
            coalesce_us: data.coalesce_us,
            cpus: Cpus::default(),
            multishot: data.multishot,
            kernel: None,
            buffers_8k_max: data.buffers_small_max,
            buffers_64k_max: data.buffers_large_max,
        }
    }
}

/// `MAJOR.MINOR`, not older than what the data plane can do with.
pub(crate) fn kernel(text: &str) -> Result<Kernel, String> {
    let parsed = text
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let (major, minor) = LEAST_KERNEL;
    parsed
        .filter(|kernel| *kernel >= LEAST_KERNEL)
        .ok_or_else(|| {
            format!(
                "{text:?} is not a version of Linux from {major}.{minor} on; write e.g. \"6.1\""
            )
        })
}

fn kernel_of<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Kernel>, D::Error> {
    kernel(&String::deserialize(d)?)
        .map(Some)
        .map_err(D::Error::custom)
}

/// What the data plane is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) cores: usize,
    /// `None`: not pinned.
    pub(crate) cpus: Option<Vec<usize>>,
}

impl super::File {
    /// How many cores are asked for; 0: none are.
    fn wanted_cores(&self) -> usize {
        self.cores.count.unwrap_or(self.server.cores)
    }

    /// How many cores serve, and where, on a machine with this layout.
    pub(crate) fn place(&self, layout: &Layout) -> Placed {
        let wanted = self.wanted_cores();
        let placed = |cpus: Vec<usize>| {
            let cores = if wanted == 0 { cpus.len().max(1) } else { wanted };
            // More threads than CPUs: no CPU is one thread's own.
            let cpus = (cores <= cpus.len()).then(|| cpus.into_iter().take(cores).collect());
            Placed { cores, cpus }
        };
        let all: Vec<usize> = layout.cpus.iter().map(|cpu| cpu.id).collect();
        let within_quota = layout
            .limits
            .whole_cores()
            .unwrap_or(usize::MAX)
            .min(all.len().max(1));
        let unpinned =
            |cores: usize| Placed { cores: if wanted == 0 { cores } else { wanted }, cpus: None };
        match &self.cores.cpus {
            Cpus::List(cpus) => placed(cpus.clone()),
            Cpus::Any => unpinned(within_quota),
            Cpus::First if within_quota < all.len() => unpinned(within_quota),
            Cpus::First => placed(all),
            Cpus::Auto => {
                let proposal = layout.proposal();
                match proposal.cpus {
                    Some(cpus) => placed(cpus),
                    None => unpinned(proposal.cores),
                }
            }
        }
    }

    /// What types alone do not say, of this section.
    pub(super) fn check_cores(
        &self,
        between: impl Fn(&str, u64, u64, u64) -> Result<(), String>,
    ) -> Result<(), String> {
        let cores = &self.cores;
        for (key, value) in
            [("buffers_8k_max", cores.buffers_8k_max), ("buffers_64k_max", cores.buffers_64k_max)]
        {
            if !value.is_power_of_two() || !(16..=1 << 15).contains(&value) {
                return Err(format!(
                    "cores.{key} = {value}: it must be a power of two, 16 to 32768"
                ));
            }
        }
        between("cores.coalesce_us", u64::from(cores.coalesce_us), 0, 10_000)?;
        if let Some(count) = cores.count {
            between("cores.count", count as u64, 0, 1024)?;
            let server = self.server.cores;
            if server != 0 && server != count {
                return Err(format!(
                    "cores.count = {count} and server.cores = {server}: leave one of them out"
                ));
            }
        }
        let Cpus::List(cpus) = &cores.cpus else { return Ok(()) };
        let twice = cpus
            .iter()
            .enumerate()
            .find(|(i, cpu)| cpus[..*i].contains(cpu));
        if cpus.is_empty() || twice.is_some() {
            return Err(format!(
                "cores.cpus = {cpus:?}: it must name at least one CPU, none of them twice"
            ));
        }
        let there = |cpu: &&usize| Path::new(&format!("/sys/devices/system/cpu/cpu{cpu}")).exists();
        if let Some(cpu) = cpus.iter().find(|cpu| !there(cpu))
            && Path::new("/sys/devices/system/cpu").exists()
        {
            return Err(format!("cores.cpus = {cpus:?}: this machine has no CPU {cpu}"));
        }
        let wanted = self.wanted_cores();
        if wanted > cpus.len() {
            let key = if cores.count.is_some() { "cores.count" } else { "server.cores" };
            return Err(format!("{key} = {wanted}: cores.cpus names only {} CPUs", cpus.len()));
        }
        Ok(())
    }

    /// On this machine.
    pub(crate) fn placed(&self) -> Placed {
        self.place(&Layout::read(&Root::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::File;
    use coregate_tuning::Limits;
    use coregate_tuning::layout::Cpu;

    fn layout(cpus: usize, quota: Option<f64>) -> Layout {
        let cpu = |id| Cpu { id, siblings: vec![id], ..Cpu::default() };
        let limits = Limits { quota, cpus: Vec::new() };
        // A CPU set that does not begin with 0.
        Layout { cpus: (4..4 + cpus).map(cpu).collect(), limits, cards: Vec::new() }
    }

    fn place(text: &str, layout: &Layout) -> (usize, Option<Vec<usize>>) {
        let file: File = toml::from_str(text).unwrap();
        let placed = file.place(layout);
        (placed.cores, placed.cpus)
    }

    #[test]
    fn counts_lists_and_auto() {
        let eight = layout(8, None);
        assert_eq!(place("", &eight), (8, Some(vec![4, 5, 6, 7, 8, 9, 10, 11])));
        assert_eq!(place("[server]\ncores = 2", &eight), (2, Some(vec![4, 5])));
        assert_eq!(place("[cores]\ncount = 2", &eight), (2, Some(vec![4, 5])));
        assert_eq!(place("[cores]\ncount = 9", &eight), (9, None));
        assert_eq!(
            place("[cores]\ncpus = \"auto\"", &eight),
            (7, Some(vec![5, 6, 7, 8, 9, 10, 11]))
        );
        assert_eq!(place("[cores]\ncpus = \"auto\"\ncount = 1", &eight), (1, Some(vec![5])));
        assert_eq!(place("[cores]\ncpus = \"any\"", &eight), (8, None));
        assert_eq!(place("[cores]\ncpus = [9, 5]", &eight), (2, Some(vec![9, 5])));
        assert_eq!(place("[cores]\ncpus = [9, 5]\ncount = 1", &eight), (1, Some(vec![9])));
    }

    #[test]
    fn a_quota_is_honoured_and_pins_nothing() {
        let sidecar = layout(8, Some(1.5));
        for text in ["", "[cores]\ncpus = \"auto\"", "[cores]\ncpus = \"any\""] {
            assert_eq!(place(text, &sidecar), (1, None), "{text}");
        }
        assert_eq!(place("[cores]\ncpus = [4]", &sidecar), (1, Some(vec![4])));
        assert_eq!(place("", &layout(2, Some(2.0))), (2, Some(vec![4, 5])));
    }

    #[test]
    fn mistakes() {
        for (text, part) in [
            ("[cores]\ncpus = \"all\"", "write a list of CPUs, \"auto\" or \"any\""),
            ("[cores]\ncpus = [-1]", "write a list of CPUs"),
            ("[cores]\ncpus = []", "at least one CPU"),
            ("[cores]\ncount = 2000", "cores.count = 2000: it must be 0 to 1024"),
            ("[cores]\ncount = 1\n[server]\ncores = 2", "leave one of them out"),
            ("[cores]\ncount = 2\ncpus = [0]", "cores.count = 2: cores.cpus names only 1 CPUs"),
        ] {
            let error = File::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
