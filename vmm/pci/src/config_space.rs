//! The configuration space of one function: [`ConfigSpace`], a header of type
//! 0 with memory BARs and capabilities.
//!
//! A byte has a mask of the bits that a guest can write; everything else is
//! constant. That makes BAR sizing work by itself. PCI 3.0, chapter 6.

/// Bytes of configuration space.
pub const SPACE_LEN: usize = 256;
/// BARs of a function.
pub const BARS: usize = 6;

const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const BAR0: usize = 0x10;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3C;
const INTERRUPT_PIN: usize = 0x3D;
const FIRST_CAPABILITY: usize = 0x40;
const COMMAND_MEMORY: u8 = 1 << 1;
const COMMAND_WRITABLE: u16 = 0x0406;
const COMMAND_INTX_DISABLE: u16 = 1 << 10;
const STATUS_INTERRUPT: u8 = 1 << 3;
const STATUS_CAPABILITIES: u8 = 1 << 4;

/// What a function is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Vendor.
    pub vendor: u16,
    /// Device.
    pub device: u16,
    /// Revision.
    pub revision: u8,
    /// Class, subclass and programming interface, from the highest byte.
    pub class: [u8; 3],
    /// Subsystem vendor.
    pub subsystem_vendor: u16,
    /// Subsystem.
    pub subsystem: u16,
}

/// What a write may have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Where BARs are, or whether they answer.
    pub bars: bool,
    /// Bytes inside a capability were written.
    pub capabilities: bool,
}

/// Registers of one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSpace {
    bytes: [u8; SPACE_LEN],
    writable: [u8; SPACE_LEN],
    bar_len: [u32; BARS],
    next_capability: usize,
    last_link: usize,
}

impl ConfigSpace {
    /// A function without BARs and capabilities.
    pub fn new(identity: Identity) -> Self {
        let mut space = Self {
            bytes: [0; SPACE_LEN],
            writable: [0; SPACE_LEN],
            bar_len: [0; BARS],
            next_capability: FIRST_CAPABILITY,
            last_link: CAPABILITIES,
        };
        space.set(0x00, &identity.vendor.to_le_bytes());
        space.set(0x02, &identity.device.to_le_bytes());
        let [class, subclass, interface] = identity.class;
        space.set(0x08, &[identity.revision, interface, subclass, class]);
        space.set(0x2C, &identity.subsystem_vendor.to_le_bytes());
        space.set(0x2E, &identity.subsystem.to_le_bytes());
        space.allow(COMMAND, &COMMAND_WRITABLE.to_le_bytes());
        space.allow(INTERRUPT_LINE, &[0xFF]);
        space
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn allow(&mut self, at: usize, mask: &[u8]) {
        self.writable[at..at + mask.len()].copy_from_slice(mask);
    }

    /// Adds a 32-bit memory BAR, `len` bytes, a power of two of at least 16,
    /// that starts out at `start`.
    pub fn add_memory_bar(&mut self, bar: usize, len: u32, start: u32) {
        assert!(bar < BARS && len.is_power_of_two() && len >= 16 && start & (len - 1) == 0);
        self.bar_len[bar] = len;
        self.set(BAR0 + 4 * bar, &start.to_le_bytes());
        self.allow(BAR0 + 4 * bar, &(!(len - 1)).to_le_bytes());
    }

    /// Adds interrupt pin INTA, with the line number that firmware would set.
    pub fn add_interrupt_pin(&mut self, line: u8) {
        self.bytes[INTERRUPT_PIN] = 1;
        self.bytes[INTERRUPT_LINE] = line;
    }

    /// Appends a capability; `body` follows its id and link bytes. `writable`
    /// marks the bits of `body` that a guest can write. Returns its offset.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> usize {
        let start = self.next_capability;
        let end = start + 2 + body.len();
        assert!(end <= SPACE_LEN && writable.len() <= body.len());
        self.bytes[self.last_link] = start as u8;
        self.bytes[STATUS] |= STATUS_CAPABILITIES;
        self.set(start, &[id, 0]);
        self.set(start + 2, body);
        self.allow(start + 2, writable);
        self.last_link = start + 1;
        self.next_capability = end.next_multiple_of(4);
        start
    }

    /// Reads at `offset`; beyond the space, zeroes.
    pub fn read(&self, offset: usize, data: &mut [u8]) {
        for (index, byte) in data.iter_mut().enumerate() {
            *byte = offset
                .checked_add(index)
                .and_then(|at| self.bytes.get(at))
                .copied()
                .unwrap_or(0);
        }
    }

    /// Writes what is writable at `offset`.
    pub fn write(&mut self, offset: usize, data: &[u8]) -> Changes {
        let mut changes = Changes::default();
        for (index, value) in data.iter().enumerate() {
            let Some(at) = offset.checked_add(index).filter(|at| *at < SPACE_LEN) else {
                break;
            };
            let mask = self.writable[at];
            self.bytes[at] = self.bytes[at] & !mask | value & mask;
            match at {
                COMMAND | 0x05 | BAR0..0x28 => changes.bars = true,
                FIRST_CAPABILITY.. => changes.capabilities = true,
                _ => {}
            }
        }
        changes
    }

    /// A 16-bit register.
    pub fn u16_at(&self, offset: usize) -> u16 {
        let mut data = [0; 2];
        self.read(offset, &mut data);
        u16::from_le_bytes(data)
    }

    /// A 32-bit register.
    pub fn u32_at(&self, offset: usize) -> u32 {
        let mut data = [0; 4];
        self.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    /// Where a BAR answers now: its start and length, if it is there and
    /// memory decoding is on.
    pub fn memory_bar(&self, bar: usize) -> Option<(u64, u64)> {
        let len = *self.bar_len.get(bar)?;
        let is_on = self.bytes[COMMAND] & COMMAND_MEMORY != 0;
        (len > 0 && is_on).then(|| (u64::from(self.u32_at(BAR0 + 4 * bar)), u64::from(len)))
    }

    /// Shows in the status register whether INTA is asserted, and says whether
    /// the pin may drive its line.
    pub fn set_interrupt_status(&mut self, is_asserted: bool) -> bool {
        let status = self.bytes[STATUS] & !STATUS_INTERRUPT;
        self.bytes[STATUS] = if is_asserted {
            status | STATUS_INTERRUPT
        } else {
            status
        };
        is_asserted && self.u16_at(COMMAND) & COMMAND_INTX_DISABLE == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn space() -> ConfigSpace {
        let mut space = ConfigSpace::new(Identity {
            vendor: 0x1AF4,
            device: 0x1042,
            class: [1, 0x80, 0],
            ..Identity::default()
        });
        space.add_memory_bar(0, 0x8000, 0xC000_0000);
        space
    }

    #[test]
    fn a_bar_can_be_sized_and_moved() {
        let mut space = space();
        assert_eq!(space.memory_bar(0), None);
        assert!(space.write(COMMAND, &[2, 0]).bars);
        assert_eq!(space.memory_bar(0), Some((0xC000_0000, 0x8000)));
        space.write(BAR0, &[0xFF; 4]);
        assert_eq!(space.u32_at(BAR0), 0xFFFF_8000);
        space.write(BAR0, &0xD000_4321u32.to_le_bytes());
        assert_eq!(space.memory_bar(0), Some((0xD000_0000, 0x8000)));
        space.write(BAR0 + 4, &[0xFF; 4]);
        assert_eq!(space.u32_at(BAR0 + 4), 0);
    }

    #[test]
    fn identity_is_constant() {
        let mut space = space();
        space.write(0, &[0; 4]);
        assert_eq!(space.u32_at(0), 0x1042_1AF4);
        assert_eq!(space.u32_at(8), 0x0180_0000);
    }

    #[test]
    fn capabilities_are_linked_and_masked() {
        let mut space = space();
        let first = space.add_capability(9, &[1, 2, 3], &[]);
        let second = space.add_capability(0x11, &[0; 10], &[0, 0xC0]);
        assert_eq!(space.bytes[CAPABILITIES], first as u8);
        assert_eq!(
            (space.bytes[first + 1], space.bytes[second + 1]),
            (second as u8, 0)
        );
        assert!(space.write(second + 2, &[0xFF; 2]).capabilities);
        assert_eq!(space.u16_at(second + 2), 0xC000);
        assert_eq!(space.u16_at(STATUS), u16::from(STATUS_CAPABILITIES));
    }

    #[test]
    fn intx_disable_keeps_the_line_down() {
        let mut space = space();
        assert!(space.set_interrupt_status(true));
        assert_eq!(space.u16_at(STATUS) & 8, 8);
        space.write(COMMAND, &0x0400u16.to_le_bytes());
        assert!(!space.set_interrupt_status(true));
        assert!(!space.set_interrupt_status(false));
        assert_eq!(space.u16_at(STATUS) & 8, 0);
    }

    proptest! {
        #[test]
        fn no_access_panics_or_changes_constants(
            accesses in prop::collection::vec(
                (0usize..300, prop::collection::vec(any::<u8>(), 0..9)), 0..64),
        ) {
            let mut space = space();
            space.add_capability(0x11, &[0; 10], &[0, 0xC0]);
            let before = space.clone();
            for (offset, data) in accesses {
                space.write(offset, &data);
                space.read(offset, &mut data.clone());
            }
            for at in 0..SPACE_LEN {
                let mask = !before.writable[at];
                prop_assert_eq!(space.bytes[at] & mask, before.bytes[at] & mask);
            }
        }
    }
}
