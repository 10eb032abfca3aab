//! Physical memory and the tables that map it.
//!
//! | file | what it keeps |
//! |---|---|
//! | `physical` | the memory map, the direct map, copying |
//! | `account` | who has how much |
//! | `frames` | which frames are free |
//! | `frame` | [`Frame`]: one owned, counted block |
//! | `heap` | the kernel's heap |
//! | `table` | four-level tables, for programs and guests alike |
//! | `page_table` | [`PageTable`]: a program's half |
//! | `nested_table` | [`NestedTable`]: a guest's physical memory |
//! | `flush` | [`Flush`]: stale translations and the frames behind them |
//! | `kernel_table` | the kernel's half: image, direct map, stacks, devices |

mod account;
mod dma;
mod flush;
mod frame;
mod frames;
mod heap;
mod kernel_table;
mod nested_table;
mod page_table;
mod physical;
mod table;

pub use account::{Account, Charge};
pub use dma::DmaMemory;
pub use flush::Flush;
pub use frame::{Frame, PhysAddr};
pub use frames::{FrameStatistics, statistics};
pub use kernel_table::{DeviceMemory, is_mapped};
pub use nested_table::{NestedTable, NotMapped};
pub use page_table::{MapError, Mapping, PageTable, Root};
pub use physical::{Physical, boot_frame, to_virtual};

pub(crate) use flush::serve as serve_flush_request;
pub(crate) use frames::CpuFrames;
pub(crate) use heap::CpuHeap;
pub(crate) use kernel_table::{kernel_root, map_stack, unmap_stack};

use crate::boot::BootInfo;

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;

/// No memory, or none left in the account that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl core::fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("out of memory")
    }
}

impl From<OutOfMemory> for abi::Errno {
    fn from(_: OutOfMemory) -> Self {
        Self::ENOMEM
    }
}

/// What a mapping allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prot(u8);

impl Prot {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Loads.
    pub const READ: Self = Self(1);
    /// Stores.
    pub const WRITE: Self = Self(2);
    /// Instruction fetches.
    pub const EXEC: Self = Self(4);
    /// Not cached: device registers.
    pub const UNCACHED: Self = Self(8);

    /// Whether everything in `other` is allowed here.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This without `other`.
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl core::ops::BitOr for Prot {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

/// One CPU's caches.
pub(crate) struct CpuMemory {
    pub(crate) frames: CpuFrames,
    pub(crate) heap: CpuHeap,
    pub(crate) loaded: core::cell::Cell<*const Root>,
}

impl CpuMemory {
    pub(crate) const fn new() -> Self {
        Self {
            frames: CpuFrames::new(),
            heap: CpuHeap::new(),
            loaded: core::cell::Cell::new(core::ptr::null()),
        }
    }
}

/// Takes stock of memory and puts the kernel on tables of its own.
pub(crate) fn init(start_info: u64) -> BootInfo {
    let mut loaded = physical::read_boot_info(start_info);
    frames::init(&mut loaded.memory);
    kernel_table::init(&loaded.memory);
    physical::finish(loaded)
}
