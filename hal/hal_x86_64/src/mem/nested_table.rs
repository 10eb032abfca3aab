//! [`NestedTable`]: where a guest's physical memory is (APM 2, 15.25).
//!
//! The format is that of ordinary tables; every entry is a user's, as nested
//! walks are user accesses.

use super::account::Account;
use super::physical::{copy, to_virtual};
use super::table::{self, ADDRESS, ENTRIES, OWNED, PRESENT, WRITABLE};
use super::{Frame, MapError, OutOfMemory, PAGE_SIZE, Prot};
use core::cell::Cell;
use core::ops::Range;
use core::sync::atomic::Ordering;

/// Guest-physical addresses end here (the lower half of four levels).
const END: u64 = 1 << 47;

/// A guest-physical page without a frame, or not writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotMapped {
    /// The guest-physical address.
    pub gpa: u64,
}

/// A guest's physical memory. Each mapping holds a reference to its frame; who
/// unmaps gets the frames and lets go of them once no vCPU can reach them.
#[derive(Debug)]
pub struct NestedTable {
    root: u64,
    account: Account,
    /// Where some regions' leaf tables are: the region's number plus one, and
    /// the table. Tables stay until the whole is dropped, so these never go stale.
    recent: [Cell<(u64, u64)>; RECENT],
}

/// Regions remembered; a power of two.
const RECENT: usize = 8;
/// log2 of the bytes that one leaf table covers.
const REGION: u32 = 21;

impl NestedTable {
    /// Empty guest-physical memory, its tables charged to `account`.
    pub fn new(account: &Account) -> Result<Self, OutOfMemory> {
        Ok(Self {
            root: Frame::zeroed(account)?.into_raw(),
            account: account.clone(),
            recent: Default::default(),
        })
    }

    /// The top-level table's physical address, for N_CR3.
    pub fn root_phys(&self) -> u64 {
        self.root
    }

    /// Maps `frame` at `gpa`. What was there goes to `sink`.
    pub fn map(
        &mut self,
        gpa: u64,
        frame: Frame,
        prot: Prot,
        sink: &mut dyn FnMut(Frame),
    ) -> Result<(), MapError> {
        if gpa >= END || !gpa.is_multiple_of(PAGE_SIZE as u64) {
            return Err(MapError::BadAddress);
        }
        // SAFETY: the root lives as long as `self`; `&mut` makes this the only
        // change.
        let leaf = unsafe { table::find_or_make(self.root, gpa, &self.account) }?;
        let old = leaf.swap(table::owned_leaf(frame, prot), Ordering::AcqRel);
        retire(old, sink);
        Ok(())
    }

    /// Unmaps `range`. The frames go to `sink`, and stay reachable for vCPUs
    /// until these have flushed.
    pub fn unmap(&mut self, range: Range<u64>, sink: &mut dyn FnMut(Frame)) {
        // SAFETY: as `map`.
        unsafe {
            table::for_each_leaf(
                self.root,
                range.start,
                range.end.min(END),
                &mut |_, leaf| {
                    retire(leaf.swap(0, Ordering::AcqRel), sink);
                },
            );
        }
    }

    /// Takes write access from the pages in `range`.
    pub fn write_protect(&mut self, range: Range<u64>) {
        // SAFETY: as `map`.
        unsafe {
            table::for_each_leaf(
                self.root,
                range.start,
                range.end.min(END),
                &mut |_, leaf| {
                    leaf.fetch_and(!WRITABLE, Ordering::AcqRel);
                },
            );
        }
    }

    /// Where `gpa` is and what its page allows.
    #[inline]
    pub fn lookup(&self, gpa: u64) -> Option<(u64, Prot)> {
        let entry = self.entry(gpa)?;
        Some((entry & ADDRESS | gpa & 0xfff, table::prot_of(entry)))
    }

    /// Copies guest-physical memory; all of the range must be mapped.
    pub fn read_guest(&self, gpa: u64, to: &mut [u8]) -> Result<(), NotMapped> {
        let mut done = 0;
        while done < to.len() {
            let at = gpa.wrapping_add(done as u64);
            let entry = self.entry(at).ok_or(NotMapped { gpa: at })?;
            let offset = (at & 0xfff) as usize;
            let len = (to.len() - done).min(PAGE_SIZE - offset);
            // SAFETY: the leaf holds a reference to a frame that is in the
            // direct map; `&self` keeps it mapped.
            unsafe {
                copy(
                    to_virtual(entry & ADDRESS).add(offset),
                    to[done..].as_mut_ptr(),
                    len,
                )
            }
            done += len;
        }
        Ok(())
    }

    /// Copies to guest-physical memory; all of the range must be mapped
    /// writable.
    pub fn write_guest(&self, gpa: u64, from: &[u8]) -> Result<(), NotMapped> {
        let mut done = 0;
        while done < from.len() {
            let at = gpa.wrapping_add(done as u64);
            let entry = self
                .entry(at)
                .filter(|entry| entry & WRITABLE != 0)
                .ok_or(NotMapped { gpa: at })?;
            let offset = (at & 0xfff) as usize;
            let len = (from.len() - done).min(PAGE_SIZE - offset);
            // SAFETY: as `read_guest`.
            unsafe {
                copy(
                    from[done..].as_ptr(),
                    to_virtual(entry & ADDRESS).add(offset),
                    len,
                )
            }
            done += len;
        }
        Ok(())
    }

    /// The aligned 64-bit word at `gpa`, in one access: for walking a guest's
    /// own tables.
    #[inline]
    pub fn read_guest_u64(&self, gpa: u64) -> Option<u64> {
        if !gpa.is_multiple_of(8) {
            return None;
        }
        let entry = self.entry(gpa)?;
        // SAFETY: as `read_guest`; aligned, and atomic against the guest.
        let word = unsafe {
            &*to_virtual(entry & ADDRESS | gpa & 0xfff).cast::<core::sync::atomic::AtomicU64>()
        };
        Some(word.load(Ordering::Relaxed))
    }

    #[inline]
    fn entry(&self, gpa: u64) -> Option<u64> {
        if gpa >= END {
            return None;
        }
        let region = gpa >> REGION;
        let recent = &self.recent[region as usize % RECENT];
        let (known, mut leaves) = recent.get();
        if known != region + 1 {
            // SAFETY: the root lives; `&self` keeps changes away.
            leaves = unsafe { table::find_table(self.root, gpa) }?;
            recent.set((region + 1, leaves));
        }
        // SAFETY: a leaf table below the root, which stays until `drop`.
        let entry = unsafe { table::entries(leaves) }[table::index(gpa, table::LEAF)]
            .load(Ordering::Acquire);
        (entry & (OWNED | PRESENT) == OWNED | PRESENT).then_some(entry)
    }
}

impl Drop for NestedTable {
    /// The owner drops it when no vCPU can run on it any more.
    fn drop(&mut self) {
        // SAFETY: `root` is this table's alone; every `HardwareVcpu` of hal_svm
        // keeps the table that it runs on.
        unsafe {
            table::free_below(self.root, 0..ENTRIES);
            drop(Frame::from_raw(self.root));
        }
    }
}

fn retire(old: u64, sink: &mut dyn FnMut(Frame)) {
    if old & OWNED != 0 {
        // SAFETY: the leaf held this reference and is overwritten.
        sink(unsafe { Frame::from_raw(old & ADDRESS) });
    }
}
