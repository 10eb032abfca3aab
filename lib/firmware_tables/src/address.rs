//! [`GenericAddress`]: a register's place (ACPI 6.4, section 5.2.3.2).

use crate::bytes::Bytes;

/// Which bus a register is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressSpace {
    /// Physical memory.
    Memory,
    /// An I/O port.
    Port,
    /// PCI configuration space of bus 0: the address holds device, function, offset.
    PciConfig,
    /// Another space, by its number.
    Other(u8),
}

/// A register's place and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenericAddress {
    /// The bus.
    pub space: AddressSpace,
    /// Width in bits, 0 if firmware did not say.
    pub bit_width: u8,
    /// The address on that bus; never 0.
    pub address: u64,
}

impl GenericAddress {
    /// A register at an I/O port.
    pub(crate) fn port(port: u32, bytes: u8) -> Option<Self> {
        let bit_width = bytes.saturating_mul(8);
        (port != 0).then_some(Self {
            space: AddressSpace::Port,
            bit_width,
            address: port.into(),
        })
    }

    /// The 12-byte structure at `offset`; `None` if absent or all zero.
    pub(crate) fn parse(table: Bytes<'_>, offset: usize) -> Option<Self> {
        let address = table.u64(offset + 4)?;
        let space = match table.u8(offset)? {
            0 => AddressSpace::Memory,
            1 => AddressSpace::Port,
            2 => AddressSpace::PciConfig,
            other => AddressSpace::Other(other),
        };
        let bit_width = table.u8(offset + 1)?;
        (address != 0).then_some(Self {
            space,
            bit_width,
            address,
        })
    }
}
