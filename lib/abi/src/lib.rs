//! The kernel's interfaces as data: numbers and layouts that programs of
//! ring 3 and the VMkernel must agree on. No behaviour lives here.
#![no_std]
#![forbid(unsafe_code)]

pub mod errno;
pub mod event;
pub mod fs;
pub mod ioctl;
pub mod kvm;
pub mod kvm_irqchip;
pub mod kvm_run;
pub mod kvm_vcpu;
pub mod kvm_vm;
pub mod lock;
pub mod process;
pub mod signal;
pub mod socket;
pub mod syscall;
pub mod tty;

pub use errno::Errno;
