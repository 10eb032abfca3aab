//! Chips of the board that belong to no bus: the ACPI power management block
//! ([`PowerManagement`]) and the CMOS clock ([`Cmos`]).
//!
//! Chips are pure register state: a register access goes in, a value and an
//! effect come out. Time is an argument. Whoever attaches them owns lock,
//! interrupt and clock. The 16550 and the keyboard controller's reset line
//! come from the crate `vm-superio`.
#![forbid(unsafe_code)]

pub mod cmos;
pub mod power_management;

pub use cmos::Cmos;
pub use power_management::{PowerEffect, PowerManagement};
