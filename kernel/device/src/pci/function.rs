//! [`Function`]: what a PCI function says about itself.

use alloc::vec::Vec;

use super::bar::read_bars;
use super::{Bar, Capability, Command, ConfigSpace, FunctionAddress, capabilities};

const VENDOR: u16 = 0x00;
const DEVICE: u16 = 0x02;
const REVISION: u16 = 0x08;
const HEADER_TYPE: u16 = 0x0e;
const SECONDARY_BUS: u16 = 0x19;
const SUBSYSTEM_VENDOR: u16 = 0x2c;
const SUBSYSTEM: u16 = 0x2e;
const INTERRUPT_LINE: u16 = 0x3c;
const INTERRUPT_PIN: u16 = 0x3d;

/// Well-known values of [`Function::class`] (PCI Code and ID Assignment 1.11).
pub mod class {
    /// Mass storage.
    pub const STORAGE: u8 = 0x01;
    /// Network.
    pub const NETWORK: u8 = 0x02;
    /// Display.
    pub const DISPLAY: u8 = 0x03;
    /// Bridge.
    pub const BRIDGE: u8 = 0x06;
}

/// What stands behind the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A device.
    Device,
    /// A bridge to another bus.
    Bridge {
        /// The bus behind it; 0 if firmware assigned none.
        secondary_bus: u8,
    },
    /// Another header, which this kernel does not read.
    Other(u8),
}

/// A PCI function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub address: FunctionAddress,
    /// Who made it.
    pub vendor: u16,
    /// What the maker calls it.
    pub device: u16,
    /// The maker's revision.
    pub revision: u8,
    /// Its base class; see [`class`].
    pub class: u8,
    /// Its class's subclass.
    pub subclass: u8,
    /// Its programming interface.
    pub interface: u8,
    /// Who made the board; 0 for bridges.
    pub subsystem_vendor: u16,
    /// What that maker calls it; 0 for bridges.
    pub subsystem: u16,
    /// Interrupt pin, 1 to 4 for INTA to INTD; 0 for none.
    pub interrupt_pin: u8,
    /// The line that firmware routed the pin to.
    pub interrupt_line: u8,
    /// Device or bridge.
    pub kind: Kind,
    /// Base address registers; the second half of a 64-bit one is `None`.
    pub bars: [Option<Bar>; 6],
    /// Capabilities, in their order.
    pub capabilities: Vec<Capability>,
}

impl Function {
    /// Reads the function at `at`; `None` if there is none.
    pub fn read(config: &impl ConfigSpace, at: FunctionAddress) -> Option<Self> {
        let vendor = config.read_u16(at, VENDOR);
        if vendor == 0xffff || vendor == 0 {
            return None;
        }
        let (kind, bar_count) = match config.read_u8(at, HEADER_TYPE) & 0x7f {
            0 => (Kind::Device, 6),
            1 => (
                Kind::Bridge {
                    secondary_bus: config.read_u8(at, SECONDARY_BUS),
                },
                2,
            ),
            other => (Kind::Other(other), 0),
        };
        let subsystem = |offset| match kind {
            Kind::Device => config.read_u16(at, offset),
            _ => 0,
        };
        let [revision, interface, subclass, class] = config.read_u32(at, REVISION).to_le_bytes();
        Some(Self {
            address: at,
            vendor,
            device: config.read_u16(at, DEVICE),
            revision,
            class,
            subclass,
            interface,
            subsystem_vendor: subsystem(SUBSYSTEM_VENDOR),
            subsystem: subsystem(SUBSYSTEM),
            interrupt_pin: config.read_u8(at, INTERRUPT_PIN),
            interrupt_line: config.read_u8(at, INTERRUPT_LINE),
            kind,
            bars: read_bars(config, at, bar_count),
            capabilities: capabilities(config, at),
        })
    }

    /// The first capability of this id.
    #[must_use]
    pub fn capability(&self, id: u8) -> Option<Capability> {
        self.capabilities
            .iter()
            .find(|capability| capability.id == id)
            .copied()
    }
}

/// Whether the function at `at` is one of several of its device.
pub(super) fn is_multi_function(config: &impl ConfigSpace, at: FunctionAddress) -> bool {
    config.read_u8(at, HEADER_TYPE) & 0x80 != 0
}

/// Lets the function answer at its memory and read and write memory itself;
/// its interrupt pin is switched off.
pub fn enable(config: &impl ConfigSpace, at: FunctionAddress) {
    let wanted = Command::MEMORY | Command::BUS_MASTER | Command::INTX_DISABLE;
    config.set_command(at, config.command(at) | wanted);
}
