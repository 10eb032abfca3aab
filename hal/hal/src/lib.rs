//! The hardware under portable names: on bare metal the machine itself
//! (`hal_x86_64`), on a host a simulation of it (`hal_sim`).
//!
//! Both define the same modules with the same signatures, so that everything
//! above is one source, compiled for the machine or for a test.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(not(target_os = "none"))]
pub use hal_sim::*;
#[cfg(target_os = "none")]
pub use hal_x86_64::*;
