//! Prints how long booting took.
//!
//! It runs as the first command of the host's shell, or with the word `guest` as that of a guest. Under icount the
//! time-stamp counter ticks once an instruction and starts at 0 when the machine, or the VM, is powered on (AMD64
//! Architecture Programmer's Manual, volume 2, 13.2.4 and 15.30.5).

#![expect(unsafe_code)]
// UNSAFETY: reading the time-stamp counter is an intrinsic.

fn main() {
    let is_guest = std::env::args().nth(1).is_some_and(|word| word == "guest");
    let ticks = ticks();
    if is_guest {
        println!("BENCH guest.instructions {ticks} instructions");
    } else {
        println!("BENCH boot.host {:.4} 1e9 instructions", ticks as f64 / 1e9);
    }
}

fn ticks() -> u64 {
    // SAFETY: RDTSC reads a counter and has no other effect; every x86-64 processor has it, and CR4.TSD, which
    // would make it fault, is not set by the kernels that this runs on.
    unsafe { core::arch::x86_64::_rdtsc() }
}
