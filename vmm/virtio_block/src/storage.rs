//! What a disk's bytes are kept in: [`Storage`].

use std::io;
use virtio_device::Buffer;

/// Bytes of a sector, virtio's unit whatever the medium's is.
pub const SECTOR: u64 = 512;

/// A flat range of bytes that keeps them.
///
/// The device has checked that every range is inside `0..len()`. What was
/// written is only promised to survive once `flush` has returned.
pub trait Storage: Send {
    /// Bytes in all, whole sectors.
    fn len(&self) -> u64;
    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// The medium's.
    fn read(&mut self, offset: u64, buffer: &Buffer<'_>) -> io::Result<()>;
    /// Writes `buffer` at `offset`.
    ///
    /// # Errors
    /// The medium's.
    fn write(&mut self, offset: u64, buffer: &Buffer<'_>) -> io::Result<()>;
    /// Makes everything written so far survive.
    ///
    /// # Errors
    /// The medium's.
    fn flush(&mut self) -> io::Result<()>;
    /// Forgets a range; what it reads afterwards is undefined.
    ///
    /// # Errors
    /// The medium's.
    fn discard(&mut self, offset: u64, len: u64) -> io::Result<()>;
    /// Makes a range read zeroes. With `may_unmap` its space may be given up.
    ///
    /// # Errors
    /// The medium's.
    fn write_zeroes(&mut self, offset: u64, len: u64, may_unmap: bool) -> io::Result<()>;
}
