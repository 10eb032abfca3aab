//! [`Msix`]: message-signalled interrupts (PCI 3.0, section 6.8.2).

use core::fmt;

use super::{Capability, ConfigSpace, Function, FunctionAddress};
use crate::{MsiMessage, Platform, Registers};

const ENABLE: u16 = 1 << 15;
const MASK_ALL: u16 = 1 << 14;
const ENTRY: usize = 16;
const CONTROL: usize = 12;
const MASKED: u32 = 1;

/// Why a function's MSI-X cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MsixError {
    /// The function has none.
    Missing(FunctionAddress),
    /// Its table is not inside one of its memory windows.
    Table {
        /// The function.
        function: FunctionAddress,
        /// The BAR that it names.
        bar: u8,
        /// The offset that it names.
        offset: u32,
    },
}

impl fmt::Display for MsixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(function) => write!(f, "PCI function {function} has no MSI-X"),
            Self::Table {
                function,
                bar,
                offset,
            } => write!(
                f,
                "PCI function {function} puts its MSI-X table at {offset:#x} of BAR {bar}, \
                 which is not memory that can be mapped"
            ),
        }
    }
}

impl core::error::Error for MsixError {}

/// A function's interrupt table, mapped.
pub struct Msix<R> {
    function: FunctionAddress,
    capability: u16,
    count: u16,
    table: R,
}

impl<R: Registers> Msix<R> {
    /// Maps the table of `function` and masks every entry.
    ///
    /// # Errors
    /// [`MsixError`] if the function has no usable table.
    pub fn open<P: Platform<Registers = R>>(
        config: &impl ConfigSpace,
        function: &Function,
        platform: &P,
    ) -> Result<Self, MsixError> {
        let at = function.address;
        let found = function
            .capability(Capability::MSIX)
            .ok_or(MsixError::Missing(at))?;
        let capability = found.offset;
        let count = (config.read_u16(at, capability + 2) & 0x7ff) + 1;
        let place = config.read_u32(at, capability + 4);
        let (bar, offset) = ((place & 7) as u8, place & !7);
        let length = usize::from(count) * ENTRY;
        let window = function.bars.get(usize::from(bar)).copied().flatten();
        let table = window
            .and_then(|window| window.memory())
            .filter(|(_, size)| u64::from(offset) + length as u64 <= *size)
            .and_then(|(base, _)| platform.map_registers(base + u64::from(offset), length))
            .ok_or(MsixError::Table {
                function: at,
                bar,
                offset,
            })?;
        let msix = Self {
            function: at,
            capability,
            count,
            table,
        };
        (0..count).for_each(|entry| msix.mask(entry));
        Ok(msix)
    }

    /// Entries of the table.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Lets `entry` send `message`.
    ///
    /// # Panics
    /// If there is no such entry.
    pub fn set(&self, entry: u16, message: MsiMessage) {
        let at = self.offset(entry);
        self.mask(entry);
        self.table.write_u32(at, message.address as u32);
        self.table.write_u32(at + 4, (message.address >> 32) as u32);
        self.table.write_u32(at + 8, message.data);
        self.table
            .write_u32(at + CONTROL, self.table.read_u32(at + CONTROL) & !MASKED);
    }

    /// Keeps `entry` from sending; what it would send stays pending.
    ///
    /// # Panics
    /// If there is no such entry.
    pub fn mask(&self, entry: u16) {
        let control = self.offset(entry) + CONTROL;
        self.table
            .write_u32(control, self.table.read_u32(control) | MASKED);
    }

    fn offset(&self, entry: u16) -> usize {
        assert!(
            entry < self.count,
            "invariant: a driver asks for entries that there are"
        );
        usize::from(entry) * ENTRY
    }

    /// Switches the function from its pin to messages.
    pub fn enable(&self, config: &impl ConfigSpace) {
        self.set_control(config, ENABLE);
    }

    /// Switches messages off.
    pub fn disable(&self, config: &impl ConfigSpace) {
        self.set_control(config, MASK_ALL);
    }

    fn set_control(&self, config: &impl ConfigSpace, bits: u16) {
        let control = config.read_u16(self.function, self.capability + 2);
        let rest = control & !(ENABLE | MASK_ALL);
        config.write_u16(self.function, self.capability + 2, rest | bits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::{SimulatedBus, SimulatedFunction, SimulatedPlatform};

    const BASE: u64 = 0xfe00_0000;

    fn function(count: u8, place: u32) -> SimulatedFunction {
        let mut function = SimulatedFunction::new(0x1af4, 0x1042);
        function.set_bar(1, BASE as u32, 0xffff_f000);
        let mut body = [0; 10];
        body[0] = count - 1;
        body[2..6].copy_from_slice(&place.to_le_bytes());
        function.add_capability(0x60, Capability::MSIX, &body);
        function
    }

    fn open(
        function: SimulatedFunction,
        platform: &SimulatedPlatform,
    ) -> (
        SimulatedBus,
        Result<Msix<crate::simulation::Window>, MsixError>,
    ) {
        let mut bus = SimulatedBus::new();
        bus.add("00:02.0", function);
        let found = super::super::enumerate(&bus, 0, 0).remove(0);
        let msix = Msix::open(&bus, &found, platform);
        (bus, msix)
    }

    #[test]
    fn entries_are_programmed_and_unmasked() {
        let platform = SimulatedPlatform::new();
        let registers = platform.add_plain_registers(BASE, 0x1000);
        let (bus, msix) = open(function(3, 0x801), &platform);
        let msix = msix.unwrap();
        assert_eq!(msix.count(), 3);
        msix.set(
            1,
            MsiMessage {
                address: 0x1_fee0_3000,
                data: 0x41,
            },
        );
        msix.enable(&bus);
        let word = |offset: usize| registers.word(0x800 + offset);
        assert_eq!(
            [word(16), word(20), word(24), word(28)],
            [0xfee0_3000, 1, 0x41, 0]
        );
        assert_eq!([word(12), word(44)], [1, 1], "the others stay masked");
        assert_eq!(bus.config("00:02.0")[0x63] & 0xc0, 0x80);
        msix.mask(1);
        msix.disable(&bus);
        assert_eq!(word(28), 1);
        assert_eq!(bus.config("00:02.0")[0x63] & 0xc0, 0x40);
    }

    #[test]
    fn tables_out_of_place_are_refused() {
        let platform = SimulatedPlatform::new();
        // More is mapped here than the BAR has.
        platform.add_plain_registers(BASE, 0x4000);
        for (count, place) in [(3, 0xff1), (1, 0x1001), (1, 2), (1, 7)] {
            let (_, result) = open(function(count, place), &platform);
            assert!(
                matches!(result.err(), Some(MsixError::Table { .. })),
                "{place:#x}"
            );
        }
        let (_, result) = open(SimulatedFunction::new(1, 1), &platform);
        assert!(matches!(result.err(), Some(MsixError::Missing(_))));
    }
}
