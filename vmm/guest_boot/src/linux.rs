//! Loads a bzImage and fills in the zero page for its 64-bit entry.
//!
//! Follows the Linux/x86 boot protocol: "The Real-Mode Kernel Header" for the
//! setup header, "Zero Page" for the rest. Neighbours: `image` reads the
//! header, `cpu_state` the CPU's side.

use crate::cpu_state::{self, BootPlan, EntryMode};
use crate::error::BootError;
use crate::image::{self, BzImageHeader};
use crate::{BootSource, CMDLINE_START, Module, ZERO_PAGE_START, load_initrd, memory_map};
use board::{RamLayout, address_map};
use linux_loader::loader::{BzImage, KernelLoader};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const ZERO_PAGE_LEN: usize = 4096;
const SETUP_HEADER: usize = 0x1F1;
const ENTRY_64: u64 = 0x200;
const LOADER_UNDEFINED: u8 = 0xFF;
const IDENTITY_MAPPED: u64 = 1 << 30;

pub(crate) fn load(
    memory: &GuestMemoryMmap,
    layout: &RamLayout,
    source: BootSource<'_>,
) -> Result<BootPlan, BootError> {
    let head = image::read_head(source.kernel)?;
    let header = image::bzimage_header(&head);
    let kernel_end = check(&header, layout, source.cmdline)?;
    let start = GuestAddress(address_map::HIGH_RAM_START);
    let loaded = BzImage::load(memory, Some(start), source.kernel, None)?;
    let kernel_end = kernel_end.max(loaded.kernel_end);
    let limit = if header.initrd_max == 0 {
        0x3800_0000
    } else {
        header.initrd_max + 1
    };
    let initrd = load_initrd(memory, layout, source.initrd, kernel_end, limit)?;
    let page = zero_page(&head, layout, initrd, source.rsdp);
    memory.write_slice(&page, GuestAddress(ZERO_PAGE_START))?;
    cpu_state::write_tables(memory, EntryMode::Long)?;
    Ok(BootPlan {
        mode: EntryMode::Long,
        entry: start.0 + ENTRY_64,
        rbx: 0,
        rsi: ZERO_PAGE_START,
    })
}

/// Returns the first address that the kernel leaves free.
fn check(header: &BzImageHeader, layout: &RamLayout, cmdline: &str) -> Result<u64, BootError> {
    if !header.has_64bit_entry {
        return Err(BootError::BadHeader(
            "it has no 64-bit entry (boot protocol 2.12 or newer and an x86-64 kernel are needed)",
        ));
    }
    if cmdline.len() > header.cmdline_max {
        return Err(BootError::CmdlineTooLong {
            len: cmdline.len(),
            max: header.cmdline_max,
        });
    }
    let image_end = address_map::HIGH_RAM_START.saturating_add(header.file_len);
    let run_end = header.preferred_start.saturating_add(header.init_size);
    let end = image_end.max(run_end);
    if end > layout.low.end().min(IDENTITY_MAPPED) {
        return Err(BootError::KernelTooLarge {
            end,
            ram_end: layout.low.end(),
        });
    }
    Ok(end)
}

fn zero_page(head: &[u8], layout: &RamLayout, initrd: Module, rsdp: u64) -> [u8; ZERO_PAGE_LEN] {
    let mut page = [0; ZERO_PAGE_LEN];
    // The header's length is in the jump instruction at its front.
    let header_end = 0x202 + usize::from(*head.get(0x201).unwrap_or(&0));
    let header_end = header_end.min(head.len()).max(SETUP_HEADER);
    if let Some(header) = head.get(SETUP_HEADER..header_end) {
        page[SETUP_HEADER..header_end].copy_from_slice(header);
    }
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x070, &rsdp.to_le_bytes());
    put(0x210, &[LOADER_UNDEFINED]);
    put(0x214, &(address_map::HIGH_RAM_START as u32).to_le_bytes());
    put(0x218, &(initrd.start as u32).to_le_bytes());
    put(0x21C, &(initrd.len as u32).to_le_bytes());
    put(0x228, &(CMDLINE_START as u32).to_le_bytes());
    let entries = memory_map::entries(layout);
    put(0x1E8, &[entries.len() as u8]);
    for (index, entry) in entries.iter().enumerate() {
        let at = 0x2D0 + 20 * index;
        put(at, &entry.start.to_le_bytes());
        put(at + 8, &entry.len.to_le_bytes());
        put(at + 16, &(entry.kind as u32).to_le_bytes());
    }
    page
}
