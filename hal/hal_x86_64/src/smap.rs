//! Opening and closing the program's memory to the kernel (APM 2, 5.6.6): STAC
//! and CLAC, which CPUs without SMAP do not know. There they become NOPs before
//! the first of them is executed.

use crate::registers;

/// Lets the kernel reach the program's memory: `stac`, noted for [`patch`].
macro_rules! open_user_memory {
    () => {
        "771: stac; .pushsection .smap_sites, \"a\", @progbits; .quad 771b; .popsection"
    };
}
pub(crate) use open_user_memory;

/// Ends what [`open_user_memory`] began: `clac`, noted for [`patch`].
macro_rules! close_user_memory {
    () => {
        "771: clac; .pushsection .smap_sites, \"a\", @progbits; .quad 771b; .popsection"
    };
}
pub(crate) use close_user_memory;

/// A NOP as long as STAC and CLAC.
const NOP: [u8; 3] = [0x0f, 0x1f, 0x00];

unsafe extern "C" {
    static smap_sites_start: u64;
    static smap_sites_end: u64;
}

/// Takes the instructions out where the CPU lacks them. Called first thing at
/// boot, while the boot tables still let the kernel's text be written.
pub(crate) fn patch() {
    if registers::features().smap {
        return;
    }
    let (mut site, end) = (&raw const smap_sites_start, &raw const smap_sites_end);
    while site < end {
        // SAFETY: the linker script lays the table between the two symbols; each
        // entry is the address of a three-byte instruction of the macros above,
        // none of which runs now: one CPU, interrupts off, no traps yet.
        unsafe {
            (*site as *mut [u8; 3]).write_volatile(NOP);
            site = site.add(1);
        }
    }
}
