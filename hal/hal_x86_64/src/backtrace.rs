//! Walking the kernel's stack by its frame pointers.

use crate::layout;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

static ORIGIN: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// Makes [`walk`] begin at an interrupted place.
pub(crate) fn set_origin(rip: u64, rbp: u64) {
    ORIGIN[0].store(rip, Ordering::Relaxed);
    ORIGIN[1].store(rbp, Ordering::Relaxed);
}

/// Calls `visit` with the return addresses of the callers, innermost first, or
/// from the place on that [`set_origin`] named.
pub fn walk(mut visit: impl FnMut(u64)) {
    let mut rbp: u64;
    // SAFETY: reading a register.
    unsafe { asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack, preserves_flags)) }
    let origin = ORIGIN[0].load(Ordering::Relaxed);
    if origin != 0 {
        visit(origin);
        rbp = ORIGIN[1].load(Ordering::Relaxed);
    }
    while is_stack(rbp) {
        // SAFETY: the address is aligned and lies in memory that the kernel
        // always has mapped readable: its image or a stack in use.
        let (next, address) = unsafe { (*(rbp as *const u64), *((rbp + 8) as *const u64)) };
        if address < layout::IMAGE {
            break;
        }
        visit(address);
        if next <= rbp {
            break;
        }
        rbp = next;
    }
}

/// Whether a frame can lie at `address`: within the image or, on a stack, with
/// both words in one page so that the guard page is never touched.
fn is_stack(address: u64) -> bool {
    let stack =
        (layout::STACKS..layout::DEVICES).contains(&address) && crate::mem::is_mapped(address);
    (stack || (layout::IMAGE..u64::MAX - 4096).contains(&address) && crate::mem::is_mapped(address))
        && address.is_multiple_of(8)
        && address & 0xfff <= 0xff0
}
