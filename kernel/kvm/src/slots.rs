//! Memory slots: which guest-physical addresses are memory, and where it lies
//! in the monitor: [`Slots`]. The table is never changed in place; vCPUs keep a
//! snapshot and take a new one when told.

use abi::Errno;
use abi::kvm::memory_flag;
use abi::kvm_vm::UserspaceMemoryRegion;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

/// Slots are numbered below this.
pub const MAX_SLOTS: u32 = 512;
/// Guest-physical addresses end here.
pub const GPA_END: u64 = 1 << 47;
/// The monitor's addresses end here.
const MONITOR_END: u64 = 0x7FFF_FFFF_F000;
const PAGE: u64 = 4096;

/// Pages written since the bitmap was fetched, one bit each.
#[derive(Debug)]
pub struct DirtyBitmap(Vec<AtomicU64>);

impl DirtyBitmap {
    /// A clean bitmap.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new(pages: u64) -> Result<Self, Errno> {
        let words = pages.div_ceil(64) as usize;
        let mut bits = Vec::new();
        bits.try_reserve_exact(words).map_err(|_| Errno::ENOMEM)?;
        bits.resize_with(words, || AtomicU64::new(0));
        Ok(DirtyBitmap(bits))
    }

    /// Marks a page.
    #[inline]
    pub fn mark(&self, page: u64) {
        if let Some(word) = self.0.get(page as usize / 64) {
            word.fetch_or(1 << (page % 64), Ordering::Relaxed);
        }
    }

    /// Takes 64 bits out.
    #[must_use]
    pub fn take(&self, word: usize) -> u64 {
        self.0
            .get(word)
            .map_or(0, |word| word.swap(0, Ordering::AcqRel))
    }

    /// Words of 64 bits.
    #[must_use]
    pub fn words(&self) -> usize {
        self.0.len()
    }
}

/// One slot.
#[derive(Clone, Debug)]
pub struct Slot {
    /// What the monitor asked for.
    pub region: UserspaceMemoryRegion,
    /// With dirty logging, the bitmap.
    pub dirty: Option<Arc<DirtyBitmap>>,
}

impl Slot {
    /// The guest-physical addresses.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.region.guest_phys_addr..self.region.guest_phys_addr + self.region.memory_size
    }

    /// Whether guests may not write.
    #[inline]
    #[must_use]
    pub fn is_readonly(&self) -> bool {
        self.region.flags & memory_flag::READONLY != 0
    }

    /// The monitor's address of a guest-physical address inside.
    #[inline]
    #[must_use]
    pub fn address(&self, gpa: u64) -> u64 {
        self.region.userspace_addr + (gpa - self.region.guest_phys_addr)
    }

    /// Marks the page of a guest-physical address inside.
    #[inline]
    pub fn mark_dirty(&self, gpa: u64) {
        if let Some(dirty) = &self.dirty {
            dirty.mark((gpa - self.region.guest_phys_addr) / PAGE);
        }
    }

    /// The guest-physical addresses behind a range of the monitor's.
    #[must_use]
    pub fn behind(&self, monitor: &Range<u64>) -> Option<Range<u64>> {
        let first = self.region.userspace_addr;
        let start = monitor.start.max(first);
        let end = monitor.end.min(first + self.region.memory_size);
        let base = self.region.guest_phys_addr;
        (start < end).then(|| base + (start - first)..base + (end - first))
    }
}

/// All slots of a VM, by guest-physical address.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    sorted: Vec<Slot>,
}

impl Slots {
    /// The slot that holds a guest-physical address.
    #[inline]
    #[must_use]
    pub fn find(&self, gpa: u64) -> Option<&Slot> {
        let after = self
            .sorted
            .partition_point(|slot| slot.region.guest_phys_addr <= gpa);
        let slot = self.sorted.get(after.checked_sub(1)?)?;
        (gpa - slot.region.guest_phys_addr < slot.region.memory_size).then_some(slot)
    }

    /// The slot with a number.
    #[must_use]
    pub fn by_number(&self, number: u32) -> Option<&Slot> {
        self.sorted.iter().find(|slot| slot.region.slot == number)
    }

    /// All slots.
    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.sorted.iter()
    }

    /// The table after SET_USER_MEMORY_REGION, and the guest-physical range
    /// whose mappings must go.
    ///
    /// # Errors
    /// EINVAL for a malformed region, EEXIST for an overlap, ENOMEM.
    pub fn changed(&self, region: UserspaceMemoryRegion) -> Result<(Slots, Range<u64>), Errno> {
        check(&region)?;
        let old = self.by_number(region.slot);
        let mut next = Slots { sorted: Vec::new() };
        next.sorted
            .try_reserve_exact(self.sorted.len() + 1)
            .map_err(|_| Errno::ENOMEM)?;
        let others = self
            .sorted
            .iter()
            .filter(|slot| slot.region.slot != region.slot);
        next.sorted.extend(others.cloned());
        let stale = old.map_or(0..0, Slot::range);
        if region.memory_size == 0 {
            return if old.is_some() {
                Ok((next, stale))
            } else {
                Err(Errno::EINVAL)
            };
        }
        if let Some(old) = old {
            let same_size = old.region.memory_size == region.memory_size;
            let same_memory = old.region.userspace_addr == region.userspace_addr;
            let readonly_changes = (old.region.flags ^ region.flags) & memory_flag::READONLY != 0;
            if !same_size || !same_memory || readonly_changes {
                return Err(Errno::EINVAL);
            }
        }
        let slot = Slot {
            region,
            dirty: dirty_of(&region, old)?,
        };
        let range = slot.range();
        if next
            .sorted
            .iter()
            .any(|other| overlap(&other.range(), &range))
        {
            return Err(Errno::EEXIST);
        }
        let position = next
            .sorted
            .partition_point(|other| other.region.guest_phys_addr < range.start);
        next.sorted.insert(position, slot);
        Ok((next, stale))
    }
}

fn dirty_of(
    region: &UserspaceMemoryRegion,
    old: Option<&Slot>,
) -> Result<Option<Arc<DirtyBitmap>>, Errno> {
    if region.flags & memory_flag::LOG_DIRTY_PAGES == 0 {
        return Ok(None);
    }
    if let Some(dirty) = old.and_then(|slot| slot.dirty.clone()) {
        return Ok(Some(dirty));
    }
    Ok(Some(Arc::new(DirtyBitmap::new(region.memory_size / PAGE)?)))
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

fn check(region: &UserspaceMemoryRegion) -> Result<(), Errno> {
    let aligned = [
        region.guest_phys_addr,
        region.memory_size,
        region.userspace_addr,
    ]
    .iter()
    .all(|value| value.is_multiple_of(PAGE));
    let known = memory_flag::LOG_DIRTY_PAGES | memory_flag::READONLY;
    let guest_end = region.guest_phys_addr.checked_add(region.memory_size);
    let monitor_end = region.userspace_addr.checked_add(region.memory_size);
    let fits = guest_end.is_some_and(|end| end <= GPA_END)
        && monitor_end.is_some_and(|end| end <= MONITOR_END);
    if region.slot >= MAX_SLOTS || region.flags & !known != 0 || !aligned || !fits {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(slot: u32, gpa: u64, pages: u64) -> UserspaceMemoryRegion {
        UserspaceMemoryRegion {
            slot,
            flags: 0,
            guest_phys_addr: gpa,
            memory_size: pages * PAGE,
            userspace_addr: 0x7000_0000_u64.wrapping_add(gpa),
        }
    }

    fn with(list: &[UserspaceMemoryRegion]) -> Slots {
        list.iter().fold(Slots::default(), |slots, &region| {
            slots.changed(region).unwrap().0
        })
    }

    #[test]
    fn addresses_are_found_in_any_order_of_creation() {
        let slots = with(&[
            region(1, 0x10_0000, 16),
            region(0, 0, 160),
            region(7, 1 << 32, 1),
        ]);
        assert_eq!(slots.find(0x9_FFFF).unwrap().region.slot, 0);
        assert!(slots.find(0xA_0000).is_none());
        assert_eq!(slots.find(0x10_FFFF).unwrap().region.slot, 1);
        assert!(slots.find(0x11_0000).is_none());
        assert_eq!(
            slots.find(1 << 32).unwrap().address((1 << 32) + 5),
            0x1_7000_0005
        );
    }

    #[test]
    fn bad_regions_are_refused() {
        let slots = with(&[region(0, 0, 16)]);
        let refuse = |region| slots.changed(region).map(|_| ());
        assert_eq!(refuse(region(1, 0x8000, 16)), Err(Errno::EEXIST));
        assert_eq!(refuse(region(1, 0x10_0800, 1)), Err(Errno::EINVAL));
        assert_eq!(refuse(region(MAX_SLOTS, 0x10_0000, 1)), Err(Errno::EINVAL));
        assert_eq!(refuse(region(1, 0x10_0000, 0)), Err(Errno::EINVAL));
        assert_eq!(refuse(region(0, 0, 8)), Err(Errno::EINVAL));
        assert_eq!(refuse(region(1, u64::MAX - 4095, 1)), Err(Errno::EINVAL));
        let flags = UserspaceMemoryRegion {
            flags: 8,
            ..region(1, 0x10_0000, 1)
        };
        assert_eq!(refuse(flags), Err(Errno::EINVAL));
    }

    #[test]
    fn moves_and_deletions_name_what_must_go() {
        let slots = with(&[region(0, 0, 16)]);
        let moved = UserspaceMemoryRegion {
            guest_phys_addr: 0x10_0000,
            ..region(0, 0, 16)
        };
        let (after, stale) = slots.changed(moved).unwrap();
        assert_eq!(stale, 0..0x1_0000);
        assert!(after.find(0).is_none() && after.find(0x10_0000).is_some());
        let (after, stale) = slots.changed(region(0, 0, 0)).unwrap();
        assert_eq!(stale, 0..0x1_0000);
        assert_eq!(after.iter().count(), 0);
    }

    #[test]
    fn the_monitors_ranges_map_back() {
        let slots = with(&[region(0, 0x1000, 4)]);
        let slot = slots.find(0x1000).unwrap();
        assert_eq!(slot.behind(&(0..u64::MAX)), Some(0x1000..0x5000));
        let one = 0x7000_2000..0x7000_3000;
        assert_eq!(slot.behind(&one), Some(0x2000..0x3000));
        assert_eq!(slot.behind(&(0..0x7000_1000)), None);
    }

    #[test]
    fn dirty_pages_are_told_once_and_survive_a_change_of_flags() {
        let logged = UserspaceMemoryRegion {
            flags: memory_flag::LOG_DIRTY_PAGES,
            ..region(0, 0, 65)
        };
        let slots = with(&[logged]);
        slots.find(0).unwrap().mark_dirty(64 * PAGE);
        let (slots, _) = slots.changed(logged).unwrap();
        let dirty = slots.find(0).unwrap().dirty.clone().unwrap();
        assert_eq!(
            (dirty.words(), dirty.take(0), dirty.take(1), dirty.take(1)),
            (2, 0, 1, 0)
        );
        let (slots, _) = slots.changed(region(0, 0, 65)).unwrap();
        assert!(slots.find(0).unwrap().dirty.is_none());
    }
}
