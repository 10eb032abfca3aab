//! The kernel's half of every address space: image, direct map, stacks and
//! devices. W^X: only the image's text is executable, and nothing writes there.

use super::account::Account;
use super::physical::is_direct;
use super::table::{self, ADDRESS, ENTRIES, GLOBAL, LARGE, NO_EXECUTE, PRESENT, WRITABLE};
use super::{Frame, OutOfMemory, PAGE_SIZE, flush, frames};
use crate::layout::{DEVICES, DIRECT_MAP, IMAGE, STACKS};
use crate::registers;
use boot_info::MemoryMap;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use sync::SpinLock;

unsafe extern "C" {
    static image_start: u8;
    static text_end: u8;
    static rodata_end: u8;
    static image_end: u8;
}

const LARGE_PAGE: u64 = 2 << 20;
const HUGE_PAGE: u64 = 1 << 30;
const CACHE_DISABLE: u64 = 1 << 4 | 1 << 3;

static ROOT: AtomicU64 = AtomicU64::new(0);
/// Held while the kernel's half changes; its value is the next free address for
/// device registers.
static CHANGE: SpinLock<u64> = SpinLock::new(DEVICES);

/// The top-level table with nothing but the kernel.
#[inline]
pub(crate) fn kernel_root() -> u64 {
    ROOT.load(Ordering::Relaxed)
}

/// The physical range of the image, boot code included.
pub(crate) fn image_range() -> Range<u64> {
    let (start, end) = (&raw const image_start as u64, &raw const image_end as u64);
    start - IMAGE..end - IMAGE
}

/// Builds the kernel's tables and loads them.
pub(crate) fn init(map: &MemoryMap) {
    let root = Frame::zeroed(&Account::kernel()).unwrap_or_else(|_| no_memory());
    ROOT.store(root.into_raw(), Ordering::Relaxed);
    map_image();
    map_direct(map);
    // One top-level entry each, made now: later address spaces copy them.
    for address in [STACKS, DEVICES] {
        entry(address, 2);
    }
    // SAFETY: the new tables map what runs now: image, stack (in the image) and
    // direct map, all as before but with less access.
    unsafe { registers::set_cr3(kernel_root()) };
    frames::add_high(map);
}

fn no_memory() -> ! {
    panic!("no memory for the kernel's page tables")
}

/// The entry of `level` for `address`, with all tables above it.
fn entry(address: u64, level: u32) -> &'static AtomicU64 {
    try_entry(address, level).unwrap_or_else(|_| no_memory())
}

fn try_entry(address: u64, level: u32) -> Result<&'static AtomicU64, OutOfMemory> {
    let mut table = kernel_root();
    let mut at = 3;
    while at > level {
        // SAFETY: kernel tables are never freed.
        let slot = &unsafe { table::entries(table) }[table::index(address, at)];
        let value = slot.load(Ordering::Acquire);
        table = if value & PRESENT != 0 {
            value & ADDRESS
        } else {
            let fresh = Frame::zeroed(&Account::kernel())?.into_raw();
            slot.store(fresh | PRESENT | WRITABLE, Ordering::Release);
            fresh
        };
        at -= 1;
    }
    // SAFETY: as above.
    Ok(&unsafe { table::entries(table) }[table::index(address, level)])
}

fn map_image() {
    let parts = [
        (&raw const image_start as u64, &raw const text_end as u64, 0),
        (
            &raw const text_end as u64,
            &raw const rodata_end as u64,
            NO_EXECUTE,
        ),
        (
            &raw const rodata_end as u64,
            &raw const image_end as u64,
            NO_EXECUTE | WRITABLE,
        ),
    ];
    for (start, end, flags) in parts {
        for address in (start..end).step_by(PAGE_SIZE) {
            entry(address, 0).store(
                (address - IMAGE) | PRESENT | GLOBAL | flags,
                Ordering::Release,
            );
        }
    }
}

fn map_direct(map: &MemoryMap) {
    let end = map.memory_end();
    let huge = registers::features().gib_pages;
    let mut address = 0;
    while address < end {
        let flags = PRESENT | WRITABLE | GLOBAL | LARGE | NO_EXECUTE;
        let whole = huge
            && address % HUGE_PAGE == 0
            && covers(map, address, address + HUGE_PAGE)
            && !overlaps_constants(address, address + HUGE_PAGE);
        if whole {
            entry(DIRECT_MAP + address, 2).store(address | flags, Ordering::Release);
            address += HUGE_PAGE;
        } else {
            // A large page that begins in memory may reach past its end, into
            // what the memory type ranges keep uncached.
            if overlaps_constants(address, address + LARGE_PAGE) {
                map_direct_beside_constants(address);
            } else if touches(map, address, address + LARGE_PAGE) {
                entry(DIRECT_MAP + address, 1).store(address | flags, Ordering::Release);
            }
            address += LARGE_PAGE;
        }
    }
}

/// The physical range of the image's text and constants.
fn constants() -> Range<u64> {
    &raw const image_start as u64 - IMAGE..&raw const rodata_end as u64 - IMAGE
}

fn overlaps_constants(start: u64, end: u64) -> bool {
    let constants = constants();
    constants.start < end && start < constants.end
}

/// Maps a large page's worth of the direct map in which the image stands: its
/// text and constants cannot be written here either.
fn map_direct_beside_constants(start: u64) {
    for address in (start..start + LARGE_PAGE).step_by(PAGE_SIZE) {
        let is_constant = constants().contains(&address);
        let flags = PRESENT | GLOBAL | NO_EXECUTE | if is_constant { 0 } else { WRITABLE };
        entry(DIRECT_MAP + address, 0).store(address | flags, Ordering::Release);
    }
}

/// Whether all of `start..end` is memory.
fn covers(map: &MemoryMap, start: u64, end: u64) -> bool {
    let mut at = start;
    for region in map.regions().iter().filter(|region| is_direct(region.kind)) {
        if region.start <= at && at < region.end {
            at = region.end;
        }
    }
    at >= end
}

/// Whether some of `start..end` is memory.
fn touches(map: &MemoryMap, start: u64, end: u64) -> bool {
    map.regions()
        .iter()
        .any(|region| is_direct(region.kind) && region.start < end && start < region.end)
}

/// Whether the kernel has `address` mapped.
pub fn is_mapped(address: u64) -> bool {
    if ROOT.load(Ordering::Relaxed) == 0 {
        return true;
    }
    let mut table = kernel_root();
    for level in (0..4).rev() {
        // SAFETY: kernel tables are never freed.
        let entry =
            unsafe { table::entries(table) }[table::index(address, level)].load(Ordering::Acquire);
        if entry & PRESENT == 0 {
            return false;
        }
        if entry & LARGE != 0 {
            return true;
        }
        table = entry & ADDRESS;
    }
    true
}

/// Maps fresh memory at `start..end`, a kernel stack, where nothing is mapped. At
/// an error, what got mapped stays for the next attempt at the same place.
pub(crate) fn map_stack(start: u64, end: u64) -> Result<(), OutOfMemory> {
    let _change = CHANGE.lock();
    for address in (start..end).step_by(PAGE_SIZE) {
        let leaf = try_entry(address, 0)?;
        if leaf.load(Ordering::Relaxed) == 0 {
            let frame = Frame::zeroed(&Account::kernel())?.into_raw();
            leaf.store(
                frame | PRESENT | WRITABLE | GLOBAL | NO_EXECUTE,
                Ordering::Release,
            );
        }
    }
    Ok(())
}

/// Frees what [`map_stack`] mapped at `start..end`, which nobody uses any more.
pub(crate) fn unmap_stack(start: u64, end: u64) {
    let mut frames = [const { None }; 32];
    for (address, slot) in (start..end).step_by(PAGE_SIZE).zip(&mut frames) {
        if let Ok(leaf) = try_entry(address, 0) {
            let old = leaf.swap(0, Ordering::AcqRel);
            // SAFETY: a stack's leaf holds the only reference to its frame.
            *slot = (old & PRESENT != 0).then(|| unsafe { Frame::from_raw(old & ADDRESS) });
        }
    }
    flush::forget_kernel(start, end);
    drop(frames);
}

/// A device's registers, mapped uncached. The mapping stays for good.
#[derive(Clone, Copy, Debug)]
pub struct DeviceMemory {
    base: u64,
    len: usize,
}

impl DeviceMemory {
    /// Maps `len` bytes of registers at physical `address`. Memory of the
    /// machine's own (RAM) is refused.
    pub fn map(address: u64, len: usize) -> Option<Self> {
        let start = address & !0xfff;
        let end = address
            .checked_add(len as u64)?
            .checked_next_multiple_of(4096)?;
        if super::physical::overlaps_memory(start, end) {
            return None;
        }
        let mut next = CHANGE.lock();
        let base = *next;
        // Also where the tables cannot be had: what is mapped by then stays.
        *next = base + (end - start);
        for (page, at) in (start..end)
            .step_by(PAGE_SIZE)
            .zip((base..).step_by(PAGE_SIZE))
        {
            let flags = PRESENT | WRITABLE | GLOBAL | NO_EXECUTE | CACHE_DISABLE;
            try_entry(at, 0)
                .ok()?
                .store(page | flags, Ordering::Release);
        }
        Some(Self {
            base: base + (address - start),
            len,
        })
    }

    /// Its length in bytes.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a mapping of no bytes is of no use"
    )]
    pub fn len(&self) -> usize {
        self.len
    }

    fn pointer<T>(&self, offset: usize) -> *mut T {
        let fits = offset
            .checked_add(size_of::<T>())
            .is_some_and(|end| end <= self.len);
        assert!(
            fits && offset.is_multiple_of(size_of::<T>()),
            "invariant: register {offset:#x} of {:#x} bytes",
            self.len
        );
        (self.base + offset as u64) as *mut T
    }
}

macro_rules! registers {
    ($($read:ident, $write:ident: $type:ty;)*) => {
        impl DeviceMemory {
            $(
                /// Reads the register at `offset`.
                #[inline]
                pub fn $read(&self, offset: usize) -> $type {
                    // SAFETY: within the mapping and aligned; device registers
                    // hold no Rust objects.
                    unsafe { self.pointer::<$type>(offset).read_volatile() }
                }

                /// Writes the register at `offset`.
                #[inline]
                pub fn $write(&self, offset: usize, value: $type) {
                    // SAFETY: as above.
                    unsafe { self.pointer::<$type>(offset).write_volatile(value) }
                }
            )*
        }
    };
}

registers! {
    read_u8, write_u8: u8;
    read_u16, write_u16: u16;
    read_u32, write_u32: u32;
    read_u64, write_u64: u64;
}

const _: () = assert!(ENTRIES == 512);
