//! Boot archives: what a kernel finds as its first file system.
//!
//! Three things live here, all without any product concept: [`Archive`] writes the "newc" cpio format,
//! [`ModuleTree`] reads an unpacked kernel package and says in which order modules must be loaded, and
//! [`LinuxSystem`] makes a small Linux of both.
//! Neighbours: `xtask` decides what goes into which archive; the VMkernel and Linux read them.

#![forbid(unsafe_code)]

mod archive;
mod linux_system;
mod module_tree;

pub use archive::{Alignment, Archive, PAGE_SIZE};
pub use linux_system::LinuxSystem;
pub use module_tree::{Module, ModuleTree};
