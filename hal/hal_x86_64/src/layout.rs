//! The kernel half of the virtual address space.
//!
//! | from | what |
//! |---|---|
//! | `0xffff_8000_0000_0000` | direct map: all physical memory, never executable |
//! | `0xffff_c000_0000_0000` | kernel stacks, each below a guard page |
//! | `0xffff_d000_0000_0000` | device registers (uncached) |
//! | `0xffff_ffff_8000_0000` | the kernel's image, at -2 GiB |

/// Virtual minus physical address in the direct map.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// First address of the kernel stacks.
pub const STACKS: u64 = 0xffff_c000_0000_0000;
/// First address of mapped device registers.
pub const DEVICES: u64 = 0xffff_d000_0000_0000;
/// Virtual minus physical address in the kernel's image.
pub const IMAGE: u64 = 0xffff_ffff_8000_0000;
/// First address that a program cannot have (APM 2, 1.1.3: canonical form),
/// less one page so that no instruction ends at the hole.
pub const USER_END: u64 = 0x0000_7fff_ffff_f000;
