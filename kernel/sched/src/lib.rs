//! Threads: what runs, where, and for how long.
//!
//! [`Thread`] is what the kernel schedules; `cpu` holds each CPU's queue and
//! chooses; `timers` rings. Everything that blocks does so by parking with a
//! token, through the crate `wait`, which this one serves.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod clock;
mod cpu;
mod interface;
mod queue;
mod thread;
mod timers;

pub use clock::{realtime_ns, set_realtime_ns};
pub use cpu::{
    CpuTimes, cpu_times, current, current_name, handle_timer, park, preempt_point, run_cpu, with_current,
    yield_now,
};
pub use interface::init;
pub use thread::{Builder, Thread, ThreadState};
