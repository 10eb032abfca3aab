//! The memory map, the direct map, and copying where others may write.

use super::{Frame, frames};
use crate::boot::BootInfo;
use crate::layout::DIRECT_MAP;
use boot_info::{MemoryKind, PhysicalMemory, Unreadable};
use core::arch::asm;
use core::arch::x86_64::__cpuid;
use sync::Once;

/// The first MiB holds firmware's data and the start code of other CPUs.
const LOW_MEMORY: u64 = 0x10_0000;
/// What the boot tables map.
const BOOT_REACH: u64 = 1 << 32;

static LOADED: Once<boot_info::BootInfo> = Once::new();

/// Where physical `address` stands in the direct map. Only a pointer: what may
/// be done with it is the caller's to know.
#[inline]
pub fn to_virtual(address: u64) -> *mut u8 {
    (DIRECT_MAP + address) as *mut u8
}

/// Copies `len` bytes that others may be writing meanwhile.
///
/// # Safety
/// Both ranges are mapped and do not overlap; nobody holds a reference into
/// the written one.
#[inline]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: as the caller says. In assembly, so that a race with a program or
    // a guest gives a mix of old and new bytes and nothing worse.
    unsafe {
        asm!(
            "rep movsq", "mov ecx, {rest:e}", "rep movsb",
            rest = in(reg) len & 7,
            inout("rcx") len / 8 => _, inout("rsi") from => _, inout("rdi") to => _,
            options(nostack, preserves_flags)
        );
    }
}

/// All of physical memory, for reading what firmware and loader left there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Physical;

impl PhysicalMemory for Physical {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Unreadable> {
        let length = buffer.len() as u64;
        let refused = Unreadable { address, length };
        let end = address.checked_add(length).ok_or(refused)?;
        let first = address & !0xfff;
        let reachable = match LOADED.get() {
            None => end <= BOOT_REACH,
            Some(_) => (first..end)
                .step_by(4096)
                .all(|page| super::is_mapped(DIRECT_MAP + page)),
        };
        if !reachable {
            return Err(refused);
        }
        // SAFETY: the range is in the direct map (all of the first 4 GiB before
        // `LOADED` is set, what was found mapped after), `buffer` is the
        // caller's own.
        unsafe { copy(to_virtual(address), buffer.as_mut_ptr(), buffer.len()) }
        Ok(())
    }
}

/// Whether the direct map covers memory of this kind.
pub(crate) fn is_direct(kind: MemoryKind) -> bool {
    kind <= MemoryKind::AcpiNvs
}

/// Reads what the loader told, and takes out of free memory what is in use.
pub(crate) fn read_boot_info(start_info: u64) -> boot_info::BootInfo {
    let bits = __cpuid(0x8000_0008).eax & 0xff;
    let mut loaded = match boot_info::pvh::read(&Physical, start_info, bits) {
        Ok(loaded) => loaded,
        Err(error) => panic!("the loader's start info at {start_info:#x} cannot be used: {error}"),
    };
    let image = super::kernel_table::image_range();
    for (start, end) in [(0, LOW_MEMORY), (LOW_MEMORY, image.end)] {
        if loaded
            .memory
            .claim(start, end - start, MemoryKind::Kernel)
            .is_err()
        {
            panic!(
                "the memory map has more than {} regions",
                boot_info::MAX_REGIONS
            );
        }
    }
    loaded
}

/// Gives out what the kernel needs to know of the loader's data.
pub(crate) fn finish(loaded: boot_info::BootInfo) -> BootInfo {
    let _ = LOADED.set(loaded);
    let loaded = LOADED.get().expect("invariant: set in the line above");
    BootInfo {
        command_line: loaded.command_line.as_str(),
        archive: archive(loaded),
        rsdp: loaded.rsdp_address.unwrap_or(0),
    }
}

fn archive(loaded: &boot_info::BootInfo) -> &'static [u8] {
    let Some(module) = loaded.modules.as_slice().first() else {
        return &[];
    };
    // SAFETY: the module's pages are claimed in the memory map, so no frame of
    // them is ever free, and nothing in the kernel writes to them: `boot_frame`
    // gives them out for reading only.
    unsafe { core::slice::from_raw_parts(to_virtual(module.address), module.length as usize) }
}

/// The frame at byte `offset` of the boot archive, if `offset` is that of a
/// whole page. It is never freed, and never written: `Frame` refuses that, and
/// tables map it for loads and fetches only.
pub fn boot_frame(offset: u64) -> Option<Frame> {
    let module = LOADED.get()?.modules.as_slice().first()?;
    let address = module.address.checked_add(offset)?;
    if !address.is_multiple_of(4096) || offset.checked_add(4096)? > module.length {
        return None;
    }
    Some(frames::share_boot_frame(address))
}

/// Whether `start..end` holds memory that the kernel or programs use.
pub(crate) fn overlaps_memory(start: u64, end: u64) -> bool {
    let Some(loaded) = LOADED.get() else {
        return false;
    };
    loaded
        .memory
        .regions()
        .iter()
        .any(|region| is_direct(region.kind) && region.start < end && start < region.end)
}
