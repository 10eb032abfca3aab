//! Address spaces of programs.
//!
//! [`Space`] is the main type: areas that say what a program has mapped, the
//! page table that says what of it is there, and the observers (virtual
//! machines) that must hear before a page goes. Faults fill the table on demand.
//!
//! | file | what it holds |
//! |---|---|
//! | `space` | [`Space`], its lock, limits, activation, end |
//! | `area`, `area_map` | what is mapped where, and finding room |
//! | `map`, `protect`, `remap`, `advise`, `heap` | mmap(2) and its family |
//! | `fault` | demand paging, copy-on-write, stack growth |
//! | `access` | the kernel's reads and writes of user memory |
//! | `fork` | a copy-on-write copy |
//! | `object`, `shared_memory` | what can be mapped besides private zeros |
//! | `observer` | who hears of pages that go |
//! | `futex_key`, `listing` | what futexes and procfs ask |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod access;
mod advise;
mod area;
mod area_map;
mod fault;
mod fork;
mod futex_key;
mod heap;
mod layout;
mod listing;
mod map;
mod object;
mod observer;
mod preempt;
mod protect;
mod remap;
mod shared_memory;
mod space;
#[cfg(test)]
mod tests;

pub use advise::Advice;
pub use fault::{Access, FaultError};
pub use futex_key::FutexKey;
pub use hal::mem::Prot;
pub use layout::{Layout, MIN_ADDRESS, USER_END};
pub use listing::AreaInfo;
pub use map::{MapFlags, MapKind};
pub use object::MemoryObject;
pub use observer::Invalidate;
pub use preempt::set_preempt_hook;
pub use remap::RemapFlags;
pub use shared_memory::SharedMemory;
pub use space::Space;

/// Bytes of a page, as addresses are counted.
pub const PAGE: u64 = hal::mem::PAGE_SIZE as u64;
