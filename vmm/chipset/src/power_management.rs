//! The ACPI fixed hardware: PM1 event and control registers and the timer.
//!
//! Main type: [`PowerManagement`]. Register layout: event block at 0 (status,
//! enable), control at 4, timer at 8; ACPI specification 6.5, section 4.8.3.
//! `guest_acpi` tells the guest where they are.

/// Bytes of the block.
pub const BLOCK_LEN: u64 = 12;
/// SLP_TYP that means soft off on this board.
pub const SLEEP_TYPE_S5: u16 = 5;

const GLOBAL_LOCK: u16 = 1 << 5;
const POWER_BUTTON: u16 = 1 << 8;
const CLOCK_ALARM: u16 = 1 << 10;
const STATUS_BITS: u16 = POWER_BUTTON;
/// Events that never happen here can still be enabled: guests insist on it.
const ENABLE_BITS: u16 = GLOBAL_LOCK | POWER_BUTTON | CLOCK_ALARM;
const SCI_ENABLE: u16 = 1;
const SLEEP_ENABLE: u16 = 1 << 13;
const SLEEP_TYPE_SHIFT: u16 = 10;
const CONTROL_BITS: u16 = 7 << SLEEP_TYPE_SHIFT;
const TIMER_HZ: u128 = 3_579_545;

/// What a register write asks of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerEffect {
    /// Nothing but a possible change of the interrupt line.
    None,
    /// The guest switched the machine off.
    PowerOff,
}

/// Registers of the power management block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PowerManagement {
    status: u16,
    enable: u16,
    control: u16,
}

impl PowerManagement {
    /// The block after reset: nothing pending, nothing enabled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the system control interrupt is asserted.
    pub fn interrupt(&self) -> bool {
        self.status & self.enable != 0
    }

    /// The power button was pressed. The guest sees it once it enables the event.
    pub fn press_power_button(&mut self) {
        self.status |= POWER_BUTTON;
    }

    /// Whether a guest listens to the power button.
    pub fn power_button_enabled(&self) -> bool {
        self.enable & POWER_BUTTON != 0
    }

    /// Reads `data.len()` bytes at `offset`; `now_ns` is the time since reset.
    pub fn read(&self, offset: u64, data: &mut [u8], now_ns: u64) {
        let mut block = [0; BLOCK_LEN as usize];
        let timer = (u128::from(now_ns) * TIMER_HZ / 1_000_000_000) as u32;
        block[0..2].copy_from_slice(&self.status.to_le_bytes());
        block[2..4].copy_from_slice(&self.enable.to_le_bytes());
        block[4..6].copy_from_slice(&(self.control | SCI_ENABLE).to_le_bytes());
        block[8..12].copy_from_slice(&timer.to_le_bytes());
        for (index, byte) in data.iter_mut().enumerate() {
            let at = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .saturating_add(index);
            *byte = block.get(at).copied().unwrap_or(0xFF);
        }
    }

    /// Writes `data` at `offset`. Status bits are cleared by writing ones.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> PowerEffect {
        let mut effect = PowerEffect::None;
        for (index, byte) in data.iter().enumerate() {
            let value = u16::from(*byte);
            match offset.saturating_add(index as u64) {
                0 => self.status &= !(value & STATUS_BITS),
                1 => self.status &= !(value << 8 & STATUS_BITS),
                2 => self.enable = (self.enable & 0xFF00 | value) & ENABLE_BITS,
                3 => self.enable = (self.enable & 0x00FF | value << 8) & ENABLE_BITS,
                4 => self.control = (self.control & 0xFF00 | value) & CONTROL_BITS,
                5 => effect = self.write_control_high(value << 8),
                _ => {}
            }
        }
        effect
    }

    fn write_control_high(&mut self, value: u16) -> PowerEffect {
        self.control = (self.control & 0x00FF | value) & CONTROL_BITS;
        let sleep_type = value >> SLEEP_TYPE_SHIFT & 7;
        if value & SLEEP_ENABLE != 0 && sleep_type == SLEEP_TYPE_S5 {
            PowerEffect::PowerOff
        } else {
            PowerEffect::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_u16(pm: &PowerManagement, offset: u64) -> u16 {
        let mut data = [0; 2];
        pm.read(offset, &mut data, 0);
        u16::from_le_bytes(data)
    }

    #[test]
    fn button_interrupts_only_when_enabled_and_until_acknowledged() {
        let mut pm = PowerManagement::new();
        pm.press_power_button();
        assert!(!pm.interrupt());
        pm.write(2, &POWER_BUTTON.to_le_bytes());
        assert!(pm.interrupt());
        pm.write(0, &0u16.to_le_bytes());
        assert!(pm.interrupt());
        pm.write(0, &POWER_BUTTON.to_le_bytes());
        assert!(!pm.interrupt());
        assert_eq!(read_u16(&pm, 0), 0);
    }

    #[test]
    fn fixed_events_can_be_enabled_and_stay_silent() {
        let mut pm = PowerManagement::new();
        pm.write(2, &0xFFFFu16.to_le_bytes());
        assert_eq!(read_u16(&pm, 2), ENABLE_BITS);
        assert!(!pm.interrupt());
    }

    #[test]
    fn sleep_enable_with_type_5_is_power_off() {
        let mut pm = PowerManagement::new();
        let only_type = 5 << SLEEP_TYPE_SHIFT;
        assert_eq!(pm.write(4, &u16::to_le_bytes(only_type)), PowerEffect::None);
        let other = 1 << SLEEP_TYPE_SHIFT | SLEEP_ENABLE;
        assert_eq!(pm.write(4, &u16::to_le_bytes(other)), PowerEffect::None);
        let off = only_type | SLEEP_ENABLE;
        assert_eq!(pm.write(4, &u16::to_le_bytes(off)), PowerEffect::PowerOff);
    }

    #[test]
    fn control_reads_back_with_acpi_on_and_without_sleep_enable() {
        let mut pm = PowerManagement::new();
        pm.write(4, &[0xFF, 0x03 | 1 << 2]);
        assert_eq!(read_u16(&pm, 4), 1 << SLEEP_TYPE_SHIFT | SCI_ENABLE);
    }

    #[test]
    fn timer_runs_at_its_frequency_and_wraps() {
        let pm = PowerManagement::new();
        let mut data = [0; 4];
        pm.read(8, &mut data, 1_000_000_000);
        assert_eq!(u32::from_le_bytes(data), 3_579_545);
        pm.read(8, &mut data, u64::MAX);
    }

    proptest! {
        #[test]
        fn no_access_panics_or_sets_unknown_bits(
            accesses in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..9)), 0..64),
            near in prop::collection::vec((0u64..16, prop::collection::vec(any::<u8>(), 0..9)), 0..64),
        ) {
            let mut pm = PowerManagement::new();
            for (offset, data) in accesses.into_iter().chain(near) {
                pm.write(offset, &data);
                pm.read(offset, &mut data.clone(), offset);
                prop_assert_eq!(pm.status & !STATUS_BITS, 0);
                prop_assert_eq!(pm.enable & !ENABLE_BITS, 0);
            }
        }
    }
}
