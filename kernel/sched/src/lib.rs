//! Threads: what runs, where, and for how long.
//!
//! [`Thread`] is what the kernel schedules. Each CPU has a queue (`cpu`) whose
//! order the crate `sched_policy` decides; `switch` changes threads, `wake`
//! queues them, `balance` moves them, `timers` rings. Everything that blocks
//! does so by parking with a token, through the crate `wait`, which this one
//! serves.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod balance;
mod clock;
mod cpu;
mod entitlement;
mod interface;
mod parking;
mod switch;
mod thread;
mod timers;
mod wake;

pub use clock::{realtime_ns, set_realtime_ns};
pub use cpu::{CpuTimes, begin_interrupt, cpu_times, current, current_name, with_current};
pub use entitlement::EntitlementError;
pub use interface::init;
pub use sched_policy::{CpuLoad, Params, ParamsError};
pub use switch::{handle_timer, park, preempt_point, run_cpu, yield_now};
pub use thread::{Builder, Thread, ThreadState};
