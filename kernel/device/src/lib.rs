//! Devices of the machine, as far as all drivers need them.
//!
//! [`pci`] finds functions, their registers and interrupts; [`Platform`] is
//! what drivers ask of the machine, so that they run in host tests over
//! simulated functions.
//!
//! Neighbours: `block` and other drivers stand on this crate; ACPI tables are
//! read by `firmware_tables`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "simulation"))]
extern crate std;

mod interrupt_table;
pub mod pci;
mod platform;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod virtio;

pub use interrupt_table::InterruptTable;
pub use platform::{InterruptHandler, MsiMessage, Platform, Registers};
