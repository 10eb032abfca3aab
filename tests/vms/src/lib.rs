//! Whole VMs, as an operator has them: the programs here start `vmx` with
//! Debian's kernel, type into its console and watch how it ends.
//!
//! Main types: [`Config`], what is in a VM's configuration, and [`Vm`], a
//! running one. The programs run as process 1 here and as commands on Linux.

#![forbid(unsafe_code)]

mod chance;
mod screen;
mod vm;

pub use chance::Chance;
pub use vm::{Config, Vm};
