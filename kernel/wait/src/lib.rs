//! Waiting, for everything that blocks or is polled.
//!
//! The scheduler lies above this crate and registers itself as [`Scheduler`]:
//! a thread is known here by its [`Waker`] only, and blocks by parking with a
//! token. On top of that: [`PollHead`] (who waits for a file, threads and
//! observers alike), [`WaitQueue`], the sleeping [`Mutex`], and timers.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod mutex;
mod poll_head;
mod queue;
mod scheduler;

pub use abi::event::Events;
pub use core::task::Waker;
pub use mutex::{Mutex, MutexGuard};
pub use poll_head::{PollHandle, PollHead, PollObserver};
pub use queue::WaitQueue;
pub use scheduler::{
    Deadline, Scheduler, TimerId, TimerTarget, interrupted, now_ns, realtime_ns, scheduler,
    set_scheduler,
};

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitError {
    /// The thread has a signal to handle.
    Interrupted,
    /// The deadline has passed.
    TimedOut,
}

impl From<WaitError> for abi::Errno {
    /// An interrupted wait is `ERESTART`: the system call layer repeats the call
    /// or turns it into `EINTR`, as the signal's handler asks. Programs never
    /// see `ERESTART`. What is never restarted says `EINTR` itself.
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Interrupted => abi::Errno::ERESTART,
            WaitError::TimedOut => abi::Errno::EAGAIN,
        }
    }
}
