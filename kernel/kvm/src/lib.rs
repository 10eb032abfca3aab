//! Virtual machines behind the KVM interface.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod backend;
pub mod bus;
pub mod chips;
pub mod clock;
pub mod cpuid;
mod deliver;
pub mod event;
pub mod exit;
#[cfg(test)]
mod fake;
mod fault;
mod fetch;
pub mod files;
mod instruction;
#[cfg(target_os = "none")]
pub mod machine;
pub mod memory;
pub mod msr;
pub mod pending;
pub mod platform;
mod port;
mod run;
pub mod run_page;
pub mod shared;
pub mod slots;
pub mod state;
pub mod svm;
pub mod system;
#[cfg(test)]
mod tests;
pub mod translate;
pub mod vcpu;
mod vcpu_request;
pub mod vm;
mod vm_request;
