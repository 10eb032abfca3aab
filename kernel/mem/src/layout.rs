//! [`Layout`]: where things go in an address space.

use crate::PAGE;

/// The first address that no mapping reaches: the canonical lower half less its
/// last page, so that no return address of a system call is non-canonical.
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// The lowest address that can be mapped, so that null pointers always fault.
pub const MIN_ADDRESS: u64 = 0x1_0000;

/// Room left between the stack's end and the mmap area beyond the stack's limit.
const STACK_ROOM: u64 = 1 << 20;
const MIN_STACK: u64 = 128 << 20;
const MAX_STACK: u64 = USER_END / 6 * 5;
const MIN_MMAP_TOP: u64 = (USER_END / 6) & !(PAGE - 1);

/// The places that are chosen at exec.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// End of the stack.
    pub stack_top: u64,
    /// End of the area that mmap(2) fills downwards.
    pub mmap_top: u64,
    /// Start of the heap that brk(2) moves the end of.
    pub heap: u64,
}

impl Layout {
    /// A layout for a stack of up to `stack_limit` bytes. Of `random`, 22 bits
    /// move the stack and 28 others the mmap area, in pages; 0 is the fixed
    /// layout. The heap is put behind the program when that is loaded.
    #[must_use]
    pub fn new(stack_limit: u64, random: u64) -> Self {
        let stack_shift = (random & 0x3f_ffff) * PAGE;
        let mmap_shift = (random >> 22 & 0xfff_ffff) * PAGE;
        let room = stack_limit.clamp(MIN_STACK, MAX_STACK) & !(PAGE - 1);
        let stack_top = USER_END - stack_shift;
        let mmap_top = stack_top.saturating_sub(room + STACK_ROOM + mmap_shift);
        Self {
            stack_top,
            mmap_top: mmap_top.max(MIN_MMAP_TOP),
            heap: 0,
        }
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self::new(8 << 20, 0)
    }
}
