//! Loads an ELF kernel and writes the start information of the PVH boot ABI.
//!
//! The entry is the 32-bit address in the ELF note of type
//! `XEN_ELFNOTE_PHYS32_ENTRY`; the structures are those of "x86/HVM direct
//! boot ABI". Neighbour: `linux`, the other protocol.

use crate::cpu_state::{self, BootPlan, EntryMode};
use crate::error::BootError;
use crate::{BootSource, CMDLINE_START, Module, START_INFO_START, load_initrd, memory_map};
use board::{RamLayout, address_map};
use linux_loader::loader::elf::PvhBootCapability;
use linux_loader::loader::{Elf, KernelLoader};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const MAGIC: u32 = 0x336E_C578;
const VERSION: u32 = 1;
const MODULE_LIST: u64 = START_INFO_START + 0x100;
const MEMORY_MAP: u64 = START_INFO_START + 0x200;

pub(crate) fn load(
    memory: &GuestMemoryMmap,
    layout: &RamLayout,
    source: BootSource<'_>,
) -> Result<BootPlan, BootError> {
    let low = GuestAddress(address_map::HIGH_RAM_START);
    let loaded = Elf::load(memory, None, source.kernel, Some(low))?;
    let PvhBootCapability::PvhEntryPresent(entry) = loaded.pvh_boot_cap else {
        return Err(BootError::BadHeader("the ELF file has no PVH entry note"));
    };
    if loaded.kernel_end > layout.low.end() {
        let ram_end = layout.low.end();
        return Err(BootError::KernelTooLarge {
            end: loaded.kernel_end,
            ram_end,
        });
    }
    let initrd = load_initrd(memory, layout, source.initrd, loaded.kernel_end, u64::MAX)?;
    write_start_info(memory, layout, initrd, source.rsdp)?;
    cpu_state::write_tables(memory, EntryMode::Protected)?;
    Ok(BootPlan {
        mode: EntryMode::Protected,
        entry: entry.0,
        rbx: START_INFO_START,
        rsi: 0,
    })
}

fn write_start_info(
    memory: &GuestMemoryMmap,
    layout: &RamLayout,
    initrd: Module,
    rsdp: u64,
) -> Result<(), BootError> {
    let modules = u32::from(initrd.len > 0);
    let entries = memory_map::entries(layout);
    let mut info = Vec::with_capacity(56);
    for word in [MAGIC, VERSION, 0, modules] {
        info.extend_from_slice(&word.to_le_bytes());
    }
    for address in [MODULE_LIST, CMDLINE_START, rsdp, MEMORY_MAP] {
        info.extend_from_slice(&address.to_le_bytes());
    }
    info.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    info.extend_from_slice(&0u32.to_le_bytes());
    memory.write_slice(&info, GuestAddress(START_INFO_START))?;

    let module = [initrd.start, initrd.len, 0, 0]
        .map(u64::to_le_bytes)
        .concat();
    memory.write_slice(&module, GuestAddress(MODULE_LIST))?;
    for (index, entry) in entries.iter().enumerate() {
        let line = [entry.start, entry.len, u64::from(entry.kind as u32)];
        let at = MEMORY_MAP + 24 * index as u64;
        memory.write_slice(&line.map(u64::to_le_bytes).concat(), GuestAddress(at))?;
    }
    Ok(())
}
