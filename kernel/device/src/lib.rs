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

mod firmware_memory;
mod interrupt_table;
#[cfg(target_os = "none")]
mod machine;
pub mod pci;
mod platform;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod virtio;

pub use firmware_memory::FirmwareMemory;
pub use interrupt_table::InterruptTable;
#[cfg(target_os = "none")]
pub use machine::{INTERRUPTS, Machine, PciPorts, SharedMemory};
pub use platform::{InterruptHandler, MsiMessage, Platform, Registers};
