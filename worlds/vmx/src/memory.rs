//! Guest RAM: [`allocate`] maps it as the address map says.
//!
//! Pages come when the guest touches them. Nothing is reserved beforehand, so
//! a VM costs what it uses.

use board::RamLayout;
use std::io;
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap};

/// Maps the ranges of `layout`.
///
/// # Errors
/// The kernel has no room for them.
pub fn allocate(layout: &RamLayout) -> io::Result<GuestMemoryMmap> {
    let regions = layout.ranges().map(|range| {
        let mapping = MmapRegionBuilder::new(range.len as usize)
            .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
            .with_mmap_flags(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE)
            .build()
            .map_err(io::Error::other)?;
        GuestRegionMmap::new(mapping, GuestAddress(range.start))
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
    });
    let regions = regions.collect::<io::Result<Vec<_>>>()?;
    GuestMemoryMmap::from_regions(regions).map_err(io::Error::other)
}
