//! A clock that stands until a test moves it. One tick of the counter is one
//! nanosecond.

use std::sync::atomic::Ordering;

use crate::machine;

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

/// Ticks of the counter per second.
#[must_use]
pub fn tsc_hz() -> u64 {
    1_000_000_000
}

/// What is added to the counter of CPU `cpu`.
#[must_use]
pub fn tsc_offset_of(_cpu: usize) -> u64 {
    0
}

/// The hardware clock's registers, as the MC146818 has them: seconds, minutes,
/// hours, day, month, year, and status B (24 hours, binary). It stands at
/// 2020-01-01T00:00:00Z.
#[must_use]
pub fn read_rtc() -> [u8; 7] {
    [0, 0, 0, 1, 1, 20, 0x06]
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
