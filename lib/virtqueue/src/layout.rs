//! [`Layout`]: where the parts of a queue lie in its memory.
//!
//! Descriptor table, available ring, used ring (virtio 1.2, sections 2.7.5 to
//! 2.7.8), then one indirect table per descriptor, so that a request's table
//! never has to be allocated.

use crate::LayoutError;

/// The size that drivers here ask for.
pub const DEFAULT_SIZE: u16 = 256;
/// The greatest size that a descriptor's `next` field allows.
pub const MAX_SIZE: u16 = 1 << 15;

/// Length of a descriptor in bytes.
pub(crate) const DESCRIPTOR: usize = 16;

/// Offsets of a queue's parts in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    size: u16,
    segments: u16,
    used: usize,
    indirect: usize,
}

impl Layout {
    /// A queue of `size` entries whose indirect tables hold `segments`
    /// segments each; 0 leaves out the tables, and requests of several
    /// segments then take several descriptors.
    ///
    /// # Errors
    /// [`LayoutError::Size`] unless `size` is a power of two from 2 to
    /// [`MAX_SIZE`].
    pub const fn new(size: u16, segments: u16) -> Result<Self, LayoutError> {
        if !size.is_power_of_two() || size < 2 || size > MAX_SIZE {
            return Err(LayoutError::Size(size));
        }
        let entries = size as usize;
        let available_end = entries * DESCRIPTOR + 6 + 2 * entries;
        // The used ring's elements begin 4 bytes into it: starting it 4 bytes
        // off a multiple of 8 lets one element be read at once.
        let used = available_end.next_multiple_of(8) + 4;
        let used_end = used + 6 + 8 * entries;
        let indirect = used_end.next_multiple_of(DESCRIPTOR);
        Ok(Self {
            size,
            segments,
            used,
            indirect,
        })
    }

    /// Number of entries.
    #[must_use]
    pub const fn size(&self) -> u16 {
        self.size
    }

    /// Segments that an indirect table holds.
    #[must_use]
    pub const fn segments(&self) -> u16 {
        self.segments
    }

    /// Bytes of memory that the queue needs, at an address that is a multiple
    /// of 16.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.indirect_table(self.size)
    }

    /// Offset of the descriptor table.
    #[must_use]
    pub const fn descriptors(&self) -> usize {
        0
    }

    /// Offset of the available ring.
    #[must_use]
    pub const fn available(&self) -> usize {
        self.size as usize * DESCRIPTOR
    }

    /// Offset of the used ring.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.used
    }

    pub(crate) const fn descriptor(&self, index: u16) -> usize {
        index as usize * DESCRIPTOR
    }

    pub(crate) const fn available_index(&self) -> usize {
        self.available() + 2
    }

    pub(crate) const fn available_entry(&self, index: u16) -> usize {
        self.available() + 4 + 2 * (index & (self.size - 1)) as usize
    }

    /// The word by which the driver says which completion interrupts it.
    pub(crate) const fn used_event(&self) -> usize {
        self.available() + 4 + 2 * self.size as usize
    }

    pub(crate) const fn used_index(&self) -> usize {
        self.used + 2
    }

    pub(crate) const fn used_entry(&self, index: u16) -> usize {
        self.used + 4 + 8 * (index & (self.size - 1)) as usize
    }

    /// The word by which the device says which request it wants to be told of.
    pub(crate) const fn available_event(&self) -> usize {
        self.used + 4 + 8 * self.size as usize
    }

    pub(crate) const fn indirect_table(&self, index: u16) -> usize {
        self.indirect + index as usize * self.segments as usize * DESCRIPTOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_aligned_and_apart() {
        for size in (1..=15).map(|shift| 1u16 << shift) {
            let layout = Layout::new(size, 5).unwrap();
            assert!(layout.used_event() + 2 <= layout.used());
            assert_eq!(layout.used() % 4, 0);
            assert_eq!(layout.used_entry(0) % 8, 0);
            assert!(layout.available_event() + 2 <= layout.indirect_table(0));
            assert_eq!(layout.indirect_table(1) - layout.indirect_table(0), 80);
            assert_eq!(layout.length(), layout.indirect_table(size));
        }
    }

    #[test]
    fn sizes_are_powers_of_two() {
        for size in [0, 1, 3, 255, 0x8001, 0xffff] {
            assert_eq!(Layout::new(size, 1), Err(LayoutError::Size(size)));
        }
    }
}
