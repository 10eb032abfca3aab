//! A clock that stands until a test moves it. One tick of the counter is one
//! nanosecond.

use std::sync::atomic::Ordering;

use crate::machine;

/// 2020-01-01T00:00:00Z, when the simulated machine was switched on.
const EPOCH_NS: u64 = 1_577_836_800_000_000_000;

/// The cycle counter.
#[must_use]
pub fn tsc() -> u64 {
    now_ns()
}

/// Nanoseconds since power-on; never goes back.
#[must_use]
pub fn now_ns() -> u64 {
    machine::current().now.load(Ordering::Acquire)
}

/// Nanoseconds since 1970 (UTC).
#[must_use]
pub fn realtime_ns() -> u64 {
    EPOCH_NS + now_ns()
}

/// Sets this CPU's one-shot timer; `u64::MAX` switches it off.
pub fn arm_timer(deadline_ns: u64) {
    machine::current()
        .cpu()
        .deadline
        .store(deadline_ns, Ordering::Release);
}

/// The deadline that this CPU's timer is set to, if it is.
#[must_use]
pub fn armed() -> Option<u64> {
    Some(machine::current().cpu().deadline.load(Ordering::Acquire)).filter(|&at| at != u64::MAX)
}

/// Moves the clock to `ns`, never back.
pub fn advance_to(ns: u64) {
    let machine = machine::current();
    machine.now.fetch_max(ns, Ordering::AcqRel);
    machine.notify();
}

/// Moves the clock on.
pub fn advance(ns: u64) {
    advance_to(now_ns() + ns);
}

/// Whether an idle CPU moves the clock to its own deadline (it does, unless a
/// test says otherwise).
pub fn set_auto_advance(on: bool) {
    machine::current().auto_advance.store(on, Ordering::Relaxed);
}
