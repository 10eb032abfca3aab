//! The machine a guest sees, as data: where RAM, windows and ports lie, which
//! interrupt is whose, and the bus that finds a device by address.
//!
//! Main types: [`Bus`] and [`RamLayout`]. Neighbours: `chipset`, `pci` and the
//! virtio crates are what is plugged in; `guest_acpi` describes the same map
//! to the guest; the monitor `vmx` puts them together.
#![forbid(unsafe_code)]

pub mod address_map;
pub mod bus;

pub use address_map::{RamLayout, RamRange};
pub use bus::{Bus, BusDevice, Conflict};
