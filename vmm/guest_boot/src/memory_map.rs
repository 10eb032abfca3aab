//! The memory map that a guest is told at boot: [`entries`].
//!
//! Neighbours: `linux` writes it as e820 entries, `pvh` as its own list; both
//! use the same type numbers (ACPI specification, "System Address Map
//! Interfaces").

use board::{RamLayout, address_map as map};

/// What a range of addresses is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RangeKind {
    /// Usable RAM.
    Ram = 1,
    /// Not usable.
    Reserved = 2,
}

/// One line of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// What it is.
    pub kind: RangeKind,
}

/// The map of a guest with this RAM, lowest address first.
pub fn entries(layout: &RamLayout) -> Vec<MapEntry> {
    let ram = |start, end| MapEntry {
        start,
        len: end - start,
        kind: RangeKind::Ram,
    };
    let reserved = |start, end| MapEntry {
        start,
        len: end - start,
        kind: RangeKind::Reserved,
    };
    let mut entries = vec![
        ram(0, map::LOW_RAM_END),
        reserved(map::LOW_RAM_END, 0xA_0000),
        reserved(map::FIRMWARE_START, map::FIRMWARE_END),
        ram(map::HIGH_RAM_START, layout.low.end()),
        reserved(map::ECAM_START, map::ECAM_START + map::ECAM_LEN),
    ];
    entries.extend(layout.high.map(|high| ram(high.start, high.end())));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_is_ordered_and_free_of_overlaps() {
        let layout = RamLayout::new(5 << 30);
        let entries = entries(&layout);
        for pair in entries.windows(2) {
            assert!(pair[0].start + pair[0].len <= pair[1].start);
        }
        let ram: u64 = entries
            .iter()
            .filter(|e| e.kind == RangeKind::Ram)
            .map(|e| e.len)
            .sum();
        assert_eq!(ram, (5 << 30) - (map::HIGH_RAM_START - map::LOW_RAM_END));
    }
}
