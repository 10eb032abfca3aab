//! /sys, as far as programs look at it: CPUs, memory nodes, huge pages.

use crate::generated::{GeneratedFs, Tree};
use crate::host::{Host, ranges};
use abi::fs::SYSFS_MAGIC;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

/// A tree of what /sys tells of `host`. Others may add to it.
#[must_use]
pub fn tree(host: &Arc<dyn Host>) -> Arc<Tree> {
    let tree = Tree::new();
    for name in ["online", "possible", "present"] {
        let host = host.clone();
        let path = format!("devices/system/cpu/{name}");
        tree.add_text(&path, move || format!("{}\n", all_cpus(&*host)));
    }
    tree.add_fixed("devices/system/cpu/offline", "\n");
    tree.add_fixed("devices/system/cpu/kernel_max", "63\n");
    for (index, cpu) in host.cpus().iter().enumerate() {
        let base = format!("devices/system/cpu/cpu{index}/topology");
        tree.add_fixed(&format!("{base}/core_id"), &format!("{}\n", cpu.core));
        tree.add_fixed(&format!("{base}/physical_package_id"), "0\n");
        tree.add_fixed(
            &format!("{base}/thread_siblings_list"),
            &format!("{index}\n"),
        );
        let siblings = host.clone();
        let path = format!("{base}/core_siblings_list");
        tree.add_text(&path, move || format!("{}\n", all_cpus(&*siblings)));
    }
    for name in ["online", "possible", "has_cpu", "has_memory"] {
        tree.add_fixed(&format!("devices/system/node/{name}"), "0\n");
    }
    let cpus = host.clone();
    tree.add_text("devices/system/node/node0/cpulist", move || {
        format!("{}\n", all_cpus(&*cpus))
    });
    tree.add_fixed(
        "kernel/mm/transparent_hugepage/enabled",
        "always madvise [never]\n",
    );
    tree.add_fixed("kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152\n");
    for empty in ["class", "block", "bus", "fs", "module"] {
        tree.subtree(empty);
    }
    tree.subtree("fs").subtree("cgroup");
    tree
}

/// The file system over a tree from [`tree`].
#[must_use]
pub fn mount(tree: &Arc<Tree>) -> Arc<GeneratedFs> {
    GeneratedFs::new("sysfs", SYSFS_MAGIC, tree)
}

fn all_cpus(host: &dyn Host) -> String {
    ranges(&(0..host.cpu_times().len()).collect())
}
