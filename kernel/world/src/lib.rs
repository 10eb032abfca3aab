//! User worlds: processes and threads that run ordinary Linux programs.
//!
//! [`Process`] is what programs share among their threads; [`UserThread`] is one
//! of those; [`Context`] is the thread while it is in the kernel, and what every
//! system call is given. The calls themselves are in the crate `syscall`, which
//! registers itself here.
//!
//! | file | what it holds |
//! |---|---|
//! | `process`, `thread`, `registry`, `job` | who there is, and who belongs to whom |
//! | `run` | the loop between ring 3 and the kernel |
//! | `context` | a thread in the kernel; what files may ask of it |
//! | `exec`, `image`, `start_stack` | from a file to a running program |
//! | `clone` | fork, vfork and threads |
//! | `exit`, `reap` | the end of threads and processes, and who hears of it |
//! | `signal/` | sending, pending, handlers and their frames |
//! | `futex` | waiting on a word of memory |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod clone;
mod context;
mod exec;
mod exit;
pub mod futex;
mod image;
pub mod job;
mod process;
mod reap;
mod registry;
mod run;
pub mod signal;
mod start_stack;
mod thread;

pub use clone::{CLONE_FLAGS, CloneRequest};
pub use context::Context;
pub use exec::{STRINGS_MAX, set_random, start_first};
pub use process::{Limit, Process, Status, Usage};
pub use reap::{Changes, Child, WaitFor};
pub use registry::{current_thread, find_process, find_thread, for_each_process, process_count};
pub use run::{Args, set_first_exit_hook, set_system_calls};
pub use thread::UserThread;

/// What most calls here return.
pub type Result<T> = core::result::Result<T, abi::Errno>;
