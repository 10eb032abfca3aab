//! The I/O APIC: [`Ioapic`], 24 pins, after Intel 82093AA (sections 3.1
//! memory-mapped registers, 3.2 registers, 3.2.4 redirection table).
//!
//! Lines are logical: `true` is asserted, whatever polarity the guest chose.
//! Who delivers the messages, and who tells of end of interrupt, is the
//! caller. The version register says 0x11, a chip without an EOI register.

use crate::message::{Destination, Message, Mode};
use abi::kvm_irqchip::{IOAPIC_PINS, IoapicState};

/// Where the register window is until told otherwise.
pub const IOAPIC_BASE: u64 = 0xfec0_0000;

const VERSION: u32 = 0x11 | (IOAPIC_PINS as u32 - 1) << 16;
const DELIVERY_STATUS: u64 = 1 << 12;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
const LOGICAL: u64 = 1 << 11;
/// Bits of an entry that exist: vector to mask, and the destination.
const WRITABLE: u64 = 0xff00_0000_0001_ffff & !(DELIVERY_STATUS | REMOTE_IRR);

/// A set of pins; iterates over their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PinMask(pub u32);

impl Iterator for PinMask {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let pin = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        Some(pin as usize)
    }
}

/// The I/O APIC.
#[derive(Clone, Debug)]
pub struct Ioapic {
    base: u64,
    index: u8,
    id: u8,
    asserted: u32,
    /// Pins whose entry is level-triggered and has remote IRR set: makes the
    /// answer to most ends of interrupt "nobody" without a walk.
    in_service: u32,
    table: [u64; IOAPIC_PINS],
}

impl Default for Ioapic {
    fn default() -> Self {
        Self::new()
    }
}

impl Ioapic {
    /// As after reset: every pin masked.
    pub const fn new() -> Self {
        Self {
            base: IOAPIC_BASE,
            index: 0,
            id: 0,
            asserted: 0,
            in_service: 0,
            table: [MASKED; IOAPIC_PINS],
        }
    }

    /// Guest-physical address of the window.
    #[inline]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Reads the register at `offset` of the window. Others than IOREGSEL
    /// (0x00) and IOWIN (0x10) read 0.
    pub fn read(&self, offset: u32) -> u32 {
        match offset & 0xf0 {
            0x00 => u32::from(self.index),
            0x10 => self.register(),
            _ => 0,
        }
    }

    fn register(&self) -> u32 {
        match self.index {
            // The arbitration ID follows the ID.
            0 | 2 => u32::from(self.id & 0xf) << 24,
            1 => VERSION,
            index => {
                let entry = index.checked_sub(0x10).map(|i| usize::from(i / 2));
                let Some(&entry) = entry.and_then(|i| self.table.get(i)) else {
                    return 0;
                };
                (entry >> (u32::from(index & 1) * 32)) as u32
            }
        }
    }

    /// Writes the register at `offset`. What the guest unmasks may have been
    /// waiting: the message is then to be delivered.
    pub fn write(&mut self, offset: u32, value: u32) -> Option<Message> {
        match offset & 0xf0 {
            0x00 => {
                self.index = value as u8;
                None
            }
            0x10 => self.write_register(value),
            _ => None,
        }
    }

    fn write_register(&mut self, value: u32) -> Option<Message> {
        if self.index == 0 {
            self.id = (value >> 24) as u8 & 0xf;
            return None;
        }
        let pin = usize::from(self.index.checked_sub(0x10)? / 2);
        let old = *self.table.get(pin)?;
        let shift = u32::from(self.index & 1) * 32;
        let merged = old & !(0xffff_ffff << shift) | u64::from(value) << shift;
        let mut new = merged & WRITABLE | old & REMOTE_IRR;
        // Software without an EOI register clears remote IRR by a turn
        // through edge mode.
        if new & LEVEL == 0 {
            new &= !REMOTE_IRR;
        }
        self.store(pin, new);
        if new & LEVEL == 0 {
            // An edge that came while masked is lost (3.2.4, bit 16).
            return None;
        }
        self.service(pin)
    }

    fn store(&mut self, pin: usize, entry: u64) {
        self.table[pin] = entry;
        if entry & REMOTE_IRR != 0 {
            self.in_service |= 1 << pin;
        } else {
            self.in_service &= !(1 << pin);
        }
    }

    /// Sets the level of a pin. A pin that does not exist is ignored.
    #[inline]
    pub fn set_line(&mut self, pin: usize, level: bool) -> Option<Message> {
        let entry = *self.table.get(pin)?;
        let bit = 1 << pin;
        let was = self.asserted & bit != 0;
        if !level {
            self.asserted &= !bit;
            return None;
        }
        self.asserted |= bit;
        if entry & LEVEL == 0 && was {
            return None;
        }
        self.service(pin)
    }

    /// The vector of a level-triggered interrupt has ended at a LAPIC. Returns
    /// the pins that it ended for; for each, after letting a device that
    /// resamples lower its line, call [`Ioapic::redeliver`].
    #[inline]
    pub fn eoi(&mut self, vector: u8) -> PinMask {
        let mut ended = 0;
        for pin in PinMask(self.in_service) {
            if self.table[pin] as u8 == vector {
                self.table[pin] &= !REMOTE_IRR;
                ended |= 1 << pin;
            }
        }
        self.in_service &= !ended;
        PinMask(ended)
    }

    /// The message of a level-triggered pin that is still asserted, after
    /// [`Ioapic::eoi`] named it.
    #[inline]
    pub fn redeliver(&mut self, pin: usize) -> Option<Message> {
        if self.table.get(pin)? & LEVEL == 0 {
            return None;
        }
        self.service(pin)
    }

    /// Whether an end of `vector` would mean anything here: lets a LAPIC skip
    /// the I/O APIC's lock.
    #[inline]
    pub fn wants_eoi(&self, vector: u8) -> bool {
        PinMask(self.in_service).any(|pin| self.table[pin] as u8 == vector)
    }

    fn service(&mut self, pin: usize) -> Option<Message> {
        let entry = self.table[pin];
        if self.asserted & 1 << pin == 0 || entry & MASKED != 0 {
            return None;
        }
        let mode = Mode::from_bits((entry >> 8) as u32);
        // Only vectors come back with an EOI; the other modes are edges by
        // nature whatever the trigger bit says.
        let level = entry & LEVEL != 0 && matches!(mode, Mode::Fixed | Mode::LowestPriority);
        if level {
            if entry & REMOTE_IRR != 0 {
                return None;
            }
            self.store(pin, entry | REMOTE_IRR);
        }
        Some(Message {
            destination: Destination::narrow((entry >> 56) as u8, entry & LOGICAL != 0),
            mode,
            vector: entry as u8,
            level,
        })
    }

    /// The state as `KVM_GET_IRQCHIP` gives it.
    pub fn state(&self) -> IoapicState {
        IoapicState {
            base_address: self.base,
            ioregsel: u32::from(self.index),
            id: u32::from(self.id),
            irr: self.asserted,
            pad: 0,
            redirtbl: self.table,
        }
    }

    /// Takes a state over as `KVM_SET_IRQCHIP` does. Returns the pins that
    /// are asserted: [`Ioapic::redeliver`] each, their lines may have risen
    /// while the table was masked.
    pub fn set_state(&mut self, state: &IoapicState) -> PinMask {
        self.base = state.base_address;
        self.index = state.ioregsel as u8;
        self.id = state.id as u8 & 0xf;
        self.asserted = state.irr & ((1 << IOAPIC_PINS) - 1);
        for (pin, &entry) in state.redirtbl.iter().enumerate() {
            let mut entry = entry & (WRITABLE | REMOTE_IRR);
            if entry & LEVEL == 0 {
                entry &= !REMOTE_IRR;
            }
            self.store(pin, entry);
        }
        PinMask(self.asserted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ioapic: &mut Ioapic, pin: u32, value: u64) -> Option<Message> {
        ioapic.write(0, 0x11 + pin * 2);
        let high = ioapic.write(0x10, (value >> 32) as u32);
        ioapic.write(0, 0x10 + pin * 2);
        ioapic.write(0x10, value as u32).or(high)
    }

    fn read_low(ioapic: &mut Ioapic, pin: u32) -> u32 {
        ioapic.write(0, 0x10 + pin * 2);
        ioapic.read(0x10)
    }

    #[test]
    fn identification_and_version() {
        let mut ioapic = Ioapic::new();
        ioapic.write(0, 1);
        assert_eq!(ioapic.read(0x10), 0x0017_0011);
        ioapic.write(0, 0);
        ioapic.write(0x10, 0xff00_0000);
        assert_eq!(ioapic.read(0x10), 0x0f00_0000);
        ioapic.write(0, 0x40);
        assert_eq!(ioapic.read(0x10), 0);
        assert_eq!(ioapic.read(0), 0x40);
    }

    #[test]
    fn pins_are_masked_after_reset() {
        let mut ioapic = Ioapic::new();
        assert_eq!(ioapic.set_line(4, true), None);
        assert_eq!(read_low(&mut ioapic, 4), 0x1_0000);
    }

    #[test]
    fn edge_is_delivered_once_a_rise() {
        let mut ioapic = Ioapic::new();
        entry(&mut ioapic, 4, 2 << 56 | 0x31);
        let message = ioapic.set_line(4, true).expect("edge");
        assert_eq!(message.vector, 0x31);
        assert_eq!(message.destination, Destination::narrow(2, false));
        assert!(!message.level);
        assert_eq!(ioapic.set_line(4, true), None);
        ioapic.set_line(4, false);
        assert!(ioapic.set_line(4, true).is_some());
    }

    #[test]
    fn edge_while_masked_is_lost() {
        let mut ioapic = Ioapic::new();
        entry(&mut ioapic, 4, MASKED | 0x31);
        assert_eq!(ioapic.set_line(4, true), None);
        assert_eq!(entry(&mut ioapic, 4, 0x31), None);
    }

    #[test]
    fn level_waits_for_eoi_and_comes_again_while_asserted() {
        let mut ioapic = Ioapic::new();
        entry(&mut ioapic, 9, LEVEL | LOGICAL | 1 << 56 | 0x51);
        let message = ioapic.set_line(9, true).expect("level");
        assert!(message.level && message.destination.logical);
        assert_ne!(read_low(&mut ioapic, 9) & REMOTE_IRR as u32, 0);
        assert_eq!(ioapic.set_line(9, true), None);
        assert!(ioapic.wants_eoi(0x51) && !ioapic.wants_eoi(0x52));
        assert_eq!(ioapic.eoi(0x52), PinMask(0));
        assert_eq!(ioapic.eoi(0x51), PinMask(1 << 9));
        assert!(ioapic.redeliver(9).is_some());
        ioapic.set_line(9, false);
        assert_eq!(ioapic.eoi(0x51), PinMask(1 << 9));
        assert_eq!(ioapic.redeliver(9), None);
        assert_eq!(read_low(&mut ioapic, 9) & REMOTE_IRR as u32, 0);
    }

    #[test]
    fn level_asserted_while_masked_is_delivered_by_unmasking() {
        let mut ioapic = Ioapic::new();
        entry(&mut ioapic, 9, LEVEL | MASKED | 0x51);
        assert_eq!(ioapic.set_line(9, true), None);
        assert!(entry(&mut ioapic, 9, LEVEL | 0x51).is_some());
    }

    #[test]
    fn remote_irr_is_read_only_and_cleared_by_edge_mode() {
        let mut ioapic = Ioapic::new();
        entry(
            &mut ioapic,
            9,
            LEVEL | REMOTE_IRR | DELIVERY_STATUS | MASKED,
        );
        let blank = (LEVEL | MASKED) as u32;
        assert_eq!(read_low(&mut ioapic, 9), blank);
        entry(&mut ioapic, 9, LEVEL | 0x51);
        assert!(ioapic.set_line(9, true).is_some());
        entry(&mut ioapic, 9, MASKED | 0x51);
        assert_eq!(read_low(&mut ioapic, 9) & REMOTE_IRR as u32, 0);
        assert!(entry(&mut ioapic, 9, LEVEL | 0x51).is_some());
    }

    #[test]
    fn state_survives_the_round_trip() {
        let mut ioapic = Ioapic::new();
        entry(&mut ioapic, 9, LEVEL | 0x51);
        ioapic.set_line(9, true);
        ioapic.set_line(3, true);
        let state = ioapic.state();
        let mut other = Ioapic::new();
        assert_eq!(other.set_state(&state), PinMask(1 << 9 | 1 << 3));
        assert_eq!(other.state(), state);
        assert!(other.wants_eoi(0x51));
        assert_eq!(other.redeliver(9), None);
        assert_eq!(other.redeliver(3), None);
    }

    #[test]
    fn nmi_pin_has_no_remote_irr() {
        let mut ioapic = Ioapic::new();
        entry(&mut ioapic, 1, LEVEL | 4 << 8);
        let message = ioapic.set_line(1, true).expect("NMI");
        assert_eq!((message.mode, message.level), (Mode::Nmi, false));
        assert_eq!(ioapic.state().redirtbl[1] & REMOTE_IRR, 0);
    }
}
