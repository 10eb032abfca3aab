//! [`DmaMemory`]: contiguous memory that the kernel shares with a device.

use super::physical::to_virtual;
use super::{Account, Frame, OutOfMemory, PAGE_SIZE};

/// Contiguous, cached memory at a fixed place. The device may read and write
/// it at any time, so it is reached by single volatile accesses only. Whoever
/// drops it has made sure that the device is done with it.
#[derive(Debug)]
pub struct DmaMemory {
    frame: Frame,
    pointer: *mut u8,
    len: usize,
}

// SAFETY: the memory belongs to the frame, which is counted and not bound to a
// CPU; all access is by volatile reads and writes of plain integers.
unsafe impl Send for DmaMemory {}
// SAFETY: as above; a race gives some value of the bytes, which the device
// could have written as well.
unsafe impl Sync for DmaMemory {}

impl DmaMemory {
    /// At least `len` bytes of zeros, aligned to a page or more.
    pub fn new(len: usize, account: &Account) -> Result<Self, OutOfMemory> {
        let pages = len.div_ceil(PAGE_SIZE).max(1).next_power_of_two();
        let frame = Frame::alloc_order(pages.ilog2() as u8, account)?;
        let pointer = to_virtual(frame.phys().0);
        Ok(Self {
            len: frame.len(),
            frame,
            pointer,
        })
    }

    /// Its length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The physical address of the byte at `offset`.
    #[inline]
    pub fn address(&self, offset: usize) -> u64 {
        self.frame.phys().0 + offset as u64
    }

    /// Panics unless an aligned `T` lies at `offset`.
    #[inline]
    fn at<T>(&self, offset: usize) -> *mut T {
        // The block has at least a page, so this does not wrap.
        let fits = offset <= self.len - size_of::<T>();
        assert!(
            fits && offset.is_multiple_of(size_of::<T>()),
            "invariant: access inside, aligned"
        );
        // SAFETY: inside of the block, which `pointer` begins.
        unsafe { self.pointer.add(offset).cast() }
    }
}

macro_rules! accesses {
    ($($read:ident, $write:ident: $type:ty;)*) => {
        impl DmaMemory {
            $(
                /// Reads the aligned value at `offset`, once.
                #[inline]
                pub fn $read(&self, offset: usize) -> $type {
                    // SAFETY: inside and aligned; the frame keeps it mapped.
                    unsafe { self.at::<$type>(offset).read_volatile() }
                }

                /// Writes the aligned value at `offset`, once.
                #[inline]
                pub fn $write(&self, offset: usize, value: $type) {
                    // SAFETY: as above; nobody holds a reference into it.
                    unsafe { self.at::<$type>(offset).write_volatile(value) }
                }
            )*
        }
    };
}

accesses! {
    read_u8, write_u8: u8;
    read_u16, write_u16: u16;
    read_u32, write_u32: u32;
    read_u64, write_u64: u64;
}
