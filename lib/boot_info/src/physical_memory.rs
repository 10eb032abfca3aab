//! [`PhysicalMemory`]: how parsers of boot and firmware data reach it.
//!
//! The kernel implements it over its direct map; tests implement it over a
//! byte vector. Every read is a copy, so a parser checks what it then uses.

use core::fmt;

/// Physical memory that can be read by copying.
pub trait PhysicalMemory {
    /// Fills `buffer` with the bytes from physical `address` on.
    ///
    /// # Errors
    /// [`Unreadable`] if any byte of the range is not mapped memory; the
    /// buffer's contents are then unspecified.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Unreadable>;
}

/// A physical range that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// First byte of the range.
    pub address: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Physical memory at {:#x}, {} bytes, cannot be read",
            self.address, self.length
        )
    }
}

impl core::error::Error for Unreadable {}
