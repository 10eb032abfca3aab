//! The address map: constants of the board and [`RamLayout`], which cuts the
//! guest's memory around the hole below 4 GiB.
//!
//! The map is that of a PC: RAM from 0, a hole for devices between 3 GiB and
//! 4 GiB, the rest of RAM from 4 GiB. Neighbours: `guest_boot` turns it into an
//! e820 map, `guest_acpi` into the windows of the PCI root.

/// End of the RAM below the device hole; the 32-bit PCI window starts here.
pub const HOLE_START: u64 = 0xC000_0000;
/// End of the device hole: RAM goes on here.
pub const HOLE_END: u64 = 1 << 32;
/// First address of the window from which PCI memory BARs are given out.
pub const PCI_WINDOW_START: u64 = HOLE_START;
/// Bytes in the PCI memory window.
pub const PCI_WINDOW_LEN: u64 = 0x2000_0000;
/// PCI configuration space as memory (ECAM), bus 0 only.
pub const ECAM_START: u64 = 0xE000_0000;
/// Bytes of ECAM: 32 slots, 8 functions, 4 KiB each.
pub const ECAM_LEN: u64 = 1 << 20;
/// The I/O APIC's registers.
pub const IOAPIC_START: u64 = 0xFEC0_0000;
/// The local APIC's registers.
pub const LAPIC_START: u64 = 0xFEE0_0000;
/// Three pages that VT-x hosts need for a task state segment.
pub const TSS_START: u64 = 0xFFFB_D000;

/// Start of the area below 1 MiB where firmware tables are put.
pub const FIRMWARE_START: u64 = 0xE_0000;
/// End of the firmware area.
pub const FIRMWARE_END: u64 = 0x10_0000;
/// End of conventional memory that a guest may use.
pub const LOW_RAM_END: u64 = 0x9_FC00;
/// Start of extended memory.
pub const HIGH_RAM_START: u64 = 0x10_0000;

/// First serial port (COM1): 8 ports.
pub const COM1_PORT: u16 = 0x3F8;
/// Keyboard controller: data at +0, command at +4.
pub const I8042_PORT: u16 = 0x60;
/// The keyboard controller command that pulses the reset line.
pub const I8042_RESET_COMMAND: u8 = 0xFE;
/// CMOS index port; data is the next one.
pub const CMOS_PORT: u16 = 0x70;
/// PCI configuration address port; data is at +4.
pub const PCI_CONFIG_PORT: u16 = 0xCF8;
/// ACPI power management block: events, control, timer.
pub const PM_PORT: u16 = 0x600;

/// Interrupt of COM1.
pub const COM1_IRQ: u32 = 4;
/// The ACPI system control interrupt: level, active high.
pub const SCI_IRQ: u32 = 9;
/// First global system interrupt for the INTA pins of PCI slots.
pub const PCI_INTX_FIRST: u32 = 16;
/// PCI slots share this many interrupts by slot number.
pub const PCI_INTX_COUNT: u32 = 8;
/// Pins of the I/O APIC; message-signalled routes are numbered from here.
pub const IOAPIC_PINS: u32 = 24;

/// Global system interrupt that a PCI slot's INTA pin drives.
pub const fn intx_gsi(slot: u8) -> u32 {
    PCI_INTX_FIRST + slot as u32 % PCI_INTX_COUNT
}

/// One contiguous range of guest RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamRange {
    /// First guest physical address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
}

impl RamRange {
    /// The address after the last byte.
    pub const fn end(&self) -> u64 {
        self.start + self.len
    }
}

/// How the guest's RAM is laid out around the device hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamLayout {
    /// From 0 to at most [`HOLE_START`].
    pub low: RamRange,
    /// What does not fit below the hole, from [`HOLE_END`].
    pub high: Option<RamRange>,
}

impl RamLayout {
    /// Lays out `bytes` of RAM.
    pub const fn new(bytes: u64) -> Self {
        if bytes <= HOLE_START {
            return Self {
                low: RamRange {
                    start: 0,
                    len: bytes,
                },
                high: None,
            };
        }
        let high = RamRange {
            start: HOLE_END,
            len: bytes - HOLE_START,
        };
        Self {
            low: RamRange {
                start: 0,
                len: HOLE_START,
            },
            high: Some(high),
        }
    }

    /// The ranges, lowest first.
    pub fn ranges(&self) -> impl Iterator<Item = RamRange> {
        core::iter::once(self.low).chain(self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_up_to_the_hole_is_one_range() {
        let layout = RamLayout::new(HOLE_START);
        assert_eq!(layout.low.end(), HOLE_START);
        assert_eq!(layout.high, None);
    }

    #[test]
    fn ram_beyond_the_hole_goes_on_at_4_gib() {
        let layout = RamLayout::new(HOLE_START + 0x1000);
        let high = layout.high.unwrap();
        assert_eq!((high.start, high.len), (HOLE_END, 0x1000));
        assert_eq!(
            layout.ranges().map(|r| r.len).sum::<u64>(),
            HOLE_START + 0x1000
        );
    }

    #[test]
    fn windows_of_the_hole_do_not_overlap() {
        let mut windows = [
            (PCI_WINDOW_START, PCI_WINDOW_LEN),
            (ECAM_START, ECAM_LEN),
            (IOAPIC_START, 0x1000),
            (LAPIC_START, 0x1000),
            (TSS_START, 0x4000),
        ];
        windows.sort_unstable();
        for pair in windows.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0);
        }
        assert!(windows[4].0 + windows[4].1 <= HOLE_END);
    }
}
