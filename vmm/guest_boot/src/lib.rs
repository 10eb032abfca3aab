//! Boot loading without firmware: puts kernel, initrd, command line and memory
//! map into guest memory and says in which state the first CPU starts.
//!
//! Main entry: [`load`], which returns a [`BootPlan`]. Two protocols: the
//! 64-bit entry of the Linux/x86 boot protocol for bzImage files
//! ([`linux`]), and the PVH entry for ELF kernels ([`pvh`]). The register
//! state is data of the KVM ABI ([`cpu_state`]); applying it is the monitor's
//! business. Neighbours: `board` for the address map, `guest_acpi` for the
//! tables whose address is handed over.
#![forbid(unsafe_code)]

pub mod cpu_state;
pub mod error;
pub mod image;
pub mod linux;
pub mod memory_map;
pub mod pvh;

use board::RamLayout;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

pub use cpu_state::{BootPlan, EntryMode};
pub use error::BootError;
pub use image::ImageKind;

/// Where the global descriptor table is put.
pub const GDT_START: u64 = 0x500;
/// Where the PVH start information and its lists are put.
pub const START_INFO_START: u64 = 0x6000;
/// Where the Linux zero page is put.
pub const ZERO_PAGE_START: u64 = 0x7000;
/// Where the first page tables are put: three pages.
pub const PAGE_TABLES_START: u64 = 0x9000;
/// Where the command line is put.
pub const CMDLINE_START: u64 = 0x2_0000;
/// Room for the command line with its terminating zero byte.
pub const CMDLINE_MAX: usize = 4096;

/// What to boot.
pub struct BootSource<'a> {
    /// The kernel file: bzImage or ELF with a PVH note.
    pub kernel: &'a mut File,
    /// The initial RAM disk, if there is one.
    pub initrd: Option<&'a mut File>,
    /// The kernel's command line.
    pub cmdline: &'a str,
    /// Guest physical address of the ACPI root pointer.
    pub rsdp: u64,
}

/// Where a module (the initrd) ended up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Module {
    pub start: u64,
    pub len: u64,
}

/// Loads everything into `memory` and returns how the first CPU starts.
///
/// # Errors
/// A [`BootError`] that names what does not fit, is truncated or unknown.
pub fn load(
    memory: &GuestMemoryMmap,
    layout: &RamLayout,
    source: BootSource<'_>,
) -> Result<BootPlan, BootError> {
    write_cmdline(memory, source.cmdline)?;
    match image::identify(source.kernel)? {
        ImageKind::BzImage => linux::load(memory, layout, source),
        ImageKind::Elf => pvh::load(memory, layout, source),
    }
}

fn write_cmdline(memory: &GuestMemoryMmap, cmdline: &str) -> Result<(), BootError> {
    if cmdline.len() >= CMDLINE_MAX {
        return Err(BootError::CmdlineTooLong {
            len: cmdline.len(),
            max: CMDLINE_MAX - 1,
        });
    }
    if cmdline.contains('\0') {
        return Err(BootError::CmdlineHasZero);
    }
    memory.write_slice(cmdline.as_bytes(), GuestAddress(CMDLINE_START))?;
    memory.write_obj(0u8, GuestAddress(CMDLINE_START + cmdline.len() as u64))?;
    Ok(())
}

/// Puts the initrd as high as `limit` and low RAM allow, above `kernel_end`.
fn load_initrd(
    memory: &GuestMemoryMmap,
    layout: &RamLayout,
    file: Option<&mut File>,
    kernel_end: u64,
    limit: u64,
) -> Result<Module, BootError> {
    let Some(file) = file else {
        return Ok(Module::default());
    };
    let len = file.seek(SeekFrom::End(0)).map_err(BootError::ReadInitrd)?;
    file.rewind().map_err(BootError::ReadInitrd)?;
    let top = layout.low.end().min(limit);
    let start = top
        .checked_sub(len)
        .map(|s| s & !0xFFF)
        .filter(|s| *s >= kernel_end);
    let Some(start) = start else {
        let room = top.saturating_sub(kernel_end);
        return Err(BootError::InitrdTooLarge { len, room });
    };
    memory.read_exact_volatile_from(GuestAddress(start), file, len as usize)?;
    Ok(Module { start, len })
}

#[cfg(test)]
mod tests;
