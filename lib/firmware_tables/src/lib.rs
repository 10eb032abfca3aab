//! The ACPI tables that a kernel needs without an AML interpreter.
//!
//! [`Tables`] is the main type: found from the root pointer, it lists what
//! firmware offers and reads [`Madt`], [`Fadt`], [`Hpet`] and [`Mcfg`] on
//! request. Reads go through [`PhysicalMemory`], are copies, and trust no
//! length, count or pointer. Follows the ACPI specification 6.4, chapter 5,
//! and the HPET specification 1.0a, section 3.2.4.
//!
//! Neighbours: `boot_info` says where the root pointer is.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
mod bytes;
mod error;
mod fadt;
mod hpet;
mod madt;
mod mcfg;
mod rsdp;
mod sleep_type;
mod table;
#[cfg(test)]
mod test_memory;

pub use address::{AddressSpace, GenericAddress};
pub use boot_info::{PhysicalMemory, Unreadable};
pub use error::TableError;
pub use fadt::{Fadt, PmTimer, ResetRegister};
pub use hpet::Hpet;
pub use madt::{Cpu, InterruptOverride, IoApic, LocalNmi, Madt, NmiSource, Polarity, Trigger};
pub use mcfg::{EcamSegment, Mcfg};
pub use rsdp::Rsdp;
pub use sleep_type::SleepType;
pub use table::{Signature, TableEntry, Tables};
