//! Four-level page tables (APM 2, 5.3): the walk that programs' and guests'
//! tables share.
//!
//! Entries are atomic because the CPU sets accessed and dirty bits, and another
//! CPU may walk while this one changes. A present leaf with [`OWNED`] holds a
//! reference to its frame; a table frame is owned by the entry that points to it.

use super::account::Account;
use super::physical::to_virtual;
use super::{Frame, OutOfMemory, PAGE_SIZE, Prot, frames};
use core::sync::atomic::{AtomicU64, Ordering};

pub(crate) const PRESENT: u64 = 1 << 0;
pub(crate) const WRITABLE: u64 = 1 << 1;
pub(crate) const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_DISABLE: u64 = 1 << 4;
pub(crate) const ACCESSED: u64 = 1 << 5;
pub(crate) const DIRTY: u64 = 1 << 6;
pub(crate) const LARGE: u64 = 1 << 7;
pub(crate) const GLOBAL: u64 = 1 << 8;
/// Software's bit: the leaf holds a reference to its frame.
pub(crate) const OWNED: u64 = 1 << 9;
pub(crate) const NO_EXECUTE: u64 = 1 << 63;
pub(crate) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

pub(crate) const ENTRIES: usize = 512;
/// The level whose entries map 4 KiB.
pub(crate) const LEAF: u32 = 0;
const TOP: u32 = 3;

/// Entries that are looked at together: those of a cache line. Most tables are
/// nearly empty.
const LINE: usize = 8;

/// Whether none of these entries is in use.
#[inline]
fn is_clear(line: &[AtomicU64]) -> bool {
    line.iter()
        .fold(0, |all, entry| all | entry.load(Ordering::Relaxed))
        == 0
}

/// Calls `visit` for each entry of `table` that is in use, with its place.
#[inline]
pub(crate) fn for_each_used(table: &[AtomicU64], mut visit: impl FnMut(usize, &AtomicU64)) {
    for (line, entries) in table.as_chunks::<LINE>().0.iter().enumerate() {
        if is_clear(entries) {
            continue;
        }
        for (place, entry) in entries.iter().enumerate() {
            if entry.load(Ordering::Relaxed) != 0 {
                visit(line * LINE + place, entry);
            }
        }
    }
}

/// Bytes that one entry of `level` covers.
#[inline]
pub(crate) const fn span(level: u32) -> u64 {
    4096 << (9 * level)
}

/// The entry of `level` for `address`.
#[inline]
pub(crate) const fn index(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * level)) as usize & (ENTRIES - 1)
}

/// A leaf's flags for a program's or guest's page.
#[inline]
pub(crate) fn leaf_flags(prot: Prot) -> u64 {
    let mut flags = USER | ACCESSED;
    // PROT_NONE keeps the frame but maps nothing.
    if prot.contains(Prot::READ) || prot.contains(Prot::WRITE) || prot.contains(Prot::EXEC) {
        flags |= PRESENT;
    }
    if prot.contains(Prot::WRITE) {
        flags |= WRITABLE;
    }
    if !prot.contains(Prot::EXEC) {
        flags |= NO_EXECUTE;
    }
    if prot.contains(Prot::UNCACHED) {
        flags |= WRITE_THROUGH | CACHE_DISABLE;
    }
    flags
}

/// The leaf for `frame`, whose reference it takes over.
#[inline]
pub(crate) fn owned_leaf(frame: Frame, prot: Prot) -> u64 {
    let address = frame.into_raw();
    address | leaf_flags(limited(address, prot)) | OWNED
}

/// `prot`, without stores where the frame at `address` is the boot archive's: the
/// kernel holds references to what is in there.
#[inline]
pub(crate) fn limited(address: u64, prot: Prot) -> Prot {
    if prot.contains(Prot::WRITE) && frames::is_read_only((address / PAGE_SIZE as u64) as u32) {
        prot.without(Prot::WRITE)
    } else {
        prot
    }
}

/// What a leaf's flags allow.
pub(crate) fn prot_of(entry: u64) -> Prot {
    if entry & PRESENT == 0 {
        return Prot::NONE;
    }
    let mut prot = Prot::READ;
    if entry & WRITABLE != 0 {
        prot = prot | Prot::WRITE;
    }
    if entry & NO_EXECUTE == 0 {
        prot = prot | Prot::EXEC;
    }
    prot
}

/// The entries of the table at physical `table`.
///
/// # Safety
/// A page table stands there and stays while the result is used.
#[inline]
pub(crate) unsafe fn entries(table: u64) -> &'static [AtomicU64; ENTRIES] {
    // SAFETY: as the caller says; the direct map covers it.
    unsafe { &*to_virtual(table).cast() }
}

/// The leaf entry for `address` below `root`, if the tables down to it exist.
///
/// # Safety
/// `root` is a top-level table that nobody frees meanwhile.
#[inline]
pub(crate) unsafe fn find(root: u64, address: u64) -> Option<&'static AtomicU64> {
    // SAFETY: passed on; a table that is found holds entries.
    unsafe { find_table(root, address).map(|table| &entries(table)[index(address, LEAF)]) }
}

/// The table that holds the leaf entry for `address` below `root`, if the
/// tables down to it exist.
///
/// # Safety
/// As [`find`].
#[inline]
pub(crate) unsafe fn find_table(root: u64, address: u64) -> Option<u64> {
    let mut table = root;
    let mut level = TOP;
    while level > LEAF {
        // SAFETY: `table` is the root or was pointed to by a present entry.
        let entry = unsafe { entries(table) }[index(address, level)].load(Ordering::Acquire);
        if entry & PRESENT == 0 || entry & LARGE != 0 {
            return None;
        }
        table = entry & ADDRESS;
        level -= 1;
    }
    Some(table)
}

/// As [`find`], making what tables are missing.
///
/// # Safety
/// As [`find`], and the caller alone changes these tables meanwhile.
pub(crate) unsafe fn find_or_make(
    root: u64,
    address: u64,
    account: &Account,
) -> Result<&'static AtomicU64, OutOfMemory> {
    let mut table = root;
    let mut level = TOP;
    while level > LEAF {
        // SAFETY: `table` is the root or was pointed to by a present entry.
        let slot = &unsafe { entries(table) }[index(address, level)];
        let entry = slot.load(Ordering::Acquire);
        table = if entry & PRESENT != 0 {
            entry & ADDRESS
        } else {
            let fresh = Frame::zeroed(account)?.into_raw();
            slot.store(fresh | PRESENT | WRITABLE | USER, Ordering::Release);
            fresh
        };
        level -= 1;
    }
    // SAFETY: as above.
    Ok(&unsafe { entries(table) }[index(address, LEAF)])
}

/// The table of the leaf entry for `address`, or the next address that may have
/// one.
///
/// # Safety
/// As [`find`].
#[inline]
unsafe fn leaf_table(
    root: u64,
    address: u64,
) -> Result<&'static [AtomicU64; ENTRIES], Option<u64>> {
    let mut table = root;
    let mut level = TOP;
    while level > LEAF {
        // SAFETY: `table` is the root or was pointed to by a present entry.
        let entry = unsafe { entries(table) }[index(address, level)].load(Ordering::Acquire);
        if entry & PRESENT == 0 {
            return Err((address & !(span(level) - 1)).checked_add(span(level)));
        }
        table = entry & ADDRESS;
        level -= 1;
    }
    // SAFETY: as above.
    Ok(unsafe { entries(table) })
}

/// Calls `visit` on every leaf entry in use within `start..end`, passing over
/// what has no tables.
///
/// # Safety
/// As [`find_or_make`].
pub(crate) unsafe fn for_each_leaf(
    root: u64,
    start: u64,
    end: u64,
    visit: &mut dyn FnMut(u64, &AtomicU64),
) {
    let mut address = start;
    while address < end {
        // SAFETY: passed on.
        let leaves = match unsafe { leaf_table(root, address) } {
            Ok(leaves) => leaves,
            Err(Some(next)) => {
                address = next;
                continue;
            }
            Err(None) => return,
        };
        loop {
            let place = index(address, LEAF);
            if place.is_multiple_of(LINE) && is_clear(&leaves[place..place + LINE]) {
                address += LINE as u64 * span(LEAF);
            } else {
                if leaves[place].load(Ordering::Relaxed) != 0 {
                    visit(address, &leaves[place]);
                }
                address += span(LEAF);
            }
            if address >= end || index(address, LEAF) == 0 {
                break;
            }
        }
    }
}

/// The first address within `start..end` whose leaf entry is in use.
///
/// # Safety
/// As [`find`].
pub(crate) unsafe fn first_leaf(root: u64, start: u64, end: u64) -> Option<u64> {
    let mut address = start;
    while address < end {
        // SAFETY: passed on.
        let leaves = match unsafe { leaf_table(root, address) } {
            Ok(leaves) => leaves,
            Err(next) => {
                address = next?;
                continue;
            }
        };
        // To the end of this table, without asking for it again.
        let behind = (address & !(span(LEAF + 1) - 1)) + span(LEAF + 1);
        while address < behind {
            let place = index(address, LEAF);
            if place.is_multiple_of(LINE) && is_clear(&leaves[place..place + LINE]) {
                address += LINE as u64 * span(LEAF);
            } else if leaves[place].load(Ordering::Relaxed) == 0 {
                address += span(LEAF);
            } else {
                return (address < end).then_some(address);
            }
        }
    }
    None
}

/// Frees all tables below the entries `slots` of `root`, and the frames that
/// their leaves own.
///
/// # Safety
/// No CPU can reach these tables any more.
pub(crate) unsafe fn free_below(root: u64, slots: core::ops::Range<usize>) {
    // SAFETY: passed on.
    unsafe { free_slots(root, TOP, slots) }
}

/// # Safety
/// As [`free_below`].
unsafe fn free_slots(table: u64, level: u32, slots: core::ops::Range<usize>) {
    // SAFETY: the table is the caller's to take apart.
    let table = unsafe { entries(table) };
    for_each_used(&table[slots], |_, slot| {
        let entry = slot.swap(0, Ordering::Relaxed);
        if level > LEAF {
            // SAFETY: the entry owned the table below; nobody else reaches it.
            unsafe {
                free_slots(entry & ADDRESS, level - 1, 0..ENTRIES);
                drop(Frame::from_raw(entry & ADDRESS));
            }
        } else if entry & OWNED != 0 {
            // SAFETY: the leaf held this reference.
            drop(unsafe { Frame::from_raw(entry & ADDRESS) });
        }
    });
}
