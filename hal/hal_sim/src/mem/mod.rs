//! Simulated memory: accounts, frames, page tables.

mod account;
mod flush;
mod frame;
mod nested_table;
mod page_table;
mod ram;

pub use account::{Account, Charge, OutOfMemory};
pub use flush::{Flush, flushes_finished};
pub use frame::Frame;
pub use nested_table::{NestedTable, NotMapped};
pub use page_table::{MapError, Mapping, PageTable, Root};
pub use ram::{FrameStatistics, is_allocated, statistics};

/// Bytes of a page.
pub const PAGE_SIZE: usize = 4096;

/// The first address that no user page may have (canonical lower half, less the
/// last page, where a system call's return address would not be canonical).
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// A physical address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PhysAddr(pub u64);

/// The frame at byte `offset` of the boot archive; the simulation has none.
#[must_use]
pub fn boot_frame(_offset: u64) -> Option<Frame> {
    None
}

/// What a mapping allows. A page without READ is kept but cannot be reached.
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
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[inline]
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This without `other`.
    #[inline]
    #[must_use]
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
