//! Bits of page-table entries and of page-fault error codes (APM volume 2,
//! chapters 5 and 8.4.2). Nested tables use the same bits.

/// Present.
pub const PRESENT: u64 = 1 << 0;
/// Writable.
pub const WRITE: u64 = 1 << 1;
/// Ring 3 may use it.
pub const USER: u64 = 1 << 2;
/// Write-through.
pub const WRITE_THROUGH: u64 = 1 << 3;
/// Cache disabled.
pub const CACHE_DISABLE: u64 = 1 << 4;
/// Accessed.
pub const ACCESSED: u64 = 1 << 5;
/// Dirty.
pub const DIRTY: u64 = 1 << 6;
/// A large page (in a directory entry).
pub const LARGE: u64 = 1 << 7;
/// Global.
pub const GLOBAL: u64 = 1 << 8;
/// No execute.
pub const NO_EXECUTE: u64 = 1 << 63;
/// The physical address in an entry.
pub const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

/// Error code: the page was present.
pub const FAULT_PRESENT: u64 = 1 << 0;
/// Error code: the access was a write.
pub const FAULT_WRITE: u64 = 1 << 1;
/// Error code: the access came from ring 3.
pub const FAULT_USER: u64 = 1 << 2;
/// Error code: a reserved bit was set.
pub const FAULT_RESERVED: u64 = 1 << 3;
/// Error code: the access was an instruction fetch.
pub const FAULT_FETCH: u64 = 1 << 4;
/// Nested fault, EXITINFO1: the final address of a guest translation.
pub const NESTED_FINAL: u64 = 1 << 32;
/// Nested fault, EXITINFO1: the access was to a guest page table.
pub const NESTED_TABLE: u64 = 1 << 33;
