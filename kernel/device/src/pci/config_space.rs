//! [`ConfigSpace`]: reads and writes of configuration registers.

use bitflags::bitflags;

use super::FunctionAddress;

pub(super) const COMMAND: u16 = 0x04;
pub(super) const STATUS: u16 = 0x06;

bitflags! {
    /// The command register (PCI 3.0, section 6.2.2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Command: u16 {
        /// Answers at its I/O ports.
        const PORTS = 1 << 0;
        /// Answers at its memory addresses.
        const MEMORY = 1 << 1;
        /// May read and write memory by itself.
        const BUS_MASTER = 1 << 2;
        /// Does not use its interrupt pin.
        const INTX_DISABLE = 1 << 10;
    }
}

/// Configuration registers of all functions of a segment. Offsets are
/// multiples of the width. Where there is no function, reads give all ones.
pub trait ConfigSpace {
    /// Reads four bytes.
    fn read_u32(&self, function: FunctionAddress, offset: u16) -> u32;
    /// Writes four bytes.
    fn write_u32(&self, function: FunctionAddress, offset: u16, value: u32);
    /// Writes two bytes and no others: neighbours may clear bits when written.
    fn write_u16(&self, function: FunctionAddress, offset: u16, value: u16);

    /// Reads two bytes.
    fn read_u16(&self, function: FunctionAddress, offset: u16) -> u16 {
        (self.read_u32(function, offset & !3) >> (8 * (offset & 2))) as u16
    }

    /// Reads one byte.
    fn read_u8(&self, function: FunctionAddress, offset: u16) -> u8 {
        (self.read_u32(function, offset & !3) >> (8 * (offset & 3))) as u8
    }

    /// The command register.
    fn command(&self, function: FunctionAddress) -> Command {
        Command::from_bits_retain(self.read_u16(function, COMMAND))
    }

    /// Sets the command register.
    fn set_command(&self, function: FunctionAddress, command: Command) {
        self.write_u16(function, COMMAND, command.bits());
    }
}
