//! Trees of `/proc` and `/sys` of machines that we do not have.
use crate::root::Root;
use std::fs;

pub(crate) struct Tree(tempfile::TempDir);

impl Tree {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        let path = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, text).expect("a file");
        self
    }

    pub(crate) fn root(&self) -> Root {
        Root::new(self.0.path())
    }

    /// Sockets, each a node; cores of a socket; threads of a core. Numbered as Linux does it: first
    /// the first thread of every core, socket by socket, then the second ones.
    pub(crate) fn machine(sockets: usize, cores: usize, threads: usize) -> Self {
        let (all, cpu) = (sockets * cores * threads, "/sys/devices/system/cpu");
        let mut tree = Self::new()
            .file(&format!("{cpu}/online"), &format!("0-{}", all - 1))
            .file("/proc/self/status", &format!("Name:\tx\nCpus_allowed_list:\t0-{}\n", all - 1))
            .file("/proc/self/cgroup", "0::/pod/app\n")
            .file("/sys/devices/system/node/online", &format!("0-{}", sockets - 1));
        let physical = sockets * cores;
        let of = |socket: usize| {
            let each = (0..threads).map(|t| {
                let first = t * physical + socket * cores;
                format!("{first}-{}", first + cores - 1)
            });
            each.collect::<Vec<_>>().join(",")
        };
        for socket in 0..sockets {
            tree =
                tree.file(&format!("/sys/devices/system/node/node{socket}/cpulist"), &of(socket));
        }
        for id in 0..all {
            let (core, socket) = (id % physical, id % physical / cores);
            let siblings: Vec<String> = (0..threads)
                .map(|t| (core + t * physical).to_string())
                .collect();
            tree = tree
                .file(&format!("{cpu}/cpu{id}/topology/physical_package_id"), &socket.to_string())
                .file(&format!("{cpu}/cpu{id}/topology/thread_siblings_list"), &siblings.join(","))
                .file(&format!("{cpu}/cpu{id}/cache/index0/level"), "1")
                .file(&format!("{cpu}/cpu{id}/cache/index0/shared_cpu_list"), &siblings.join(","))
                .file(&format!("{cpu}/cpu{id}/cache/index3/level"), "3")
                .file(&format!("{cpu}/cpu{id}/cache/index3/shared_cpu_list"), &of(socket));
        }
        tree
    }

    /// A limit of the group above the own one, as a pod's.
    pub(crate) fn quota(self, text: &str) -> Self {
        self.file("/sys/fs/cgroup/pod/cpu.max", text)
            .file("/sys/fs/cgroup/pod/app/cpu.max", "max 100000")
    }
}
