//! What a boot loader hands to the kernel, read without trust.
//!
//! [`BootInfo`] is the main type: command line, modules, the ACPI root pointer
//! and the [`MemoryMap`]. [`pvh`] fills it from the start info of the PVH boot
//! protocol. Nothing here allocates: it runs before the kernel has a heap.
//!
//! Neighbours: `firmware_tables` follows [`BootInfo::rsdp_address`]; the frame
//! allocator is built from [`BootInfo::memory`].
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod boot_modules;
mod command_line;
mod memory_map;
mod physical_memory;
pub mod pvh;

pub use boot_modules::{BootModule, BootModules, MAX_MODULES};
pub use command_line::{CommandLine, MAX_COMMAND_LINE};
pub use memory_map::{MAX_REGIONS, MapFull, MemoryKind, MemoryMap, MemoryRegion};
pub use physical_memory::{PhysicalMemory, Unreadable};
pub use pvh::BootInfoError;

/// Everything the boot loader said, in the kernel's own words.
#[derive(Clone, Debug)]
pub struct BootInfo {
    /// The kernel's command line; empty if the loader gave none.
    pub command_line: CommandLine,
    /// Boot modules in the loader's order; also marked in `memory`.
    pub modules: BootModules,
    /// Physical address of the ACPI root pointer, if the loader named one.
    pub rsdp_address: Option<u64>,
    /// Sorted, disjoint physical regions; what the loader's data occupies is
    /// already taken out of the usable ones.
    pub memory: MemoryMap,
}
