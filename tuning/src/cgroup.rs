//! What control groups allow: CPUs and CPU time. Version 2, and version 1 where it is still in use.
use crate::root::Root;

/// Limits of this process's control group and of those above it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// CPU time a second, in CPUs; `None`: no limit.
    pub quota: Option<f64>,
    /// The CPUs of the group; empty: all.
    pub cpus: Vec<usize>,
}

impl Limits {
    pub fn read(root: &Root) -> Self {
        let groups = root.read("/proc/self/cgroup").unwrap_or_default();
        let mut limits = Self::default();
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            if controllers.is_empty() {
                limits.version_2(root, path);
                continue;
            }
            for controller in controllers.split(',') {
                limits.version_1(root, controllers, controller, path);
            }
        }
        limits
    }

    fn at_most(&mut self, quota: f64) {
        self.quota = Some(self.quota.map_or(quota, |own| own.min(quota)));
    }

    fn version_2(&mut self, root: &Root, path: &str) {
        for group in upwards(path) {
            let file = |name: &str| format!("/sys/fs/cgroup{group}/{name}");
            if let Some(text) = root.read(&file("cpu.max")) {
                let mut words = text.split_ascii_whitespace();
                let quota = words.next().and_then(|w| w.parse::<f64>().ok());
                let period = words
                    .next()
                    .and_then(|w| w.parse::<f64>().ok())
                    .filter(|p| *p > 0.0);
                if let (Some(quota), Some(period)) = (quota, period) {
                    self.at_most(quota / period);
                }
            }
            if self.cpus.is_empty() {
                self.cpus = root.list(&file("cpuset.cpus.effective"));
            }
        }
    }

    fn version_1(&mut self, root: &Root, controllers: &str, controller: &str, path: &str) {
        for group in upwards(path) {
            for mount in [controllers, controller] {
                let file = |name: &str| format!("/sys/fs/cgroup/{mount}{group}/{name}");
                match controller {
                    "cpu" => {
                        // -1 is no limit, and no number here.
                        let quota = root.number(&file("cpu.cfs_quota_us"));
                        let period = root.number(&file("cpu.cfs_period_us")).filter(|p| *p > 0);
                        if let (Some(quota), Some(period)) = (quota, period) {
                            self.at_most(quota as f64 / period as f64);
                        }
                    }
                    "cpuset" if self.cpus.is_empty() => self.cpus = root.list(&file("cpuset.cpus")),
                    _ => {}
                }
            }
        }
    }

    /// Whole cores that the quota is enough for: one at least.
    pub fn whole_cores(&self) -> Option<usize> {
        self.quota.map(|quota| (quota.floor() as usize).max(1))
    }
}

/// A group's path and those above it. In a container the own group is often mounted as the root:
/// then its path is not found, and the root is what counts.
fn upwards(path: &str) -> Vec<String> {
    let mut path = path.trim_end_matches('/').to_owned();
    let mut out = Vec::new();
    while !path.is_empty() {
        out.push(path.clone());
        path.truncate(path.rfind('/').unwrap_or(0));
    }
    out.push(String::new());
    out
}
