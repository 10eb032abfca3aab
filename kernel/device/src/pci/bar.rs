//! [`Bar`]: a base address register (PCI 3.0, section 6.2.5.1).

use super::config_space::ConfigSpace;
use super::{Command, FunctionAddress};

const BAR_0: u16 = 0x10;

/// A window that a function answers at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// Memory addresses.
    Memory {
        /// Physical address; 0 if firmware assigned none.
        address: u64,
        /// Length in bytes, a power of two.
        length: u64,
        /// Whether reads have no effect.
        is_prefetchable: bool,
        /// Whether the address may be above 4 GiB; it takes two registers then.
        is_64_bit: bool,
    },
    /// I/O ports.
    Port {
        /// First port; 0 if firmware assigned none.
        port: u32,
        /// Number of ports, a power of two.
        length: u32,
    },
}

impl Bar {
    /// Physical address and length, if it is assigned memory.
    #[must_use]
    pub fn memory(&self) -> Option<(u64, u64)> {
        match *self {
            Self::Memory {
                address, length, ..
            } if address != 0 => Some((address, length)),
            _ => None,
        }
    }
}

/// Reads and sizes the first `count` registers. The function answers at none
/// of its windows meanwhile, so that the probing value decodes nowhere.
pub(super) fn read_bars(
    config: &impl ConfigSpace,
    at: FunctionAddress,
    count: usize,
) -> [Option<Bar>; 6] {
    let mut bars = [None; 6];
    let command = config.command(at);
    config.set_command(at, command - (Command::MEMORY | Command::PORTS));
    let mut index = 0;
    while index < count {
        let bar = read_bar(config, at, index, count);
        bars[index] = bar;
        let is_wide = matches!(
            bar,
            Some(Bar::Memory {
                is_64_bit: true,
                ..
            })
        );
        index += if is_wide { 2 } else { 1 };
    }
    config.set_command(at, command);
    bars
}

/// Writes all ones and restores; what stayed zero are the address bits below
/// the length.
fn probe(config: &impl ConfigSpace, at: FunctionAddress, offset: u16) -> (u32, u32) {
    let value = config.read_u32(at, offset);
    config.write_u32(at, offset, u32::MAX);
    let mask = config.read_u32(at, offset);
    config.write_u32(at, offset, value);
    (value, mask)
}

fn read_bar(
    config: &impl ConfigSpace,
    at: FunctionAddress,
    index: usize,
    count: usize,
) -> Option<Bar> {
    let offset = BAR_0 + 4 * index as u16;
    let (value, mask) = probe(config, at, offset);
    if value & 1 == 1 {
        // Functions may leave out the upper 16 bits of a port's address.
        let length = lowest_bit(u64::from(mask & !3))? as u32;
        return Some(Bar::Port {
            port: value & !3,
            length,
        });
    }
    let is_64_bit = value >> 1 & 3 == 2 && index + 1 < count;
    let is_prefetchable = value & 8 != 0;
    let (mut address, mut bits) = (u64::from(value & !0xf), u64::from(mask & !0xf));
    if is_64_bit {
        let (high, high_mask) = probe(config, at, offset + 4);
        address |= u64::from(high) << 32;
        bits |= u64::from(high_mask) << 32;
    }
    let length = lowest_bit(bits)?;
    Some(Bar::Memory {
        address,
        length,
        is_prefetchable,
        is_64_bit,
    })
}

fn lowest_bit(value: u64) -> Option<u64> {
    (value != 0).then(|| value & value.wrapping_neg())
}
