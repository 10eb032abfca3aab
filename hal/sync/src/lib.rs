//! Locks and per-CPU data for code that runs with interrupts disabled.
//!
//! Ring-0 code of the VMkernel takes interrupts only at explicit points, so a
//! spin lock here never touches the interrupt flag. What spins calls the relax
//! hook, in which a CPU serves requests of other CPUs (see [`spin`]).
#![cfg_attr(not(test), no_std)]
#![expect(unsafe_code)]
// UNSAFETY: a lock hands out `&mut` from `&`; that is what this crate is for.

mod once;
mod per_cpu;
pub mod spin;

pub use once::Once;
pub use per_cpu::{MAX_CPUS, PerCpu};
pub use spin::{SpinGuard, SpinLock, set_relax_hook};
