//! [`MemoryMap`]: who owns which page of physical memory at boot.
//!
//! Firmware maps come unsorted, overlapping and unaligned. A map built here is
//! always sorted, disjoint, page-aligned and merged: usable regions shrink to
//! whole pages, all others grow to them, and where two claims meet the one
//! with the stronger [`MemoryKind`] wins. What no region names is a hole:
//! never memory, perhaps device registers.

use core::fmt;

/// Most regions a map holds after merging.
pub const MAX_REGIONS: usize = 128;

const PAGE: u64 = 4096;

/// What a region is, weakest claim first: on overlap the greater kind wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryKind {
    /// Free memory.
    Usable,
    /// The loader's own tables and strings; free once they are read.
    BootData,
    /// A boot module; free once its contents are taken over.
    BootModule,
    /// The kernel's image.
    Kernel,
    /// ACPI tables; free once they are read.
    AcpiReclaimable,
    /// Firmware's working memory across sleep states: never touched.
    AcpiNvs,
    /// Not to be touched: firmware, devices, or a kind this kernel does not know.
    Reserved,
    /// Memory that firmware found broken.
    Broken,
}

impl MemoryKind {
    /// The kind for a type number of the BIOS E820 map, which PVH and
    /// Multiboot share (ACPI 6.4, table 15.2). Unknown numbers are reserved.
    #[must_use]
    pub const fn from_e820(number: u32) -> Self {
        match number {
            1 => Self::Usable,
            3 => Self::AcpiReclaimable,
            4 => Self::AcpiNvs,
            5 => Self::Broken,
            _ => Self::Reserved,
        }
    }
}

/// Pages from `start` to before `end`, all of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRegion {
    /// Physical address of the first byte.
    pub start: u64,
    /// Physical address after the last byte.
    pub end: u64,
    /// Who owns it.
    pub kind: MemoryKind,
}

impl MemoryRegion {
    /// Its size in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.end - self.start
    }
}

/// The map has [`MAX_REGIONS`] regions and the named one does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapFull {
    /// The part that found no room.
    pub region: MemoryRegion,
}

impl fmt::Display for MapFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MemoryRegion { start, end, kind } = self.region;
        write!(
            f,
            "Memory map is full: no room for {kind:?} {start:#x}..{end:#x}, \
             at most {MAX_REGIONS} regions are allowed"
        )
    }
}

impl core::error::Error for MapFull {}

/// Sorted, disjoint, merged regions of physical memory.
#[derive(Clone)]
pub struct MemoryMap {
    regions: [MemoryRegion; MAX_REGIONS],
    count: usize,
    limit: u64,
}

impl MemoryMap {
    /// An empty map of a machine with `address_bits` physical address bits
    /// (at most 52); what lies beyond is clipped off.
    #[must_use]
    pub const fn new(address_bits: u32) -> Self {
        let bits = if address_bits > 52 { 52 } else { address_bits };
        let nothing = MemoryRegion {
            start: 0,
            end: 0,
            kind: MemoryKind::Reserved,
        };
        Self {
            regions: [nothing; MAX_REGIONS],
            count: 0,
            limit: 1 << bits,
        }
    }

    /// Claims `length` bytes from `start` on for `kind`. Ranges past the
    /// address limit, or that wrap around, are clipped.
    ///
    /// # Errors
    /// [`MapFull`] if the map would need more than [`MAX_REGIONS`] regions;
    /// the claim is then made in part.
    pub fn claim(&mut self, start: u64, length: u64, kind: MemoryKind) -> Result<(), MapFull> {
        let end = start.saturating_add(length).min(self.limit);
        let (start, end) = if kind == MemoryKind::Usable {
            (
                start.saturating_add(PAGE - 1) & !(PAGE - 1),
                end & !(PAGE - 1),
            )
        } else if length == 0 {
            return Ok(());
        } else {
            (
                start & !(PAGE - 1),
                end.saturating_add(PAGE - 1) & !(PAGE - 1),
            )
        };
        if start >= end {
            return Ok(());
        }
        let result = self.overlay(MemoryRegion { start, end, kind });
        self.merge();
        result
    }

    /// Lays `new` over the regions, piece by piece from low to high.
    fn overlay(&mut self, new: MemoryRegion) -> Result<(), MapFull> {
        let mut cursor = new.start;
        let mut index = self
            .regions()
            .partition_point(|region| region.end <= cursor);
        while cursor < new.end {
            let next = self.regions().get(index).copied();
            let Some(old) = next.filter(|old| old.start < new.end) else {
                return self.insert(
                    index,
                    MemoryRegion {
                        start: cursor,
                        ..new
                    },
                );
            };
            if cursor < old.start {
                self.insert(
                    index,
                    MemoryRegion {
                        start: cursor,
                        end: old.start,
                        ..new
                    },
                )?;
                cursor = old.start;
                index += 1;
            }
            let end = old.end.min(new.end);
            if old.kind < new.kind {
                index = self.replace(
                    index,
                    MemoryRegion {
                        start: cursor,
                        end,
                        kind: new.kind,
                    },
                )?;
            } else {
                index += 1;
            }
            cursor = end;
        }
        Ok(())
    }

    /// Puts `piece` in place of the same bytes of region `index`, which holds
    /// all of it; returns the index of what follows the piece.
    fn replace(&mut self, mut index: usize, piece: MemoryRegion) -> Result<usize, MapFull> {
        let old = self.regions[index];
        self.regions[index] = piece;
        if old.start < piece.start {
            self.insert(
                index,
                MemoryRegion {
                    end: piece.start,
                    ..old
                },
            )?;
            index += 1;
        }
        if piece.end < old.end {
            self.insert(
                index + 1,
                MemoryRegion {
                    start: piece.end,
                    ..old
                },
            )?;
        }
        Ok(index + 1)
    }

    fn insert(&mut self, index: usize, region: MemoryRegion) -> Result<(), MapFull> {
        if self.count == MAX_REGIONS {
            return Err(MapFull { region });
        }
        self.regions.copy_within(index..self.count, index + 1);
        self.regions[index] = region;
        self.count += 1;
        Ok(())
    }

    /// Joins neighbours of one kind.
    fn merge(&mut self) {
        let mut kept = 0;
        for index in 0..self.count {
            let region = self.regions[index];
            match self.regions[..kept].last_mut() {
                Some(last) if last.end == region.start && last.kind == region.kind => {
                    last.end = region.end;
                }
                _ => {
                    self.regions[kept] = region;
                    kept += 1;
                }
            }
        }
        self.count = kept;
    }

    /// All regions, sorted by address.
    #[must_use]
    pub fn regions(&self) -> &[MemoryRegion] {
        &self.regions[..self.count]
    }

    /// Regions of one kind, sorted by address.
    pub fn of_kind(&self, kind: MemoryKind) -> impl Iterator<Item = MemoryRegion> {
        self.regions()
            .iter()
            .copied()
            .filter(move |region| region.kind == kind)
    }

    /// Ranges below the address limit that no region names, as `(start, end)`.
    pub fn holes(&self) -> impl Iterator<Item = (u64, u64)> {
        let starts = core::iter::once(0).chain(self.regions().iter().map(|region| region.end));
        let ends = self.regions().iter().map(|region| region.start);
        let ends = ends.chain(core::iter::once(self.limit));
        starts.zip(ends).filter(|(start, end)| start < end)
    }

    /// The kind at `address`; `None` in a hole.
    #[must_use]
    pub fn kind_at(&self, address: u64) -> Option<MemoryKind> {
        let index = self
            .regions()
            .partition_point(|region| region.end <= address);
        let region = self.regions().get(index)?;
        (region.start <= address).then_some(region.kind)
    }

    /// Bytes of free memory.
    #[must_use]
    pub fn usable_bytes(&self) -> u64 {
        self.of_kind(MemoryKind::Usable)
            .map(|region| region.length())
            .sum()
    }

    /// The address after the last byte of real memory: what a direct map must
    /// reach. Reserved regions and holes do not count.
    #[must_use]
    pub fn memory_end(&self) -> u64 {
        let memory = |region: &&MemoryRegion| region.kind < MemoryKind::Reserved;
        self.regions()
            .iter()
            .rev()
            .find(memory)
            .map_or(0, |region| region.end)
    }

    /// The first run of `length` free bytes at a multiple of `align` (a power
    /// of two) whose end is at most `limit`.
    #[must_use]
    pub fn find_usable(&self, length: u64, align: u64, limit: u64) -> Option<u64> {
        self.of_kind(MemoryKind::Usable).find_map(|region| {
            let start = region.start.checked_add(align - 1)? & !(align - 1);
            let end = start.checked_add(length)?;
            (end <= region.end.min(limit)).then_some(start)
        })
    }
}

impl fmt::Debug for MemoryMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.regions()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const KINDS: [MemoryKind; 8] = [
        MemoryKind::Usable,
        MemoryKind::BootData,
        MemoryKind::BootModule,
        MemoryKind::Kernel,
        MemoryKind::AcpiReclaimable,
        MemoryKind::AcpiNvs,
        MemoryKind::Reserved,
        MemoryKind::Broken,
    ];

    fn region(start: u64, end: u64, kind: MemoryKind) -> MemoryRegion {
        MemoryRegion { start, end, kind }
    }

    #[test]
    fn reserved_wins_in_either_order() {
        let mut first = MemoryMap::new(40);
        first.claim(0, 0x10000, MemoryKind::Usable).unwrap();
        first.claim(0x4000, 0x1000, MemoryKind::Reserved).unwrap();
        let mut second = MemoryMap::new(40);
        second.claim(0x4000, 0x1000, MemoryKind::Reserved).unwrap();
        second.claim(0, 0x10000, MemoryKind::Usable).unwrap();
        let expected = [
            region(0, 0x4000, MemoryKind::Usable),
            region(0x4000, 0x5000, MemoryKind::Reserved),
            region(0x5000, 0x10000, MemoryKind::Usable),
        ];
        assert_eq!(first.regions(), expected);
        assert_eq!(second.regions(), expected);
    }

    #[test]
    fn usable_shrinks_and_reserved_grows_to_pages() {
        let mut map = MemoryMap::new(40);
        map.claim(0x800, 0x9_f400, MemoryKind::Usable).unwrap();
        map.claim(0x9_fc00, 0x400, MemoryKind::Reserved).unwrap();
        assert_eq!(
            map.regions(),
            [
                region(0x1000, 0x9_f000, MemoryKind::Usable),
                region(0x9_f000, 0xa_0000, MemoryKind::Reserved),
            ]
        );
    }

    #[test]
    fn ranges_are_clipped_to_the_address_limit() {
        let mut map = MemoryMap::new(36);
        map.claim(u64::MAX - 10, 100, MemoryKind::Reserved).unwrap();
        map.claim(0xf_0000_0000, u64::MAX, MemoryKind::Usable)
            .unwrap();
        assert_eq!(
            map.regions(),
            [region(0xf_0000_0000, 1 << 36, MemoryKind::Usable)]
        );
    }

    #[test]
    fn holes_are_what_is_left() {
        let mut map = MemoryMap::new(32);
        map.claim(0x1000, 0x1000, MemoryKind::Usable).unwrap();
        map.claim(0x3000, 0x1000, MemoryKind::Reserved).unwrap();
        let holes: Vec<_> = map.holes().collect();
        assert_eq!(holes, [(0, 0x1000), (0x2000, 0x3000), (0x4000, 1 << 32)]);
    }

    #[test]
    fn a_full_map_is_an_error() {
        let mut map = MemoryMap::new(52);
        for index in 0..MAX_REGIONS as u64 {
            map.claim(index * 0x2000, 0x1000, MemoryKind::Usable)
                .unwrap();
        }
        let error = map.claim(1 << 40, 0x1000, MemoryKind::Usable).unwrap_err();
        assert_eq!(error.region.start, 1 << 40);
    }

    #[test]
    fn find_usable_aligns_and_respects_the_limit() {
        let mut map = MemoryMap::new(40);
        map.claim(0x1000, 0x3000, MemoryKind::Usable).unwrap();
        map.claim(0x20_0000, 0x40_0000, MemoryKind::Usable).unwrap();
        assert_eq!(map.find_usable(0x2000, 0x2000, 1 << 30), Some(0x2000));
        assert_eq!(
            map.find_usable(0x20_0000, 0x20_0000, 1 << 30),
            Some(0x20_0000)
        );
        assert_eq!(map.find_usable(0x20_0000, 0x20_0000, 0x30_0000), None);
    }

    proptest! {
        /// The map agrees, page by page, with the plain rule "greatest claim wins".
        #[test]
        fn agrees_with_a_page_table(
            claims in prop::collection::vec((0u64..0x40_000, 0u64..0x20_000, 0usize..8), 0..24)
        ) {
            let mut map = MemoryMap::new(40);
            let mut pages: Vec<Option<MemoryKind>> = std::vec![None; 0x80];
            for (start, length, kind) in claims {
                let kind = KINDS[kind];
                map.claim(start, length, kind).unwrap();
                for (index, page) in pages.iter_mut().enumerate() {
                    let (low, high) = (index as u64 * PAGE, (index as u64 + 1) * PAGE);
                    let inside = start <= low && high <= start + length;
                    let touched = length > 0 && start < high && low < start + length;
                    if if kind == MemoryKind::Usable { inside } else { touched } {
                        *page = (*page).max(Some(kind));
                    }
                }
            }
            for (index, page) in pages.iter().enumerate() {
                prop_assert_eq!(map.kind_at(index as u64 * PAGE), *page);
            }
            for pair in map.regions().windows(2) {
                prop_assert!(pair[0].end <= pair[1].start);
                prop_assert!(pair[0].end != pair[1].start || pair[0].kind != pair[1].kind);
            }
        }

        /// Any claims at all: no panic, always sorted.
        #[test]
        fn any_claims_keep_the_map_sorted(
            claims in prop::collection::vec((any::<u64>(), any::<u64>(), 0usize..8), 0..200)
        ) {
            let mut map = MemoryMap::new(52);
            for (start, length, kind) in claims {
                let _ = map.claim(start, length, KINDS[kind]);
            }
            for pair in map.regions().windows(2) {
                prop_assert!(pair[0].start < pair[0].end && pair[0].end <= pair[1].start);
            }
        }
    }
}
