//! The Linux system calls that programs of ring 3 make.
//!
//! One file per family; every call is a function of the calling thread's
//! [`Context`] and six arguments that returns RAX or an errno. `table` maps
//! numbers to them, and `docs/abi/syscalls.toml` says what each supports.
//! A number that is not in the table is ENOSYS, logged once.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod arguments;
mod clock;
mod descriptor;
mod event;
mod exec;
mod futex;
mod identity;
mod job;
mod lifecycle;
mod limits;
mod memory;
mod mount;
mod names;
mod poll;
mod read_write;
mod signal;
mod socket;
mod stat;
mod system;
mod table;
#[cfg(test)]
mod tests;

pub use system::{SystemHooks, host_name, release, set_file_systems, set_hooks, set_host_name};
pub use table::{dispatch, is_supported};

use world::{Args, Context, Result};
