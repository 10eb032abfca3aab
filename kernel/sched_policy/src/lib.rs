//! The scheduler's policy as a pure library: who runs next, for how long and
//! where. It knows neither threads nor CPUs nor a clock: callers name threads
//! by an `Id` of theirs and pass the time in nanoseconds.
//!
//! Each CPU has a [`RunQueue`]; each thread owns an [`Entity`], its account.
//! A thread is entitled to the larger of its *reservation* and its *share*
//! of what is left, and never gets more than its *limit*; see [`Params`].
//!
//! - Shares follow start-time fair queueing: the thread with the least virtual
//!   time (time used, divided by weight) runs next. One that slept resumes at
//!   most [`SLEEPER_CREDIT`] behind the queue, so that sleeping earns a prompt
//!   start and nothing more.
//! - Reservations and limits are kept by tags in real time, one each, that
//!   advance by time used divided by the fraction reserved or allowed. A tag
//!   in the past means that the thread is behind its reservation and goes
//!   before all others; a limit's tag in the future means that it must wait.
//!
//! Order of calls for a CPU: [`RunQueue::pick`], [`RunQueue::start`], ...,
//! [`RunQueue::charge`], then one of [`RunQueue::requeue`] and
//! [`RunQueue::block`]. [`placement`] and [`balance`] decide between CPUs from
//! each queue's [`CpuLoad`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod balance;
mod cpu_set;
mod entity;
mod params;
pub mod placement;
mod run_queue;
mod slots;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

pub use cpu_set::CpuSet;
pub use entity::Entity;
pub use params::{Params, ParamsError, WEIGHT_DEFAULT, WEIGHT_MAX};
pub use placement::CpuLoad;
pub use run_queue::{Preempt, RunQueue, Stolen};

/// Nanoseconds in a millisecond.
const MS: u64 = 1_000_000;

/// The whole of a CPU in parts per million.
pub const WHOLE_CPU: u32 = 1_000_000;
/// All runnable threads of a CPU have run once after about this long, in ns,
/// as long as their slices can be this short.
pub const LATENCY: u64 = 12 * MS;
/// The shortest slice, in ns.
pub const SLICE_MIN: u64 = MS;
/// The longest slice while others wait, in ns.
pub const SLICE_MAX: u64 = 6 * MS;
/// The longest slice of a thread that runs because it is behind its
/// reservation, in ns.
pub const SLICE_RESERVED: u64 = 2 * MS;
/// The time in which such a slice fulfils the reservation, in ns, so that a
/// small reservation is not served in rare large pieces.
pub const PERIOD_RESERVED: u64 = 20 * MS;
/// How much of a reservation that could not be kept is made up for, in ns of
/// real time.
pub const DEBT_MAX: u64 = 100 * MS;
/// How far ahead of the queue a thread's virtual time can be after sleep,
/// moving or running under its reservation, in ns of virtual time.
pub const LEAD_MAX: u64 = 100 * MS;
/// How far behind the queue a sleeper resumes at most, in ns of virtual time.
pub const SLEEPER_CREDIT: u64 = 3 * MS;
/// How far behind the running thread a woken one must be to preempt it, in
/// ns of its own running time.
pub const WAKE_MARGIN: u64 = MS / 2;
/// How much of a limit a thread may save up while it sleeps, in ns of real time.
pub const LIMIT_CREDIT: u64 = 10 * MS;
/// The sum of reservations that one CPU grants, in parts per million.
pub const RESERVABLE: u32 = 950_000;
