//! [`QueueMemory`]: the bytes that driver and device share.

/// A DMA area that holds one queue.
///
/// The queue only uses offsets within the length its [`crate::Layout`] names,
/// each a multiple of the access's width. Every access must reach memory once,
/// in program order as seen by this CPU (a volatile access); the queue adds
/// the fences.
pub trait QueueMemory {
    /// Length of the area in bytes.
    fn length(&self) -> usize;

    /// The address that the device uses for the byte at `offset`.
    fn device_address(&self, offset: usize) -> u64;

    /// Reads two bytes, little-endian.
    fn read_u16(&self, offset: usize) -> u16;

    /// Reads eight bytes, little-endian.
    fn read_u64(&self, offset: usize) -> u64;

    /// Writes two bytes, little-endian.
    fn write_u16(&self, offset: usize, value: u16);

    /// Writes eight bytes, little-endian.
    fn write_u64(&self, offset: usize, value: u64);
}
