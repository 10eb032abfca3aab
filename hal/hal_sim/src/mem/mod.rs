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
pub use page_table::{MapError, Mapping, PageTable, TableHandle, activate, deactivate};
pub use ram::{is_allocated, live_frames};

pub(crate) use page_table::active;

/// Bytes of a page.
pub const PAGE_SIZE: usize = 4096;

/// The first address that no user page may have (canonical lower half, less the
/// last page, where a system call's return address would not be canonical).
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// A physical address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PhysAddr(pub u64);

bitflags::bitflags! {
    /// What a mapping allows, and how it is cached. Without READ the page is
    /// kept but inaccessible.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Prot: u8 {
        /// Loads.
        const READ = 1;
        /// Stores.
        const WRITE = 2;
        /// Instruction fetch.
        const EXEC = 4;
        /// From ring 3.
        const USER = 8;
        /// Device registers: not cached.
        const UNCACHED = 16;
        /// Frame buffers: writes may be combined.
        const WRITE_COMBINE = 32;
    }
}
