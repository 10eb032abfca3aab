//! The ports through which PCI configuration registers are reached on machines
//! without a memory window for them (PCI 3.0, section 3.2.2.3.2).
//!
//! An access is two steps; the caller keeps others out between them.

use crate::port;

/// The address port and the four data ports.
const PORTS: core::ops::RangeInclusive<u16> = 0xcf8..=0xcff;

fn check(port: u16) {
    assert!(
        PORTS.contains(&port),
        "invariant: {port:#x} is not a PCI configuration port"
    );
}

/// Reads four bytes.
pub fn read_u32(port: u16) -> u32 {
    check(port);
    port::in32(port)
}

/// Writes four bytes.
pub fn write_u32(port: u16, value: u32) {
    check(port);
    port::out32(port, value);
}

/// Writes two bytes.
pub fn write_u16(port: u16, value: u16) {
    check(port);
    port::out16(port, value);
}
