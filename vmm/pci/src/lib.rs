//! PCI as a guest sees it: configuration space of a function ([`ConfigSpace`]),
//! MSI-X ([`Msix`]) and the root bus that routes accesses ([`RootBus`]).
//!
//! Chips here are pure registers; [`PciFunction`] is what an attached function
//! offers to the root bus. Follows the PCI local bus specification 3.0, the
//! PCI Express base specification (ECAM), and `board`'s address map.
#![forbid(unsafe_code)]

pub mod config_space;
pub mod msix;
pub mod root_bus;

pub use config_space::{Changes, ConfigSpace, Identity};
pub use msix::{MsiMessage, Msix};
pub use root_bus::{ConfigPorts, Ecam, PciFunction, PciWindow, RootBus};
