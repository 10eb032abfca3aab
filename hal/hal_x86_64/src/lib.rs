//! The x86-64 machine: everything of the VMkernel that touches hardware, and
//! with it all of its unsafe code.
//!
//! Each module keeps one invariant and offers safe operations over it; the
//! manuals followed are the AMD64 Architecture Programmer's Manual (APM),
//! volumes 2 and 3. The crate is empty on a host, where `hal_sim` stands in.
#![cfg(target_os = "none")]
#![no_std]
#![expect(unsafe_code)]
// UNSAFETY: this crate is the floor on which the safe kernel stands.

extern crate alloc;

pub mod apic;
pub mod backtrace;
pub mod boot;
pub mod console;
pub mod cpu;
pub mod fpu;
mod gdt;
pub mod irq;
mod layout;
pub mod mem;
pub mod pci_ports;
pub mod port;
pub mod power;
pub mod provoke;
mod registers;
mod smap;
mod smp;
pub mod task;
pub mod time;
mod trap;
pub mod user;
pub mod user_context;
