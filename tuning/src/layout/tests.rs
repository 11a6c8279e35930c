use super::*;
use crate::testing::Tree;

fn proposal(tree: &Tree) -> Proposal {
    Layout::read(&tree.root()).proposal()
}

#[test]
fn one_socket_without_and_with_smt() {
    let plain = proposal(&Tree::machine(1, 4, 1));
    assert_eq!((plain.cores, plain.cpus.as_deref()), (4, Some([0, 1, 2, 3].as_slice())));
    assert!(plain.left.is_empty() && plain.reasons.is_empty());
    // CPUs 4 to 7 are the second threads of cores 0 to 3.
    let smt = proposal(&Tree::machine(1, 4, 2));
    assert_eq!((smt.cpus, smt.left), (Some(vec![0, 1, 2, 3]), vec![4, 5, 6, 7]));
    assert!(smt.reasons[0].contains("one hardware thread of each core"));
    let large = proposal(&Tree::machine(1, 8, 1));
    assert_eq!((large.cpus, large.left), (Some(vec![1, 2, 3, 4, 5, 6, 7]), vec![0]));
}

#[test]
fn the_card_s_node_comes_first() {
    let tree = Tree::machine(2, 4, 2)
        .file("/sys/class/net/eth0/operstate", "up")
        .file("/sys/class/net/eth0/device/numa_node", "1")
        .file("/sys/class/net/down0/operstate", "down")
        .file("/sys/class/net/down0/device/numa_node", "0")
        .file("/sys/class/net/lo/operstate", "unknown");
    let layout = Layout::read(&tree.root());
    assert_eq!(layout.cards, [("eth0".to_owned(), 1), ("down0".to_owned(), 0)]);
    let cpu = layout.cpus.iter().find(|cpu| cpu.id == 5).unwrap();
    assert_eq!((cpu.node, cpu.socket, cpu.siblings.as_slice()), (1, 1, [5, 13].as_slice()));
    assert_eq!(cpu.cache, [4, 5, 6, 7, 12, 13, 14, 15]);
    // The first core of the card's node is left to its interrupts.
    let proposal = layout.proposal();
    assert_eq!(proposal.cpus, Some(vec![5, 6, 7, 0, 1, 2, 3]));
    assert!(
        proposal
            .reasons
            .iter()
            .any(|r| r.contains("eth0 is attached")),
        "{:?}",
        proposal.reasons
    );
    assert!(layout.to_string().contains("cpus = [5, 6, 7, 0, 1, 2, 3]"));
}

#[test]
fn a_quota_of_one_and_a_half_cpus_is_one_core_that_is_not_pinned() {
    let half = proposal(&Tree::machine(1, 8, 2).quota("150000 100000"));
    assert_eq!((half.cores, half.cpus.clone()), (1, None));
    assert_eq!(half.toml(), "[cores]\ncount = 1\ncpus = \"any\"\n");
    let little = proposal(&Tree::machine(1, 8, 1).quota("20000 100000"));
    assert_eq!((little.cores, little.cpus), (1, None));
    // Enough for all: no limit in truth.
    let enough = proposal(&Tree::machine(1, 2, 1).quota("200000 100000"));
    assert_eq!((enough.cores, enough.cpus), (2, Some(vec![0, 1])));
    let none = proposal(&Tree::machine(1, 2, 1).quota("max 100000"));
    assert_eq!(none.cpus, Some(vec![0, 1]));
}

#[test]
fn a_cpu_set_is_honoured() {
    // As a kubelet with the static CPU manager gives them.
    let tree = Tree::machine(1, 8, 2)
        .file("/sys/fs/cgroup/pod/app/cpuset.cpus.effective", "3,5,11,13")
        .file("/sys/fs/cgroup/pod/cpuset.cpus.effective", "0-15");
    assert_eq!(proposal(&tree).cpus, Some(vec![3, 5]));
    let pinned = Tree::machine(1, 8, 1).file("/proc/self/status", "Cpus_allowed_list:\t6-7\n");
    assert_eq!(proposal(&pinned).cpus, Some(vec![6, 7]));
}

#[test]
fn groups_of_version_1() {
    let tree = Tree::machine(1, 4, 1)
        .file(
            "/proc/self/cgroup",
            "5:cpuset:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/\n",
        )
        .file("/sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us", "250000")
        .file("/sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000")
        .file("/sys/fs/cgroup/cpuset/docker/x/cpuset.cpus", "0-3");
    assert_eq!(proposal(&tree).cores, 2);
    let none = Tree::machine(1, 4, 1)
        .file("/proc/self/cgroup", "4:cpu,cpuacct:/\n")
        .file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1")
        .file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000");
    assert_eq!(proposal(&none).cores, 4);
}

#[test]
fn this_machine() {
    let layout = Layout::read(&Root::default());
    assert!(!layout.cpus.is_empty() && layout.proposal().cores >= 1);
}
