//! Timers: what is called when. Each CPU has a queue of its own and rings what
//! was armed on it.

use crate::cpu::{CPUS, Cpu, this};
use crate::thread::Thread;
use alloc::sync::{Arc, Weak};
use hal::cpu;
use wait::{TimerId, TimerTarget};

/// What an expired timer does.
pub(crate) enum Target {
    /// Ends the wait of a thread.
    Thread(Arc<Thread>),
    /// Calls what still exists.
    Other(Weak<dyn TimerTarget>),
}

/// An id names the CPU, the place in its queue and the use of that place.
const CPU_BITS: u32 = 6;
const PLACE_BITS: u32 = 26;

/// Calls `target` at `deadline_ns`, from this CPU.
pub(crate) fn insert(deadline_ns: u64, target: Target) -> TimerId {
    let this = this();
    let (place, uses) = this.timers.lock().insert(deadline_ns, target).parts();
    assert!(
        place < 1 << PLACE_BITS,
        "invariant: memory holds fewer timers"
    );
    this.arm(Some(deadline_ns));
    let id = u64::from(uses) << PLACE_BITS | u64::from(place);
    TimerId(id << CPU_BITS | cpu::id() as u64)
}

/// Takes a timer back, if it has not rung. The alarm stays as it is.
pub(crate) fn cancel(timer: TimerId) {
    let cpu = CPUS.get((timer.0 & ((1 << CPU_BITS) - 1)) as usize);
    let id = timer.0 >> CPU_BITS;
    let place = (id & ((1 << PLACE_BITS) - 1)) as u32;
    let id = timer_queue::TimerId::from_parts(place, (id >> PLACE_BITS) as u32);
    // What it was for may be dropped with it, and is not under the lock.
    let gone = cpu.timers.lock().cancel(id);
    drop(gone);
}

/// When the first timer rings.
pub(crate) fn next(cpu: &Cpu) -> Option<u64> {
    cpu.timers.lock().next_deadline()
}

/// Calls what is due, with no lock held.
pub(crate) fn expire(cpu: &Cpu, now_ns: u64) {
    loop {
        let due = cpu.timers.lock().pop_expired(now_ns);
        match due {
            None => return,
            Some((_, Target::Thread(thread))) => thread.unpark(),
            Some((_, Target::Other(target))) => {
                if let Some(target) = target.upgrade() {
                    target.expired(now_ns);
                }
            }
        }
    }
}
