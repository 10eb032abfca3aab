//! I/O ports, for the devices of the PC platform that the kernel itself owns.

use core::arch::asm;

/// Writes a byte to port `port`.
pub(crate) fn out8(port: u16, value: u8) {
    // SAFETY: port I/O of the platform's own devices does not touch memory; the
    // callers in this crate own the ports they name.
    unsafe {
        asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags))
    }
}

/// Writes 16 bits to port `port`.
pub(crate) fn out16(port: u16, value: u16) {
    // SAFETY: as `out8`.
    unsafe {
        asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags))
    }
}

/// Writes 32 bits to port `port`.
pub(crate) fn out32(port: u16, value: u32) {
    // SAFETY: as `out8`.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags))
    }
}

/// Reads a byte from port `port`.
pub(crate) fn in8(port: u16) -> u8 {
    let value;
    // SAFETY: as `out8`.
    unsafe {
        asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags))
    }
    value
}

/// Reads 32 bits from port `port`.
pub(crate) fn in32(port: u16) -> u32 {
    let value;
    // SAFETY: as `out8`.
    unsafe {
        asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack, preserves_flags))
    }
    value
}
