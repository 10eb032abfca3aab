//! Files that are made up when they are read: /proc and /sys (proc(5), sysfs(5)).
//!
//! [`generated`] is the file system: directories, texts from closures, links.
//! [`ProcFs`] fills one from [`Processes`] and [`Host`], which the layers above
//! implement; [`sysfs`] fills another. Other parts add files of their own with
//! [`Tree::add_text`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod generated;
mod host;
mod mounts;
mod process;
mod process_dir;
pub mod sysfs;

pub use generated::{Directory, Entry, GeneratedFs, Tree};
pub use host::{CpuInfo, CpuTimes, Host, MemoryInfo};
pub use mounts::mounts_text;
pub use process::{Limit, MapEntry, Process, ProcessStatus, Processes, State};

use abi::fs::PROC_SUPER_MAGIC;
use alloc::sync::Arc;
use vfs::Namespace;

/// Builds /proc.
pub struct ProcFs;

impl ProcFs {
    /// A tree with everything there is to know of `processes` and `host`. The
    /// caller may add to it, then mounts it with [`GeneratedFs::new`].
    #[must_use]
    pub fn tree(
        processes: &Arc<dyn Processes>,
        host: &Arc<dyn Host>,
        namespace: &Arc<Namespace>,
    ) -> Arc<Tree> {
        let tree = Tree::new();
        host::fill(&tree, host);
        process_dir::fill(&tree, processes, namespace);
        tree
    }

    /// The file system over a tree from [`ProcFs::tree`].
    #[must_use]
    pub fn mount(tree: &Arc<Tree>) -> Arc<GeneratedFs> {
        GeneratedFs::new("proc", PROC_SUPER_MAGIC, tree)
    }
}
