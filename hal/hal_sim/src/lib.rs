//! The hardware layer on an ordinary host: the same names as the layer for bare
//! metal, over simulated frames, page tables, CPUs and a clock that tests move.
//!
//! Every thread of a test belongs to a [`machine::Machine`]; tests that run side
//! by side do not see each other. [`inject`] makes the n-th allocation fail.
#![forbid(unsafe_code)]

pub mod console;
pub mod cpu;
pub mod fpu;
pub mod inject;
pub mod irq;
pub mod machine;
pub mod mem;
pub mod task;
pub mod time;
pub mod user;
pub mod user_context;
