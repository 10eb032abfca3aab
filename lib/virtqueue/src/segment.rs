//! [`Segment`]: one contiguous piece of a request's data.

/// A piece of memory that a request lets the device read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The address as the device sees it.
    pub address: u64,
    /// Length in bytes, at least 1.
    pub length: u32,
    /// Whether the device writes it; else it reads it.
    pub device_writes: bool,
}

impl Segment {
    /// A piece that the device reads.
    #[must_use]
    pub const fn readable(address: u64, length: u32) -> Self {
        Self {
            address,
            length,
            device_writes: false,
        }
    }

    /// A piece that the device writes.
    #[must_use]
    pub const fn writable(address: u64, length: u32) -> Self {
        Self {
            address,
            length,
            device_writes: true,
        }
    }
}
