//! PCI functions (PCI Local Bus 3.0; PCI Express Base 5.0, chapter 7).
//!
//! [`enumerate`] walks the buses that firmware numbered and returns a
//! [`Function`] for each device function: identity, BARs with sizes, and
//! capabilities. All of it is logic over [`ConfigSpace`], which is either
//! [`EcamConfig`] or [`PortConfig`] on a machine.

mod address;
mod bar;
mod capability;
mod config_space;
mod ecam;
mod enumerate;
mod function;
mod msix;
mod port_config;

pub use address::FunctionAddress;
pub use bar::Bar;
pub use capability::{Capability, capabilities};
pub use config_space::{Command, ConfigSpace};
pub use ecam::EcamConfig;
pub use enumerate::enumerate;
pub use function::{Function, Kind, class, enable};
pub use msix::{Msix, MsixError};
pub use port_config::{PortConfig, Ports};
