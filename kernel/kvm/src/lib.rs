//! Virtual machines behind the KVM interface.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod backend;
pub mod bus;
pub mod chips;
pub mod cpuid;
pub mod event;
pub mod exit;
#[cfg(test)]
mod fake;
pub mod memory;
pub mod platform;
pub mod run_page;
pub mod shared;
pub mod slots;
pub mod translate;
