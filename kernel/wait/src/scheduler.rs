//! What waiting needs of the scheduler: [`Scheduler`], registered once.

use alloc::sync::Weak;
use core::task::Waker;
use sync::Once;

/// A point of monotonic time in nanoseconds; `None` waits for ever.
pub type Deadline = Option<u64>;

/// Names an armed timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerId(pub u64);

/// What an expired timer calls.
pub trait TimerTarget: Send + Sync {
    /// Called once, at or after the deadline, where no lock is held. Must not
    /// block; may arm the next timer.
    fn expired(&self, now_ns: u64);
}

/// The scheduler, as the layers below it see it.
///
/// Parking follows `std::thread`: waking a thread leaves it one token, parking
/// takes the token or waits for it. A signal also leaves a token.
pub trait Scheduler: Sync {
    /// The running thread, to be woken later. Cheap: a reference count.
    fn current(&self) -> Waker;
    /// Blocks until the running thread has a token, or the deadline has passed.
    /// May return early.
    fn park(&self, deadline: Deadline);
    /// Has the running thread a signal to handle (or to die of)?
    fn interrupted(&self) -> bool;
    /// Monotonic time in nanoseconds.
    fn now_ns(&self) -> u64;
    /// Wall-clock time in nanoseconds since 1970.
    fn realtime_ns(&self) -> u64;
    /// Calls `target` once at `deadline_ns` (monotonic) if it still exists.
    fn arm(&self, deadline_ns: u64, target: Weak<dyn TimerTarget>) -> TimerId;
    /// Takes a timer back. It may be running, or have run, already.
    fn cancel(&self, timer: TimerId);
}

static SCHEDULER: Once<&'static dyn Scheduler> = Once::new();

/// Registers the scheduler. The first one stays; returns whether this is it.
pub fn set_scheduler(scheduler: &'static dyn Scheduler) -> bool {
    SCHEDULER.set(scheduler).is_ok()
}

/// The registered scheduler.
///
/// # Panics
/// Before there is one: nothing may wait so early in boot.
#[inline]
pub fn scheduler() -> &'static dyn Scheduler {
    *SCHEDULER
        .get()
        .expect("invariant: the scheduler is registered before anything waits")
}

/// Monotonic time in nanoseconds.
#[must_use]
pub fn now_ns() -> u64 {
    scheduler().now_ns()
}

/// Wall-clock time in nanoseconds since 1970; zero before there is a clock.
#[must_use]
pub fn realtime_ns() -> u64 {
    SCHEDULER
        .get()
        .map_or(0, |scheduler| scheduler.realtime_ns())
}

/// Has the running thread a signal to handle?
#[must_use]
pub fn interrupted() -> bool {
    scheduler().interrupted()
}
